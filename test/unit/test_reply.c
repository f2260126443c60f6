/*
 * test_reply.c
 *	  Reads answers of the service: good, odd and hostile.
 */
#include "json.h"
#include "reply.h"
#include "tap.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* U+FFFD and U+1F600 as UTF-8. */
#define FFFD "\xef\xbf\xbd"
#define GRIN "\xf0\x9f\x98\x80"

/* Parses exactly len bytes. */
static void
parse_bytes(const char *body, size_t len, ImReply *reply)
{
	char	   *copy = exact_copy(body, len);

	memset(reply, 0x7f, sizeof(*reply));	/* nothing old may show */
	im_reply_parse(copy, len, reply);
	free(copy);
}

/* Parses a string. */
static void
parse(const char *body, ImReply *reply)
{
	parse_bytes(body, strlen(body), reply);
}

/* Answers that are read, and what they say. */
static const struct
{
	const char *name;
	const char *body;
	int32_t		code;
	const char *info;
	const char *group_id;
}			readable[] = {
	{"the page's sample", "{\n    \"ActionStatus\": \"OK\",\n    \"ErrorInfo\": \"\",\n    \"ErrorCode\": 0,\n    \"GroupId\": \"@TGS#2J4SZEAEL\"\n}\n",
	0, "", "@TGS#2J4SZEAEL"},
	{"a refusal", "{\"ActionStatus\":\"FAIL\",\"ErrorInfo\":\"group id has be used!\",\"ErrorCode\":10021}",
	10021, "group id has be used!", ""},
	{"ErrorCode alone", "{\"ErrorCode\":0}", 0, "", ""},
	{"white space of all kinds", " \t\r\n{ \"ErrorCode\" \t:\r 7 \n} \n", 7, "", ""},
	{"a byte-order mark before it", "\xef\xbb\xbf{\"ErrorCode\":6}", 6, "", ""},
	{"null texts", "{\"GroupId\":null,\"ErrorInfo\":null,\"ErrorCode\":10002}", 10002, "", ""},
	{"texts that are no strings", "{\"GroupId\":[\"a\"],\"ErrorInfo\":{\"a\":\"b\"},\"ErrorCode\":1}", 1, "", ""},
	{"unknown keys", "{\"RequestId\":\"x\",\"ErrorDisplay\":[1,{\"a\":[true,false,null]},-1.5e+3],\"ErrorCode\":0,\"x\":{}}", 0, "", ""},
	{"every kind of number beside", "{\"a\":[0,-0,0.5,-12.25,1e9,1E+9,2e-07,9007199254740993],\"ErrorCode\":3}", 3, "", ""},
	{"an escaped key", "{\"Error\\u0043ode\":5,\"\\u0047roupId\":\"g\"}", 5, "", "g"},
	{"keys are case-sensitive", "{\"errorcode\":1,\"ErrorCode\":2,\"ERRORCODE\":3}", 2, "", ""},
	{"longer and shorter keys", "{\"ErrorCod\":1,\"ErrorCode\":2,\"ErrorCodes\":3,\"\":4}", 2, "", ""},
	{"nested keys do not count", "{\"a\":{\"ErrorCode\":9,\"GroupId\":\"x\"},\"ErrorCode\":2,\"b\":[{\"ErrorCode\":8}]}", 2, "", ""},
	{"the same code twice", "{\"ErrorCode\":4,\"ErrorCode\":4}", 4, "", ""},
	{"the last text wins", "{\"ErrorCode\":4,\"ErrorInfo\":\"a\",\"ErrorInfo\":\"b\",\"GroupId\":\"a\",\"GroupId\":\"b\"}", 4, "b", "b"},
	{"the least code", "{\"ErrorCode\":-2147483648}", INT32_MIN, "", ""},
	{"the greatest code", "{\"ErrorCode\":2147483647}", INT32_MAX, "", ""},
	{"minus nought", "{\"ErrorCode\":-0}", 0, "", ""},
	{"simple escapes", "{\"ErrorCode\":1,\"ErrorInfo\":\"\\\"\\\\\\/a\\b\\fb\\nc\\td\\re\"}", 1, "\"\\/ab c de", ""},
	{"escaped characters", "{\"ErrorCode\":1,\"ErrorInfo\":\"\\u0041\\u00e9\\u20AC\\ud83d\\ude00\"}", 1, "A\xc3\xa9\xe2\x82\xac" GRIN, ""},
	{"NUL and lone surrogates", "{\"ErrorCode\":1,\"ErrorInfo\":\"a\\u0000b\\ud83dc\\ude00d\\ud83d\"}", 1, "a" FFFD "b" FFFD "c" FFFD "d" FFFD, ""},
	{"a high surrogate before a pair", "{\"ErrorCode\":1,\"ErrorInfo\":\"\\ud83d\\ud83d\\ude00\"}", 1, FFFD GRIN, ""},
	{"a high surrogate before an escape", "{\"ErrorCode\":1,\"ErrorInfo\":\"\\ud83d\\u0041\\ud83d\\n-----\"}", 1, FFFD "A" FFFD " -----", ""},
	{"a low surrogate before another", "{\"ErrorCode\":1,\"ErrorInfo\":\"\\ude00\\ude00\"}", 1, FFFD FFFD, ""},
	{"a high surrogate before U+E000", "{\"ErrorCode\":1,\"ErrorInfo\":\"\\ud83d\\ue000\"}", 1, FFFD "\xee\x80\x80", ""},
	{"a high surrogate before what looks like a low one", "{\"ErrorCode\":1,\"ErrorInfo\":\"\\ud83d\\ndc00\\ud83ddc00\"}", 1, FFFD " dc00" FFFD "dc00", ""},
	{"escaped controls", "{\"ErrorCode\":1,\"ErrorInfo\":\"a\\u0001\\u001b[31m\\u007f\\u0085b\\u0009c\\u000ad\"}", 1, "a[31mb c d", ""},
	{"raw controls", "{\"ErrorCode\":1,\"ErrorInfo\":\"a\x01\x1b[31m\x7f\xc2\x85" "b\tc\nd\"}", 1, "a[31mb c d", ""},
	{"raw UTF-8", "{\"ErrorCode\":1,\"ErrorInfo\":\"\xe7\xbe\xa4 \xc3\xa9 " GRIN "\"}", 1, "\xe7\xbe\xa4 \xc3\xa9 " GRIN, ""},
	{"invalid UTF-8", "{\"ErrorCode\":1,\"ErrorInfo\":\"a\xff" "b\xc3\"}", 1, "a?b?", ""},
	{"invalid UTF-8 before an escape", "{\"ErrorCode\":1,\"ErrorInfo\":\"\xe7\xbe\\n\xe7\"}", 1, "?? ?", ""},
	{"invalid UTF-8 in a key beside", "{\"\xff\":1,\"ErrorCode\":1}", 1, "", ""},
	{"a GroupId with escapes", "{\"ErrorCode\":0,\"GroupId\":\"@TGS#_\\/\\\\\\\"\\u0041\"}", 0, "", "@TGS#_/\\\"A"},
	{"a GroupId with spaces", "{\"ErrorCode\":0,\"GroupId\":\" a~ \"}", 0, "", " a~ "},
	{"a GroupId that is not ASCII", "{\"ErrorCode\":0,\"GroupId\":\"a\xc3\xa9\"}", 0, "", ""},
	{"a GroupId with a NUL", "{\"ErrorCode\":0,\"GroupId\":\"a\\u0000\"}", 0, "", ""},
	{"a GroupId with a control", "{\"ErrorCode\":0,\"GroupId\":\"a\x1f\"}", 0, "", ""},
	{"a GroupId with DEL", "{\"ErrorCode\":0,\"GroupId\":\"a\x7f\"}", 0, "", ""},
	{"a GroupId that is not UTF-8", "{\"ErrorCode\":0,\"GroupId\":\"a\xff\"}", 0, "", ""},
	{"a GroupId that is a number", "{\"ErrorCode\":0,\"GroupId\":12}", 0, "", ""},
	{"a longer key with the same start", "{\"ErrorInfo2\":\"x\",\"ErrorCode\":1}", 1, "", ""},
};

