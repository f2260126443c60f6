/*
 * operation.h
 *	  The operations of the service, as commandlist.h has them.
 */
#ifndef IM_OPERATION_H
#define IM_OPERATION_H

#include "command.h"

typedef struct ImOperation
{
	ImKind		kind;			/* whose history it belongs to */
	const char *path;
	size_t		reply_cap;		/* bytes */
	int			rate;			/* of a question: calls a second at most; 0: no less
								 * than all */
	/* Of one that asks about rows, else NULL; see ImCommand of the others: */
	/* Composes the request; basic: no more than what every app must tell. */
	void		(*ask) (struct StringInfoData *body, ImCall *call, bool basic);
	ImReader	read;
	bool		own_codes;		/* its entries have codes, and the answer's means nothing */
} ImOperation;

extern const ImOperation im_operations[IM_OPS];

/* Composes the body of a question, in the current memory context. */
extern void im_question_compose(ImCall *call, bool basic);

#endif							/* IM_OPERATION_H */
