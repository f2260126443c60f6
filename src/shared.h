/*
 * shared.h
 *	  Shared memory: a slot per database, through which sessions, the
 *	  launcher and the one sender of that database speak.
 *
 * Knows nothing of SQL or HTTP.  No pointer into any process's memory may
 * stand in here: processes are named by their number.  All fields of a slot
 * are protected by its lock, taken by im_slot_lock(), except dboid, which
 * changes only under both that and the directory's lock.
 */
#ifndef IM_SHARED_H
#define IM_SHARED_H

#include "postgres.h"

#include "storage/lwlock.h"

#include "breaker.h"
#include "call.h"
#include "compat.h"
#include "limiter.h"
#include "protocol.h"
#include "state.h"

#define IM_REQUESTS			16	/* sessions that can wait for a row at once */
#define IM_ORDERS			16	/* im_import_drain() calls at once */
#define IM_LATENCY_BUCKETS	112 /* quarter octaves of a microsecond */
#define IM_SECONDS			16	/* seconds of call counts that are kept */
#define IM_MINUTES			1440	/* minutes of history that are kept: a day */
#define IM_CLASSES			(IM_CLASS_RETRY + 1)

typedef enum ImRequestState
{
	IM_REQUEST_FREE,
	IM_REQUEST_ASKED,			/* by a session */
	IM_REQUEST_TAKEN,			/* the sender has claimed the row */
	IM_REQUEST_DONE				/* answer is filled in */
} ImRequestState;

/* How a request for one row ended. */
typedef enum ImRequestResult
{
	IM_RESULT_SETTLED,			/* status, code, info, group_id are the row's */
	IM_RESULT_NOT_CLAIMABLE,	/* not visible, locked, in flight, or not open */
	IM_RESULT_STOPPED			/* the sender cannot send now; info says why */
} ImRequestResult;

/* A session asks the sender to send one outbox row now. */
typedef struct ImRequest
{
	ImRequestState state;
	int			asker;			/* process number; -1: it gave up */
	uint32		ticket;			/* tells a reused slot from ours */
	int64		asked_at;		/* monotonic us */
	ImKind		kind;
	int64		id;
	unsigned char row_key[16];
	ImRequestResult result;
	ImStatus	status;
	int32		code;
	char		info[IM_INFO_MAX + 1];
	char		group_id[IM_GROUP_ID_MAX + 1];
} ImRequest;

/*
 * What an im_import_drain() may still send.  It belongs to the session and goes
 * with it, however it ends.
 */
typedef struct ImOrder
{
	int			pid;			/* of the session; 0: free */
	uint32		ticket;			/* tells a reused place from ours */
	int64		left;			/* rows that may still be claimed */
	int64		out;			/* rows claimed whose outcome is not written */
} ImOrder;

/* Counters of one command since stats_reset; see the view pg_stat_im_import. */
typedef struct ImStats
{
	int64		calls;
	int64		lookups;
	int64		replies[IM_CLASSES];
	int64		no_reply;
	int64		retries;
	int64		throttled_us;
	int64		bytes_out;
	int64		bytes_in;
	int64		connections;
	int64		handshakes;		/* of TLS */
	int64		latency_sum_us;
	int64		latency[IM_LATENCY_BUCKETS];
} ImStats;

/*
 * What happened to one kind of rows in one minute of the wall clock; 28 bytes,
 * because each database has IM_MINUTES of them for each kind.  Percentiles are
 * those of the minute.
 */
typedef struct ImMinute
{
	int32		minute;			/* since 2000-01-01 00:00 UTC; 0: never used */
	uint32		calls;
	uint32		imported;		/* rows */
	uint32		failed;			/* rows that ended failed, invalid or in doubt */
	uint32		throttled_ms;
	float4		p50;			/* milliseconds */
	float4		p99;
} ImMinute;

/* Calls in the last seconds, to tell how many a second there are. */
typedef struct ImPulse
{
	int64		first;			/* monotonic us, after ten seconds without
								 * calls; 0: none */
	int64		last;
	int64		second[IM_SECONDS]; /* which second ... */
	int32		count[IM_SECONDS];	/* ... and how many calls */
} ImPulse;

/* What a look over all rooms depends on: as long as it is the same, so are they. */
typedef struct ImSweepMark
{
	uint32		rings;			/* of the doorbell */
	uint64		counts;			/* made of the counts of groups and of what belongs
								 * to them; 0: not known */
} ImSweepMark;

