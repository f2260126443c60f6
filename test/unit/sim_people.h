/*
 * sim_people.h
 *	  A simulated life of accounts and members: kinds of which many rows go into
 *	  a call, in no order, and of which a repeat does no harm.
 *
 * What decides is what ships: plan, protocol, batch, verdict, results, rooms,
 * limiter, breaker, and the commands of these kinds.  What stands between it and
 * PostgreSQL or libcurl is modelled here, statement by statement:
 *
 *		sim_people_outbox.c		claim, settle, recover			(queue.c, guard.c)
 *		sim_people_worker.c		calls, verdicts, the turn		(drain.c, dispatch.c, sender.c, flow.c)
 *		sim_people_service.c	the network and the service
 *		sim_people.c			the world, people, and what must hold
 *
 * The service finds a row bad or not by its value, and answers as its documents
 * say: accounts that failed are listed without a reason, a member has 0, 1 or 2.
 * A world draws how many rows a call may have, whether one bad row is the refusal
 * of the whole call, and what goes wrong.
 *
 * What the world does not do: a request arrives at most LATE_MAX after it was
 * sent, which is less than IM_ZOMBIE_MS; a service that says "done" without doing
 * it, or refuses for good what it does; a proxy that sends a request once more
 * after it has given back the answer to the first.
 */
#ifndef SIM_PEOPLE_H
#define SIM_PEOPLE_H

#include "batch.h"
#include "breaker.h"
#include "errcodes.h"
#include "limiter.h"
#include "plan.h"
#include "protocol.h"
#include "rooms.h"
#include "sim_life.h"
#include "state.h"

#define MS			INT64_C(1000)
#define SEC			INT64_C(1000000)
#define NEVER		INT64_MAX

#define USERS		520
#define GROUPS		2
#define ROWS		600
#define IN_CALL		100			/* rows */
#define REQUESTS	1024
#define CALLS		1400
#define LATE_MAX	(50 * SEC)

/* A record's content; equal numbers are equal records. */
#define VALUE_BAD		1		/* bit: the service refuses it */
#define VALUE_INVALID	2		/* bit: it cannot be sent */
#define VALUE_NEXT		4

/* A row of an outbox; its id is its place + 1. */
typedef struct Row
{
	ImKind		kind;
	int			user;
	int			group;			/* of a member */
	int			value;
	int64_t		visible_at;		/* its insert commits then */
	int64_t		locked_until;	/* by a person */
	ImStatus	status;
	int64_t		claim;
	int			attempts;
	int64_t		due_at;			/* -1: NULL */
	int64_t		maybe_sent_at;	/* -1: NULL */
	/* what only the world knows */
	int			sends;			/* calls that it was in since its claim */
	bool		told_absent;	/* the worker was told that its user is not there */
} Row;

/* A call in the worker's memory. */
typedef struct Call
{
	ImCall		call;
	ImRow	   *rows[IN_CALL];
	struct Call *next;			/* in the queue, or among those that are free */
} Call;

/* A request on its way. */
typedef struct Request
{
	bool		used;
	ImOp		op;
	int			group;
	int			n;
	int			row[IN_CALL];
	int			value[IN_CALL];
	bool		applies[IN_CALL];
	int64_t		arrives_at;		/* NEVER: it has, or never does */
	int64_t		repeated_at;	/* a proxy sends it once more; NEVER: no */
	Call	   *call;			/* that waits for it; NULL: none */
	int64_t		answers_at;		/* when the client knows, whatever it is */
	int32_t		failure;		/* an ImOwnCode instead of an answer; 0: none */
	int			drawn_code;		/* with which it is answered if it is not refused as a whole; 0: none */
	int			code;			/* of the answer */
	bool		garbled;		/* the answer cannot be read, or leaves out a row */
	bool		whims;			/* a row is refused although nothing is wrong with it */
	signed char result[IN_CALL];
} Request;

typedef struct Service
{
	bool		account[USERS];
	int			value[USERS];
	bool		member[GROUPS][USERS];
	bool		group[GROUPS];
	int64_t		comes_at[USERS];	/* somebody makes the account then; NEVER: no */
	int			most_accounts;	/* in a call */
	int			most_members;
	int			capacity;		/* of a group */
	bool		refuses_whole;	/* a call with a bad row */
	bool		overwrites;		/* an account that is there */
} Service;

