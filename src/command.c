/*
 * command.c
 *	  The table of commands, what its entries must say, and what several of them
 *	  share.
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

/* ------------------------------------------------------------------------
 * What an entry must say
 */

/* An entry that breaks a rule would show it in the middle of a move, if at all. */
static void
require(const ImCommand *command, bool holds, const char *rule)
{
	if (!holds)
		elog(ERROR, "im_import: the command \"%s\" cannot work: %s", command->name, rule);
}

/* True if the command's record has a column of that name. */
static bool
has_column(const ImCommand *command, const char *name)
{
	for (int i = 0; i < command->nfields; i++)
		if (strcmp(command->fields[i].column, name) == 0)
			return true;
	return false;
}

/* What messages and statements call it. */
static void
check_names(const ImCommand *command)
{
	char		table[NAMEDATALEN];

	require(command, command->name != NULL && command->table != NULL, "it needs .name and .table");
	require(command, command->noun != NULL && command->a_noun != NULL, "it needs .noun and .a_noun");
	if (command->undoes)
		return;
	snprintf(table, sizeof(table), "im_%s_outbox", command->name);
	require(command, strcmp(command->table, table) == 0, ".table must be im_NAME_outbox");
	require(command, command->function != NULL && command->change_hint != NULL && command->record_hint != NULL,
			"it needs .function, .change_hint and .record_hint");
}

/* How its rows go into calls, and are told apart in the answer. */
static void
check_calls(const ImCommand *command)
{
	const ImCheckup *checkup = command->checkup;

	require(command, command->op != IM_OP_NONE, "it needs .op");
	require(command, command->batch == 1 || (command->batch > 1 && command->list != NULL),
			".batch must be 1, or more with .list");
	require(command, command->list == NULL || command->answer.list != NULL, ".list needs .answer.list");
	require(command, (command->answer.id == NULL && !command->listed_failed) || im_command_has(command, IM_FIELD_ID),
			".answer.id and .listed_failed need a field with IM_FIELD_ID");
	/* Else rows of two groups would share a call. */
	require(command, !(command->serial || (command->roomed && command->list != NULL)) ||
			im_command_has(command, IM_FIELD_KEY),
			".serial, and .list of a roomed kind, need a field with IM_FIELD_KEY");
	require(command, !(command->there_is_done || command->explain_batch > 0) || command->explain_op != IM_OP_NONE,
			".there_is_done and .explain_batch need .explain_op");
	require(command, checkup == NULL ||
			(checkup->each.op != IM_OP_NONE && checkup->each.batch > 0 && checkup->each.joins != NULL),
			".checkup needs .each with .op, .batch and .joins");
	require(command, command->undoes || (checkup == NULL) == (command->not_compared != NULL),
			"it needs one of .checkup and .not_compared");
}

/* What a second call does; see repeat_of() in queue.c. */
static void
check_repeat(const ImCommand *command)
{
	require(command, command->harmless ||
			(command->lookup_op != IM_OP_NONE && (command->undoes || command->makes_groups || command->ordered)),
			"it must be .harmless, or have .lookup_op and be one of .undoes, .makes_groups and .ordered");
}

/* What rows of a group need. */
static void
check_room(const ImCommand *command)
{
	bool		staged = command->kind >= IM_FIRST_STAGE && command->kind <= IM_LAST_STAGE;

	require(command, command->roomed == staged, "kinds from IM_FIRST_STAGE on, and no others, must be .roomed");
	require(command, command->roomed == (command->counted != NULL), ".roomed and .counted go together");
	require(command, !command->roomed || (has_column(command, "group_source_id") && has_column(command, "group_id")),
			".roomed needs IM_ROOM_FIELDS");
	require(command, !command->roomed || command->finish != NULL, ".roomed needs .finish, with im_check_room()");
	require(command, !command->ordered || (command->roomed && command->sql.order != NULL && has_column(command, "send_time")),
			".ordered needs .roomed, .sql.order and a column send_time");
	require(command, command->in_turn == NULL || command->roomed, ".in_turn needs .roomed");
	require(command, command->undone_by == NULL || (command->roomed && command->undone_by->roomed),
			".undone_by is of .roomed kinds");
	require(command, !command->roomed || !command->after_accounts,
			".after_accounts is of kinds that are not .roomed: mark the field of the user with IM_FIELD_USER");
	require(command, command->roomed || !im_command_has(command, IM_FIELD_USER), "IM_FIELD_USER needs .roomed");
}

/* What a field needs to be read and sent. */
static void
check_field(const ImCommand *command, const ImField *field)
{
	require(command, field->column != NULL, "a field needs .column");
	require(command, field->sent != NULL || (field->flags & IM_FIELD_UNSENT), "a field needs .sent, or IM_FIELD_UNSENT");
	require(command, (field->limit[0] > 0) == (field->limit[1] > 0),
			"a field needs both .limit, of text_limits 'page' and 'sdk', or none");
	require(command, field->kind != IM_VALUE_WORD || (field->words != NULL && field->allowed != NULL),
			"a field of IM_VALUE_WORD needs .words and .allowed");
	require(command, field->kind != IM_VALUE_JSON || field->check != NULL, "a field of IM_VALUE_JSON needs .check");
	require(command, field->kind != IM_VALUE_TEXTS || (field->limit[0] > 0 && field->most > 0),
			"a field of IM_VALUE_TEXTS needs .limit and .most");
}

/* See command.h. */
void
im_commands_check(void)
{
	for (int kind = 0; kind < IM_KINDS; kind++)
	{
		const ImCommand *command = im_commands[kind];
		int			variant = command->variant_field;

		require(command, command->kind == (ImKind) kind, ".kind must be that of its line in commandlist.h");
		for (int i = 0; i < command->nfields; i++)
			check_field(command, &command->fields[i]);
		require(command, variant == -1 ||
				(variant >= 0 && variant < command->nfields && command->fields[variant].kind == IM_VALUE_WORD),
				".variant_field must be the place of a field of IM_VALUE_WORD, or -1");
		check_names(command);
		check_calls(command);
		check_repeat(command);
		check_room(command);
	}
}

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
