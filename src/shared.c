/*
 * shared.c
 *	  Shared memory: a slot per database.
 *
 * A slot is found by its database's oid and made by whoever first needs it.
 * It is given back when its database is gone, or the extension in it and every
 * process of it, which the launcher notices: whoever has found a slot may keep
 * it for his life.
 *
 * The doorbell is rung after the commit, never inside the transaction: a
 * worker that wakes earlier finds nothing and sleeps again.  Whoever rings
 * must not fail, because the transaction is already committed.
 *
 * Must not know: SQL, HTTP.
 */
#include "postgres.h"

#include <math.h>
#include <unistd.h>

#include "access/xact.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "portability/instr_time.h"
#include "storage/fd.h"
#include "storage/ipc.h"
#include "storage/procarray.h"
#include "storage/shmem.h"
#include "utils/guc.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "shared.h"

/* The whole of our shared memory. */
typedef struct ImShared
{
	LWLockPadded directory;		/* protects every slot's dboid */
	int			launcher;		/* process number, or -1 */
	uint64		mark;			/* see im_shared_mark() */
	int			nslots;
	ImSlot		slots[FLEXIBLE_ARRAY_MEMBER];
} ImShared;

/* What one kind of rows did in the last day. */
typedef struct KindHistory
{
	int32		minute;			/* that the histogram is of */
	int64		latency[IM_LATENCY_BUCKETS];
	ImMinute	minutes[IM_MINUTES];	/* by minute modulo IM_MINUTES */
} KindHistory;

/*
 * The history of one slot, apart from it because of its size: the views copy
 * slots.  Protected by the slot's lock.  After the server's start it may be
 * that of a database whose slot is not made yet, see load_histories().
 */
typedef struct ImHistory
{
	Oid			dboid;			/* whose it is, or InvalidOid */
	KindHistory of[IM_OUTBOXES];
} ImHistory;

/*
 * Histories lie here while the server is stopped, in order: a crash loses
 * them, as it loses the server's own statistics.
 */
#define HISTORY_FILE		PGSTAT_STAT_PERMANENT_DIRECTORY "/im_import.stat"
#define HISTORY_MAGIC		0x494d4802

/* Begins the file; one of another layout is not read. */
typedef struct HistoryHeader
{
	uint32		magic;
	uint32		size;			/* of an ImHistory */
} HistoryHeader;

static int	max_databases = 32;
static ImShared *shared = NULL;
static ImHistory *histories = NULL; /* as many as slots */

static shmem_request_hook_type prev_request_hook = NULL;
static shmem_startup_hook_type prev_startup_hook = NULL;

#define RATE_SPAN			INT64_C(10000000)	/* us of calls_per_second */

/* What this transaction will ring for at its commit. */
static bool ring_pending = false;
static bool change_pending = false;
static bool recover_pending = false;

/* See shared.h. */
int64
im_now_us(void)
{
	instr_time	now;

	INSTR_TIME_SET_CURRENT(now);
	return (int64) INSTR_TIME_GET_MICROSEC(now);
}

/* Bytes of shared memory that we need. */
static Size
shared_size(void)
{
	return offsetof(ImShared, slots) + mul_size(max_databases, sizeof(ImSlot));
}

/* Bytes of them for histories. */
static Size
history_size(void)
{
	return mul_size(max_databases, sizeof(ImHistory));
}

/* Hook: asks for shared memory. */
static void
request_shared(void)
{
	if (prev_request_hook)
		prev_request_hook();
	RequestAddinShmemSpace(add_size(shared_size(), history_size()));
}

/* The history of a slot. */
static ImHistory *
history_of(const ImSlot *slot)
{
	return &histories[slot - shared->slots];
}

/* Brings a slot to its first state; the caller holds the directory's lock. */
static void
clear_slot(ImSlot *slot)
{
	size_t		start = offsetof(ImSlot, dboid);

	/* Lock and generation stay: others may still look at them. */
	memset((char *) slot + start, 0, sizeof(ImSlot) - start);
	slot->worker = -1;
	slot->stats_reset_at = GetCurrentTimestamp();
	im_breaker_init(&slot->breaker);
}