/* Answers of which nothing may be believed. */
static const char *const unreadable[] = {
	"", " ", "null", "0", "\"ErrorCode\"", "[]", "[{\"ErrorCode\":0}]", "{}", "{", "}", "{\"a\":1}",
	/* ErrorCode is no int32 */
	"{\"ErrorCode\":\"0\"}", "{\"ErrorCode\":null}", "{\"ErrorCode\":true}", "{\"ErrorCode\":[0]}",
	"{\"ErrorCode\":{}}", "{\"ErrorCode\":0.0}", "{\"ErrorCode\":1e0}", "{\"ErrorCode\":1E0}",
	"{\"ErrorCode\":2147483648}", "{\"ErrorCode\":-2147483649}", "{\"ErrorCode\":18446744073709551616}",
	"{\"ErrorCode\":4294967296}", "{\"ErrorCode\":1000000000000000000000000000000000000000}",
	/* two that disagree */
	"{\"ErrorCode\":0,\"ErrorCode\":1}", "{\"ErrorCode\":1,\"ErrorCode\":\"1\"}",
	"{\"ErrorCode\":\"1\",\"ErrorCode\":1}", "{\"ErrorCode\":1,\"a\":2,\"Error\\u0043ode\":0}",
	/* nested only */
	"{\"a\":{\"ErrorCode\":0}}", "{\"a\":[{\"ErrorCode\":0}]}", "{\"a\":\"\\\"ErrorCode\\\":0\"}",
	/* not JSON */
	"{\"ErrorCode\":0", "{\"ErrorCode\":0,", "{\"ErrorCode\":0,}", "{,\"ErrorCode\":0}", "{\"ErrorCode\":}",
	"{\"ErrorCode\" 0}", "{\"ErrorCode\":0 \"a\":1}", "{\"ErrorCode\":0,,\"a\":1}", "{\"ErrorCode\"}",
	"{ErrorCode:0}", "{'ErrorCode':0}", "{\"ErrorCode\":00}", "{\"ErrorCode\":01}", "{\"ErrorCode\":+1}",
	"{\"ErrorCode\":-}", "{\"ErrorCode\":- 1}", "{\"ErrorCode\":1.}", "{\"ErrorCode\":.5}", "{\"ErrorCode\":1e}", "{\"ErrorCode\":1e+}",
	"{\"ErrorCode\":0x1}", "{\"ErrorCode\":1 2}", "{\"ErrorCode\":0,\"a\":1.}", "{\"ErrorCode\":0,\"a\":-}",
	"{\"ErrorCode\":0,\"a\":2e}", "{\"ErrorCode\":0,\"a\":01}",
	"{\"ErrorCode\":0,\"a\":tru}", "{\"ErrorCode\":0,\"a\":True}", "{\"ErrorCode\":0,\"a\":nulll}",
	"{\"ErrorCode\":0,\"a\":falsy}", "{\"ErrorCode\":0,\"a\":t", "{\"ErrorCode\":0,\"a\":undefined}",
	"{\"ErrorCode\":0,\"a\":[1,]}", "{\"ErrorCode\":0,\"a\":[,1]}", "{\"ErrorCode\":0,\"a\":[1 2]}",
	"{\"ErrorCode\":0,\"a\":[}", "{\"ErrorCode\":0,\"a\":{]}", "{\"ErrorCode\":0,\"a\":[1}}", "{\"ErrorCode\":0]",
	"{\"ErrorCode\":0,\"a\":[[]}", "{\"ErrorCode\":0,\"a\":{}", "{\"ErrorCode\":0,\"a\":{\"b\"}}", "{\"ErrorCode\":0,\"a\":{1:2}}",
	"{\"ErrorCode\":0,\"a\":\"}", "{\"ErrorCode\":0,\"a\":\"\\\"}", "{\"ErrorCode\":0,\"a\":\"\\",
	"{\"ErrorCode\":0,\"a\":\"\\x\"}", "{\"ErrorCode\":0,\"a\":\"\\u12\"}", "{\"ErrorCode\":0,\"a\":\"\\u12G4\"}",
	"{\"ErrorCode\":0,\"a\":\"\\u123", "{\"ErrorCode\":0,\"a\":\"\\U0041\"}", "{\"ErrorCode\":0,\"\\\":1}",
	/* more than the object, or bytes that are none of it */
	"{\"ErrorCode\":0}x", "{\"ErrorCode\":0}{\"ErrorCode\":0}", "{\"ErrorCode\":0},", "{\"ErrorCode\":0}}",
	"{\"ErrorCode\":0}\xff", "\xff{\"ErrorCode\":0}", "\xef\xbb{\"ErrorCode\":0}", "\xef\xbb\xbf\xef\xbb\xbf{\"ErrorCode\":0}", " \xef\xbb\xbf{\"ErrorCode\":0}", "\xef\xbb\xbf", "{\"ErrorCode\":\xff\"0\"}", "{\"ErrorCode\":0,\xff\"a\":1}",
	"x{\"ErrorCode\":0}", "{\"ErrorCode\":0/**/}", "{\"ErrorCode\":0\v}", "{\"ErrorCode\":0\xc2\xa0}",
	"<html><body>502 Bad Gateway</body></html>",
};

