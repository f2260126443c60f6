/*
 * test_protocol.c
 *	  The judgement of an exchange and the life of a row, decision by decision.
 */
#include "protocol.h"
#include "tap.h"

#define COUNT(array) ((int) (sizeof(array) / sizeof((array)[0])))
#define SEC			INT64_C(1000000)
#define OLD			IM_ZOMBIE_MS	/* age of a doubt that is surely dead */

static const ImPolicy policy = {.max_attempts = 3};

/* ------------------------------------------------------------------------
 * im_judge()
 */

/* An exchange and what it says. */
typedef struct Judged
{
	const char *name;
	ImExchange	exchange;
	ImReply		reply;
	ImOutcome	outcome;
	int32_t		code;
	bool		answered;
	bool		ambiguous;
} Judged;

#define MET(o, own, s, status, f) .op = (o), .sent = (s), .http_status = (status), \
	.failure = (f), .group_id = (own) ? "mine" : ""
#define POST(own)	MET(IM_OP_IMPORT_GROUP, own, true, 200, 0)
#define POST_LOST(own, sent, status, failure) \
	MET(IM_OP_IMPORT_GROUP, own, sent, status, failure)
#define LOOKUP		MET(IM_OP_GET_GROUP_INFO, true, true, 200, 0)
#define LOOKUP_LOST(sent, failure) MET(IM_OP_GET_GROUP_INFO, true, sent, 0, failure)
#define SAYS(c)		{.readable = true, .code = (c)}

static const Judged judged[] = {
	/* No answer. */
	{"not connected", {POST_LOST(true, false, 0, IM_CODE_NOT_SENT)},
	{0}, IM_OUT_NOT_SENT, IM_CODE_NOT_SENT, false, false},
	{"certificate", {POST_LOST(true, false, 0, IM_CODE_TLS)},
	{0}, IM_OUT_NOT_SENT, IM_CODE_TLS, false, false},
	{"answered before the body was read", {POST_LOST(true, false, 200, 0)},
	SAYS(0), IM_OUT_NOT_SENT, 0, true, false},
	{"time-out", {POST_LOST(true, true, 0, IM_CODE_TIMEOUT)},
	{0}, IM_OUT_UNKNOWN, IM_CODE_TIMEOUT, false, false},
	{"reset", {POST_LOST(false, true, 0, IM_CODE_LOST)},
	{0}, IM_OUT_UNKNOWN, IM_CODE_LOST, false, false},
	{"result 0, yet no status", {POST_LOST(true, true, 0, 0)},
	{0}, IM_OUT_UNKNOWN, 0, false, false},
	{"gateway", {POST_LOST(true, true, 502, IM_CODE_HTTP)},
	{0}, IM_OUT_UNKNOWN, IM_CODE_HTTP, true, false},
	{"too big", {POST_LOST(true, true, 200, IM_CODE_TOO_BIG)},
	{0}, IM_OUT_UNKNOWN, IM_CODE_TOO_BIG, true, false},
	{"unreadable", {POST(true)}, {0}, IM_OUT_UNKNOWN, IM_CODE_UNREADABLE, true, false},

	/* Done, and whose. */
	{"done, our id", {POST(true), .class = IM_CLASS_DONE},
	{.readable = true, .group_id = "mine"}, IM_OUT_DONE, 0, true, false},
	{"done, no id told", {POST(true), .class = IM_CLASS_DONE}, SAYS(0), IM_OUT_DONE, 0, true, false},
	{"done, another id", {POST(true), .class = IM_CLASS_DONE},
	{.readable = true, .group_id = "yours"}, IM_OUT_UNKNOWN, IM_CODE_OTHER_ID, true, false},
	{"done, assigned", {POST(false), .class = IM_CLASS_DONE},
	{.readable = true, .group_id = "theirs"}, IM_OUT_DONE, 0, true, false},
	{"done, assigned, no id told", {POST(false), .class = IM_CLASS_DONE},
	SAYS(0), IM_OUT_UNKNOWN, IM_CODE_UNREADABLE, true, false},

	{"messages done, no id to be told", {MET(IM_OP_IMPORT_MESSAGES, false, true, 200, 0), .class = IM_CLASS_DONE},
	SAYS(0), IM_OUT_DONE, 0, true, false},
	{"messages read", {MET(IM_OP_GET_MESSAGES, true, true, 200, 0), .found = IM_FOUND_SAME},
	SAYS(0), IM_OUT_SAME, 0, true, false},
	{"messages not read", {MET(IM_OP_GET_MESSAGES, true, true, 0, IM_CODE_LOST)},
	{0}, IM_OUT_UNREADABLE, IM_CODE_LOST, false, false},

	/* Codes. */
	{"exists", {POST(true), .class = IM_CLASS_EXISTS}, SAYS(10021), IM_OUT_EXISTS, 10021, true, false},
	{"refused", {POST(true), .class = IM_CLASS_ROW}, SAYS(10004), IM_OUT_REFUSED, 10004, true, false},
	{"slow", {POST(true), .class = IM_CLASS_SLOW}, SAYS(60007), IM_OUT_SLOW, 60007, true, false},
	{"quota", {POST(true), .class = IM_CLASS_QUOTA}, SAYS(10006), IM_OUT_QUOTA, 10006, true, false},
	{"resign", {POST(true), .class = IM_CLASS_RESIGN}, SAYS(70001), IM_OUT_RESIGN, 70001, true, false},
	{"resign again", {POST(true), .class = IM_CLASS_RESIGN, .documented = true, .resigned = true},
	SAYS(70001), IM_OUT_STOP, 70001, true, false},
	{"stop", {POST(true), .class = IM_CLASS_STOP, .documented = true}, SAYS(70009), IM_OUT_STOP, 70009, true, false},
	{"undocumented stop", {POST(true), .class = IM_CLASS_STOP},
	SAYS(79999), IM_OUT_STOP, 79999, true, true},
	{"retry", {POST(true), .class = IM_CLASS_RETRY}, SAYS(10002), IM_OUT_UNKNOWN, 10002, true, false},

	/* Lookups. */
	{"lookup: same", {LOOKUP, .found = IM_FOUND_SAME}, SAYS(0), IM_OUT_SAME, 0, true, false},
	{"lookup: other", {LOOKUP, .found = IM_FOUND_OTHER}, SAYS(0), IM_OUT_OTHER, IM_CODE_DIFFERENT, true, false},
	{"lookup: absent", {LOOKUP, .found = IM_FOUND_ABSENT}, SAYS(0), IM_OUT_ABSENT, 0, true, false},
	{"lookup: no entry", {LOOKUP, .class = IM_CLASS_DONE}, SAYS(0), IM_OUT_UNREADABLE, 0, true, false},
	{"lookup: not JSON", {LOOKUP}, {0}, IM_OUT_UNREADABLE, 0, true, false},
	{"lookup: lost", {LOOKUP_LOST(true, IM_CODE_LOST)},
	{0}, IM_OUT_UNREADABLE, IM_CODE_LOST, false, false},
	{"lookup: not sent", {LOOKUP_LOST(false, IM_CODE_NOT_SENT)},
	{0}, IM_OUT_UNREADABLE, IM_CODE_NOT_SENT, false, false},
	{"lookup: slow", {LOOKUP, .class = IM_CLASS_SLOW}, SAYS(60007), IM_OUT_SLOW, 60007, true, false},
	{"lookup: quota", {LOOKUP, .class = IM_CLASS_QUOTA}, SAYS(10006), IM_OUT_SLOW, 10006, true, false},
	{"lookup: resign", {LOOKUP, .class = IM_CLASS_RESIGN}, SAYS(70001), IM_OUT_RESIGN, 70001, true, false},
	{"lookup: stop", {LOOKUP, .class = IM_CLASS_STOP},
	SAYS(79999), IM_OUT_STOP, 79999, true, false},
	{"lookup: refused", {LOOKUP, .class = IM_CLASS_ROW}, SAYS(10004), IM_OUT_UNREADABLE, 10004, true, false},
	{"lookup: an entry counts more than the code", {LOOKUP, .class = IM_CLASS_STOP, .found = IM_FOUND_SAME},
	SAYS(70009), IM_OUT_SAME, 70009, true, false},
};

