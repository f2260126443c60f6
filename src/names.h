/*
 * names.h
 *	  What a column's name may mean: which field it is, and which it nearly is.
 */
#ifndef IM_NAMES_H
#define IM_NAMES_H

#include "postgres.h"

/* True if a column's name means the field: case and underscores do not count. */
extern bool im_name_same(const char *column, const char *field);

/*
 * How far a column's name is from a field's, or -1 if they have too little in
 * common.  "owner" and "account" are near to owner_account because they are
 * in it, "created_at" to create_time by its beginning, "nmae" to name by its
 * letters.  Names have less than NAMEDATALEN bytes.
 */
extern int	im_name_distance(const char *column, const char *field);

#endif							/* IM_NAMES_H */
