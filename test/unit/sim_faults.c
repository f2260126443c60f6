/*
 * sim_faults.c
 *	  How a world begins, and what people and fate do in it.
 *
 * People tell the truth and keep to the documentation: they settle a row in
 * doubt by what is really there, after the last request must have died, and
 * not while another copy of the database may still send it.
 */
#include <string.h>

#include "sim.h"

#define DAY			(24 * 3600 * SEC)

/* ------------------------------------------------------------------------
 * Beginning
 */

/* A new record; small numbers, so that records and ids collide. */
static int
draw_content(SimWorld *world, bool good)
{
	int			content = 4 * (1 + sim_below(world, 3));

	if (!good && sim_chance(world, 120))
		content |= CONTENT_REFUSED;
	if (!good && sim_chance(world, 80))
		content |= CONTENT_INVALID;
	return content;
}

/* Inserts a row, visible from at on. */
static void
insert_row(SimWorld *world, SimCopy *copy, int64_t at)
{
	for (int i = 0; i < MAX_ROWS; i++)
	{
		SimRow	   *row = &copy->table.rows[i];

		if (row->exists || world->nkeys == MAX_KEYS)
			continue;
		memset(row, 0, sizeof(*row));
		row->exists = true;
		row->id = ++world->last_id;
		row->key = world->nkeys++;
		row->origin = copy->origin;
		row->status = IM_PENDING;
		row->content = draw_content(world, false);
		row->visible_at = at;
		if (sim_chance(world, 350))
			row->group_id = GROUP_OWN + sim_below(world, 2);
		copy->slot.ring = true;
		TRACE(world, "copy %d: row %d is inserted, group %d, content %d", copy->number,
			  row->key, row->group_id, row->content);
		return;
	}
}

/* The most grants that a sliding second may see. */
static int
window_of(double rate)
{
	int			whole = (int) rate;

	return rate > whole ? whole + 1 : whole;
}

/* A limit of calls; small ones are the interesting ones. */
static double
draw_rate(SimWorld *world)
{
	static const double rates[] = {1, 2, 3, 5, 10, 20, 40, 2.5};

	return rates[sim_below(world, 8)];
}

/* A server of its own for a copy of the database. */
static SimCopy *
new_copy(SimWorld *world, const SimCopy *like)
{
	for (int i = 0; i < MAX_COPIES; i++)
	{
		SimCopy    *copy = &world->copies[i];

		if (copy->exists)
			continue;
		copy->number = i;
		copy->exists = copy->up = true;
		copy->starts_at = copy->launch_at = world->now;
		copy->rate = draw_rate(world);
		copy->window = window_of(copy->rate);
		im_limiter_init(&copy->slot.limiter, copy->rate, world->now);
		im_breaker_init(&copy->slot.breaker);
		copy->slot.ring = true;
		if (like == NULL)
			return copy;
		copy->assigned_ids = like->assigned_ids;
		copy->strict = like->strict;
		copy->continues = like->continues;
		copy->max_attempts = like->max_attempts;
		copy->max_in_flight = like->max_in_flight;
		copy->origin = like->origin;
		copy->wall_offset = WALL_EPOCH + sim_between(world, -10 * SEC, 10 * SEC);
		return copy;
	}
	return NULL;
}

/* How bad this world is; some are bad in one way only. */
static void
draw_badness(SimWorld *world)
{
	world->bad_net = sim_chance(world, 700) ? sim_below(world, 500) : 0;
	world->bad_service = sim_chance(world, 700) ? sim_below(world, 600) : 0;
	world->bad_commit = sim_chance(world, 500) ? sim_below(world, 300) : 0;
	world->bad_crash = sim_chance(world, 500) ? sim_below(world, 100) : 0;
	world->late_max = sim_chance(world, 500) ? IM_ZOMBIE_MS * MS - 1 : 10 * SEC;
	world->ticks = 2 + sim_below(world, 12);
	if (sim_chance(world, 30))
		world->bad_net = 990;	/* the network is down */
}

/* Forgets the last world; only what is looked at before it is written. */
static void
wipe(SimWorld *world)
{
	for (int i = 0; i < MAX_COPIES; i++)
	{
		SimCopy    *copy = &world->copies[i];

		memset(copy, 0, offsetof(SimCopy, slot.breaker));
		copy->slot.steady.known = false;
		copy->running = false;
		copy->incarnation = copy->ngrants = 0;
		copy->polled_at = 0;
	}
	for (int i = 0; i < MAX_REQUESTS; i++)
		world->requests[i].used = false;
	memset(world->truth, 0, sizeof(world->truth));
	memset(&world->standby, 0, sizeof(world->standby));
}

