/*
 * sim_messages.c
 *	  A simulated life of group messages: the shipping protocol, rooms and
 *	  results against a service that loses, delays, repeats and half applies.
 *
 *		sim_messages --seeds N [--first N] [--stop] [--trace]
 *
 * People act, too: they add rows late, whose send_time lies before or after what
 * was sent; they repair rows that have failed; and they settle rows in doubt after
 * a look at the group, as guard.c and im_queue_resolve() let them.
 *
 * The model of the database follows queue.c.  What becomes of the rows of a call
 * is decided by batch.c and protocol.c; here, as in dispatch.c, the calls are
 * made and sent.  The service knows two rules, time and Random (for 5 minutes),
 * and a world draws in which order it checks them, whether equal seconds are
 * "later", what it says of a message that it drops, how many messages a call may
 * have, and whether one that it refuses is the refusal of the whole call.
 *
 * What must hold: no row is in its group twice; none is lost; of rows that were
 * there when a time was chosen, the order is kept (but behind a hole that the
 * service left); imported rows are there; failed and invalid rows are not; what
 * was maybe sent is sent again only unchanged, and what was repaired never as it
 * was before; no message is moved back, by more than it must be or than the limit; none is
 * refused for that limit that is within it; and a room is held only if others
 * write in it.
 *
 * What the world does not do: a request arrives at most LATE_MAX after it was
 * sent, which is less than IM_ZOMBIE_MS; nobody deletes messages.
 */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "batch.h"
#include "errcodes.h"
#include "protocol.h"
#include "results.h"
#include "rooms.h"
#include "sim_life.h"
#include "verdict.h"

#define GROUPS		3
#define ROWS		16			/* of a group */
#define BATCH		7
#define PAGE		6			/* messages in one answer: few, so that more must be read */
#define STORED		64			/* messages of a group at the service */
#define CALLS		16
#define REQUESTS	32
#define LATE_MAX	50000		/* ms */
#define RANDOM_MS	300000		/* so long a Random is remembered */
#define SHIFT_MAX	3600
#define ANSWER_MAX	4096
#define LIVE		(-1)		/* a message of somebody else */

static const ImCommand command = {
	.kind = IM_MESSAGE,
	.op = IM_OP_IMPORT_MESSAGES,
	.lookup_op = IM_OP_GET_MESSAGES,
	.explain_op = IM_OP_GET_MESSAGES,
	.batch = BATCH,
	.list = "MsgList",
	.ordered = true,
	.answer = {.list = "ImportMsgResult",.result = "Result",.seq = "MsgSeq",.time = "MsgTime"},
};

const ImCommand *const im_commands[IM_KINDS] = {[IM_MESSAGE] = &command};

/* A row of the outbox. */
typedef struct Row
{
	int64_t		send_time;
	bool		refused;		/* the service finds it too long */
	ImStatus	status;
	int64_t		claim;
	int			attempts;
	int64_t		due_at;
	int64_t		maybe_sent_at;	/* -1: NULL */
	int64_t		sent_time;		/* 0: NULL */
	int64_t		seq;
	/* what only the world knows */
	int64_t		late_at;		/* it is not there before; -1: it is there */
	int64_t		opened_at;		/* pending since then, as it is now */
	int64_t		timed_at;		/* its time was chosen then */
	int			version;		/* counts what people have changed */
	int			visits;			/* of people */
	int64_t		visit_at;		/* a person looks at it; -1: nobody will */
	int64_t		wire_time;		/* with which it went out, while that is in doubt */
	uint32_t	wire_random;
} Row;

typedef struct Stored
{
	int			row;
	uint32_t	random;
	int64_t		time;
	int64_t		received_at;
} Stored;

typedef struct Group
{
	char		key[4];
	Row			rows[ROWS];
	int			nrows;
	int64_t		newest_time;	/* of _im_room_state */
	int64_t		settled_time;
	bool		held;
	Stored		stored[STORED];	/* MsgSeq is the place, from 1 */
	int			nstored;
	bool		hole;			/* a message went in before one that did not */
} Group;

/* A call in the worker's memory. */
typedef struct Call
{
	bool		used;
	ImCall		call;
	ImRow	   *rows[BATCH];
	int			group;
} Call;

/* A request on its way. */
typedef struct Request
{
	bool		used;
	ImOp		op;
	int			group;
	int			n;
	int			row[BATCH];
	int			version[BATCH]; /* of the row, then */
	int			refused;		/* bits of the messages that are too long */
	int64_t		time[BATCH];
	uint32_t	random[BATCH];
	int64_t		read_below;
	int64_t		arrives_at;		/* -1: it has, or never does */
	int64_t		repeated_at;	/* a proxy sends it once more; -1: no */
	int			applies;		/* bits of the messages that are looked at */
	int			call;			/* that waits for it; -1: none */
	int64_t		answers_at;		/* when the client knows, whatever it is */
	bool		answer_lost;
	bool		not_sent;
	int			code;			/* of the answer */
	char		body[ANSWER_MAX];
} Request;

