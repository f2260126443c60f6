/*
 * queue.h
 *	  One outbox seen from C: claim, settle, recover; the same for every kind.
 *
 * All functions need im_outbox_enter(), and im_outbox_look() before it.
 */
#ifndef IM_QUEUE_H
#define IM_QUEUE_H

#include "postgres.h"

#include "app.h"
#include "command.h"
#include "outbox.h"
#include "protocol.h"
#include "rooms.h"

/* A row that a session asks for. */
typedef struct ImAsked
{
	ImKind		kind;
	int64		id;
	int			request;
	unsigned char row_key[16];
} ImAsked;

/* What a claim wants of a room's stage, and what it found. */
typedef struct ImRoomClaim
{
	ImRoom	   *room;
	int			nrows;			/* out: to be sent or looked up */
	int			nsettled;		/* out: ended at the claim */
	int64		last_id;		/* out: the highest id among them */
	bool		full;			/* out: as many as were wanted */
	bool		behind;			/* out: rows of an earlier stage are open, so
								 * nothing was taken */
	bool		other;			/* out: its group is another one now, or none, so
								 * nothing was taken */
	TimestampTz open_due;		/* out: there were none, but a row is open: due
								 * then; 0: no row is open */
} ImRoomClaim;

/* What one transaction is to claim of one kind, and has claimed. */
typedef struct ImClaim
{
	ImKind		kind;
	const ImApp *app;
	ImSteady   *steady;			/* the database's, see protocol.h */
	MemoryContext ctx;			/* of the rows */
	List	   *asked;			/* of ImAsked, of this kind */
	int			want;			/* rows in the outbox's own order */
	bool		rescan;			/* start from the true minimum */
	bool		all_accounts;	/* what waits for accounts looks for them from
								 * the true minimum, too */
	ImRoomClaim *rooms;			/* or rows of these rooms, at this stage ... */
	int			nrooms;
	int			per_room;		/* ... at most so many of each */
	List	   *rows;			/* out: ImRows to be sent or looked up */
	List	   *settled;		/* out: ended at the claim */
	bool		short_scan;		/* out: fewer new rows than wanted */
	int			nwritten;		/* so many of both are written already */
	int			nsettled;
} ImClaim;

extern void im_queue_claim(ImClaim *claim);

/*
 * Writes outcomes (ImRows of one kind with next filled) back.  Those that were
 * written, or whose row is gone, are moved to *done; locked ones stay in *rows
 * for later.
 */
extern void im_queue_settle(ImKind kind, ImSteady *steady, List **rows, List **done);

/*
 * Rows whose sender died, except those of the live claims (tokens): back to
 * pending or into doubt.  False if some were locked by somebody and must be
 * looked at again.  any: rows of the kind are known to be claimed, or may be.
 */
extern bool im_queue_recover(ImKind kind, bool any, const int64 *live, int nlive);

/*
 * Takes over open rows of all kinds: of other origins if foreign, and after a
 * change of timeline our own, too.  Returns how many.
 */
extern int64 im_queue_adopt_all(bool foreign, const ImApp *app);

/* When the next retry is due; 0 if none waits. */
extern TimestampTz im_queue_next_due(ImKind kind);

/* True if a row of this database is pending or sending. */
extern bool im_queue_has_open(ImKind kind);

/* Below and at this id no new row is expected; see im_outbox_count(). */
extern int64 im_queue_watermark(ImKind kind);

/* Failed and invalid rows back to pending; NULL: of any code, any status. */
extern int64 im_queue_retry(ImKind kind, const int32 *error_code, const char *status);

/*
 * Imported rows that the app does not have, as the last comparison says, back to
 * pending; of those that go in order only what is behind all that is there.
 * Returns how many, and adds to *left those that must stay.  The caller switches
 * the guard off for kinds that go in order.
 */
extern int64 im_queue_retry_missing(ImKind kind, int64 *left);

/*
 * Settles a row in doubt: imported, with the GroupId of a group or the number of a
 * message; with neither (NULL and 0) pending.  False if there is no such row in
 * doubt.  The caller switches the guard off.
 */
extern bool im_queue_resolve(ImKind kind, int64 id, const char *group_id, int64 msg_seq);

/*
 * Ids of imported rows of a kind that can be compared with the app, and that
 * nobody has compared since checked_before, or of which the app said nothing that
 * could be read; deep: also those of which only the number was looked at.  Those
 * that go into one question stand together.  palloc'd; at most max, *n of them.
 */
extern int64 *im_queue_unchecked(ImKind kind, TimestampTz checked_before, bool deep, int64 max,
								 int64 *n);

/*
 * The rows of some of these ids that still are imported, and whose group is, in
 * that order: ImRows, with what was sent, in ctx.
 */
extern List *im_queue_to_check(ImKind kind, const ImApp *app, const int64 *ids, int n,
							   MemoryContext ctx);

/* ---- rooms ---- */

/* A room that has open rows of some kind. */
#define IM_WAIT_MAX			600 /* s; no row is due later than so long from now */

typedef struct ImFoundRoom
{
	char	   *key;
	char	   *group_id;		/* NULL: the group is not there, or is held */
	int64		create_time;	/* UNIX seconds; 0: not known */
	int64		waiting;		/* open rows, if group_id is NULL */
} ImFoundRoom;

/* The next rooms after a key, in order of the keys; a List of ImFoundRoom. */
extern List *im_queue_sweep(ImKind kind, const char *after, int max);

/*
 * Rooms of rows above *newest whose groups are there, of the first so many of them;
 * a List of ImFoundRoom.  *newest becomes the highest id; 0: it was not known, and
 * none is found.  Rows whose ids were committed late are for the sweep to find.
 */
extern List *im_queue_newcomers(ImKind kind, int64 *newest, int max);

/* What there is to note of a room; zeros and NULL: nothing. */
typedef struct ImRoomNote
{
	const char *room;
	int64		newest_time;	/* of a message that is about to be sent */
	int64		settled_time;	/* of one that is imported */
	bool		lower;			/* one that was claimed is surely not there */
	int64		newest_seq;
	int64		imported[IM_STAGES];	/* so many rows more, of each stage */
	const char *held;			/* why nothing more is sent for it */
} ImRoomNote;

extern void im_queue_note_rooms(const ImRoomNote *notes, int n);

/*
 * Rows of a kind that were refused because an account was missing, and whose account
 * was imported since, are pending again; returns how many.
 */
extern int64 im_queue_retry_late(ImKind kind);

/*
 * Rows of these rooms are about to be sent, which undoes the rows of a later kind:
 * those that are imported are to be sent again.
 */
extern void im_queue_send_again(ImKind kind, const ImClaim *undoing);

/* Rooms that are held are tried again. */
extern void im_queue_release_rooms(void);

#endif							/* IM_QUEUE_H */
