/*
 * results.c
 *	  What an answer about many rows says of each.
 *
 * The surprising rule: what the answer does not mention was not decided.  Such
 * a row's outcome is unknown, unless the command lists only what failed.
 */
#include "results.h"

#include <string.h>

#include "command.h"
#include "errcodes.h"

#define MESSAGES_READ	{.list = "RspMsgList",.id = "From_Account",.seq = "MsgSeq", \
	.time = "MsgTimeStamp",.random = "MsgRandom",.result = "IsPlaceMsg",.body = "MsgBody"}

/* ErrorCodes about one of many. */
#define CODE_NO_GROUP		10010
#define CODE_BAD_GROUP_ID	10015
#define CODE_NO_ACCOUNT		30003

/* Messages of so many seconds ago are kept in every plan of the service: a day less than the shortest term. */
#define KEPT_SURELY			(6 * 86400)
/* Pages of one second of two people's messages; a list that is longer has no end. */
#define PAGES_MAX			1000

/* True if an entry is about the row. */
static bool
is_about(const ImListEntry *entry, const ImRow *row)
{
	return entry->has_id && row->name != NULL &&
		im_json_same(entry->id, im_json_plain(row->name, strlen(row->name)));
}

/* The entry about row i, most likely at its place; NULL: there is none. */
static const ImListEntry *
entry_of(const ImRow *row, int i, const ImListEntry *entries, int n, bool by_place)
{
	if (by_place)
		return i < n ? &entries[i] : NULL;
	if (i < n && is_about(&entries[i], row))
		return &entries[i];
	for (int j = 0; j < n; j++)
		if (is_about(&entries[j], row))
			return &entries[j];
	return NULL;
}

/* Sets what became of a row. */
static void
decide(ImRow *row, ImOutcome outcome, int32_t code)
{
	memset(&row->verdict, 0, sizeof(row->verdict));
	row->verdict.outcome = outcome;
	row->verdict.code = code;
	row->verdict.answered = true;
	row->verdict.of_item = true;
}

/* True if the entry's word or number for how it went says "done". */
static bool
is_done(const ImCommand *command, const ImListEntry *entry)
{
	if (command->answer.result != NULL)
		return entry->has_result &&
			(entry->result == command->result_done[0] || entry->result == command->result_done[1]);
	return entry->has_code && entry->code == 0;
}

/* What the code of an item that was not taken means. */
static ImOutcome
outcome_of_code(const ImCommand *command, int64_t code)
{
	/* In a list an item was either taken or not: what no document knows is a refusal, too. */
	if (code <= 0 || code > INT32_MAX || !im_error_documented((int32_t) code))
		return IM_OUT_REFUSED;
	if (code == command->code_there)
		return IM_OUT_DONE;
	switch (im_error_find((int32_t) code)->class)
	{
		case IM_CLASS_RETRY:
		case IM_CLASS_SLOW:
			return IM_OUT_UNKNOWN;	/* sent again later */
		default:
			return IM_OUT_REFUSED;
	}
}

/* Reads one entry. */
static void
read_entry(const ImCommand *command, const ImListEntry *entry, ImRow *row)
{
	int64_t		code = command->answer.result != NULL ? entry->result : entry->code;

	row->info[0] = '\0';
	if (entry->has_info)
		(void) im_json_clean(entry->info, row->info, sizeof(row->info));
	/* Noted whatever the result is: a message that is there already has its number. */
	if (entry->has_seq)
		row->seq = entry->seq;
	if (command->answer.result != NULL ? !entry->has_result : !entry->has_code)
		decide(row, IM_OUT_UNKNOWN, IM_CODE_UNREADABLE);
	else if (is_done(command, entry) && entry->has_time && row->sent_time != 0 && entry->time != row->sent_time)
		decide(row, IM_OUT_UNKNOWN, IM_CODE_UNREADABLE);	/* it speaks of another one */
	else if (is_done(command, entry))
		decide(row, IM_OUT_DONE, 0);
	else if (outcome_of_code(command, code) == IM_OUT_DONE)
		decide(row, IM_OUT_DONE, 0);
	else
		decide(row, outcome_of_code(command, code), code > 0 && code <= INT32_MAX ? (int32_t) code : IM_CODE_ITEM);
}