typedef struct World
{
	uint64_t	seed;
	uint64_t	random;
	bool		trace;
	int64_t		now;			/* ms */
	int64_t		calm_at;
	int			bad;			/* faults in 1/1000 */
	int			crash;
	int			live;
	bool		duplicate_first;
	bool		duplicate_done; /* a dropped message is called done */
	bool		equal_is_later;
	bool		keep_equal;
	bool		refuses_whole;	/* a call with a message that is too long */
	int			most;			/* messages that the service takes in one call */
	int			batch;			/* as many go into one, as far as is known */
	int			max_attempts;
	const char *violation;
	int64_t		claims;

	Group		groups[GROUPS];
	int			ngroups;
	Request		requests[REQUESTS];

	/* the worker */
	bool		running;
	int64_t		starts_at;
	ImRooms    *rooms;
	ImSteady	steady;
	Call		calls[CALLS];
	ImRow	   *outcomes[GROUPS * BATCH];
	int			noutcomes;
} World;

enum
{
	MET_IMPORTED, MET_FAILED, MET_DOUBT, MET_FOUND, MET_ABSENT, MET_LATE, MET_PARTLY, MET_DROPPED, MET_HELD, MET_CRASHED,
	MET_TOO_MANY, MET_HALVED, MET_GIVEN_BACK, MET_BEHIND, MET_TOO_LATE, MET_REPAIRED, MET_RESOLVED_THERE, MET_RESOLVED_AGAIN,
	NMET
};

/* What a run must have met. */
static LifeMet met[NMET] = {
	{"imported", 0},
	{"failed", 0},
	{"in doubt", 0},
	{"found when read back", 0},
	{"absent when read back", 0},
	{"late request applied", 0},
	{"partly applied", 0},
	{"dropped by its Random", 0},
	{"held", 0},
	{"crashed with messages on their way", 0},
	{"too many in one call", 0},
	{"halved for one row's sake", 0},
	{"given back: one call goes at a time", 0},
	{"late rows that go behind what is there", 0},
	{"too late: invalid", 0},
	{"repaired and imported", 0},
	{"settled by a person as there", 0},
	{"settled by a person to be sent again", 0}
};

static int
below(World *w, int n)
{
	return (int) (life_draw(&w->random) % (uint64_t) n);
}

static bool
chance(World *w, int per_mille)
{
	return below(w, 1000) < per_mille;
}

/* A fault, while there are any. */
static bool
fault(World *w, int share)
{
	return w->now < w->calm_at && chance(w, w->bad * share / 100);
}

static void __attribute__((format(printf, 2, 3)))
trace(const World *w, const char *format,...)
{
	va_list		args;

	if (!w->trace)
		return;
	printf("%9.3f  ", (double) w->now / 1000);
	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	printf("\n");
}

static void
violate(World *w, const char *what)
{
	trace(w, "VIOLATION: %s", what);
	if (w->violation == NULL)
		w->violation = what;
}

/* A row's number in the world: its id. */
static int
id_of(int group, int row)
{
	return group * ROWS + row + 1;
}

/* ------------------------------------------------------------------------
 * The service
 */

/* Where a group's message of a row is; 0: nowhere. */
static int
seq_of(const Group *group, int row)
{
	for (int i = 0; i < group->nstored; i++)
		if (group->stored[i].row == row)
			return i + 1;
	return 0;
}

/* True if a row goes before another one of its group. */
static bool
before(const Group *group, int a, int b)
{
	if (group->rows[a].send_time != group->rows[b].send_time)
		return group->rows[a].send_time < group->rows[b].send_time;
	return a < b;
}

/* A row's message comes into its group: may it? */
static void
check_stored(World *w, const Group *group, int place, int64_t time)
{
	const Row  *row = &group->rows[place];

	if (seq_of(group, place) > 0)
		violate(w, "a message is in its group twice");
	if (row->status == IM_FAILED || row->status == IM_INVALID)
		violate(w, "a message came to be after its row had failed");
	if (time < row->send_time)
		violate(w, "a message is moved back");
	if (time - row->send_time > SHIFT_MAX)
		violate(w, "a message is moved by more than the limit");
	for (int i = 0; i < group->nstored; i++)
		if (group->stored[i].row != LIVE && before(group, place, group->stored[i].row))
		{
			met[MET_BEHIND].n++;
			/* Not if it came, or came back, when the other's time was chosen. */
			if (!group->hole && row->opened_at <= group->rows[group->stored[i].row].timed_at)
				violate(w, "messages are not in their order");
		}
}

/* Puts a message into a group. */
static void
store(World *w, Group *group, int row, uint32_t random, int64_t time)
{
	if (row != LIVE)
		check_stored(w, group, row, time);
	if (group->nstored == STORED)
	{
		violate(w, "a group overflows");
		return;
	}
	group->stored[group->nstored++] = (Stored) {row, random, time, w->now};
	trace(w, "group %s: message %d of row %d, time %" PRId64, group->key, group->nstored, row, time);
}

/* What the service does with one message; returns its Result and sets seq and time. */
static int
import_one(World *w, Group *group, const Request *request, int i, int *seq, int64_t *time)
{
	int64_t		newest = group->nstored > 0 ? group->stored[group->nstored - 1].time : 0;
	bool		late = w->equal_is_later ? request->time[i] < newest : request->time[i] <= newest;
	int			same = 0;

	*seq = 0;
	*time = request->time[i];
	if (request->refused & 1 << i)
		return 80002;
	for (int j = 0; j < group->nstored; j++)
		if (group->stored[j].random == request->random[i] && w->now - group->stored[j].received_at < RANDOM_MS)
			same = j + 1;
	if (late && !(same > 0 && w->duplicate_first))
		return 10004;
	if (same > 0)
	{
		met[MET_DROPPED].n++;
		*time = group->stored[same - 1].time;
		*seq = same;
		return w->duplicate_done ? 0 : 10004;
	}
	if (request->version[i] != group->rows[request->row[i]].version)
		violate(w, "a message came to be as it was before a person changed its row");
	store(w, group, request->row[i], request->random[i], request->time[i]);
	*seq = group->nstored;
	return 0;
}