/* Every way in which an exchange can end. */
static void
test_judge(void)
{
	for (int i = 0; i < COUNT(judged); i++)
	{
		const Judged *one = &judged[i];
		ImExchange	exchange = one->exchange;
		ImVerdict	verdict;

		exchange.reply = &one->reply;
		im_judge(&exchange, &verdict);
		is_int(verdict.outcome, one->outcome, "%s: outcome", one->name);
		is_int(verdict.code, one->code, "%s: code", one->name);
		ok(verdict.answered == one->answered && verdict.ambiguous == one->ambiguous,
		   "%s: answered, ambiguous", one->name);
	}
}

/* ------------------------------------------------------------------------
 * Claim
 */

/* A row at its claim, and what is decided. */
typedef struct Claimed
{
	const char *name;
	ImLife		row;
	bool		invalid;
	ImAct		act;
	ImStatus	status;
	ImWhy		why;
	bool		maybe_sent;
	int32_t		attempts;
	int64_t		delay_ms;
	bool		suspect_now;
} Claimed;

static const Claimed claimed[] = {
	{"new row", {.attempts = 1}, false,
	IM_ACT_SEND, IM_SENDING, IM_WHY_NONE, false, 1, 0, false},
	{"new row, id assigned", {IM_REPEAT_NEVER, .attempts = 1}, false,
	IM_ACT_SEND, IM_SENDING, IM_WHY_NONE, false, 1, 0, false},
	{"maybe sent", {.maybe_sent = true, .attempts = 3}, false,
	IM_ACT_SEND, IM_SENDING, IM_WHY_NONE, true, 3, 0, false},
	{"out of attempts, yet never sent", {.attempts = 9}, false,
	IM_ACT_SEND, IM_SENDING, IM_WHY_NONE, false, 9, 0, false},
	{"maybe sent, id assigned", {IM_REPEAT_NEVER, true, OLD, 1, IM_WHY_NONE}, false,
	IM_ACT_SETTLE, IM_IN_DOUBT, IM_WHY_NONE, true, 0, 0, false},
	{"exhausted", {IM_REPEAT_REFUSED, true, OLD, 4, IM_WHY_NONE}, false,
	IM_ACT_LOOKUP, IM_PENDING, IM_WHY_EXHAUSTED, true, 3, 0, false},
	{"exhausted, too early to ask", {IM_REPEAT_REFUSED, true, OLD - 1, 4, IM_WHY_NONE}, false,
	IM_ACT_SETTLE, IM_PENDING, IM_WHY_NONE, true, 3, 1, false},
	{"exhausted, clock set back", {IM_REPEAT_REFUSED, true, -5000, 4, IM_WHY_NONE}, false,
	IM_ACT_SETTLE, IM_PENDING, IM_WHY_NONE, true, 3, IM_ZOMBIE_MS, true},
	{"invalid", {.attempts = 1}, true,
	IM_ACT_SETTLE, IM_INVALID, IM_WHY_NONE, false, 0, 0, false},
	{"invalid, maybe sent", {IM_REPEAT_REFUSED, true, OLD, 1, IM_WHY_NONE}, true,
	IM_ACT_LOOKUP, IM_PENDING, IM_WHY_INVALID, true, 0, 0, false},
	{"invalid, maybe sent, too early to ask", {IM_REPEAT_REFUSED, true, 1000, 1, IM_WHY_NONE}, true,
	IM_ACT_SETTLE, IM_PENDING, IM_WHY_NONE, true, 0, OLD - 1000, false},
	{"invalid, maybe sent, id assigned", {IM_REPEAT_NEVER, true, OLD, 1, IM_WHY_NONE}, true,
	IM_ACT_SETTLE, IM_IN_DOUBT, IM_WHY_NONE, true, 0, 0, false},

	/* A repeat is harmless: it is sent again, and nobody can be asked. */
	{"harmless, new", {IM_REPEAT_HARMLESS, .attempts = 1}, false,
	IM_ACT_SEND, IM_SENDING, IM_WHY_NONE, false, 1, 0, false},
	{"harmless, maybe sent", {IM_REPEAT_HARMLESS, true, 0, 2, IM_WHY_NONE}, false,
	IM_ACT_SEND, IM_SENDING, IM_WHY_NONE, true, 2, 0, false},
	{"harmless, exhausted", {IM_REPEAT_HARMLESS, true, OLD, 4, IM_WHY_NONE}, false,
	IM_ACT_SETTLE, IM_IN_DOUBT, IM_WHY_NONE, true, 3, 0, false},
	{"harmless, invalid", {IM_REPEAT_HARMLESS, .attempts = 1}, true,
	IM_ACT_SETTLE, IM_INVALID, IM_WHY_NONE, false, 0, 0, false},
	{"harmless, invalid, maybe sent", {IM_REPEAT_HARMLESS, true, OLD, 1, IM_WHY_NONE}, true,
	IM_ACT_SETTLE, IM_IN_DOUBT, IM_WHY_NONE, true, 0, 0, false},

	/* A message that was maybe sent is read back first, and not at once. */
	{"undo", {IM_REPEAT_UNDO, .attempts = 1}, false,
	IM_ACT_LOOKUP, IM_PENDING, IM_WHY_UNDO, false, 1, 0, false},
	{"undo, maybe sent", {IM_REPEAT_UNDO, true, 0, 9, IM_WHY_NONE}, true,
	IM_ACT_LOOKUP, IM_PENDING, IM_WHY_UNDO, true, 9, 0, false},

	{"message, new", {IM_REPEAT_READ_BACK, .attempts = 1}, false,
	IM_ACT_SEND, IM_SENDING, IM_WHY_NONE, false, 1, 0, false},
	{"message, maybe sent", {IM_REPEAT_READ_BACK, true, IM_READ_BACK_MS, 2, IM_WHY_NONE}, false,
	IM_ACT_LOOKUP, IM_PENDING, IM_WHY_REPEAT, true, 1, 0, false},
	{"message, too early to read", {IM_REPEAT_READ_BACK, true, IM_READ_BACK_MS - 1, 2, IM_WHY_NONE}, false,
	IM_ACT_SETTLE, IM_PENDING, IM_WHY_NONE, true, 1, 1, false},
	{"message, clock set back", {IM_REPEAT_READ_BACK, true, -1, 2, IM_WHY_NONE}, false,
	IM_ACT_SETTLE, IM_PENDING, IM_WHY_NONE, true, 1, IM_READ_BACK_MS, true},
	{"message, exhausted", {IM_REPEAT_READ_BACK, true, OLD, 4, IM_WHY_NONE}, false,
	IM_ACT_LOOKUP, IM_PENDING, IM_WHY_EXHAUSTED, true, 3, 0, false},
	{"message, exhausted, too early to call it absent", {IM_REPEAT_READ_BACK, true, IM_READ_BACK_MS, 4, IM_WHY_NONE}, false,
	IM_ACT_SETTLE, IM_PENDING, IM_WHY_NONE, true, 3, OLD - IM_READ_BACK_MS, false},
	{"message, invalid, maybe sent", {IM_REPEAT_READ_BACK, true, OLD, 1, IM_WHY_NONE}, true,
	IM_ACT_LOOKUP, IM_PENDING, IM_WHY_INVALID, true, 0, 0, false},
};

