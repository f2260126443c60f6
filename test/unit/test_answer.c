/*
 * test_answer.c
 *	  Answers about many rows: what the list says, and what it says of each row.
 */
#include "command.h"
#include "results.h"
#include "tap.h"

#define COUNT(array) ((int) (sizeof(array) / sizeof((array)[0])))
#define ROWS		3
#define ENTRIES		8

/* The commands' ways to answer, as their cmd_*.c have them. */
static const ImCommand messages = {
	.kind = IM_MESSAGE,
	.answer = {.list = "ImportMsgResult",.result = "Result",.seq = "MsgSeq",.time = "MsgTime"},
	.result_done = {0, 0},
};
static const ImCommand members = {
	.kind = IM_MEMBER,
	.answer = {.list = "MemberList",.id = "Member_Account",.result = "Result"},
	.result_done = {1, 2},
};
static const ImCommand friends = {
	.kind = IM_FRIEND,
	.answer = {.list = "ResultItem",.id = "To_Account",.code = "ResultCode",.info = "ResultInfo"},
	.code_there = 30015,
};
static const ImCommand accounts = {
	.kind = IM_ACCOUNT,
	.answer = {.list = "FailAccounts"},
	.listed_failed = true,
};

/* A call of three rows: a, b, c, sent at 101, 102, 103. */
typedef struct Asked
{
	ImCall		call;
	ImRow		row[ROWS];
	ImRow	   *rows[ROWS];
	ImListEntry entries[ENTRIES];
} Asked;

static void
ask(Asked *asked, const ImCommand *command)
{
	static char *const names[] = {"a", "b", "c"};

	memset(asked, 0, sizeof(*asked));
	asked->call.command = command;
	asked->call.rows = asked->rows;
	asked->call.nrows = ROWS;
	for (int i = 0; i < ROWS; i++)
	{
		asked->rows[i] = &asked->row[i];
		asked->row[i].name = names[i];
		asked->row[i].sent_time = 101 + i;
		asked->row[i].random = 4000000001u + (unsigned) i;
		strcpy(asked->row[i].info, "of before");
	}
}

/* What an answer is to say: a letter a row, and codes. */
typedef struct Answer
{
	const char *name;
	const ImCommand *command;
	const char *body;
	const char *outcomes;		/* d: done, r: refused, u: unknown */
	int32_t		codes[ROWS];
} Answer;

#define M(seq, time, result) "{\"MsgSeq\":" #seq ",\"MsgTime\":" #time ",\"Result\":" #result "}"
#define MESSAGES(list) "{\"ErrorCode\":0,\"ImportMsgResult\":[" list "]}"
#define MEMBERS(list) "{\"ErrorCode\":0,\"MemberList\":[" list "]}"
#define U(id, result) "{\"Member_Account\":\"" id "\",\"Result\":" #result "}"
#define LOST		IM_CODE_UNREADABLE