/* The code with which a call is refused as a whole; 0: it is not. */
static int
refuse_whole(const World *w, const Request *request)
{
	if (request->n > w->most)
		return request->n > BATCH / 2 ? 10005 : 70206;
	return w->refuses_whole && request->refused != 0 ? 80002 : 0;
}

/* import_group_msg */
static void
import(World *w, Request *request)
{
	Group	   *group = &w->groups[request->group];
	int			used = sprintf(request->body, "{\"ErrorCode\":0,\"ImportMsgResult\":[");
	bool		passed_over = false;
	int			code = refuse_whole(w, request);

	if (code != 0)
	{
		if (request->code == 0)
			request->code = code;
		return;
	}
	for (int i = 0; i < request->n; i++)
	{
		int			seq;
		int64_t		time;
		int			result;

		if ((request->applies & 1 << i) == 0)
		{
			passed_over = true;
			continue;
		}
		result = import_one(w, group, request, i, &seq, &time);
		if (result == 0 && passed_over)
			group->hole = true;
		used += sprintf(request->body + used, "%s{\"MsgSeq\":%d,\"MsgTime\":%" PRId64 ",\"Result\":%d}",
						i > 0 ? "," : "", seq, time, result);
	}
	strcpy(request->body + used, "]}");
}

/* group_msg_get_simple */
static void
read_messages(World *w, Request *request)
{
	Group	   *group = &w->groups[request->group];
	int			used = sprintf(request->body, "{\"ErrorCode\":0,\"RspMsgList\":[");
	int			last = group->nstored;

	if (request->read_below > 0 && request->read_below < last)
		last = (int) request->read_below;
	for (int seq = last, n = 0; seq > 0 && n < PAGE; seq--, n++)
	{
		const Stored *one = &group->stored[seq - 1];

		used += sprintf(request->body + used,
						"%s{\"From_Account\":\"u%d\",\"MsgSeq\":%d,\"MsgTimeStamp\":%" PRId64 ",\"MsgRandom\":%u}",
						n > 0 ? "," : "", one->row == LIVE ? 9 : 0, seq, one->time, one->random);
	}
	strcpy(request->body + used, "]}");
}

/* A request comes to the service. */
static void
arrive(World *w, Request *request, bool again)
{
	char		first[ANSWER_MAX];

	strcpy(first, request->body);
	if (request->op == IM_OP_GET_MESSAGES)
		read_messages(w, request);
	else if (request->code == 0 || request->code == 10002)
		import(w, request);
	/* Which of two answers comes back is the proxy's choice. */
	if (again && chance(w, 500))
		strcpy(request->body, first);
}

/* ------------------------------------------------------------------------
 * The wire
 */

/* What will become of a request. */
static void
draw_fate(World *w, Request *request)
{
	request->arrives_at = w->now + below(w, 100);
	request->answers_at = request->arrives_at + below(w, 2000);
	request->repeated_at = -1;
	request->applies = (1 << request->n) - 1;
	if (fault(w, 20))
		request->answer_lost = true;
	if (fault(w, 20))
	{
		request->arrives_at = w->now + 1000 + below(w, LATE_MAX - 1000);
		request->answer_lost = true;
	}
	if (fault(w, 15))
	{
		request->arrives_at = -1;
		request->answer_lost = true;
		request->not_sent = chance(w, 500);
	}
	if (fault(w, 10) && request->arrives_at >= 0)
		request->repeated_at = request->arrives_at + below(w, LATE_MAX - (int) (request->arrives_at - w->now));
	if (fault(w, 10))
		request->code = 60007;
	else if (fault(w, 20))
	{
		request->code = 10002;
		if (chance(w, 700))
		{
			met[MET_PARTLY].n++;
			request->applies &= chance(w, 500) ? (1 << below(w, BATCH + 1)) - 1 : below(w, 1 << BATCH);
		}
	}
	if (request->answer_lost)
		request->answers_at = w->now + (request->not_sent ? 10 : 3000 + below(w, 7000));
}

/* Checks what goes out again, and notes what goes out. */
static void
check_wire(World *w, Request *request)
{
	Group	   *group = &w->groups[request->group];

	for (int i = 0; i < request->n; i++)
	{
		Row		   *row = &group->rows[request->row[i]];

		if (row->wire_time != 0 && (row->wire_time != request->time[i] || row->wire_random != request->random[i]))
			violate(w, "what was maybe sent is sent with another time or Random");
		row->wire_time = request->time[i];
		row->wire_random = request->random[i];
	}
}

static void
send_call(World *w, int number)
{
	Call	   *call = &w->calls[number];
	Request    *request = w->requests;

	while (request->used && request < w->requests + REQUESTS - 1)
		request++;
	memset(request, 0, offsetof(Request, body));
	request->body[0] = '\0';
	request->used = true;
	request->op = call->call.op;
	request->group = call->group;
	request->call = number;
	request->read_below = call->call.read_below;
	if (request->op == IM_OP_IMPORT_MESSAGES)
		for (int i = 0; i < call->call.nrows; i++)
		{
			request->row[i] = (int) (call->rows[i]->id - 1) % ROWS;
			request->version[i] = w->groups[call->group].rows[request->row[i]].version;
			request->refused |= w->groups[call->group].rows[request->row[i]].refused << i;
			request->time[i] = call->rows[i]->sent_time;
			request->random[i] = call->rows[i]->random;
			request->n++;
		}
	draw_fate(w, request);
	trace(w, "group %s: %s of %d rows goes out", w->groups[request->group].key,
		  request->op == IM_OP_GET_MESSAGES ? "a question" : "an import", call->call.nrows);
	check_wire(w, request);
}

