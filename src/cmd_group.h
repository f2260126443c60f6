/*
 * cmd_group.h
 *	  What only groups have: ids that are made of a row's key.
 */
#ifndef IM_CMD_GROUP_H
#define IM_CMD_GROUP_H

#include "postgres.h"

#include "record.h"

/*
 * The generated id of a row: "im-" (Community: "@TGS#_im-") and the 128 bits of row_key in
 * base32, lower case.  A function of the row alone: whoever sends the row,
 * from whatever copy of the database, sends the same id.  out has
 * IM_GROUP_ID_MAX + 1 bytes.
 */
extern void im_group_generate_id(const unsigned char *row_key, bool community, char *out);

/* True if a record's type column says Community (any spelling we accept). */
extern bool im_group_is_community(const ImRecordMap *map, const Datum *values, const bool *nulls);

#endif							/* IM_CMD_GROUP_H */