/* Makes a new world of the seed: one database, its rows, its badness. */
void
sim_init_world(SimWorld *world)
{
	SimCopy    *copy;
	int			nrows;

	wipe(world);
	world->now = SEC;
	world->faults = true;
	world->calm_since = world->standby_at = world->last_claim = world->last_id = 0;
	world->steps = world->nkeys = world->ngroups = 0;
	world->violation = NULL;
	world->timelines = 1;
	draw_badness(world);

	copy = new_copy(world, NULL);
	copy->origin = 1;
	copy->timeline = copy->table.timeline_noted = 1;	/* noted at installation */
	copy->wall_offset = WALL_EPOCH;
	copy->assigned_ids = sim_chance(world, 400);
	copy->continues = sim_chance(world, 500);
	copy->strict = sim_chance(world, 200);
	copy->max_attempts = 1 + sim_below(world, 3);
	copy->max_in_flight = 1 + sim_below(world, 4);
	nrows = 1 + sim_below(world, 4);
	for (int i = 0; i < nrows; i++)
		insert_row(world, copy, world->now);
	world->tick_at = world->now + sim_between(world, 1 * MS, 5 * SEC);
}

/* ------------------------------------------------------------------------
 * People
 */

/* A row at random, visible and not locked, of one of the statuses in mask. */
static SimRow *
any_row(SimWorld *world, SimCopy *copy, unsigned mask)
{
	int			first = sim_below(world, MAX_ROWS);

	for (int i = 0; i < MAX_ROWS; i++)
	{
		SimRow	   *row = &copy->table.rows[(first + i) % MAX_ROWS];

		if (sim_visible(world, row) && !sim_locked(world, row) && (mask >> row->status & 1))
			return row;
	}
	return NULL;
}

#define ANY			0x3f
#define IN(status)	(1u << (status))

/* True if another server may send this row, or a person there retry it. */
static bool
has_rival(SimWorld *world, const SimCopy *copy, int key)
{
	for (int i = 0; i < MAX_COPIES; i++)
	{
		const SimCopy *other = &world->copies[i];

		if (!other->exists || other == copy || !other->up || sim_fenced(other))
			continue;
		for (int j = 0; j < MAX_ROWS; j++)
		{
			const SimRow *row = &other->table.rows[j];

			if (row->exists && row->key == key && row->origin == other->origin &&
				row->status != IM_IMPORTED)
				return true;
		}
		/* A deleted row may still have its call there. */
		for (int j = 0; other->running && j < other->drain.live.n; j++)
			if (other->drain.keys[other->drain.live.at[j]] == key)
				return true;
	}
	return false;
}

/* True if a request of this row may still arrive. */
static bool
on_its_way(const SimWorld *world, int key)
{
	for (int i = 0; i < MAX_REQUESTS; i++)
	{
		const SimRequest *request = &world->requests[i];

		if (request->used && request->key == key && request->op == IM_OP_IMPORT_GROUP &&
			request->arrives_at != NEVER)
			return true;
	}
	return false;
}

/* The group that a row has created, if any. */
static const SimGroup *
created_by(const SimWorld *world, int key)
{
	for (int i = 0; i < world->ngroups; i++)
		if (world->groups[i].key == key)
			return &world->groups[i];
	return NULL;
}

/* start_anew() of the guard. */
static void
start_anew(const SimCopy *copy, SimRow *row)
{
	row->status = IM_PENDING;
	row->attempts = 0;
	row->due_at = 0;
	if (row->group_id == GROUP_GENERATED + row->key)
		row->group_id = 0;
	/* What a lost state did before the take-over must be found out first. */
	if (row->stamped_at > row->answers_until)
		row->answers_until = row->stamped_at;
	(void) copy;
}

/* An UPDATE of the record: the guard allows it if the row was never sent. */
static void
edit(SimWorld *world, SimCopy *copy)
{
	SimRow	   *row = any_row(world, copy, ANY);

	if (row == NULL)
		return;
	if (row->maybe_sent_at != 0 || row->status == IM_SENDING ||
		row->status == IM_IMPORTED || row->status == IM_IN_DOUBT)
	{
		COVER(USER_FROZEN);
		return;
	}
	COVER(USER_EDIT);
	row->content = draw_content(world, true);
	if (sim_chance(world, 300))
	{
		COVER(USER_REKEY);
		world->truth[row->key].rekeyed = true;
		row->group_id = sim_chance(world, 500) ? 0 : GROUP_OWN + sim_below(world, 4);
	}
	if (row->status != IM_PENDING &&
		!(copy->assigned_ids && has_rival(world, copy, row->key)))
	{
		COVER(USER_REPAIR);
		start_anew(copy, row);
	}
	TRACE(world, "copy %d: row %d is edited: group %d, content %d, %s", copy->number, row->key,
		  row->group_id, row->content, im_status_name(row->status));
}