typedef struct ImSlot
{
	LWLockPadded lock;
	uint32		generation;		/* goes up whenever the slot changes hands */
	Oid			dboid;			/* InvalidOid: free */
	bool		vacant;			/* the extension is not in the database any more */
	int64		sdkappid;		/* that its sender last used, or 0 */
	uint32		address;		/* a hash of the address it is called at */

	/* Doorbell. */
	bool		ring;			/* there may be something new to do ... */
	bool		recover;		/* rows in status sending that nobody sends */
	bool		urgent;			/* ... that what holds the sender up may not hold */
	uint32		rings;			/* counts the urgent ones ... */
	uint32		rings_seen;		/* ... and how many the state below knows of */
	uint32		all_rings;		/* counts these, and those that are not urgent */
	uint32		changes;		/* options changed so many times ... */
	uint32		changes_seen;	/* ... and a sender acted on so many */
	int64		changed_at;		/* when, monotonic us: a refusal of a call that
								 * began before counts for nothing */
	int64		asked_at;		/* when a session last asked for rows */
	char		key_file[MAXPGPATH];	/* of the last sender, "" if there is none ... */
	uint64		key_stamp;		/* ... and what it looked like */
	int			worker;			/* process number, or -1 */
	int			worker_pid;
	int64		wake_at;		/* monotonic us; start a worker then, 0: never */
	bool		no_start;		/* the launcher could not start a worker */

	/* The sender's own, kept here so that it outlives the process. */
	bool		clean;			/* no row can be in status sending */
	ImSteady	steady;			/* how far the wall clock can be trusted */
	bool		limiter_ready;
	int			batch[IM_KINDS];	/* rows a call that the service takes; 0: not known */
	int64		waiting[IM_KINDS];	/* open rows whose group is not imported ... */
	bool		swept;			/* ... as of a look over all rooms since the start */
	ImSweepMark swept_at;		/* how things stood then */
	int64		newest[IM_KINDS];	/* highest id of the rows of rooms that were looked at; 0: none yet */
	int			ordered_rooms;	/* at work because of im_import_drain() */
	ImLimiter	limiters[IM_OPS];	/* by the operation that im_op_limiter() says */
	ImBreaker	breaker;

	/* What the sender is doing, for im_import_status. */
	ImReport	report;
	ImState		logged;			/* as the server log knows it */
	ImState		told;			/* as those who LISTEN know it */
	char		last_error[IM_REASON_MAX];
	int64		last_error_at;	/* TimestampTz */
	int			in_flight;
	int64		watermark;		/* see im_outbox_count() */
	double		settle_rate;	/* rows a second, decaying; times settle_weight */
	double		kind_rate[IM_KINDS];	/* the same of each kind */
	double		settle_weight;	/* how much of these is known, 0 to 1 */
	int64		settle_rate_at; /* monotonic us, 0: not running */
	ImPulse		calls;
	ImPulse		calls_of[IM_OPS];

	/* Orders of sessions. */
	ImOrder		orders[IM_ORDERS];
	uint32		next_ticket;
	ImRequest	requests[IM_REQUESTS];

	int64		stats_reset_at; /* TimestampTz */
	int64		worker_starts;	/* since then */
	ImStats		stats[IM_OPS];	/* at the one whose limit is used, see im_op_limiter() */
} ImSlot;

/* Called by _PG_init() while shared_preload_libraries are loaded. */
extern void im_shared_init(void);

/* True if the library was preloaded, so that shared memory exists. */
extern bool im_shared_available(void);

/* A number that shared memory gets when it is made: at a start, and after a crash. */
extern uint64 im_shared_mark(void);

/* Raises an ERROR with the cure if it does not. */
extern void im_shared_require(void);

/*
 * This database's slot, made if need be.  NULL if all slots are taken (raise
 * with im_shared_full()), or if there is no shared memory.
 */
extern ImSlot *im_slot_mine(void);

/* The slot of a database, or NULL; never makes one. */
extern ImSlot *im_slot_find(Oid dboid);

/*
 * A slot belongs to its database as long as any process of that lives, because
 * each may have found it.  im_slot_vacate() forgets what is in it, once the
 * extension is gone, but for a doorbell that rang meanwhile; the database's
 * next im_slot_mine() takes it again.
 * im_slot_free_unused() gives back those that are vacant in databases without
 * a process.  im_slot_free() is for a database that is no more.
 */
extern void im_slot_vacate(ImSlot *slot);
extern void im_slot_free_unused(void);
extern void im_slot_free(Oid dboid);

/* True if the slot that was found at that generation is still this database's. */
extern bool im_slot_is_mine(const ImSlot *slot, uint32 generation);
pg_noreturn extern void im_shared_full(void);

