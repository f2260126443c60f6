/*
 * command.c
 *	  The table of commands, and what several of them share.
 */
#include "postgres.h"

#include "lib/stringinfo.h"

#include "command.h"

/* See command.h. */
const ImCommand *const im_commands[IM_KINDS] = {
#define IM_KIND(kind, name, function) [kind] = &im_cmd_##name,
#define IM_KIND_OF_OTHERS(kind, name) [kind] = &im_cmd_##name,
#include "commandlist.h"
};

/* See command.h. */
const ImCommand *
im_command_find(const char *name)
{
	for (int i = 0; i < IM_OUTBOXES; i++)
		if (pg_strcasecmp(im_commands[i]->name, name) == 0)
			return im_commands[i];
	return NULL;
}

/* See command.h. */
const ImCommand *
im_command_of_table(const char *table)
{
	for (int i = 0; i < IM_OUTBOXES; i++)
		if (strcmp(im_commands[i]->table, table) == 0)
			return im_commands[i];
	return NULL;
}

/* See command.h. */
char *
im_command_names(bool compared)
{
	StringInfoData names;
	const char *last = NULL;

	initStringInfo(&names);
	for (int i = 0; i < IM_OUTBOXES; i++)
	{
		if (compared && im_commands[i]->checkup == NULL)
			continue;
		if (last != NULL)
			appendStringInfo(&names, "%s%s", names.len > 0 ? ", " : "", last);
		last = im_commands[i]->name;
	}
	appendStringInfo(&names, "%s%s", names.len > 0 ? " and " : "", last != NULL ? last : "");
	return names.data;
}

/* See command.h. */
bool
im_joins_any(const ImCall *call, const ImRow *row)
{
	return true;
}

/* See command.h. */
bool
im_joins_key(const ImCall *call, const ImRow *row)
{
	return call->rows[0]->key != NULL && row->key != NULL && strcmp(call->rows[0]->key, row->key) == 0;
}

/* See command.h. */
const char *
im_differs_column(int differs)
{
	static const char *const columns[] = {
		[IM_DIFFERS_ROLE] = "role",
		[IM_DIFFERS_SENDER] = "from_account",
		[IM_DIFFERS_TIME] = "send_time",
		[IM_DIFFERS_TEXT] = "text",
		[IM_DIFFERS_BODY] = "body"
	};

	return columns[differs];
}
