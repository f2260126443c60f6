/*
 * appdata.h
 *	  AppDefinedData: from the user's JSON to the API's array of Key and Value.
 */
#ifndef IM_APPDATA_H
#define IM_APPDATA_H

#include "postgres.h"

#include "lib/stringinfo.h"
#include "nodes/pg_list.h"

typedef struct ImAppData
{
	StringInfoData json;		/* the array; length 0: nothing to send */
	List	   *warnings;		/* of char *: what is unusual, if wanted */
	const char *wrong;			/* what is wrong, a clause, or NULL */
} ImAppData;

/*
 * Reads UTF-8 text that should be the API's own array of {"Key", "Value"}, or
 * one plain object.  Never raises for what is in it.  Everything is palloc'd;
 * messages are in the server encoding.
 */
extern void im_appdata_read(const char *utf8, size_t len, bool want_warnings, ImAppData *data);

/*
 * False if a jsonb's text would have more than max bytes, as far as its
 * numbers and strings tell: a number of twelve bytes can stand for 130 kB of
 * digits.  Never makes more than one number's text at a time.
 */
extern bool im_jsonb_within(Datum jsonb, size_t max);

#endif							/* IM_APPDATA_H */
