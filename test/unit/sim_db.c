/*
 * sim_db.c
 *	  The outbox table of the model, and the statements of outbox.c on it.
 *
 * Each function here stands for the statement or function of the same name
 * there.  Transactions are the caller's: it keeps a copy of the table, and
 * puts it back or shows the difference to the checks.
 */
#include <string.h>

#include "sim.h"

/* The row of this id; NULL if there is none. */
SimRow *
sim_row(SimCopy *copy, int64_t id)
{
	for (int i = 0; i < MAX_ROWS; i++)
		if (copy->table.rows[i].exists && copy->table.rows[i].id == id)
			return &copy->table.rows[i];
	return NULL;
}

/* True if the transaction that inserted the row has committed. */
bool
sim_visible(const SimWorld *world, const SimRow *row)
{
	return row->exists && row->visible_at <= world->now;
}

/* True if a person holds the row. */
bool
sim_locked(const SimWorld *world, const SimRow *row)
{
	return row->locked_until > world->now;
}

/* True if the timeline is another than the one that was noted. */
bool
sim_fenced(const SimCopy *copy)
{
	return copy->table.timeline_noted != copy->timeline;
}

/* True if a call of the lists has claimed the row as it stands. */
static bool
claimed_by(const SimDrain *drain, const SimList *list, const SimRow *row)
{
	for (int i = 0; i < list->n; i++)
	{
		const SimCall *call = &drain->calls[list->at[i]];

		if (call->id == row->id && call->claim == row->claim)
			return true;
	}
	return false;
}

/* True if the row is the business of a sender that lives: us. */
static bool
has_live_sender(const SimDrain *drain, const SimRow *row)
{
	return claimed_by(drain, &drain->live, row) || claimed_by(drain, &drain->outcomes, row);
}

/* ST_CAP_DUE: a clock that was set back must not hold rows for days. */
static void
cap_due(SimWorld *world, SimCopy *copy, SimRow *row)
{
	int64_t		wall = sim_wall(world, copy);

	if (row->status != IM_PENDING || row->due_at <= wall + 600 * SEC || sim_locked(world, row))
		return;
	COVER(DUE_CAPPED);
	row->due_at = wall;
}

/* ST_RECOVER: one row whose sender has died. */
static void
recover_row(SimWorld *world, SimCopy *copy, SimRow *row)
{
	int64_t		wall = sim_wall(world, copy);
	ImNext		next;

	im_protocol_recover(row->group_id == 0 ? IM_REPEAT_NEVER : IM_REPEAT_REFUSED, 1, &next);
	row->status = next.status;
	row->maybe_sent_at = wall;
	row->claim = 0;
	row->due_at = next.status == IM_PENDING ? wall : 0;
	COVER(RECOVERED);
	TRACE(world, "copy %d recovers row %d: %s", copy->number, row->key,
		  im_status_name(next.status));
}

/* Recovers rows of dead senders. False if some were locked. */
bool
sim_recover(SimWorld *world, SimCopy *copy)
{
	bool		all = true;

	for (int i = 0; i < MAX_ROWS; i++)
	{
		SimRow	   *row = &copy->table.rows[i];

		if (!sim_visible(world, row) || row->origin != copy->origin)
			continue;
		cap_due(world, copy, row);
		if (row->status != IM_SENDING || has_live_sender(&copy->drain, row))
			continue;
		if (sim_locked(world, row))
		{
			COVER(RECOVER_LOCKED);
			all = false;
		}
		else
			recover_row(world, copy, row);
	}
	return all;
}

/* ------------------------------------------------------------------------
 * Claim
 */

/* The id that a row without one gets: a function of the row, not of the claim. */
static int
generated_id(const SimRow *row)
{
	return GROUP_GENERATED + row->key;
}

/* keep_row(): what the protocol must know of it. */
static void
keep_row(SimWorld *world, SimCopy *copy, const SimRow *row, SimCall *call)
{
	call->id = row->id;
	call->request = -1;
	call->life.attempts = row->attempts + 1;
	call->life.maybe_sent = row->maybe_sent_at != 0;
	if (call->life.maybe_sent)
	{
		call->suspect_at = row->maybe_sent_at;
		call->life.suspect_ms = im_steady_age_ms(&copy->slot.steady, row->maybe_sent_at,
												sim_wall(world, copy), world->now);
	}
	call->life.repeat = row->group_id == 0 && copy->assigned_ids ? IM_REPEAT_NEVER : IM_REPEAT_REFUSED;
}