/* ------------------------------------------------------------------------
 * The dispatcher
 */

static int
make_call(World *w, ImOp op, int group)
{
	int			n = 0;

	while (w->calls[n].used && n < CALLS - 1)
		n++;
	memset(&w->calls[n], 0, sizeof(Call));
	w->calls[n].used = true;
	w->calls[n].group = group;
	w->calls[n].call.op = op;
	w->calls[n].call.command = &command;
	w->calls[n].call.rows = w->calls[n].rows;
	return n;
}

static void
add_row(Call *call, ImRow *row)
{
	call->rows[call->call.nrows++] = row;
}

/* The answer as the sender reads it. */
static void
read_answer(Call *call, const Request *request)
{
	static ImListEntry entries[64];
	ImCall	   *c = &call->call;
	ImExchange	exchange = {.sent = !request->not_sent};

	memset(&c->reply, 0, sizeof(c->reply));
	c->found = IM_FOUND_UNREADABLE;
	if (request->answer_lost)
		exchange.failure = request->not_sent ? IM_CODE_NOT_SENT : IM_CODE_TIMEOUT;
	else
	{
		exchange.http_status = 200;
		c->reply.readable = true;
		c->reply.code = request->code;
		if (c->op == IM_OP_GET_MESSAGES)
			im_verdict_read(c, im_results_find, false, request->body, strlen(request->body), entries, 64);
	}
	im_verdict_judge(c, &exchange);
	(void) im_verdict_rows(c, &exchange, request->body, strlen(request->body), entries, 64);
}

/* A judged row waits to be written back. */
static void
keep_outcome(World *w, ImRow *row)
{
	row->judged_at = w->now;
	w->outcomes[w->noutcomes++] = row;
}

/* A row goes back to its outbox as if never claimed. */
static void
give_row_back(World *w, ImRow *row)
{
	ImPolicy	policy = {.max_attempts = w->max_attempts};

	met[MET_GIVEN_BACK].n++;
	im_batch_give_back(row, &policy);
	keep_outcome(w, row);
}

/* Rows of one group become calls, which go. */
static void
dispatch_rows(World *w, ImRow *const *rows, int n, int group)
{
	ImCall	   *calls[BATCH];
	int			numbers[BATCH];
	int			ncalls = 0;

	for (int i = 0; i < n; i++)
	{
		int			place = im_batch_place(calls, ncalls, rows[i], w->batch);

		if (place == IM_PLACE_LATER)
		{
			give_row_back(w, rows[i]);
			continue;
		}
		if (place == IM_PLACE_NEW)
		{
			place = ncalls++;
			numbers[place] = make_call(w, im_batch_op(rows[i]), group);
			calls[place] = &w->calls[numbers[place]].call;
		}
		calls[place]->rows[calls[place]->nrows++] = rows[i];
	}
	for (int i = 0; i < ncalls; i++)
		send_call(w, numbers[i]);
}

/* A call was refused as a whole: the first half goes again, the other waits. */
static void
split_refused(World *w, Call *call)
{
	ImCall	   *c = &call->call;
	int			fewer = im_batch_fewer(c, w->batch);
	int			first = im_batch_first_half(c);
	int			again;

	met[im_code_is_too_many(c->verdict.code, c->nrows, BATCH) ? MET_TOO_MANY : MET_HALVED].n++;
	if (fewer > 0)
		w->batch = fewer;
	again = make_call(w, c->op, call->group);
	for (int i = 0; i < c->nrows; i++)
		if (i < first)
			add_row(&w->calls[again], c->rows[i]);
		else
			give_row_back(w, c->rows[i]);
	send_call(w, again);
}

/* A group's messages were read; false if more must be read. */
static bool
take_messages(World *w, Call *call)
{
	ImCall	   *c = &call->call;
	ImCall		older = {0};

	if (im_batch_reads_on(c, &older))
	{
		int			more = make_call(w, IM_OP_GET_MESSAGES, call->group);

		for (int i = 0; i < c->nrows; i++)
			add_row(&w->calls[more], c->rows[i]);
		w->calls[more].call.read_below = older.read_below;
		w->calls[more].call.group_newest = older.group_newest;
		send_call(w, more);
		return false;
	}
	(void) im_batch_read(c);
	for (int i = 0; i < c->nrows; i++)
	{
		met[MET_FOUND].n += c->rows[i]->found;
		met[MET_ABSENT].n += !c->rows[i]->found && c->verdict.outcome == IM_OUT_SAME;
	}
	return true;
}