/* What a claim decides before anything is sent. */
static void
test_claim(void)
{
	for (int i = 0; i < COUNT(claimed); i++)
	{
		const Claimed *one = &claimed[i];
		ImNext		next;

		im_protocol_claim(&one->row, one->invalid, &policy, &next);
		is_int(next.act, one->act, "%s: act", one->name);
		is_int(next.why, one->why, "%s: why", one->name);
		is_int(next.status, one->status, "%s: status", one->name);
		is_int(next.attempts, one->attempts, "%s: attempts", one->name);
		is_int(next.delay_ms, one->delay_ms, "%s: delay", one->name);
		ok(next.maybe_sent == one->maybe_sent && next.suspect_now == one->suspect_now,
		   "%s: maybe sent, suspect now", one->name);
	}
}

/* ------------------------------------------------------------------------
 * im_protocol_judge()
 */

/* A row, a verdict, and what follows; jitter is 0, so a back-off is 1 ms. */
typedef struct Decided
{
	const char *name;
	ImLife		row;
	ImVerdict	verdict;
	bool		counts;
	ImAct		act;
	ImStatus	status;
	ImWhy		why;
	bool		maybe_sent;
	bool		suspect_now;
	int32_t		attempts;
	int64_t		delay_ms;
} Decided;

#define NEW(n)			{IM_REPEAT_REFUSED, false, 0, (n), IM_WHY_NONE}
#define MAYBE(n, age)	{IM_REPEAT_REFUSED, true, (age), (n), IM_WHY_NONE}
#define ASSIGNED		{IM_REPEAT_NEVER, false, 0, 1, IM_WHY_NONE}
#define ASKED(m, n, w)	{IM_REPEAT_REFUSED, (m), OLD, (n), (w)}
#define PLAIN(m, n)		{IM_REPEAT_HARMLESS, (m), OLD, (n), IM_WHY_NONE}
#define MESSAGE(m, age, n, w) {IM_REPEAT_READ_BACK, (m), (age), (n), (w)}
#define UNDO(m, age, n)	{IM_REPEAT_UNDO, (m), (age), (n), IM_WHY_UNDO}
#define LATER(m, now, n, ms) IM_ACT_SETTLE, IM_UNDO, IM_WHY_NONE, (m), (now), (n), (ms)
#define ITEM(c)			{.outcome = IM_OUT_REFUSED, .code = (c), .answered = true, .of_item = true}
#define V(o)			{.outcome = (o), .answered = true}
#define SILENT(o)		{.outcome = (o)}
#define ENDS(s, m, n)	IM_ACT_SETTLE, (s), IM_WHY_NONE, (m), false, (n), 0
#define WAITS(m, now, n, ms) IM_ACT_SETTLE, IM_PENDING, IM_WHY_NONE, (m), (now), (n), (ms)
#define ASKS(w, m, n)	IM_ACT_LOOKUP, IM_PENDING, (w), (m), false, (n), 0

