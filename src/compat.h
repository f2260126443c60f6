/*
 * compat.h
 *	  What differs between PostgreSQL 15 and 18: the only place that asks for
 *	  the server's version.
 */
#ifndef IM_COMPAT_H
#define IM_COMPAT_H

#ifndef FRONTEND

#include "miscadmin.h"
#include "storage/latch.h"
#include "storage/proc.h"
#include "utils/memutils.h"
#include "utils/wait_event.h"
#if PG_VERSION_NUM >= 160000
#include "varatt.h"
#endif
#if PG_VERSION_NUM >= 180000
#include "storage/waiteventset.h"
#endif

/* A wait set that lives until FreeWaitEventSet(). */
static inline WaitEventSet *
im_create_wait_set(int nevents)
{
#if PG_VERSION_NUM >= 170000
	return CreateWaitEventSet(NULL, nevents);
#else
	return CreateWaitEventSet(TopMemoryContext, nevents);
#endif
}

/* This process's place in the shared array of processes. */
static inline int
im_my_proc_number(void)
{
#if PG_VERSION_NUM >= 170000
	return MyProcNumber;
#else
	return MyProc->pgprocno;
#endif
}

/* This session's current transaction, as one of its own. */
static inline LocalTransactionId
im_my_transaction(void)
{
#if PG_VERSION_NUM >= 170000
	return MyProc->vxid.lxid;
#else
	return MyProc->lxid;
#endif
}

/* The latch of the process at that place. */
static inline Latch *
im_latch_of(int proc_number)
{
	return &GetPGProcByNumber(proc_number)->procLatch;
}

/* Wait events: named where the server lets an extension name them. */
static inline uint32
im_wait_event(uint32 *cache, const char *name)
{
#if PG_VERSION_NUM >= 170000
	if (*cache == 0)
		*cache = WaitEventExtensionNew(name);
	return *cache;
#else
	(void) cache;
	(void) name;
	return PG_WAIT_EXTENSION;
#endif
}

/* Whoever shows this waits for answers of the service. */
static inline uint32
im_wait_event_network(void)
{
	static uint32 event = 0;

	return im_wait_event(&event, "ImImportNetwork");
}

/* Whoever shows this waits for the sender, or is the sender and has nothing to do. */
static inline uint32
im_wait_event_sender(void)
{
	static uint32 event = 0;

	return im_wait_event(&event, "ImImportSender");
}

/* Whoever shows this waits for the rate limiter. */
static inline uint32
im_wait_event_limiter(void)
{
	static uint32 event = 0;

	return im_wait_event(&event, "ImImportLimiter");
}

#endif							/* !FRONTEND */

/* The part of a file's last status change that is below a second. */
#ifdef __APPLE__
#define IM_CTIME_NSEC(st)	((st).st_ctimespec.tv_nsec)
#else
#define IM_CTIME_NSEC(st)	((st).st_ctim.tv_nsec)
#endif

#endif							/* IM_COMPAT_H */
