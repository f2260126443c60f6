/*
 * cmd_dialog.c
 *	  One-to-one messages: rows of im_dialog_outbox, sent by importmsg as
 *	  history (nobody is told, nothing is unread), one a call.
 *
 * The service drops a second message of the same MsgSeq, MsgRandom and time
 * between the same two, in either direction.  Both numbers are made of the row,
 * so a second call changes nothing, and two rows never agree in both.  MsgSeq
 * orders the messages of one second: it is made of the id.  Which code a second
 * one gets is not documented; after a refusal admin_getroammsg tells whether the
 * first has arrived.
 *
 * Source: document 1047/35014; of admin_getroammsg 1047/35478, whose two
 * accounts newer pages name otherwise: these names are used after a refusal.
 */
#include "postgres.h"

#include "lib/stringinfo.h"

#include "elements.h"
#include "rules.h"

#define FROM_OLD_SYSTEM		2	/* history: not counted as unread, not pushed */

#define READ_MAX			100 /* messages in one admin_getroammsg */

static void finish(ImEncoder *enc);

static const ImField fields[] = {
	{.column = "from_account",.sent = "From_Account",.kind = IM_VALUE_TEXT,
		.flags = IM_FIELD_REQUIRED | IM_FIELD_NONEMPTY,.limit = {32, 32},
	.check = im_check_user_id},
	{.column = "to_account",.sent = "To_Account",.kind = IM_VALUE_TEXT,
		.flags = IM_FIELD_REQUIRED | IM_FIELD_NONEMPTY,.limit = {32, 32},
	.check = im_check_user_id},
	{.column = "send_time",.sent = "MsgTimeStamp",.kind = IM_VALUE_TIME,
	.flags = IM_FIELD_REQUIRED | IM_FIELD_EXACT},
	{.column = "text",.kind = IM_VALUE_TEXT,.flags = IM_FIELD_UNSENT | IM_FIELD_NONEMPTY | IM_FIELD_EITHER,
	.check = im_check_text},
	{.column = "body",.kind = IM_VALUE_JSON,.flags = IM_FIELD_UNSENT,.check = im_check_dialog_body},
};

static const ImAdvice advice[] = {
	{90003, IM_NEEDS_ACCOUNT},
	{90008, IM_NEEDS_ACCOUNT},
	{90012, IM_NEEDS_ACCOUNT},
	{90048, IM_NEEDS_ACCOUNT},
	IM_ADVICE_OF_TEXTS,
	{0, NULL}
};

static const ImCheckup checkup = {
	.each = {.op = IM_OP_CHECK_DIALOG,.batch = 1,.joins = im_joins_any,.has_newer_names = true},
	.column = im_differs_column
};

const ImCommand im_cmd_dialog = {
	.kind = IM_DIALOG,
	.name = "dialog",
	.table = "im_dialog_outbox",
	.op = IM_OP_IMPORT_DIALOG,
	.explain_op = IM_OP_CHECK_DIALOG,
	.there_is_done = true,
	.fields = fields,
	.nfields = lengthof(fields),
	.batch = 1,
	.variant_field = -1,
	.after_accounts = true,
	.finish = finish,
	.function = "im_import_dialog",
	.noun = "message",
	.a_noun = "a message",
	.advice = advice,
	.change_hint = "It is in the app: change it there. What im_import_verify() calls missing can be sent again.",
	.harmless = true,
	.sql = {.users = "o.from_account, o.to_account"},
	.checkup = &checkup,
	.record_hint = "Give the record named columns, at least from_account, to_account, send_time and one of text and body."
};

/* What importmsg wants beside the record. */
static void
finish(ImEncoder *enc)
{
	im_check_one_body(enc);
	im_record_number(enc, "SyncFromOldSystem", FROM_OLD_SYSTEM);
	im_record_number(enc, "MsgSeq", (int64) ((uint64) enc->encoding->id & 0xffffffff));
	im_record_number(enc, "MsgRandom", enc->encoding->random);
}

/* A member of what was sent, as it stands there. */
static void
put_member(StringInfo body, const ImRow *row, const char *name, const char *as)
{
	ImJsonScan	scan = im_json_begin(row->item, row->item_len);
	ImJsonValue item;
	ImJsonValue value;
	const char *quote;

	im_json_value(&scan, &item);
	value = im_json_member(&item, name);
	quote = value.kind == IM_JSON_STRING ? "\"" : "";
	appendStringInfo(body, "\"%s\":%s%.*s%s,", as, quote, (int) (value.text.end - value.text.p),
					 value.text.p, quote);
}

/*
 * admin_getroammsg: what the two said to each other in that second, a page of it;
 * or whether there is anything as old.
 */
void
im_dialog_ask(StringInfo body, ImCall *call, bool basic)
{
	const ImRow *row = call->rows[0];
	const ImSeen *check = &row->check;

	appendStringInfoChar(body, '{');
	if (check->newer_names)
	{
		put_member(body, row, "From_Account", "Operator_Account");
		put_member(body, row, "To_Account", "Peer_Account");
	}
	else
	{
		put_member(body, row, "From_Account", "From_Account");
		put_member(body, row, "To_Account", "To_Account");
	}
	if (check->looks_back)
		appendStringInfoString(body, "\"MinTime\":0,");
	else
		put_member(body, row, "MsgTimeStamp", "MinTime");
	/* The next page begins at the time of the last message, which is the same second. */
	put_member(body, row, "MsgTimeStamp", "MaxTime");
	if (check->page_key[0] != '\0')
	{
		im_put_text(body, "LastMsgKey", check->page_key);
		appendStringInfoChar(body, ',');
	}
	appendStringInfo(body, "\"MaxCnt\":%d}", check->looks_back ? 1 : READ_MAX);
}