static const Decided decided[] = {
	{"done", NEW(1), V(IM_OUT_DONE), true, ENDS(IM_IMPORTED, false, 1)},
	{"done, maybe before", MAYBE(2, 0), V(IM_OUT_DONE), true, ENDS(IM_IMPORTED, true, 2)},
	{"done, assigned", ASSIGNED, V(IM_OUT_DONE), true, ENDS(IM_IMPORTED, false, 1)},

	{"exists", NEW(1), V(IM_OUT_EXISTS), true, ASKS(IM_WHY_EXISTS, false, 1)},
	{"exists, maybe ours", MAYBE(2, 0), V(IM_OUT_EXISTS), true, ASKS(IM_WHY_EXISTS, true, 2)},
	{"exists, assigned", ASSIGNED, V(IM_OUT_EXISTS), true,
	IM_ACT_SETTLE, IM_IN_DOUBT, IM_WHY_NONE, true, true, 1, 0},

	{"refused", NEW(1), V(IM_OUT_REFUSED), true, ENDS(IM_FAILED, false, 1)},
	{"refused, assigned", ASSIGNED, V(IM_OUT_REFUSED), true, ENDS(IM_FAILED, false, 1)},
	{"refused, maybe sent", MAYBE(2, OLD), V(IM_OUT_REFUSED), true, ASKS(IM_WHY_REFUSED, true, 2)},
	{"refused, maybe sent just now", MAYBE(2, 1000), V(IM_OUT_REFUSED), true,
	WAITS(true, false, 2, OLD - 1000)},
	{"refused, maybe sent, clock set back", MAYBE(2, -1), V(IM_OUT_REFUSED), true,
	WAITS(true, true, 2, OLD)},
	{"refused, assigned, maybe sent", {IM_REPEAT_NEVER, true, OLD, 2, IM_WHY_NONE},
	V(IM_OUT_REFUSED), true, ENDS(IM_IN_DOUBT, true, 2)},

	{"not sent", NEW(1), SILENT(IM_OUT_NOT_SENT), true, WAITS(false, false, 0, 0)},
	{"not sent, maybe before", MAYBE(2, 5), SILENT(IM_OUT_NOT_SENT), true, WAITS(true, false, 1, 0)},
	{"not sent, assigned", ASSIGNED, SILENT(IM_OUT_NOT_SENT), true, WAITS(false, false, 0, 0)},
	{"released lookup", ASKED(true, 4, IM_WHY_EXHAUSTED), SILENT(IM_OUT_NOT_SENT), false,
	WAITS(true, false, 3, 0)},
	{"resign", NEW(1), V(IM_OUT_RESIGN), true, WAITS(false, false, 0, 0)},
	{"slow", NEW(1), V(IM_OUT_SLOW), true, WAITS(false, false, 0, 1)},
	{"slow, assigned", ASSIGNED, V(IM_OUT_SLOW), true, WAITS(false, false, 0, 1)},
	{"slow, maybe before", MAYBE(3, 5), V(IM_OUT_SLOW), true, WAITS(true, false, 2, 1)},
	{"quota", NEW(1), V(IM_OUT_QUOTA), true, WAITS(false, false, 0, 1)},
	{"stop", NEW(1), V(IM_OUT_STOP), true, WAITS(false, false, 0, 0)},
	{"stop, assigned", ASSIGNED, V(IM_OUT_STOP), true, WAITS(false, false, 0, 0)},
	{"stop, ambiguous", NEW(1), {.outcome = IM_OUT_STOP, .code = 79999, .answered = true, .ambiguous = true}, true, WAITS(true, true, 0, 1)},
	{"stop, ambiguous, assigned", ASSIGNED, {.outcome = IM_OUT_STOP, .code = 79999, .answered = true, .ambiguous = true}, true,
	IM_ACT_SETTLE, IM_IN_DOUBT, IM_WHY_NONE, true, true, 1, 0},

	{"unknown", NEW(1), SILENT(IM_OUT_UNKNOWN), true, WAITS(true, true, 1, 1)},
	{"unknown while nothing answers", NEW(1), SILENT(IM_OUT_UNKNOWN), false, WAITS(true, true, 0, 1)},
	{"unknown, assigned", ASSIGNED, SILENT(IM_OUT_UNKNOWN), true,
	IM_ACT_SETTLE, IM_IN_DOUBT, IM_WHY_NONE, true, true, 1, 0},
	{"unknown, out of attempts", NEW(3), SILENT(IM_OUT_UNKNOWN), true, WAITS(true, true, 3, IM_ZOMBIE_MS)},

	/* Undo: never a doubt, never a failure; what stays is imported. */
	{"undo: ours", UNDO(false, 0, 1), V(IM_OUT_SAME), true, IM_ACT_SEND, IM_UNDO, IM_WHY_NONE, false, false, 1, 0},
	{"undo: disbanded", UNDO(false, 0, 1), V(IM_OUT_DONE), true, ENDS(IM_UNDONE, false, 1)},
	{"undo: disbanded, maybe before", UNDO(true, 5, 2), V(IM_OUT_DONE), true, ENDS(IM_UNDONE, true, 2)},
	{"undo: absent", UNDO(true, 5, 2), V(IM_OUT_ABSENT), true, ENDS(IM_UNDONE, true, 2)},
	{"undo: absent, and never asked to go", UNDO(false, 0, 1), V(IM_OUT_ABSENT), true, IM_ACT_SEND, IM_UNDO, IM_WHY_NONE, false, false, 1, 0},
	{"undo: changed", UNDO(false, 0, 1), V(IM_OUT_OTHER), true, ENDS(IM_IMPORTED, false, 1)},
	{"undo: in use", UNDO(false, 0, 1), V(IM_OUT_IN_USE), true, ENDS(IM_IMPORTED, false, 1)},
	{"undo: in use, an earlier request is dead", UNDO(true, OLD, 2), V(IM_OUT_IN_USE), true, ENDS(IM_IMPORTED, false, 2)},
	{"undo: in use, an earlier request may live", UNDO(true, 1000, 2), V(IM_OUT_IN_USE), true, LATER(true, false, 1, OLD - 1000)},
	{"undo: changed, clock set back", UNDO(true, -5, 2), V(IM_OUT_OTHER), true, LATER(true, true, 1, OLD)},
	{"undo: refused", UNDO(false, 0, 1), V(IM_OUT_REFUSED), true, ENDS(IM_IMPORTED, false, 1)},
	{"undo: refused, maybe sent", UNDO(true, OLD, 2), V(IM_OUT_REFUSED), true, LATER(true, false, 2, 1)},
	{"undo: refused, maybe sent, out of attempts", UNDO(true, OLD, 3), V(IM_OUT_REFUSED), true, ENDS(IM_IMPORTED, false, 3)},
	{"undo: not sent", UNDO(false, 0, 1), SILENT(IM_OUT_NOT_SENT), true, LATER(false, false, 0, 0)},
	{"undo: slow", UNDO(true, 7, 3), V(IM_OUT_SLOW), true, LATER(true, false, 2, 1)},
	{"undo: stop", UNDO(false, 0, 1), V(IM_OUT_STOP), true, LATER(false, false, 0, 0)},
	{"undo: unknown", UNDO(false, 0, 1), SILENT(IM_OUT_UNKNOWN), true, LATER(true, true, 1, 1)},
	{"undo: unknown, however often", UNDO(true, OLD, 50), SILENT(IM_OUT_UNKNOWN), true, LATER(true, true, 50, 1)},
	{"undo: unreadable", UNDO(false, 0, 1), V(IM_OUT_UNREADABLE), true, LATER(false, false, 1, 1)},
	{"undo: unreadable, out of attempts", UNDO(false, 0, 3), V(IM_OUT_UNREADABLE), true, ENDS(IM_IMPORTED, false, 3)},
	{"undo: unreadable, maybe sent", UNDO(true, OLD, 50), V(IM_OUT_UNREADABLE), true, LATER(true, false, 50, 1)},
	{"undo: nothing answers", UNDO(false, 0, 50), SILENT(IM_OUT_UNREADABLE), false, LATER(false, false, 49, 1)},

	/* Lookups because the id is taken. */
	{"taken: ours", ASKED(false, 1, IM_WHY_EXISTS), V(IM_OUT_SAME), true, ENDS(IM_IMPORTED, false, 1)},
	{"taken: by another", ASKED(false, 1, IM_WHY_EXISTS), V(IM_OUT_OTHER), true, ENDS(IM_FAILED, false, 1)},
	{"taken: other, maybe ours", ASKED(true, 2, IM_WHY_EXISTS), V(IM_OUT_OTHER), true,
	ENDS(IM_IN_DOUBT, true, 2)},
	{"taken, yet absent", ASKED(false, 1, IM_WHY_EXISTS), V(IM_OUT_ABSENT), true, WAITS(false, false, 1, 1)},
	{"taken, yet absent, at last", ASKED(false, 3, IM_WHY_EXISTS), V(IM_OUT_ABSENT), true,
	ENDS(IM_FAILED, false, 3)},
	{"taken, yet absent, maybe ours, at last", ASKED(true, 3, IM_WHY_EXISTS), V(IM_OUT_ABSENT), true,
	ENDS(IM_IN_DOUBT, true, 3)},
	{"taken, unreadable", ASKED(false, 1, IM_WHY_EXISTS), V(IM_OUT_UNREADABLE), true,
	WAITS(false, false, 1, 1)},
	{"taken, unreadable, at last", ASKED(false, 3, IM_WHY_EXISTS), V(IM_OUT_UNREADABLE), true,
	IM_ACT_SETTLE, IM_IN_DOUBT, IM_WHY_NONE, true, true, 3, 0},
	{"taken, no answer", ASKED(false, 3, IM_WHY_EXISTS), SILENT(IM_OUT_UNREADABLE), true,
	WAITS(false, false, 2, 1)},
	{"taken, unreadable while nothing answers", ASKED(true, 3, IM_WHY_EXISTS), V(IM_OUT_UNREADABLE), false,
	WAITS(true, false, 2, 1)},

	/* Lookups of rows that were maybe sent. */
	{"refused, ours", ASKED(true, 2, IM_WHY_REFUSED), V(IM_OUT_SAME), true, ENDS(IM_IMPORTED, true, 2)},
	{"refused, absent", ASKED(true, 2, IM_WHY_REFUSED), V(IM_OUT_ABSENT), true, ENDS(IM_FAILED, false, 2)},
	{"refused, other", ASKED(true, 2, IM_WHY_REFUSED), V(IM_OUT_OTHER), true, ENDS(IM_IN_DOUBT, true, 2)},
	{"exhausted, ours", ASKED(true, 4, IM_WHY_EXHAUSTED), V(IM_OUT_SAME), true, ENDS(IM_IMPORTED, true, 3)},
	{"exhausted, absent", ASKED(true, 4, IM_WHY_EXHAUSTED), V(IM_OUT_ABSENT), true,
	ENDS(IM_FAILED, false, 3)},
	{"exhausted, unreadable", ASKED(true, 4, IM_WHY_EXHAUSTED), V(IM_OUT_UNREADABLE), true,
	ENDS(IM_IN_DOUBT, true, 3)},
	{"exhausted, no answer", ASKED(true, 4, IM_WHY_EXHAUSTED), SILENT(IM_OUT_UNREADABLE), true,
	WAITS(true, false, 3, 1)},
	{"invalid, absent", ASKED(true, 1, IM_WHY_INVALID), V(IM_OUT_ABSENT), true, ENDS(IM_INVALID, false, 0)},
	{"invalid, ours", ASKED(true, 1, IM_WHY_INVALID), V(IM_OUT_SAME), true, ENDS(IM_IMPORTED, true, 0)},
	{"invalid, other", ASKED(true, 1, IM_WHY_INVALID), V(IM_OUT_OTHER), true, ENDS(IM_IN_DOUBT, true, 0)},
	{"invalid, unreadable counts", ASKED(true, 1, IM_WHY_INVALID), V(IM_OUT_UNREADABLE), true,
	WAITS(true, false, 1, 1)},
	{"invalid, unreadable, at last", ASKED(true, 3, IM_WHY_INVALID), V(IM_OUT_UNREADABLE), true,
	ENDS(IM_IN_DOUBT, true, 2)},

	/* What can be repeated without harm. */
	{"harmless, unknown", PLAIN(false, 1), SILENT(IM_OUT_UNKNOWN), true, WAITS(true, true, 1, 1)},
	{"harmless, refused", PLAIN(false, 1), ITEM(IM_CODE_ITEM), true, ENDS(IM_FAILED, false, 1)},
	{"harmless, refused by its item, maybe sent", PLAIN(true, 2), ITEM(IM_CODE_ITEM), true,
	ENDS(IM_FAILED, false, 2)},
	{"harmless, refused by its item, maybe sent just now", {IM_REPEAT_HARMLESS, true, 1000, 2, IM_WHY_NONE},
	ITEM(IM_CODE_ITEM), true, WAITS(true, false, 1, OLD - 1000)},
	{"harmless, refused by its item, maybe sent, clock set back", {IM_REPEAT_HARMLESS, true, -1, 2, IM_WHY_NONE},
	ITEM(IM_CODE_ITEM), true, WAITS(true, true, 1, OLD)},
	{"harmless, refused as a whole, maybe sent", PLAIN(true, 2), V(IM_OUT_REFUSED), true,
	ENDS(IM_IN_DOUBT, true, 2)},
	{"harmless, taken", PLAIN(false, 1), V(IM_OUT_EXISTS), true, ENDS(IM_FAILED, false, 1)},
	{"harmless, done", PLAIN(true, 2), V(IM_OUT_DONE), true, ENDS(IM_IMPORTED, true, 2)},

	/* Messages: sent, refused, read back. */
	{"message, unknown", MESSAGE(false, 0, 1, IM_WHY_NONE), SILENT(IM_OUT_UNKNOWN), true,
	WAITS(true, true, 1, IM_READ_BACK_MS)},
	{"message, unknown, out of attempts", MESSAGE(false, 0, 3, IM_WHY_NONE), SILENT(IM_OUT_UNKNOWN), true,
	WAITS(true, true, 3, IM_ZOMBIE_MS)},
	{"message, refused, maybe sent", MESSAGE(true, OLD, 2, IM_WHY_NONE), ITEM(80002), true,
	ASKS(IM_WHY_REFUSED, true, 2)},
	{"message, refused, maybe sent just now", MESSAGE(true, 6000, 2, IM_WHY_NONE), ITEM(10004), true,
	WAITS(true, false, 2, OLD - 6000)},
	{"message, too long", MESSAGE(false, 0, 1, IM_WHY_NONE), ITEM(80002), true, ENDS(IM_FAILED, false, 1)},
	{"message, read back: there", MESSAGE(true, OLD, 2, IM_WHY_REPEAT), V(IM_OUT_SAME), true,
	ENDS(IM_IMPORTED, true, 2)},
	{"message, read back: absent", MESSAGE(true, 5000, 2, IM_WHY_REPEAT), V(IM_OUT_ABSENT), true,
	IM_ACT_SEND, IM_SENDING, IM_WHY_NONE, true, false, 2, 0},
	{"message, read back: unreadable", MESSAGE(true, 5000, 2, IM_WHY_REPEAT), V(IM_OUT_UNREADABLE), true,
	WAITS(true, false, 2, 1)},
	{"message, read back: unreadable at last", MESSAGE(true, OLD, 3, IM_WHY_REPEAT), V(IM_OUT_UNREADABLE), true,
	ENDS(IM_IN_DOUBT, true, 3)},
	{"message, read back: unreadable at last, and it may still come", MESSAGE(true, 5000, 3, IM_WHY_REPEAT), V(IM_OUT_UNREADABLE), true,
	WAITS(true, false, 3, IM_ZOMBIE_MS - 5000)},
	{"message, read back: no answer", MESSAGE(true, 5000, 3, IM_WHY_REPEAT), SILENT(IM_OUT_UNREADABLE), true,
	WAITS(true, false, 2, 1)},
	{"message, refused, there", MESSAGE(true, OLD, 2, IM_WHY_REFUSED), V(IM_OUT_SAME), true,
	ENDS(IM_IMPORTED, true, 2)},
	{"message, refused, absent: with another time", MESSAGE(true, OLD, 2, IM_WHY_REFUSED), V(IM_OUT_ABSENT), true,
	WAITS(false, false, 2, 0)},
	{"message, refused, absent, at last", MESSAGE(true, OLD, 3, IM_WHY_REFUSED), V(IM_OUT_ABSENT), true,
	ENDS(IM_FAILED, false, 3)},
	{"message, exhausted, absent", MESSAGE(true, OLD, 4, IM_WHY_EXHAUSTED), V(IM_OUT_ABSENT), true,
	ENDS(IM_FAILED, false, 3)},
	{"message, invalid, absent", MESSAGE(true, OLD, 1, IM_WHY_INVALID), V(IM_OUT_ABSENT), true,
	ENDS(IM_INVALID, false, 0)},
};