static const Answer answers[] = {
	{"messages: all", &messages, MESSAGES(M(1, 101, 0) "," M(2, 102, 0) "," M(3, 103, 0)), "ddd", {0}},
	{"messages: one is late", &messages, MESSAGES(M(1, 101, 0) "," M(0, 102, 10004) "," M(2, 103, 0)), "drd", {0, 10004, 0}},
	{"messages: one too few", &messages, MESSAGES(M(1, 101, 0) "," M(2, 102, 0)), "uuu", {LOST, LOST, LOST}},
	{"messages: one too many", &messages, MESSAGES(M(1, 101, 0) "," M(2, 102, 0) "," M(3, 103, 0) "," M(4, 104, 0)), "uuu", {LOST, LOST, LOST}},
	{"messages: more than can be read", &messages, MESSAGES("1,2,3,4,5,6,7,8,9"), "uuu", {LOST, LOST, LOST}},
	{"messages: times of others", &messages, MESSAGES(M(1, 102, 0) "," M(2, 101, 0) "," M(3, 103, 0)), "uud", {LOST, LOST, 0}},
	{"messages: no times", &messages, MESSAGES("{\"Result\":0},{\"Result\":80002},{}"), "dru", {0, 80002, LOST}},
	{"messages: a result that is no number", &messages, MESSAGES("{\"Result\":\"0\"},{\"Result\":0.0},{\"Result\":null}"), "uuu", {LOST, LOST, LOST}},
	{"messages: refused by a strange number", &messages, MESSAGES("{\"Result\":-5},{\"Result\":99999999999},{\"Result\":2147483647}"), "rrr",
	{IM_CODE_ITEM, IM_CODE_ITEM, INT32_MAX}},
	{"messages: no list", &messages, "{\"ErrorCode\":0}", "uuu", {LOST, LOST, LOST}},
	{"messages: the list is an object", &messages, "{\"ImportMsgResult\":{}}", "uuu", {LOST, LOST, LOST}},
	{"messages: entries of other kinds", &messages, MESSAGES("1,[],\"x\""), "uuu", {LOST, LOST, LOST}},
	{"messages: damaged at its end", &messages, "{\"ImportMsgResult\":[" M(1, 101, 0) "," M(2, 102, 0) "," M(3, 103, 0) "]", "uuu", {LOST, LOST, LOST}},
	{"messages: not an object", &messages, "[]", "uuu", {LOST, LOST, LOST}},
	{"messages: the last list counts", &messages, "{\"ImportMsgResult\":[1],\"ImportMsgResult\":[" M(1, 101, 0) "," M(2, 102, 0) "," M(3, 103, 0) "]}", "ddd", {0}},

	{"members: new, there already, refused", &members, MEMBERS(U("a", 1) "," U("b", 2) "," U("c", 0)), "ddr", {0, 0, IM_CODE_ITEM}},
	{"members: in another order", &members, MEMBERS(U("c", 0) "," U("a", 1) "," U("b", 1)), "ddr", {0, 0, IM_CODE_ITEM}},
	{"members: one is missing", &members, MEMBERS(U("c", 1) "," U("a", 1)), "dud", {0, LOST, 0}},
	{"members: one nobody asked for", &members, MEMBERS(U("x", 1) "," U("a", 1) "," U("b", 1) "," U("c", 1)), "ddd", {0}},
	{"members: written with escapes", &members, MEMBERS(U("\\u0061", 1) "," U("b", 1) "," U("c", 1)), "ddd", {0}},
	{"members: no id", &members, MEMBERS("{\"Result\":1},{\"Result\":1},{\"Result\":1}"), "uuu", {LOST, LOST, LOST}},
	{"members: a longer name is another one", &members, MEMBERS(U("a ", 1) "," U("B", 1) "," U("c", 1)), "uud", {LOST, LOST, 0}},

	{"friends: codes and words", &friends, "{\"ResultItem\":[{\"To_Account\":\"b\",\"ResultCode\":30006,\"ResultInfo\":\"b\\u0000ad\"},"
	"{\"To_Account\":\"a\",\"ResultCode\":0,\"ResultInfo\":\"\"},{\"To_Account\":\"c\"}]}", "duu", {0, 30006, LOST}},
	{"friends: one is there, one is absent, one met another writer", &friends, "{\"ResultItem\":[{\"To_Account\":\"a\",\"ResultCode\":30015},"
	"{\"To_Account\":\"b\",\"ResultCode\":30003},{\"To_Account\":\"c\",\"ResultCode\":30008}]}", "dru", {0, 30003, 30008}},
	{"friends: an undocumented code is a refusal", &friends, "{\"ResultItem\":[{\"To_Account\":\"a\",\"ResultCode\":39999},"
	"{\"To_Account\":\"b\",\"ResultCode\":0},{\"To_Account\":\"c\",\"ResultCode\":60007}]}", "rdu", {39999, 0, 60007}},
	{"messages: one met a fault of the service", &messages, MESSAGES(M(1, 101, 0) "," M(0, 102, 10002) "," M(2, 103, 0)), "dud", {0, 10002, 0}},

	{"accounts: none failed", &accounts, "{\"ErrorCode\":0}", "ddd", {0}},
	{"accounts: an empty list", &accounts, "{\"FailAccounts\":[]}", "ddd", {0}},
	{"accounts: two failed", &accounts, "{\"FailAccounts\":[\"c\",\"a\"]}", "rdr", {IM_CODE_ITEM, 0, IM_CODE_ITEM}},
	{"accounts: a byte-order mark", &accounts, "\xef\xbb\xbf{\"FailAccounts\":[\"c\"]}", "ddr", {0, 0, IM_CODE_ITEM}},
	{"accounts: damaged", &accounts, "{\"FailAccounts\":[\"c\",\"a\"", "uuu", {LOST, LOST, LOST}},
	{"accounts: more than can be read", &accounts, "{\"FailAccounts\":[1,2,3,4,5,6,7,8,\"a\"]}", "uuu", {LOST, LOST, LOST}},
};

