/*
 * answer.h
 *	  Reads lists out of the service's answers: what it says of each item.
 *
 * Pure, like reply.h: whatever bytes come in, it returns.  Everything points
 * into the answer.
 */
#ifndef IM_ANSWER_H
#define IM_ANSWER_H

#include "json.h"

/* What a list and the members of its entries are called; NULL: there is none. */
typedef struct ImListWords
{
	const char *list;
	const char *id;				/* an entry that is a string is its own id */
	const char *result;			/* a number that says how it went ... */
	const char *code;			/* ... or an ErrorCode */
	const char *info;
	const char *seq;
	const char *time;
	const char *random;
	const char *word;			/* a word that says how it went */
	const char *body;			/* any value, as it stands there */
} ImListWords;

/* One entry; a member that is not there, or is no number, is 0 with its flag false. */
typedef struct ImListEntry
{
	ImJsonText	id;
	ImJsonText	info;
	ImJsonText	word;
	ImJsonValue body;
	bool		has_id;
	bool		has_info;
	bool		has_word;
	bool		has_result;
	bool		has_code;
	bool		has_seq;
	bool		has_time;
	bool		has_random;
	int64_t		result;
	int64_t		code;
	int64_t		seq;
	int64_t		time;
	int64_t		random;
} ImListEntry;

/*
 * Reads the list of an answer into entries, of which there is room for max.
 * Returns how many there are (more than max: the rest was not stored), 0 if
 * there is no such list, or -1 if the answer cannot be read.
 */
extern int	im_answer_list(const char *body, size_t len, const ImListWords *words,
						   ImListEntry *entries, int max);

/* The same of a long list, without its first entries. */
extern int	im_answer_rest(const char *body, size_t len, const ImListWords *words, int skip,
						   ImListEntry *entries, int max);

/*
 * The same, 0 if it is not there.  False if something else is, or the answer cannot
 * be read.
 */
extern bool im_answer_whole(const char *body, size_t len, const char *name, int64_t *number);

/* A text beside the lists, cleaned; false if there is none, or out is too small for it. */
extern bool im_answer_text(const char *body, size_t len, const char *name, char *out, size_t size);

/* A whole number beside the lists of an answer; 0 if there is none. */
extern int64_t im_answer_number(const char *body, size_t len, const char *name);

#endif							/* IM_ANSWER_H */
