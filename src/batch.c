/*
 * batch.c
 *	  Rows in one call: which go together, and what becomes of each when the
 *	  call is answered, or not.
 *
 * The surprising rule: a call of many rows that is refused as a whole, or a
 * lookup of many that nothing can be read from, says nothing of any of them.  It
 * is halved until the one is found that is to blame, or until the calls are small
 * enough.
 *
 * Must not know: PostgreSQL, the sender, how rows are written.
 */
#include "batch.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "errcodes.h"
#include "rooms.h"
#include "text.h"

#define COMMUNITY_ID		"@TGS#_"
#define NAMED_MAX			64	/* bytes of a name in the words about it ... */
#define WORDS_MAX			400 /* ... and of these */

/* ------------------------------------------------------------------------
 * Rows to calls
 */

/* See batch.h. */
int64_t
im_batch_time(const ImTiming *timing)
{
	int64_t		least = timing->newest + (timing->keep_equal ? 0 : 1);

	if (timing->kept != 0)
		return timing->kept;
	/* Nothing is known that it would have to be later than. */
	if (timing->newest == 0 && timing->created == 0)
		return timing->own;
	if (least <= timing->created)
		least = timing->created + 1;
	return timing->own > least ? timing->own : least;
}

/* See batch.h. */
int64_t
im_batch_shift(const ImTiming *timing, int64_t most)
{
	int64_t		shift = im_batch_time(timing) - timing->own;

	/* What may be in the group at its time already is not called invalid for that. */
	return timing->own == 0 || timing->kept != 0 || shift <= most ? 0 : shift;
}

/* See batch.h. */
uint32_t
im_batch_random(int64_t id, const unsigned char *row_key)
{
	uint32_t	x = (uint32_t) id & 0xffffff;

	/* Of a UUID made at random this byte is random. */
	if (row_key != NULL)
		x |= (uint32_t) row_key[15] << 24;
	/* Each step can be undone, so what is different stays different. */
	x ^= x >> 16;
	x *= 0x85ebca6b;
	x ^= x >> 13;
	x *= 0xc2b2ae35;
	x ^= x >> 16;
	return x;
}

/* See batch.h. */
ImOp
im_batch_op(const ImRow *row)
{
	if (row->next.act != IM_ACT_LOOKUP)
		return im_commands[row->kind]->op;
	return im_commands[row->kind]->lookup_op;
}

/* True if a row can go into a call that is being filled. */
static bool
fits(const ImCall *call, const ImRow *row, int batch)
{
	const ImRow *first = call->rows[0];

	/* A row that a session asks for goes alone: its answer is about nothing else. */
	return call->op == im_batch_op(row) && call->nrows < batch && row->request < 0 && first->request < 0 &&
		(first->key == NULL) == (row->key == NULL) &&
		(row->key == NULL || strcmp(first->key, row->key) == 0);
}

/* See batch.h. */
int
im_batch_place(ImCall *const *calls, int ncalls, const ImRow *row, int batch)
{
	for (int i = ncalls - 1; i >= 0; i--)
		if (fits(calls[i], row, batch))
			return i;
	/* In order, one call of a room goes at a time: what is too much for it waits. */
	for (int i = 0; i < ncalls && im_commands[row->kind]->ordered && row->room != NULL; i++)
		if (calls[i]->rows[0]->room == row->room)
			return IM_PLACE_LATER;
	return IM_PLACE_NEW;
}

/* See batch.h. */
const char *
im_batch_extra(const ImCommand *command, bool recent_contact, const char *group_id)
{
	if (!command->contact_flag || !recent_contact ||
		strncmp(group_id, COMMUNITY_ID, strlen(COMMUNITY_ID)) == 0)
		return "";
	return "\"RecentContactFlag\":1,";
}

/* See batch.h. */
void
im_batch_give_back(ImRow *row, const ImPolicy *policy)
{
	memset(&row->verdict, 0, sizeof(row->verdict));
	row->verdict.outcome = IM_OUT_NOT_SENT;
	row->info[0] = '\0';
	im_protocol_judge(&row->life, &row->verdict, policy, false, 0, &row->next);
}

/* ------------------------------------------------------------------------
 * A call is answered, or not
 */

/* True if a refusal with the code is about what all rows of a call have in common. */
static bool
is_about_key(const ImCommand *command, int32_t code)
{
	return code != 0 && (command->key_codes[0] == code || command->key_codes[1] == code);
}

/* True for a definite refusal of just this question. */
static bool
question_refused(const ImCall *call)
{
	return call->verdict.outcome == IM_OUT_UNREADABLE && call->verdict.answered && call->reply.readable &&
		im_error_find(call->reply.code)->class == IM_CLASS_ROW;
}

