/*
 * statements.h
 *	  Every SQL statement on the extension's tables, written once, and the one
 *	  way to run it.
 */
#ifndef IM_STATEMENTS_H
#define IM_STATEMENTS_H

#include "postgres.h"

#include "executor/spi.h"
#include "storage/block.h"

#include "call.h"

/* See statements[] in statements.c. */
typedef enum ImStatement
{
	ST_CLAIM_NEW,
	ST_CLAIM_DUE,
	ST_CLAIM_ASKED,
	ST_MARK,
	ST_LOCKABLE,
	ST_EXISTING,
	ST_SETTLE,
	ST_COUNT_DAY,
	ST_RECOVER,
	ST_ANY_DEAD,
	ST_CAP_DUE,
	ST_NEXT_DUE,
	ST_HAS_OPEN,
	ST_HIGHEST,
	ST_ADOPT,
	ST_DOUBT_CLOSED,
	ST_TALLY_SUM,
	ST_TALLY_CLEAR,
	ST_TALLY_EMPTIED,
	ST_CHECK_EMPTIED,
	ST_CHECK_GONE,
	ST_ROOMS_GONE,
	ST_ROOMS_LEFT_OVER,
	ST_ALL_LEFT_OVER,
	ST_TALLY_RECOUNT,
	ST_TALLY_COUNTED,
	ST_TALLY_MANY,
	ST_TALLY_FOLD,
	ST_TALLY_DIRTY,
	ST_OLDEST,
	ST_CONTROL,
	ST_CONTROL_NEW,
	ST_CONTROL_TIMELINE,
	ST_CONTROL_PAUSE,
	ST_RETRY,
	ST_RETRY_MISSING,
	ST_RETRY_UNDONE,
	ST_RETRY_LOCK,
	ST_RETRY_TAIL,
	ST_RETRY_LATE,
	ST_IS_MISSING,
	ST_RESOLVE,
	ST_RESOLVED_ROOM,
	ST_RESOLVED_LOCK,
	ST_ROW,
	ST_CHECK_LIST,
	ST_CHECK_ROWS,
	ST_CHECK_ROOMS,
	ST_CHECK_WRITE,
	ST_CHECK_GROUP_GONE,
	ST_CHECK_OTHER_APP,
	ST_CLAIM_ROOMS,
	ST_CLAIM_ORDERED,
	ST_ROOM_OPEN,
	ST_OTHER_GROUP,
	ST_SWEEP,
	ST_NEWCOMERS,
	ST_ROOM_NOTE,
	ST_ROOM_LOWER,
	ST_ROOM_OF,
	ST_GROUP_OF,
	ST_AGAIN_ROOMS,
	ST_AGAIN_DONE,
	ST_SEND_AGAIN,
	ST_ROOM_RELEASE,
	ST_UNDO_LOOK,
	ST_UNDO_ROWS,
	ST_UNDO_LEFT,
	ST_UNDO_DOUBTS,
	ST_UNDO_DOUBTED,
	ST_UNDO_ROOM,
	ST_FORGET,
	ST_AUDIT_STATE,
	ST_AUDIT_CLEAR,
	ST_AUDIT_BEGIN,
	ST_AUDIT_PAGE,
	ST_GHOSTS_CLEAR,
	ST_GHOSTS,
	ST_AUDIT_END,
	NSTATEMENTS
} ImStatement;

/*
 * Runs a statement of a kind on the tables in that schema, preparing it at its first
 * use; nulls may be NULL, limit 0 means all.  Returns how many rows it
 * touched or returned; the latter stand in SPI_tuptable.  Needs SPI, see
 * im_outbox_enter().  The current memory context stays what it was.
 */
extern uint64 im_statement(Oid schema, ImKind kind, ImStatement id, Datum *values, const char *nulls,
						   long limit);

/*
 * The same without nulls and limit, and on all that is committed by now, even in
 * a transaction whose own snapshot is older.
 */
extern uint64 im_statement_latest(Oid schema, ImKind kind, ImStatement id, Datum *values);

/*
 * The outbox has so many pages now.  Plans that were made for less than half of
 * them are forgotten.
 */
extern void im_statements_grown(ImKind kind, BlockNumber pages);

/* Column n (from 1) of row i of the last result. */
extern Datum im_statement_value(uint64 i, int n, bool *isnull);

#endif							/* IM_STATEMENTS_H */