/* True if nothing shows but that it is unreadable. */
static bool
is_blank(const ImReply *reply)
{
	return !reply->readable && reply->code == 0 && reply->info[0] == '\0' && reply->group_id[0] == '\0';
}

/* The tables above. */
static void
test_parse(void)
{
	ImReply		reply;

	for (size_t i = 0; i < COUNT(readable); i++)
	{
		parse(readable[i].body, &reply);
		ok(reply.readable, "%s: readable", readable[i].name);
		is_int(reply.code, readable[i].code, "%s: code", readable[i].name);
		is_str(reply.info, readable[i].info, "%s: info", readable[i].name);
		is_str(reply.group_id, readable[i].group_id, "%s: GroupId", readable[i].name);
	}
	for (size_t i = 0; i < COUNT(unreadable); i++)
	{
		parse(unreadable[i], &reply);
		if (!ok(is_blank(&reply), "unreadable answer %d", (int) i))
			diag("%s", unreadable[i]);
	}
}

/* A NUL byte anywhere makes an answer unreadable. */
static void
test_nul_bytes(void)
{
	static const char body[] = "{\"ErrorCode\":0, \"a\":\"bc\"}";
	char		copy[sizeof(body)];
	ImReply		reply;

	for (size_t i = 0; i < sizeof(body) - 1; i++)
	{
		memcpy(copy, body, sizeof(body));
		copy[i] = '\0';
		parse_bytes(copy, sizeof(body) - 1, &reply);
		ok(is_blank(&reply), "NUL in place of byte %d", (int) i);
	}
	parse_bytes(body, sizeof(body), &reply);
	ok(is_blank(&reply), "NUL after the object");
}

/* A good answer cut off anywhere is unreadable. */
static void
test_cut_off(void)
{
	static const char body[] = "{\"ErrorCode\":0,\"a\":[-1.5e+2,true,{\"b\":\"\\ud83d\\ude00\"}],\"GroupId\":\"@TGS#1\"}";
	ImReply		reply;

	for (size_t len = 0; len < sizeof(body) - 1; len++)
	{
		parse_bytes(body, len, &reply);
		ok(is_blank(&reply), "cut off after %d bytes", (int) len);
	}
	parse_bytes(body, sizeof(body) - 1, &reply);
	ok(reply.readable, "whole");
}

/* Parses an answer that nests open and close n times beside its ErrorCode. */
static bool
readable_at_depth(int n, const char *open, const char *close)
{
	static char body[400000];
	size_t		used = 0;
	ImReply		reply;

	used += (size_t) sprintf(body, "{\"ErrorCode\":0,\"a\":");
	for (int i = 0; i < n; i++)
		used += (size_t) sprintf(body + used, "%s", open);
	used += (size_t) sprintf(body + used, "1");
	for (int i = 0; i < n; i++)
		used += (size_t) sprintf(body + used, "%s", close);
	sprintf(body + used, "}");
	parse(body, &reply);
	return reply.readable;
}

/* Nesting ends at IM_JSON_DEPTH, the object itself counted. */
static void
test_depth(void)
{
	ImReply		reply;
	char		wide[4096] = "{\"ErrorCode\":0,\"a\":[0";

	ok(readable_at_depth(IM_JSON_DEPTH - 1, "[", "]"), "arrays as deep as allowed");
	ok(!readable_at_depth(IM_JSON_DEPTH, "[", "]"), "arrays one deeper");
	ok(readable_at_depth(IM_JSON_DEPTH - 1, "{\"b\":", "}"), "objects as deep as allowed");
	ok(!readable_at_depth(IM_JSON_DEPTH, "{\"b\":", "}"), "objects one deeper");
	ok(!readable_at_depth(60000, "[", "]"), "60000 arrays");
	ok(!readable_at_depth(60000, "[", ""), "60000 arrays, none closed");
	for (int i = 0; i < 3 * IM_JSON_DEPTH; i++)
		strcat(wide, ",[],{}");
	strcat(wide, "]}");
	parse(wide, &reply);
	ok(reply.readable, "many containers side by side are not deep");
}

/* Texts are cut between characters, ids are whole or not at all. */
static void
test_bounds(void)
{
	char		body[2048];
	char		text[IM_INFO_MAX + 64];
	ImReply		reply;

	memset(text, 'x', sizeof(text));
	strcpy(text + IM_INFO_MAX - 1, "\xc3\xa9yz");
	sprintf(body, "{\"ErrorCode\":1,\"ErrorInfo\":\"%s\"}", text);
	parse(body, &reply);
	is_int((int64_t) strlen(reply.info), IM_INFO_MAX - 1, "cut before a character that does not fit");
	strcpy(text + IM_INFO_MAX - 2, "\xc3\xa9yz");
	sprintf(body, "{\"ErrorCode\":1,\"ErrorInfo\":\"%s\"}", text);
	parse(body, &reply);
	is_str(reply.info + IM_INFO_MAX - 2, "\xc3\xa9", "cut after one that does");
	memset(text, 'x', sizeof(text));
	strcpy(text + IM_INFO_MAX - 3, "\\ud83d\\ude00");
	sprintf(body, "{\"ErrorCode\":1,\"ErrorInfo\":\"%s\"}", text);
	parse(body, &reply);
	is_int((int64_t) strlen(reply.info), IM_INFO_MAX - 3, "an escaped pair is not cut");

	memset(text, 'i', sizeof(text));
	text[IM_GROUP_ID_MAX] = '\0';
	sprintf(body, "{\"ErrorCode\":0,\"GroupId\":\"%s\"}", text);
	parse(body, &reply);
	is_str(reply.group_id, text, "the longest GroupId");
	sprintf(body, "{\"ErrorCode\":0,\"GroupId\":\"%si\"}", text);
	parse(body, &reply);
	ok(reply.readable && reply.group_id[0] == '\0', "a longer one is none");
}

/* The request that most comparisons use, and entries of answers to it. */
#define SENT "{\"Owner_Account\":\"leckie\",\"Type\":\"Public\",\"GroupId\":\"g1\",\"Name\":\"Test\",\"CreateTime\":1448357837}"
#define BRIEF "{\"Type\":\"Public\",\"GroupId\":\"g1\",\"Name\":\"Test\"}"
#define TYPED(type) "{\"Type\":\"" type "\",\"Name\":\"Test\"}"
#define NAMED(name) "{\"Type\":\"Public\",\"Name\":\"" name "\"}"
#define GROUP(id, rest) "{\"GroupId\":\"" id "\"," rest "}"
#define REST "\"ErrorCode\":0,\"ErrorInfo\":\"\",\"Type\":\"Public\",\"Name\":\"Test\",\"Owner_Account\":\"leckie\",\"CreateTime\":1448357837"
#define ANSWER(entries) "{\"ActionStatus\":\"OK\",\"ErrorInfo\":\"\",\"ErrorCode\":0,\"GroupInfo\":[" entries "]}"
#define ONE(rest) ANSWER(GROUP("g1", rest))
#define WITH(type, name) ONE("\"ErrorCode\":0,\"Type\":\"" type "\",\"Name\":\"" name "\"")