/* True if the answer says something of the row. */
static bool
is_told(const ImRow *row)
{
	return row->verdict.outcome != IM_OUT_UNKNOWN || row->verdict.code != IM_CODE_UNREADABLE;
}

/* See results.h. */
bool
im_results_read(ImCall *call, const char *body, size_t len, ImListEntry *entries, int max)
{
	const ImCommand *command = call->command;
	bool		told = false;
	bool		by_place = command->answer.id == NULL && !command->listed_failed;
	int			n = im_answer_list(body, len, &command->answer, entries, max);

	if (n > max)
		n = -1;
	for (int i = 0; i < call->nrows; i++)
	{
		ImRow	   *row = call->rows[i];
		const ImListEntry *entry = entry_of(row, i, entries, n, by_place);

		row->info[0] = '\0';
		if (n < 0 || (by_place && n != call->nrows))
			decide(row, IM_OUT_UNKNOWN, IM_CODE_UNREADABLE);
		else if (command->listed_failed)
			decide(row, entry != NULL ? IM_OUT_REFUSED : IM_OUT_DONE, entry != NULL ? IM_CODE_ITEM : 0);
		else if (entry == NULL)
			decide(row, IM_OUT_UNKNOWN, IM_CODE_UNREADABLE);
		else
			read_entry(command, entry, row);
		told = told || is_told(row);
	}
	return told;
}

/* True if an entry of a group's messages is the row's message. */
static bool
is_message(const ImListEntry *entry, const ImRow *row)
{
	bool		in_time = row->least_time != 0 ? entry->time >= row->least_time : entry->time == row->sent_time;

	return entry->has_random && entry->random == row->random && in_time && is_about(entry, row);
}

/* True if a message that may be in the group was not found. */
static bool
misses_suspect(const ImCall *call)
{
	for (int i = 0; i < call->nrows; i++)
		if (!call->rows[i]->found && call->rows[i]->life.repeat == IM_REPEAT_READ_BACK &&
			call->rows[i]->life.maybe_sent)
			return true;
	return false;
}

/* See results.h. */
bool
im_results_find(ImCall *call, const char *body, size_t len, ImListEntry *entries, int max)
{
	static const ImListWords words = MESSAGES_READ;
	int			n = im_answer_list(body, len, &words, entries, max);
	bool		blank = false;

	call->nread = 0;
	call->least_seq = call->oldest_time = call->newest_time = 0;
	if (n < 0 || n > max)
		return false;
	call->nread = n;
	for (int j = 0; j < n; j++)
	{
		const ImListEntry *entry = &entries[j];

		if (call->least_seq == 0 || entry->seq < call->least_seq)
			call->least_seq = entry->seq;
		/* A place without any mark has no time, either; whose it was nobody can tell. */
		if (entry->time > 0 && (call->oldest_time == 0 || entry->time < call->oldest_time))
			call->oldest_time = entry->time;
		blank = blank || (entry->time <= 0 && entry->random == 0);
		if (entry->time > call->newest_time)
			call->newest_time = entry->time;
		for (int i = 0; i < call->nrows; i++)
			if (is_message(entry, call->rows[i]))
			{
				decide(call->rows[i], IM_OUT_SAME, 0);
				call->rows[i]->found = true;
				call->rows[i]->seq = entry->seq;
				call->rows[i]->sent_time = entry->time;
			}
	}
	/* A list that does not move would be read for ever. */
	blank = blank && misses_suspect(call);
	if (!blank && (n == 0 || call->read_below == 0 || call->least_seq <= call->read_below))
		return true;
	call->nread = 0;
	return false;
}

/* ---- comparing rows with the app ---- */

/* A word of an answer, and what it says of a row. */
typedef struct Word
{
	const char *word;
	ImFound		found;
} Word;

/*
 * What an entry's word says; one that is not among them says nothing, nor does any
 * beside a code, but for the one that says that it is not there.
 */
