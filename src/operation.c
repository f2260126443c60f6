/*
 * operation.c
 *	  The operations of the service, as commandlist.h has them.
 */
#include "postgres.h"

#include "lib/stringinfo.h"

#include "operation.h"

#define REPLY_SMALL			(64 * 1024)
#define REPLY_LARGE			(1024 * 1024)	/* no answer of the service is larger */

/* See operation.h. */
const ImOperation im_operations[IM_OPS] = {
#define IM_IMPORT(op, kind, path, reply_cap) \
	[op] = {kind, path, reply_cap, 0, NULL, NULL, false},
#define IM_QUESTION(op, limiter, kind, path, reply_cap, rate, ask, read, own_codes) \
	[op] = {kind, path, reply_cap, rate, ask, read, own_codes},
#include "commandlist.h"
};

/* See operation.h. */
void
im_question_compose(ImCall *call, bool basic)
{
	StringInfoData body;

	initStringInfo(&body);
	im_operations[call->op].ask(&body, call, basic);
	call->body = body.data;
	call->body_len = (size_t) body.len;
}