static const struct
{
	const char *name;
	const char *body;
	const char *sent;
	ImFound		found;
}			compared[] = {
	{"the same", ONE(REST), SENT, IM_FOUND_SAME},
	{"in another order", ANSWER("{" REST ",\"GroupId\":\"g1\"}"), SENT, IM_FOUND_SAME},
	{"among others", ANSWER("null,3,[{\"GroupId\":\"g1\"}]," GROUP("g0", REST) "," GROUP("g1", REST) "," GROUP("g11", "\"ErrorCode\":10010")), SENT, IM_FOUND_SAME},
	{"an escaped id", ANSWER(GROUP("\\u00671", REST)), SENT, IM_FOUND_SAME},
	{"no ErrorCode in the entry", ONE("\"Type\":\"Public\",\"Name\":\"Test\""), BRIEF, IM_FOUND_SAME},
	{"what was not sent is not compared", ONE(REST), BRIEF, IM_FOUND_SAME},
	{"another name", ONE("\"ErrorCode\":0,\"Type\":\"Public\",\"Name\":\"test\""), BRIEF, IM_FOUND_OTHER},
	{"a request without name, another's group", ONE(REST), "{\"Type\":\"Public\",\"GroupId\":\"g1\"}", IM_FOUND_OTHER},
	{"a request without type, another's group", ONE(REST), "{\"Name\":\"Test\",\"GroupId\":\"g1\"}", IM_FOUND_OTHER},
	{"a request without name, no group", ONE("\"ErrorCode\":10010"), "{\"Type\":\"Public\",\"GroupId\":\"g1\"}", IM_FOUND_ABSENT},
	{"another type", ONE("\"ErrorCode\":0,\"Type\":\"Private\",\"Name\":\"Test\""), BRIEF, IM_FOUND_OTHER},
	{"another type, no ErrorCode", ONE("\"Type\":\"Private\",\"Name\":\"Test\""), BRIEF, IM_FOUND_OTHER},
	{"another owner", ONE(REST ",\"Owner_Account\":\"Leckie\""), SENT, IM_FOUND_OTHER},
	{"an owner longer by a byte", ONE(REST ",\"Owner_Account\":\"leckie2\""), SENT, IM_FOUND_OTHER},
	{"another time", ONE(REST ",\"CreateTime\":1448357838"), SENT, IM_FOUND_OTHER},
	{"a time that was cut to now", ONE(REST ",\"CreateTime\":1448357832"), SENT, IM_FOUND_SAME},
	{"a time before that", ONE(REST ",\"CreateTime\":1448357831"), SENT, IM_FOUND_OTHER},
	{"another time, negative", ONE(REST ",\"CreateTime\":-1448357837"), SENT, IM_FOUND_OTHER},
	{"no owner in the group", ONE("\"Type\":\"Public\",\"Name\":\"Test\",\"CreateTime\":1448357837"), SENT, IM_FOUND_OTHER},
	{"a null owner in the group", ONE(REST ",\"Owner_Account\":null"), SENT, IM_FOUND_OTHER},
	{"no owner in either", WITH("Public", "Test"), "{\"Type\":\"Public\",\"Name\":\"Test\",\"Owner_Account\":\"\"}", IM_FOUND_SAME},
	{"null owner there, none here", ONE("\"Type\":\"Public\",\"Name\":\"Test\",\"Owner_Account\":null"), "{\"Type\":\"Public\",\"Name\":\"Test\",\"Owner_Account\":\"\"}", IM_FOUND_SAME},
	{"no time in the group", ONE("\"Type\":\"Public\",\"Name\":\"Test\",\"Owner_Account\":\"leckie\""), SENT, IM_FOUND_UNREADABLE},
	{"no time, but another owner", ONE("\"Type\":\"Public\",\"Name\":\"Test\",\"Owner_Account\":\"x\""), SENT, IM_FOUND_OTHER},
	{"no time, but another name", ONE("\"Type\":\"Public\",\"Name\":\"Test2\",\"Owner_Account\":\"leckie\""), SENT, IM_FOUND_OTHER},
	{"time as a string", ONE(REST ",\"CreateTime\":\"1448357837\""), SENT, IM_FOUND_UNREADABLE},
	{"time with a fraction", ONE(REST ",\"CreateTime\":1448357837.0"), SENT, IM_FOUND_UNREADABLE},
	{"time of 18 digits", ONE(REST ",\"CreateTime\":144835783714483578"), "{\"Type\":\"Public\",\"Name\":\"Test\",\"CreateTime\":144835783714483578}", IM_FOUND_SAME},
	{"time of 30 digits", ONE(REST ",\"CreateTime\":144835783714483578371448357837"), "{\"Type\":\"Public\",\"Name\":\"Test\",\"CreateTime\":144835783714483578371448357837}", IM_FOUND_UNREADABLE},

	{"Private is Work", WITH("Work", "Test"), TYPED("Private"), IM_FOUND_SAME},
	{"Work is Private", WITH("Private", "Test"), TYPED("Work"), IM_FOUND_SAME},
	{"ChatRoom is Meeting", WITH("Meeting", "Test"), TYPED("ChatRoom"), IM_FOUND_SAME},
	{"Meeting is ChatRoom", WITH("ChatRoom", "Test"), TYPED("Meeting"), IM_FOUND_SAME},
	{"an escaped Work", WITH("\\u0057ork", "Test"), TYPED("Private"), IM_FOUND_SAME},
	{"Private is not Meeting", WITH("Meeting", "Test"), TYPED("Private"), IM_FOUND_OTHER},
	{"Private is not work", WITH("work", "Test"), TYPED("Private"), IM_FOUND_OTHER},
	{"Work is not ChatRoom", WITH("ChatRoom", "Test"), TYPED("Work"), IM_FOUND_OTHER},
	{"AVChatRoom is not ChatRoom", WITH("AVChatRoom", "Test"), TYPED("ChatRoom"), IM_FOUND_OTHER},
	{"Community is Community", WITH("Community", "Test"), TYPED("Community"), IM_FOUND_SAME},
	{"a new type is itself", WITH("New", "Test"), TYPED("New"), IM_FOUND_SAME},

	{"name escaped there", WITH("Public", "\\u7fa4\\/\\\"\\u00e9\\ud83d\\ude00"), NAMED("\xe7\xbe\xa4/\\\"\xc3\xa9" GRIN), IM_FOUND_SAME},
	{"name escaped here", WITH("Public", "\xe7\xbe\xa4/"), NAMED("\\u7FA4\\/"), IM_FOUND_SAME},
	{"names with NUL", WITH("Public", "a\\u0000b"), NAMED("a\\u0000b"), IM_FOUND_SAME},
	{"names that differ after a NUL", WITH("Public", "a\\u0000b"), NAMED("a\\u0000c"), IM_FOUND_OTHER},
	{"NUL is not U+FFFD", WITH("Public", "a\\u0000"), NAMED("a" FFFD), IM_FOUND_OTHER},
	{"a lone surrogate is not U+FFFD", WITH("Public", "a\\ud800"), NAMED("a" FFFD), IM_FOUND_OTHER},
	{"nor another surrogate", WITH("Public", "a\\ud800"), NAMED("a\\ud801"), IM_FOUND_OTHER},
	{"a name that begins like it", WITH("Public", "Test"), NAMED("Test2"), IM_FOUND_OTHER},
	{"a name that goes on", WITH("Public", "Test2"), NAMED("Test"), IM_FOUND_OTHER},
	{"controls count in names", WITH("Public", "a\\u0001"), NAMED("a"), IM_FOUND_OTHER},
	{"tabs are not spaces", WITH("Public", "a\\t"), NAMED("a "), IM_FOUND_OTHER},
	{"invalid bytes count in names", WITH("Public", "a\xff"), NAMED("a?"), IM_FOUND_OTHER},
	{"and which they are", WITH("Public", "a\xff"), NAMED("a\xfe"), IM_FOUND_OTHER},
	{"a precomposed letter is not a composed one", WITH("Public", "\xc3\xa9"), NAMED("e\xcc\x81"), IM_FOUND_OTHER},
	{"an empty name", WITH("Public", ""), NAMED(""), IM_FOUND_SAME},

	{"absent, 10010", ONE("\"ErrorCode\":10010,\"ErrorInfo\":\"gone\""), SENT, IM_FOUND_ABSENT},
	{"absent, 10015", ONE("\"ErrorCode\":10015"), SENT, IM_FOUND_ABSENT},
	{"the entry's code counts, not its rest", ONE("\"ErrorCode\":10010,\"Type\":\"Public\",\"Name\":\"Test\""), BRIEF, IM_FOUND_ABSENT},
	{"the entry's 10002", ONE("\"ErrorCode\":10002,\"ErrorInfo\":\"try again\""), BRIEF, IM_FOUND_UNREADABLE},
	{"the entry's 10007", ONE("\"ErrorCode\":10007,\"Type\":\"Public\",\"Name\":\"Test\""), BRIEF, IM_FOUND_UNREADABLE},
	{"the entry's code is a string", ONE("\"ErrorCode\":\"0\",\"Type\":\"Public\",\"Name\":\"Test\""), BRIEF, IM_FOUND_UNREADABLE},
	{"the entry has two codes", ONE("\"ErrorCode\":0,\"ErrorCode\":10010,\"Type\":\"Public\",\"Name\":\"Test\""), BRIEF, IM_FOUND_UNREADABLE},
	{"the entry has no Type", ONE("\"ErrorCode\":0,\"Name\":\"Test\""), BRIEF, IM_FOUND_UNREADABLE},
	{"the entry has no Name", ONE("\"ErrorCode\":0,\"Type\":\"Public\""), BRIEF, IM_FOUND_UNREADABLE},
	{"the entry's Name is null", ONE("\"ErrorCode\":0,\"Type\":\"Public\",\"Name\":null"), BRIEF, IM_FOUND_UNREADABLE},
	{"the entry's Type is a number", ONE("\"ErrorCode\":0,\"Type\":1,\"Name\":\"Test\""), BRIEF, IM_FOUND_UNREADABLE},

	{"no entry at all", ANSWER(""), BRIEF, IM_FOUND_UNREADABLE},
	{"no GroupInfo", "{\"ErrorCode\":0}", BRIEF, IM_FOUND_UNREADABLE},
	{"GroupInfo is null", "{\"ErrorCode\":0,\"GroupInfo\":null}", BRIEF, IM_FOUND_UNREADABLE},
	{"GroupInfo is an object", "{\"ErrorCode\":0,\"GroupInfo\":" GROUP("g1", REST) "}", BRIEF, IM_FOUND_UNREADABLE},
	{"the group itself on top", GROUP("g1", REST), BRIEF, IM_FOUND_UNREADABLE},
	{"GroupInfo deeper down", "{\"ErrorCode\":0,\"a\":" ONE(REST) "}", BRIEF, IM_FOUND_UNREADABLE},
	{"only another group", ANSWER(GROUP("G1", REST)), BRIEF, IM_FOUND_UNREADABLE},
	{"an id that goes on", ANSWER(GROUP("g1 ", REST)), BRIEF, IM_FOUND_UNREADABLE},
	{"an id that goes on after a NUL", ANSWER(GROUP("g1\\u0000", REST)), BRIEF, IM_FOUND_UNREADABLE},
	{"one entry without id", ANSWER("{" REST "}"), BRIEF, IM_FOUND_SAME},
	{"two without id", ANSWER("{" REST "},{" REST "}"), BRIEF, IM_FOUND_UNREADABLE},
	{"an entry with nothing in it", ANSWER("{}"), BRIEF, IM_FOUND_UNREADABLE},
	{"the same entry twice", ANSWER(GROUP("g1", REST) "," GROUP("g1", REST)), BRIEF, IM_FOUND_UNREADABLE},
	{"two entries that disagree", ANSWER(GROUP("g1", REST) "," GROUP("g1", "\"ErrorCode\":10010")), BRIEF, IM_FOUND_UNREADABLE},

	{"the top's code does not matter", "{\"ErrorCode\":10010,\"GroupInfo\":[" GROUP("g1", REST) "]}", SENT, IM_FOUND_SAME},
	{"nor that it is missing", "{\"GroupInfo\":[" GROUP("g1", REST) "]}", SENT, IM_FOUND_SAME},
	{"the top's 10010 alone is no absence", "{\"ErrorCode\":10010,\"GroupInfo\":[]}", SENT, IM_FOUND_UNREADABLE},
	{"garbage after the answer", ONE(REST) "x", SENT, IM_FOUND_UNREADABLE},
	{"an answer cut off", "{\"ErrorCode\":0,\"GroupInfo\":[" GROUP("g1", REST) "]", SENT, IM_FOUND_UNREADABLE},
	{"an array cut off", "{\"ErrorCode\":0,\"GroupInfo\":[" GROUP("g1", REST) "}", SENT, IM_FOUND_UNREADABLE},
	{"a request that is no JSON", ONE(REST), BRIEF "x", IM_FOUND_UNREADABLE},
	{"an empty request", ONE(REST), "", IM_FOUND_UNREADABLE},
};

