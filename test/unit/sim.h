/*
 * sim.h
 *	  A small world in which the core of im_import can be tried a million
 *	  times: databases, a network, the service, people, and a virtual clock.
 *
 * The core is the real one: plan, protocol, limiter, breaker, state, errcodes.
 * What stands between it and PostgreSQL or libcurl is modelled here as drain.c,
 * sender.c and queue.c do it, statement by statement; nothing here decides:
 *
 *		sim_db.c		the table and its statements		(queue.c, guard.c)
 *		sim_drain.c		claim, send, judge, settle			(drain.c, sender.c)
 *		sim_service.c	the network and the service
 *		sim_faults.c	people, crashes, clocks, copies of the database
 *		sim_check.c		the promise, and the truth it is measured by
 *		sim.c			the world's loop and the command line
 *
 * Everything is drawn from the seed and nothing else.  Times are microseconds
 * of the one true clock unless a name says otherwise; "wall" is what a host's
 * clock shows.
 *
 * What the world does not do, because no client could live with it: a request
 * that arrives IM_ZOMBIE_MS or more after it was sent (a lookup could say
 * "absent", the row become failed, and the group appear; never two groups for
 * an id of our own, but two for an assigned one after a person resolved it);
 * a service that says "done" without doing it, refuses in a documented way
 * what it does, or does one request for an assigned id twice; a group that is
 * dissolved while its row is open; two servers on the same timeline.
 */
#ifndef SIM_H
#define SIM_H

#include "breaker.h"
#include "call.h"
#include "errcodes.h"
#include "limiter.h"
#include "plan.h"
#include "protocol.h"
#include "state.h"

#define MS			INT64_C(1000)
#define SEC			INT64_C(1000000)
#define NEVER		INT64_MAX
#define WALL_EPOCH	(INT64_C(800000000) * SEC)	/* so that 0 can be NULL */

#define MAX_ROWS	8			/* of one copy */
#define MAX_KEYS	16
#define MAX_COPIES	3
#define MAX_CALLS	24
#define MAX_REQUESTS 96
#define MAX_GROUPS	48
#define MAX_GRANTS	64			/* that are remembered, for the rate */

/* A record's content; equal numbers are equal records. */
#define CONTENT_REFUSED	1		/* bit: the service refuses it */
#define CONTENT_INVALID	2		/* bit: invalid while limits are strict */

/* GroupIds are numbers here, 0 is NULL: own ids, generated, assigned. */
#define GROUP_OWN		1
#define GROUP_GENERATED	100
#define GROUP_ASSIGNED	1000
#define GROUP_WRONG		5000

