/*
 * sim_check.c
 *	  The promise, checked against what really happened.
 *
 * P1 no row is lost, P2 no group is created twice, P3 what a row says is true.
 * Checked at each send, each group created, each change of a row, each grant,
 * and when everything has come to rest.
 */
#include <stdio.h>

#include "sim.h"

SimCoverage sim_coverage;

/* The changes of status that there are; all others break the life of a row. */
static const bool by_worker[IM_IN_DOUBT + 1][IM_IN_DOUBT + 1] = {
	[IM_PENDING] = {[IM_SENDING] = true, [IM_INVALID] = true, [IM_IN_DOUBT] = true},
	[IM_SENDING] = {
		[IM_PENDING] = true, [IM_IMPORTED] = true, [IM_FAILED] = true, [IM_INVALID] = true,
		[IM_IN_DOUBT] = true
	}
};
static const bool by_people[IM_IN_DOUBT + 1][IM_IN_DOUBT + 1] = {
	[IM_PENDING] = {[IM_IN_DOUBT] = true},
	[IM_SENDING] = {[IM_PENDING] = true, [IM_IN_DOUBT] = true},
	[IM_FAILED] = {[IM_PENDING] = true},
	[IM_INVALID] = {[IM_PENDING] = true},
	[IM_IN_DOUBT] = {[IM_PENDING] = true, [IM_IMPORTED] = true}
};

/*
 * True if this group is one that the row, as its copy knows it, created.  What
 * another server sends after the take-over nobody here can know; nor what the
 * row did under a GroupId that a person gave it in a state that was lost.
 */
static bool
answers_for(const SimWorld *world, const SimCopy *copy, const SimRow *row, const SimGroup *group)
{
	if (group->key != row->key)
		return false;
	if (group->copy == copy->number)
		return true;
	return group->sent_at <= row->answers_until && !world->truth[row->key].rekeyed;
}

/* P3: what a row says of the service is true. */
static void
check_truth(SimWorld *world, const SimCopy *copy, const SimRow *row)
{
	const SimGroup *group;

	if (row->status == IM_IMPORTED)
	{
		group = sim_group(world, row->group_id);
		if (group == NULL)
			sim_violate(world, "P3: imported, but there is no such group");
		else if (group->content != row->content)
			sim_violate(world, "P3: imported, but the group is another");
	}
	if (row->status != IM_FAILED && row->status != IM_INVALID)
		return;
	for (int i = 0; i < world->ngroups; i++)
		if (answers_for(world, copy, row, &world->groups[i]))
			sim_violate(world, "P3: failed or invalid, but the row created a group");
}

/* True if a request on its way is this row's from this copy, but another record. */
static bool
differs_on_its_way(const SimRequest *one, const SimRequest *request)
{
	return one->used && one != request && one->op == IM_OP_IMPORT_GROUP &&
		one->copy == request->copy && one->key == request->key && one->arrives_at != NEVER &&
		(one->content != request->content || one->group_id != request->group_id);
}

/* A POST leaves. */
void
sim_check_send(SimWorld *world, const SimRequest *request)
{
	SimTruth   *truth = &world->truth[request->key];
	const SimCopy *copy = &world->copies[request->copy];
	bool		claimed = false;

	/* Only what a committed claim allows. */
	for (int i = 0; i < MAX_ROWS; i++)
		claimed = claimed || !copy->table.rows[i].exists ||
			(copy->table.rows[i].key == request->key &&
			 copy->table.rows[i].claim == request->claim);
	if (!claimed)
		sim_violate(world, "sent without a committed claim");

	/* The record is frozen while it may have created a group. */
	for (int i = 0; i < world->ngroups; i++)
	{
		const SimGroup *group = &world->groups[i];

		if (group->key == request->key && group->copy == request->copy &&
			(group->content != request->content ||
			 (request->group_id != 0 && group->group_id != request->group_id)))
			sim_violate(world, "sent with another record than what it created");
	}
	for (int i = 0; i < MAX_REQUESTS; i++)
		if (differs_on_its_way(&world->requests[i], request))
			sim_violate(world, "sent with another record than what is on its way");

	if (request->group_id != 0)
		return;
	if (truth->open_post)
		sim_violate(world, "P2: a row with an assigned id is sent twice");
	truth->open_post = true;
}