/* A row of a group, with what was sent of it. */
static ImRow
row_of(const char *id, const char *sent, size_t sent_len)
{
	ImRow		row;

	memset(&row, 0x7f, sizeof(row));	/* nothing old may show */
	snprintf(row.group_id, sizeof(row.group_id), "%s", id);
	row.item = (char *) sent;
	row.item_len = sent_len;
	return row;
}

/* Reads an answer about some rows. */
static bool
read_groups(ImOp op, const char *body, size_t len, ImRow *rows, int nrows)
{
	ImRow	   *list[IM_CHECK_MAX + 1];
	ImCall		call = {.op = op,.rows = list,.nrows = nrows};

	for (int i = 0; i < nrows; i++)
		list[i] = &rows[i];
	return im_reply_groups(&call, body, len, NULL, 0);
}

/* Compares, from memory that ends where the texts end. */
static ImFound
compare(const char *body, const char *id, const char *sent, ImRow *row)
{
	char	   *body_copy = exact_copy(body, strlen(body));
	char	   *sent_copy = exact_copy(sent, strlen(sent));

	*row = row_of(id, sent_copy, strlen(sent));
	ok(read_groups(IM_OP_GET_GROUP_INFO, body_copy, strlen(body), row, 1) == (row->check.found != IM_FOUND_UNREADABLE),
	   "read, or not");
	free(body_copy);
	free(sent_copy);
	return row->check.found;
}