/* What a run must have met; the text is what the report says. */
#define SIM_COVERED(X) \
	X(COMMIT_OK, "commit") \
	X(COMMIT_ABORTED, "commit: aborted") \
	X(COMMIT_LOST, "commit: done, but the client does not know") \
	X(COMMIT_SLOW, "commit: waits for a standby") \
	X(CLAIM_LOST, "commit: a claim among what the client does not know") \
	X(CRASH_SERVER, "crash: of the server") \
	X(CRASH_WORKER, "crash: of the worker alone") \
	X(CRASH_IN_CLAIM, "crash: before the commit") \
	X(CRASH_AFTER_COMMIT, "crash: after the commit, before a byte") \
	X(CRASH_AFTER_SEND, "crash: after the first byte") \
	X(CRASH_BEFORE_SETTLE, "crash: with a verdict in memory") \
	X(SHUTDOWN, "clean shutdown") \
	X(SHUTDOWN_GIVE_UP, "clean shutdown with calls under way") \
	X(RELEASED, "unsent calls released") \
	X(WORKER_LEFT, "worker left: nothing to do") \
	X(NOT_SENT, "net: no connection") \
	X(ANSWER_EARLY, "net: answered before the body was read") \
	X(DROPPED, "net: request lost") \
	X(ANSWER_LOST, "net: answer lost") \
	X(RESET, "net: connection reset") \
	X(DELAYED, "net: request late") \
	X(ZOMBIE_APPLIED, "net: late request applied after the client gave up") \
	X(DUPLICATED, "net: request delivered twice") \
	X(SAID_DONE, "service: done") \
	X(SAID_EXISTS, "service: 10021, 10025") \
	X(SAID_RESTING, "service: 10021 for an id that is not there") \
	X(SAID_RATE, "service: 60007, 60011, 60018, 60019") \
	X(SAID_QUOTA, "service: 10006") \
	X(SAID_RESIGN, "service: 70001, 60004") \
	X(SAID_RESIGN_TWICE, "service: refuses the fresh UserSig too") \
	X(SAID_STOP, "service: 70009, 60010") \
	X(SAID_REFUSED, "service: 10004, 10016, 10019") \
	X(SAID_RETRY_DONE, "service: 10002, 60008, unknown code, yet applied") \
	X(SAID_RETRY_NOT, "service: 10002, 60008, unknown code, not applied") \
	X(SAID_UNDOCUMENTED_STOP, "service: undocumented 7xxxx") \
	X(SAID_OTHER_ID, "answer: another GroupId") \
	X(SAID_NO_ID, "answer: done without GroupId") \
	X(SAID_UNREADABLE, "answer: unreadable") \
	X(SAID_HTTP, "answer: HTTP 502") \
	X(SAID_TOO_BIG, "answer: too big") \
	X(LOOKED_SAME, "lookup: same") \
	X(LOOKED_OTHER, "lookup: other") \
	X(LOOKED_ABSENT, "lookup: absent") \
	X(LOOKED_UNREADABLE, "lookup: unreadable") \
	X(LOOKED_LOST, "lookup: lost") \
	X(ASKED_TOGETHER, "lookup: of several rows") \
	X(ASKED_FULL, "lookup: of as many as there is room for") \
	X(SETTLE_LOCKED, "settle: row locked") \
	X(SETTLE_GONE, "settle: row deleted") \
	X(SETTLE_MISMATCH, "settle: token of another claim") \
	X(TABLE_BUSY, "table locked") \
	X(RECOVERED, "recovery: row taken") \
	X(RECOVER_LOCKED, "recovery: row locked") \
	X(CLAIM_LOCKED, "claim: row locked") \
	X(DUE_CAPPED, "due time capped") \
	X(CAREFUL, "outcomes written one by one") \
	X(USER_INSERT, "user: inserts") \
	X(USER_INSERT_LATE, "user: commits an insert late") \
	X(USER_EDIT, "user: edits a row") \
	X(USER_REPAIR, "user: repairs a failed or invalid row") \
	X(USER_REKEY, "user: changes a group_id") \
	X(USER_FROZEN, "user: is told that the record is frozen") \
	X(USER_DELETE, "user: deletes a row") \
	X(USER_DELETE_FLYING, "user: deletes a row in flight") \
	X(USER_LOCK, "user: locks a row") \
	X(USER_RETRY, "user: retries failed rows") \
	X(USER_RESOLVE_SEND, "user: resolves, to be sent again") \
	X(USER_RESOLVE_DONE, "user: resolves with a GroupId") \
	X(USER_PAUSE, "user: pauses") \
	X(USER_RESET, "user: changes options") \
	X(USER_LIMITS, "user: changes the limits of validity") \
	X(USER_RATE, "user: changes the rate") \
	X(CLOCK_FORWARD, "clock: set forward") \
	X(CLOCK_BACK, "clock: set back") \
	X(COPY_FAILOVER, "copy: failover to an older state") \
	X(COPY_BOTH, "copy: both primaries send") \
	X(COPY_CLONE, "copy: clone with another origin") \
	X(COPY_HELD, "copy: held by the fence") \
	X(COPY_CONTINUED, "copy: continued by option") \
	X(COPY_ADOPTED, "copy: adopted by a person")

typedef enum SimCover
{
#define X(name, text) SIM_##name,
	SIM_COVERED(X)
#undef X
	SIM_NCOVERED
} SimCover;

/* A row: exactly the columns that the protocol uses; 0 is NULL. */
typedef struct SimRow
{
	bool		exists;
	int64_t		id;
	int			key;			/* row_key */
	int64_t		origin;
	ImStatus	status;
	int			group_id;
	int			content;		/* all other columns of the record */
	int64_t		claim;
	int			attempts;
	int64_t		due_at;			/* wall */
	int64_t		maybe_sent_at;	/* wall */

	/* Not columns: locks, and what only the world knows. */
	int64_t		visible_at;		/* the insert commits then */
	int64_t		locked_until;	/* by a person */
	int64_t		stamped_at;		/* maybe_sent_at set by a take-over */
	int64_t		answers_until;	/* what other copies sent until then counts */
} SimRow;

/* The table and _im_control, as they can be copied. */
typedef struct SimTable
{
	SimRow		rows[MAX_ROWS];
	int			timeline_noted; /* 0: none */
	bool		paused;
} SimTable;

/* A short list of calls, by number. */
typedef struct SimList
{
	int			n;
	uint8_t		at[MAX_CALLS];
} SimList;

/* A row in flight: in this world a request carries one. */
typedef struct SimCall
{
	int64_t		id;
	int64_t		claim;
	int			request;
	ImOp		op;
	ImLife		life;
	int64_t		suspect_at;
	char		group_id[IM_GROUP_ID_MAX + 1];
	ImReply		reply;
	ImVerdict	verdict;
	ImNext		next;
	int64_t		begun_at;
	int64_t		judged_at;
} SimCall;

