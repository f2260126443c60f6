/*
 * reply.c
 *	  Reads the service's answers.
 *
 * Must never know curl, SQL or what a code means for a row, and never throw:
 * a reply may arrive after a group was created, and an error here would make
 * us forget that it exists.  Hence no PostgreSQL in this file at all, no
 * allocation, and the scanner of json.c.
 *
 * The surprising rule: strict about structure, lenient about text.  A byte too
 * many after the object makes an answer unreadable, since it is not what the
 * service sent, or not all of it.  But invalid UTF-8 or a raw control character
 * within some string does not, or one odd ErrorInfo would cost us the
 * ErrorCode beside it.
 */
#include <string.h>

#include "json.h"
#include "reply.h"
#include "text.h"

/* The keys that we read, of an answer, of its entries, and of a request. */
typedef enum Key
{
	KEY_ERROR_CODE,
	KEY_ERROR_INFO,
	KEY_GROUP_ID,
	KEY_GROUP_INFO,
	KEY_TYPE,
	KEY_NAME,
	KEY_OWNER,
	KEY_CREATE_TIME,
	KEY_INTRODUCTION,
	KEY_NOTIFICATION,
	KEY_FACE_URL,
	KEY_MAX_MEMBERS_SENT,		/* the request's word ... */
	KEY_MAX_MEMBERS,			/* ... and the answer's */
	KEY_JOIN_OPTION,
	KEY_TOPIC,
	KEY_CUSTOM,
	KEY_NEXT_SEQ,
	KEY_PAIR_KEY,				/* of an entry of AppDefinedData */
	KEY_PAIR_VALUE,
	KEY_COUNT
} Key;

static const char *const key_names[KEY_COUNT] = {
	[KEY_ERROR_CODE] = "ErrorCode",
	[KEY_ERROR_INFO] = "ErrorInfo",
	[KEY_GROUP_ID] = "GroupId",
	[KEY_GROUP_INFO] = "GroupInfo",
	[KEY_TYPE] = "Type",
	[KEY_NAME] = "Name",
	[KEY_OWNER] = "Owner_Account",
	[KEY_CREATE_TIME] = "CreateTime",
	[KEY_INTRODUCTION] = "Introduction",
	[KEY_NOTIFICATION] = "Notification",
	[KEY_FACE_URL] = "FaceUrl",
	[KEY_MAX_MEMBERS_SENT] = "MaxMemberCount",
	[KEY_MAX_MEMBERS] = "MaxMemberNum",
	[KEY_JOIN_OPTION] = "ApplyJoinOption",
	[KEY_TOPIC] = "SupportTopic",
	[KEY_CUSTOM] = "AppDefinedData",
	[KEY_NEXT_SEQ] = "NextMsgSeq",
	[KEY_PAIR_KEY] = "Key",
	[KEY_PAIR_VALUE] = "Value",
};

/* How a field of two groups is compared. */
typedef enum How
{
	HOW_TYPE,					/* in either spelling */
	HOW_TEXT,					/* one that is not there is empty */
	HOW_WORD,					/* one that is not there is not known */
	HOW_NUMBER,
	HOW_TIME,					/* see IM_TIME_AHEAD */
	HOW_FLAG,					/* a number; not there: not compared */
	HOW_CUSTOM					/* AppDefinedData; not there: not compared */
} How;

/* The fields that im_reply_groups() compares, if the request has them. */
static const struct
{
	const char *column;
	How			how;
	Key			sent;
	Key			said;
}			compared[IM_FIELDS] = {
	[IM_FIELD_TYPE] = {"type", HOW_TYPE, KEY_TYPE, KEY_TYPE},
	[IM_FIELD_NAME] = {"name", HOW_WORD, KEY_NAME, KEY_NAME},
	[IM_FIELD_OWNER] = {"owner_account", HOW_TEXT, KEY_OWNER, KEY_OWNER},
	[IM_FIELD_CREATE_TIME] = {"create_time", HOW_TIME, KEY_CREATE_TIME, KEY_CREATE_TIME},
	[IM_FIELD_INTRODUCTION] = {"introduction", HOW_TEXT, KEY_INTRODUCTION, KEY_INTRODUCTION},
	[IM_FIELD_NOTIFICATION] = {"notification", HOW_TEXT, KEY_NOTIFICATION, KEY_NOTIFICATION},
	[IM_FIELD_FACE_URL] = {"face_url", HOW_TEXT, KEY_FACE_URL, KEY_FACE_URL},
	[IM_FIELD_MAX_MEMBERS] = {"max_member_count", HOW_NUMBER, KEY_MAX_MEMBERS_SENT, KEY_MAX_MEMBERS},
	[IM_FIELD_JOIN_OPTION] = {"apply_join_option", HOW_WORD, KEY_JOIN_OPTION, KEY_JOIN_OPTION},
	[IM_FIELD_TOPIC] = {"support_topic", HOW_FLAG, KEY_TOPIC, KEY_TOPIC},
	[IM_FIELD_CUSTOM] = {"app_defined_data", HOW_CUSTOM, KEY_CUSTOM, KEY_CUSTOM},
};