/*
 * True if its rows go again, as two calls: one of them may be to blame, or they are
 * too many.
 */
static bool
splits(const ImCall *call)
{
	const ImVerdict *verdict = &call->verdict;

	if (call->nrows < 2)
		return false;
	/* Why rows were refused, or whether they are there: one of them may be to blame for this, too. */
	if (call->op == call->command->explain_op && !call->command->ordered)
		return question_refused(call);
	/* An answer that tells of no row must not be held against any of them. */
	if (call->op == call->command->lookup_op && call->command->lookup_batch > 0)
		return verdict->outcome == IM_OUT_UNREADABLE && verdict->answered;
	return call->op == call->command->op && !is_about_key(call->command, verdict->code) &&
		(verdict->outcome == IM_OUT_REFUSED || verdict->outcome == IM_OUT_EXISTS);
}

/* How many of the call's rows were refused with a code. */
static int
refused_with(const ImCall *call, int32_t code)
{
	int			n = 0;

	for (int i = 0; i < call->nrows; i++)
		n += call->rows[i]->verdict.outcome == IM_OUT_REFUSED && call->rows[i]->verdict.code == code;
	return n;
}

/*
 * What the answer says of the call's rows: the code with which it refused nine of
 * ten of them, 0 if it did not.  False if it says nothing of rows: it answers a
 * question, or the call goes again in halves, or nothing was decided.
 */
static bool
says(const ImCall *call, int32_t *code)
{
	*code = call->verdict.outcome == IM_OUT_REFUSED ? call->verdict.code : 0;
	if (im_op_asks(call->op) || splits(call) ||
		(call->verdict.outcome != IM_OUT_REFUSED && call->verdict.outcome != IM_OUT_DONE))
		return false;
	/* A code that nine of ten rows have is that of one of the first tenth, and one more. */
	for (int i = 0; call->verdict.outcome == IM_OUT_DONE && i <= call->nrows / 10 && i < call->nrows; i++)
		if (refused_with(call, call->rows[i]->verdict.code) * 10 >= call->nrows * 9)
			*code = call->rows[i]->verdict.code;
	/* Each of them goes alone, to learn why: that answer says it. */
	return !(*code == IM_CODE_ITEM && call->op == call->command->op && call->command->single_op != IM_OP_NONE);
}

/* See batch.h. */
bool
im_batch_note(const ImCall *call, ImBreaker *breaker, int64_t changed_at, int64_t now)
{
	const ImLife *first = &call->rows[0]->life;
	bool		again = first->maybe_sent || first->attempts > 1;
	int32_t		code;

	/* Under other options or another key: it says nothing about those of now. */
	if (call->begun_at >= changed_at || call->verdict.outcome == IM_OUT_DONE)
	{
		im_breaker_note(breaker, &call->verdict, again, call->reply.info, call->begun_at, now);
		if (says(call, &code))
			im_breaker_answered(breaker, code);
	}
	/* After the note: the miss itself may have opened the breaker. */
	return im_breaker_counts(breaker, &call->verdict);
}

/*
 * True if a question about one row is to be put once more: its answer goes on, on
 * another page; or it was refused, and newer documents name its parameters otherwise.
 */
static bool
asks_on(ImCall *call)
{
	const ImCheckup *checkup = call->command->checkup;
	ImSeen	   *check = &call->rows[0]->check;

	if (call->op != call->command->explain_op || call->nrows != 1)
		return false;
	if (question_refused(call) && checkup != NULL && checkup->each.has_newer_names && !check->newer_names)
		return check->newer_names = true;
	return call->found != IM_FOUND_UNREADABLE && check->again;
}

/* See batch.h. */
ImFollow
im_batch_follow(ImCall *call)
{
	if (splits(call))
		return IM_FOLLOW_HALVES;
	if (asks_on(call))
		return IM_FOLLOW_PAGE;
	if (im_op_asks(call->op) && call->command->undoes)
		return IM_FOLLOW_UNDO;
	if (call->op == IM_OP_GET_MESSAGES)
		return IM_FOLLOW_MESSAGES;
	if (call->op == call->command->explain_op && !call->command->ordered)
		return IM_FOLLOW_EXPLAINED;
	return IM_FOLLOW_ROWS;
}

/* See batch.h. */
int
im_batch_first_half(const ImCall *call)
{
	return call->command->ordered ? call->nrows / 2 : (call->nrows + 1) / 2;
}

