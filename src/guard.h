/*
 * guard.h
 *	  The trigger that guards the outbox.
 */
#ifndef IM_GUARD_H
#define IM_GUARD_H

#include "postgres.h"

/*
 * Lets the extension's own SQL functions past the guard.  Switch it on right
 * before and off right after; an ERROR in between must also switch it off.
 */
extern void im_guard_bypass(bool on);

#endif							/* IM_GUARD_H */