/* What one object says. */
typedef struct Facts
{
	ImJsonValue of[KEY_COUNT];	/* of a repeated key the last, as everywhere */
	bool		code_seen;
	bool		code_bad;		/* not an int32, or repeated with another
								 * value */
	int32_t		code;
} Facts;

/* One entry of AppDefinedData. */
typedef struct Pair
{
	ImJsonText	key;
	ImJsonValue value;
} Pair;

/* A key that takes more bytes in the request is not compared. */
#define CUSTOM_KEY_MAX		128

/* ErrorCodes of an entry for a group that is not there. */
#define CODE_NO_GROUP		10010
#define CODE_BAD_GROUP_ID	10015	/* in newer words also: dissolved */

/*
 * Notes an ErrorCode.  Two that disagree are worse than none: which of them a
 * parser picks must not decide whether a group exists.
 */
static void
note_code(Facts *facts, const ImJsonValue *value)
{
	int64_t		number;

	if (!im_json_whole(value, &number) ||
		number < INT32_MIN || number > INT32_MAX ||
		(facts->code_seen && number != facts->code))
		facts->code_bad = true;
	else
		facts->code = (int32_t) number;
	facts->code_seen = true;
}

/* Reads an object's members, those that we know. */
static void
read_object(ImJsonScan *scan, Facts *facts)
{
	ImJsonText	name;
	ImJsonValue value;

	memset(facts, 0, sizeof(*facts));
	if (!im_json_enter(scan, '{'))
		return;
	while (im_json_next_member(scan, &name))
	{
		int			key = 0;

		while (key < KEY_COUNT && !im_json_is(&name, key_names[key]))
			key++;
		im_json_value(scan, &value);
		if (key == KEY_COUNT)
			continue;
		facts->of[key] = value;
		if (key == KEY_ERROR_CODE)
			note_code(facts, &value);
	}
}

/* Reads a body that is one object and nothing else.  False if it is not. */
static bool
read_body(const char *body, size_t len, Facts *facts)
{
	ImJsonScan	scan = im_json_begin_answer(body, len);

	read_object(&scan, facts);
	return im_json_at_end(&scan);
}

/* Copies a string value to out, or nothing if it is none. */
static void
copy_info(const ImJsonValue *value, char *out)
{
	out[0] = '\0';
	if (value->kind == IM_JSON_STRING)
		im_json_clean(value->text, out, IM_INFO_MAX + 1);
}

/*
 * Copies a GroupId to out.  One that we could not store and send again byte
 * for byte is not copied at all: part of an id names another group.
 */
static void
copy_group_id(const ImJsonValue *value, char *out)
{
	ImJsonText	text = value->text;
	size_t		used = 0;

	out[0] = '\0';
	if (value->kind != IM_JSON_STRING)
		return;
	while (text.p < text.end)
	{
		uint32_t	c = im_json_take(&text);

		if (!im_text_is_printable_char(c) || used == IM_GROUP_ID_MAX)
		{
			out[0] = '\0';
			return;
		}
		out[used++] = (char) c;
	}
	out[used] = '\0';
}

/* Hands out what an answer says; nothing of one without a good ErrorCode. */
static void
fill_reply(const Facts *facts, ImReply *reply)
{
	if (!facts->code_seen || facts->code_bad)
		return;
	reply->readable = true;
	reply->code = facts->code;
	copy_info(&facts->of[KEY_ERROR_INFO], reply->info);
	copy_group_id(&facts->of[KEY_GROUP_ID], reply->group_id);
	reply->odd_group_id = facts->of[KEY_GROUP_ID].kind == IM_JSON_STRING && reply->group_id[0] == '\0';
}

