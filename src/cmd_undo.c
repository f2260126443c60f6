/*
 * cmd_undo.c
 *	  Groups that are to be taken back: rows of im_group_outbox whose status is
 *	  undo, disbanded by destroy_group, one a call.
 *
 * To disband a group cannot be undone, so the service is asked about it before
 * each call, and it stays if it is not what was imported or if others write in
 * it.  A second call finds no group, which is as good: nothing is ever in doubt.
 *
 * Source: document 1047/34896.
 */
#include "postgres.h"

#include "utils/json.h"

#include "cmd_group.h"
#include "command.h"

const ImCommand im_cmd_undo = {
	.kind = IM_UNDO_GROUP,
	.name = "undo",
	.table = "im_group_outbox",
	.op = IM_OP_DESTROY_GROUP,
	.lookup_op = IM_OP_GET_GROUP_INFO,
	.undoes = true,
	.outbox = IM_GROUP,
	.absent_codes = {10010, 10015},
	.fields = im_group_fields,
	.nfields = IM_GROUP_FIELDS,
	.batch = 1,
	.variant_field = IM_GROUP_VARIANT,
	.noun = "group",
	.a_noun = "a group",
	.sql = {
		.extra = "o.source_id",
		.claimed = "",
		.settled = "",
		.named = "group_id",
		.unnamed = "false",
		.order = "i.id"
	},
};

/* See cmd_group.h. */
void
im_group_destroy_body(StringInfo buf, const char *group_id)
{
	appendStringInfoString(buf, "{\"GroupId\":");
	escape_json(buf, group_id);
	appendStringInfoChar(buf, '}');
}
