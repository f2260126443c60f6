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
 * Reads an answer of get_group_info about group_id and compares the group's
 * Type, Name, and Owner_Account and CreateTime where the request has them,
 * with sent, the body of import_group that we sent or would send.  *reply
 * gets the answer's own ErrorCode (which means something only if there is no
 * entry for the group, and is not readable if the answer has none) and the
 * entry's ErrorInfo, or without an entry the answer's.  A group without a
 * CreateTime that we sent is unreadable rather than another group; one without
 * an owner that we sent is another group.  NextMsgSeq is read if it is there.
 */
extern ImFound im_reply_compare(const char *body, size_t len, const char *group_id,
								const char *sent, size_t sent_len, ImReply *reply);

/*
 * The same for an answer about many groups.  Of each check, found, differs and
 * custom are filled.  A text that the answer leaves out counts as empty; a
 * number or join option that it leaves out makes its group unreadable, unless
 * another field differs.  SupportTopic and AppDefinedData are not compared if
 * the answer leaves them out, since no document promises the one, and the
 * other may be left out where nothing is set; but a key that is not in an
 * AppDefinedData counts as empty.  Keys that were not sent do not count.  Two
 * entries for one id are unreadable; two checks of one id share its entry.
 * Returns IM_FOUND_UNREADABLE if not one entry could be read, else
 * IM_FOUND_SAME.
 */
extern ImFound im_reply_check(const char *body, size_t len, ImCheck *checks, int nchecks,
							  ImReply *reply);

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
 * as in im_reply_check().
 */
extern void im_reply_extras(const char *sent, size_t len, ImExtras *extras);

/* The outbox column that an ImCompared is about. */
extern const char *im_field_column(ImCompared field);

#endif							/* IM_REPLY_H */