/* The table above. */
static void
test_compare(void)
{
	ImRow		row;

	for (size_t i = 0; i < COUNT(compared); i++)
		is_int(compare(compared[i].body, "g1", compared[i].sent, &row), compared[i].found,
			   "compare: %s", compared[i].name);
	is_int(compare(ANSWER(GROUP("a\\\\n", REST)), "a\\n", BRIEF, &row), IM_FOUND_SAME,
		   "a backslash in our id is a backslash");
	is_int(compare(ANSWER(GROUP("a\\n", REST)), "a\\n", BRIEF, &row), IM_FOUND_UNREADABLE,
		   "and not an escape");
	is_int(compare(ANSWER("{\"GroupId\":12," REST "}"), "12", BRIEF, &row), IM_FOUND_UNREADABLE,
		   "an id that is a number is none");
}

/* What of an entry reaches the row. */
static void
test_compare_row(void)
{
	ImRow		row;

	compare("{\"ErrorCode\":10004,\"ErrorInfo\":\"top\",\"GroupInfo\":[" GROUP("g1", "\"ErrorCode\":10010,\"ErrorInfo\":\"e\\nntry\"") "]}", "g1", BRIEF, &row);
	is_str(row.info, "e ntry", "the entry's text, cleaned");
	compare("{\"ErrorCode\":70001,\"ErrorInfo\":\"top\",\"GroupInfo\":[]}", "g1", BRIEF, &row);
	is_str(row.info, "", "without an entry no text");
	compare(ONE(REST) "x", "g1", BRIEF, &row);
	is_str(row.info, "", "nothing of an unreadable answer");
	compare("{\"GroupInfo\":[" GROUP("g1", REST) "]}", "g1", BRIEF, &row);
	is_int(row.check.next_seq, 0, "no NextMsgSeq is none");
	compare(ONE(REST ",\"NextMsgSeq\":4294967297"), "g1", BRIEF, &row);
	is_int(row.check.next_seq, INT64_C(4294967297), "NextMsgSeq");
	compare(ONE(REST ",\"NextMsgSeq\":\"7\""), "g1", BRIEF, &row);
	is_int(row.check.next_seq, 0, "a NextMsgSeq that is no number is none");
	row = row_of("g1", NULL, 0);
	ok(!read_groups(IM_OP_GET_GROUP_INFO, ONE(REST), strlen(ONE(REST)), &row, 1), "without a request nobody can say whose it is");
}

/* Names are compared in full, however long. */
static void
test_long_names(void)
{
	static char body[8192];
	static char sent[8192];
	char		name[2 * IM_INFO_MAX + 1];
	ImRow		row;

	memset(name, 'n', sizeof(name));
	name[sizeof(name) - 1] = '\0';
	sprintf(body, WITH("Public", "%s"), name);
	sprintf(sent, NAMED("%s"), name);
	is_int(compare(body, "g1", sent, &row), IM_FOUND_SAME, "long names, the same");
	name[sizeof(name) - 2] = 'm';
	sprintf(sent, NAMED("%s"), name);
	is_int(compare(body, "g1", sent, &row), IM_FOUND_OTHER, "long names, another last byte");
}

/* What is sent and what is said, for IM_OP_CHECK_GROUPS. */
#define FULL "{\"Type\":\"Public\",\"Name\":\"n\",\"Owner_Account\":\"o\",\"CreateTime\":5,\"Introduction\":\"i\"," \
	"\"Notification\":\"\",\"FaceUrl\":\"f\",\"MaxMemberCount\":7,\"ApplyJoinOption\":\"FreeAccess\"}"
#define SAID(type, name, owner, time, introduction, rest) \
	"{\"GroupId\":\"a\",\"ErrorCode\":0,\"Type\":\"" type "\",\"Name\":\"" name "\",\"Owner_Account\":\"" owner \
	"\",\"CreateTime\":" time ",\"Introduction\":\"" introduction "\"" rest "}"
#define REST_OF_IT ",\"FaceUrl\":\"f\",\"MaxMemberNum\":7,\"ApplyJoinOption\":\"FreeAccess\""
#define BIT(field) (UINT32_C(1) << (field))

