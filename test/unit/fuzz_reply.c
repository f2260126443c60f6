/*
 * fuzz_reply.c
 *	  Whatever bytes come in, reply.c returns, stays within them, and hands out
 *	  bounded, valid UTF-8 without control characters.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "reply.h"
#include "text.h"

/* Clean, as reply.h promises it. */
static void
check_clean(const char *text, size_t max)
{
	size_t		len = strnlen(text, max + 1);
	uint32_t	character;

	CHECK(len <= max);
	while (len > 0)
	{
		size_t		n = im_utf8_decode(text, len, &character);

		CHECK(n > 0 && !im_utf8_is_control(character));
		text += n;
		len -= n;
	}
}

/* Nothing shows of an unreadable answer. */
static void
check_reply(const ImReply *reply)
{
	check_clean(reply->info, IM_INFO_MAX);
	check_clean(reply->group_id, IM_GROUP_ID_MAX);
	for (const char *p = reply->group_id; *p; p++)
		CHECK(*p >= 0x20 && *p <= 0x7e);
	CHECK(reply->readable || (reply->code == 0 && reply->group_id[0] == '\0'));
}

/* Writes text as a JSON string to out (6 * len + 3 bytes); returns its length. */
static size_t
quote(const char *text, size_t len, char *out)
{
	size_t		used = 0;

	out[used++] = '"';
	for (size_t i = 0; i < len; i++)
	{
		unsigned char c = (unsigned char) text[i];

		if (c < 0x20)
			used += (size_t) sprintf(out + used, "\\u%04x", c);
		else
		{
			if (c == '"' || c == '\\')
				out[used++] = '\\';
			out[used++] = (char) c;
		}
	}
	out[used++] = '"';
	return used;
}

/*
 * Any text without NUL comes out of an answer as im_text_clean() would have
 * it.
 */
static void
check_info(const char *text, size_t len)
{
	static char body[16384];
	char		cleaned[IM_INFO_MAX + 1];
	size_t		used;
	ImReply		reply;

	used = (size_t) sprintf(body, "{\"ErrorCode\":1,\"ErrorInfo\":");
	used += quote(text, len, body + used);
	body[used++] = '}';
	im_reply_parse(body, used, &reply);
	im_text_clean(text, len, cleaned, sizeof(cleaned));
	CHECK(reply.readable && reply.code == 1);
	CHECK(strcmp(reply.info, cleaned) == 0);
}

/* Reads an answer about rows of the groups g1, g2 and g1. */
static bool
read_groups(ImOp op, const char *body, size_t len, ImRow *rows, int nrows)
{
	static const char *const ids[] = {"g1", "g2", "g1"};
	ImRow	   *list[] = {&rows[0], &rows[1], &rows[2]};
	ImCall		call = {.op = op,.rows = list,.nrows = nrows};

	for (int i = 0; i < nrows; i++)
		strcpy(rows[i].group_id, ids[i]);
	return im_reply_groups(&call, body, len, NULL, 0);
}

/* A group of any name is the same as itself, and not the same as a longer one. */
static void
check_name(const char *text, size_t len)
{
	static char sent[16384];
	static char body[16384];
	size_t		sent_len;
	size_t		used;
	static ImRow rows[3];

	sent_len = (size_t) sprintf(sent, "{\"Type\":\"Work\",\"Name\":");
	sent_len += quote(text, len, sent + sent_len);
	sent[sent_len++] = '}';
	used = (size_t) sprintf(body, "{\"GroupInfo\":[{\"GroupId\":\"g1\",");
	memcpy(body + used, sent + 1, sent_len - 1);
	used += sent_len - 1;
	used += (size_t) sprintf(body + used, "]}");
	rows[0].item = sent;
	rows[0].item_len = sent_len;
	CHECK(read_groups(IM_OP_GET_GROUP_INFO, body, used, rows, 1) && rows[0].check.found == IM_FOUND_SAME);
	memcpy(body + used - 4, "-\"}]}", 6);
	CHECK(read_groups(IM_OP_GET_GROUP_INFO, body, used + 1, rows, 1) && rows[0].check.found == IM_FOUND_OTHER);
}

/* Keys lie in the request; what differs is one of them. */
static void
check_extras(const ImRow *rows, const char *sent, size_t sent_len)
{
	ImExtras	extras;

	im_reply_extras(sent, sent_len, &extras);
	CHECK(extras.nkeys >= 0 && extras.nkeys <= IM_CUSTOM_MAX);
	for (int i = 0; i < extras.nkeys; i++)
		CHECK(extras.keys[i].p > sent && extras.keys[i].p + extras.keys[i].len < sent + sent_len);
	CHECK(extras.nkeys == IM_CUSTOM_MAX || (rows[0].check.custom | rows[1].check.custom) >> extras.nkeys == 0);
}

/*
 * Several groups of one answer, of which the last is only asked for; a group that
 * is not other differs in nothing.
 */
static void
check_groups(ImOp op, const char *body, size_t len, const char *sent, size_t sent_len)
{
	static ImRow rows[3];
	bool		any = false;
	bool		read;

	for (int i = 0; i < 3; i++)
	{
		rows[i].check = (ImSeen) {.found = IM_FOUND_OTHER,.differs = 99,.custom = 99};
		rows[i].item = i < 2 ? (char *) sent : NULL;
		rows[i].item_len = i < 2 ? sent_len : 0;
	}
	read = read_groups(op, body, len, rows, op == IM_OP_CHECK_GROUPS ? 3 : 2);
	for (int i = 0; i < (op == IM_OP_CHECK_GROUPS ? 3 : 2); i++)
	{
		const ImSeen *seen = &rows[i].check;

		CHECK(seen->found >= IM_FOUND_UNREADABLE && seen->found <= IM_FOUND_ABSENT);
		CHECK((seen->differs != 0 || seen->custom != 0) == (seen->found == IM_FOUND_OTHER));
		CHECK(seen->differs < UINT32_C(1) << (op == IM_OP_CHECK_GROUPS ? IM_FIELDS : IM_FIELD_CREATE_TIME + 1));
		any = any || seen->found != IM_FOUND_UNREADABLE;
		check_clean(rows[i].info, IM_INFO_MAX);
	}
	CHECK(read == any);
	check_extras(rows, sent, sent_len);
}

/* The first line is our request, the rest the answer to it. */
static void
check_compare(const char *text, size_t len)
{
	const char *line = memchr(text, '\n', len);
	size_t		sent_len = line ? (size_t) (line - text) : 0;

	check_groups(IM_OP_GET_GROUP_INFO, text + sent_len, len - sent_len, text, sent_len);
	check_groups(IM_OP_CHECK_GROUPS, text + sent_len, len - sent_len, text, sent_len);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *text = (const char *) data;
	char		cleaned[64];
	ImReply		reply;

	memset(&reply, 0x7f, sizeof(reply));
	im_reply_parse(text, size, &reply);
	check_reply(&reply);
	CHECK(reply.readable || reply.info[0] == '\0');
	CHECK(im_text_clean(text, size, cleaned, sizeof(cleaned)) == strlen(cleaned));
	check_clean(cleaned, sizeof(cleaned) - 1);
	check_compare(text, size);
	if (size <= 2000 && memchr(text, '\0', size) == NULL)
	{
		check_info(text, size);
		check_name(text, size);
	}
	return 0;
}