/* Reads the file's histories, as many as there is room for. */
static void
read_histories(FILE *file)
{
	HistoryHeader header;

	if (fread(&header, sizeof(header), 1, file) != 1 ||
		header.magic != HISTORY_MAGIC || header.size != sizeof(ImHistory))
		return;
	for (int i = 0; i < max_databases; i++)
	{
		if (fread(&histories[i], sizeof(ImHistory), 1, file) == 1)
			continue;
		memset(&histories[i], 0, sizeof(ImHistory));	/* half of one is none */
		return;
	}
}

/*
 * Takes over what the server left when it was stopped.  Slots are not made of
 * it: a database may be gone.  The file goes, so that no crash and no backup
 * brings back what is old.
 */
static void
load_histories(void)
{
	FILE	   *file;

	memset(histories, 0, history_size());
	file = AllocateFile(HISTORY_FILE, PG_BINARY_R);
	if (file == NULL)
	{
		if (errno != ENOENT)
			ereport(LOG,
					(errcode_for_file_access(),
					 errmsg("could not read file \"%s\": %m", HISTORY_FILE),
					 errdetail("im_import_history begins anew; nothing else is lost.")));
		return;
	}
	read_histories(file);
	FreeFile(file);
	(void) unlink(HISTORY_FILE);
}

/* Writes the histories of the last day; false and errno if it cannot. */
static bool
write_histories(FILE *file)
{
	HistoryHeader header = {HISTORY_MAGIC, sizeof(ImHistory)};
	int32		since = (int32) (GetCurrentTimestamp() / USECS_PER_MINUTE) - IM_MINUTES;

	if (fwrite(&header, sizeof(header), 1, file) != 1)
		return false;
	for (int i = 0; i < max_databases; i++)
	{
		bool		recent = false;

		for (int kind = 0; kind < IM_OUTBOXES; kind++)
			recent |= histories[i].of[kind].minute > since;
		if (OidIsValid(histories[i].dboid) && recent &&
			fwrite(&histories[i], sizeof(ImHistory), 1, file) != 1)
			return false;
	}
	return true;
}

/*
 * At the postmaster's end, when nobody else is left.  Shared memory of a
 * server that crashed is not to be trusted.
 */
static void
save_histories(int code, Datum arg)
{
	FILE	   *file;
	bool		ok;

	if (code != 0)
		return;
	file = AllocateFile(HISTORY_FILE ".tmp", PG_BINARY_W);
	ok = file != NULL && write_histories(file);
	/* What could not be written may show only here. */
	if (file != NULL && FreeFile(file) != 0)
		ok = false;
	if (ok)
		(void) durable_rename(HISTORY_FILE ".tmp", HISTORY_FILE, LOG);
	else
	{
		ereport(LOG,
				(errcode_for_file_access(),
				 errmsg("could not write file \"%s\": %m", HISTORY_FILE ".tmp"),
				 errdetail("im_import_history begins anew at the next start; nothing else is lost.")));
		(void) unlink(HISTORY_FILE ".tmp");
	}
}

/* Hook: finds or makes our shared memory. */
static void
startup_shared(void)
{
	bool		found;
	int			tranche;

	if (prev_startup_hook)
		prev_startup_hook();

	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	histories = ShmemInitStruct("im_import history", history_size(), &found);
	shared = ShmemInitStruct("im_import", shared_size(), &found);
	if (!found)
	{
		tranche = im_new_tranche("im_import");
		LWLockInitialize(&shared->directory.lock, tranche);
		shared->launcher = -1;
		shared->mark = (uint64) GetCurrentTimestamp();
		shared->nslots = max_databases;
		for (int i = 0; i < max_databases; i++)
		{
			LWLockInitialize(&shared->slots[i].lock.lock, tranche);
			clear_slot(&shared->slots[i]);
		}
		load_histories();
	}
	LWLockRelease(AddinShmemInitLock);
	/* Only in the postmaster: the end of a child is not the server's. */
	if (!IsUnderPostmaster)
		on_shmem_exit(save_histories, 0);
	im_name_tranche(shared->directory.lock.tranche, "im_import");
}