/* A group was created. */
void
sim_check_created(SimWorld *world, const SimGroup *group)
{
	SimTruth   *truth = &world->truth[group->key];

	/*
	 * A person may give a row that created nothing another GroupId; if that
	 * is lost with the state that knew it, the row creates its old one too.
	 */
	if (++truth->groups > 1 && !(truth->rekeyed && world->timelines > 1))
		sim_violate(world, "P2: a row created two groups");
	for (int i = 0; i < MAX_COPIES; i++)
	{
		const SimCopy *copy = &world->copies[i];

		for (int j = 0; copy->exists && j < MAX_ROWS; j++)
			if (copy->table.rows[j].exists && copy->table.rows[j].key == group->key)
				check_truth(world, copy, &copy->table.rows[j]);
	}
}

/* True if a call of this claim is still in the sender. */
static bool
is_under_way(const SimDrain *drain, const SimRow *row)
{
	for (int i = 0; i < drain->live.n; i++)
	{
		const SimCall *call = &drain->calls[drain->live.at[i]];

		if (call->id == row->id && call->claim == row->claim)
			return true;
	}
	return false;
}

/* A row has changed by a transaction that committed. */
void
sim_check_change(SimWorld *world, SimCopy *copy, const SimRow *old, const SimRow *row,
				 bool by_person)
{
	bool		allowed = by_person ? by_people[old->status][row->status]
		: by_worker[old->status][row->status];

	/* The fence's option acts in the worker, as a person would. */
	if (!by_person && row->answers_until == world->now)
		allowed = allowed || by_people[old->status][row->status];
	sim_coverage.moves[old->status][row->status]++;
	if (old->status != row->status && !allowed)
		sim_violate(world, "a change of status that is not in the life of a row");
	if (old->claim != 0 && old->claim != row->claim && copy->running &&
		is_under_way(&copy->drain, old))
		sim_violate(world, "a claim was broken while its call was under way");
	if ((row->status == IM_SENDING) != (row->claim != 0))
		sim_violate(world, "a claim without sending, or the reverse");
	if (row->maybe_sent_at == 0 && row->status == IM_IN_DOUBT)
		sim_violate(world, "in doubt, yet surely not sent");
	if (row->content != old->content && old->maybe_sent_at != 0)
		sim_violate(world, "the record changed while it was maybe sent");
	check_truth(world, copy, row);
}

/* The limiter let one call go. */
void
sim_check_grant(SimWorld *world, SimCopy *copy)
{
	int			window = copy->window;
	int64_t    *last = &copy->grants[copy->ngrants % MAX_GRANTS];

	if (copy->ngrants >= window)
	{
		int64_t		first = copy->grants[(copy->ngrants - window) % MAX_GRANTS];

		if (first >= copy->window_since && world->now - first < SEC)
			sim_violate(world, "more calls in a second than the limit");
	}
	*last = world->now;
	copy->ngrants++;
}

/* ------------------------------------------------------------------------
 * The end
 */

/* True if the row needs nothing more, or waits for a person. */
static bool
at_rest(const SimCopy *copy, const SimRow *row)
{
	if (!row->exists || row->origin != copy->origin || sim_fenced(copy))
		return true;
	return row->status != IM_PENDING && row->status != IM_SENDING;
}

/* True if everything has come to rest, on the network too. */
bool
sim_quiet(SimWorld *world)
{
	for (int i = 0; i < MAX_COPIES; i++)
	{
		const SimCopy *copy = &world->copies[i];

		for (int j = 0; copy->exists && copy->up && j < MAX_ROWS; j++)
			if (!at_rest(copy, &copy->table.rows[j]))
				return false;
		if (copy->exists && copy->up && copy->running && copy->drain.live.n > 0)
			return false;
	}
	for (int i = 0; i < MAX_REQUESTS; i++)
		if (world->requests[i].used && world->requests[i].arrives_at != NEVER)
			return false;
	return true;
}

