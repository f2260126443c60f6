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
		"{\"UserID\":\"a\",\"ResultCode\":0,\"AccountStatus\":\"Imported\"},{\"UserID\":\"c\",\"ResultCode\":70169,\"AccountStatus\":\"NotImported\"}]}";
	Asked		asked;

	ask(&asked, &members);
	im_results_accounts(&asked.call, body, strlen(body), asked.entries, ENTRIES);
	is_int(asked.row[0].check.found, IM_FOUND_SAME, "an account that is there");
	is_int(asked.row[1].check.found, IM_FOUND_ABSENT, "one that is not");
	is_int(asked.row[2].check.found, IM_FOUND_UNREADABLE, "one that could not be looked at, whatever stands beside its code");
	im_results_accounts(&asked.call, body, strlen(body) - 1, asked.entries, ENTRIES);
	is_int(asked.row[0].check.found, IM_FOUND_UNREADABLE, "a damaged answer says nothing");
	im_results_accounts(&asked.call, body, strlen(body), asked.entries, 2);
	is_int(asked.row[0].check.found, IM_FOUND_UNREADABLE, "nor does one with more entries than were asked for");
}

/* ---- comparing rows with the app ---- */

#define ROLE(id, role) "{\"Member_Account\":\"" id "\",\"Role\":\"" role "\"}"
#define ROLES(list) "{\"ErrorCode\":0,\"UserIdList\":[" list "]}"
#define FOUND		IM_FOUND_SAME
#define OTHER		IM_FOUND_OTHER
#define ABSENT		IM_FOUND_ABSENT
#define UNSAID		IM_FOUND_UNREADABLE

/* What was sent for a row. */
static void
give_item(ImRow *row, char *item)
{
	row->item = item;
	row->item_len = strlen(item);
}

/* Presence and role: b was sent as Admin, the others as plain members. */
static void
test_members(void)
{
	static const struct
	{
		const char *name;
		const char *body;
		bool		readable;
		ImFound		found[ROWS];
	}			cases[] = {
		{"as they were sent", ROLES(ROLE("a", "Member") "," ROLE("b", "Admin") "," ROLE("c", "Member")), true, {FOUND, FOUND, FOUND}},
		{"in another order", ROLES(ROLE("c", "Member") "," ROLE("b", "Admin") "," ROLE("a", "Member")), true, {FOUND, FOUND, FOUND}},
		{"more and less than was sent", ROLES(ROLE("a", "Admin") "," ROLE("b", "Member") "," ROLE("c", "Member")), true, {OTHER, OTHER, FOUND}},
		{"an owner is one, whatever was sent", ROLES(ROLE("a", "Owner") "," ROLE("b", "Owner") "," ROLE("c", "NotMember")), true, {FOUND, FOUND, ABSENT}},
		{"a word nobody knows, and none", ROLES(ROLE("a", "King") ",{\"Member_Account\":\"b\"}"), true, {UNSAID, UNSAID, UNSAID}},
		{"a word that is a number", ROLES("{\"Member_Account\":\"a\",\"Role\":1}"), true, {UNSAID, UNSAID, UNSAID}},
		{"written with escapes", ROLES("{\"Member_Account\":\"\\u0061\",\"Role\":\"Mem\\u0062er\"}"), true, {FOUND, UNSAID, UNSAID}},
		{"said twice: the one at its place counts", ROLES(ROLE("a", "Member") "," ROLE("a", "NotMember")), true, {FOUND, UNSAID, UNSAID}},
		{"no list", "{\"ErrorCode\":0}", true, {UNSAID, UNSAID, UNSAID}},
		{"damaged", "{\"UserIdList\":[" ROLE("a", "Member"), false, {UNSAID, UNSAID, UNSAID}},
		{"more than were asked for", ROLES("1,2,3,4,5,6,7,8," ROLE("a", "Member")), false, {UNSAID, UNSAID, UNSAID}},
	};

	for (int n = 0; n < COUNT(cases); n++)
	{
		char	   *body = exact_copy(cases[n].body, strlen(cases[n].body));
		Asked		asked;

		ask(&asked, &members);
		for (int i = 0; i < ROWS; i++)
			give_item(&asked.row[i], i == 1 ? "{\"Member_Account\":\"b\",\"Role\":\"Admin\"}" : "{\"Member_Account\":\"a\"}");
		ok(im_results_members(&asked.call, body, strlen(cases[n].body), asked.entries, ENTRIES) == cases[n].readable,
		   "members, %s: can it be read", cases[n].name);
		for (int i = 0; i < ROWS; i++)
		{
			is_int(asked.row[i].check.found, cases[n].found[i], "members, %s: row %d", cases[n].name, i);
			is_int(asked.row[i].check.differs, cases[n].found[i] == OTHER ? 1 << IM_DIFFERS_ROLE : 0, "members, %s: what differs in row %d", cases[n].name, i);
		}
		free(body);
	}
}

