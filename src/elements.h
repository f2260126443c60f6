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

#endif							/* IM_ELEMENTS_H */
