/*
 * sim_service.c
 *	  The network and the service of the model.
 *
 * A request is drawn whole when it is sent: when it arrives, what the service
 * then does and says, and whether the client hears of it.  It takes effect at
 * its arrival, whoever still waits for it.
 */
#include <string.h>

#include "sim.h"

#define TIMEOUT			(5 * SEC)	/* request_timeout */
#define NEAR			(300 * MS)	/* a request's usual way, at most */

static const int32_t rate_codes[] = {60007, 60011, 60018, 60019};
static const int32_t resign_codes[] = {70001, 60004};
static const int32_t stop_codes[] = {70009, 60010};
static const int32_t row_codes[] = {10004, 10016, 10019};
static const int32_t exists_codes[] = {10021, 10025};
static const int32_t retry_codes[] = {10002, 60008, 12345, 60999};

#define ANY_OF(world, codes) \
	((codes)[sim_below((world), (int) (sizeof(codes) / sizeof((codes)[0])))])

/* A GroupId as the core sees it: "" for none. */
const char *
sim_group_text(int group_id, char *out)
{
	static const char digits[] = "0123456789";

	if (group_id == 0)
	{
		out[0] = '\0';
		return out;
	}
	out[0] = 'G';
	for (int i = 4; i > 0; i--, group_id /= 10)
		out[i] = digits[group_id % 10];
	out[5] = '\0';
	return out;
}

/* The group of this id; NULL if there is none. */
SimGroup *
sim_group(SimWorld *world, int group_id)
{
	for (int i = 0; i < world->ngroups; i++)
		if (world->groups[i].group_id == group_id)
			return &world->groups[i];
	return NULL;
}

/* The worker is gone: nobody waits for its requests, some of which were cut. */
void
sim_orphan(SimWorld *world, SimCopy *copy)
{
	for (int i = 0; i < MAX_REQUESTS; i++)
	{
		SimRequest *request = &world->requests[i];

		if (!request->used || request->copy != copy->number || request->call < 0)
			continue;
		request->call = -1;
		if (request->arrives_at > world->now && sim_chance(world, 300))
			request->arrives_at = NEVER;
	}
}

/* ------------------------------------------------------------------------
 * Sending
 */

/* A place for a request; one that has arrived and that nobody waits for. */
static SimRequest *
new_request(SimWorld *world)
{
	for (int i = 0; i < MAX_REQUESTS; i++)
	{
		SimRequest *request = &world->requests[i];

		if (request->used && (request->call >= 0 || request->arrives_at != NEVER))
			continue;
		memset(request, 0, sizeof(*request));
		request->used = true;
		return request;
	}
	sim_violate(world, "the model has no room for another request");
	return &world->requests[0];
}

/* The client hears nothing more: in time, or of a connection reset. */
static void
lose(SimWorld *world, SimRequest *request, bool reset)
{
	request->failure = reset ? IM_CODE_LOST : IM_CODE_TIMEOUT;
	request->done_at = request->sent_at + (reset ? sim_between(world, 1 * MS, TIMEOUT) : TIMEOUT);
	if (reset)
		COVER(RESET);
}

/* No byte of the body leaves. */
static void
stay_home(SimWorld *world, SimRequest *request)
{
	request->sent = false;
	request->arrives_at = NEVER;
	request->done_at = request->sent_at + sim_between(world, 0, 100 * MS);
	if (sim_chance(world, 200))
	{
		COVER(ANSWER_EARLY);
		request->http_status = 503;
		request->failure = IM_CODE_HTTP;
		return;
	}
	COVER(NOT_SENT);
	request->failure = sim_chance(world, 200) ? IM_CODE_TLS : IM_CODE_NOT_SENT;
}

/* What goes wrong on the way there or back. */
static void
spoil_way(SimWorld *world, SimRequest *request)
{
	switch (sim_below(world, 5))
	{
		case 0:
			stay_home(world, request);
			break;
		case 1:
			COVER(DROPPED);
			request->arrives_at = NEVER;
			lose(world, request, sim_chance(world, 500));
			break;
		case 2:
			COVER(ANSWER_LOST);
			request->answer_lost = true;
			lose(world, request, sim_chance(world, 500));
			break;
		case 3:
			COVER(DELAYED);
			request->arrives_at = request->sent_at + sim_between(world, 1, world->late_max);
			request->answer_lost = true;
			lose(world, request, sim_chance(world, 300));
			break;
		default:
			/* What may be done twice and answered once is what exists or is lost. */
			request->twice = request->op == IM_OP_IMPORT_GROUP && request->group_id != 0;
			break;
	}
	if (request->op == IM_OP_GET_GROUP_INFO && request->failure != 0)
		COVER(LOOKED_LOST);
}

