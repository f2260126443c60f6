/*
 * cmd_account.c
 *	  Accounts: rows of im_account_outbox, sent by multiaccount_import, many a
 *	  call.  A second call changes nothing.
 *
 * The answer only lists the UserIDs that failed, without a reason: each of them
 * is sent once more by account_import, whose answer has a code.
 *
 * Source: documents 1047/34953 and 1047/34954; of account_check 269/38417.
 */
#include "postgres.h"

#include "lib/stringinfo.h"
#include "utils/json.h"

#include "rules.h"

#define CHECK_BATCH			100 /* accounts in one account_check, as documented */

static const ImField fields[] = {
	{.column = "user_id",.sent = "UserID",.kind = IM_VALUE_TEXT,
		.flags = IM_FIELD_REQUIRED | IM_FIELD_NONEMPTY | IM_FIELD_ID,.limit = {32, 32},
	.check = im_check_user_id},
	{.column = "nick",.sent = "Nick",.kind = IM_VALUE_TEXT,.limit = {500, 500}},
	{.column = "face_url",.sent = "FaceUrl",.kind = IM_VALUE_TEXT,.limit = {500, 500}},
};

static const ImAdvice advice[] = {
	{70399, "Choose another user_id, here and in the other outboxes, in an UPDATE that also sets status = 'pending'; or wait until it may be used again, then call im_import_retry(70399)."},
	{0, NULL}
};

static const ImCheckup checkup = {
	.each = {.op = IM_OP_CHECK_ACCOUNTS,.batch = CHECK_BATCH,.joins = im_joins_any},
};

const ImCommand im_cmd_account = {
	.kind = IM_ACCOUNT,
	.name = "account",
	.table = "im_account_outbox",
	.op = IM_OP_IMPORT_ACCOUNTS,
	.single_op = IM_OP_IMPORT_ACCOUNT,
	.list = "AccountList",
	.answer = {.list = "FailAccounts"},
	.listed_failed = true,
	.fields = fields,
	.nfields = lengthof(fields),
	.batch = 100,
	.rate = 100,
	.variant_field = -1,
	.function = "im_import_account",
	.noun = "account",
	.a_noun = "an account",
	.advice = advice,
	.change_hint = "It is in the app: change it there. What im_import_verify() calls missing can be sent again.",
	.harmless = true,
	.checkup = &checkup,
	.record_hint = "Give the record named columns, at least user_id: a row of a table, or of a subquery as in FROM (SELECT login AS user_id FROM users) AS r."
};

/* account_check: which of these accounts there are. */
void
im_account_ask(StringInfo body, ImCall *call, bool basic)
{
	appendStringInfoString(body, "{\"CheckItem\":[");
	for (int i = 0; i < call->nrows; i++)
	{
		appendStringInfoString(body, i > 0 ? ",{\"UserID\":" : "{\"UserID\":");
		escape_json(body, call->rows[i]->name);
		appendStringInfoChar(body, '}');
	}
	appendStringInfoString(body, "]}");
}