typedef struct World
{
	uint64_t	random;
	bool		trace;
	int64_t		now;			/* us */
	int64_t		calm_at;
	int			bad;			/* faults in 1/1000 */
	int			crash;
	int			steps;
	int64_t		came_until;		/* what was to come until then has come */
	const char *violation;
	Service		service;
	Request		requests[REQUESTS];
	int			nrequests;		/* places that were used */

	/* the database */
	Row			rows[ROWS];
	int			nrows;
	int64_t		made_at[GROUPS];	/* the group's row is imported then */
	int			ngroups;
	int			nusers;
	bool		paused;
	int64_t		claims;

	/* options */
	int			max_attempts;
	int			max_in_flight;
	int			per_call[IM_KINDS];

	/* shared memory */
	bool		ring;
	bool		clean;
	int64_t		wake_at;		/* the alarm; 0: none */
	int64_t		polled_at;
	int			known_most[IM_KINDS];
	ImBreaker	breaker;
	ImSteady	steady;
	ImLimiter	limiters[IM_OPS];

	/* the worker */
	bool		running;
	int64_t		starts_at;
	int64_t		turns_at;
	ImPlan		plan;
	ImRooms    *rooms;
	bool		sweep_owed;
	bool		knows_pause;
	bool		worked;
	ImState		beneath;
	int64_t		watermark;
	Call	   *live[CALLS];
	int			nlive;
	Call	   *head[IM_OPS];	/* of the queues */
	int			queued[IM_OPS];
	int			flying[IM_OPS];
	int			nqueued;
	int			nflying;
	int			first_op;		/* whose turn it is when connections are scarce */
	int			nrows_of[IM_KINDS];
	Call	   *explaining;
	int64_t		explaining_since;
	ImRow	   *outcomes[ROWS];
	int			noutcomes;
	int64_t		outcomes_since;

	/* what only the world counts */
	int			imports;		/* requests that import rows */
	int			alike;			/* answers that refused nine of ten of their rows, since a pause */
	int			failed;			/* rows since then */
	bool		flawless;		/* nothing goes wrong in this world */
	bool		brake;			/* all rows are refused, for one reason */
	int			pauses;
} World;

enum
{
	MET_IMPORTED, MET_FAILED, MET_INVALID, MET_DOUBT, MET_LISTED_FAILED, MET_ALONE, MET_ALONE_DONE, MET_ADDED, MET_THERE,
	MET_REFUSED_MEMBER, MET_EXPLAINED, MET_ABSENT, MET_QUESTION_SPLIT, MET_TOO_MANY, MET_HALVED, MET_PARTLY, MET_LATE,
	MET_REPEATED, MET_GARBLED, MET_DISSOLVED, MET_CRASHED, MET_CRASHED_SENT, MET_LOST_CLAIM, MET_ROLLED_BACK, MET_COMMIT_UNKNOWN, MET_LOCKED,
	MET_REPAIRED, MET_RETRIED, MET_RESOLVED, MET_WAITED, MET_PAUSED, MET_LEFT, NMET
};

extern LifeMet met[NMET];

/* sim_people.c */
extern int	below(World *w, int n);
extern bool chance(World *w, int per_mille);
extern bool fault(World *w, int share);
extern void trace(const World *w, const char *format,...) __attribute__((format(printf, 2, 3)));
extern void violate(World *w, const char *what);
extern bool is_there(const World *w, const Row *row);
extern void check_row(World *w, const Row *row);
extern void check_told(World *w, const Row *row, const ImRow *out);
extern void check_send(World *w, const Call *call);
extern void check_pause(World *w);

/* sim_people_service.c */
extern void send_request(World *w, Call *call);
extern void move_requests(World *w);
extern int64_t next_on_the_wire(const World *w);
extern void read_answer(World *w, Call *call, const Request *request);
extern void orphan_requests(World *w);

/* sim_people_outbox.c */
extern void free_row(ImRow *row);
extern void free_rows(void);
extern bool is_visible(const World *w, const Row *row);
extern bool is_open(const World *w, const Row *row);
extern void take_accounts(World *w, int want, bool rescan, bool *short_scan, ImRow **out, int *n, int *nsettled);
extern void take_members(World *w, ImRoom *room, int per_room, ImRoomLook *look, ImRow **out, int *n);
extern int64_t next_due(const World *w, ImKind kind);
extern bool settle_row(World *w, const ImRow *out);
extern bool recover_rows(World *w);

/* sim_people_worker.c */
extern void start_worker(World *w);
extern void turn(World *w);
extern void die(World *w, bool server);
extern void forget_worker(World *w);

#endif							/* SIM_PEOPLE_H */
