/*
 * rooms.c
 *	  The groups whose members, messages and unread counts are at work.
 *
 * A room is in the list of those that wait for their turn, or rows of it are
 * claimed, or both (members of one room go out in several calls at once).
 * A room with neither is gone.
 */
#include "rooms.h"

#include <stdlib.h>
#include <string.h>

#define BUCKETS				8192	/* a power of two */
#define LOOK_AGAIN			INT64_C(1000000)	/* at a room of which no row can be claimed, us ... */
#define DUE_MAX				INT64_C(600000000)	/* no row is due later than in so long, us */
#define LOOK_SELDOM			3	/* ... doubled so many times */

struct ImRooms
{
	ImRoom	   *bucket[BUCKETS];
	ImRoom	   *first;			/* of those that wait for their turn */
	ImRoom	   *last;
	int			count;
	int			resting;		/* of them, with vain > 0 */
};

/* See rooms.h. */
ImRooms *
im_rooms_create(void)
{
	return calloc(1, sizeof(ImRooms));
}

/* FNV-1a. */
static unsigned
hash_key(const char *key)
{
	unsigned	hash = 2166136261u;

	for (; *key != '\0'; key++)
		hash = (hash ^ (unsigned char) *key) * 16777619u;
	return hash & (BUCKETS - 1);
}

/* Puts a room at the end of the list, unless it is there. */
static void
enlist(ImRooms *rooms, ImRoom *room)
{
	if (room->listed)
		return;
	room->listed = true;
	room->next = NULL;
	room->prev = rooms->last;
	if (rooms->last != NULL)
		rooms->last->next = room;
	else
		rooms->first = room;
	rooms->last = room;
}

/* Takes a room out of the list, if it is there. */
static void
unlist(ImRooms *rooms, ImRoom *room)
{
	if (!room->listed)
		return;
	room->listed = false;
	if (room->prev != NULL)
		room->prev->next = room->next;
	else
		rooms->first = room->next;
	if (room->next != NULL)
		room->next->prev = room->prev;
	else
		rooms->last = room->prev;
}

/* Notes how often a room was looked at in vain. */
static void
set_vain(ImRooms *rooms, ImRoom *room, int vain)
{
	rooms->resting += (vain > 0) - (room->vain > 0);
	room->vain = vain;
}

/* Forgets a room. */
static void
forget(ImRooms *rooms, ImRoom *room)
{
	ImRoom	  **link = &rooms->bucket[hash_key(room->key)];

	set_vain(rooms, room, 0);
	unlist(rooms, room);
	while (*link != room)
		link = &(*link)->next_hash;
	*link = room->next_hash;
	rooms->count--;
	free(room->key);
	free(room);
}

/* See rooms.h. */
void
im_rooms_free(ImRooms *rooms)
{
	for (int i = 0; i < BUCKETS; i++)
		while (rooms->bucket[i] != NULL)
			forget(rooms, rooms->bucket[i]);
	free(rooms);
}

/* See rooms.h. */
ImRoom *
im_rooms_find(const ImRooms *rooms, const char *key)
{
	ImRoom	   *room = rooms->bucket[hash_key(key)];

	while (room != NULL && strcmp(room->key, key) != 0)
		room = room->next_hash;
	return room;
}

/* See rooms.h. */
int
im_rooms_count(const ImRooms *rooms)
{
	return rooms->count;
}

/* See rooms.h. */
int
im_rooms_resting(const ImRooms *rooms)
{
	return rooms->resting;
}

/* See rooms.h. */
bool
im_rooms_make_place(ImRooms *rooms)
{
	if (rooms->count < IM_ROOMS_MAX)
		return false;
	for (ImRoom *room = rooms->first; room != NULL; room = room->next)
		if (room->vain > 0 && room->nrows == 0 && !room->ordered && !room->held)
		{
			forget(rooms, room);
			return true;
		}
	return false;
}

