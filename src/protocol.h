/*
 * protocol.h
 *	  The life of an outbox row, and when the whole drain must wait.
 *
 * Every decision about a row is made here and nowhere else: what a claim
 * does, what an answer means, which status follows.  Pure: no SQL, no HTTP,
 * no clock, no memory of its own; a simulation runs it a million times.
 * Times are milliseconds unless a name says otherwise.
 */
#ifndef IM_PROTOCOL_H
#define IM_PROTOCOL_H

#include "call.h"

/*
 * How long a request whose outcome we do not know may still be on its way to
 * the service.  Before that, "there is no such group" proves nothing.
 * The service's own limit is 3 s; proxies and dead routes take longer.
 */
#ifndef IM_ZOMBIE_MS			/* tests make it short */
#define IM_ZOMBIE_MS		60000
#endif

/*
 * After an unknown outcome a message's group is not read before so long: the
 * service's own limit is 3 s.  A request that is later still does no harm,
 * because one of the two is refused.
 */
#ifndef IM_READ_BACK_MS			/* tests make it short */
#define IM_READ_BACK_MS		5000
#endif

#define IM_BACKOFF_FIRST_MS 1000
#define IM_BACKOFF_MAX_MS	300000

/*
 * How long the wall clock has run evenly with the monotonic one, as far as was
 * seen.  Doubts are dated by the wall clock, which alone outlives a restart;
 * after it was set forward they look older than they are.  Kept in shared
 * memory, and unknown after a start of the server.  Microseconds.
 */
typedef struct ImSteady
{
	bool		known;
	int64_t		offset;			/* wall clock minus monotonic clock ... */
	int64_t		since;			/* ... since this time, monotonic */
} ImSteady;

#define IM_STEADY_SLACK		1000000 /* by so much clocks may drift apart */

/* Compares the clocks; to be called wherever a doubt may be dated. */
extern void im_steady_note(ImSteady *steady, int64_t wall, int64_t mono);

/*
 * The age of a doubt for ImLife.suspect_ms: never more than it surely has.
 * Negative if the clock was set back since.
 */
extern int64_t im_steady_age_ms(ImSteady *steady, int64_t at, int64_t wall, int64_t mono);

/* What the server's options say about a row's life. */
typedef struct ImPolicy
{
	int32_t		max_attempts;
} ImPolicy;

/* The row is claimed, and invalid says that it has problems: what first? */
extern void im_protocol_claim(const ImLife *row, bool invalid, const ImPolicy *policy,
							  ImNext *next);

/*
 * An exchange is over: what now?  counts says whether a missing answer may be
 * held against this row (false while the whole service is unreachable).
 */
extern void im_protocol_judge(const ImLife *row, const ImVerdict *verdict,
							  const ImPolicy *policy, bool counts, double jitter,
							  ImNext *next);

/* A row that is claimed has to wait so long: this was no attempt. */
extern void im_protocol_wait(const ImLife *row, int64_t delay_ms, ImNext *next);

/* The sender of a row in status sending is dead: what is the row now? */
extern void im_protocol_recover(ImRepeat repeat, int32_t attempts, ImNext *next);

/*
 * An open row came from another database or timeline and a person, or option
 * after_promotion, says to go on with it.
 */
extern void im_protocol_adopt(ImRepeat repeat, int32_t attempts, ImNext *next);

/* The group of a row that is to be undone stays, because of this. */
extern void im_protocol_keep(const ImLife *row, const char *reason, ImNext *next);

/* The group of a row that is to be undone is gone: only its rows are left. */
extern void im_protocol_gone(const ImLife *row, ImNext *next);

/* A row that is to be undone has to wait for others. */
extern void im_protocol_undo_later(const ImLife *row, int64_t delay_ms, ImNext *next);

/* The back-off before attempt number attempts + 1: full jitter. */
extern int64_t im_protocol_backoff(int32_t attempts, double jitter);

/* SQL spelling of a status, and back; false if there is none such. */
extern const char *im_status_name(ImStatus status);
extern bool im_status_parse(const char *name, ImStatus *status);

/*
 * What one exchange says.  sent: a byte of the body was handed to the
 * network.  http_status 0: no answer.  failure: an ImOwnCode for transport
 * trouble, or 0.  class is that of reply->code, documented whether the table
 * has it.  Of a lookup (op) only reply and found count.
 */
typedef struct ImExchange
{
	ImOp		op;
	bool		sent;
	int			http_status;
	int32_t		failure;
	const ImReply *reply;
	ImClass		class;
	bool		documented;
	ImFound		found;
	const char *group_id;		/* asked for, "" if assigned */
	bool		resigned;		/* this was sent with a fresh UserSig after a
								 * refusal of the last */
} ImExchange;

extern void im_judge(const ImExchange *exchange, ImVerdict *verdict);

/* UserSigs by their numbers, which count them. */
typedef struct ImSignatures
{
	uint32_t	newest;
	uint32_t	refused;		/* one that was refused, and no answer since; or 0 */
} ImSignatures;

/* ImExchange.resigned of a call that carried the signature. */
extern bool im_signature_resigned(const ImSignatures *signatures, uint32_t carried);

/* Draws the conclusions from a verdict.  True if another signature is to be made. */
extern bool im_signature_note(ImSignatures *signatures, uint32_t carried, const ImVerdict *verdict);

#endif							/* IM_PROTOCOL_H */