/* What each row's verdict is to be. */
static void
test_results(void)
{
	for (int n = 0; n < COUNT(answers); n++)
	{
		const Answer *one = &answers[n];
		char	   *body = exact_copy(one->body, strlen(one->body));
		bool		told;
		Asked		asked;

		ask(&asked, one->command);
		told = im_results_read(&asked.call, body, strlen(one->body), asked.entries, ENTRIES);
		ok(told == (strcmp(one->outcomes, "uuu") != 0), "%s: is there something to read", one->name);
		for (int i = 0; i < ROWS; i++)
		{
			const ImVerdict *verdict = &asked.row[i].verdict;
			ImOutcome	expected = one->outcomes[i] == 'd' ? IM_OUT_DONE :
				one->outcomes[i] == 'r' ? IM_OUT_REFUSED : IM_OUT_UNKNOWN;

			is_int(verdict->outcome, expected, "%s: row %d", one->name, i);
			is_int(verdict->code, one->codes[i], "%s: code of row %d", one->name, i);
			ok(verdict->answered && verdict->of_item, "%s: row %d was answered itself", one->name, i);
			ok(strcmp(asked.row[i].info, "of before") != 0, "%s: row %d has no words of before", one->name, i);
		}
		free(body);
	}
}

/* What else is taken from an entry. */
static void
test_details(void)
{
	static const char sent[] = MESSAGES(M(41, 101, 0) "," M(42, 102, 0) "," M(0, 103, 10004));
	static const char codes[] = "{\"ResultItem\":[{\"To_Account\":\"a\",\"ResultCode\":30006,\"ResultInfo\":\"b\\u0000ad\\n\"}]}";
	Asked		asked;

	ask(&asked, &messages);
	im_results_read(&asked.call, sent, strlen(sent), asked.entries, ENTRIES);
	ok(asked.row[0].seq == 41 && asked.row[1].seq == 42 && asked.row[2].seq == 0, "each has its number");
	ask(&asked, &friends);
	im_results_read(&asked.call, codes, strlen(codes), asked.entries, ENTRIES);
	ok(strncmp(asked.row[0].info, "b\xef\xbf\xbd" "ad", 6) == 0 && strchr(asked.row[0].info, '\n') == NULL,
	   "the words are clean");
	is_str(asked.row[1].info, "", "no words for a row that is not spoken of");
}

/* ---- read-back ---- */

#define R(id, seq, time, random) "{\"From_Account\":\"" id "\",\"MsgSeq\":" #seq ",\"MsgTimeStamp\":" #time ",\"MsgRandom\":" #random "}"
#define READ(list) "{\"ErrorCode\":0,\"IsFinished\":1,\"RspMsgList\":[" list "]}"