/* Every branch of the life of a row. */
static void
test_decisions(void)
{
	for (int i = 0; i < COUNT(decided); i++)
	{
		const Decided *one = &decided[i];
		ImNext		next;

		im_protocol_judge(&one->row, &one->verdict, &policy, one->counts, 0, &next);
		is_int(next.act, one->act, "%s: act", one->name);
		is_int(next.status, one->status, "%s: status", one->name);
		is_int(next.why, one->why, "%s: why", one->name);
		is_int(next.attempts, one->attempts, "%s: attempts", one->name);
		is_int(next.delay_ms, one->delay_ms, "%s: delay", one->name);
		is_int(next.maybe_sent, one->maybe_sent, "%s: maybe sent", one->name);
		is_int(next.suspect_now, one->suspect_now, "%s: suspect now", one->name);
	}
}

/* The rule above all others, over everything that can be combined. */
static void
test_never_failed_without_proof(void)
{
	bool		held = true;
	int			n = 0;

	for (int i = 0; i < 4 * 3 * 6 * 13 * 2 * 2 * 2; i++)
	{
		int			rest = i;
		ImLife		row = {.maybe_sent = true};
		ImVerdict	verdict = {0};
		bool		counts;
		ImNext		next;

		row.repeat = (ImRepeat) (rest % 4), rest /= 4;
		row.suspect_ms = (int64_t) (rest % 3 - 1) * IM_ZOMBIE_MS, rest /= 3;
		row.why = (ImWhy) (rest % 6), rest /= 6;
		verdict.outcome = (ImOutcome) (rest % 13), rest /= 13;
		verdict.answered = rest % 2, rest /= 2;
		verdict.ambiguous = rest % 2, rest /= 2;
		counts = rest % 2;
		for (row.attempts = 0; row.attempts <= 4; row.attempts++, n++)
		{
			im_protocol_judge(&row, &verdict, &policy, counts, 0.5, &next);
			if (next.act == IM_ACT_SETTLE && verdict.outcome != IM_OUT_ABSENT &&
				(next.status == IM_FAILED || next.status == IM_INVALID || !next.maybe_sent))
				held = false;
			if (next.attempts < 0 || next.delay_ms < 0)
				held = false;
		}
	}
	ok(held, "maybe sent: failed, invalid or sure again only if absent (%d cases)", n);
}

