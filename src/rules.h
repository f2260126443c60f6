/*
 * rules.h
 *	  What several commands share: rules of fields, parts of questions, advice.
 */
#ifndef IM_RULES_H
#define IM_RULES_H

#include "errcodes.h"
#include "record.h"

/* Each is an ImFieldCheck. */
extern void im_check_user_id(ImEncoder *enc, const ImField *field, const ImText *text, int64 number);
extern void im_check_group_id(ImEncoder *enc, const ImField *field, const ImText *text, int64 number);
extern void im_check_line(ImEncoder *enc, const ImField *field, const ImText *text, int64 number);
extern void im_check_lines(ImEncoder *enc, const ImField *field, const ImText *text, int64 number);

/* One of group_source_id and group_id; for a command's finish(). */
extern void im_check_room(ImEncoder *enc);

/* Appends a member that is a text; or one that lists the names, or the groups, of a call's rows. */
extern void im_put_text(StringInfo body, const char *member, const char *text);
extern void im_put_list(StringInfo body, const char *member, const ImCall *call, bool groups);

/* What to do with rows of groups that are not there, or take none. */
#define IM_ADVICE_OF_ROOMS \
	{10010, "Somebody has disbanded the group. CALL im_import_verify() first: a group's row that it calls missing can be sent again; then call im_import_retry(10010) for these."}, \
	{10015, "The service knows no group of this GroupId. CALL im_import_verify() first: a group's row that it calls missing can be sent again; then call im_import_retry(10015) for these."}, \
	{10007, "Groups of this type take no such rows: leave them as they are, or delete them."}

#endif							/* IM_RULES_H */
