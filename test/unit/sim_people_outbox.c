/*
 * sim_people_outbox.c
 *	  The outboxes' statements, as queue.c and statements.c have them.
 */
#include <stdio.h>
#include <string.h>

#include "sim_people.h"

/* What travels of rows; one that is claimed anew may wait to be written a last time, too. */
static ImRow travelling[2 * ROWS];
static int	ntravelling;
static ImRow *idle[2 * ROWS];
static int	nidle;

/* What is pointed to by a row that travels. */
static char names[USERS][8];
static char keys[GROUPS][8];

/* The insert of the row is committed. */
bool
is_visible(const World *w, const Row *row)
{
	return row->visible_at <= w->now;
}

/* See is_open() of drain.c: for everybody who looks. */
bool
is_open(const World *w, const Row *row)
{
	return is_visible(w, row) && (row->status == IM_PENDING || row->status == IM_SENDING);
}

/* A person has the row locked. */
static bool
is_locked(const World *w, const Row *row)
{
	return row->locked_until > w->now;
}

/* USER_IS_OPEN: the account of a member's user is on the way. */
static bool
user_is_open(const World *w, const Row *row)
{
	for (int i = 0; i < w->nrows && w->rows[i].kind == IM_ACCOUNT; i++)
		if (w->rows[i].user == row->user && is_open(w, &w->rows[i]))
			return true;
	return false;
}

/* See sim_people.h. */
void
free_row(ImRow *row)
{
	idle[nidle++] = row;
}

/* See sim_people.h. */
void
free_rows(void)
{
	nidle = ntravelling = 0;
}

/* True if the worker still has that claim: its call flies, or waits to be written. */
static bool
has_claim(const World *w, int64_t claim)
{
	for (int i = 0; i < w->nlive; i++)
		for (int j = 0; j < w->live[i]->call.nrows; j++)
			if (w->live[i]->rows[j]->claim == claim)
				return true;
	for (int i = 0; i < w->noutcomes; i++)
		if (w->outcomes[i]->claim == claim)
			return true;
	return false;
}

/* Makes what travels of a row, with its first decision. */
static ImRow *
make_row(World *w, int place, ImRoom *room)
{
	ImPolicy	policy = {.max_attempts = w->max_attempts};
	const Row  *row = &w->rows[place];
	ImRow	   *out = nidle > 0 ? idle[--nidle] : &travelling[ntravelling++];

	memset(out, 0, sizeof(*out));
	sprintf(names[row->user], "u%d", row->user);
	out->kind = row->kind;
	out->id = place + 1;
	out->name = names[row->user];
	if (room != NULL)
	{
		sprintf(keys[row->group], "g%d", row->group);
		out->key = keys[row->group];
	}
	out->request = -1;
	out->room = room;
	out->life.repeat = IM_REPEAT_HARMLESS;
	out->life.attempts = row->attempts + 1;
	out->life.maybe_sent = row->maybe_sent_at >= 0;
	out->suspect_at = row->maybe_sent_at;
	if (out->life.maybe_sent)
		out->life.suspect_ms = im_steady_age_ms(&w->steady, row->maybe_sent_at, w->now, w->now);
	im_protocol_claim(&out->life, (row->value & VALUE_INVALID) != 0, &policy, &out->next);
	out->judged_at = w->now;
	return out;
}

/* Writes what the claim decided: the row is ours, or has ended. */
static void
take(World *w, ImRow *out, ImRow **rows, int *n, int *nsettled)
{
	Row		   *row = &w->rows[out->id - 1];

	if (out->next.act == IM_ACT_SETTLE)
	{
		(void) settle_row(w, out);
		(*nsettled)++;
		free_row(out);
		return;
	}
	if (out->next.act != IM_ACT_SEND)
		violate(w, "a claim wants to ask about a row of which a repeat does no harm");
	out->claim = row->claim = ++w->claims;
	row->status = IM_SENDING;
	row->attempts++;
	row->due_at = -1;
	row->maybe_sent_at = w->now;
	row->sends = 0;
	row->told_absent = false;
	rows[(*n)++] = out;
}

/* take_next() of queue.c: retries that are due, then what is above the watermark. */
void
take_accounts(World *w, int want, bool rescan, bool *short_scan, ImRow **out, int *n, int *nsettled)
{
	int64_t		floor = w->watermark;
	int64_t		last = 0;
	int			seen = 0;

	*short_scan = false;
	if (rescan && floor == 0)
		for (int i = 0; i < w->nrows; i++)
			if (w->rows[i].kind == IM_ACCOUNT && is_visible(w, &w->rows[i]))
				floor = i + 1;
	if (rescan)
		w->watermark = 0;
	for (int i = 0; i < w->nrows && want > 0; i++)
	{
		Row		   *row = &w->rows[i];

		if (row->kind != IM_ACCOUNT || row->status != IM_PENDING || row->due_at < 0 || row->due_at > w->now || is_locked(w, row))
			continue;
		take(w, make_row(w, i, NULL), out, n, nsettled);
		want--;
	}
	for (int i = (int) w->watermark; i < w->nrows && seen < want; i++)
	{
		Row		   *row = &w->rows[i];

		if (row->kind != IM_ACCOUNT || row->status != IM_PENDING || row->due_at >= 0 || !is_visible(w, row) || is_locked(w, row))
			continue;
		last = i + 1;
		seen++;
		take(w, make_row(w, i, NULL), out, n, nsettled);
	}
	if (want <= 0)
		return;
	*short_scan = seen < want;
	/* All there was is claimed: nothing is left below the old watermark either. */
	if (*short_scan && floor > last)
		last = floor;
	if (last > w->watermark)
		w->watermark = last;
}