/* Nothing moves any more: is every row where it may stay, and true? */
void
sim_check_end(SimWorld *world)
{
	for (int i = 0; i < MAX_COPIES; i++)
	{
		const SimCopy *copy = &world->copies[i];

		for (int j = 0; copy->exists && j < MAX_ROWS; j++)
		{
			const SimRow *row = &copy->table.rows[j];

			if (!row->exists)
				continue;
			if (copy->up && !at_rest(copy, row))
				sim_violate(world, row->status == IM_SENDING ?
							"P1: a row is sending with no live sender" :
							"P1: a row has not ended");
			check_truth(world, copy, row);
		}
	}
}

/* ------------------------------------------------------------------------
 * Coverage
 */

static const char *const texts[] = {
#define X(name, text) text,
	SIM_COVERED(X)
#undef X
};

/* Of each that can happen here: no group is taken back in this world. */
static const char *const outcome_texts[IM_OUT_UNREADABLE + 1] = {
	[IM_OUT_NOT_SENT] = "not sent", [IM_OUT_DONE] = "done", [IM_OUT_EXISTS] = "exists",
	[IM_OUT_REFUSED] = "refused", [IM_OUT_SLOW] = "slow", [IM_OUT_QUOTA] = "quota",
	[IM_OUT_RESIGN] = "resign", [IM_OUT_STOP] = "stop", [IM_OUT_UNKNOWN] = "unknown",
	[IM_OUT_SAME] = "same", [IM_OUT_OTHER] = "other", [IM_OUT_ABSENT] = "absent",
	[IM_OUT_UNREADABLE] = "unreadable"
};

static const char *const why_texts[] = {"none", "exists", "refused", "exhausted", "invalid"};

static const char *const breaker_texts[] = {"closed", "stopped", "quota", "unreachable"};

/* True if a change of status can happen. */
static bool
possible(int from, int to)
{
	return by_worker[from][to] || by_people[from][to];
}

/* What was never met in the whole run; NULL if nothing is missing. */
const char *
sim_zero_counter(void)
{
	for (int i = 0; i < SIM_NCOVERED; i++)
		if (sim_coverage.met[i] == 0)
			return texts[i];
	for (int i = 0; i <= IM_OUT_UNREADABLE; i++)
		if (outcome_texts[i] != NULL && sim_coverage.outcomes[i] == 0)
			return outcome_texts[i];
	for (int i = IM_WHY_EXISTS; i <= IM_WHY_INVALID; i++)
		if (sim_coverage.whys[i] == 0)
			return why_texts[i];
	for (int i = 0; i <= IM_BREAKER_UNREACHABLE; i++)
		if (sim_coverage.breaker[i] == 0)
			return breaker_texts[i];
	for (int from = 0; from <= IM_IN_DOUBT; from++)
		for (int to = 0; to <= IM_IN_DOUBT; to++)
			if (possible(from, to) && sim_coverage.moves[from][to] == 0)
				return im_status_name((ImStatus) from);
	return NULL;
}

/* Prints how often everything was met. */
void
sim_print_coverage(void)
{
	for (int i = 0; i < SIM_NCOVERED; i++)
		printf("%12lld  %s\n", (long long) sim_coverage.met[i], texts[i]);
	for (int i = 0; i <= IM_OUT_UNREADABLE; i++)
		if (outcome_texts[i] != NULL)
			printf("%12lld  verdict: %s\n", (long long) sim_coverage.outcomes[i], outcome_texts[i]);
	for (int i = IM_WHY_EXISTS; i <= IM_WHY_INVALID; i++)
		printf("%12lld  looked up because: %s\n", (long long) sim_coverage.whys[i], why_texts[i]);
	for (int i = 0; i <= IM_BREAKER_UNREACHABLE; i++)
		printf("%12lld  breaker: %s\n", (long long) sim_coverage.breaker[i], breaker_texts[i]);
	for (int from = 0; from <= IM_IN_DOUBT; from++)
		for (int to = 0; to <= IM_IN_DOUBT; to++)
			if (possible(from, to))
				printf("%12lld  status: %s to %s\n", (long long) sim_coverage.moves[from][to],
					   im_status_name((ImStatus) from), im_status_name((ImStatus) to));
}