/* A call is answered, or not. */
static void
take_call(World *w, Request *request)
{
	ImPolicy	policy = {.max_attempts = w->max_attempts};
	Call	   *call = &w->calls[request->call];
	ImRow	   *rows[2][BATCH] = {{NULL}};	/* to be looked up; to be sent */
	int			n[2] = {0, 0};
	int			explain = -1;
	ImFollow	follow;

	read_answer(call, request);
	follow = im_batch_follow(&call->call);
	if (follow == IM_FOLLOW_HALVES)
		split_refused(w, call);
	if (follow == IM_FOLLOW_HALVES || (follow == IM_FOLLOW_MESSAGES && !take_messages(w, call)))
	{
		call->used = false;
		return;
	}
	for (int i = 0; i < call->call.nrows; i++)
	{
		ImRow	   *row = call->rows[i];

		if (im_batch_route(&call->call, row) == IM_ROUTE_EXPLAIN)
		{
			if (explain < 0)
				explain = make_call(w, IM_OP_GET_MESSAGES, call->group);
			add_row(&w->calls[explain], row);
			continue;
		}
		im_batch_judge(row, &policy, true, (double) below(w, 1000) / 1000);
		if (row->next.act == IM_ACT_SETTLE)
			keep_outcome(w, row);
		else
		{
			int			which = row->next.act == IM_ACT_SEND;

			rows[which][n[which]++] = row;
		}
	}
	call->used = false;
	dispatch_rows(w, rows[0], n[0], call->group);
	dispatch_rows(w, rows[1], n[1], call->group);
	if (explain >= 0)
		send_call(w, explain);
}

/* ------------------------------------------------------------------------
 * The outbox
 */

/* True for a row that is there and not at an end. */
static bool
is_open(const Row *row)
{
	return row->late_at < 0 && (row->status == IM_PENDING || row->status == IM_SENDING);
}

/* No message that is or may be in the group is later, as ST_ROOM_LOWER has it. */
static void
lower(Group *group)
{
	group->newest_time = group->settled_time;
	for (int i = 0; i < group->nrows; i++)
		if ((is_open(&group->rows[i]) || group->rows[i].status == IM_IN_DOUBT) &&
			group->rows[i].maybe_sent_at >= 0 && group->rows[i].sent_time > group->newest_time)
			group->newest_time = group->rows[i].sent_time;
}

/* The time that a row that is not sent must have, by what is or may be in the group. */
static int64_t
least_time(const World *w, const Group *group, const Row *row)
{
	int64_t		newest = 0;

	for (int i = 0; i < group->nstored; i++)
		if (group->stored[i].row != LIVE && group->stored[i].time > newest)
			newest = group->stored[i].time;
	for (int i = 0; i < group->nrows; i++)
		if (group->rows[i].maybe_sent_at >= 0 && group->rows[i].sent_time > newest)
			newest = group->rows[i].sent_time;
	newest += !w->keep_equal;
	return row->send_time > newest ? row->send_time : newest;
}

/* What a row says must be so. */
static void
check_row(World *w, Group *group, int place)
{
	const Row  *row = &group->rows[place];
	int			seq = seq_of(group, place);

	if (row->status == IM_IMPORTED && (seq == 0 || group->stored[seq - 1].time != row->sent_time))
		violate(w, "imported, and not in the group");
	if (row->status == IM_IMPORTED && row->seq != 0 && row->seq != seq)
		violate(w, "imported with another message's number");
	if ((row->status == IM_FAILED || row->status == IM_INVALID) && seq > 0)
		violate(w, "failed, and in the group");
	if (row->status == IM_FAILED && !row->refused && w->live == 0 && !group->hole && row->attempts < w->max_attempts)
		violate(w, "a good message failed before its attempts were used");
}

/* Writes one outcome. */
static void
settle(World *w, ImRow *out, int group_number)
{
	Group	   *group = &w->groups[group_number];
	int			place = (int) (out->id - 1) % ROWS;
	Row		   *row = &group->rows[place];

	if (row->claim != out->claim)
	{
		violate(w, "another claim's outcome");
		return;
	}
	row->status = out->next.status;
	row->attempts = out->next.attempts;
	row->claim = 0;
	row->due_at = w->now + out->next.delay_ms;
	row->maybe_sent_at = !out->next.maybe_sent ? -1 : out->next.suspect_now ? out->judged_at : out->suspect_at;
	row->seq = out->seq;
	if (!out->next.maybe_sent)
		row->wire_time = 0;
	if (row->status == IM_IMPORTED && row->sent_time > group->settled_time)
		group->settled_time = row->sent_time;
	if (row->status != IM_IMPORTED && !out->next.maybe_sent)
		lower(group);
	trace(w, "row %d: %s, %d attempts, maybe sent %d", (int) out->id, im_status_name(row->status), row->attempts, row->maybe_sent_at >= 0);
	met[MET_IMPORTED].n += row->status == IM_IMPORTED;
	met[MET_FAILED].n += row->status == IM_FAILED;
	met[MET_DOUBT].n += row->status == IM_IN_DOUBT;
	met[MET_TOO_LATE].n += row->status == IM_INVALID;
	met[MET_REPAIRED].n += row->status == IM_IMPORTED && row->version > 0;
	if (row->status != IM_PENDING && row->status != IM_IMPORTED && row->visits-- > 0)
		row->visit_at = w->now + below(w, chance(w, 500) ? 1000 : 200000);
	/* Now, not later: what was in doubt then may turn out not to be there. */
	if (row->status == IM_INVALID && least_time(w, group, row) - row->send_time <= SHIFT_MAX)
		violate(w, "a message within the limit became invalid");
	check_row(w, group, place);
}

static int
group_of(const ImRow *row)
{
	return (int) (row->id - 1) / ROWS;
}