/* im_import_retry(). */
static void
retry(SimWorld *world, SimCopy *copy)
{
	for (int i = 0; i < MAX_ROWS; i++)
	{
		SimRow	   *row = &copy->table.rows[i];

		if (!sim_visible(world, row) || sim_locked(world, row) ||
			(row->status != IM_FAILED && row->status != IM_INVALID) ||
			row->origin != copy->origin ||
			(copy->assigned_ids && has_rival(world, copy, row->key)))
			continue;
		COVER(USER_RETRY);
		start_anew(copy, row);
		TRACE(world, "copy %d: row %d is retried", copy->number, row->key);
	}
}

/* im_import_resolve(), by what is really there. */
static void
resolve(SimWorld *world, SimCopy *copy)
{
	SimRow	   *row = any_row(world, copy, IN(IM_IN_DOUBT));
	const SimGroup *group;

	if (row == NULL || on_its_way(world, row->key) || has_rival(world, copy, row->key))
		return;
	group = created_by(world, row->key);
	if (group != NULL && group->content != row->content)
		return;					/* leave it to the historians */
	if (group != NULL)
	{
		COVER(USER_RESOLVE_DONE);
		row->status = IM_IMPORTED;
		row->group_id = group->group_id;
	}
	else
	{
		COVER(USER_RESOLVE_SEND);
		row->status = IM_PENDING;
		row->answers_until = world->now;
		world->truth[row->key].open_post = false;
	}
	row->maybe_sent_at = row->claim = row->due_at = 0;
	row->attempts = 0;
	TRACE(world, "copy %d: row %d is resolved: %s", copy->number, row->key,
		  im_status_name(row->status));
}

/* DELETE. */
static void
delete(SimWorld *world, SimCopy *copy)
{
	SimRow	   *row = any_row(world, copy, ANY);

	if (row == NULL)
		return;
	COVER(USER_DELETE);
	if (row->status == IM_SENDING)
		COVER(USER_DELETE_FLYING);
	row->exists = false;
	TRACE(world, "copy %d: row %d is deleted", copy->number, row->key);
}

/* SELECT FOR UPDATE in a transaction that stays open, or LOCK TABLE. */
static void
lock(SimWorld *world, SimCopy *copy)
{
	SimRow	   *row = any_row(world, copy, ANY);
	int64_t		until = world->now + sim_between(world, 1 * MS, 20 * SEC);

	if (sim_chance(world, 300))
		copy->table_locked_until = until;
	if (row == NULL)
		return;
	COVER(USER_LOCK);
	row->locked_until = until;
	TRACE(world, "copy %d: row %d is locked", copy->number, row->key);
}

/* INSERT, at times in a transaction that commits later than others. */
static void
insert(SimWorld *world, SimCopy *copy)
{
	bool		late = sim_chance(world, 300);

	COVER(USER_INSERT);
	if (late)
		COVER(USER_INSERT_LATE);
	insert_row(world, copy, world->now + (late ? sim_between(world, 1, 10 * SEC) : 0));
}

/* ALTER SERVER and the like. */
static void
change_options(SimWorld *world, SimCopy *copy)
{
	copy->slot.ring = true;
	switch (sim_below(world, 4))
	{
		case 0:
			COVER(USER_RESET);
			copy->slot.changes++;
			break;
		case 1:
			COVER(USER_LIMITS);
			copy->strict = !copy->strict;
			break;
		case 2:
			COVER(USER_PAUSE);
			copy->table.paused = !copy->table.paused;
			break;
		default:
			COVER(USER_RATE);
			copy->rate = draw_rate(world);
			copy->window = window_of(copy->rate);
			copy->window_since = world->now;
			copy->ngrants = 0;
			im_limiter_set(&copy->slot.limiter, copy->rate, world->now);
			break;
	}
}

/* im_import_adopt(). */
static void
adopt(SimWorld *world, SimCopy *copy)
{
	SimTable	before = copy->table;

	if (sim_adopt(world, copy, true) > 0)
		COVER(COPY_ADOPTED);
	sim_commit_rows(world, copy, &before, true);
	copy->slot.ring = true;
}

/* A person does something in a copy of the database. */
static void
act(SimWorld *world, SimCopy *copy)
{
	static void (*const acts[]) (SimWorld *world, SimCopy *copy) = {
		edit, edit, retry, resolve, resolve, delete, lock, lock, insert, change_options,
		change_options, adopt
	};
	SimTable	before = copy->table;
	int			n = sim_below(world, (int) (sizeof(acts) / sizeof(acts[0])));

	acts[n] (world, copy);
	if (acts[n] != adopt)
		sim_commit_rows(world, copy, &before, true);
	copy->slot.ring = true;
}

