/*
 * state.h
 *	  What the import is doing, in one word, with the reason and the cure.
 *
 * Pure: facts in, a state out, so that a simulated person can ask for it two
 * hundred thousand times.  Every place that shows, logs or acts on a state
 * takes it from here.
 */
#ifndef IM_STATE_H
#define IM_STATE_H

#include "breaker.h"

#define IM_REASON_MAX		512

/* What im_import_status.state says; im_state_name() gives the words. */
typedef enum ImState
{
	IM_STATE_IDLE,
	IM_STATE_RUNNING,
	IM_STATE_PAUSED,
	IM_STATE_STOPPED,
	IM_STATE_QUOTA,
	IM_STATE_UNREACHABLE,
	IM_STATE_FENCED,
	IM_STATE_COUNTING,
	IM_STATE_NO_WORKER,
	IM_STATE_NOT_CONFIGURED,
	IM_STATE_NOT_PRELOADED
} ImState;

/*
 * A state, and what it would be without the pause: a pause hides a stop, and
 * the cure of the stop must then keep the pause.
 */
typedef struct ImReport
{
	ImState		state;
	ImState		beneath;		/* the same unless state is paused */
	char		reason[IM_REASON_MAX];	/* UTF-8, "" if there is nothing to say */
} ImReport;

/*
 * What is known, by whoever asks.  Texts are UTF-8 and may be NULL.  Zero is
 * the harmless answer of each, except for preloaded and configured.
 */
typedef struct ImFacts
{
	bool		preloaded;
	bool		configured;
	const char *trouble;		/* why not configured */
	const char *fence;			/* why nothing is sent from this copy, or NULL */
	bool		counting;		/* the numbers of rows are not known yet */
	const ImBreaker *breaker;	/* or NULL */
	bool		paused;
	const char *pause_reason;
	int64_t		ordered;		/* rows that im_import_drain() may still send */
	int64_t		day_budget;		/* groups_per_day if it is used up, else 0 */
	const char *no_worker;		/* why none comes, or NULL */
	bool		busy;			/* rows are under way, or there may be some */
	const char *lock;			/* who has locked an outbox; NULL or "": nobody */
	const char *wait;			/* what a busy import waits for, or NULL */
	const char *failure;		/* the outbox could not be read or written */
	double		rate;			/* calls a second that the limiter allows ... */
	double		rate_limit;		/* ... of so many, 0: not known */
	int64_t		foreign_open;	/* rows that another database made */
	int64_t		waiting;		/* rows whose group is not in the app */
	const ImReport *said;		/* what a worker that knows more says, or NULL */
} ImFacts;

extern void im_state_of(const ImFacts *facts, int64_t now, ImReport *report);

extern const char *im_state_name(ImState state);

/* True if a sender would find out only that it must wait. */
extern bool im_state_held_up(ImState state);

/* True if nothing moves before a person does something. */
extern bool im_state_stuck(ImState state);

/* What a person does about it, whole sentences; NULL if there is nothing to do. */
extern const char *im_state_cure(const ImReport *report);

/* The state that an open breaker means. */
extern ImState im_state_of_breaker(ImBreakerState state);

#endif							/* IM_STATE_H */