/* Rings at commit; a prepared transaction is left to the safety poll. */
static void
at_transaction_end(XactEvent event, void *arg)
{
	bool		changed = change_pending;
	bool		recover = recover_pending;
	ImSlot	   *slot;

	if (!ring_pending)
		return;
	if (event == XACT_EVENT_PRE_COMMIT || event == XACT_EVENT_PRE_PREPARE)
		return;
	/* In any case: what is rolled back rings for nobody. */
	ring_pending = change_pending = recover_pending = false;
	if (event != XACT_EVENT_COMMIT)
		return;
	slot = im_slot_mine();
	if (slot == NULL)
		return;
	/* Before the ring: a worker that wakes has to find the change. */
	if (changed)
		im_slot_changed(slot);
	im_slot_lock(slot);
	slot->recover |= recover;
	im_slot_unlock(slot);
	im_ring(slot, changed);
}

/* See shared.h. */
void
im_shared_init(void)
{
	RegisterXactCallback(at_transaction_end, NULL);
	if (!process_shared_preload_libraries_in_progress)
		return;

	DefineCustomIntVariable("im_import.max_databases",
							"Sets how many databases can have an import.",
							"Each takes about 360 kB of shared memory, most of it for the history.",
							&max_databases, 32, 1, 1024,
							PGC_POSTMASTER, 0, NULL, NULL, NULL);
	MarkGUCPrefixReserved("im_import");
	prev_request_hook = shmem_request_hook;
	shmem_request_hook = request_shared;
	prev_startup_hook = shmem_startup_hook;
	shmem_startup_hook = startup_shared;
}

/* See shared.h. */
bool
im_shared_available(void)
{
	return shared != NULL;
}

/* See shared.h. */
uint64
im_shared_mark(void)
{
	return shared != NULL ? shared->mark : 0;
}

/* See shared.h. */
void
im_shared_require(void)
{
	if (shared == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("im_import must be loaded by the server at start"),
				 errhint("Add im_import to shared_preload_libraries in postgresql.conf and restart the server.")));
}

/* See shared.h. */
void
im_shared_full(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
			 errmsg("all %d slots for importing databases are taken", max_databases),
			 errhint("Raise im_import.max_databases in postgresql.conf and restart the server.")));
}

/* The slot of a database; the caller holds the directory's lock. */
static ImSlot *
look_for(Oid dboid)
{
	for (int i = 0; i < shared->nslots; i++)
		if (shared->slots[i].dboid == dboid)
			return &shared->slots[i];
	return NULL;
}

/* See shared.h. */
ImSlot *
im_slot_find(Oid dboid)
{
	ImSlot	   *slot;

	if (shared == NULL)
		return NULL;
	LWLockAcquire(&shared->directory.lock, LW_SHARED);
	slot = look_for(dboid);
	LWLockRelease(&shared->directory.lock);
	return slot;
}

/*
 * The free slot that a database should have: the one with its history, else
 * one with nobody's, else any; NULL if none is free.  The caller holds the
 * directory's lock.
 */
static ImSlot *
look_for_free(Oid dboid)
{
	ImSlot	   *any = NULL;
	ImSlot	   *blank = NULL;

	for (int i = 0; i < shared->nslots; i++)
	{
		if (OidIsValid(shared->slots[i].dboid))
			continue;
		any = &shared->slots[i];
		if (histories[i].dboid == dboid)
			return any;
		if (blank == NULL && !OidIsValid(histories[i].dboid))
			blank = any;
	}
	return blank != NULL ? blank : any;
}

/* Makes a history a database's own: it begins unless it is already. */
static void
own_history(ImHistory *history, Oid dboid)
{
	if (OidIsValid(dboid) && history->dboid == dboid)
		return;
	memset(history, 0, sizeof(*history));
	history->dboid = dboid;
}

/* See shared.h. */
ImSlot *
im_slot_mine(void)
{
	static ImSlot *mine = NULL;

	if (shared == NULL || !OidIsValid(MyDatabaseId))
		return NULL;
	/* Without a lock: no other database gets it while a process of ours lives. */
	if (mine != NULL && mine->dboid == MyDatabaseId && !mine->vacant)
		return mine;

	LWLockAcquire(&shared->directory.lock, LW_EXCLUSIVE);
	/* Looked for under the lock: two sessions must not make two. */
	mine = look_for(MyDatabaseId);
	if (mine == NULL && (mine = look_for_free(MyDatabaseId)) != NULL)
	{
		clear_slot(mine);
		own_history(history_of(mine), MyDatabaseId);
		/* A process that kept it for another database sees that it has changed hands. */
		mine->generation++;
		mine->dboid = MyDatabaseId;
	}
	if (mine != NULL)
		mine->vacant = false;
	LWLockRelease(&shared->directory.lock);
	return mine;
}

