/*
 * flow.c
 *	  Which rooms are at work, and how the worker finds the next ones.
 *
 * Must not know: calls, the service, how often turns are.
 */
#include "postgres.h"

#include "utils/memutils.h"

#include "dispatch.h"
#include "flow.h"
#include "shared.h"

#define SWEEP_ROOMS			200 /* in one transaction */
#define SWEEP_SHARE			20	/* of our time at most 1/20 for sweeps; an idle
								 * worker makes each in one go */
#define ROOMS_ENOUGH		2000	/* at work: no need to find more */
#define NEW_ROWS			500 /* of a kind; where more came, a sweep finds the others */
#define NEW_AFTER			INT64CONST(25000)	/* us that claimed rows may go first */

/* See flow.h. */
ImFlow *
im_flow_create(MemoryContext ctx)
{
	ImFlow	   *flow = MemoryContextAllocZero(ctx, sizeof(ImFlow));

	flow->ctx = ctx;
	flow->rooms = im_rooms_create();
	if (flow->rooms == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OUT_OF_MEMORY),
				 errmsg("out of memory"),
				 errdetail("The list of groups at work could not be made.")));
	flow->dependents = true;
	return flow;
}

/* See flow.h. */
void
im_flow_owe_sweep(ImFlow *flow)
{
	flow->sweep_owed = true;
}

/* See flow.h. */
void
im_flow_compare(ImFlow *flow, const ImSweepMark *known)
{
	if (known->counts == 0 || known->counts != flow->mark.counts || known->rings != flow->mark.rings)
		flow->sweep_owed = true;
}

/* See flow.h. */
ImSweepMark
im_flow_mark(const ImFlow *flow)
{
	ImSweepMark mark = flow->begun;

	if (flow->sweep_owed || flow->sweeping || flow->stale || im_rooms_count(flow->rooms) > 0 ||
		flow->begun.counts != flow->mark.counts || flow->begun.rings != flow->mark.rings)
		mark.counts = 0;
	return mark;
}

/* True if no more rooms are to come to work. */
static bool
rooms_enough(const ImFlow *flow)
{
	return im_rooms_count(flow->rooms) - im_rooms_resting(flow->rooms) >= ROOMS_ENOUGH;
}

/* See flow.h. */
int64
im_flow_sweep_due(const ImFlow *flow)
{
	if ((!flow->sweep_owed && !flow->sweeping) || rooms_enough(flow))
		return 0;
	return Max(flow->sweep_at, 1);
}

/* Begins at the first key of a kind. */
static void
begin_kind(ImFlow *flow, ImKind kind)
{
	flow->sweep_kind = kind;
	if (flow->sweep_after != NULL)
		pfree(flow->sweep_after);
	flow->sweep_after = MemoryContextStrdup(flow->ctx, "");
}

/* See flow.h. */
void
im_flow_sweep(ImFlow *flow, bool idle)
{
	int64		start = im_now_us();
	int64		cost;

	if (!flow->sweeping)
	{
		flow->sweeping = true;
		/* Cleared at its beginning: what comes while it runs is owed another one. */
		flow->sweep_owed = flow->stale = flow->named = false;
		flow->begun = flow->mark;
		flow->sweep_cost = 0;
		memset(flow->waiting, 0, sizeof(flow->waiting));
		begin_kind(flow, IM_FIRST_STAGE);
	}
	flow->found = im_queue_sweep(flow->sweep_kind, flow->sweep_after, SWEEP_ROOMS);
	cost = im_now_us() - start;
	flow->sweep_cost += cost;
	/* By its own cost: a look that is slow is made less often. */
	flow->sweep_at = start + cost + (idle ? 0 : cost * SWEEP_SHARE);
}

/* Takes note of one room that was found. */
static void
take_found(ImFlow *flow, const ImFoundRoom *found, bool paused, bool (*take_order) (void *arg),
		   void *arg)
{
	ImRoom	   *room = im_rooms_find(flow->rooms, found->key);
	bool		ordered = false;

	/* Its group was deleted, or is another one now: nothing more goes to the old one. */
	if (room != NULL && (found->group_id == NULL || strcmp(room->group_id, im_room_group_id(found->group_id)) != 0))
	{
		im_rooms_leave(flow->rooms, room);
		flow->sweep_owed = true;
	}
	if (found->group_id == NULL)
	{
		flow->waiting[flow->sweep_kind] += found->waiting;
		flow->named = flow->named || found->key[0] == '=';
		return;
	}
	room = im_rooms_find(flow->rooms, found->key);
	/* Left, while calls of it are under way: it is looked for until they are back. */
	if (room != NULL && room->held)
	{
		flow->sweep_owed = true;
		return;
	}
	/* At work already: these rows may have come after it had passed their stage. */
	if (room != NULL)
	{
		room->revisit = true;
		/* It was at work before the pause: to go on it needs an order, too. */
		if (paused && !room->ordered)
			room->ordered = take_order(arg);
		return;
	}
	/* While paused a room goes only if an order pays for it. */
	if (paused)
	{
		ordered = take_order(arg);
		if (!ordered)
			return;
	}
	if (im_rooms_make_place(flow->rooms))
		flow->sweep_owed = true;
	room = im_rooms_add(flow->rooms, found->key, im_room_group_id(found->group_id), found->create_time);
	if (room == NULL)
		flow->sweep_owed = true;	/* no place for it now */
	else
		room->ordered = ordered;
}