/* ------------------------------------------------------------------------
 * The rest
 */

/* Rows of dead senders and of other databases. */
static void
test_recover_and_adopt(void)
{
	ImNext		next;

	im_protocol_recover(IM_REPEAT_REFUSED, 2, &next);
	ok(next.status == IM_PENDING && next.maybe_sent && next.suspect_now && next.attempts == 2,
	   "recovery: pending and maybe sent");
	im_protocol_recover(IM_REPEAT_NEVER, 2, &next);
	ok(next.status == IM_IN_DOUBT && next.maybe_sent && next.suspect_now && next.reason != NULL,
	   "recovery, assigned: in doubt, with a reason");
	im_protocol_recover(IM_REPEAT_HARMLESS, 2, &next);
	ok(next.status == IM_PENDING && next.maybe_sent && next.suspect_now,
	   "recovery, harmless: pending and maybe sent");
	im_protocol_recover(IM_REPEAT_READ_BACK, 2, &next);
	ok(next.status == IM_PENDING && next.maybe_sent && next.suspect_now,
	   "recovery, message: pending and maybe sent");
	im_protocol_adopt(IM_REPEAT_READ_BACK, 2, &next);
	ok(next.status == IM_PENDING && next.maybe_sent && next.suspect_now && next.attempts == 0,
	   "adopted, message: pending, maybe sent, attempts anew");
	im_protocol_adopt(IM_REPEAT_REFUSED, 2, &next);
	ok(next.status == IM_PENDING && next.maybe_sent && next.suspect_now && next.attempts == 0,
	   "adopted: pending, maybe sent, attempts anew");
	im_protocol_adopt(IM_REPEAT_NEVER, 2, &next);
	ok(next.status == IM_IN_DOUBT && next.maybe_sent && next.suspect_now && next.reason != NULL,
	   "adopted, assigned: in doubt, with a reason");
}