/* One entry for group "a", and what is found of it. */
static const struct
{
	const char *name;
	const char *entries;
	const char *sent;
	ImFound		found;
	uint32_t	differs;
}			checked[] = {
	{"all fields", SAID("Public", "n", "o", "5", "i", REST_OF_IT), FULL, IM_FOUND_SAME, 0},
	{"the newer name of a type", SAID("Work", "n", "", "5", "", ""), "{\"Type\":\"Private\",\"Name\":\"n\"}", IM_FOUND_SAME, 0},
	{"only what was sent counts", SAID("Public", "n", "x", "9", "x", REST_OF_IT), "{\"Type\":\"Public\",\"Name\":\"n\"}", IM_FOUND_SAME, 0},
	{"another type", SAID("ChatRoom", "n", "o", "5", "i", REST_OF_IT), FULL, IM_FOUND_OTHER, BIT(IM_FIELD_TYPE)},
	{"two fields", SAID("Public", "m", "o", "6", "i", REST_OF_IT), FULL, IM_FOUND_OTHER, BIT(IM_FIELD_NAME) | BIT(IM_FIELD_CREATE_TIME)},
	{"a text left out is empty", SAID("Public", "n", "o", "5", "i", ",\"MaxMemberNum\":7,\"ApplyJoinOption\":\"FreeAccess\""), FULL, IM_FOUND_OTHER, BIT(IM_FIELD_FACE_URL)},
	{"a number left out is not known", SAID("Public", "n", "o", "5", "i", ",\"FaceUrl\":\"f\",\"ApplyJoinOption\":\"FreeAccess\""), FULL, IM_FOUND_UNREADABLE, 0},
	{"what differs decides before what is not known", SAID("Public", "m", "o", "5", "i", ",\"FaceUrl\":\"f\""), FULL, IM_FOUND_OTHER, BIT(IM_FIELD_NAME)},
	{"a number as text", SAID("Public", "n", "o", "\"5\"", "i", REST_OF_IT), FULL, IM_FOUND_UNREADABLE, 0},
	{"absent", "{\"GroupId\":\"a\",\"ErrorCode\":10010}", FULL, IM_FOUND_ABSENT, 0},
	{"absent, in other words", "{\"GroupId\":\"a\",\"ErrorCode\":10015}", FULL, IM_FOUND_ABSENT, 0},
	{"absent, and nothing to compare", "{\"GroupId\":\"a\",\"ErrorCode\":10010}", NULL, IM_FOUND_ABSENT, 0},
	{"there, and nothing to compare", "{\"GroupId\":\"a\",\"ErrorCode\":0}", NULL, IM_FOUND_SAME, 0},
	{"another code", "{\"GroupId\":\"a\",\"ErrorCode\":10007}", FULL, IM_FOUND_UNREADABLE, 0},
	{"two entries", "{\"GroupId\":\"a\",\"ErrorCode\":10010},{\"GroupId\":\"a\",\"ErrorCode\":10010}", FULL, IM_FOUND_UNREADABLE, 0},
	{"another group's entry", "{\"GroupId\":\"A\",\"ErrorCode\":10010}", FULL, IM_FOUND_UNREADABLE, 0},
	{"beside what is no entry", "1,[{}],\"a\",null,{},{\"GroupId\":\"a\",\"ErrorCode\":10010}", FULL, IM_FOUND_ABSENT, 0},
};

/* Each entry alone, and the answer cut off anywhere. */
static void
test_check(void)
{
	static char body[4096];

	for (size_t i = 0; i < COUNT(checked); i++)
	{
		ImRow		row = row_of("a", checked[i].sent, checked[i].sent ? strlen(checked[i].sent) : 0);
		int			len = sprintf(body, "{\"ErrorCode\":0,\"GroupInfo\":[%s]}", checked[i].entries);

		is_int(read_groups(IM_OP_CHECK_GROUPS, body, (size_t) len, &row, 1),
			   checked[i].found != IM_FOUND_UNREADABLE, "%s: of all", checked[i].name);
		is_int(row.check.found, checked[i].found, "%s: found", checked[i].name);
		is_int(row.check.differs, checked[i].differs, "%s: fields", checked[i].name);
		while (--len >= 0)
			if (read_groups(IM_OP_CHECK_GROUPS, body, (size_t) len, &row, 1))
				break;
		is_int(len, -1, "%s: cut off", checked[i].name);
	}
}

/* AppDefinedData and SupportTopic: what is sent, what is said, what differs. */
#define CUSTOM(entries) ",\"AppDefinedData\":[" entries "]"
#define PAIR(key, value) "{\"Key\":\"" key "\",\"Value\":\"" value "\"}"
#define TOPIC BIT(IM_FIELD_TOPIC)
#define KEYS 0					/* they are told one by one */

static const struct
{
	const char *name;
	const char *sent;
	const char *said;
	ImFound		found;
	uint32_t	differs;
	uint64_t	custom;
}			custom_data[] = {
	{"the same", CUSTOM(PAIR("a", "1") "," PAIR("b", "2")), CUSTOM(PAIR("a", "1") "," PAIR("b", "2")), IM_FOUND_SAME, 0, 0},
	{"in another order", CUSTOM(PAIR("a", "1") "," PAIR("b", "2")), CUSTOM(PAIR("b", "2") "," PAIR("a", "1")), IM_FOUND_SAME, 0, 0},
	{"the value first", CUSTOM(PAIR("a", "1")), CUSTOM("{\"Value\":\"1\",\"Key\":\"a\"}"), IM_FOUND_SAME, 0, 0},
	{"binary, escaped in other ways", CUSTOM(PAIR("a", "x\\u0000\\u0001\\u00e9")), CUSTOM(PAIR("\\u0061", "x\\u0000\\u0001\xc3\xa9")), IM_FOUND_SAME, 0, 0},
	{"binary that differs", CUSTOM(PAIR("a", "x\\u0000y")), CUSTOM(PAIR("a", "x\\u0000z")), IM_FOUND_OTHER, KEYS, 1},
	{"the second key", CUSTOM(PAIR("a", "1") "," PAIR("b", "2")), CUSTOM(PAIR("b", "3") "," PAIR("a", "1")), IM_FOUND_OTHER, KEYS, 2},
	{"both keys", CUSTOM(PAIR("a", "1") "," PAIR("b", "2")), CUSTOM(PAIR("b", "1") "," PAIR("a", "2")), IM_FOUND_OTHER, KEYS, 3},
	{"a key that is not there", CUSTOM(PAIR("a", "1") "," PAIR("b", "2")), CUSTOM(PAIR("a", "1")), IM_FOUND_OTHER, KEYS, 2},
	{"none of the keys", CUSTOM(PAIR("a", "1")), CUSTOM(""), IM_FOUND_OTHER, KEYS, 1},
	{"one that is empty and not there", CUSTOM(PAIR("a", "")), CUSTOM(""), IM_FOUND_SAME, 0, 0},
	{"a key that was not sent", CUSTOM(PAIR("a", "1")), CUSTOM(PAIR("z", "9") "," PAIR("a", "1")), IM_FOUND_SAME, 0, 0},
	{"nothing sent", "", CUSTOM(PAIR("z", "9")) ",\"SupportTopic\":1", IM_FOUND_SAME, 0, 0},
	{"not told", CUSTOM(PAIR("a", "1")) ",\"SupportTopic\":1", "", IM_FOUND_SAME, 0, 0},
	{"told as null", CUSTOM(PAIR("a", "1")) ",\"SupportTopic\":1", ",\"AppDefinedData\":null,\"SupportTopic\":null", IM_FOUND_SAME, 0, 0},
	{"no array", CUSTOM(PAIR("a", "1")), ",\"AppDefinedData\":\"a\"", IM_FOUND_UNREADABLE, 0, 0},
	{"a value that is a number", CUSTOM(PAIR("a", "1")), CUSTOM("{\"Key\":\"a\",\"Value\":1}"), IM_FOUND_UNREADABLE, 0, 0},
	{"a value that is a number, beside another that differs", CUSTOM(PAIR("a", "1") "," PAIR("b", "2")), CUSTOM("{\"Key\":\"a\",\"Value\":1}"), IM_FOUND_OTHER, KEYS, 2},
	{"beside what is no entry", CUSTOM(PAIR("a", "1")), CUSTOM("1,null,{},[{}]," PAIR("a", "1")), IM_FOUND_SAME, 0, 0},
	{"a key sent twice, the first is kept", CUSTOM(PAIR("a", "1") "," PAIR("a", "2")), CUSTOM(PAIR("a", "1")), IM_FOUND_SAME, 0, 0},
	{"a key sent twice, the last is kept", CUSTOM(PAIR("a", "1") "," PAIR("a", "2")), CUSTOM(PAIR("a", "2")), IM_FOUND_SAME, 0, 0},
	{"a key sent twice, neither is kept", CUSTOM(PAIR("a", "1") "," PAIR("a", "2")), CUSTOM(PAIR("a", "3")), IM_FOUND_OTHER, KEYS, 3},
	{"topic", ",\"SupportTopic\":1", ",\"SupportTopic\":1", IM_FOUND_SAME, 0, 0},
	{"no topic", ",\"SupportTopic\":0", ",\"SupportTopic\":0", IM_FOUND_SAME, 0, 0},
	{"another topic", ",\"SupportTopic\":1", ",\"SupportTopic\":0", IM_FOUND_OTHER, TOPIC, 0},
	{"a topic in words", ",\"SupportTopic\":1", ",\"SupportTopic\":\"yes\"", IM_FOUND_UNREADABLE, 0, 0},
	{"topic and key", CUSTOM(PAIR("a", "1")) ",\"SupportTopic\":1", CUSTOM(PAIR("a", "2")) ",\"SupportTopic\":0", IM_FOUND_OTHER, TOPIC | KEYS, 1},
};

