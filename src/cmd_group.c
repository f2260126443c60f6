/*
 * cmd_group.c
 *	  Groups: rows of im_group_outbox, sent by import_group, one a call; and
 *	  taken back by destroy_group.
 *
 * A GroupId decides what a second call does: the service refuses one that is
 * taken, so a row with an id of its own, or with one that was generated from
 * its row_key, can be sent again.  Where the service chooses the id it cannot.
 *
 * Source of fields and limits: the service's import_group page, document
 * 1047/34967, and its group system, document 1047/33529.
 */
#include "postgres.h"

#include "utils/builtins.h"
#include "utils/json.h"

#include "cmd_group.h"
#include "reply.h"
#include "rules.h"

#define MEMBERS_MAX			6000
#define MEMBERS_MAX_COMMUNITY 100000

/* What the type column says. */
enum
{
	TYPE_UNKNOWN,				/* rules that depend on the type do not apply */
	TYPE_ORDINARY,
	TYPE_COMMUNITY,
	TYPE_REFUSED				/* AVChatRoom: exists, cannot be imported */
};

static void check_type(ImEncoder *enc, const ImField *field, const ImText *text, int64 number);
static void check_group_id(ImEncoder *enc, const ImField *field, const ImText *text, int64 number);
static void check_members(ImEncoder *enc, const ImField *field, const ImText *text, int64 number);
static void check_join_option(ImEncoder *enc, const ImField *field, const ImText *text, int64 number);
static void check_topic(ImEncoder *enc, const ImField *field, const ImText *text, int64 number);

static const char *column_of(int differs);
static void compose_destroy(StringInfo body, const ImCall *call);

static const ImWord type_words[] = {
	{"Public", "Public", TYPE_ORDINARY},
	{"Private", "Private", TYPE_ORDINARY},
	{"Work", "Private", TYPE_ORDINARY},
	{"ChatRoom", "ChatRoom", TYPE_ORDINARY},
	{"Meeting", "ChatRoom", TYPE_ORDINARY},
	{"Community", "Community", TYPE_COMMUNITY},
	{"AVChatRoom", "AVChatRoom", TYPE_REFUSED},
	{NULL, NULL, 0}
};

static const ImWord join_words[] = {
	{"FreeAccess", "FreeAccess", 0},
	{"NeedPermission", "NeedPermission", 0},
	{"DisableApply", "DisableApply", 0},
	{NULL, NULL, 0}
};

/*
 * The fields in the order of the import page's sample request.  The second
 * limit is what newer SDK documents say.
 */
static const ImField fields[] = {
	{.column = "owner_account",.sent = "Owner_Account",.kind = IM_VALUE_TEXT,
	.flags = IM_FIELD_NONEMPTY,.limit = {32, 32},.check = im_check_user_id},
	{.column = "type",.sent = "Type",.kind = IM_VALUE_WORD,
		.flags = IM_FIELD_REQUIRED | IM_FIELD_NONEMPTY,.words = type_words,
		.allowed = "Public, Private (or Work), ChatRoom (or Meeting) and Community",
	.check = check_type},
	{.column = "group_id",.sent = "GroupId",.kind = IM_VALUE_TEXT,
	.flags = IM_FIELD_NONEMPTY,.limit = {48, 48},.check = check_group_id},
	{.column = "name",.sent = "Name",.kind = IM_VALUE_TEXT,
	.flags = IM_FIELD_REQUIRED | IM_FIELD_NONEMPTY,.limit = {30, 100},.check = im_check_line},
	{.column = "introduction",.sent = "Introduction",.kind = IM_VALUE_TEXT,
	.limit = {240, 400},.check = im_check_lines},
	{.column = "notification",.sent = "Notification",.kind = IM_VALUE_TEXT,
	.limit = {300, 400},.check = im_check_lines},
	{.column = "face_url",.sent = "FaceUrl",.kind = IM_VALUE_TEXT,
	.limit = {100, 500},.check = im_check_line},
	{.column = "max_member_count",.sent = "MaxMemberCount",.kind = IM_VALUE_COUNT,
	.check = check_members},
	{.column = "apply_join_option",.sent = "ApplyJoinOption",.kind = IM_VALUE_WORD,
		.flags = IM_FIELD_NONEMPTY,.words = join_words,
		.allowed = "FreeAccess, NeedPermission and DisableApply",
	.check = check_join_option},
	{.column = "create_time",.sent = "CreateTime",.kind = IM_VALUE_TIME},
	{.column = "app_defined_data",.sent = "AppDefinedData",.kind = IM_VALUE_CUSTOM},
	{.column = "support_topic",.sent = "SupportTopic",.kind = IM_VALUE_FLAG,.check = check_topic},
};

static const ImCheckup checkup = {
	.each = {.op = IM_OP_CHECK_GROUPS,.batch = IM_CHECK_MAX,.joins = im_joins_any,
	.has_basic = true},
	.column = column_of
};

/* What both commands have. */
#define ROWS_OF_GROUPS \
	.table = "im_group_outbox", .lookup_op = IM_OP_GET_GROUP_INFO, .fields = fields, .nfields = lengthof(fields), \
	.batch = 1, .variant_field = 1, .noun = "group", .a_noun = "a group"

