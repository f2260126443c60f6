/*
 * worker.c
 *	  The launcher, one per server, and the worker, one per database at work.
 *
 * The launcher is connected to no database.  It starts a worker where a
 * doorbell rang, where an alarm is due, every 30 seconds where the extension
 * is known to be, and once in every database after the server's start, to
 * find out where that is.  A worker leaves when there is nothing to do, so
 * that its database can be dropped, renamed and copied.  No database gets a
 * second worker within five seconds, whatever happens; so a worker that finds
 * nothing stays for most of that, and news in the meantime need not wait, but
 * less than the five seconds for which DROP DATABASE is patient.
 *
 * SIGTERM is handled by die(), never by a flag alone: a worker may sit in a
 * wait for a synchronous standby, and only die() ends that.  The drain's own
 * loop looks at ProcDiePending first and puts its affairs in order.
 *
 * Exit codes: 0 from a worker that has finished; anything raised as FATAL is
 * 1, and the launcher starts another.  A worker never exits otherwise, which
 * would restart the whole server.
 *
 * Must not know: SQL text, JSON, HTTP.
 */
#include "postgres.h"

#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_database.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/lock.h"
#include "storage/procsignal.h"
#include "tcop/tcopprot.h"
#include "utils/guc.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timeout.h"

#include "app.h"
#include "compat.h"
#include "drain.h"
#include "outbox.h"
#include "plan.h"
#include "shared.h"
#include "tally.h"
#include "worker.h"

#define SEC					INT64_C(1000000)
#define CHECK_EVERY			(30 * SEC)	/* for databases that were dropped */
#define START_AGAIN_FIRST	(1 * SEC)
#define START_AGAIN_MAX		(30 * SEC)
#define NO_ROOM_MAX			(5 * SEC)	/* somebody else's worker may end any time */
#define LAUNCHER_NAP_MS		1000

/*
 * SQL can take advisory locks whose fourth field is 1 or 2.  This one it
 * cannot take, so nobody can stop a database's sender by accident or intent.
 */
#define SENDER_LOCK_FIELD4	3

/* A database as the launcher sees it. */
typedef struct Watched
{
	Oid			dboid;
	BackgroundWorkerHandle *handle; /* of the worker that runs, or NULL */
	bool		scouting;		/* not known to have the extension */
	int64		started_at;
	int64		polled_at;
	int64		start_after;	/* back-off after a failure */
	int64		delay;
} Watched;

static List *watched = NIL;		/* of Watched, in TopMemoryContext */

/* See worker.h. */
void
im_launcher_install(void)
{
	BackgroundWorker worker = {0};

	/* Under pg_upgrade nothing may be sent. */
	if (IsBinaryUpgrade)
		return;
	worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
	worker.bgw_restart_time = 1;
	strlcpy(worker.bgw_library_name, "im_import", BGW_MAXLEN);
	strlcpy(worker.bgw_function_name, "im_launcher_main", BGW_MAXLEN);
	strlcpy(worker.bgw_name, "im_import launcher", BGW_MAXLEN);
	strlcpy(worker.bgw_type, "im_import launcher", BGW_MAXLEN);
	RegisterBackgroundWorker(&worker);
}

/* Signals of both kinds of process; see the header for SIGTERM. */
static void
set_up_signals(void)
{
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGINT, PG_SIG_IGN);	/* no cancelling half-way through a commit */
	pqsignal(SIGTERM, die);
	BackgroundWorkerUnblockSignals();
}

/* Reads the configuration again if SIGHUP asked for it. */
static void
reload_if_asked(void)
{
	if (!ConfigReloadPending)
		return;
	ConfigReloadPending = false;
	ProcessConfigFile(PGC_SIGHUP);
}

/* ------------------------------------------------------------------------
 * Launcher
 */

/* The launcher's note of a database, made at first sight. */
static Watched *
watch(Oid dboid, bool scouting)
{
	MemoryContext old;
	Watched    *one;
	ListCell   *lc;

	foreach(lc, watched)
		if (((Watched *) lfirst(lc))->dboid == dboid)
			return lfirst(lc);
	old = MemoryContextSwitchTo(TopMemoryContext);
	one = palloc0(sizeof(Watched));
	one->dboid = dboid;
	one->scouting = scouting;
	watched = lappend(watched, one);
	MemoryContextSwitchTo(old);
	return one;
}