static ImFound
found_by_word(const ImListEntry *entry, const Word *words, int32_t absent_code)
{
	if (entry->has_code && entry->code != 0)
		return entry->code == absent_code ? IM_FOUND_ABSENT : IM_FOUND_UNREADABLE;
	for (; entry->has_word && words->word != NULL; words++)
		if (im_json_is(&entry->word, words->word))
			return words->found;
	return IM_FOUND_UNREADABLE;
}

/* Reads a list with one word for each row. */
static bool
read_words(ImCall *call, const char *body, size_t len, const ImListWords *list, const Word *words,
		   int32_t absent_code, ImListEntry *entries, int max)
{
	int			n = im_answer_list(body, len, list, entries, max);
	bool		good = n >= 0 && n <= max;

	for (int i = 0; i < call->nrows; i++)
	{
		const ImListEntry *entry = good ? entry_of(call->rows[i], i, entries, n, false) : NULL;

		call->rows[i]->check.found = entry == NULL ? IM_FOUND_UNREADABLE : found_by_word(entry, words, absent_code);
	}
	return good;
}

/* See results.h. */
bool
im_results_accounts(ImCall *call, const char *body, size_t len, ImListEntry *entries, int max)
{
	static const ImListWords list = {.list = "ResultItem",.id = "UserID",.word = "AccountStatus",
	.code = "ResultCode"};
	static const Word words[] = {{"Imported", IM_FOUND_SAME}, {"NotImported", IM_FOUND_ABSENT}, {NULL, IM_FOUND_SAME}};

	return read_words(call, body, len, &list, words, 0, entries, max);
}

/* See results.h. */
bool
im_results_friends(ImCall *call, const char *body, size_t len, ImListEntry *entries, int max)
{
	static const ImListWords list = {.list = "InfoItem",.id = "To_Account",.word = "Relation",
	.code = "ResultCode"};
	static const Word words[] = {
		{"CheckResult_Type_AWithB", IM_FOUND_SAME}, {"CheckResult_Type_BothWay", IM_FOUND_SAME},
		{"CheckResult_Type_NoRelation", IM_FOUND_ABSENT}, {"CheckResult_Type_BWithA", IM_FOUND_ABSENT}, {NULL, IM_FOUND_SAME}
	};

	return read_words(call, body, len, &list, words, CODE_NO_ACCOUNT, entries, max);
}

/* A member of what was sent for a row. */
static ImJsonValue
sent_member(const ImRow *row, const char *name)
{
	ImJsonScan	scan = im_json_begin(row->item, row->item_len);
	ImJsonValue item;

	im_json_value(&scan, &item);
	return im_json_member(&item, name);
}

/* Sets that a row differs in one more thing. */
static void
differ(ImRow *row, ImDiffers in)
{
	row->check.found = IM_FOUND_OTHER;
	row->check.differs |= UINT32_C(1) << in;
}

/*
 * The role of a member who is there.  The owner is one whatever the row says,
 * and which the group's row says; without a role a member is a plain one.
 */
static void
compare_role(ImRow *row, const ImListEntry *entry)
{
	bool		admin = sent_member(row, "Role").kind != IM_JSON_NONE;

	if (!im_json_is(&entry->word, "Owner") && im_json_is(&entry->word, "Admin") != admin)
		differ(row, IM_DIFFERS_ROLE);
}

/* See results.h. */
bool
im_results_members(ImCall *call, const char *body, size_t len, ImListEntry *entries, int max)
{
	static const ImListWords list = {.list = "UserIdList",.id = "Member_Account",.word = "Role"};
	static const Word words[] = {
		{"Owner", IM_FOUND_SAME}, {"Admin", IM_FOUND_SAME}, {"Member", IM_FOUND_SAME},
		{"NotMember", IM_FOUND_ABSENT}, {NULL, IM_FOUND_SAME}
	};
	bool		good = read_words(call, body, len, &list, words, 0, entries, max);
	int			n = good ? im_answer_list(body, len, &list, entries, max) : 0;

	for (int i = 0; i < call->nrows; i++)
		if (call->rows[i]->check.found == IM_FOUND_SAME)
			compare_role(call->rows[i], entry_of(call->rows[i], i, entries, n, false));
	return good;
}