/* Each in a request and in the answer about it. */
static void
test_custom(void)
{
	static char sent[4096];
	static char body[4096];

	for (size_t i = 0; i < COUNT(custom_data); i++)
	{
		int			sent_len = sprintf(sent, "{\"Type\":\"Community\",\"Name\":\"n\"%s}", custom_data[i].sent);
		int			len = sprintf(body, "{\"GroupInfo\":[{\"GroupId\":\"a\",\"ErrorCode\":0,\"Type\":\"Community\",\"Name\":\"n\"%s}]}",
								  custom_data[i].said);
		ImRow		row = row_of("a", sent, (size_t) sent_len);

		read_groups(IM_OP_CHECK_GROUPS, body, (size_t) len, &row, 1);
		is_int(row.check.found, custom_data[i].found, "%s: found", custom_data[i].name);
		is_int(row.check.differs, custom_data[i].differs, "%s: fields", custom_data[i].name);
		is_int((long) row.check.custom, (long) custom_data[i].custom, "%s: keys", custom_data[i].name);
	}
}

/* The keys of a request; more and longer ones than any app has do no harm. */
static void
test_extras(void)
{
	static char sent[200000];
	static const char few[] = "{\"Type\":\"Public\",\"Name\":\"n\"" CUSTOM(PAIR("a", "1") "," PAIR("b\\\"", "2")) "}";
	ImExtras	extras;
	int			len = sprintf(sent, "{\"AppDefinedData\":[{\"Key\":\"%0200d\",\"Value\":\"\"}", 0);

	im_reply_extras(few, strlen(few), &extras);
	is_int(extras.nkeys, 2, "keys of a request");
	ok(extras.keys[1].len == 3 && memcmp(extras.keys[1].p, "b\\\"", 3) == 0, "a key as it stands");
	ok(!extras.topic, "no topic");
	im_reply_extras("{\"SupportTopic\":0}", 18, &extras);
	ok(extras.topic && extras.nkeys == 0, "only a topic");
	for (int i = 0; i < 1000; i++)
		len += sprintf(sent + len, "," PAIR("k%d", "v"), i);
	len += sprintf(sent + len, "]}");
	im_reply_extras(sent, (size_t) len, &extras);
	is_int(extras.nkeys, IM_CUSTOM_MAX, "so many keys and no more");
	ok(extras.keys[0].len == 2 && memcmp(extras.keys[0].p, "k0", 2) == 0, "a very long key is left out");
	im_reply_extras("[]", 2, &extras);
	is_int(extras.nkeys, 0, "no request");
}

/* Many groups in one answer; two that ask for the same; too many. */
static void
test_check_many(void)
{
	static const char body[] = "{\"GroupInfo\":[{\"GroupId\":\"c\",\"ErrorCode\":0},{\"GroupId\":\"a\",\"ErrorCode\":10010}]}";
	ImRow		rows[IM_CHECK_MAX + 1];

	for (int i = 0; i <= IM_CHECK_MAX; i++)
		rows[i] = row_of(i == 0 || i == 3 ? "a" : i == 1 ? "b" : "c", NULL, 0);
	ok(read_groups(IM_OP_CHECK_GROUPS, body, strlen(body), rows, 4), "many: some could be read");
	is_int(rows[0].check.found, IM_FOUND_ABSENT, "many: the first");
	is_int(rows[1].check.found, IM_FOUND_UNREADABLE, "many: without an entry");
	is_int(rows[2].check.found, IM_FOUND_SAME, "many: in another order");
	is_int(rows[3].check.found, IM_FOUND_ABSENT, "many: the first again");
	ok(!read_groups(IM_OP_CHECK_GROUPS, body, strlen(body), rows, IM_CHECK_MAX + 1), "too many");
	is_int(rows[0].check.found, IM_FOUND_UNREADABLE, "too many: none is decided");
}

int
main(void)
{
	test_parse();
	test_nul_bytes();
	test_cut_off();
	test_depth();
	test_bounds();
	test_compare();
	test_compare_row();
	test_long_names();
	test_check();
	test_check_many();
	test_custom();
	test_extras();
	return tap_done();
}