/* Draws what the service will do. */
static SimConduct
draw_conduct(SimWorld *world, const SimRequest *request)
{
	static const SimConduct lookups[] = {
		CONDUCT_RATE, CONDUCT_QUOTA, CONDUCT_RESIGN, CONDUCT_STOP, CONDUCT_RETRY,
		CONDUCT_UNDOCUMENTED_STOP, CONDUCT_UNREADABLE, CONDUCT_UNREADABLE, CONDUCT_HTTP,
		CONDUCT_TOO_BIG
	};

	if (!sim_chance(world, world->bad_service))
		return CONDUCT_NORMAL;
	if (request->op == IM_OP_GET_GROUP_INFO)
		return ANY_OF(world, lookups);
	return (SimConduct) (1 + sim_below(world, NCONDUCTS - 1));
}

/* A call leaves for the service; all that will become of it is drawn here. */
void
sim_send(SimWorld *world, SimCopy *copy, int n)
{
	const SimDrain *drain = &copy->drain;
	SimRequest *request = new_request(world);

	sim_coverage.sends++;
	request->copy = copy->number;
	request->incarnation = copy->incarnation;
	request->call = n;
	request->claim = drain->calls[n].claim;
	request->op = drain->calls[n].op;
	request->key = drain->keys[n];
	request->group_id = drain->groups[n];
	request->content = drain->contents[n];
	request->sent_at = world->now;
	request->sent = true;
	request->arrives_at = world->now + sim_between(world, 1 * MS, NEAR);
	request->done_at = world->now + TIMEOUT;
	request->failure = IM_CODE_TIMEOUT;
	request->conduct = draw_conduct(world, request);
	request->applies = sim_chance(world, 500);
	if (sim_chance(world, world->bad_net))
	{
		request->failure = 0;
		spoil_way(world, request);
		if (request->failure == 0)
			request->failure = IM_CODE_TIMEOUT;
	}
	TRACE(world, "copy %d %s row %d, group %d, content %d, conduct %d%s%s", copy->number,
		  request->op == IM_OP_IMPORT_GROUP ? "sends" : "looks up", request->key,
		  request->group_id, request->content, (int) request->conduct,
		  request->sent ? "" : ", not sent",
		  request->arrives_at == NEVER ? ", never arrives" : "");
	if (request->op == IM_OP_IMPORT_GROUP && request->sent)
		sim_check_send(world, request);
}

/* ------------------------------------------------------------------------
 * At the service
 */

/* Creates the group. Returns its id, or 0 if the service does not take it. */
static int
create(SimWorld *world, const SimRequest *request)
{
	SimGroup   *group;

	if (request->content & CONTENT_REFUSED)
		return 0;
	if (world->ngroups == MAX_GROUPS)
	{
		sim_violate(world, "the model has no room for another group");
		return 0;
	}
	group = &world->groups[world->ngroups++];
	group->group_id = request->group_id ? request->group_id : GROUP_ASSIGNED + world->ngroups;
	group->content = request->content;
	group->key = request->key;
	group->copy = request->copy;
	group->sent_at = request->sent_at;
	sim_coverage.groups++;
	if (request->call < 0 || request->answer_lost)
		COVER(ZOMBIE_APPLIED);
	TRACE(world, "group %d is created by row %d of copy %d, content %d", group->group_id,
		  group->key, group->copy, group->content);
	sim_check_created(world, group);
	return group->group_id;
}

/* A definite answer: this request has created nothing. */
static void
say_no(SimRequest *request, int32_t code)
{
	request->code = code;
	request->definite_no = true;
}

/* Does the request as it should be done, and answers so. */
static void
serve(SimWorld *world, SimRequest *request)
{
	int			id;

	if (request->group_id != 0 && sim_group(world, request->group_id) != NULL)
	{
		COVER(SAID_EXISTS);
		say_no(request, ANY_OF(world, exists_codes));
		return;
	}
	id = create(world, request);
	if (id == 0)
	{
		COVER(SAID_REFUSED);
		say_no(request, 10004);
		return;
	}
	COVER(SAID_DONE);
	request->code = 0;
	request->said_id = id;
}

/* Perhaps does it; what is said then depends on the conduct alone. */
static bool
perhaps_create(SimWorld *world, SimRequest *request)
{
	if (!request->applies)
		return false;
	if (request->group_id != 0 && sim_group(world, request->group_id) != NULL)
		return false;
	return create(world, request) != 0;
}

/* Refuses in one of the documented ways. True if the conduct is one. */
static bool
refuse(SimWorld *world, SimRequest *request)
{
	switch (request->conduct)
	{
		case CONDUCT_RATE:
			COVER(SAID_RATE);
			say_no(request, ANY_OF(world, rate_codes));
			return true;
		case CONDUCT_QUOTA:
			COVER(SAID_QUOTA);
			say_no(request, 10006);
			return true;
		case CONDUCT_RESIGN:
			COVER(SAID_RESIGN);
			say_no(request, ANY_OF(world, resign_codes));
			return true;
		case CONDUCT_STOP:
			COVER(SAID_STOP);
			say_no(request, ANY_OF(world, stop_codes));
			return true;
		case CONDUCT_REFUSE:
			COVER(SAID_REFUSED);
			say_no(request, ANY_OF(world, row_codes));
			return true;
		default:
			return false;
	}
}