/* See batch.h. */
int
im_batch_fewer(const ImCall *call, int usual)
{
	int			fewer = im_batch_first_half(call);

	if (call->op != call->command->op || !im_code_is_too_many(call->verdict.code, call->nrows, call->command->batch))
		return 0;
	/* Never raised: calls of the old size may still come back. */
	return fewer > 0 && fewer < usual ? fewer : 0;
}

/* ------------------------------------------------------------------------
 * Each row of a call
 */

/* The service refuses without saying whom: who it may be is told before its words, which may be long. */
static void
name_user(const ImCall *call, ImRow *row)
{
	const char *blames = call->command->blames;
	char		who[NAMED_MAX];
	char		said[WORDS_MAX];
	const char *words = row->info[0] == '\0' && call->command->refused_because != NULL ? call->command->refused_because : row->info;

	if (blames == NULL || call->op != call->command->op || row->verdict.outcome != IM_OUT_REFUSED || row->name == NULL ||
		is_about_key(call->command, row->verdict.code) || strstr(row->info, row->name) != NULL)
		return;
	(void) im_text_clean(row->name, strlen(row->name), who, sizeof(who));
	(void) im_text_clean(words, strlen(words), said, sizeof(said));
	snprintf(row->info, sizeof(row->info), "%.16s \"%s\"%s%s", blames, who, said[0] == '\0' ? "" : ": ", said);
}

/* Why the service was asked is to be reported if it knows nothing. */
static void
keep_refusal(ImRow *row)
{
	row->refusal_code = row->verdict.code;
	snprintf(row->refusal_info, sizeof(row->refusal_info), "%s", row->info);
}

/* The row was refused for its own sake, whatever was asked since. */
static void
decide_refused(ImRow *row, int32_t code)
{
	memset(&row->verdict, 0, sizeof(row->verdict));
	row->verdict.outcome = IM_OUT_REFUSED;
	row->verdict.code = code;
	row->verdict.answered = true;
	row->verdict.of_item = true;
}

/* True if the answer said that the item failed, and no more. */
static bool
failed_without_reason(const ImCall *call, const ImRow *row)
{
	return call->op == call->command->op && row->verdict.outcome == IM_OUT_REFUSED &&
		row->verdict.code == IM_CODE_ITEM;
}

/* True if the item's code says nothing: it may stand for "is there already". */
static bool
failed_strangely(const ImCall *call, const ImRow *row)
{
	return call->command->there_is_done && call->op == call->command->op &&
		row->verdict.outcome == IM_OUT_REFUSED && !im_error_documented(row->verdict.code);
}

/* True if an earlier request may have applied what is refused now: it may be there. */
static bool
refused_after_all(const ImCall *call, const ImRow *row)
{
	return call->command->there_is_done && call->op == call->command->op &&
		row->verdict.outcome == IM_OUT_REFUSED && row->life.maybe_sent;
}

/* True if the service can be asked why the row was refused, or whether it is there. */
static bool
wants_explanation(const ImCall *call, const ImRow *row)
{
	const ImCommand *command = call->command;

	if (refused_after_all(call, row))
		return true;
	if (command->explain_op == IM_OP_NONE || row->request >= 0)
		return false;
	if (!command->ordered)
		return (failed_without_reason(call, row) || failed_strangely(call, row)) && row->verdict.of_item;
	return call->op == command->op && row->verdict.outcome == IM_OUT_REFUSED && row->verdict.of_item &&
		!row->life.maybe_sent;
}

/* See batch.h. */
ImRoute
im_batch_route(const ImCall *call, ImRow *row)
{
	if (call->command->single_op != IM_OP_NONE && failed_without_reason(call, row))
		return IM_ROUTE_ALONE;
	name_user(call, row);
	if (!wants_explanation(call, row))
		return IM_ROUTE_JUDGE;
	/* Kept before the question: its answer takes the refusal's place. */
	keep_refusal(row);
	memset(&row->check, 0, sizeof(row->check));
	if (row->refusal_info[0] == '\0' && call->command->refused_because != NULL)
		snprintf(row->refusal_info, sizeof(row->refusal_info), "%s", call->command->refused_because);
	return IM_ROUTE_EXPLAIN;
}

/* See batch.h. */
void
im_batch_judge(ImRow *row, const ImPolicy *policy, bool counts, double jitter)
{
	im_protocol_judge(&row->life, &row->verdict, policy, counts, jitter, &row->next);
	if (row->next.act == IM_ACT_LOOKUP)
	{
		/* If the lookup finds nothing, this is what the row is told. */
		if (row->next.why == IM_WHY_REFUSED || row->next.why == IM_WHY_EXISTS)
			keep_refusal(row);
		row->life.why = row->next.why;
	}
	else if (row->next.act == IM_ACT_SEND)
		row->life.why = IM_WHY_NONE;
}

