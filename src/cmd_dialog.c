/*
 * cmd_dialog.c
 *	  One-to-one messages: rows of im_dialog_outbox, sent by importmsg as
 *	  history (nobody is told, nothing is unread), one a call.
 *
 * The service drops a second message of the same MsgSeq, MsgRandom and time
 * between the same two, in either direction.  Both numbers are made of the row,
 * so a second call changes nothing, and two rows never agree in both.  MsgSeq
 * orders the messages of one second: it is made of the id.
 *
 * Source: document 1047/35014.
 */
#include "postgres.h"

#include "elements.h"
#include "record.h"

#define FROM_OLD_SYSTEM		2	/* history: not counted as unread, not pushed */

static void finish(ImEncoder *enc);

static const ImField fields[] = {
	{.column = "from_account",.sent = "From_Account",.kind = IM_VALUE_TEXT,
		.flags = IM_FIELD_REQUIRED | IM_FIELD_NONEMPTY,.limit = {32, 32},
	.check = im_check_user_id},
	{.column = "to_account",.sent = "To_Account",.kind = IM_VALUE_TEXT,
		.flags = IM_FIELD_REQUIRED | IM_FIELD_NONEMPTY,.limit = {32, 32},
	.check = im_check_user_id},
	{.column = "send_time",.sent = "MsgTimeStamp",.kind = IM_VALUE_TIME,
	.flags = IM_FIELD_REQUIRED},
	{.column = "text",.kind = IM_VALUE_TEXT,.flags = IM_FIELD_UNSENT | IM_FIELD_NONEMPTY,
	.check = im_check_text},
	{.column = "body",.kind = IM_VALUE_JSON,.flags = IM_FIELD_UNSENT,.check = im_check_dialog_body},
};

const ImCommand im_cmd_dialog = {
	.kind = IM_DIALOG,
	.name = "dialog",
	.table = "im_dialog_outbox",
	.op = IM_OP_IMPORT_DIALOG,
	.fields = fields,
	.nfields = lengthof(fields),
	.batch = 1,
	.variant_field = -1,
	.after_accounts = true,
	.finish = finish,
	.function = "im_import_dialog",
	.noun = "message",
	.a_noun = "a message",
	.change_hint = "It is in the app: change it there.",
	.harmless = true,
	.sql = IM_SQL_PLAIN,
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