/* Writes the outcomes; rooms change after the commit. */
static void
flush(World *w)
{
	for (int i = 0; i < w->noutcomes; i++)
	{
		ImRow	   *row = w->outcomes[i];
		bool		again = row->next.status == IM_PENDING;

		settle(w, row, group_of(row));
		if (row->room->held && !w->groups[group_of(row)].held)
		{
			bool		live = false;

			for (int j = 0; j < w->groups[group_of(row)].nstored; j++)
				live = live || w->groups[group_of(row)].stored[j].row == LIVE;
			if (!live)
				violate(w, "a room is held in which nobody else writes");
			met[MET_HELD].n++;
			w->groups[group_of(row)].held = true;
		}
		im_rooms_settled(w->rooms, row->room, 1, again, again ? (w->now + row->next.delay_ms) * 1000 : 0);
		free(row);
	}
	w->noutcomes = 0;
}

/* Makes what travels of a row. */
static ImRow *
make_row(World *w, Group *group, int place, ImRoom *room, int64_t *newest)
{
	ImPolicy	policy = {.max_attempts = w->max_attempts};
	Row		   *row = &group->rows[place];
	ImRow	   *out = calloc(1, sizeof(ImRow));
	ImTiming	timing = {
		.own = row->send_time,.newest = *newest,.kept = row->maybe_sent_at >= 0 ? row->sent_time : 0,
		.keep_equal = w->keep_equal
	};
	bool		invalid;

	if (out == NULL)
		abort();
	out->kind = IM_MESSAGE;
	out->id = id_of((int) (group - w->groups), place);
	out->name = "u0";
	out->request = -1;
	out->room = room;
	out->life.repeat = IM_REPEAT_READ_BACK;
	out->life.attempts = row->attempts + 1;
	out->life.maybe_sent = row->maybe_sent_at >= 0;
	out->suspect_at = row->maybe_sent_at;
	if (out->life.maybe_sent)
		out->life.suspect_ms = im_steady_age_ms(&w->steady, row->maybe_sent_at * 1000, w->now * 1000, w->now * 1000);
	out->random = im_batch_random(out->id, out->row_key);
	out->sent_time = im_batch_time(&timing);
	invalid = im_batch_shift(&timing, SHIFT_MAX) > 0;
	/* A row that ends as invalid takes no time. */
	if (!invalid && out->sent_time > *newest)
		*newest = out->sent_time;
	im_protocol_claim(&out->life, invalid, &policy, &out->next);
	return out;
}

/* Marks a row as ours. */
static void
take(World *w, Group *group, ImRow *out)
{
	Row		   *row = &group->rows[(out->id - 1) % ROWS];

	out->life.why = out->next.why;
	out->claim = row->claim = ++w->claims;
	row->status = IM_SENDING;
	row->attempts++;
	if (row->maybe_sent_at < 0)
	{
		row->timed_at = w->now;
		if (out->sent_time > least_time(w, group, row))
			violate(w, "a message is moved by more than it must be");
	}
	row->sent_time = out->sent_time;
	if (out->next.act == IM_ACT_SEND)
		row->maybe_sent_at = w->now;
}

/* The row of a group that goes next behind one, of those in doubt only or of all; -1: none. */
static int
next_of(const Group *group, int last, bool unknown)
{
	int			next = -1;

	for (int i = 0; i < group->nrows; i++)
		if (is_open(&group->rows[i]) &&
			(!unknown || (group->rows[i].status == IM_PENDING && group->rows[i].maybe_sent_at >= 0)) &&
			(last < 0 || before(group, last, i)) && (next < 0 || before(group, i, next)))
			next = i;
	return next;
}

/* Claims rows of a room; returns how many, and how many were settled at once. */
static int
claim(World *w, Group *group, ImRoom *room, int *nsettled, int64_t *last)
{
	int64_t		newest = group->newest_time;
	ImRow	   *rows[BATCH] = {NULL};
	int			n = 0;
	int			seen = 0;
	/* What may be there already is looked up before anything is sent after it. */
	bool		only_lookups = next_of(group, -1, true) >= 0;

	*nsettled = 0;
	for (int i = next_of(group, -1, only_lookups); i >= 0 && seen < w->batch; i = next_of(group, i, only_lookups))
	{
		Row		   *row = &group->rows[i];
		ImRow	   *out;

		seen++;
		if (row->status != IM_PENDING || row->due_at > w->now)
			break;
		out = make_row(w, group, i, room, &newest);
		*last = out->id;
		if (out->next.act == IM_ACT_SETTLE)
		{
			bool		wait = out->next.status == IM_PENDING;

			out->judged_at = w->now;
			settle(w, out, (int) (group - w->groups));
			(*nsettled)++;
			free(out);
			if (wait)
				break;
			continue;
		}
		take(w, group, out);
		rows[n++] = out;
	}
	if (newest > group->newest_time && n > 0)
		group->newest_time = newest;
	if (seen > 0)
		room->newest = newest;
	if (n > 0 && fault(w, w->crash))
	{
		while (n > 0)
			free(rows[--n]);
		return -1;				/* it dies behind the commit, before a byte */
	}
	dispatch_rows(w, rows, n, (int) (group - w->groups));
	return n;
}

/* ------------------------------------------------------------------------
 * The worker
 */