/* make_call(): a row becomes a call with its first decision. -1: no room. */
static int
make_call(SimWorld *world, SimCopy *copy, const SimRow *row)
{
	SimDrain   *drain = &copy->drain;
	ImPolicy	policy = {.max_attempts = copy->max_attempts};
	bool		invalid = copy->strict && (row->content & CONTENT_INVALID);
	int			n = sim_new_call(drain);
	SimCall	   *call;

	if (n < 0)
		return -1;
	call = &drain->calls[n];
	keep_row(world, copy, row, call);
	drain->keys[n] = row->key;
	drain->contents[n] = row->content;
	drain->groups[n] = row->group_id;
	if (row->group_id == 0 && call->life.repeat == IM_REPEAT_REFUSED)
		drain->groups[n] = generated_id(row);
	(void) sim_group_text(drain->groups[n], call->group_id);
	im_protocol_claim(&call->life, invalid, &policy, &call->next);
	return n;
}

/* ST_MARK: from the commit on the row is ours. */
static void
mark(SimWorld *world, SimCopy *copy, SimRow *row, int n)
{
	SimCall	   *call = &copy->drain.calls[n];

	call->claim = world->last_claim;
	row->status = IM_SENDING;
	row->attempts++;
	row->group_id = copy->drain.groups[n];
	row->claim = call->claim;
	row->due_at = 0;
	if (call->op == IM_OP_IMPORT_GROUP)
		row->maybe_sent_at = sim_wall(world, copy);
}

/* ST_SETTLE: the outcome of a call goes into its row. */
static void
write_row(SimCopy *copy, SimRow *row, int n)
{
	const SimCall *call = &copy->drain.calls[n];
	const ImNext *next = &call->next;

	row->status = next->status;
	row->attempts = next->attempts;
	if (next->status == IM_IMPORTED && call->life.repeat == IM_REPEAT_NEVER)
		row->group_id = copy->drain.groups[n];
	row->due_at = next->status != IM_PENDING ? 0 : call->judged_at + next->delay_ms * 1000;
	row->maybe_sent_at = !next->maybe_sent ? 0 :
		next->suspect_now ? call->judged_at : call->suspect_at;
	row->claim = 0;
}

/* place_call(), write_claim(): the row is ours, or settled here and now. */
static void
claim_row(SimWorld *world, SimCopy *copy, SimRow *row, SimList *calls, int *nsettled)
{
	SimDrain   *drain = &copy->drain;
	int			n = make_call(world, copy, row);
	SimCall	   *call;

	if (n < 0)
		return;
	call = &drain->calls[n];
	if (call->next.act == IM_ACT_LOOKUP)
	{
		call->op = IM_OP_GET_GROUP_INFO;
		call->life.why = call->next.why;
		sim_coverage.whys[call->life.why]++;
	}
	TRACE(world, "copy %d claims row %d, attempt %d%s%s", copy->number, row->key,
		  (int) call->life.attempts, call->life.maybe_sent ? ", maybe sent" : "",
		  call->next.act == IM_ACT_SETTLE ? ", settled at once" :
		  call->next.act == IM_ACT_LOOKUP ? ", to be looked up" : "");
	if (call->next.act == IM_ACT_SETTLE)
	{
		call->judged_at = sim_wall(world, copy);
		write_row(copy, row, n);
		drain->used[n] = false;
		(*nsettled)++;
		return;
	}
	mark(world, copy, row, n);
	sim_list_add(calls, n, false);
}

/* The next row that a claim query finds: due retries, or new rows by id. */
static SimRow *
next_claimable(SimWorld *world, SimCopy *copy, bool due)
{
	int64_t		wall = sim_wall(world, copy);
	SimRow	   *best = NULL;

	for (int i = 0; i < MAX_ROWS; i++)
	{
		SimRow	   *row = &copy->table.rows[i];

		if (!sim_visible(world, row) || row->origin != copy->origin ||
			row->status != IM_PENDING || (row->due_at != 0) != due)
			continue;
		if (due ? row->due_at > wall : row->id <= copy->drain.watermark)
			continue;
		if (sim_locked(world, row))
			COVER(CLAIM_LOCKED);
		else if (best == NULL || (due ? row->due_at < best->due_at : row->id < best->id))
			best = row;
	}
	return best;
}