#define SAID(id, seq, time, random, text) "{\"From_Account\":\"" id "\",\"MsgSeq\":" #seq ",\"MsgTimeStamp\":" #time ",\"MsgRandom\":" #random \
	",\"MsgBody\":[{\"MsgType\":\"TIMTextElem\",\"MsgContent\":{\"Text\":\"" text "\"}}]}"
#define PLACE(seq, random) "{\"From_Account\":\"a\",\"MsgSeq\":" #seq ",\"MsgTimeStamp\":101,\"MsgRandom\":" #random ",\"IsPlaceMsg\":1}"
#define BIT(what)	(1u << IM_DIFFERS_##what)

/* One message, sent by a at 101 with Random 4000000001; its number is 7 or not known. */
static void
test_messages(void)
{
	static const struct
	{
		const char *name;
		const char *body;
		int64_t		seq;
		int64_t		read_below;
		bool		readable;
		ImFound		found;
		unsigned	differs;
		int64_t		again;		/* at this number; 0: decided */
	}			cases[] = {
		{"as it was sent", READ(SAID("a", 7, 101, 4000000001, "hi")), 7, 7, true, FOUND, 0, 0},
		{"without its number", READ(SAID("z", 9, 103, 5, "x") "," SAID("a", 7, 101, 4000000001, "hi")), 0, 0, true, FOUND, 0, 0},
		{"another text", READ(SAID("a", 7, 101, 4000000001, "ho")), 7, 7, true, OTHER, BIT(TEXT), 0},
		{"another Random: time and sender tell", READ(SAID("a", 7, 101, 5, "hi")), 7, 7, true, FOUND, 0, 0},
		{"another sender", READ(SAID("b", 7, 101, 4000000001, "hi")), 7, 7, true, OTHER, BIT(SENDER), 0},
		{"another time", READ(SAID("a", 7, 102, 4000000001, "hi")), 7, 7, true, OTHER, BIT(TIME), 0},
		{"somebody else's at its number", READ(SAID("b", 7, 102, 5, "hi") "," SAID("b", 6, 99, 6, "x")), 7, 7, true, ABSENT, 0, 0},
		{"somebody else's, of an unknown number", READ(SAID("b", 7, 101, 4000000001, "hi") "," SAID("b", 1, 99, 6, "x")), 0, 0, true, ABSENT, 0, 0},
		{"an empty place", READ(PLACE(7, 4000000001)), 7, 7, true, OTHER, BIT(TEXT), 0},
		{"an empty place without marks", READ("{\"MsgSeq\":7,\"IsPlaceMsg\":1}"), 7, 7, true, OTHER, BIT(TEXT) | BIT(SENDER) | BIT(TIME), 0},
		{"not on this page: lower", READ(SAID("z", 30, 300, 5, "x") "," SAID("z", 11, 200, 6, "x")), 7, 0, true, UNSAID, 0, 7},
		{"of an unknown number, further down", READ(SAID("z", 30, 300, 5, "x") "," SAID("z", 11, 200, 6, "x")), 0, 0, true, UNSAID, 0, 10},
		{"older ones only", READ(SAID("z", 6, 90, 5, "x") "," SAID("z", 5, 80, 6, "x")), 0, 0, true, ABSENT, 0, 0},
		{"an empty group", READ(""), 7, 7, true, ABSENT, 0, 0},
		{"no list", "{\"ErrorCode\":0}", 7, 7, true, ABSENT, 0, 0},
		{"of another page", READ(SAID("z", 30, 300, 5, "x")), 7, 7, false, UNSAID, 0, 0},
		{"without numbers", READ("{\"From_Account\":\"a\",\"MsgTimeStamp\":101,\"MsgRandom\":4000000001}"), 7, 7, false, UNSAID, 0, 0},
		{"damaged", "{\"RspMsgList\":[" SAID("a", 7, 101, 4000000001, "hi"), 7, 7, false, UNSAID, 0, 0},
		{"more than can be read", READ("1,2,3,4,5,6,7,8,9"), 7, 7, false, UNSAID, 0, 0},
	};

	for (int n = 0; n < COUNT(cases); n++)
	{
		char	   *body = exact_copy(cases[n].body, strlen(cases[n].body));
		ImRow	   *row;
		Asked		asked;

		ask(&asked, &messages);
		row = asked.rows[0];
		asked.call.nrows = 1;
		asked.call.read_below = cases[n].read_below;
		row->seq = cases[n].seq;
		row->check.as_text = true;
		give_item(row, "{\"MsgBody\":[{\"MsgType\":\"TIMTextElem\",\"MsgContent\":{\"Text\":\"hi\"}}]}");
		ok(im_results_messages(&asked.call, body, strlen(cases[n].body), asked.entries, ENTRIES) == cases[n].readable,
		   "messages, %s: can it be read", cases[n].name);
		is_int(row->check.again ? row->check.below : 0, cases[n].again, "messages, %s: is it asked for again", cases[n].name);
		is_int(row->check.found, cases[n].found, "messages, %s: found", cases[n].name);
		is_int(row->check.differs, cases[n].differs, "messages, %s: what differs", cases[n].name);
		free(body);
	}
}