/*
 * Done if it is there, whatever became of its content; else what it was refused for
 * is told.  What was sent before is not called failed if nobody can say: it is in
 * doubt where the service refuses the question, and else it is tried again.
 */
static void
decide_by_presence(ImRow *row, const ImCall *call)
{
	decide_refused(row, row->refusal_code);
	if (row->check.found == IM_FOUND_UNREADABLE && row->life.maybe_sent)
	{
		row->verdict.of_item = false;
		if (!question_refused(call) && !row->check.expired)
			row->verdict.outcome = IM_OUT_UNKNOWN;
	}
	if (row->check.found == IM_FOUND_SAME || row->check.found == IM_FOUND_OTHER)
	{
		row->verdict.outcome = IM_OUT_DONE;
		row->verdict.code = 0;
		row->info[0] = '\0';
	}
	else
		snprintf(row->info, sizeof(row->info), "%s", row->refusal_info);
}

/* See batch.h. */
void
im_batch_explained(ImCall *call)
{
	const ImCheckup *checkup = call->command->checkup;
	/* Of a user who is not there nothing is; of several the code says not who that is. */
	bool		absent = call->nrows == 1 && question_refused(call) && checkup != NULL &&
		(call->reply.code == checkup->each.absent[0] || call->reply.code == checkup->each.absent[1]);

	for (int i = 0; i < call->nrows; i++)
	{
		ImRow	   *row = call->rows[i];

		if (absent)
			row->check.found = IM_FOUND_ABSENT;
		if (call->command->there_is_done)
		{
			decide_by_presence(row, call);
			continue;
		}
		decide_refused(row, IM_CODE_ITEM);
		if (row->check.found == IM_FOUND_ABSENT)
			snprintf(row->info, sizeof(row->info), "the app has no account \"%s\"", row->name);
		else
			snprintf(row->info, sizeof(row->info), "%s%s",
					 row->check.found == IM_FOUND_SAME ? "the account exists; " : "the account may not exist; ",
					 call->command->refused_because);
	}
}

/* See batch.h. */
void
im_batch_looked_up(ImCall *call, const ImExchange *exchange)
{
	ImExchange	one = *exchange;

	for (int i = 0; i < call->nrows; i++)
	{
		ImRow	   *row = call->rows[i];

		/* A row that the answer does not tell of has the answer's own code. */
		one.found = row->check.found;
		im_judge(&one, &row->verdict);
		row->verdict.retry_after = call->verdict.retry_after;
		if (exchange->failure != 0 || row->info[0] == '\0')
			snprintf(row->info, sizeof(row->info), "%s", call->reply.info);
		/* A group that is not ours is what the operator sees of the call. */
		if (row->verdict.outcome == IM_OUT_OTHER)
			call->verdict = row->verdict;
	}
}

/* ------------------------------------------------------------------------
 * A group's messages were read
 */

/* True if it was asked only why rows were refused that surely are not there. */
static bool
explains(const ImCall *call)
{
	return call->rows[0]->life.why == IM_WHY_NONE;
}

/* The newest time in the group, as far as pages were read. */
static int64_t
newest_of(const ImCall *call)
{
	return call->group_newest > call->newest_time ? call->group_newest : call->newest_time;
}

/* No message of the row is older. */
static int64_t
earliest(const ImRow *row)
{
	return row->least_time != 0 ? row->least_time : row->sent_time;
}

/* See batch.h. */
bool
im_batch_reads_on(const ImCall *call, ImCall *more)
{
	int			missing = 0;
	int64_t		first = INT64_MAX;

	for (int i = 0; i < call->nrows; i++)
	{
		const ImRow *row = call->rows[i];

		if (row->verdict.outcome == IM_OUT_SAME && row->found)
			continue;
		missing++;
		if (earliest(row) < first)
			first = earliest(row);
	}
	/* To read on makes sense only if what is missing can lie on an older page. */
	if (call->verdict.outcome != IM_OUT_SAME || missing == 0 || call->nread == 0 ||
		call->least_seq <= 1 || (call->oldest_time > 0 && call->oldest_time < first))
		return false;
	more->read_below = call->least_seq - 1;
	more->group_newest = newest_of(call);
	return true;
}

/* A UNIX time for a message. */
static const char *
time_text(int64_t seconds, char *out, size_t size)
{
	time_t		t = (time_t) seconds;
	struct tm	tm;

	if (gmtime_r(&t, &tm) == NULL || strftime(out, size, "%Y-%m-%d %H:%M:%S UTC", &tm) == 0)
		snprintf(out, size, "UNIX time %lld", (long long) seconds);
	return out;
}

