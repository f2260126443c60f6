/*
 * failpoint.h
 *	  Named places where a test can hold the worker, to kill it there.
 *
 * Compiled in only with "make FAILPOINTS=1"; a normal build has nothing of it.
 */
#ifndef IM_FAILPOINT_H
#define IM_FAILPOINT_H

#ifdef IM_FAILPOINTS
extern void im_failpoint_init(void);
extern void im_failpoint(const char *name);

#define IM_FAILPOINT(name) im_failpoint(name)
#else
#define im_failpoint_init() ((void) 0)
#define IM_FAILPOINT(name) ((void) 0)
#endif

#endif							/* IM_FAILPOINT_H */