/* ST_ROOM_OPEN: in so long an open row is due; -1: none is open. */
static int64_t
room_open(const World *w, int group)
{
	int64_t		delay = -1;

	for (int i = 0; i < w->nrows; i++)
	{
		const Row  *row = &w->rows[i];

		if (row->kind != IM_MEMBER || row->group != group || !is_open(w, row))
			continue;
		if (row->due_at < 0 || row->due_at <= w->now)
			return 0;
		if (delay < 0 || row->due_at - w->now < delay)
			delay = row->due_at - w->now;
	}
	return delay;
}

/* ST_CLAIM_ROOMS for one room. */
void
take_members(World *w, ImRoom *room, int per_room, ImRoomLook *look, ImRow **out, int *n)
{
	int			group = room->key[1] - '0';
	int			lines = 0;
	int			before = *n;
	int64_t		delay;

	look->last_id = INT64_MIN;
	for (int i = 0; i < w->nrows && lines < per_room; i++)
	{
		Row		   *row = &w->rows[i];

		if (row->kind != IM_MEMBER || row->group != group || row->status != IM_PENDING || !is_visible(w, row) ||
			i + 1 <= room->after || row->due_at > w->now || user_is_open(w, row))
			continue;
		/* What is locked counts for the limit, and is skipped. */
		if (is_locked(w, row))
		{
			met[MET_LOCKED].n++;
			per_room--;
			continue;
		}
		lines++;
		take(w, make_row(w, i, room), out, n, &look->nsettled);
		look->last_id = i + 1;
	}
	look->nrows = *n - before;
	look->full = lines >= per_room && lines > 0;
	if (look->nrows > 0 || look->nsettled > 0)
		return;
	delay = room_open(w, group);
	look->open = delay >= 0;
	look->delay = delay;
	met[MET_WAITED].n += look->open && delay == 0;
}

/* ST_NEXT_DUE: in so long a retry is due; -1: none waits.  -2: none, but rows are open. */
int64_t
next_due(const World *w, ImKind kind)
{
	int64_t		delay = -1;
	bool		any = false;

	for (int i = 0; i < w->nrows; i++)
	{
		const Row  *row = &w->rows[i];

		if (row->kind != kind || !is_open(w, row))
			continue;
		any = true;
		if (row->status != IM_PENDING || row->due_at < 0)
			continue;
		if (row->due_at <= w->now)
			return 0;
		if (delay < 0 || row->due_at - w->now < delay)
			delay = row->due_at - w->now;
	}
	return delay < 0 && any ? -2 : delay;
}

/* ST_SETTLE; false if the row is locked, so that it has to wait. */
bool
settle_row(World *w, const ImRow *out)
{
	Row		   *row = &w->rows[out->id - 1];

	if (is_locked(w, row))
	{
		met[MET_LOCKED].n++;
		return false;
	}
	/* Another claim's, or written already by a commit that we took for lost. */
	if (row->claim != out->claim)
		return true;
	row->status = out->next.status;
	row->attempts = out->next.attempts;
	row->claim = 0;
	row->due_at = row->status == IM_PENDING ? out->judged_at + out->next.delay_ms * 1000 : -1;
	row->maybe_sent_at = !out->next.maybe_sent ? -1 : out->next.suspect_now ? out->judged_at : out->suspect_at;
	trace(w, "row %d: %s, %d attempts, maybe sent %d, code %d %s", (int) out->id, im_status_name(row->status), row->attempts,
		  row->maybe_sent_at >= 0, (int) out->verdict.code, out->info);
	met[MET_IMPORTED].n += row->status == IM_IMPORTED;
	met[MET_FAILED].n += row->status == IM_FAILED;
	met[MET_INVALID].n += row->status == IM_INVALID;
	met[MET_DOUBT].n += row->status == IM_IN_DOUBT;
	w->failed += row->status == IM_FAILED;
	check_row(w, row);
	check_told(w, row, out);
	return true;
}

/* ST_RECOVER and ST_CAP_DUE: rows whose sender is dead; false if one was locked. */
bool
recover_rows(World *w)
{
	bool		all = true;

	for (int i = 0; i < w->nrows; i++)
	{
		Row		   *row = &w->rows[i];
		ImNext		next;

		if (row->status != IM_SENDING || has_claim(w, row->claim))
			continue;
		if (is_locked(w, row))
		{
			all = false;
			continue;
		}
		im_protocol_recover(IM_REPEAT_HARMLESS, row->attempts, &next);
		row->status = next.status;
		row->maybe_sent_at = next.maybe_sent ? w->now : -1;
		row->claim = 0;
		row->due_at = w->now;
		trace(w, "row %d is recovered", i + 1);
	}
	return all;
}