/* Forgets a database. */
static void
unwatch(Watched *one)
{
	if (one->handle != NULL)
		pfree(one->handle);
	watched = list_delete_ptr(watched, one);
	pfree(one);
}

/*
 * The databases there are; open: only those that could have work.  A template,
 * or one that nobody may connect to, is left alone, but still there.
 */
static List *
list_databases(bool open)
{
	MemoryContext caller = CurrentMemoryContext;
	List	   *dboids = NIL;
	Relation	rel;
	TableScanDesc scan;
	HeapTuple	tuple;

	StartTransactionCommand();
	(void) GetTransactionSnapshot();
	rel = table_open(DatabaseRelationId, AccessShareLock);
	scan = table_beginscan_catalog(rel, 0, NULL);
	while ((tuple = heap_getnext(scan, ForwardScanDirection)) != NULL)
	{
		Form_pg_database form = (Form_pg_database) GETSTRUCT(tuple);
		MemoryContext old = MemoryContextSwitchTo(caller);

		if (!open || (form->datallowconn && !form->datistemplate))
			dboids = lappend_oid(dboids, form->oid);
		MemoryContextSwitchTo(old);
	}
	table_endscan(scan);
	table_close(rel, AccessShareLock);
	CommitTransactionCommand();
	MemoryContextSwitchTo(caller);
	return dboids;
}

/* Starts a worker for a database; false if the server has no room for it. */
static bool
start_worker(Watched *one)
{
	BackgroundWorker worker = {0};
	MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);
	bool		ok;

	worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
	/* The launcher decides when, and after what pause. */
	worker.bgw_restart_time = BGW_NEVER_RESTART;
	worker.bgw_notify_pid = MyProcPid;
	worker.bgw_main_arg = ObjectIdGetDatum(one->dboid);
	strlcpy(worker.bgw_library_name, "im_import", BGW_MAXLEN);
	strlcpy(worker.bgw_function_name, "im_worker_main", BGW_MAXLEN);
	snprintf(worker.bgw_name, BGW_MAXLEN, "im_import worker for database %u", one->dboid);
	strlcpy(worker.bgw_type, "im_import worker", BGW_MAXLEN);
	ok = RegisterDynamicBackgroundWorker(&worker, &one->handle);
	MemoryContextSwitchTo(old);
	if (!ok)
		one->handle = NULL;
	return ok;
}

/* Puts off the next start, for longer each time. */
static void
back_off(Watched *one, int64 now)
{
	one->delay = one->delay == 0 ? START_AGAIN_FIRST : Min(one->delay * 2, START_AGAIN_MAX);
	one->start_after = now + one->delay;
}

/* A place for a worker is free: whoever waits for one tries again at once. */
static void
call_the_starved(void)
{
	ListCell   *lc;

	foreach(lc, watched)
	{
		Watched    *one = lfirst(lc);
		ImSlot	   *slot = im_slot_find(one->dboid);

		if (slot != NULL && slot->no_start)
			one->start_after = 0;
	}
}

/* Takes the name of a worker that is no more out of the slot; false if it is none. */
static bool
forget_dead_worker(ImSlot *slot)
{
	if (slot->worker < 0 || im_slot_worker_lives(slot))
		return false;
	im_slot_lock(slot);
	slot->worker = -1;
	slot->worker_pid = 0;
	/* As if somebody had rung: the next one has rows to recover. */
	slot->ring = true;
	im_slot_unlock(slot);
	return true;
}

/* Notes that a worker has ended, if it has. Returns true if none runs. */
static bool
worker_ended(Watched *one, int64 now)
{
	pid_t		pid;
	ImSlot	   *slot;
	bool		crashed;

	if (one->handle == NULL)
		return true;
	if (GetBackgroundWorkerPid(one->handle, &pid) != BGWH_STOPPED)
		return false;
	pfree(one->handle);
	one->handle = NULL;
	call_the_starved();

	/* Who leaves in order takes its name out of the slot; a name may be another's. */
	slot = im_slot_find(one->dboid);
	crashed = slot != NULL && forget_dead_worker(slot);
	if (crashed)
		back_off(one, now);
	else
	{
		one->delay = 0;
		/* Started on a doorbell, but it could not even connect: not at once again. */
		one->start_after = now - one->started_at < SEC / 10 ? now + SEC / 5 : 0;
	}
	return true;
}