/* It dies; what it sent travels on. */
static void
crash(World *w)
{
	bool		flying = false;

	for (int i = 0; i < REQUESTS; i++)
		if (w->requests[i].used && w->requests[i].call >= 0)
		{
			Call	   *call = &w->calls[w->requests[i].call];

			flying = flying || call->call.op == IM_OP_IMPORT_MESSAGES;
			w->requests[i].call = -1;
		}
	for (int i = 0; i < CALLS; i++)
	{
		for (int j = 0; w->calls[i].used && j < w->calls[i].call.nrows; j++)
			free(w->calls[i].rows[j]);
		w->calls[i].used = false;
	}
	for (int i = 0; i < w->noutcomes; i++)
		free(w->outcomes[i]);
	w->noutcomes = 0;
	met[MET_CRASHED].n += flying;
	im_rooms_free(w->rooms);
	w->rooms = NULL;
	w->running = false;
	w->starts_at = w->now + (chance(w, 300) ? 400000 : below(w, 5000));
	if (chance(w, 500))
		memset(&w->steady, 0, sizeof(w->steady));
	trace(w, "the worker dies");
}

/* It starts: rows of the dead one are taken over. */
static void
start(World *w)
{
	w->rooms = im_rooms_create();
	w->running = true;
	im_steady_note(&w->steady, w->now * 1000, w->now * 1000);
	for (int g = 0; g < w->ngroups; g++)
		for (int i = 0; i < w->groups[g].nrows; i++)
		{
			Row		   *row = &w->groups[g].rows[i];
			ImNext		next;

			if (row->status != IM_SENDING)
				continue;
			im_protocol_recover(IM_REPEAT_READ_BACK, row->attempts, &next);
			row->status = next.status;
			row->maybe_sent_at = next.maybe_sent ? w->now : -1;
			row->claim = 0;
			row->due_at = w->now;
		}
	trace(w, "a worker starts");
}

/* When the first open row of a room is due; -1: none is open. */
static int64_t
open_due(const Group *group)
{
	int			first = next_of(group, -1, false);

	return first < 0 ? -1 : group->rows[first].due_at;
}

/* Serves one room whose turn it is; false if the worker has died. */
static bool
serve(World *w, ImRoom *room)
{
	Group	   *group = &w->groups[room->key[1] - '0'];
	int64_t		last = INT64_MIN;
	ImRoomLook	look;
	int			nsettled;
	int			n;

	if (room->stage != IM_MESSAGE)
	{
		im_rooms_advance(w->rooms, room);
		return true;
	}
	n = claim(w, group, room, &nsettled, &last);
	if (n < 0)
		return false;
	look = (ImRoomLook) {
		.nrows = n,.nsettled = nsettled,.last_id = last,.full = true,
		.open = open_due(group) >= 0,.delay = (open_due(group) - w->now) * 1000
	};
	(void) im_rooms_looked(w->rooms, room, &look, true, w->now * 1000);
	return true;
}

/* One turn: write, find rooms, serve them. */
static void
turn(World *w)
{
	ImRoom	   *picked[GROUPS];

	if (fault(w, w->crash))
	{
		crash(w);
		return;
	}
	flush(w);
	for (int g = 0; g < w->ngroups; g++)
		if (!w->groups[g].held && open_due(&w->groups[g]) >= 0 && im_rooms_find(w->rooms, w->groups[g].key) == NULL)
			(void) im_rooms_add(w->rooms, w->groups[g].key, w->groups[g].key, 0);
	for (ImKind stage = IM_FIRST_STAGE; stage <= IM_LAST_STAGE; stage++)
	{
		int			n = im_rooms_pick(w->rooms, stage, false, w->now * 1000, picked, GROUPS);

		for (int i = 0; i < n; i++)
			if (!serve(w, picked[i]))
			{
				crash(w);
				return;
			}
	}
}

/* ------------------------------------------------------------------------
 * People
 */

/* A row is pending, and starts anew. */
static void
open_row(World *w, Row *row)
{
	row->status = IM_PENDING;
	row->attempts = 0;
	row->claim = 0;
	row->due_at = row->opened_at = w->now;
	row->maybe_sent_at = -1;
	row->wire_time = 0;
	row->version++;
}

/* Somebody writes down another record, and sets the row to pending: see start_anew() of guard.c. */
static void
repair(World *w, Row *row)
{
	if (chance(w, 700))
		row->refused = false;
	if (chance(w, 500))
		row->send_time += below(w, 2 * SHIFT_MAX) - SHIFT_MAX;
	if (row->maybe_sent_at >= 0)
		violate(w, "a row is repaired that may be in its group");
	open_row(w, row);
}

/* Somebody has looked into the group for a row in doubt: ST_RESOLVE and ST_RESOLVED_ROOM. */
static void
resolve(World *w, Group *group, int place)
{
	Row		   *row = &group->rows[place];

	if (seq_of(group, place) == 0)
	{
		met[MET_RESOLVED_AGAIN].n++;
		open_row(w, row);
		lower(group);
		return;
	}
	met[MET_RESOLVED_THERE].n++;
	row->status = IM_IMPORTED;
	row->seq = seq_of(group, place);
	row->maybe_sent_at = -1;
	row->wire_time = 0;
	if (row->sent_time > group->settled_time)
		group->settled_time = row->sent_time;
	if (row->sent_time > group->newest_time)
		group->newest_time = row->sent_time;
	check_row(w, group, place);
}

/* What people do with a row now. */
static void
visit(World *w, Group *group, int place)
{
	Row		   *row = &group->rows[place];

	if (row->late_at >= 0 && row->late_at <= w->now)
	{
		row->late_at = -1;
		row->due_at = row->opened_at = w->now;
		trace(w, "group %s: row %d comes late, of %" PRId64, group->key, place, row->send_time);
	}
	if (row->visit_at < 0 || row->visit_at > w->now)
		return;
	row->visit_at = -1;
	if (row->status == IM_IN_DOUBT)
		resolve(w, group, place);
	else if (row->status == IM_FAILED || row->status == IM_INVALID)
		repair(w, row);
	trace(w, "group %s: a person makes row %d %s, of %" PRId64, group->key, place, im_status_name(row->status), row->send_time);
}