/* Makes *reply an unreadable one. */
static void
clear_reply(ImReply *reply)
{
	reply->readable = false;
	reply->code = 0;
	reply->info[0] = '\0';
	reply->group_id[0] = '\0';
	reply->odd_group_id = false;
}

/* See reply.h. */
void
im_reply_parse(const char *body, size_t len, ImReply *reply)
{
	Facts		facts;

	clear_reply(reply);
	if (read_body(body, len, &facts))
		fill_reply(&facts, reply);
}

/* True if a and b are the two spellings of one type, in either order. */
static bool
are_spellings(const ImJsonText *a, const ImJsonText *b, const char *one, const char *other)
{
	return (im_json_is(a, one) && im_json_is(b, other)) ||
		(im_json_is(a, other) && im_json_is(b, one));
}

/* True if two Types are the same, the older spelling or the newer. */
static bool
same_type(const ImJsonText *a, const ImJsonText *b)
{
	return im_json_same(*a, *b) ||
		are_spellings(a, b, "Private", "Work") ||
		are_spellings(a, b, "ChatRoom", "Meeting");
}

/*
 * True if the group has the owner that was sent.  A group without owner has no
 * Owner_Account, or an empty one.
 */
static bool
same_owner(const ImJsonValue *owner, const ImJsonValue *sent)
{
	if (owner->kind != IM_JSON_STRING)
		return im_json_same(im_json_plain("", 0), sent->text);
	return im_json_same(owner->text, sent->text);
}

/* True if a group's time can be what a request with that time made of it. */
static bool
same_creation(int64_t said, int64_t sent)
{
	return said <= sent && sent - said <= IM_TIME_AHEAD;
}

/* The fields by which a group is ours, the first in compared[]. */
#define IDENTITY_FIELDS		(IM_FIELD_CREATE_TIME + 1)

/* True for what every group has. */
static bool
is_required(int field)
{
	return field == IM_FIELD_TYPE || field == IM_FIELD_NAME;
}

/* True if there are a Type and a Name to compare. */
static bool
has_type_and_name(const Facts *facts)
{
	return facts->of[KEY_TYPE].kind == IM_JSON_STRING &&
		facts->of[KEY_NAME].kind == IM_JSON_STRING;
}

/* See reply.h. */
const char *
im_field_column(ImCompared field)
{
	return compared[field].column;
}

/* Compares one field that the request has. */
static ImFound
compare_field(How how, const ImJsonValue *said, const ImJsonValue *sent)
{
	int64_t		a;
	int64_t		b;
	bool		same;

	if (how == HOW_NUMBER || how == HOW_TIME || how == HOW_FLAG)
	{
		if (!im_json_whole(sent, &a) || !im_json_whole(said, &b))
			return IM_FOUND_UNREADABLE;
		same = how == HOW_TIME ? same_creation(b, a) : a == b;
	}
	else if (how == HOW_TEXT)
		same = same_owner(said, sent);
	else if (said->kind != IM_JSON_STRING)
		return IM_FOUND_UNREADABLE;
	else
		same = how == HOW_TYPE ? same_type(&said->text, &sent->text) :
			im_json_same(said->text, sent->text);
	return same ? IM_FOUND_SAME : IM_FOUND_OTHER;
}

/* Reads the next entry of an AppDefinedData; false at its end. */
static bool
next_pair(ImJsonScan *scan, Pair *pair)
{
	Facts		facts;
	ImJsonValue value;

	while (im_json_next_item(scan, ']'))
	{
		if (im_json_peek(scan) != '{')
		{
			im_json_value(scan, &value);
			continue;
		}
		read_object(scan, &facts);
		if (facts.of[KEY_PAIR_KEY].kind != IM_JSON_STRING)
			continue;
		pair->key = facts.of[KEY_PAIR_KEY].text;
		pair->value = facts.of[KEY_PAIR_VALUE];
		return true;
	}
	return false;
}

/*
 * Reads the entries that we sent and compare, at most IM_CUSTOM_MAX, so that
 * no row can make a comparison long.  Returns how many there are.
 */