/* See flow.h. */
bool
im_flow_swept(ImFlow *flow, bool paused, bool (*take_order) (void *arg), void *arg)
{
	List	   *found = flow->found;
	ListCell   *lc;

	/* Rows that name no group, or two, are in a room of their own. */
	if (flow->sweep_after[0] == '\0' && flow->sweep_kind == IM_FIRST_STAGE && !paused)
		(void) im_rooms_add(flow->rooms, "", "", 0);
	flow->found = NIL;
	foreach(lc, found)
		take_found(flow, lfirst(lc), paused, take_order, arg);
	if (list_length(found) >= SWEEP_ROOMS)
	{
		const ImFoundRoom *last = llast(found);

		pfree(flow->sweep_after);
		flow->sweep_after = MemoryContextStrdup(flow->ctx, last->key);
		return false;
	}
	if (flow->sweep_kind != IM_LAST_STAGE)
	{
		begin_kind(flow, flow->sweep_kind + 1);
		return false;
	}
	flow->sweeping = false;
	/* Whoever rings all the time does not have us look all the time. */
	flow->sweep_at = im_now_us() + flow->sweep_cost * SWEEP_SHARE;
	return true;
}

/* See flow.h. */
void
im_flow_news(ImFlow *flow)
{
	if (flow->news_at == 0)
		flow->news_at = im_now_us();
}

/* See flow.h. */
bool
im_flow_new_due(const ImFlow *flow, bool claimed)
{
	int64		now = im_now_us();

	return flow->news_at != 0 && now >= flow->new_at && (!claimed || now - flow->news_at >= NEW_AFTER);
}

/* See flow.h. */
void
im_flow_look_for_new(ImFlow *flow, int64 newest[IM_KINDS])
{
	int64		start = im_now_us();

	for (int kind = IM_FIRST_STAGE; kind <= IM_LAST_STAGE; kind++)
		flow->newcomers = list_concat(flow->newcomers, im_queue_newcomers(kind, &newest[kind], NEW_ROWS));
	/* By its own cost, as a sweep: there may be many dead rows above. */
	flow->new_at = im_now_us() + (im_now_us() - start) * SWEEP_SHARE;
}

/* See flow.h. */
void
im_flow_take_new(ImFlow *flow)
{
	ListCell   *lc;

	foreach(lc, flow->newcomers)
	{
		ImFoundRoom *found = lfirst(lc);

		if (im_rooms_find(flow->rooms, found->key) != NULL || !rooms_enough(flow))
			take_found(flow, found, false, NULL, NULL);
	}
	flow->newcomers = NIL;
	flow->news_at = 0;
}

/* See flow.h. */
void
im_flow_pick(ImFlow *flow, ImClaim *claim, int max, int per_room, bool ordered_only)
{
	ImRoom	  **picked = palloc(sizeof(ImRoom *) * Max(max, 1));

	claim->nrooms = im_rooms_pick(flow->rooms, claim->kind, ordered_only, im_now_us(), picked, max);
	claim->rooms = palloc0(sizeof(ImRoomClaim) * Max(claim->nrooms, 1));
	claim->per_room = per_room;
	for (int i = 0; i < claim->nrooms; i++)
		claim->rooms[i].room = picked[i];
}

/* See flow.h. */
void
im_flow_claimed(ImFlow *flow, const ImClaim *claim)
{
	bool		in_order = im_commands[claim->kind]->ordered;
	TimestampTz now = GetCurrentTimestamp();

	for (int i = 0; i < claim->nrooms; i++)
	{
		const ImRoomClaim *found = &claim->rooms[i];
		ImRoomLook	look = {
			.behind = found->behind,.nrows = found->nrows,.nsettled = found->nsettled,
			.last_id = found->last_id,.full = found->full,
			.open = found->open_due != 0,.delay = found->open_due - now
		};

		/* The sweep finds its group, if it has one. */
		if (found->other)
		{
			im_rooms_leave(flow->rooms, found->room);
			flow->sweep_owed = true;
			continue;
		}
		if (im_rooms_looked(flow->rooms, found->room, &look, in_order, im_now_us()))
			flow->far_due = true;
	}
}