/* What a worker has in its memory; see ImDrain and ImSender. */
typedef struct SimDrain
{
	SimCall		calls[MAX_CALLS];
	bool		used[MAX_CALLS];
	bool		waits[MAX_CALLS];	/* queued, but for others to be asked about with it */
	int			keys[MAX_CALLS];	/* which row, for the trace and the truth */
	int			contents[MAX_CALLS];	/* the encoded body */
	int			groups[MAX_CALLS];	/* group_id as a number */
	uint32_t	serials[MAX_CALLS]; /* of the signature that it carries */

	SimList		live;
	SimList		outcomes;
	int64_t		outcomes_since;
	SimList		queue;			/* in the sender */
	SimList		flying;
	int64_t		asking_since;

	ImSignatures signatures;
	bool		signed_now;

	uint32_t	changes;
	ImPlan		plan;
	ImState		beneath;		/* as last published */
	bool		fenced;
	bool		paused;
	int64_t		watermark;
	bool		worked;
	int64_t		ending_at;		/* shutdown is under way until then; 0: no */
	int64_t		wake_at;		/* of its sleep */
} SimDrain;

/* Shared memory of one server. */
typedef struct SimSlot
{
	bool		ring;
	uint32_t	changes;
	bool		clean;
	int64_t		wake_at;
	ImLimiter	limiter;
	ImBreaker	breaker;
	ImSteady	steady;
} SimSlot;

/* One copy of the database with its server. */
typedef struct SimCopy
{
	bool		exists;
	int			number;
	bool		up;				/* not dead for good */
	int64_t		starts_at;		/* the server is down until then */
	int64_t		origin;
	int			timeline;
	bool		continues;		/* option after_promotion */
	bool		assigned_ids;	/* option group_ids */
	bool		strict;			/* limits of validity */
	int			max_attempts;
	int			max_in_flight;
	double		rate;
	SimTable	table;
	int64_t		wall_offset;
	int64_t		table_locked_until;

	SimSlot		slot;
	bool		running;		/* the worker */
	int			incarnation;	/* of the worker */
	int64_t		launch_at;		/* not before, after a failure */
	int64_t		polled_at;
	SimDrain	drain;

	int64_t		grants[MAX_GRANTS]; /* times of the last ones */
	int			ngrants;
	int			window;			/* most grants in a second at the limit */
	int64_t		window_since;	/* a change of the limit restarts the count */
} SimCopy;

/* What the service does with a request, and says. */
typedef enum SimConduct
{
	CONDUCT_NORMAL,
	CONDUCT_RATE,
	CONDUCT_QUOTA,
	CONDUCT_RESIGN,
	CONDUCT_STOP,
	CONDUCT_REFUSE,
	CONDUCT_RESTING,
	CONDUCT_RETRY,
	CONDUCT_UNDOCUMENTED_STOP,
	CONDUCT_OTHER_ID,
	CONDUCT_NO_ID,
	CONDUCT_UNREADABLE,
	CONDUCT_HTTP,
	CONDUCT_TOO_BIG,
	NCONDUCTS
} SimConduct;

/* One request on its way, and its answer on the way back. */
typedef struct SimRequest
{
	bool		used;
	int			copy;
	int			incarnation;	/* of the worker that waits for it ... */
	int			call;			/* ... for this call; -1: nobody waits */
	int64_t		claim;
	ImOp		op;
	int			key;
	int			group_id;		/* 0: assigned */
	int			content;
	int64_t		sent_at;
	int64_t		arrives_at;		/* NEVER: lost */
	bool		answer_lost;
	SimConduct	conduct;
	bool		applies;		/* where the conduct leaves it open */
	bool		twice;			/* a second copy arrives later */

	/* What the client sees, and when. */
	int64_t		done_at;
	bool		sent;
	int			http_status;
	int32_t		failure;
	bool		readable;
	int32_t		code;
	int			said_id;
	ImFound		found;
	bool		definite_no;	/* the answer says truly: nothing created */
} SimRequest;

typedef struct SimGroup
{
	int			group_id;
	int			content;
	int			key;			/* the row that created it */
	int			copy;
	int64_t		sent_at;
} SimGroup;

/* What the world knows of a row_key. */
typedef struct SimTruth
{
	int			groups;			/* created by it */
	bool		open_post;		/* assigned: a POST whose outcome is not "no" */
	bool		rekeyed;		/* a person gave the row another GroupId */
} SimTruth;

