/*
 * rules.h
 *	  Rules of fields that several commands share.
 */
#ifndef IM_RULES_H
#define IM_RULES_H

#include "record.h"

/* Each is an ImFieldCheck. */
extern void im_check_user_id(ImEncoder *enc, const ImField *field, const ImText *text, int64 number);
extern void im_check_group_id(ImEncoder *enc, const ImField *field, const ImText *text, int64 number);
extern void im_check_line(ImEncoder *enc, const ImField *field, const ImText *text, int64 number);
extern void im_check_lines(ImEncoder *enc, const ImField *field, const ImText *text, int64 number);

/* One of group_source_id and group_id; for a command's finish(). */
extern void im_check_room(ImEncoder *enc);

#endif							/* IM_RULES_H */
