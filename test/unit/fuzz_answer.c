/*
 * fuzz_answer.c
 *	  Whatever bytes come in, answer.c and results.c return, stay within them,
 *	  and give every row a verdict that the answer supports.
 */
#include <string.h>

#include "command.h"
#include "fuzz.h"
#include "results.h"
#include "text.h"

#define ROWS		3
#define ENTRIES		4

static const ImCommand commands[] = {
	{.answer = {.list = "ImportMsgResult",.result = "Result",.seq = "MsgSeq",.time = "MsgTime"}},
	{.answer = {.list = "MemberList",.id = "Member_Account",.result = "Result"},.result_done = {1, 2}},
	{.answer = {.list = "ResultItem",.id = "To_Account",.code = "ResultCode",.info = "ResultInfo"}},
	{.answer = {.list = "FailAccounts"},.listed_failed = true},
};

/* Rows a, b and c as they are before an answer. */
static void
prepare(ImCall *call, ImRow *row, ImRow **rows, const ImCommand *command)
{
	static char *const names[] = {"a", "b", "c"};

	memset(call, 0, sizeof(*call));
	memset(row, 0, ROWS * sizeof(*row));
	call->command = command;
	call->rows = rows;
	call->nrows = ROWS;
	for (int i = 0; i < ROWS; i++)
	{
		rows[i] = &row[i];
		row[i].name = names[i];
		row[i].sent_time = 101 + i;
		row[i].random = 1 + (unsigned) i;
		row[i].verdict.outcome = IM_OUT_SLOW;	/* says nobody here */
		memset(row[i].info, 'x', sizeof(row[i].info));
	}
}

/* Each row is done, refused with a code, or unknown. */
static void
check_rows(const ImRow *row, int nentries)
{
	for (int i = 0; i < ROWS; i++)
	{
		const ImVerdict *verdict = &row[i].verdict;

		CHECK(verdict->outcome == IM_OUT_DONE || verdict->outcome == IM_OUT_REFUSED ||
			  verdict->outcome == IM_OUT_UNKNOWN);
		CHECK((verdict->code == 0) == (verdict->outcome == IM_OUT_DONE));
		CHECK(nentries >= 0 || verdict->outcome == IM_OUT_UNKNOWN);
		CHECK(verdict->answered && verdict->of_item);
		CHECK(strnlen(row[i].info, IM_INFO_MAX + 1) <= IM_INFO_MAX);
	}
}

/* A message that is found is one of those that were read. */
static void
check_found(const char *body, size_t size)
{
	ImListEntry entries[ENTRIES];
	ImCall		call;
	ImRow		row[ROWS];
	ImRow	   *rows[ROWS];
	bool		readable;

	prepare(&call, row, rows, &commands[0]);
	readable = im_results_find(&call, body, size, entries, ENTRIES);
	CHECK(call.nread >= 0 && call.nread <= ENTRIES && (readable || call.nread == 0));
	for (int i = 0; i < ROWS; i++)
	{
		bool		there = false;

		for (int j = 0; j < call.nread; j++)
			there = there || (entries[j].has_random && entries[j].random == row[i].random &&
							  entries[j].time == row[i].sent_time);
		CHECK(!row[i].found || there);
		CHECK(row[i].found == (row[i].verdict.outcome == IM_OUT_SAME));
	}
}

static const ImReader readers[] = {
	im_results_accounts, im_results_friends, im_results_members, im_results_messages, im_results_counts, im_results_dialog
};

/* What is compared with the app: found or not, and then what differs; or not decided. */
static void
check_compared(ImReader reader, const char *body, size_t size)
{
	static char item[] = "{\"Role\":\"Admin\",\"From_Account\":\"a\",\"MsgSeq\":1,\"MsgRandom\":1,"
		"\"MsgBody\":[{\"MsgType\":\"TIMTextElem\",\"MsgContent\":{\"Text\":\"hi\"}}]}";
	ImListEntry entries[ENTRIES];
	ImCall		call;
	ImRow		row[ROWS];
	ImRow	   *rows[ROWS];
	bool		readable;

	prepare(&call, row, rows, &commands[1]);
	for (int i = 0; i < ROWS; i++)
	{
		row[i].item = item;
		row[i].item_len = sizeof(item) - 1;
		row[i].seq = i;
		row[i].group_id[0] = 'a' + i;
	}
	readable = reader(&call, body, size, entries, ENTRIES);
	for (int i = 0; i < ROWS; i++)
	{
		const ImSeen *check = &row[i].check;

		CHECK(check->found <= IM_FOUND_ABSENT);
		CHECK(readable || check->found == IM_FOUND_UNREADABLE);
		CHECK((check->found == IM_FOUND_OTHER) == (check->differs != 0));
		CHECK(!check->again || (check->found == IM_FOUND_UNREADABLE && check->below > 0));
	}
}

/* A page has no more groups than it can hold, and each id ends. */
static void
check_page(const char *body, size_t size)
{
	char		ids[ENTRIES + 2][IM_GROUP_ID_MAX + 1];
	ImPage		page = {.ids = ids,.max = ENTRIES + 2};
	ImListEntry entries[ENTRIES];
	ImCall		call;
	ImRow		row[ROWS];
	ImRow	   *rows[ROWS];
	bool		readable;

	prepare(&call, row, rows, &commands[1]);
	call.page = &page;
	readable = im_results_page(&call, body, size, entries, ENTRIES);
	CHECK(page.n >= 0 && page.n <= page.max);
	CHECK(!readable || page.next >= 0);
	for (int i = 0; i < page.n; i++)
		CHECK(strnlen(ids[i], sizeof(ids[i])) < sizeof(ids[i]));
}

/* Whatever is said covers itself, and so does nothing. */
static void
check_covers(const char *body, size_t size)
{
	ImJsonScan	scan = im_json_begin(body, size);
	ImJsonValue value;
	ImJsonValue none = {.kind = IM_JSON_NONE};

	if (!im_json_valid(body, size))
		return;
	im_json_value(&scan, &value);
	CHECK(im_json_covers(&none, &none));
	CHECK(!im_json_covers(&none, &value));
	(void) im_json_covers(&value, &value);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *body = (const char *) data;
	ImListEntry entries[ENTRIES];
	ImCall		call;
	ImRow		row[ROWS];
	ImRow	   *rows[ROWS];

	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
	{
		int			n = im_answer_list(body, size, &commands[i].answer, entries, ENTRIES);

		CHECK(n >= -1);
		prepare(&call, row, rows, &commands[i]);
		im_results_read(&call, body, size, entries, ENTRIES);
		check_rows(row, n > ENTRIES ? -1 : n);
	}
	check_found(body, size);
	for (size_t i = 0; i < sizeof(readers) / sizeof(readers[0]); i++)
		check_compared(readers[i], body, size);
	check_page(body, size);
	check_covers(body, size);
	return 0;
}
