/*
 * compat.h
 *	  What differs between PostgreSQL 15 and 19: the only place that asks for
 *	  the server's version.
 */
#ifndef IM_COMPAT_H
#define IM_COMPAT_H

#ifndef FRONTEND

#include "miscadmin.h"
#include "storage/latch.h"
#include "storage/lock.h"
#include "storage/lwlock.h"
#include "storage/proc.h"
#include "storage/procarray.h"
#include "storage/sinvaladt.h"
#include "utils/date.h"
#include "utils/guc.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"
#if PG_VERSION_NUM >= 160000
#include "varatt.h"
#endif
#if PG_VERSION_NUM >= 180000
#include "storage/waiteventset.h"
#endif
#if PG_VERSION_NUM >= 190000
#include "nodes/miscnodes.h"
#endif

/* Stands before the declaration of a function that does not return. */
#ifndef pg_noreturn
#define pg_noreturn	pg_attribute_noreturn()
#endif

/* What pqsignal() takes to ignore a signal; clang warns of the cast in that of 19. */
#if PG_VERSION_NUM >= 190000
#undef PG_SIG_IGN
#define PG_SIG_IGN	((pqsigfunc) (void *) SIG_IGN)
#else
#define PG_SIG_IGN	SIG_IGN
#endif

/* A setting of the worker's session that not every version has. */
static inline void
im_no_transaction_timeout(void)
{
#if PG_VERSION_NUM >= 170000
	SetConfigOption("transaction_timeout", "0", PGC_SUSET, PGC_S_OVERRIDE);
#endif
}

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

/* The process of a virtual transaction; 0: it has none, or is gone. */
static inline int
im_pid_of(const VirtualTransactionId *vxid)
{
#if PG_VERSION_NUM >= 170000
	PGPROC	   *proc = vxid->procNumber == INVALID_PROC_NUMBER ? NULL : ProcNumberGetProc(vxid->procNumber);
#else
	PGPROC	   *proc = vxid->backendId == InvalidBackendId ? NULL : BackendIdGetProc(vxid->backendId);
#endif

	return proc == NULL ? 0 : proc->pid;	/* unlocked: a word for a person */
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

/* A date of the session's time zone as a point in time. */
static inline TimestampTz
im_time_of_date(DateADT date, bool *overflow)
{
#if PG_VERSION_NUM >= 190000
	ErrorSaveContext context = {.type = T_ErrorSaveContext};
	TimestampTz t = date2timestamptz_safe(date, (Node *) &context);

	*overflow = context.error_occurred;
#else
	int			out = 0;
	TimestampTz t = date2timestamptz_opt_overflow(date, &out);

	*overflow = out != 0;
#endif
	return t;
}

/* A timestamp of the session's time zone as a point in time. */
static inline TimestampTz
im_time_of_timestamp(Timestamp timestamp, bool *overflow)
{
#if PG_VERSION_NUM >= 190000
	ErrorSaveContext context = {.type = T_ErrorSaveContext};
	TimestampTz t = timestamp2timestamptz_safe(timestamp, (Node *) &context);

	*overflow = context.error_occurred;
#else
	int			out = 0;
	TimestampTz t = timestamp2timestamptz_opt_overflow(timestamp, &out);

	*overflow = out != 0;
#endif
	return t;
}

/* A jsonb under construction; "result" is it, once its end was pushed. */
#if PG_VERSION_NUM >= 190000
typedef JsonbInState ImJsonb;
#else
typedef struct ImJsonb
{
	JsonbParseState *state;
	JsonbValue *result;
} ImJsonb;
#endif

/* Adds a token to a jsonb under construction. */
static inline void
im_jsonb_push(ImJsonb *jsonb, JsonbIteratorToken token, JsonbValue *value)
{
#if PG_VERSION_NUM >= 190000
	pushJsonbValue(jsonb, token, value);
#else
	jsonb->result = pushJsonbValue(&jsonb->state, token, value);
#endif
}

/* A kind of locks, with its name where names are shared. */
static inline int
im_new_tranche(const char *name)
{
#if PG_VERSION_NUM >= 190000
	return LWLockNewTrancheId(name);
#else
	(void) name;
	return LWLockNewTrancheId();
#endif
}

/* Its name for this process, where each must be told. */
static inline void
im_name_tranche(int tranche, const char *name)
{
#if PG_VERSION_NUM >= 190000
	(void) tranche;
	(void) name;
#else
	LWLockRegisterTranche(tranche, name);
#endif
}

#endif							/* !FRONTEND */

/* The part of a file's last status change that is below a second. */
#ifdef __APPLE__
#define IM_CTIME_NSEC(st)	((st).st_ctimespec.tv_nsec)
#else
#define IM_CTIME_NSEC(st)	((st).st_ctim.tv_nsec)
#endif

/*
 * False if the client has closed its connection.  Declared here because the
 * header that does it needs those of Kerberos, which no build has to have.
 */
extern bool pq_check_connection(void);

#endif							/* IM_COMPAT_H */