/* See shared.h. */
bool
im_slot_is_mine(const ImSlot *slot, uint32 generation)
{
	return slot->dboid == MyDatabaseId && slot->generation == generation;
}

/* Empties a slot, which belongs to dboid then; the directory must be locked. */
static void
give_to(ImSlot *slot, Oid dboid)
{
	/* The second lock: dboid changes only under both. */
	LWLockAcquire(&slot->lock.lock, LW_EXCLUSIVE);
	clear_slot(slot);
	slot->dboid = dboid;
	slot->vacant = OidIsValid(dboid);
	/* Emptied also if the database stays the same: own_history() alone would keep it. */
	own_history(history_of(slot), InvalidOid);
	history_of(slot)->dboid = dboid;
	LWLockRelease(&slot->lock.lock);
}

/* See shared.h. */
void
im_slot_vacate(ImSlot *slot)
{
	bool		wanted;

	LWLockAcquire(&shared->directory.lock, LW_EXCLUSIVE);
	wanted = slot->ring;
	give_to(slot, slot->dboid);
	/* It rang meanwhile: the extension may have been made anew. */
	if (wanted)
	{
		slot->ring = slot->urgent = true;
		slot->vacant = false;
	}
	LWLockRelease(&shared->directory.lock);
}

/* See shared.h. */
void
im_slot_free_unused(void)
{
	/* Who connects after the count waits for the lock before he finds a slot. */
	LWLockAcquire(&shared->directory.lock, LW_EXCLUSIVE);
	for (int i = 0; i < shared->nslots; i++)
	{
		ImSlot	   *slot = &shared->slots[i];

		if (slot->vacant && CountDBBackends(slot->dboid) == 0)
			give_to(slot, InvalidOid);
	}
	LWLockRelease(&shared->directory.lock);
}

/* See shared.h. */
void
im_slot_free(Oid dboid)
{
	ImSlot	   *slot;

	LWLockAcquire(&shared->directory.lock, LW_EXCLUSIVE);
	slot = look_for(dboid);
	if (slot != NULL)
		give_to(slot, InvalidOid);
	LWLockRelease(&shared->directory.lock);
}

/* See shared.h. */
ImSlot *
im_slot_nth(int i)
{
	return shared != NULL && i < shared->nslots ? &shared->slots[i] : NULL;
}

/* See shared.h. */
void
im_slot_lock(ImSlot *slot)
{
	LWLockAcquire(&slot->lock.lock, LW_EXCLUSIVE);
}

/* See shared.h. */
void
im_slot_unlock(ImSlot *slot)
{
	LWLockRelease(&slot->lock.lock);
}

/* See shared.h. */
void
im_launcher_register(int proc_number)
{
	shared->launcher = proc_number;
}

/* See shared.h. */
bool
im_launcher_runs(void)
{
	return shared != NULL && shared->launcher >= 0;
}

/* See shared.h. */
bool
im_slot_worker_lives(ImSlot *slot)
{
	PGPROC	   *proc;
	int			worker;
	int			pid;

	im_slot_lock(slot);
	worker = slot->worker;
	pid = slot->worker_pid;
	im_slot_unlock(slot);
	/* Pid and number together: either alone may be another process's by now. */
	proc = worker >= 0 && pid != 0 ? BackendPidGetProc(pid) : NULL;
	return proc != NULL && &proc->procLatch == im_latch_of(worker);
}

/* See shared.h. */
void
im_ring(ImSlot *slot, bool urgent)
{
	int			whom;
	bool		wake;

	im_slot_lock(slot);
	/* Read under the lock, under which a worker takes its name out. */
	whom = slot->worker >= 0 ? slot->worker : shared->launcher;
	/* The process that an earlier ring has woken has yet to look. */
	wake = !slot->ring || (urgent && !slot->urgent);
	slot->ring = true;
	slot->all_rings++;
	if (urgent)
	{
		slot->urgent = true;
		slot->rings++;
	}
	/* Last: the launcher looks without the lock, and may do so at once. */
	if (whom >= 0 && wake)
		SetLatch(im_latch_of(whom));
	im_slot_unlock(slot);
}