/* True if the database's slot asks for a worker now. */
static bool
is_called_for(const Watched *one, const ImSlot *slot, int64 now)
{
	ImStart		start = {.now = now,.polled_at = one->polled_at,.wake_at = slot->wake_at,.ring = slot->ring,
		.urgent = slot->urgent,.vacant = slot->vacant,.state = slot->report.state
	};

	return im_plan_calls_worker(&start);
}

/*
 * The key file of an import that is held up and has no worker: if it is not as
 * the last worker saw it, that may be the cure, and nobody rings for it.
 */
static void
look_at_key(ImSlot *slot)
{
	char		file[MAXPGPATH];
	uint64		seen;
	uint64		stamp;

	/* Copied: no file is looked at while the lock is held. */
	im_slot_lock(slot);
	strlcpy(file, slot->worker < 0 && im_state_held_up(slot->report.state) ? slot->key_file : "",
			sizeof(file));
	seen = slot->key_stamp;
	im_slot_unlock(slot);
	if (file[0] == '\0' || (stamp = im_key_file_stamp(file)) == seen)
		return;
	/* Noted first, or each round would ring again. */
	im_slot_lock(slot);
	slot->key_stamp = stamp;
	im_slot_unlock(slot);
	im_slot_changed(slot);
	im_ring(slot, true);
}

/* One scout at a time: the server's places for workers are not only ours. */
static bool
scout_is_out(void)
{
	ListCell   *lc;

	foreach(lc, watched)
	{
		Watched    *one = lfirst(lc);

		if (one->handle != NULL && im_slot_find(one->dboid) == NULL)
			return true;
	}
	return false;
}

/* True if a worker can connect to a database, and is not in its way. */
static bool
is_open(Oid dboid)
{
	List	   *dboids = list_databases(true);
	bool		found = list_member_oid(dboids, dboid);

	list_free(dboids);
	return found;
}

/* Starts a worker for one database if there is a reason to. */
static void
look_after(Watched *one, int64 now)
{
	ImSlot	   *slot = im_slot_find(one->dboid);
	bool		started;

	if (!worker_ended(one, now) || now < one->start_after)
		return;
	/* A worker may live that a launcher before us has started. */
	if (slot != NULL && slot->worker >= 0 && !forget_dead_worker(slot))
		return;
	if (now < im_plan_start_from(one->started_at))
		return;
	if (slot == NULL && !one->scouting)
	{
		unwatch(one);
		return;
	}
	if (slot != NULL ? !is_called_for(one, slot, now) : scout_is_out())
		return;
	/* Late, because this takes a transaction. */
	if (!is_open(one->dboid))
	{
		back_off(one, now);
		return;
	}
	started = start_worker(one);
	if (slot != NULL)
		slot->no_start = !started;
	if (!started)
	{
		back_off(one, now);
		one->start_after = Min(one->start_after, now + NO_ROOM_MAX);
		return;
	}
	one->scouting = false;
	one->started_at = one->polled_at = now;
}

/* Gives back the slots of databases that are no more. */
static void
forget_dropped(void)
{
	List	   *owners = NIL;
	List	   *dboids;
	ImSlot	   *slot;
	ListCell   *lc;

	/* Slots first: a database that is made meanwhile must not look dropped. */
	for (int i = 0; (slot = im_slot_nth(i)) != NULL; i++)
		if (OidIsValid(slot->dboid))
			owners = lappend_oid(owners, slot->dboid);
	dboids = list_databases(false);
	foreach(lc, owners)
		if (!list_member_oid(dboids, lfirst_oid(lc)))
			im_slot_free(lfirst_oid(lc));
	im_slot_free_unused();
	/* A scout that waits for its turn may be for one of them too. */
	foreach(lc, watched)
	{
		Watched    *one = lfirst(lc);

		if (one->handle == NULL && !list_member_oid(dboids, one->dboid))
			one->scouting = false;
	}
	list_free(owners);
	list_free(dboids);
}

