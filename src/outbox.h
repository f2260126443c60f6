/*
 * outbox.h
 *	  The outbox seen from C: claim, settle, recover, adopt.  The statements
 *	  themselves stand in statements.c.
 *
 * Knows nothing of HTTP or signatures.  Everything here runs inside
 * im_outbox_run(), which gives a function its own transaction as the
 * extension's owner in a security-restricted context, or, for SQL functions,
 * inside the caller's transaction between im_outbox_enter() and
 * im_outbox_leave().
 */
#ifndef IM_OUTBOX_H
#define IM_OUTBOX_H

#include "postgres.h"

#include "datatype/timestamp.h"
#include "lib/ilist.h"
#include "nodes/pg_list.h"

#include "app.h"
#include "call.h"
#include "identity.h"
#include "tally.h"

/* The extension as installed in this database. */
typedef enum ImInstalled
{
	IM_INSTALLED_NOT,
	IM_INSTALLED_OTHER,			/* a version that this library does not know */
	IM_INSTALLED
} ImInstalled;

/* What stands in _im_control for this database. */
typedef struct ImControl
{
	bool		paused;
	bool		fenced;			/* nothing may be sent before somebody says so ... */
	const char *fence_reason;	/* ... because of this; "" if not fenced */
	bool		moved;			/* the timeline is another than at the last run */
	char		reason[256];	/* of the pause, with who and when */
	int64		groups_today;	/* that may have been created since midnight UTC */
} ImControl;

/* Rows by status, and what the view needs beside them. */
typedef struct ImCounts
{
	ImTally		rows;			/* of all kinds and origins */
	ImTallies	tallies;
	bool		exact;			/* false: being counted anew */
	int64		foreign_open;	/* open rows of another origin */
	TimestampTz oldest_pending; /* 0 if none */
} ImCounts;

typedef struct ImOutbox ImOutbox;

/*
 * The outbox of this database; one per process, made at the first call.
 * im_outbox_look() finds out whether the extension is there (it may come and
 * go), and must be called in each transaction before anything else.
 */
extern ImOutbox *im_outbox_get(void);
extern ImInstalled im_outbox_look(ImOutbox *outbox);

/* What the last im_outbox_look() found, and where. */
extern ImInstalled im_outbox_installed(const ImOutbox *outbox);
extern Oid	im_outbox_schema(const ImOutbox *outbox);

/*
 * Runs fn(arg) in a transaction of its own and commits.  False if it failed:
 * the error has been logged, and *failed (if not NULL) gets its text in the
 * current memory context.  After a failure it is not known whether the
 * transaction committed.  If the extension is not there (see
 * im_outbox_installed()), fn is not called.
 */
extern bool im_outbox_run(void (*fn) (void *arg), void *arg, char **failed);

/* The owner's rights inside the caller's transaction. */
typedef struct ImRights
{
	Oid			user;
	int			context;
	int			guc_level;
} ImRights;

/*
 * Until im_outbox_leave() SQL runs as the extension's owner, and with a
 * search_path that nobody but a superuser can put objects into: statements
 * name operators without a schema, and the caller's own would run with the
 * owner's rights.  An ERROR in between restores everything.
 */
extern void im_outbox_enter(ImRights *saved);
extern void im_outbox_leave(const ImRights *saved);

/*
 * Sees to it that the tally is right and short: counts the rows anew if they
 * came by a way that no trigger saw.  That needs a moment without writers;
 * false if there was none.  insist waits for one, as long as lock_timeout
 * allows.  To be called before anything is written in the transaction.
 */
extern bool im_outbox_keep_count(ImOutbox *outbox, bool insist);

/*
 * Tries to lock the table for writing without waiting.  False: somebody works
 * on it (CREATE INDEX, TRUNCATE, ALTER); come back later.  Plans are made anew
 * if it has grown.
 */
extern bool im_outbox_try_lock(ImOutbox *outbox);

/*
 * True if nobody else can have locked a row of a kind's outbox, because nobody
 * has a lock on the table with which rows are locked.
 */
extern bool im_outbox_rows_free(const ImOutbox *outbox, ImKind kind);

/* Who was in the way of the last im_outbox_try_lock(), in words; "" if nobody was. */
extern const char *im_outbox_blocker(const ImOutbox *outbox);

/* Reads _im_control, making this database's row at the first time. */
extern void im_outbox_control(ImOutbox *outbox, ImControl *control);

/*
 * Open rows are to be taken over: true if the timeline has changed, so that our
 * own are meant, too.  See im_queue_adopt().
 */
extern bool im_outbox_begin_adoption(ImOutbox *outbox);
extern void im_outbox_end_adoption(ImOutbox *outbox);

/* Notes for the tally that n of our rows went from one status to another. */
extern void im_outbox_moved(ImKind kind, ImStatus from, ImStatus to, int64 n);

/* Changes when a table is another one than before. */
extern uint64 im_outbox_generation(const ImOutbox *outbox);

/*
 * Notes a call that has created a group, or may have.  What is noted is added
 * to the day's count by im_outbox_write_day().  Not with every settlement: the
 * row would be updated many times a second, and its dead versions pile up under
 * an old snapshot.  A crash forgets what was not yet written, about a second's
 * worth; what was in flight then is noted by its recovery.
 */
extern void im_outbox_note_groups(ImOutbox *outbox, int64 n);
extern void im_outbox_write_day(ImOutbox *outbox);

/* Groups that may have been created today, those not yet written included. */
extern int64 im_outbox_groups_today(const ImOutbox *outbox);

/*
 * Rows by status, and the oldest one that waits.  That is looked for above a
 * sender's watermark first, because the index below may be long and dead;
 * PG_INT64_MIN if there is no sender.
 */
extern void im_outbox_count(ImOutbox *outbox, int64 watermark, ImCounts *counts);

/* Stores or clears a pause of this database; reason may be NULL. */
extern void im_outbox_pause(ImOutbox *outbox, bool paused, const char *by, const char *reason);

/* The same, but never writes; false if the worker has not yet been here. */
extern bool im_outbox_read_control(ImOutbox *outbox, ImControl *control);

/* True if a comparison since it was settled says so of this imported row. */
extern bool im_outbox_is_missing(ImOutbox *outbox, Datum row_key, Datum settled_at);

/* One row as a session sees it; strings in the current context, or NULL. */
typedef struct ImOutboxRow
{
	ImStatus	status;
	char	   *group_id;
	int32		code;			/* 0 if none */
	char	   *info;
	bool		uncommitted;	/* written by the current transaction */
} ImOutboxRow;

extern bool im_outbox_row(ImOutbox *outbox, ImKind kind, int64 id, const unsigned char *row_key,
						  ImOutboxRow *row);

/* The GroupId of the group imported from a source, server encoding; NULL: there is none. */
extern char *im_outbox_group_of(ImOutbox *outbox, const char *source_id);

#endif							/* IM_OUTBOX_H */