/* See shared.h. */
void
im_slot_changed(ImSlot *slot)
{
	im_slot_lock(slot);
	slot->changes++;
	slot->changed_at = im_now_us();
	/* Another app may take more rows in a call, and so may this one by now. */
	memset(slot->batch, 0, sizeof(slot->batch));
	im_slot_unlock(slot);
}

/* ------------------------------------------------------------------------
 * Orders of im_import_drain()
 */

/* See shared.h. */
int64
im_orders_left(const ImSlot *slot)
{
	int64		left = 0;

	for (int i = 0; i < IM_ORDERS; i++)
		if (slot->orders[i].pid != 0 && slot->orders[i].left > PG_INT64_MAX - left)
			left = PG_INT64_MAX;
		else if (slot->orders[i].pid != 0)
			left += slot->orders[i].left;
	return left;
}

/* See shared.h. */
int
im_order_place(ImSlot *slot, int64 rows, uint32 *ticket)
{
	int			place = -1;

	im_slot_lock(slot);
	for (int i = 0; i < IM_ORDERS && place < 0; i++)
		if (slot->orders[i].pid == 0)
			place = i;
	if (place >= 0)
	{
		*ticket = ++slot->next_ticket;
		if (*ticket == 0)
			*ticket = ++slot->next_ticket;	/* 0 stands for none */
		slot->orders[place] = (ImOrder)
		{
			.pid = MyProcPid, .ticket = *ticket, .left = rows
		};
		slot->asked_at = im_now_us();
	}
	im_slot_unlock(slot);
	return place;
}

/* See shared.h. */
void
im_order_withdraw(ImSlot *slot, int place, uint32 ticket)
{
	im_slot_lock(slot);
	/* By ticket: the place may be another session's by now. */
	if (slot->orders[place].ticket == ticket)
		memset(&slot->orders[place], 0, sizeof(ImOrder));
	im_slot_unlock(slot);
}

/* See shared.h. */
bool
im_orders_any(ImSlot *slot)
{
	bool		any = false;

	im_slot_lock(slot);
	for (int i = 0; i < IM_ORDERS; i++)
		any = any || slot->orders[i].pid != 0;
	im_slot_unlock(slot);
	return any;
}

/* See shared.h. */
bool
im_order_done(ImSlot *slot, int place)
{
	bool		done;

	im_slot_lock(slot);
	done = slot->orders[place].left == 0 && slot->orders[place].out == 0 &&
		slot->ordered_rooms == 0;
	im_slot_unlock(slot);
	return done;
}

/* See shared.h. */
uint32
im_order_take(ImSlot *slot)
{
	uint32		ticket = 0;

	im_slot_lock(slot);
	for (int i = 0; i < IM_ORDERS && ticket == 0; i++)
	{
		ImOrder    *order = &slot->orders[i];

		if (order->pid == 0 || order->left <= 0)
			continue;
		order->left--;
		order->out++;
		ticket = order->ticket;
	}
	im_slot_unlock(slot);
	return ticket;
}

/* See shared.h. */
void
im_order_settled(ImSlot *slot, uint32 ticket, bool unsent)
{
	if (ticket == 0)
		return;
	im_slot_lock(slot);
	for (int i = 0; i < IM_ORDERS; i++)
	{
		ImOrder    *order = &slot->orders[i];

		if (order->ticket != ticket)
			continue;
		/* A new worker may have begun with none: never below. */
		order->out = Max(order->out - 1, 0);
		order->left += unsent && order->left < PG_INT64_MAX;
	}
	im_slot_unlock(slot);
}

/* See shared.h. */
void
im_orders_orphaned(ImSlot *slot)
{
	im_slot_lock(slot);
	for (int i = 0; i < IM_ORDERS; i++)
		slot->orders[i].out = 0;
	im_slot_unlock(slot);
}

/* See shared.h. */
void
im_recover_at_commit(void)
{
	ring_pending = true;
	recover_pending = true;
}

/* See shared.h. */
void
im_ring_at_commit(bool changed)
{
	ring_pending = true;
	if (changed)
		change_pending = true;
}

