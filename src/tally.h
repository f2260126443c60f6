/*
 * tally.h
 *	  How many rows of each status there are, without counting them.
 */
#ifndef IM_TALLY_H
#define IM_TALLY_H

#include "postgres.h"

#include "call.h"

#define IM_STATUSES			(IM_UNDONE + 1)

typedef struct ImTally
{
	int64		by_status[IM_STATUSES];
} ImTally;

/* The rows of each kind, of all kinds, and the open ones of other origins. */
typedef struct ImTallies
{
	ImTally		of[IM_OUTBOXES];
	ImTally		all;
	int64		foreign_open;
} ImTallies;

/*
 * Adds a difference for one origin, in the current transaction: whoever
 * changes rows and fires no triggers must.  Nothing is written for zeros.
 */
extern void im_tally_add(Oid schema, ImKind kind, int64 origin, const ImTally *difference);

/*
 * Sums up: all rows, and the open ones of other origins.  False if the sum
 * cannot be trusted: rows came by a way that no trigger saw, or an outbox was
 * emptied after our snapshot was taken.
 */
extern bool im_tally_read(Oid schema, ImTallies *tallies);

/*
 * Counts the rows anew.  The caller holds a lock on the outbox that keeps
 * writers out (SHARE), and has a snapshot taken after it.
 */
extern void im_tally_recount(Oid schema);

/* Folds the differences together once there are many. */
extern void im_tally_fold(Oid schema);

/*
 * This process is the database's sender: it writes with triggers off and keeps
 * the tally itself.
 */
extern void im_tally_become_own(void);
extern bool im_tally_is_own(void);

#endif							/* IM_TALLY_H */