/* Which rows are found, by Random, time and sender. */
static void
test_find(void)
{
	static const struct
	{
		const char *name;
		const char *body;
		bool		readable;
		const char *found;		/* y or n a row */
		int			nread;
		int64_t		least_seq;
		int64_t		oldest;
		int64_t		newest;
	}			cases[] = {
		{"all", READ(R("c", 9, 103, 4000000003) "," R("b", 8, 102, 4000000002) "," R("a", 7, 101, 4000000001)), true, "yyy", 3, 7, 101, 103},
		{"another time", READ(R("a", 7, 100, 4000000001)), true, "nnn", 1, 7, 100, 100},
		{"another Random", READ(R("a", 7, 101, 4000000009)), true, "nnn", 1, 7, 101, 101},
		{"another sender", READ(R("b", 7, 101, 4000000001)), true, "nnn", 1, 7, 101, 101},
		{"a live one behind ours", READ(R("z", 8, 900, 5) "," R("a", 7, 101, 4000000001)), true, "ynn", 2, 7, 101, 900},
		{"an empty group", READ(""), true, "nnn", 0, 0, 0, 0},
		{"no list", "{\"ErrorCode\":0}", true, "nnn", 0, 0, 0, 0},
		{"damaged", "{\"RspMsgList\":[" R("a", 7, 101, 4000000001), false, "nnn", 0, 0, 0, 0},
		{"more than can be read", READ("1,2,3,4,5,6,7,8,9"), false, "nnn", 0, 0, 0, 0},
		{"Random without a number", READ("{\"From_Account\":\"a\",\"MsgSeq\":7,\"MsgTimeStamp\":101,\"MsgRandom\":\"4000000001\"}"), true, "nnn", 1, 7, 101, 101},
	};

	for (int n = 0; n < COUNT(cases); n++)
	{
		char	   *body = exact_copy(cases[n].body, strlen(cases[n].body));
		Asked		asked;

		ask(&asked, &messages);
		ok(im_results_find(&asked.call, body, strlen(cases[n].body), asked.entries, ENTRIES) == cases[n].readable,
		   "read back, %s: can it be read", cases[n].name);
		for (int i = 0; i < ROWS; i++)
			ok(asked.row[i].found == (cases[n].found[i] == 'y') &&
			   (asked.row[i].verdict.outcome == IM_OUT_SAME) == asked.row[i].found &&
			   asked.row[i].seq == (asked.row[i].found ? 7 + i : 0),
			   "read back, %s: row %d", cases[n].name, i);
		is_int(asked.call.nread, cases[n].nread, "read back, %s: how many", cases[n].name);
		is_int(asked.call.least_seq, cases[n].least_seq, "read back, %s: least number", cases[n].name);
		is_int(asked.call.oldest_time, cases[n].oldest, "read back, %s: oldest", cases[n].name);
		is_int(asked.call.newest_time, cases[n].newest, "read back, %s: newest", cases[n].name);
		free(body);
	}
}

/* Answers from which nothing can be concluded: of another page, or without marks. */
static void
test_strange_pages(void)
{
	static const char page[] = READ(R("c", 9, 103, 4000000003));
	static const char places[] = READ(R("", 8, 0, 0) "," R("", 7, 0, 0));
	Asked		asked;

	ask(&asked, &messages);
	asked.call.read_below = 9;
	ok(im_results_find(&asked.call, page, strlen(page), asked.entries, ENTRIES), "a page that begins where it was asked for");
	ask(&asked, &messages);
	asked.call.read_below = 8;
	ok(!im_results_find(&asked.call, page, strlen(page), asked.entries, ENTRIES), "one that does not, or it would be read for ever");
	for (int maybe = 0; maybe < 2; maybe++)
	{
		ask(&asked, &messages);
		for (int i = 0; i < ROWS; i++)
		{
			asked.row[i].life.repeat = IM_REPEAT_READ_BACK;
			asked.row[i].life.maybe_sent = maybe;
		}
		ok(im_results_find(&asked.call, places, strlen(places), asked.entries, ENTRIES) == !maybe,
		   "places without marks: a message that was maybe sent (%d) may be one of them", maybe);
	}
}

/* What account_check says. */
static void
test_accounts(void)
{
	static const char body[] = "{\"ResultItem\":[{\"UserID\":\"b\",\"ResultCode\":0,\"AccountStatus\":\"NotImported\"},"
		"{\"UserID\":\"a\",\"ResultCode\":0,\"AccountStatus\":\"Imported\"},{\"UserID\":\"c\",\"ResultCode\":70169}]}";
	Asked		asked;

	ask(&asked, &members);
	im_results_accounts(&asked.call, body, strlen(body), asked.entries, ENTRIES);
	is_int(asked.row[0].check.found, IM_FOUND_SAME, "an account that is there");
	is_int(asked.row[1].check.found, IM_FOUND_ABSENT, "one that is not");
	is_int(asked.row[2].check.found, IM_FOUND_UNREADABLE, "one of which nothing is said");
	im_results_accounts(&asked.call, body, strlen(body) - 1, asked.entries, ENTRIES);
	is_int(asked.row[0].check.found, IM_FOUND_UNREADABLE, "a damaged answer says nothing");
	im_results_accounts(&asked.call, body, strlen(body), asked.entries, 2);
	is_int(asked.row[0].check.found, IM_FOUND_UNREADABLE, "nor does one with more entries than were asked for");
}

int
main(void)
{
	test_results();
	test_details();
	test_find();
	test_strange_pages();
	test_accounts();
	return tap_done();
}