/*
 * A message was refused, and is not there.  If the group's newest message is none
 * of ours, the others would be refused too.  False if another time may help.
 */
static bool
take_refused(ImRow *row, int64_t newest, bool *live)
{
	char		when[64];

	/* A newest message of our own is no sign of other people. */
	*live = row->room != NULL && newest > row->room->newest && newest >= row->sent_time;
	/* Perhaps it was refused for its time: with another one it may be taken. */
	if (!*live && row->life.maybe_sent)
		return false;
	decide_refused(row, row->refusal_code);
	row->life.maybe_sent = false;
	if (*live)
		snprintf(row->info, sizeof(row->info),
				 "the group's newest message is of %s: people are already writing in it, and older messages are refused",
				 time_text(newest, when, sizeof(when)));
	else
		snprintf(row->info, sizeof(row->info), "%s", row->refusal_info);
	return true;
}

/* What the call says of a row that was not found. */
static void
take_absent(const ImCall *call, ImRow *row)
{
	row->verdict = call->verdict;
	row->info[0] = '\0';
	if (call->verdict.outcome == IM_OUT_SAME)
		row->verdict.outcome = IM_OUT_ABSENT;
	else if (explains(call))
		row->verdict.outcome = IM_OUT_UNKNOWN;	/* an unchecked refusal proves nothing */
}

/* See batch.h. */
ImRow *
im_batch_read(ImCall *call)
{
	bool		asked_why = explains(call);
	int64_t		newest = newest_of(call);
	ImRow	   *held = NULL;

	for (int i = 0; i < call->nrows; i++)
	{
		ImRow	   *row = call->rows[i];
		bool		refused = asked_why || row->life.why == IM_WHY_REFUSED;
		bool		live = false;

		if (row->found)
			continue;
		if (call->verdict.outcome != IM_OUT_SAME || !refused || !take_refused(row, newest, &live))
			take_absent(call, row);
		/* A room is held once, whichever of its rows has shown it. */
		if (!live || row->room->held)
			continue;
		row->room->held = true;
		held = row;
	}
	return held;
}

/* ------------------------------------------------------------------------
 * A group is to be disbanded
 */

/* Sets what was found out about it. */
static void
decide_undo(ImRow *row, ImOutcome outcome)
{
	row->verdict.outcome = outcome;
	row->verdict.code = 0;
	row->info[0] = '\0';
}

/*
 * Numbers of the group's messages were used that none of ours has.  False if what
 * has them must be read first.  A new Private group may begin with 2, so that
 * there can be less than it seems, before the first of ours; anywhere else a
 * message is somebody else's.
 */
static bool
take_numbers(ImRow *row, int64_t *read_below)
{
	const ImOwned *owned = &row->owned;

	if (owned->messages > 0 && (!owned->gapless || row->check.next_seq - 1 != owned->most_seq))
	{
		decide_undo(row, IM_OUT_IN_USE);
		return true;
	}
	*read_below = owned->messages > 0 ? owned->least_seq - 1 : 0;
	return false;
}

/* See batch.h. */
bool
im_batch_undo(ImCall *call, int64_t *read_below)
{
	ImRow	   *row = call->rows[0];

	if (call->op == IM_OP_GET_MESSAGES)
	{
		/* From the newest on, although there are rows: fewer numbers than rows. */
		bool		fewer = call->read_below == 0 && row->owned.messages > 0;

		row->verdict = call->verdict;
		if (call->verdict.outcome == IM_OUT_SAME)
			decide_undo(row, call->nread == 0 ? IM_OUT_SAME : fewer ? IM_OUT_UNREADABLE : IM_OUT_IN_USE);
		return true;
	}
	if (row->verdict.outcome == IM_OUT_OTHER)
		decide_undo(row, IM_OUT_OTHER);
	if (row->verdict.outcome != IM_OUT_SAME)
		return true;
	/* Without that number nobody can say whether others wrote: it is not disbanded. */
	if (row->check.next_seq <= 0)
		decide_undo(row, IM_OUT_UNREADABLE);
	else if (row->check.next_seq - 1 > row->owned.messages)
		return take_numbers(row, read_below);
	else if (row->check.next_seq - 1 < row->owned.messages)
	{
		/*
		 * The rows' messages are not in this group: it was made anew since, or the
		 * answer lags behind.  Whatever is in it may be somebody's.
		 */
		*read_below = 0;
		return false;
	}
	return true;
}