/* One round: every slot, every database still to be scouted. */
static void
look_after_all(void)
{
	int64		now = im_now_us();
	ImSlot	   *slot;
	List	   *copy;
	ListCell   *lc;

	for (int i = 0; (slot = im_slot_nth(i)) != NULL; i++)
	{
		if (!OidIsValid(slot->dboid))
			continue;
		watch(slot->dboid, false);
		look_at_key(slot);
	}
	/* A copy: look_after() may take entries out. */
	copy = list_copy(watched);
	foreach(lc, copy)
		look_after(lfirst(lc), now);
	list_free(copy);
}

/* Milliseconds until the launcher must look again, latch or not. */
static long
nap_ms(int64 now)
{
	long		nap = LAUNCHER_NAP_MS;
	ListCell   *lc;

	foreach(lc, watched)
	{
		Watched    *one = lfirst(lc);

		int64		after = Max(one->start_after, im_plan_start_from(one->started_at));

		if (one->handle == NULL && after > now)
			nap = Min(nap, (long) ((after - now) / 1000) + 1);
	}
	return nap;
}

/* At the launcher's exit: nobody must set its latch any more. */
static void
unregister_launcher(int code, Datum arg)
{
	im_launcher_register(-1);
}

/* See worker.h. */
void
im_launcher_main(Datum arg)
{
	MemoryContext turn;
	ListCell   *lc;
	int64		checked_at;

	set_up_signals();
	BackgroundWorkerInitializeConnection(NULL, NULL, 0);
	/* Before the first look: anyone who rings from now on sets our latch. */
	im_launcher_register(im_my_proc_number());
	before_shmem_exit(unregister_launcher, 0);
	turn = AllocSetContextCreate(TopMemoryContext, "im_import launcher", ALLOCSET_DEFAULT_SIZES);
	MemoryContextSwitchTo(turn);
	/* Nobody knows yet where the extension is: each database gets one visit. */
	foreach(lc, list_databases(true))
		watch(lfirst_oid(lc), true);
	checked_at = im_now_us();

	for (;;)
	{
		/* Reset before the look: what is set meanwhile is not lost. */
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
		reload_if_asked();
		if (im_now_us() - checked_at >= CHECK_EVERY)
		{
			forget_dropped();
			checked_at = im_now_us();
		}
		look_after_all();
		MemoryContextReset(turn);
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						 nap_ms(im_now_us()), im_wait_event_sender());
	}
}

/* ------------------------------------------------------------------------
 * Worker
 */

/*
 * Settings that no ALTER ROLE or ALTER DATABASE may spoil.  The last few are
 * for the planner, see outbox.c.
 */
static const char *const worker_settings[][2] = {
	{"application_name", "im_import"},
	{"role", "none"},
	{"search_path", "pg_catalog, pg_temp"},
	{"session_replication_role", "replica"},
	{"default_transaction_read_only", "off"},
	{"default_transaction_isolation", "read committed"},
	{"default_transaction_deferrable", "off"},
	{"statement_timeout", "0"},
	{"lock_timeout", "300ms"},	/* below deadlock_timeout: nobody else shall die */
	{"idle_in_transaction_session_timeout", "0"},
	{"row_security", "off"},
	{"client_min_messages", "error"},
	{"check_function_bodies", "off"},
	{"datestyle", "ISO"},
	{"jit", "off"},
	{"max_parallel_workers_per_gather", "0"},
	{"plan_cache_mode", "force_generic_plan"},
	{"enable_seqscan", "off"},
	{"enable_bitmapscan", "off"},
	{"enable_hashjoin", "off"},
	{"enable_mergejoin", "off"},
	{"enable_material", "off"}
};

/* A claim must be durable before its first byte leaves. */
static void
make_commits_durable(void)
{
	const char *value = GetConfigOption("synchronous_commit", false, false);

	if (strcmp(value, "off") == 0 || strcmp(value, "local") == 0)
		SetConfigOption("synchronous_commit", "on", PGC_SUSET, PGC_S_OVERRIDE);
}

/* Brings the session's settings into our own order. */
static void
set_settings(void)
{
	/* They override what roles and databases set. */
	for (int i = 0; i < (int) lengthof(worker_settings); i++)
		SetConfigOption(worker_settings[i][0], worker_settings[i][1],
						PGC_SUSET, PGC_S_OVERRIDE);
	im_no_transaction_timeout();
	make_commits_durable();
}