/* Compares the content of a message that is there. */
static void
compare_content(ImRow *row, const ImListEntry *entry)
{
	ImJsonValue sent = sent_member(row, "MsgBody");

	if ((entry->has_result && entry->result != 0) || !im_json_covers(&entry->body, &sent))
		differ(row, row->check.as_text ? IM_DIFFERS_TEXT : IM_DIFFERS_BODY);
}

/* Compares a row with the message that is, or should be, its own. */
static void
compare_message(ImRow *row, const ImListEntry *entry)
{
	row->check.found = IM_FOUND_SAME;
	if (!is_about(entry, row))
		differ(row, IM_DIFFERS_SENDER);
	if (entry->time != row->sent_time)
		differ(row, IM_DIFFERS_TIME);
	compare_content(row, entry);
}

/*
 * True if the message is the row's: by Random, time and sender; or it stands at
 * the row's number, which is one message's, and has its Random, or its time and
 * sender (that Random is read back as it was sent no document says), or is a
 * place that lost all its marks.
 */
static bool
is_own(const ImRow *row, const ImListEntry *entry)
{
	if (is_message(entry, row))
		return true;
	if (row->seq == 0 || entry->seq != row->seq)
		return false;
	return entry->random == row->random ||
		(entry->time == row->sent_time && is_about(entry, row)) ||
		(entry->has_result && entry->result != 0 && entry->random == 0);
}

/* What the page says of a row that is not on it. */
static void
judge_not_there(const ImCall *call, ImRow *row)
{
	bool		last = call->nread == 0 || call->least_seq <= 1;

	if (row->seq != 0)
		row->check.again = row->seq != call->read_below && !last && call->least_seq > row->seq;
	else
		row->check.again = !last && call->oldest_time >= row->sent_time;
	if (!row->check.again)
		row->check.found = IM_FOUND_ABSENT;
	else
		row->check.below = row->seq != 0 ? row->seq : call->least_seq - 1;
}

/*
 * Notes what part of the group's messages a page has.  False if it is not what
 * was asked for: no number, or none up to the one from which it was to begin.
 */
static bool
note_page(ImCall *call, const ImListEntry *entries, int n)
{
	call->nread = n;
	call->least_seq = 0;
	call->oldest_time = INT64_MAX;
	for (int j = 0; j < n; j++)
	{
		if (entries[j].seq > 0 && (call->least_seq == 0 || entries[j].seq < call->least_seq))
			call->least_seq = entries[j].seq;
		/* A place without any mark has no time, either. */
		if (entries[j].time > 0 && entries[j].time < call->oldest_time)
			call->oldest_time = entries[j].time;
	}
	return n == 0 || (call->least_seq > 0 && (call->read_below == 0 || call->least_seq <= call->read_below));
}

/* See results.h. */
bool
im_results_messages(ImCall *call, const char *body, size_t len, ImListEntry *entries, int max)
{
	static const ImListWords words = MESSAGES_READ;
	int			n = im_answer_list(body, len, &words, entries, max);

	if (n < 0 || n > max || !note_page(call, entries, n))
		return false;
	for (int i = 0; i < call->nrows; i++)
	{
		ImRow	   *row = call->rows[i];
		int			j = 0;

		while (j < n && !is_own(row, &entries[j]))
			j++;
		row->check.again = false;
		if (j < n)
			compare_message(row, &entries[j]);
		else
			judge_not_there(call, row);
	}
	return true;
}

/* True if two values are the same, as far as what was sent goes. */
static bool
said_as_sent(const ImRow *row, const char *name, int64_t said)
{
	ImJsonValue sent = sent_member(row, name);
	int64_t		number;

	return im_json_whole(&sent, &number) && number == said;
}

/* True if the entry is the one-to-one message of the row. */
static bool
is_said(const ImListEntry *entry, const ImRow *row)
{
	ImJsonValue sender = sent_member(row, "From_Account");

	return entry->has_id && im_json_same(entry->id, sender.text) && said_as_sent(row, "MsgSeq", entry->seq) &&
		said_as_sent(row, "MsgRandom", entry->random) && said_as_sent(row, "MsgTimeStamp", entry->time);
}