const ImCommand im_cmd_group = {
	.kind = IM_GROUP,
	.name = "group",
	ROWS_OF_GROUPS,
	.op = IM_OP_IMPORT_GROUP,
	.lookup_batch = IM_CHECK_MAX,
	.function = "im_import_group",
	.change_hint = "The group exists: change it in the app. For another group insert another row. If somebody disbanded the group, CALL im_import_verify() first: a row that it calls missing can be sent again. To have the group disbanded, set its status to undo.",
	.makes_groups = true,
	.after_accounts = true,
	.sql = {
		.extra = "o.source_id",
		.claimed = "group_id = v.word, ",
		.settled = "group_id = COALESCE(v.word, o.group_id),",
		.named = "group_id",
		.unnamed = "group_id IS NULL",
		.askable = "i.group_id IS NOT NULL",
		.resolved = "group_id = COALESCE($3, group_id),",
		.users = "o.owner_account"
	},
	.checkup = &checkup,
	.record_hint = "Give the record named columns, at least type and name: a row of a table, or of a subquery as in FROM (SELECT 'Public' AS type, title AS name FROM rooms) AS r."
};

/*
 * Groups that are to be taken back: rows whose status is undo, disbanded by
 * destroy_group, one a call.  That cannot be undone, so the service is asked
 * about the group before each call, and it stays if it is not what was imported
 * or if others write in it.  A second call finds no group, which is as good:
 * nothing is ever in doubt.  Source: document 1047/34896.
 */
const ImCommand im_cmd_undo = {
	.kind = IM_UNDO_GROUP,
	.name = "undo",
	ROWS_OF_GROUPS,
	.op = IM_OP_DESTROY_GROUP,
	.compose = compose_destroy,
	.undoes = true,
	.outbox = IM_GROUP,
	.done_codes = {10010, 10015},
	.sql = {.extra = "o.source_id",.named = "group_id"},
};

/* AVChatRoom has a code and a way out of its own. */
static void
check_type(ImEncoder *enc, const ImField *field, const ImText *text, int64 number)
{
	if (enc->variant != TYPE_REFUSED)
		return;
	im_record_problem(enc, psprintf("%s is \"AVChatRoom\", which import_group does not support: make the group with create_group and modify_group_base_info",
									field->column));
	enc->item->problem_code = 10007;
}

/* The prefix that a GroupId must or must not have, if the type is known. */
static void
check_group_id_prefix(ImEncoder *enc, const ImField *field, const ImText *text)
{
	bool		community = enc->variant == TYPE_COMMUNITY;
	char	   *quoted = im_record_quote(text);

	/* The type's own problem is said already. */
	if (enc->variant == TYPE_UNKNOWN)
		return;
	if (community && strncmp(text->utf8, "@TGS#_", 6) != 0)
		im_record_problem(enc, psprintf("%s of a Community must begin with \"@TGS#_\": %s",
										field->column, quoted));
	else if (!community && strncmp(text->utf8, "@TGS#", 5) == 0)
		im_record_problem(enc, psprintf("%s must not begin with \"@TGS#\", which is reserved for the service: %s",
										field->column, quoted));
	else if (!community && strncmp(text->utf8, "@TGS", 4) == 0)
		im_record_warning(enc, psprintf("%s begins with \"@TGS\", which newer documents reserve: %s",
										field->column, quoted));
}

/* GroupId: printable ASCII, and the prefix. */
static void
check_group_id(ImEncoder *enc, const ImField *field, const ImText *text, int64 number)
{
	im_check_group_id(enc, field, text, number);
	check_group_id_prefix(enc, field, text);
	if (text->len > 0 && (text->utf8[0] == ' ' || text->utf8[text->len - 1] == ' '))
		im_record_warning(enc, psprintf("%s begins or ends with a space: %s",
										field->column, im_record_quote(text)));
}

/* MaxMemberCount: the limit depends on the type. */
static void
check_members(ImEncoder *enc, const ImField *field, const ImText *text, int64 count)
{
	bool		community = enc->variant == TYPE_COMMUNITY;
	int64		limit = community ? MEMBERS_MAX_COMMUNITY : MEMBERS_MAX;

	if (count < 1)
		im_record_problem(enc, psprintf("%s is " INT64_FORMAT ", the least is 1", field->column, count));
	else if (count > limit)
		im_record_problem(enc, psprintf("%s is " INT64_FORMAT ", the limit is " INT64_FORMAT "%s (" INT64_FORMAT " over)",
										field->column, count, limit,
										community ? " for a Community" : "", count - limit));
}

/* ApplyJoinOption does not exist for a Community. */
static void
check_join_option(ImEncoder *enc, const ImField *field, const ImText *text, int64 number)
{
	if (enc->variant == TYPE_COMMUNITY)
		im_record_problem(enc, psprintf("%s does not exist for a Community: leave it NULL", field->column));
}

