/*
 * steer.h
 *	  What the SQL functions and procedures of a person have in common.
 */
#ifndef IM_STEER_H
#define IM_STEER_H

#include "postgres.h"

#include "fmgr.h"

#include "outbox.h"
#include "shared.h"

/* The outbox of this database, or an ERROR. */
extern ImOutbox *im_require_outbox(void);

/* This database's slot, or an ERROR. */
extern ImSlot *im_require_slot(void);

/* True if the procedure that is called may commit: no transaction block. */
extern bool im_may_commit(FunctionCallInfo fcinfo);

/* Raises unless the procedure of that name may commit. */
extern void im_require_nonatomic(FunctionCallInfo fcinfo, const char *name);

#endif							/* IM_STEER_H */