/* Begins the stage that the room is at. */
static void
begin_stage(ImRooms *rooms, ImRoom *room)
{
	room->exhausted = false;
	room->again = false;
	set_vain(rooms, room, 0);
	room->after = INT64_MIN;
	enlist(rooms, room);
}

/* Makes a room, or returns NULL without memory. */
static ImRoom *
make_room(ImRooms *rooms, const char *key)
{
	unsigned	hash = hash_key(key);
	ImRoom	   *room = calloc(1, sizeof(ImRoom));

	if (room == NULL)
		return NULL;
	room->key = strdup(key);
	if (room->key == NULL)
	{
		free(room);
		return NULL;
	}
	room->next_hash = rooms->bucket[hash];
	rooms->bucket[hash] = room;
	rooms->count++;
	return room;
}

/* See rooms.h. */
ImRoom *
im_rooms_add(ImRooms *rooms, const char *key, const char *group_id, int64_t create_time)
{
	ImRoom	   *room = im_rooms_find(rooms, key);
	size_t		len = strlen(group_id);

	if (len > IM_GROUP_ID_MAX)
		return NULL;
	if (room == NULL)
	{
		if (rooms->count >= IM_ROOMS_MAX)
			return NULL;
		room = make_room(rooms, key);
		if (room == NULL)
			return NULL;
	}
	/* Rows that are on their way have what they need of an older group. */
	memcpy(room->group_id, group_id, len + 1);
	room->create_time = create_time;
	if (room->nrows > 0)
	{
		/* It begins again when they are settled, for the group that was made last. */
		room->revisit = true;
		return room;
	}
	room->stage = IM_FIRST_STAGE;
	begin_stage(rooms, room);
	return room;
}

/* See rooms.h. */
int
im_rooms_pick(ImRooms *rooms, ImKind stage, bool ordered_only, int64_t now,
			  ImRoom **picked, int max)
{
	int			n = 0;

	for (ImRoom *room = rooms->first; room != NULL && n < max; room = room->next)
		if (room->stage == stage && room->not_before <= now && (room->ordered || !ordered_only))
			picked[n++] = room;
	return n;
}

/* See rooms.h. */
void
im_rooms_claimed(ImRooms *rooms, ImRoom *room, int nrows, int64_t last_id,
				 bool exhausted, bool in_order)
{
	room->nrows += nrows;
	room->exhausted = exhausted;
	set_vain(rooms, room, 0);
	if (last_id > room->after)
		room->after = last_id;
	unlist(rooms, room);
	/* To the end of the line: rooms take turns. */
	if (!exhausted && !in_order)
		enlist(rooms, room);
}

/* See rooms.h. */
void
im_rooms_settled(ImRooms *rooms, ImRoom *room, int nrows, bool again, int64_t not_before)
{
	room->nrows -= nrows;
	if (again)
	{
		room->again = true;
		if (not_before > room->not_before)
			room->not_before = not_before;
	}
	if (room->nrows > 0)
		return;
	/* Only now: its last row had a pointer to it. */
	if (room->held)
	{
		forget(rooms, room);
		return;
	}
	/* What came back, or came late, lies before what was claimed last. */
	room->after = INT64_MIN;
	room->exhausted = false;
	room->again = false;
	enlist(rooms, room);
}

/* See rooms.h. */
void
im_rooms_rest(ImRooms *rooms, ImRoom *room, int64_t not_before)
{
	room->not_before = not_before;
	room->after = INT64_MIN;
	room->exhausted = false;
	set_vain(rooms, room, room->vain + 1);
	unlist(rooms, room);
	enlist(rooms, room);
}

/* See rooms.h. */
void
im_rooms_begin(ImRooms *rooms, ImRoom *room)
{
	unlist(rooms, room);
	if (room->nrows > 0)
		return;					/* comes back when they are settled */
	room->stage = IM_FIRST_STAGE;
	begin_stage(rooms, room);
}