static int
sent_pairs(const ImJsonValue *list, Pair *pairs)
{
	ImJsonScan	scan = im_json_within(list);
	int			n = 0;

	if (list->kind != IM_JSON_ARRAY || !im_json_enter(&scan, '['))
		return 0;
	while (n < IM_CUSTOM_MAX && next_pair(&scan, &pairs[n]))
	{
		if (pairs[n].key.end - pairs[n].key.p <= CUSTOM_KEY_MAX)
			n++;
	}
	return n;
}

/*
 * Notes in values, one for each pair that was sent, what an AppDefinedData
 * says of its key; of a repeated key the last.
 */
static void
find_values(const ImJsonValue *list, const Pair *sent, int n, ImJsonValue *values)
{
	ImJsonScan	scan = im_json_within(list);
	Pair		pair;

	im_json_enter(&scan, '[');
	while (next_pair(&scan, &pair))
	{
		for (int i = 0; i < n; i++)
		{
			if (im_json_same(pair.key, sent[i].key))
				values[i] = pair.value;
		}
	}
}

/* True if one of the values that were sent with the i-th key is the said one. */
static bool
was_sent(const ImJsonValue *said, const Pair *sent, int n, int i)
{
	for (int j = 0; j < n; j++)
	{
		if (im_json_same(sent[j].key, sent[i].key) && same_owner(said, &sent[j].value))
			return true;
	}
	return false;
}

/*
 * Compares AppDefinedData, in whatever order; notes in *differs which of the
 * entries that were sent are another or are not there.  A value that is no
 * string is none of the documented ones: not known.
 */
static ImFound
compare_custom(const ImJsonValue *said, const ImJsonValue *sent, uint64_t *differs)
{
	Pair		pairs[IM_CUSTOM_MAX];
	ImJsonValue values[IM_CUSTOM_MAX];
	int			n = sent_pairs(sent, pairs);
	ImFound		all = IM_FOUND_SAME;

	if (said->kind != IM_JSON_ARRAY)
		return IM_FOUND_UNREADABLE;
	memset(values, 0, sizeof(values));	/* of IM_JSON_NONE: not there, empty */
	find_values(said, pairs, n, values);
	for (int i = 0; i < n; i++)
	{
		if (values[i].kind != IM_JSON_NONE && values[i].kind != IM_JSON_STRING)
			all = IM_FOUND_UNREADABLE;
		else if (!was_sent(&values[i], pairs, n, i))
			*differs |= UINT64_C(1) << i;
	}
	return *differs != 0 ? IM_FOUND_OTHER : all;
}

/* See reply.h. */
void
im_reply_extras(const char *sent, size_t len, ImExtras *extras)
{
	Pair		pairs[IM_CUSTOM_MAX];
	Facts		facts;

	extras->topic = false;
	extras->nkeys = 0;
	if (!read_body(sent, len, &facts))
		return;
	extras->topic = facts.of[KEY_TOPIC].kind != IM_JSON_NONE;
	extras->nkeys = sent_pairs(&facts.of[KEY_CUSTOM], pairs);
	for (int i = 0; i < extras->nkeys; i++)
	{
		extras->keys[i].p = pairs[i].key.p;
		extras->keys[i].len = (size_t) (pairs[i].key.end - pairs[i].key.p);
	}
}

/* True if the answer has nothing to compare with, and need not have. */
static bool
says_nothing(How how, const ImJsonValue *said)
{
	return (how == HOW_FLAG || how == HOW_CUSTOM) &&
		(said->kind == IM_JSON_NONE || (said->kind == IM_JSON_LITERAL && im_json_is(&said->text, "null")));
}

/* Compares the first so many fields of an entry with what was sent; notes which differ. */
static ImFound
compare_fields(const ImJsonValue *said, const ImJsonValue *sent, int nfields, ImSeen *seen)
{
	ImFound		all = IM_FOUND_SAME;

	for (int i = 0; i < nfields; i++)
	{
		const ImJsonValue *value = &sent[compared[i].sent];
		const ImJsonValue *other = &said[compared[i].said];
		How			how = compared[i].how;
		ImFound		one;

		if (value->kind == IM_JSON_NONE ? !is_required(i) : says_nothing(how, other))
			continue;
		if (is_required(i) && value->kind != IM_JSON_STRING)
			one = IM_FOUND_OTHER;	/* no row can have sent that: it is another's group */
		else
			one = how == HOW_CUSTOM ? compare_custom(other, value, &seen->custom) :
				compare_field(how, other, value);
		/* Of AppDefinedData its keys are noted. */
		if (one == IM_FOUND_OTHER && how != HOW_CUSTOM)
			seen->differs |= UINT32_C(1) << i;
		else if (one == IM_FOUND_UNREADABLE)
			all = IM_FOUND_UNREADABLE;
	}
	/* What is known to differ decides before what is not known. */
	return seen->differs != 0 || seen->custom != 0 ? IM_FOUND_OTHER : all;
}

