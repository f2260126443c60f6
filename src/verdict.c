/*
 * verdict.c
 *	  What came back of a call: the verdict on it, and on each of its rows.
 *
 * The surprising rule: an ErrorCode of 0 is no "done" for the rows of a call with
 * a list.  Only what the answer says of each of them counts.
 *
 * Must not know: PostgreSQL, libcurl, what follows from a verdict.
 */
#include "verdict.h"

#include <stdio.h>
#include <string.h>

#include "batch.h"
#include "errcodes.h"
#include "results.h"

/* See verdict.h. */
bool
im_verdict_makes_group(const ImCall *call)
{
	return call->command != NULL && call->command->makes_groups && call->op == call->command->op;
}

/* See verdict.h. */
void
im_verdict_read(ImCall *call, ImReader read, bool own_codes, const char *body, size_t len,
				ImListEntry *entries, int max)
{
	if ((own_codes || (call->reply.readable && call->reply.code == 0)) &&
		read(call, body, len, entries, max))
		call->found = IM_FOUND_SAME;
}

/* True if a code says that there was nothing left to do, which is as good as done. */
static bool
says_done(const ImCall *call)
{
	const ImCommand *command = call->command;

	return command != NULL && call->op == command->op && call->reply.readable && call->reply.code != 0 &&
		(call->reply.code == command->done_codes[0] || call->reply.code == command->done_codes[1]);
}

/* See verdict.h. */
void
im_verdict_judge(ImCall *call, ImExchange *exchange)
{
	exchange->op = call->op;
	exchange->reply = &call->reply;
	exchange->found = call->found;
	exchange->group_id = im_verdict_makes_group(call) ? call->rows[0]->group_id : "";
	exchange->class = im_error_find(call->reply.code)->class;
	exchange->documented = im_error_documented(call->reply.code);
	if (call->reply.code < 0)
	{
		/* Negative codes are ours; the service has no business with them. */
		exchange->class = IM_CLASS_RETRY;
		exchange->documented = false;
	}
	else if (says_done(call))
		exchange->class = IM_CLASS_DONE;
	im_judge(exchange, &call->verdict);
	call->verdict.retry_after = call->retry_after;
}

/*
 * An ErrorCode of 0 beside which nothing can be read of any row is no answer: if
 * that goes on, it is the service as a whole.
 */
static void
tells_nothing(ImCall *call)
{
	call->verdict.outcome = IM_OUT_UNKNOWN;
	call->verdict.code = IM_CODE_UNREADABLE;
	call->reply.readable = false;
}

/* See verdict.h. */
bool
im_verdict_rows(ImCall *call, const ImExchange *exchange, const char *body, size_t len,
				ImListEntry *entries, int max)
{
	bool		listed = call->command != NULL && call->op == call->command->op &&
		call->command->list != NULL;

	if (call->op == IM_OP_GET_GROUP_INFO)
		im_batch_looked_up(call, exchange);
	if (im_op_asks(call->op))
		return true;
	if (listed && call->verdict.outcome == IM_OUT_DONE)
	{
		if (im_results_read(call, body, len, entries, max))
			return true;
		tells_nothing(call);
		return false;
	}
	for (int i = 0; i < call->nrows; i++)
	{
		ImRow	   *row = call->rows[i];

		row->verdict = call->verdict;
		row->verdict.of_item = call->nrows == 1 && !listed;
		snprintf(row->info, sizeof(row->info), "%s", call->reply.info);
		if (im_verdict_makes_group(call) && call->reply.group_id[0] != '\0')
			snprintf(row->said_id, sizeof(row->said_id), "%s", call->reply.group_id);
	}
	return true;
}