extern void im_slot_lock(ImSlot *slot);
extern void im_slot_unlock(ImSlot *slot);

/* The i-th slot, or NULL past the last; for the launcher and the views. */
extern ImSlot *im_slot_nth(int i);

/*
 * Wakes the sender of a database, or the launcher so that it starts one.  New
 * rows are not urgent: while paused or stopped no sender is started for them.
 * What may end that (options, a person's order) is.
 */
extern void im_ring(ImSlot *slot, bool urgent);

/* At commit of the current transaction: ring, and have rows recovered. */
extern void im_recover_at_commit(void);

/* At commit of the current transaction: ring; with changed, options too. */
extern void im_ring_at_commit(bool changed);

/* The launcher tells where its latch is, and forgets it at exit (-1). */
extern void im_launcher_register(int proc_number);
extern bool im_launcher_runs(void);

/* The process of the worker that the slot names is there. */
extern bool im_slot_worker_lives(ImSlot *slot);

/*
 * Waits for the limiter of this slot: 0 if the call may go now, else
 * microseconds until it is worth asking again.  Counts throttled time.
 */
extern int64 im_slot_take(ImSlot *slot, ImOp op, bool worker);

/* There are calls to be granted, and no connection is free for them. */
extern void im_slot_want(ImSlot *slot, ImOp op);

/* A call that was granted then leaves only now, see im_limiter_late(). */
extern void im_slot_late(ImSlot *slot, ImOp op, int64 granted);

/* Tells which app is called, and brings the configured rate to the limiter. */
extern void im_slot_set_app(ImSlot *slot, int64 sdkappid, const double *rates);

/* The service said "too fast" to a call granted then; everything: to the whole app. */
extern void im_slot_slow(ImSlot *slot, ImOp op, int64 granted, bool everything);

/* Notes one exchange in the statistics. */
extern void im_slot_count(ImSlot *slot, const ImCall *call, ImKind kind, ImClass class,
						  int64 elapsed_us, size_t bytes_out, size_t bytes_in,
						  bool connected, bool tls);

/* Notes time for which calls of an operation were ready and its limiter held them. */
extern void im_slot_throttled(ImSlot *slot, ImOp op, ImKind kind, int64 us);

/* Notes for the history how so many rows of a kind ended. */
extern void im_slot_settled(ImSlot *slot, ImKind kind, int imported, int failed);

/*
 * Copies the history that one kind has of the last day, oldest first, to minutes
 * (IM_MINUTES); returns how many.  Minutes in which nothing happened are left out.
 */
extern int	im_slot_history(ImSlot *slot, ImKind kind, ImMinute *minutes);

/* Counters to zero; locks the slot. */
extern void im_slot_reset_stats(ImSlot *slot);

/*
 * The latency below which a share of the calls counted in a histogram stayed,
 * in milliseconds; 0 if there are none.  Good to a quarter of an octave.
 */
extern double im_latency_percentile(const int64 *histogram, double share);

/*
 * Calls a second over the last 10 seconds, or since the first call if that is
 * less; that of a copy of the slot will do, else the slot must be locked.
 */
extern double im_pulse_per_second(const ImPulse *pulse);

/* Monotonic clock, microseconds, the same in all processes. */
extern int64 im_now_us(void);

/* Options or the key changed now: old refusals mean nothing; locks the slot. */
extern void im_slot_changed(ImSlot *slot);

/*
 * Orders of im_import_drain().  Rows that may be claimed for all of them; the
 * slot must be locked.
 */
extern int64 im_orders_left(const ImSlot *slot);

/* True if any session orders rows, or waits for what it ordered. */
extern bool im_orders_any(ImSlot *slot);

/* A new order; its place, or -1 if all are taken. */
extern int	im_order_place(ImSlot *slot, int64 rows, uint32 *ticket);

/* Takes an order away, if it is still that of the ticket. */
extern void im_order_withdraw(ImSlot *slot, int place, uint32 ticket);

/* True once all rows of an order are claimed and their outcomes written. */
extern bool im_order_done(ImSlot *slot, int place);

/* The sender has claimed a row for the first order that has any left: its ticket, or 0. */
extern uint32 im_order_take(ImSlot *slot);

/* Its outcome is written; unsent: it was never sent, another may go for it. */
extern void im_order_settled(ImSlot *slot, uint32 ticket, bool unsent);

/* A new sender: what the last one had claimed for orders is not known any more. */
extern void im_orders_orphaned(ImSlot *slot);

#endif							/* IM_SHARED_H */