/* SupportTopic exists for a Community only. */
static void
check_topic(ImEncoder *enc, const ImField *field, const ImText *text, int64 number)
{
	if (enc->variant != TYPE_UNKNOWN && enc->variant != TYPE_COMMUNITY)
		im_record_problem(enc, psprintf("%s exists for a Community only: leave it NULL", field->column));
}

/* See cmd_group.h. */
bool
im_group_is_community(const ImRecordMap *map, const Datum *values, const bool *nulls)
{
	return im_record_variant(map, values, nulls) == TYPE_COMMUNITY;
}

/*
 * Base32 of RFC 4648 in lower case, without padding: 26 characters, so that
 * the longest id has 35 of the 48 bytes allowed.
 */
void
im_group_generate_id(const unsigned char *row_key, bool community, char *out)
{
	static const char alphabet[] = "abcdefghijklmnopqrstuvwxyz234567";
	uint32		bits = 0;
	int			nbits = 0;
	int			i;

	out += sprintf(out, community ? "@TGS#_im-" : "im-");
	for (i = 0; i < 16; i++)
	{
		bits = bits << 8 | row_key[i];
		/* Five bits a character; the rest waits for the next byte. */
		for (nbits += 8; nbits >= 5; nbits -= 5)
			*out++ = alphabet[bits >> (nbits - 5) & 31];
	}
	*out++ = alphabet[bits << (5 - nbits) & 31];
	*out = '\0';
}

/* True if an earlier row of the call asks for the same group. */
static bool
is_asked_for(const ImCall *call, int i)
{
	for (int j = 0; j < i; j++)
		if (strcmp(call->rows[j]->group_id, call->rows[i]->group_id) == 0)
			return true;
	return false;
}

/* Body of destroy_group. */
static void
compose_destroy(StringInfo body, const ImCall *call)
{
	appendStringInfoChar(body, '{');
	im_put_text(body, "GroupId", call->rows[0]->group_id);
	appendStringInfoChar(body, '}');
}

/* Appends the keys to a list of those of other rows, each but once. */
static List *
add_keys(List *keys, const ImExtras *extras)
{
	for (int i = 0; i < extras->nkeys; i++)
	{
		char	   *key = pnstrdup(extras->keys[i].p, extras->keys[i].len);
		ListCell   *lc;

		foreach(lc, keys)
			if (strcmp(lfirst(lc), key) == 0)
				break;
		if (lc == NULL)
			keys = lappend(keys, key);
	}
	return keys;
}

/*
 * Asks for what rows of this call have beyond what every lookup asks for.
 * Only then: the documents do not say that SupportTopic may be asked for, and
 * a service that does not know it must not refuse the other calls.
 */
static void
ask_for_extras(StringInfo body, const ImCall *call)
{
	List	   *keys = NIL;
	bool		topic = false;
	ListCell   *lc;

	for (int i = 0; i < call->nrows; i++)
	{
		ImExtras	extras;

		im_reply_extras(call->rows[i]->item, call->rows[i]->item_len, &extras);
		topic |= extras.topic;
		keys = add_keys(keys, &extras);
	}
	appendStringInfoString(body, topic ? ",\"SupportTopic\"]" : "]");
	foreach(lc, keys)
		appendStringInfo(body, "%s\"%s\"", foreach_current_index(lc) == 0 ?
						 ",\"AppDefinedDataFilter_Group\":[" : ",", (char *) lfirst(lc));
	if (keys != NIL)
		appendStringInfoChar(body, ']');
}

/* See command.h. */
void
im_group_ask(StringInfo body, ImCall *call, bool basic)
{
	const char *comma = "";

	appendStringInfoString(body, "{\"GroupIdList\":[");
	for (int i = 0; i < call->nrows; i++)
	{
		if (is_asked_for(call, i))
			continue;
		appendStringInfoString(body, comma);
		escape_json(body, call->rows[i]->group_id);
		comma = ",";
	}
	appendStringInfoString(body, "],\"ResponseFilter\":{\"GroupBaseInfoFilter\":"
						   "[\"Type\",\"Name\",\"Owner_Account\",\"CreateTime\"");
	if (call->op == IM_OP_CHECK_GROUPS)
		appendStringInfoString(body, ",\"Introduction\",\"Notification\",\"FaceUrl\",\"MaxMemberNum\",\"ApplyJoinOption\"");
	else if (call->command->undoes)
		appendStringInfoString(body, ",\"NextMsgSeq\"");
	if (basic)
		appendStringInfoChar(body, ']');
	else
		ask_for_extras(body, call);
	appendStringInfoString(body, "}}");
}

/* get_appid_group_list: the page of the app's groups that begins there. */
void
im_group_ask_page(StringInfo body, ImCall *call, bool basic)
{
	appendStringInfo(body, "{\"Next\":" INT64_FORMAT, call->page->from);
	if (call->page->limit > 0)
		appendStringInfo(body, ",\"Limit\":%d", call->page->limit);
	appendStringInfoChar(body, '}');
}

/* The column that an ImCompared is about. */
static const char *
column_of(int differs)
{
	return im_field_column((ImCompared) differs);
}