/* take_next(): returns true if there were fewer new rows than wanted. */
bool
sim_claim(SimWorld *world, SimCopy *copy, int want, SimList *calls, int *nsettled)
{
	SimRow	   *row;

	world->last_claim++;
	for (; want > 0 && (row = next_claimable(world, copy, true)) != NULL; want--)
	{
		int64_t		due = row->due_at;

		claim_row(world, copy, row, calls, nsettled);
		if (row->status == IM_PENDING && row->due_at == due)
			break;				/* no room for another call */
	}
	if (want <= 0)
		return false;
	if (copy->drain.plan.rescan[IM_GROUP])
		copy->drain.watermark = 0;
	for (; want > 0 && (row = next_claimable(world, copy, false)) != NULL; want--)
	{
		copy->drain.watermark = row->id;
		claim_row(world, copy, row, calls, nsettled);
	}
	return want > 0;
}

/* ------------------------------------------------------------------------
 * Settle
 */

/* Writes outcomes back; locked ones are left out of written. */
void
sim_settle(SimWorld *world, SimCopy *copy, SimList *writing, SimList *written)
{
	for (int i = 0; i < writing->n; i++)
	{
		int			n = writing->at[i];
		SimCall	   *call = &copy->drain.calls[n];
		SimRow	   *row = sim_row(copy, call->id);

		if (row != NULL && sim_locked(world, row))
		{
			COVER(SETTLE_LOCKED);
			continue;			/* kept in memory for later */
		}
		sim_list_add(written, n, false);
		if (row == NULL)
			COVER(SETTLE_GONE);
		else if (row->claim != call->claim)
			COVER(SETTLE_MISMATCH);
		else
			write_row(copy, row, n);
	}
}

/* ------------------------------------------------------------------------
 * Fence
 */

/*
 * ST_ADOPT for one open row; a closed one of our own may have gone on in the
 * state that was lost, so a retry must not trust it.
 */
static bool
adopt_row(SimWorld *world, SimCopy *copy, SimRow *row, bool own)
{
	int64_t		wall = sim_wall(world, copy);
	bool		assigned = row->group_id == 0 &&
		(copy->assigned_ids || row->status == IM_SENDING);
	ImNext		next;

	if (row->status == IM_IMPORTED)
		return false;
	if (row->status != IM_PENDING && row->status != IM_SENDING)
	{
		if (own && row->origin == copy->origin)
		{
			row->maybe_sent_at = wall;
			row->stamped_at = world->now;
		}
		return false;
	}
	im_protocol_adopt(assigned ? IM_REPEAT_NEVER : IM_REPEAT_REFUSED, 0, &next);
	row->origin = copy->origin;
	row->status = next.status;
	row->attempts = 0;
	row->claim = 0;
	row->maybe_sent_at = wall;
	row->due_at = 0;
	row->answers_until = world->now;
	return true;
}

/* Takes over open rows; returns how many. */
int
sim_adopt(SimWorld *world, SimCopy *copy, bool foreign)
{
	bool		own = sim_fenced(copy);
	int			n = 0;

	im_steady_note(&copy->slot.steady, sim_wall(world, copy), world->now);
	for (int i = 0; i < MAX_ROWS; i++)
	{
		SimRow	   *row = &copy->table.rows[i];

		if (row->exists && (row->origin == copy->origin ? own : foreign))
			n += adopt_row(world, copy, row, own);
	}
	copy->table.timeline_noted = copy->timeline;
	TRACE(world, "copy %d adopts %d rows", copy->number, n);
	return n;
}

/* When the next retry is due, by the wall clock; 0 if none waits. */
int64_t
sim_next_due(SimCopy *copy)
{
	int64_t		due = 0;

	for (int i = 0; i < MAX_ROWS; i++)
	{
		SimRow	   *row = &copy->table.rows[i];

		if (row->exists && row->origin == copy->origin && row->status == IM_PENDING &&
			row->due_at != 0 && (due == 0 || row->due_at < due))
			due = row->due_at;
	}
	return due;
}

/* True if a row of ours is pending or sending. */
bool
sim_has_open(const SimWorld *world, const SimCopy *copy)
{
	for (int i = 0; i < MAX_ROWS; i++)
	{
		const SimRow *row = &copy->table.rows[i];

		if (sim_visible(world, row) && row->origin == copy->origin &&
			(row->status == IM_PENDING || row->status == IM_SENDING))
			return true;
	}
	return false;
}

/* A transaction has committed: shows every row that it changed to the checks. */
void
sim_commit_rows(SimWorld *world, SimCopy *copy, const SimTable *before, bool by_person)
{
	for (int i = 0; i < MAX_ROWS; i++)
		if (before->rows[i].exists && copy->table.rows[i].exists &&
			memcmp(&before->rows[i], &copy->table.rows[i], sizeof(SimRow)) != 0)
			sim_check_change(world, copy, &before->rows[i], &copy->table.rows[i], by_person);
}