/* Judges the first entry for a row; identity: only whose group it is. */
static void
check_entry(const Facts *entry, bool identity, ImRow *row)
{
	ImSeen	   *seen = &row->check;
	Facts		request;

	copy_info(&entry->of[KEY_ERROR_INFO], row->info);
	if (!im_json_whole(&entry->of[KEY_NEXT_SEQ], &seen->next_seq))
		seen->next_seq = 0;
	/* Nothing but a good code proves that a group is absent. */
	if (entry->code_bad)
		return;
	if (entry->code == CODE_NO_GROUP || entry->code == CODE_BAD_GROUP_ID)
		seen->found = IM_FOUND_ABSENT;
	else if (entry->code != 0 || (identity && !has_type_and_name(entry)))
		return;
	else if (row->item == NULL && !identity)
		seen->found = IM_FOUND_SAME;
	else if (read_body(row->item, row->item_len, &request))
		seen->found = compare_fields(entry->of, request.of, identity ? IDENTITY_FIELDS : IM_FIELDS, seen);
}

/* Nothing is known of a row. */
static void
forget(ImRow *row)
{
	row->check.found = IM_FOUND_UNREADABLE;
	row->check.differs = 0;
	row->check.custom = 0;
	row->check.next_seq = 0;
	row->info[0] = '\0';
}

/* Gives an entry to the rows that asked for it; a second one spoils them. */
static void
place_entry(const Facts *entry, ImCall *call, bool *seen)
{
	const ImJsonValue *id = &entry->of[KEY_GROUP_ID];

	for (int i = 0; id->kind == IM_JSON_STRING && i < call->nrows; i++)
	{
		ImRow	   *row = call->rows[i];

		if (!im_json_same(id->text, im_json_plain(row->group_id, strlen(row->group_id))))
			continue;
		/* Of two entries nobody can say which of them is meant. */
		if (seen[i])
			forget(row);
		else
			check_entry(entry, call->op == IM_OP_GET_GROUP_INFO, row);
		seen[i] = true;
	}
}

/* Reads the array GroupInfo; whatever else stands in it is stepped over. */
static void
read_entries(const ImJsonValue *list, ImCall *call)
{
	ImJsonScan	scan = im_json_within(list);
	bool		seen[IM_CHECK_MAX] = {false};
	Facts		entry;
	ImJsonValue value;
	int			n = 0;

	if (list->kind != IM_JSON_ARRAY || !im_json_enter(&scan, '['))
		return;
	while (im_json_next_item(&scan, ']'))
	{
		if (im_json_peek(&scan) == '{')
		{
			read_object(&scan, &entry);
			place_entry(&entry, call, seen);
			n++;
		}
		else
			im_json_value(&scan, &value);
	}
	/* A filter may leave the name out: one answer to one question is in no doubt. */
	if (n == 1 && call->nrows == 1 && entry.of[KEY_GROUP_ID].kind == IM_JSON_NONE && entry.code_seen)
		check_entry(&entry, call->op == IM_OP_GET_GROUP_INFO, call->rows[0]);
}

/* See reply.h. */
bool
im_reply_groups(ImCall *call, const char *body, size_t len, struct ImListEntry *entries, int max)
{
	bool		readable = false;
	Facts		answer;

	(void) entries;				/* they are for lists that are longer */
	(void) max;
	for (int i = 0; i < call->nrows; i++)
		forget(call->rows[i]);
	if (call->nrows > IM_CHECK_MAX || !read_body(body, len, &answer))
		return false;
	read_entries(&answer.of[KEY_GROUP_INFO], call);
	for (int i = 0; i < call->nrows; i++)
		readable = readable || call->rows[i]->check.found != IM_FOUND_UNREADABLE;
	return readable;
}