/* Becomes the one sender of this database; false if there is another. */
static bool
take_sender_lock(void)
{
	LOCKTAG		tag;

	SET_LOCKTAG_ADVISORY(tag, MyDatabaseId, 0, 0, SENDER_LOCK_FIELD4);
	/* By the session: held through all transactions, until the process ends. */
	return LockAcquire(&tag, ExclusiveLock, true, true) != LOCKACQUIRE_NOT_AVAIL;
}

/* Nothing to run: im_outbox_run() itself looks for the extension. */
static void
look_only(void *arg)
{
}

/* True if the extension is in this database, of whatever version. */
static bool
is_installed(void)
{
	if (!im_outbox_run(look_only, NULL, NULL))
		proc_exit(1);			/* the reason is in the log */
	return im_outbox_installed(im_outbox_get()) != IM_INSTALLED_NOT;
}

/* Enters this process into the slot. */
static void
register_worker(ImSlot *slot)
{
	im_slot_lock(slot);
	slot->worker = im_my_proc_number();
	slot->worker_pid = MyProcPid;
	/* The alarm is done with; we set another one when we leave. */
	slot->wake_at = 0;
	slot->no_start = false;
	slot->worker_starts++;
	im_slot_unlock(slot);
}

/*
 * We were asked to end.  die() has set flags that would raise FATAL at the
 * first occasion; they are put aside, so that what is known can be written.
 */
static void
end_in_order(ImDrain *drain, ImSlot *slot)
{
	/* The postmaster signals process and group: the second one must not set them again. */
	pqsignal(SIGTERM, PG_SIG_IGN);
	ProcDiePending = false;
	InterruptPending = false;
	im_drain_shutdown(drain);
	/* Only now: until our name is gone no other worker is started. */
	im_slot_lock(slot);
	slot->worker = -1;
	slot->worker_pid = 0;
	slot->ring = true;			/* if the server goes on, so shall the drain */
	im_slot_unlock(slot);
	proc_exit(0);
}

/* The worker's life: look, act, sleep, until there is nothing to do. */
static ImStay
work(ImDrain *drain, ImSlot *slot)
{
	ImStay		stay;

	do
	{
		ResetLatch(MyLatch);
		if (ProcDiePending)
			end_in_order(drain, slot);
		CHECK_FOR_INTERRUPTS();
		reload_if_asked();
		make_commits_durable();
		/* Between transactions nothing else would tell us of an ALTER SERVER. */
		AcceptInvalidationMessages();
		stay = im_drain_turn(drain);
	} while (stay == IM_STAY);
	return stay;
}

/* The doorbell brought us: what rings after this is news. */
static void
hear_doorbell(ImSlot *slot, bool ring)
{
	im_slot_lock(slot);
	slot->ring = ring;
	im_slot_unlock(slot);
}

/* The extension is gone; a doorbell that rang since may be that of a new one. */
static void
vacate(ImSlot *slot)
{
	if (slot != NULL)
		im_slot_vacate(slot);
}

/* See worker.h. */
void
im_worker_main(Datum arg)
{
	Oid			dboid = DatumGetObjectId(arg);
	MemoryContext ctx;
	ImSlot	   *slot;

	set_up_signals();
	BackgroundWorkerInitializeConnectionByOid(dboid, InvalidOid, 0);
	/* After connecting, which has set what roles and databases say. */
	set_settings();
	ctx = AllocSetContextCreate(TopMemoryContext, "im_import worker", ALLOCSET_DEFAULT_SIZES);
	MemoryContextSwitchTo(ctx);
	pgstat_report_activity(STATE_IDLE, NULL);

	/* Before anything is read: its holder knows that all older claims are dead. */
	if (!take_sender_lock())
		proc_exit(0);			/* the other one is on its way out; the launcher
								 * will see */
	slot = im_slot_find(dboid);
	if (slot != NULL)
		hear_doorbell(slot, false);
	/* Before a slot is taken: they are few, and a visit needs none. */
	if (!is_installed())
	{
		vacate(slot);
		proc_exit(0);
	}
	slot = im_slot_mine();
	if (slot == NULL)
		im_shared_full();
	hear_doorbell(slot, true);	/* for our first look */
	im_tally_become_own();
	/* From here on anyone who rings sets our latch, not the launcher's. */
	register_worker(slot);
	if (work(im_drain_create(ctx, slot), slot) == IM_LEAVE_FOR_GOOD)
		vacate(slot);
	proc_exit(0);
}