/*
 * The message's second was read to its end, and it is not there.  That says
 * something only if the service keeps messages so long: surely those of a few days,
 * else if it has any as old.
 */
static void
judge_not_said(const ImCall *call, ImSeen *check, int64_t time, bool any)
{
	if (any || (call->server_time > 0 && call->server_time - time < KEPT_SURELY))
		check->found = IM_FOUND_ABSENT;
	else if (check->looks_back)
		check->expired = true;
	else
	{
		check->again = check->looks_back = true;
		check->page_key[0] = '\0';
	}
}

/* See results.h. */
bool
im_results_dialog(ImCall *call, const char *body, size_t len, ImListEntry *entries, int max)
{
	static const ImListWords words = {.list = "MsgList",.id = "From_Account",.seq = "MsgSeq",
	.time = "MsgTimeStamp",.random = "MsgRandom",.body = "MsgBody"};
	int			n = im_answer_list(body, len, &words, entries, max);
	ImRow	   *row = call->rows[0];
	ImSeen	   *check = &row->check;
	ImJsonValue sent = sent_member(row, "MsgTimeStamp");
	int64_t		time = 0;

	check->found = IM_FOUND_UNREADABLE;
	check->again = check->expired = false;
	if (n < 0 || n > max || !im_json_whole(&sent, &time))
		return false;
	for (int i = 0; i < n; i++)
		if (is_said(&entries[i], row))
		{
			check->found = IM_FOUND_SAME;
			compare_content(row, &entries[i]);
			return true;
		}
	if (im_answer_number(body, len, "Complete") == 1 || check->looks_back)
		judge_not_said(call, check, time, n > 0 || check->pages > 0);
	else if (n > 0 && ++check->pages < PAGES_MAX &&
			 im_answer_text(body, len, "LastMsgKey", check->page_key, sizeof(check->page_key)))
		check->again = true;
	return true;
}

/* Takes what an entry says of a group's messages. */
static void
take_count(ImSeen *check, const ImListEntry *entry)
{
	check->found = IM_FOUND_UNREADABLE;
	if (entry->has_code && (entry->code == CODE_NO_GROUP || entry->code == CODE_BAD_GROUP_ID))
		check->found = IM_FOUND_ABSENT;
	if (!entry->has_code || entry->code != 0 || !entry->has_seq)
		return;
	check->found = IM_FOUND_SAME;
	check->next_seq = entry->seq;
	check->newest = entry->time;
}

/* See results.h. */
bool
im_results_counts(ImCall *call, const char *body, size_t len, ImListEntry *entries, int max)
{
	static const ImListWords words = {.list = "GroupInfo",.id = "GroupId",.code = "ErrorCode",
	.seq = "NextMsgSeq",.time = "LastMsgTime"};
	int			n = im_answer_list(body, len, &words, entries, max);

	if (n <= 0 || n > max)
		return false;
	for (int i = 0; i < call->nrows; i++)
	{
		ImRow	   *row = call->rows[i];
		ImJsonText	id = im_json_plain(row->group_id, strlen(row->group_id));

		for (int j = 0; j < n; j++)
			if (entries[j].has_id && im_json_same(entries[j].id, id))
				take_count(&row->check, &entries[j]);
	}
	return true;
}

/* See results.h. */
bool
im_results_page(ImCall *call, const char *body, size_t len, ImListEntry *entries, int max)
{
	static const ImListWords words = {.list = "GroupIdList",.id = "GroupId"};
	ImPage	   *page = call->page;
	int			n;

	page->n = 0;
	page->total = im_answer_number(body, len, "TotalCount");
	/* What cannot be read is not the end of the list. */
	if (!im_answer_whole(body, len, "Next", &page->next) || page->next < 0)
		return false;
	do
	{
		n = im_answer_rest(body, len, &words, page->n, entries, max);
		if (n < 0 || page->n + n > page->max)
			return false;
		for (int j = 0; j < n && j < max; j++)
			im_json_clean(entries[j].id, page->ids[page->n++], IM_GROUP_ID_MAX + 1);
	} while (n > max);
	return true;
}
