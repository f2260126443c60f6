/*
 * answer.c
 *	  Reads lists out of the service's answers: what it says of each item.
 *
 * Must never throw or allocate: an answer may arrive after rows were applied.
 */
#include "answer.h"

#include <string.h>

/* Takes a number, if the value is one. */
static void
take_number(const ImJsonValue *value, bool *has, int64_t *number)
{
	*has = im_json_whole(value, number);
	if (!*has)
		*number = 0;
}

/* Takes a text, if the value is one. */
static void
take_text(const ImJsonValue *value, bool *has, ImJsonText *text)
{
	*has = value->kind == IM_JSON_STRING;
	if (*has)
		*text = value->text;
}

/* True if a member has that name, which may be NULL for none. */
static bool
is_word(const ImJsonText *name, const char *word)
{
	return word != NULL && im_json_is(name, word);
}

/* Takes one member of an entry. */
static void
take_member(const ImListWords *words, const ImJsonText *name, const ImJsonValue *value,
			ImListEntry *entry)
{
	if (is_word(name, words->id))
		take_text(value, &entry->has_id, &entry->id);
	else if (is_word(name, words->info))
		take_text(value, &entry->has_info, &entry->info);
	else if (is_word(name, words->word))
		take_text(value, &entry->has_word, &entry->word);
	else if (is_word(name, words->result))
		take_number(value, &entry->has_result, &entry->result);
	else if (is_word(name, words->code))
		take_number(value, &entry->has_code, &entry->code);
	else if (is_word(name, words->seq))
		take_number(value, &entry->has_seq, &entry->seq);
	else if (is_word(name, words->time))
		take_number(value, &entry->has_time, &entry->time);
	else if (is_word(name, words->random))
		take_number(value, &entry->has_random, &entry->random);
	else if (is_word(name, words->body))
		entry->body = *value;
}

/* Reads one entry: an object, or a string that is an id. */
static void
read_entry(const ImListWords *words, const ImJsonValue *value, ImListEntry *entry)
{
	ImJsonScan	scan;
	ImJsonText	name;
	ImJsonValue member;

	memset(entry, 0, sizeof(*entry));
	if (value->kind == IM_JSON_STRING)
		take_text(value, &entry->has_id, &entry->id);
	if (value->kind != IM_JSON_OBJECT)
		return;
	scan = im_json_within(value);
	if (!im_json_enter(&scan, '{'))
		return;
	while (im_json_next_member(&scan, &name))
	{
		im_json_value(&scan, &member);
		take_member(words, &name, &member, entry);
	}
}

/* Reads the entries of a list but the first ones; returns how many there are. */
static int
read_list(const ImListWords *words, const ImJsonValue *list, int skip, ImListEntry *entries, int max)
{
	ImJsonScan	scan = im_json_within(list);
	ImJsonValue value;
	ImListEntry beyond;
	int			n = 0;

	if (list->kind != IM_JSON_ARRAY || !im_json_enter(&scan, '['))
		return 0;
	while (im_json_next_item(&scan, ']'))
	{
		im_json_value(&scan, &value);
		if (skip-- > 0)
			continue;
		read_entry(words, &value, n < max ? &entries[n] : &beyond);
		n++;
	}
	return n;
}

/* Finds a member of the answer.  False if the answer cannot be read. */
static bool
find_member(const char *body, size_t len, const char *name, ImJsonValue *found)
{
	ImJsonScan	scan = im_json_begin_answer(body, len);
	ImJsonText	key;
	ImJsonValue value;

	found->kind = IM_JSON_NONE;
	if (!im_json_enter(&scan, '{'))
		return false;
	while (im_json_next_member(&scan, &key))
	{
		im_json_value(&scan, &value);
		if (is_word(&key, name))
			*found = value;
	}
	return im_json_at_end(&scan);
}

/* See answer.h. */
int
im_answer_rest(const char *body, size_t len, const ImListWords *words, int skip,
			   ImListEntry *entries, int max)
{
	ImJsonValue list;

	if (!find_member(body, len, words->list, &list))
		return -1;
	return read_list(words, &list, skip, entries, max);
}

/* See answer.h. */
int
im_answer_list(const char *body, size_t len, const ImListWords *words,
			   ImListEntry *entries, int max)
{
	return im_answer_rest(body, len, words, 0, entries, max);
}

/* See answer.h. */
bool
im_answer_whole(const char *body, size_t len, const char *name, int64_t *number)
{
	ImJsonValue value;
	bool		good = find_member(body, len, name, &value) &&
		(value.kind == IM_JSON_NONE || im_json_whole(&value, number));

	if (!good || value.kind == IM_JSON_NONE)
		*number = 0;
	return good;
}

/* See answer.h. */
int64_t
im_answer_number(const char *body, size_t len, const char *name)
{
	int64_t		number;

	(void) im_answer_whole(body, len, name, &number);
	return number;
}

/* See answer.h. */
bool
im_answer_text(const char *body, size_t len, const char *name, char *out, size_t size)
{
	ImJsonValue value;

	out[0] = '\0';
	if (!find_member(body, len, name, &value) || value.kind != IM_JSON_STRING ||
		(size_t) (value.text.end - value.text.p) >= size)
		return false;
	im_json_clean(value.text, out, size);
	return out[0] != '\0';
}