/* Gives an answer that leaves open what was done. */
static void
mislead(SimWorld *world, SimRequest *request)
{
	bool		import = request->op == IM_OP_IMPORT_GROUP;
	bool		done = import && perhaps_create(world, request);

	switch (request->conduct)
	{
		case CONDUCT_RETRY:
			request->code = ANY_OF(world, retry_codes);
			sim_coverage.met[done ? SIM_SAID_RETRY_DONE : SIM_SAID_RETRY_NOT]++;
			break;
		case CONDUCT_UNDOCUMENTED_STOP:
			COVER(SAID_UNDOCUMENTED_STOP);
			request->code = 79999;
			break;
		case CONDUCT_OTHER_ID:
			COVER(SAID_OTHER_ID);
			request->code = 0;
			request->said_id = GROUP_WRONG;
			break;
		case CONDUCT_HTTP:
			COVER(SAID_HTTP);
			request->http_status = 502;
			request->failure = IM_CODE_HTTP;
			break;
		case CONDUCT_TOO_BIG:
			COVER(SAID_TOO_BIG);
			request->failure = IM_CODE_TOO_BIG;
			break;
		default:
			COVER(SAID_UNREADABLE);
			request->readable = false;
			break;
	}
}

/* Done, but says not which group. */
static void
withhold_id(SimWorld *world, SimRequest *request)
{
	serve(world, request);
	if (request->said_id == 0)
		return;
	COVER(SAID_NO_ID);
	request->said_id = 0;
}

/* An id that rests after its group was dissolved, long ago. */
static void
let_rest(SimWorld *world, SimRequest *request)
{
	if (request->group_id == 0 || sim_group(world, request->group_id) != NULL)
	{
		serve(world, request);
		return;
	}
	COVER(SAID_RESTING);
	say_no(request, ANY_OF(world, exists_codes));
}

/* Answers import_group. */
static void
import(SimWorld *world, SimRequest *request)
{
	if (refuse(world, request))
		return;
	switch (request->conduct)
	{
		case CONDUCT_NORMAL:
			serve(world, request);
			break;
		case CONDUCT_RESTING:
			let_rest(world, request);
			break;
		case CONDUCT_NO_ID:
			withhold_id(world, request);
			break;
		case CONDUCT_OTHER_ID:
			if (request->group_id == 0)
				serve(world, request);
			else
				mislead(world, request);
			break;
		default:
			mislead(world, request);
			break;
	}
}

/* Answers get_group_info. */
static void
look_up(SimWorld *world, SimRequest *request)
{
	const SimGroup *group = sim_group(world, request->group_id);

	if (request->conduct != CONDUCT_NORMAL)
	{
		COVER(LOOKED_UNREADABLE);
		if (!refuse(world, request))
			mislead(world, request);
		return;
	}
	if (group == NULL)
	{
		COVER(LOOKED_ABSENT);
		request->found = IM_FOUND_ABSENT;
	}
	else if (group->content == request->content)
	{
		COVER(LOOKED_SAME);
		request->found = IM_FOUND_SAME;
	}
	else
	{
		COVER(LOOKED_OTHER);
		request->found = IM_FOUND_OTHER;
	}
}

/* The second copy of a request, to which nobody listens. */
static void
arrive_again(SimWorld *world, SimRequest first)
{
	SimRequest *second = new_request(world);

	*second = first;
	second->call = -1;
	second->twice = false;
	second->conduct = CONDUCT_NORMAL;
	second->arrives_at = world->now + sim_between(world, 1, first.sent_at + world->late_max - world->now);
	COVER(DUPLICATED);
}

/* A request reaches the service and takes effect, heard or not. */
void
sim_arrive(SimWorld *world, SimRequest *request)
{
	SimRequest	result = *request;
	int64_t		back = request->arrives_at + sim_between(world, 1 * MS, NEAR);
	bool		heard = !request->answer_lost && request->call >= 0 && back < request->done_at;

	request->arrives_at = NEVER;
	result.arrives_at = NEVER;
	result.readable = true;
	result.http_status = 200;
	result.failure = 0;
	result.done_at = back;
	if (result.op == IM_OP_IMPORT_GROUP)
		import(world, &result);
	else
		look_up(world, &result);
	if (!result.definite_no && result.twice && world->now < result.sent_at + world->late_max)
		arrive_again(world, *request);
	TRACE(world, "service answers row %d with %d%s", result.key, (int) result.code,
		  heard ? "" : ", nobody hears");
	if (heard)
		*request = result;
}

/* ------------------------------------------------------------------------
 * Back at the client
 */

/* The next request of the copy that is over for its sender; NULL if none. */
SimRequest *
sim_answer(SimWorld *world, SimCopy *copy)
{
	SimRequest *best = NULL;

	for (int i = 0; i < MAX_REQUESTS; i++)
	{
		SimRequest *request = &world->requests[i];

		if (request->used && request->call >= 0 && request->copy == copy->number &&
			request->incarnation == copy->incarnation && request->done_at <= world->now &&
			(best == NULL || request->done_at < best->done_at))
			best = request;
	}
	if (best != NULL && best->op == IM_OP_IMPORT_GROUP && best->group_id == 0 &&
		(best->definite_no || !best->sent))
		world->truth[best->key].open_post = false;
	return best;
}