typedef struct SimWorld
{
	uint64_t	seed;
	uint64_t	random;
	bool		trace;
	int64_t		now;
	bool		faults;			/* off: everything works */
	int64_t		calm_since;
	int			steps;
	const char *violation;		/* the first one */

	/* How bad the world is, in 1/1000. */
	int			bad_net;
	int			bad_service;
	int			bad_commit;
	int			bad_crash;
	int64_t		late_max;		/* longest delay of a late request */

	int			ticks;			/* so many acts of people and fate to come */
	int64_t		tick_at;

	SimCopy		copies[MAX_COPIES];
	SimTable	standby;		/* an older state of copy 0 */
	int64_t		standby_at;		/* 0: none yet */
	int			timelines;
	int64_t		last_claim;
	int			nkeys;
	int64_t		last_id;

	SimRequest	requests[MAX_REQUESTS];
	SimGroup	groups[MAX_GROUPS];
	int			ngroups;
	SimTruth	truth[MAX_KEYS];
} SimWorld;

/* Coverage of the whole run. */
typedef struct SimCoverage
{
	int64_t		met[SIM_NCOVERED];
	int64_t		outcomes[IM_OUT_UNREADABLE + 1];
	int64_t		whys[IM_WHY_INVALID + 1];
	int64_t		breaker[IM_BREAKER_UNREACHABLE + 1];
	int64_t		moves[IM_IN_DOUBT + 1][IM_IN_DOUBT + 1];
	int64_t		sends;
	int64_t		groups;
} SimCoverage;

extern SimCoverage sim_coverage;

#define COVER(name) (sim_coverage.met[SIM_##name]++)
#define TRACE(world, ...) \
	do { \
		if ((world)->trace) \
			sim_trace((world), __VA_ARGS__); \
	} while (0)

/* sim.c */
extern uint64_t sim_random(SimWorld *world);
extern int	sim_below(SimWorld *world, int n);
extern int64_t sim_between(SimWorld *world, int64_t low, int64_t high);
extern bool sim_chance(SimWorld *world, int per_mille);
extern void sim_trace(SimWorld *world, const char *format,...) __attribute__((format(printf, 2, 3)));
extern void sim_violate(SimWorld *world, const char *what);
extern int64_t sim_wall(const SimWorld *world, const SimCopy *copy);

/* sim_db.c */
extern SimRow *sim_row(SimCopy *copy, int64_t id);
extern bool sim_visible(const SimWorld *world, const SimRow *row);
extern bool sim_locked(const SimWorld *world, const SimRow *row);
extern bool sim_fenced(const SimCopy *copy);
extern bool sim_recover(SimWorld *world, SimCopy *copy);
extern bool sim_claim(SimWorld *world, SimCopy *copy, int want, SimList *calls, int *nsettled);
extern void sim_settle(SimWorld *world, SimCopy *copy, SimList *writing, SimList *written);
extern int	sim_adopt(SimWorld *world, SimCopy *copy, bool foreign);
extern int64_t sim_next_due(SimCopy *copy);
extern bool sim_has_open(const SimWorld *world, const SimCopy *copy);
extern void sim_commit_rows(SimWorld *world, SimCopy *copy, const SimTable *before, bool by_person);

/* sim_drain.c */
extern void sim_start_worker(SimWorld *world, SimCopy *copy);
extern void sim_turn(SimWorld *world, SimCopy *copy);
extern void sim_shut_down(SimWorld *world, SimCopy *copy);
extern void sim_crash(SimWorld *world, SimCopy *copy, bool server);
extern void sim_list_add(SimList *list, int call, bool first);
extern bool sim_list_remove(SimList *list, int call);
extern int	sim_new_call(SimDrain *drain);

/* sim_service.c */
extern void sim_send(SimWorld *world, SimCopy *copy, int call);
extern void sim_arrive(SimWorld *world, SimRequest *request);
extern SimRequest *sim_answer(SimWorld *world, SimCopy *copy);
extern void sim_orphan(SimWorld *world, SimCopy *copy);
extern SimGroup *sim_group(SimWorld *world, int group_id);
extern const char *sim_group_text(int group_id, char *out);

/* sim_faults.c */
extern void sim_init_world(SimWorld *world);
extern void sim_tick(SimWorld *world);
extern void sim_calm(SimWorld *world);

/* sim_check.c */
extern void sim_check_send(SimWorld *world, const SimRequest *request);
extern void sim_check_created(SimWorld *world, const SimGroup *group);
extern void sim_check_change(SimWorld *world, SimCopy *copy, const SimRow *old,
							 const SimRow *row, bool by_person);
extern void sim_check_grant(SimWorld *world, SimCopy *copy);
extern bool sim_quiet(SimWorld *world);
extern void sim_check_end(SimWorld *world);
extern const char *sim_zero_counter(void);
extern void sim_print_coverage(void);

#endif							/* SIM_H */