static void
act(World *w)
{
	for (int g = 0; g < w->ngroups; g++)
		for (int i = 0; i < w->groups[g].nrows; i++)
			visit(w, &w->groups[g], i);
}

/* True if people will still do something. */
static bool
more_to_do(const World *w)
{
	for (int g = 0; g < w->ngroups; g++)
		for (int i = 0; i < w->groups[g].nrows; i++)
			if (w->groups[g].rows[i].late_at >= 0 || w->groups[g].rows[i].visit_at >= 0)
				return true;
	return false;
}

/* ------------------------------------------------------------------------
 * The world
 */

/* What is due on the wire. */
static void
move_requests(World *w)
{
	for (int i = 0; i < REQUESTS; i++)
	{
		Request    *request = &w->requests[i];

		if (!request->used)
			continue;
		if (request->arrives_at >= 0 && request->arrives_at <= w->now)
		{
			met[MET_LATE].n += request->call < 0 && request->op == IM_OP_IMPORT_MESSAGES;
			arrive(w, request, false);
			request->arrives_at = -1;
		}
		if (request->arrives_at < 0 && request->repeated_at >= 0 && request->repeated_at <= w->now)
		{
			arrive(w, request, true);
			request->repeated_at = -1;
		}
		if (request->call >= 0 && request->answers_at <= w->now)
		{
			take_call(w, request);
			request->call = -1;
		}
		if (request->call < 0 && request->arrives_at < 0 && request->repeated_at < 0)
			request->used = false;
	}
}

/* A row is there later than the others, wherever its time lies. */
static void
come_late(World *w, const Group *group, Row *row)
{
	row->late_at = 1 + below(w, chance(w, 500) ? 5000 : 300000);
	if (chance(w, 700))
		row->send_time = group->rows[below(w, group->nrows)].send_time + below(w, 20) - 10;
}

static void
init_world(World *w, uint64_t seed, bool tracing)
{
	int64_t		gap;
	int			late;

	memset(w, 0, sizeof(*w));
	w->seed = w->random = seed;
	w->trace = tracing;
	w->now = 1;
	w->calm_at = 1000 + below(w, 600000);
	w->bad = below(w, 3) == 0 ? 0 : 50 + below(w, 700);
	w->crash = below(w, 2) * below(w, 15);
	w->live = below(w, 5) == 0 ? 2 : 0;
	w->duplicate_first = chance(w, 500);
	w->duplicate_done = chance(w, 500);
	w->equal_is_later = chance(w, 500);
	w->keep_equal = w->equal_is_later && chance(w, 500);
	w->max_attempts = 1 + below(w, 8);
	w->batch = BATCH;
	w->most = chance(w, 300) ? 1 + below(w, BATCH) : BATCH;
	w->refuses_whole = chance(w, 300);
	w->ngroups = 1 + below(w, GROUPS);
	late = chance(w, 400) ? below(w, 400) : 0;
	for (int g = 0; g < w->ngroups; g++)
	{
		Group	   *group = &w->groups[g];
		int64_t		time = 1000000;

		sprintf(group->key, "+%d", g);
		group->nrows = 1 + below(w, ROWS);
		gap = chance(w, 300) ? 86400 : 1 + below(w, 3);
		for (int i = 0; i < group->nrows; i++)
		{
			time += below(w, (int) gap + 1);
			group->rows[i] = (Row) {.send_time = time, .refused = chance(w, 30), .maybe_sent_at = -1, .late_at = -1, .visit_at = -1};
			group->rows[i].visits = chance(w, 500) ? below(w, 3) : 0;
		}
		for (int i = 0; i < group->nrows && late > 0; i++)
			if (chance(w, late))
				come_late(w, group, &group->rows[i]);
	}
}

/* True if nothing is on its way and nothing open. */
static bool
quiet(const World *w)
{
	for (int i = 0; i < REQUESTS; i++)
		if (w->requests[i].used)
			return false;
	for (int g = 0; g < w->ngroups; g++)
		if (!w->groups[g].held && open_due(&w->groups[g]) >= 0)
			return false;
	return w->noutcomes == 0 && !more_to_do(w);
}

/* One life; returns what was violated, or NULL. */
static const char *
live(uint64_t seed, bool tracing)
{
	static World world;
	World	   *w = &world;

	init_world(w, seed, tracing);
	while (w->violation == NULL && !quiet(w))
	{
		w->now += 1 + below(w, chance(w, 100) ? 10000 : 500);
		if (w->now > w->calm_at + 7200000)
			violate(w, "a row is lost: it never comes to an end");
		if (w->now < w->calm_at && chance(w, w->live))
			store(w, &w->groups[below(w, w->ngroups)], LIVE, (uint32_t) life_draw(&w->random), 2000000000 + w->now / 1000);
		act(w);
		move_requests(w);
		if (!w->running && w->now >= w->starts_at)
			start(w);
		if (w->running)
			turn(w);
	}
	for (int g = 0; g < w->ngroups; g++)
		for (int i = 0; i < w->groups[g].nrows; i++)
			check_row(w, &w->groups[g], i);
	if (w->running)
		crash(w);
	return w->violation;
}

int
main(int argc, char **argv)
{
	return life_main(argc, argv, "sim_messages", live, met, NMET);
}