/* 1 s doubling to 5 min, full jitter. */
static void
test_backoff(void)
{
	static const int64_t ceilings[] = {1000, 1000, 2000, 4000, 8000, 16000, 32000, 64000, 128000,
	256000, 300000, 300000};

	for (int i = 0; i < COUNT(ceilings); i++)
	{
		is_int(im_protocol_backoff(i, 0), 1, "attempt %d: at least 1 ms", i);
		is_int(im_protocol_backoff(i, 1), 1 + ceilings[i], "attempt %d: at most", i);
	}
	is_int(im_protocol_backoff(INT32_MAX, 1), 1 + IM_BACKOFF_MAX_MS, "attempt without end");
}

/* The age of a doubt, whatever is done to the wall clock. */
static void
test_steady(void)
{
	ImSteady	steady = {0};
	int64_t		wall = 1000 * SEC;

	is_int(im_steady_age_ms(&steady, wall - 90 * SEC, wall, 5 * SEC), 0,
		   "after a start nothing is known to be old");
	is_int(im_steady_age_ms(&steady, wall - 90 * SEC, wall + 60 * SEC, 65 * SEC), 60000,
		   "60 s later it is 60 s old");
	is_int(im_steady_age_ms(&steady, wall + 50 * SEC, wall + 60 * SEC, 65 * SEC), 10000,
		   "a younger doubt has its own age");
	is_int(im_steady_age_ms(&steady, wall + 60 * SEC, wall + 61 * SEC + SEC / 2, 66 * SEC), 1500,
		   "half a second of drift is no step");
	is_int(im_steady_age_ms(&steady, wall + 60 * SEC, wall + 3662 * SEC, 67 * SEC), 0,
		   "an hour forward: not older than the step");
	is_int(im_steady_age_ms(&steady, wall + 60 * SEC, wall + 3672 * SEC, 77 * SEC), 10000,
		   "10 s after the step");
	ok(im_steady_age_ms(&steady, wall + 60 * SEC, wall + 10 * SEC, 78 * SEC) < 0,
	   "clock set back: the age is negative");
	im_steady_note(&steady, wall + 20 * SEC, 88 * SEC);
	is_int(steady.since, 78 * SEC, "steady since the last step");
}

/* The spelling of statuses. */
static void
test_names(void)
{
	ImStatus	status;

	for (int i = IM_PENDING; i <= IM_IN_DOUBT; i++)
		ok(im_status_parse(im_status_name((ImStatus) i), &status) && status == (ImStatus) i,
		   "%s", im_status_name((ImStatus) i));
	ok(!im_status_parse("done", &status), "no such status");
}

int
main(void)
{
	test_judge();
	test_claim();
	test_decisions();
	test_never_failed_without_proof();
	test_recover_and_adopt();
	test_backoff();
	test_steady();
	test_names();
	return tap_done();
}