/* See rooms.h. */
void
im_rooms_advance(ImRooms *rooms, ImRoom *room)
{
	if (room->nrows > 0)
	{
		unlist(rooms, room);	/* comes back when they are settled */
		return;
	}
	/* The last stage: done, unless rows of the first one came meanwhile. */
	if (room->stage == IM_LAST_STAGE && !room->revisit)
	{
		forget(rooms, room);
		return;
	}
	if (room->stage == IM_LAST_STAGE)
	{
		room->revisit = false;
		room->stage = IM_FIRST_STAGE;
	}
	else
		room->stage++;
	unlist(rooms, room);
	begin_stage(rooms, room);
}

/* Nothing of the room can be claimed, though a row is open that is due then. */
static bool
wait_for_row(ImRooms *rooms, ImRoom *room, int64_t delay, int64_t now)
{
	bool		far = delay > DUE_MAX;

	/* Rows of earlier stages came meanwhile: they need not wait for this one. */
	if (room->revisit)
	{
		room->revisit = false;
		im_rooms_begin(rooms, room);
		return false;
	}
	/* Due already, and yet not taken: it is locked, or its user is on the way. */
	if (delay <= 0 || far)
		delay = LOOK_AGAIN << (room->vain < LOOK_SELDOM ? room->vain : LOOK_SELDOM);
	im_rooms_rest(rooms, room, now + delay);
	return far;
}

/* See rooms.h. */
bool
im_rooms_looked(ImRooms *rooms, ImRoom *room, const ImRoomLook *look, bool in_order, int64_t now)
{
	/* Rows of an earlier stage came late: they go before these. */
	if (look->behind)
		im_rooms_begin(rooms, room);
	else if (look->nrows > 0 || look->nsettled > 0)
		im_rooms_claimed(rooms, room, look->nrows, look->last_id, !look->full && look->nrows > 0,
						 in_order && look->nrows > 0);
	else if (look->open && room->nrows == 0)
		return wait_for_row(rooms, room, look->delay, now);
	else
		im_rooms_advance(rooms, room);
	return false;
}

/* See rooms.h. */
void
im_rooms_leave(ImRooms *rooms, ImRoom *room)
{
	room->held = true;
	if (room->nrows == 0)
		forget(rooms, room);
	else
		unlist(rooms, room);
}

/* See rooms.h. */
bool
im_rooms_busy(const ImRooms *rooms)
{
	return rooms->count > 0;
}

/* See rooms.h. */
void
im_rooms_forget_orders(ImRooms *rooms)
{
	for (int i = 0; i < BUCKETS && rooms->count > 0; i++)
		for (ImRoom *room = rooms->bucket[i]; room != NULL; room = room->next_hash)
			room->ordered = false;
}

/* See rooms.h. */
int
im_rooms_ordered(const ImRooms *rooms)
{
	int			n = 0;

	for (int i = 0; i < BUCKETS && rooms->count > 0; i++)
		for (const ImRoom *room = rooms->bucket[i]; room != NULL; room = room->next_hash)
			n += room->ordered;
	return n;
}

/* How long a room of the list has to wait; stage -1: any stage. */
static int64_t
least_wait(const ImRooms *rooms, int stage, bool ordered_only, int64_t now)
{
	int64_t		wait = -1;

	for (const ImRoom *room = rooms->first; room != NULL && wait != 0; room = room->next)
	{
		int64_t		left = room->not_before > now ? room->not_before - now : 0;

		if ((ordered_only && !room->ordered) || (stage >= 0 && room->stage != (ImKind) stage))
			continue;
		if (wait < 0 || left < wait)
			wait = left;
	}
	return wait;
}

/* See rooms.h. */
int64_t
im_rooms_wait_at(const ImRooms *rooms, ImKind stage, bool ordered_only, int64_t now)
{
	return least_wait(rooms, (int) stage, ordered_only, now);
}

/* See rooms.h. */
int64_t
im_rooms_wait(const ImRooms *rooms, bool ordered_only, int64_t now)
{
	return least_wait(rooms, -1, ordered_only, now);
}
