/*
 * elements.h
 *	  MsgBody: what a message may be made of.
 */
#ifndef IM_ELEMENTS_H
#define IM_ELEMENTS_H

#include "record.h"

/* Rules of the columns text and body; each adds the member MsgBody. */
extern void im_check_text(struct ImEncoder *enc, const struct ImField *field,
						  const struct ImText *text, int64_t number);
extern void im_check_group_body(struct ImEncoder *enc, const struct ImField *field,
								const struct ImText *text, int64_t number);
extern void im_check_dialog_body(struct ImEncoder *enc, const struct ImField *field,
								 const struct ImText *text, int64_t number);

/* Exactly one of text and body; for a command's finish(). */
extern void im_check_one_body(struct ImEncoder *enc);

/* What to do with messages that are too long, or have words that the app does not take. */
#define IM_SHORTEN	"Shorten text or body in an UPDATE that also sets status = 'pending', or split the message into several rows."
#define IM_ADVICE_OF_TEXTS \
	{80001, "Change the text in an UPDATE that also sets status = 'pending', or change the filter in the console and call im_import_retry(80001)."}, \
	{80002, IM_SHORTEN}, \
	{10020, IM_SHORTEN}, \
	{93000, IM_SHORTEN}

#endif							/* IM_ELEMENTS_H */