/* See shared.h. */
void
im_slot_set_app(ImSlot *slot, int64 sdkappid, const double *rates)
{
	int64		now = im_now_us();

	im_slot_lock(slot);
	slot->sdkappid = sdkappid;
	for (int op = 0; op < IM_OPS; op++)
	{
		if (!slot->limiter_ready)
			im_limiter_init(&slot->limiters[op], rates[op], now);
		else
			im_limiter_set(&slot->limiters[op], rates[op], now);
	}
	slot->limiter_ready = true;
	im_slot_unlock(slot);
}

/* Counts a call in the ring of seconds that calls_per_second is made of. */
static void
count_second(ImPulse *pulse, int64 now)
{
	int64		second = now / 1000000;
	int			i = (int) (second % IM_SECONDS);

	if (pulse->second[i] != second)
	{
		pulse->second[i] = second;
		pulse->count[i] = 0;
	}
	pulse->count[i]++;
	if (pulse->first == 0 || now - pulse->last > RATE_SPAN)
		pulse->first = now;
	pulse->last = now;
}

/* See shared.h. */
int64
im_slot_take(ImSlot *slot, ImOp op, bool worker)
{
	int64		now;
	int64		wait;

	/* Time is read under the lock: grants must not be ordered by luck. */
	im_slot_lock(slot);
	now = im_now_us();
	wait = im_limiter_take(&slot->limiters[im_op_limiter(op)], worker, now);
	if (wait == 0)
	{
		count_second(&slot->calls, now);
		count_second(&slot->calls_of[op], now);
	}
	im_slot_unlock(slot);
	if (wait == 0)
		elog(DEBUG1, "im_import: call granted at " INT64_FORMAT " us by limiter %d", now,
			 (int) im_op_limiter(op));
	return wait;
}

/* See shared.h. */
void
im_slot_slow(ImSlot *slot, ImOp op, int64 granted, bool everything)
{
	int64		now = im_now_us();

	for (int i = 0; i < IM_OPS; i++)
		if (everything || i == (int) im_op_limiter(op))
			im_limiter_slow(&slot->limiters[i], granted, now);
}

/* See shared.h. */
void
im_slot_want(ImSlot *slot, ImOp op)
{
	im_slot_lock(slot);
	im_limiter_want(&slot->limiters[im_op_limiter(op)]);
	im_slot_unlock(slot);
}

/* See shared.h. */
void
im_slot_late(ImSlot *slot, ImOp op, int64 granted)
{
	int64		now;

	im_slot_lock(slot);
	now = im_now_us();
	im_limiter_late(&slot->limiters[im_op_limiter(op)], granted, now);
	im_slot_unlock(slot);
	elog(DEBUG1, "im_import: call granted at about " INT64_FORMAT " us left at " INT64_FORMAT " us", granted, now);
}

/* See shared.h. */
double
im_pulse_per_second(const ImPulse *pulse)
{
	int64		now = im_now_us();
	int64		second = now / 1000000;
	bool		young = now - pulse->first < RATE_SPAN;
	int64		calls = 0;

	if (pulse->first == 0)
		return 0;
	/* Whole seconds; right after the start what there is of them. */
	for (int i = 0; i < IM_SECONDS; i++)
		if (pulse->second[i] >= second - 10 && pulse->second[i] < second + young)
			calls += pulse->count[i];
	if (!young)
		return (double) calls / 10.0;
	return (double) calls / Max((double) (now - pulse->first) / 1e6, 1.0);
}

/* Which quarter octave a latency falls into. */
static int
latency_bucket(int64 us)
{
	int			octave = 0;
	int64		rest = us < 1 ? 1 : us;
	int			quarter;

	while (rest >= 8)
	{
		rest >>= 1;
		octave++;
	}
	/* rest is now 4..7 (or smaller for the first few microseconds) */
	quarter = rest >= 4 ? (int) rest - 4 : 0;
	return Min(octave * 4 + quarter, IM_LATENCY_BUCKETS - 1);
}

/* Upper edge of a latency bucket, in milliseconds. */
static double
bucket_ms(int bucket)
{
	return ldexp(5 + bucket % 4, bucket / 4) / 1000.0;
}

/* See shared.h. */
double
im_latency_percentile(const int64 *histogram, double share)
{
	int64		calls = 0;
	int64		seen = 0;

	for (int i = 0; i < IM_LATENCY_BUCKETS; i++)
		calls += histogram[i];
	for (int i = 0; i < IM_LATENCY_BUCKETS; i++)
	{
		seen += histogram[i];
		if (seen > 0 && (double) seen >= share * (double) calls)
			return bucket_ms(i);
	}
	return 0;
}

