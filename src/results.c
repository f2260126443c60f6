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
	.time = "MsgTimeStamp",.random = "MsgRandom"}

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

/* See results.h. */
void
im_results_read(ImCall *call, const char *body, size_t len, ImListEntry *entries, int max)
{
	const ImCommand *command = call->command;
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
	}
}

/* True if an entry of a group's messages is the row's message. */
static bool
is_message(const ImListEntry *entry, const ImRow *row)
{
	return entry->has_random && entry->random == row->random && entry->time == row->sent_time &&
		is_about(entry, row);
}

/* See results.h. */
bool
im_results_find(ImCall *call, const char *body, size_t len, ImListEntry *entries, int max)
{
	static const ImListWords words = MESSAGES_READ;
	int			n = im_answer_list(body, len, &words, entries, max);

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
		if (call->oldest_time == 0 || entry->time < call->oldest_time)
			call->oldest_time = entry->time;
		if (entry->time > call->newest_time)
			call->newest_time = entry->time;
		for (int i = 0; i < call->nrows; i++)
			if (is_message(entry, call->rows[i]))
			{
				decide(call->rows[i], IM_OUT_SAME, 0);
				call->rows[i]->found = true;
				call->rows[i]->seq = entry->seq;
			}
	}
	return true;
}

/* See results.h. */
void
im_results_accounts(ImCall *call, const char *body, size_t len, ImListEntry *entries, int max)
{
	static const ImListWords words = {.list = "ResultItem",.id = "UserID",.code = "ResultCode",
	.word = "AccountStatus"};
	int			n = im_answer_list(body, len, &words, entries, max);

	for (int i = 0; i < call->nrows; i++)
	{
		const ImListEntry *entry = n < 0 || n > max ? NULL : entry_of(call->rows[i], i, entries, n, false);

		call->rows[i]->account = IM_ACCOUNT_UNKNOWN;
		if (entry == NULL || !entry->has_word)
			continue;
		if (im_json_is(&entry->word, "Imported"))
			call->rows[i]->account = IM_ACCOUNT_THERE;
		else if (im_json_is(&entry->word, "NotImported"))
			call->rows[i]->account = IM_ACCOUNT_ABSENT;
	}
}