/* See flow.h. */
void
im_flow_settled(ImFlow *flow, const List *rows)
{
	ListCell   *lc;

	foreach(lc, rows)
	{
		const ImRow *row = lfirst(lc);
		bool		again = row->next.status == IM_PENDING;

		/* It is not to come any more: who names it by its GroupId need not wait. */
		if (im_commands[row->kind]->makes_groups && !again && flow->named)
			flow->sweep_owed = true;
		if (row->room != NULL)
			im_rooms_settled(flow->rooms, row->room, 1, again,
							 again ? im_now_us() + row->next.delay_ms * 1000 : 0);
		else if (im_commands[row->kind]->undoes)
			flow->sweep_owed = true;	/* its rows wait now, or go on */
		/* Its group is there now: what waits for it can go. */
		else if (row->room_key != NULL && row->next.status == IM_IMPORTED && flow->dependents)
		{
			const char *group_id = row->group_id[0] ? row->group_id : row->said_id;
			ImRoom	   *room = im_rooms_add(flow->rooms, row->room_key, group_id,
											row->create_time > 0 ? row->create_time :
											row->judged_at / USECS_PER_SEC +
											(POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * SECS_PER_DAY);

			/* The numbers of the last sweep do not know of this room. */
			flow->stale = true;
			if (room == NULL || room->held)
				flow->sweep_owed = true;
			if (room != NULL)
				room->ordered = row->order != 0;
		}
	}
}

/* Nothing more is sent for a room of that key. */
static void
leave_room(ImFlow *flow, const char *key)
{
	ImRoom	   *room = im_rooms_find(flow->rooms, key);

	if (room != NULL)
		im_rooms_leave(flow->rooms, room);
}

/* See flow.h. */
void
im_flow_leave(ImFlow *flow, const List *rows)
{
	ListCell   *lc;

	foreach(lc, rows)
	{
		const ImRow *row = lfirst(lc);

		/* A room has two names: by the group's source_id, and by its GroupId. */
		if (row->room_key != NULL)
			leave_room(flow, row->room_key);
		leave_room(flow, psprintf("=%s", row->group_id));
	}
}

/* The note about a room, made if need be. */
static ImRoomNote *
note_of(ImRoomNote *notes, int *n, const ImRoom *room)
{
	for (int i = *n - 1; i >= 0; i--)
		if (strcmp(notes[i].room, room->key) == 0)
			return &notes[i];
	memset(&notes[*n], 0, sizeof(ImRoomNote));
	notes[*n].room = room->key;
	return &notes[(*n)++];
}

/* See flow.h. */
ImRoomNote *
im_flow_notes(const ImClaim claims[IM_KINDS], const List *written, const List *held, int *n)
{
	int			most = list_length(written) + list_length(held) + 1;
	ImRoomNote *notes;
	ListCell   *lc;

	*n = 0;
	for (int kind = 0; kind < IM_KINDS; kind++)
		most += list_length(claims[kind].rows);
	notes = palloc(sizeof(ImRoomNote) * most);
	for (int kind = 0; kind < IM_KINDS; kind++)
		foreach(lc, claims[kind].rows)
		{
			const ImRow *row = lfirst(lc);

			/* Noted with the claim: after a crash no later message gets an earlier time. */
			if (row->room != NULL && row->sent_time != 0)
			{
				ImRoomNote *note = note_of(notes, n, row->room);

				note->newest_time = Max(note->newest_time, row->sent_time);
			}
		}
	foreach(lc, written)
	{
		const ImRow *row = lfirst(lc);
		ImRoomNote *note;

		if (row->room == NULL)
			continue;
		if (row->next.status != IM_IMPORTED)
		{
			/* Surely not there: its time is free for another one. */
			if (im_commands[row->kind]->ordered && !row->next.maybe_sent)
				note_of(notes, n, row->room)->lower = true;
			continue;
		}
		note = note_of(notes, n, row->room);
		note->settled_time = Max(note->settled_time, row->sent_time);
		/* It may have been found with a later time than it was looked for. */
		note->newest_time = Max(note->newest_time, row->sent_time);
		note->newest_seq = Max(note->newest_seq, row->seq);
		note->imported[row->kind - IM_FIRST_STAGE]++;
	}
	foreach(lc, held)
	{
		const ImHeld *hold = lfirst(lc);

		note_of(notes, n, hold->room)->held = hold->reason;
	}
	return notes;
}