/* The minute of the wall clock that it is now, as ImMinute counts. */
static int32
this_minute(void)
{
	return (int32) (GetCurrentTimestamp() / USECS_PER_MINUTE);
}

/* A minute's place in a history. */
static ImMinute *
minute_at(KindHistory *history, int32 minute)
{
	return &history->minutes[(uint32) minute % IM_MINUTES];
}

/* Writes the percentiles of the histogram to its minute. */
static void
note_percentiles(KindHistory *history)
{
	ImMinute   *minute = minute_at(history, history->minute);

	if (minute->minute != history->minute)
		return;
	minute->p50 = (float4) im_latency_percentile(history->latency, 0.50);
	minute->p99 = (float4) im_latency_percentile(history->latency, 0.99);
}

/* The entry of this minute for a kind; the slot must be locked. */
static ImMinute *
current_minute(ImSlot *slot, ImKind kind)
{
	KindHistory *history = &history_of(slot)->of[kind];
	int32		now = this_minute();
	ImMinute   *minute = minute_at(history, now);

	if (history->minute != now)
	{
		note_percentiles(history);
		history->minute = now;
		memset(history->latency, 0, sizeof(history->latency));
	}
	if (minute->minute != now)
	{
		memset(minute, 0, sizeof(*minute));
		minute->minute = now;
	}
	return minute;
}

/* See shared.h. */
void
im_slot_settled(ImSlot *slot, ImKind kind, int imported, int failed)
{
	ImMinute   *minute;

	if (imported + failed == 0)
		return;
	im_slot_lock(slot);
	minute = current_minute(slot, kind);
	minute->imported += imported;
	minute->failed += failed;
	im_slot_unlock(slot);
}

/* See shared.h. */
int
im_slot_history(ImSlot *slot, ImKind kind, ImMinute *minutes)
{
	KindHistory *history = &history_of(slot)->of[kind];
	int32		now = this_minute();
	int			n = 0;

	im_slot_lock(slot);
	note_percentiles(history);
	for (int32 m = now - IM_MINUTES + 1; m <= now; m++)
	{
		const ImMinute *minute = minute_at(history, m);

		if (minute->minute == m)
			minutes[n++] = *minute;
	}
	im_slot_unlock(slot);
	return n;
}

/* See shared.h. */
void
im_slot_count(ImSlot *slot, const ImCall *call, ImKind kind, ImClass class, int64 elapsed_us,
			  size_t bytes_out, size_t bytes_in, bool connected, bool tls)
{
	ImStats    *stats = &slot->stats[im_op_limiter(call->op)];

	im_slot_lock(slot);
	stats->calls++;
	if (im_op_asks(call->op))
		stats->lookups++;
	if (call->reply.readable)
		stats->replies[class]++;
	else
		stats->no_reply++;
	/* A row that was sent again is no more so by being asked about. */
	if (!im_op_asks(call->op) && call->nrows > 0 && call->rows[0]->life.attempts > 1)
		stats->retries++;
	stats->bytes_out += (int64) bytes_out;
	stats->bytes_in += (int64) bytes_in;
	stats->connections += connected;
	stats->handshakes += connected && tls;
	stats->latency_sum_us += elapsed_us;
	stats->latency[latency_bucket(elapsed_us)]++;
	current_minute(slot, kind)->calls++;
	history_of(slot)->of[kind].latency[latency_bucket(elapsed_us)]++;
	im_slot_unlock(slot);
}

/* See shared.h. */
void
im_slot_throttled(ImSlot *slot, ImOp op, ImKind kind, int64 us)
{
	im_slot_lock(slot);
	slot->stats[im_op_limiter(op)].throttled_us += us;
	current_minute(slot, kind)->throttled_ms += (uint32) ((us + 500) / 1000);
	im_slot_unlock(slot);
}

/* See shared.h. */
void
im_slot_reset_stats(ImSlot *slot)
{
	im_slot_lock(slot);
	memset(slot->stats, 0, sizeof(slot->stats));
	slot->worker_starts = 0;
	slot->stats_reset_at = GetCurrentTimestamp();
	im_slot_unlock(slot);
}
