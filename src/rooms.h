/*
 * rooms.h
 *	  The groups whose members, messages and unread counts are at work.
 *
 * A room is a pipeline of the kinds from IM_FIRST_STAGE to IM_LAST_STAGE: members,
 * then messages, then unread counts.  A stage begins when no row of the one before
 * is open.  Rooms flow independently of each other.  Kept here is only what the
 * worker is busy with: a room that waits for its group is not here, and costs
 * nothing.
 *
 * Pure: knows no SQL, no clock, no service.  Memory is malloc()'s, bounded by
 * the number of rooms.
 */
#ifndef IM_ROOMS_H
#define IM_ROOMS_H

#include <string.h>

#include "call.h"

#define IM_ROOMS_MAX		4096	/* at work at one time */

typedef struct ImRoom
{
	char	   *key;			/* '+' and the group's source_id, '=' and its
								 * GroupId, or "" for rows that name no group */
	char		group_id[IM_GROUP_ID_MAX + 1];	/* in the app */
	int64_t		create_time;	/* of the group, UNIX seconds; 0: not known */
	ImKind		stage;			/* what is looked for now */
	int			nrows;			/* rows of this room that are claimed */
	bool		ordered;		/* sent because of im_import_drain(), also while
								 * paused */
	bool		exhausted;		/* the last claim of this stage took all there was */
	bool		again;			/* a row came back: look from the beginning */
	bool		revisit;		/* rows came meanwhile: begin again before it is left */
	int			vain;			/* looks at this stage that found nothing to claim */
	bool		held;			/* others write in it: gone when its rows are settled */
	int64_t		newest;			/* no message of ours is later, UNIX seconds */
	int64_t		after;			/* rows of this stage up to this id are claimed */
	int64_t		not_before;		/* monotonic us */
	/* internal */
	struct ImRoom *next_hash;
	struct ImRoom *prev;
	struct ImRoom *next;
	bool		listed;			/* among those that wait for their turn */
} ImRoom;

/* A group's id as a room has it.  Too long for one: the room's rows end as invalid, and say so. */
static inline const char *
im_room_group_id(const char *group_id)
{
	return strlen(group_id) > IM_GROUP_ID_MAX ? "" : group_id;
}

typedef struct ImRooms ImRooms;

extern ImRooms *im_rooms_create(void);
extern void im_rooms_free(ImRooms *rooms);

/*
 * Adds a room at its first stage, or has the one that is there look at all its
 * stages again.  NULL if there is no room for it: it must be found later.
 */
extern ImRoom *im_rooms_add(ImRooms *rooms, const char *key, const char *group_id,
							int64_t create_time);

/* Nobody orders anything any more: no room goes because of an order. */
extern void im_rooms_forget_orders(ImRooms *rooms);

/* A room that is at work, or NULL. */
extern ImRoom *im_rooms_find(const ImRooms *rooms, const char *key);

extern int	im_rooms_count(const ImRooms *rooms);

/* Those of them that were last looked at in vain. */
extern int	im_rooms_resting(const ImRooms *rooms);

/*
 * If there is no place for one more, forgets one that rests, so that rooms whose
 * rows somebody locks do not keep others from work.  True if it did: a sweep finds
 * that one again.  No room may be picked for a claim meanwhile.
 */
extern bool im_rooms_make_place(ImRooms *rooms);

/*
 * Picks rooms of a stage whose turn it is, in the order in which they came to
 * wait for it; of those that ordered only says, ordered ones.  They stay where
 * they are until one of the functions below is called for each.
 */
extern int	im_rooms_pick(ImRooms *rooms, ImKind stage, bool ordered_only, int64_t now,
						  ImRoom **picked, int max);

/*
 * A claim took so many rows of the room, the last by id being last_id; all of
 * its stage that can be had now, if exhausted.  A room whose rows go in order
 * (in_order) waits until these are settled.
 */
extern void im_rooms_claimed(ImRooms *rooms, ImRoom *room, int nrows, int64_t last_id,
							 bool exhausted, bool in_order);

/* What a look for rows at a room's stage has found. */
typedef struct ImRoomLook
{
	bool		behind;			/* rows of an earlier stage are open */
	int			nrows;			/* rows that were claimed ... */
	int			nsettled;		/* ... and that ended at the claim */
	int64_t		last_id;		/* the highest id of both */
	bool		full;			/* there may be more of them */
	bool		open;			/* none of both, but a row is open: ... */
	int64_t		delay;			/* ... due in so long, us */
} ImRoomLook;

/*
 * Where the room goes after such a look.  True if its row is due later than any can
 * be: the clock was set back.
 */
extern bool im_rooms_looked(ImRooms *rooms, ImRoom *room, const ImRoomLook *look, bool in_order,
							int64_t now);

/* The claim was undone, or its rows are settled.  again: a row is open again,
 * to be looked at not before that time. */
extern void im_rooms_settled(ImRooms *rooms, ImRoom *room, int nrows, bool again,
							 int64_t not_before);

/* There was nothing to claim, but rows are open: looks again at that time. */
extern void im_rooms_rest(ImRooms *rooms, ImRoom *room, int64_t not_before);

/* Rows of an earlier stage came: the room begins again, if nothing is on its way. */
extern void im_rooms_begin(ImRooms *rooms, ImRoom *room);

/* No row of this stage is open: on to the next one, or the room is done and gone. */
extern void im_rooms_advance(ImRooms *rooms, ImRoom *room);

/* Nothing more is sent for the room: it is gone once its claimed rows are settled. */
extern void im_rooms_leave(ImRooms *rooms, ImRoom *room);

/* True if rows of any room are claimed or a room waits for its turn. */
extern bool im_rooms_busy(const ImRooms *rooms);

/* Rooms that are at work because of im_import_drain(). */
extern int	im_rooms_ordered(const ImRooms *rooms);

/* The same as below, of one stage. */
extern int64_t im_rooms_wait_at(const ImRooms *rooms, ImKind stage, bool ordered_only, int64_t now);

/* Microseconds until a room's turn comes; 0: now; -1: none waits. */
extern int64_t im_rooms_wait(const ImRooms *rooms, bool ordered_only, int64_t now);

#endif							/* IM_ROOMS_H */
