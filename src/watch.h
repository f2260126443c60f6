/*
 * watch.h
 *	  What is going on, for the views and for those who wait.
 */
#ifndef IM_WATCH_H
#define IM_WATCH_H

#include "postgres.h"

#include "outbox.h"
#include "shared.h"

/* What is going on with rows of one kind, beside their number. */
typedef struct ImPace
{
	int64		waiting;		/* pending rows whose group is not imported */
	bool		unknown;		/* nobody has looked for them since the start */
	double		rows_per_second;
	double		calls_per_second;
	double		rate_limit;		/* calls per second; 0 if not configured */
	int			rows_per_call;	/* 0 if not configured */
} ImPace;

typedef struct ImView
{
	ImReport	report;
	bool		changing;		/* the worker has yet to look at the latest news,
								 * or is trying the service right now */
	ImCounts	counts;
	int64		total;
	int64		waiting;		/* open rows that nothing moves before a person does
								 * something about their group */
	double		calls_per_second;
	double		rate_limit;		/* 0 if not configured */
	double		settle_rate;	/* rows a second, 0 if not known */
	ImPace		paces[IM_OUTBOXES];
	int			worker_pid;		/* 0 if none */
	int			in_flight;
	char		last_error[IM_REASON_MAX];
	TimestampTz last_error_at;
} ImView;

/* Takes the view; needs a transaction, raises only for broken installations. */
extern void im_watch(ImView *view);

/* Open rows that will move by themselves, of this database or another. */
extern int64 im_view_moving(const ImView *view);

/* Rows that are not yet at an end. */
extern int64 im_view_open(const ImView *view);

/* True if nothing will move before a person does something. */
extern bool im_view_stuck(const ImView *view);

#endif							/* IM_WATCH_H */
