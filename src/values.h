/*
 * values.h
 *	  Values of options: from what a person writes to what can be used.
 *
 * Pure: knows nothing of PostgreSQL, of SERVER and USER MAPPING, or of who
 * uses a value.  A function returns false for what is no such value, and then
 * leaves nothing in its result that may be used.
 */
#ifndef IM_VALUES_H
#define IM_VALUES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define IM_KEY_MAX			256 /* longest secret key, in bytes */
#define IM_URL_MAX			280 /* longest URL that im_value_endpoint() makes */

/* A whole number between min and max. */
extern bool im_value_whole(const char *text, int64_t min, int64_t max, int64_t *whole);

/* A number, fractions allowed, between min and max; needs LC_NUMERIC "C". */
extern bool im_value_number(const char *text, double min, double max, double *number);

/*
 * A time between min and max milliseconds, with units as in postgresql.conf;
 * without a unit it is in milliseconds.  Needs LC_NUMERIC "C".
 */
extern bool im_value_time(const char *text, int min, int max, int *ms);

/* One of two words; *second says which. */
extern bool im_value_word(const char *text, const char *first, const char *other, bool *second);

/*
 * "https://host[:port]", or "http://" of a host that never leaves the machine,
 * which *plain tells; one slash may follow.  url (IM_URL_MAX + 1 bytes) gets it
 * with the scheme in lower case and without the slash.  A host is a name or
 * address of harmless characters, or an IPv6 address in brackets.
 */
extern bool im_value_endpoint(const char *text, char *url, bool *plain);

/* A UserID: UTF-8 of the caller's, 1 to max bytes, without control characters. */
extern bool im_value_identifier(const char *utf8, size_t len, size_t max);

/*
 * Copies a key without the white space around it to out (IM_KEY_MAX + 1
 * bytes); false if it is empty, too long, or has white space or control
 * characters within.
 */
extern bool im_value_key(const char *text, size_t len, char *out);

#endif							/* IM_VALUES_H */
