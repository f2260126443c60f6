/*
 * reply.h
 *	  Reads the service's answers.
 *
 * Whatever bytes come in, these functions return; they never throw, and what
 * they hand out is bounded, valid UTF-8 without control characters.  A reply
 * may arrive after a group was created, so an error here would make us forget
 * that it exists.
 */
#ifndef IM_REPLY_H
#define IM_REPLY_H

#include "call.h"

/*
 * Fills *reply from the body of any command's answer.  Of an unreadable one
 * code is 0 and the texts are empty.
 */
extern void im_reply_parse(const char *body, size_t len, ImReply *reply);

/*
 * Reads an answer of get_group_info about the groups of a call's rows, and compares
 * each with the row's item, the body of import_group that we sent or would send; a
 * row without one only asks whether its group is there.  Fills check and info of
 * each row.  An ImReader, which needs no entries.
 *
 * IM_OP_GET_GROUP_INFO asks whose group it is: Type, Name, and Owner_Account and
 * CreateTime where the item has them.  IM_OP_CHECK_GROUPS compares all fields that
 * the item has.
 *
 * The entry of a group decides, whatever ErrorCode the answer has; a group without
 * an entry, or with two, is unreadable; two rows of one group share its entry.  A
 * text that the answer leaves out counts as empty; a number or join option that it
 * leaves out makes its group unreadable, unless another field differs.
 * SupportTopic and AppDefinedData are not compared if the answer leaves them out,
 * since no document promises the one, and the other may be left out where nothing
 * is set; but a key that is not in an AppDefinedData counts as empty.  Keys that
 * were not sent do not count.
 *
 * False if not one entry could be read.
 */
struct ImListEntry;
extern bool im_reply_groups(ImCall *call, const char *body, size_t len,
							struct ImListEntry *entries, int max);

/* What a request has that get_group_info must be asked for by name. */
typedef struct ImExtras
{
	bool		topic;			/* it has a SupportTopic */
	int			nkeys;			/* of AppDefinedData ... */
	struct
	{
		const char *p;			/* ... as they stand in the request, between */
		size_t		len;		/* their quotes: JSON's escapes included */
	}			keys[IM_CUSTOM_MAX];
} ImExtras;

/*
 * Fills *extras from sent, a body of import_group; the keys point into it.
 * Keys behind the first IM_CUSTOM_MAX, and very long ones, are left out here
 * as in im_reply_groups().
 */
extern void im_reply_extras(const char *sent, size_t len, ImExtras *extras);

/* The outbox column that an ImCompared is about. */
extern const char *im_field_column(ImCompared field);

#endif							/* IM_REPLY_H */