/* ------------------------------------------------------------------------
 * Fate
 */

/* A host's clock is set. */
static void
step_clock(SimWorld *world, SimCopy *copy)
{
	static const int64_t steps[] = {2 * SEC, 61 * SEC, 3600 * SEC, DAY};
	int64_t		step = steps[sim_below(world, 4)];

	if (sim_chance(world, 500))
	{
		COVER(CLOCK_FORWARD);
		copy->wall_offset += step;
		TRACE(world, "copy %d: clock %d s forward", copy->number, (int) (step / SEC));
	}
	else
	{
		COVER(CLOCK_BACK);
		copy->wall_offset -= step;
		TRACE(world, "copy %d: clock %d s back", copy->number, (int) (step / SEC));
	}
}

/* What a copied table does not bring with it: locks, and transactions under way. */
static void
settle_copied(SimWorld *world, SimTable *table)
{
	for (int i = 0; i < MAX_ROWS; i++)
	{
		SimRow	   *row = &table->rows[i];

		if (row->visible_at > world->now)
			row->exists = false;
		row->locked_until = 0;
	}
}

/* The standby catches up, or a base backup is taken. */
static void
catch_up(SimWorld *world)
{
	world->standby = world->copies[0].table;
	settle_copied(world, &world->standby);
	world->standby_at = world->now;
	TRACE(world, "the standby has caught up");
}

/* The standby is promoted, or the backup restored; the old one may go on. */
static void
fail_over(SimWorld *world)
{
	SimCopy    *old = &world->copies[0];
	SimCopy    *copy;

	if (world->standby_at == 0)
		catch_up(world);
	copy = new_copy(world, old);
	if (copy == NULL)
		return;
	COVER(COPY_FAILOVER);
	copy->continues = sim_chance(world, 500);
	copy->table = world->standby;
	copy->timeline = ++world->timelines;
	if (!copy->continues)
		COVER(COPY_HELD);
	if (old->up && sim_chance(world, 600))
	{
		if (old->running)
			sim_crash(world, old, true);
		old->up = false;
	}
	else if (old->up)
		COVER(COPY_BOTH);
	TRACE(world, "copy %d is promoted, timeline %d, %s; copy 0 %s", copy->number, copy->timeline,
		  copy->continues ? "continues" : "held", old->up ? "goes on" : "is dead");
}

/* CREATE DATABASE TEMPLATE, or dump and restore: the same rows, another home. */
static void
clone(SimWorld *world)
{
	SimCopy    *copy = new_copy(world, &world->copies[0]);

	if (copy == NULL)
		return;
	COVER(COPY_CLONE);
	copy->table = world->copies[0].table;
	settle_copied(world, &copy->table);
	copy->table.paused = false;
	copy->origin = 100 + copy->number;
	copy->timeline = copy->table.timeline_noted = ++world->timelines;
	TRACE(world, "copy %d is a clone", copy->number);
}

/* Something happens to a server. */
static void
befall(SimWorld *world, SimCopy *copy)
{
	switch (sim_below(world, 8))
	{
		case 0:
		case 1:
			if (copy->running)
				sim_crash(world, copy, sim_chance(world, 500));
			break;
		case 2:
			sim_shut_down(world, copy);
			break;
		case 3:
		case 4:
			step_clock(world, copy);
			break;
		case 5:
			catch_up(world);
			break;
		case 6:
			fail_over(world);
			break;
		default:
			clone(world);
			break;
	}
}

/* A person or fate acts, and it is drawn when the next one will. */
void
sim_tick(SimWorld *world)
{
	SimCopy    *copy = &world->copies[sim_below(world, MAX_COPIES)];

	world->ticks--;
	world->tick_at = world->now +
		(sim_chance(world, 300) ? sim_between(world, 1 * MS, 90 * SEC)
		 : sim_between(world, 1 * MS, 2 * SEC));
	if (!copy->exists || !copy->up)
		copy = &world->copies[0];
	if (!copy->up || world->now < copy->starts_at)
		return;
	if (sim_chance(world, 600))
		act(world, copy);
	else
		befall(world, copy);
}

/* From here on nothing bad happens, so that all must come to rest. */
void
sim_calm(SimWorld *world)
{
	world->faults = false;
	world->calm_since = world->now;
	world->bad_net = world->bad_service = world->bad_commit = world->bad_crash = 0;
	for (int i = 0; i < MAX_COPIES; i++)
	{
		SimCopy    *copy = &world->copies[i];

		if (!copy->exists)
			continue;
		copy->table.paused = false;
		copy->table_locked_until = 0;
		for (int j = 0; j < MAX_ROWS; j++)
			copy->table.rows[j].locked_until = 0;
		copy->slot.ring = true;
	}
	TRACE(world, "calm");
}