/* How many messages groups have. */
static void
test_counts(void)
{
	static const char body[] = "{\"GroupInfo\":[{\"GroupId\":\"gc\",\"ErrorCode\":10010},{\"GroupId\":\"ga\",\"ErrorCode\":0,\"NextMsgSeq\":8,\"LastMsgTime\":107},"
		"{\"GroupId\":\"gb\",\"ErrorCode\":0},{\"GroupId\":\"gx\",\"ErrorCode\":0,\"NextMsgSeq\":9}]}";
	static const char none[] = "{\"GroupInfo\":[]}";
	Asked		asked;

	for (size_t cut = 0; cut < 2; cut++)
	{
		char	   *copy = exact_copy(body, sizeof(body) - 1 - cut);

		ask(&asked, &messages);
		for (int i = 0; i < ROWS; i++)
			snprintf(asked.row[i].group_id, sizeof(asked.row[i].group_id), "g%c", 'a' + i);
		ok(im_results_counts(&asked.call, copy, sizeof(body) - 1 - cut, asked.entries, ENTRIES) == (cut == 0), "counts: can it be read (%zu cut)", cut);
		is_int(asked.row[0].check.found, cut == 0 ? FOUND : UNSAID, "counts: a group that is there (%zu cut)", cut);
		is_int(asked.row[0].check.next_seq, cut == 0 ? 8 : 0, "counts: its number (%zu cut)", cut);
		is_int(asked.row[0].check.newest, cut == 0 ? 107 : 0, "counts: its newest message (%zu cut)", cut);
		is_int(asked.row[1].check.found, UNSAID, "counts: one of which no number is said (%zu cut)", cut);
		is_int(asked.row[2].check.found, cut == 0 ? ABSENT : UNSAID, "counts: one that is gone (%zu cut)", cut);
		free(copy);
	}
	ok(!im_results_counts(&asked.call, none, strlen(none), asked.entries, ENTRIES), "counts: of no group");
	ok(!im_results_counts(&asked.call, body, strlen(body), asked.entries, 3), "counts: of more groups than can be read");
}

/* A page of the list of groups. */
static void
test_page(void)
{
	static const struct
	{
		const char *name;
		const char *body;
		bool		readable;
		int			n;
		int64_t		next;
	}			cases[] = {
		{"the last", "{\"TotalCount\":2,\"GroupIdList\":[{\"GroupId\":\"a\"},{\"GroupId\":\"b\"}],\"Next\":0}", true, 2, 0},
		{"of more than are read at once", "{\"GroupIdList\":[{\"GroupId\":\"1\"},{\"GroupId\":\"2\"},{\"GroupId\":\"3\"},{\"GroupId\":\"4\"},{\"GroupId\":\"5\"}],\"Next\":0}", true, 5, 0},
		{"a place of 64 bits", "{\"GroupIdList\":[],\"Next\":9223372036854775807}", true, 0, INT64_MAX},
		{"no groups", "{\"TotalCount\":0,\"Next\":0}", true, 0, 0},
		{"no place is the end", "{\"GroupIdList\":[{\"GroupId\":\"a\"}]}", true, 1, 0},
		{"a place that is none", "{\"GroupIdList\":[],\"Next\":\"0\"}", false, 0, 0},
		{"a place below the first", "{\"GroupIdList\":[],\"Next\":-1}", false, 0, -1},
		{"more than the page can hold", "{\"GroupIdList\":[1,2,3,4,5,6,7],\"Next\":0}", false, 0, 0},
		{"damaged", "{\"Next\":0,\"GroupIdList\":[{\"GroupId\":\"a\"}", false, 0, 0},
	};

	for (int n = 0; n < COUNT(cases); n++)
	{
		char		ids[6][IM_GROUP_ID_MAX + 1];
		ImPage		page = {.ids = ids,.max = 6};
		char	   *body = exact_copy(cases[n].body, strlen(cases[n].body));
		Asked		asked;

		ask(&asked, &messages);
		asked.call.page = &page;
		ok(im_results_page(&asked.call, body, strlen(cases[n].body), asked.entries, 2) == cases[n].readable, "page, %s: can it be read", cases[n].name);
		if (cases[n].readable)
		{
			is_int(page.n, cases[n].n, "page, %s: groups", cases[n].name);
			ok(page.next == cases[n].next, "page, %s: where the next begins", cases[n].name);
		}
		free(body);
		if (page.n == 5)
			is_str(ids[4], "5", "page, %s: the last id", cases[n].name);
	}
}

int
main(void)
{
	test_results();
	test_details();
	test_find();
	test_strange_pages();
	test_accounts();
	test_members();
	test_messages();
	test_counts();
	test_page();
	return tap_done();
}
