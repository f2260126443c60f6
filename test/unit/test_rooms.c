/*
 * test_rooms.c
 *	  Rooms at work: stages, turns, order; and a walk of random acts beside a
 *	  model that is too simple to be wrong.
 */
#include "rooms.h"
#include "tap.h"

#define ALL		64

static ImRoom *picked[ALL];

/* How many rooms of a stage have their turn. */
static int
pick(ImRooms *rooms, ImKind stage, int64_t now)
{
	return im_rooms_pick(rooms, stage, false, now, picked, ALL);
}

/* The keys of the rooms whose turn it is, as one word. */
static const char *
turn(ImRooms *rooms, ImKind stage, bool ordered_only, int64_t now)
{
	static char keys[ALL * 2];
	int			n = im_rooms_pick(rooms, stage, ordered_only, now, picked, ALL);

	keys[0] = '\0';
	for (int i = 0; i < n; i++)
		strcat(keys, picked[i]->key);
	return keys;
}

/* A room goes through its stages, and is gone. */
static void
test_stages(void)
{
	ImRooms    *rooms = im_rooms_create();
	ImRoom	   *room;

	ok(!im_rooms_busy(rooms) && im_rooms_wait(rooms, false, 0) == -1, "nothing is at work");
	room = im_rooms_add(rooms, "+r", "@g", 77);
	ok(room != NULL && room->stage == IM_FIRST_STAGE && room->after == INT64_MIN, "a room begins with its first stage");
	ok(strcmp(room->key, "+r") == 0 && strcmp(room->group_id, "@g") == 0 && room->create_time == 77, "it knows its group");
	ok(im_rooms_find(rooms, "+r") == room && im_rooms_find(rooms, "=r") == NULL, "it is found by its key");
	ok(im_rooms_add(rooms, "+r", "@g", 77) == room && im_rooms_count(rooms) == 1, "it is there once");
	for (ImKind stage = IM_FIRST_STAGE; stage <= IM_LAST_STAGE; stage++)
	{
		ok(room->stage == stage, "stage %d", (int) stage);
		for (ImKind other = IM_FIRST_STAGE; other <= IM_LAST_STAGE; other++)
			is_int(pick(rooms, other, 0), other == stage, "stage %d: its turn at %d", (int) stage, (int) other);
		is_int(im_rooms_wait_at(rooms, stage, false, 0), 0, "stage %d waits for its turn", (int) stage);
		im_rooms_claimed(rooms, room, 2, 9, true, false);
		is_int(pick(rooms, stage, 0), 0, "stage %d: all is claimed", (int) stage);
		ok(im_rooms_busy(rooms), "stage %d: busy", (int) stage);
		im_rooms_settled(rooms, room, 1, false, 0);
		is_int(pick(rooms, stage, 0), 0, "stage %d: one is still on its way", (int) stage);
		im_rooms_settled(rooms, room, 1, false, 0);
		is_int(pick(rooms, stage, 0), 1, "stage %d: it looks again before it goes on", (int) stage);
		ok(room->after == INT64_MIN, "stage %d: from the beginning", (int) stage);
		im_rooms_advance(rooms, room);
	}
	ok(im_rooms_count(rooms) == 0 && im_rooms_find(rooms, "+r") == NULL && !im_rooms_busy(rooms),
	   "after the last stage it is gone");
	im_rooms_free(rooms);
}

/* Rooms take turns; only rows in order wait for those before. */
static void
test_turns(void)
{
	ImRooms    *rooms = im_rooms_create();
	ImRoom	   *a = im_rooms_add(rooms, "a", "", 0);
	ImRoom	   *b = im_rooms_add(rooms, "b", "", 0);

	(void) im_rooms_add(rooms, "c", "", 0);
	is_str(turn(rooms, IM_FIRST_STAGE, false, 0), "abc", "in the order in which they came");
	is_int(im_rooms_pick(rooms, IM_FIRST_STAGE, false, 0, picked, 2), 2, "no more than there is room for");
	is_str(turn(rooms, IM_FIRST_STAGE, false, 0), "abc", "a pick moves nobody");
	im_rooms_claimed(rooms, a, 20, 20, false, false);
	is_str(turn(rooms, IM_FIRST_STAGE, false, 0), "bca", "who was served is last");
	is_int(a->after, 20, "and goes on behind what is claimed");
	im_rooms_claimed(rooms, a, 20, 15, false, false);
	is_int(a->after, 20, "never back");
	im_rooms_claimed(rooms, b, 7, 7, false, true);
	is_str(turn(rooms, IM_FIRST_STAGE, false, 0), "ca", "who sends in order waits for the answer");
	im_rooms_advance(rooms, a);
	ok(a->stage == IM_FIRST_STAGE, "no stage is left while rows of it are on their way");
	is_str(turn(rooms, IM_FIRST_STAGE, false, 0), "c", "and there is no more to claim");
	im_rooms_settled(rooms, b, 7, false, 0);
	is_str(turn(rooms, IM_FIRST_STAGE, false, 0), "cb", "its answer is its turn");
	im_rooms_settled(rooms, a, 40, false, 0);
	is_str(turn(rooms, IM_FIRST_STAGE, false, 0), "cba", "all of it is settled");
	im_rooms_free(rooms);
}

/* A row that came back, and rooms that rest. */
static void
test_again(void)
{
	ImRooms    *rooms = im_rooms_create();
	ImRoom	   *a = im_rooms_add(rooms, "a", "", 0);

	im_rooms_claimed(rooms, a, 3, 30, false, true);
	im_rooms_settled(rooms, a, 1, true, 500);
	im_rooms_settled(rooms, a, 1, true, 400);
	im_rooms_settled(rooms, a, 1, false, 0);
	ok(a->after == INT64_MIN, "it looks from the beginning again");
	is_int(pick(rooms, IM_FIRST_STAGE, 499), 0, "not before the last of those that came back");
	is_int(im_rooms_wait(rooms, false, 450), 50, "so long it waits");
	is_int(pick(rooms, IM_FIRST_STAGE, 500), 1, "then it does");
	im_rooms_rest(rooms, a, 900);
	is_int(pick(rooms, IM_FIRST_STAGE, 899), 0, "it rests");
	is_int(pick(rooms, IM_FIRST_STAGE, 900), 1, "until its time");
	(void) im_rooms_add(rooms, "b", "", 0);
	im_rooms_claimed(rooms, im_rooms_find(rooms, "b"), 1, 1, true, false);
	ok(im_rooms_add(rooms, "b", "@new", 5)->stage == IM_FIRST_STAGE, "added again while rows are on their way");
	ok(strcmp(im_rooms_find(rooms, "b")->group_id, "@new") == 0, "what is claimed next is for the group that was made last");
	is_int(im_rooms_find(rooms, "b")->nrows, 1, "it knows of them still");
	ok(im_rooms_find(rooms, "b")->revisit, "and that it is to look at all stages again");
	im_rooms_settled(rooms, im_rooms_find(rooms, "b"), 1, false, 0);
	im_rooms_advance(rooms, im_rooms_find(rooms, "b"));
	(void) im_rooms_add(rooms, "b", "@new", 5);
	ok(im_rooms_find(rooms, "b")->stage == IM_FIRST_STAGE, "added again at rest: all stages are looked at");
	im_rooms_free(rooms);
}

/* Rows of an earlier stage came when the room had passed it. */
static void
test_begin(void)
{
	ImRooms    *rooms = im_rooms_create();
	ImRoom	   *a = im_rooms_add(rooms, "a", "", 0);

	im_rooms_advance(rooms, a);
	im_rooms_claimed(rooms, a, 7, 70, false, true);
	im_rooms_begin(rooms, a);
	ok(a->stage == IM_FIRST_STAGE + 1 && pick(rooms, IM_FIRST_STAGE + 1, 0) == 0, "it does not begin again while rows are on their way");
	im_rooms_settled(rooms, a, 7, false, 0);
	im_rooms_begin(rooms, a);
	ok(pick(rooms, IM_FIRST_STAGE, 0) == 1 && pick(rooms, IM_FIRST_STAGE + 1, 0) == 0, "it begins again when they are settled");
	ok(a->after == INT64_MIN, "with the first row");
	im_rooms_free(rooms);
}

/* Rooms in which others write. */
static void
test_held(void)
{
	ImRooms    *rooms = im_rooms_create();
	ImRoom	   *a = im_rooms_add(rooms, "a", "", 0);

	im_rooms_claimed(rooms, a, 2, 2, false, true);
	a->held = true;
	im_rooms_settled(rooms, a, 1, true, 0);
	ok(im_rooms_find(rooms, "a") == a, "held: what is on its way still settles");
	im_rooms_settled(rooms, a, 1, false, 0);
	ok(im_rooms_find(rooms, "a") == NULL && im_rooms_count(rooms) == 0, "held: then it is gone");

	a = im_rooms_add(rooms, "a", "", 0);
	im_rooms_claimed(rooms, a, 2, 2, false, false);
	im_rooms_leave(rooms, a);
	is_int(im_rooms_pick(rooms, IM_FIRST_STAGE, false, 0, picked, ALL), 0, "left: nothing more is claimed");
	im_rooms_settled(rooms, a, 2, true, 0);
	ok(im_rooms_find(rooms, "a") == NULL, "left: gone when what is on its way is settled");
	im_rooms_leave(rooms, im_rooms_add(rooms, "a", "", 0));
	ok(im_rooms_find(rooms, "a") == NULL && im_rooms_wait(rooms, false, 0) == -1, "left: gone at once if nothing is");
	im_rooms_free(rooms);
}

/* Ordered rooms go while others must not. */
static void
test_ordered(void)
{
	ImRooms    *rooms = im_rooms_create();

	(void) im_rooms_add(rooms, "a", "", 0);
	im_rooms_add(rooms, "b", "", 0)->ordered = true;
	is_str(turn(rooms, IM_FIRST_STAGE, true, 0), "b", "only what was ordered");
	is_str(turn(rooms, IM_FIRST_STAGE, false, 0), "ab", "and everything");
	is_int(im_rooms_ordered(rooms), 1, "one was ordered");
	is_int(im_rooms_wait(rooms, true, 0), 0, "its turn is now");
	is_int(im_rooms_wait_at(rooms, IM_MESSAGE, true, 0), -1, "at no other stage");
	im_rooms_claimed(rooms, im_rooms_find(rooms, "b"), 1, 1, true, false);
	is_int(im_rooms_wait(rooms, true, 0), -1, "nothing ordered waits");
	im_rooms_free(rooms);
}

/* The list has an end. */
static void
test_full(void)
{
	ImRooms    *rooms = im_rooms_create();
	char		key[16];
	char		id[IM_GROUP_ID_MAX + 2];
	bool		held = true;

	memset(id, 'x', sizeof(id) - 1);
	id[sizeof(id) - 1] = '\0';
	ok(im_rooms_add(rooms, "a", id, 0) == NULL && im_rooms_count(rooms) == 0, "a GroupId that is too long");
	for (int i = 0; i < IM_ROOMS_MAX; i++)
	{
		snprintf(key, sizeof(key), "%d", i);
		held = im_rooms_add(rooms, key, "", 0) != NULL && held;
	}
	ok(held && im_rooms_count(rooms) == IM_ROOMS_MAX, "as many as there is place for");
	ok(im_rooms_add(rooms, "one more", "", 0) == NULL, "and not one more");
	ok(im_rooms_add(rooms, "7", "", 0) != NULL, "but one that is there");
	held = true;
	for (int i = 0; i < IM_ROOMS_MAX; i++)
	{
		snprintf(key, sizeof(key), "%d", i);
		held = im_rooms_find(rooms, key) != NULL && held;
	}
	ok(held, "each is found");

	/* Rooms that rest make place for others, those at work do not. */
	ok(!im_rooms_make_place(rooms), "none rests: no place");
	im_rooms_claimed(rooms, im_rooms_find(rooms, "8"), 1, 1, false, false);
	im_rooms_rest(rooms, im_rooms_find(rooms, "8"), 5);
	im_rooms_rest(rooms, im_rooms_find(rooms, "9"), 5);
	im_rooms_rest(rooms, im_rooms_find(rooms, "9"), 10);
	ok(im_rooms_resting(rooms) == 2, "two rest");
	ok(im_rooms_make_place(rooms) && im_rooms_find(rooms, "9") == NULL, "one of them, that has no rows under way, is forgotten");
	ok(im_rooms_find(rooms, "8") != NULL && im_rooms_resting(rooms) == 1, "the other stays");
	ok(im_rooms_add(rooms, "one more", "", 0) != NULL && !im_rooms_make_place(rooms), "there is place for one, and for no more");
	im_rooms_settled(rooms, im_rooms_find(rooms, "8"), 1, false, 0);
	im_rooms_claimed(rooms, im_rooms_find(rooms, "8"), 1, 2, false, false);
	ok(im_rooms_resting(rooms) == 0, "what is claimed rests no more");
	im_rooms_free(rooms);
}

/* ------------------------------------------------------------------------
 * A random walk
 */

#define KEYS	12
#define WALKS	60
#define STEPS	400

/* What there is to know of a room: no lists, no hash. */
typedef struct Model
{
	ImRoom	   *room;			/* NULL: not at work */
	ImKind		stage;
	int			nrows;
	bool		listed;
	int64_t		came;			/* to the list: an earlier one goes first */
	int64_t		not_before;
	int64_t		after;
	bool		ordered;
	bool		held;
	bool		revisit;		/* added while rows of it were on their way */
} Model;

static uint64_t walk_state;
static int64_t walk_step;

static int
below(int n)
{
	walk_state = walk_state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (int) ((walk_state >> 33) % (uint64_t) n);
}

/* The room comes to the end of the list, if it was not in it. */
static void
model_enlist(Model *model)
{
	if (!model->listed)
		model->came = ++walk_step;
	model->listed = true;
}

static void
walk_add(ImRooms *rooms, Model *model, const char *key)
{
	bool		ordered = below(4) == 0;

	if (model->room != NULL && model->nrows > 0)
	{
		(void) im_rooms_add(rooms, key, "", 0);
		model->revisit = true;
		return;
	}
	if (model->room == NULL)
		memset(model, 0, sizeof(*model));
	model->room = im_rooms_add(rooms, key, "", 0);
	model->room->ordered = model->ordered = ordered;
	model->stage = IM_FIRST_STAGE;
	model->after = INT64_MIN;
	model_enlist(model);
}

/* One of the acts that flow.c does with a room whose turn it is. */
static void
walk_serve(ImRooms *rooms, Model *model, int64_t now)
{
	int			n = 1 + below(5);
	bool		exhausted = below(2) == 0;
	bool		in_order = model->stage == IM_MESSAGE;

	switch (below(3))
	{
		case 0:
			im_rooms_claimed(rooms, model->room, n, 100 + n, exhausted, in_order);
			model->nrows += n;
			model->after = model->after > 100 + n ? model->after : 100 + n;
			model->listed = false;
			if (!exhausted && !in_order)
				model_enlist(model);
			break;
		case 1:
			if (model->nrows > 0)
				break;
			im_rooms_rest(rooms, model->room, now + n);
			model->not_before = now + n;
			model->after = INT64_MIN;
			model->listed = false;
			model_enlist(model);
			break;
		default:
			im_rooms_advance(rooms, model->room);
			model->listed = false;
			if (model->nrows > 0)
				break;
			if (model->stage == IM_LAST_STAGE && !model->revisit)
			{
				model->room = NULL;
				break;
			}
			if (model->stage == IM_LAST_STAGE)
			{
				model->revisit = false;
				model->stage = IM_FIRST_STAGE;
			}
			else
				model->stage++;
			model->after = INT64_MIN;
			model_enlist(model);
	}
}

/* Some of its rows are settled. */
static void
walk_settle(ImRooms *rooms, Model *model, int64_t now)
{
	int			n = 1 + below(model->nrows);
	bool		again = below(3) == 0;
	int64_t		not_before = again ? now + below(9) : 0;

	if (below(20) == 0)
		model->room->held = model->held = true;
	im_rooms_settled(rooms, model->room, n, again, not_before);
	model->nrows -= n;
	if (again && not_before > model->not_before)
		model->not_before = not_before;
	if (model->nrows > 0)
		return;
	if (model->held)
	{
		model->room = NULL;
		return;
	}
	model->after = INT64_MIN;
	model_enlist(model);
}

/* The rooms are what the model says, and the turn is the model's. */
static bool
walk_agrees(ImRooms *rooms, const Model *models, int64_t now)
{
	ImKind		stage = IM_FIRST_STAGE + below(IM_STAGES);
	bool		ordered_only = below(3) == 0;
	int			n = im_rooms_pick(rooms, stage, ordered_only, now, picked, ALL);
	int			count = 0;
	int			due = 0;
	int			ordered = 0;
	int64_t		wait = -1;
	int64_t		last = -1;

	for (int i = 0; i < KEYS; i++)
	{
		const Model *model = &models[i];
		char		key[2] = {(char) ('a' + i), '\0'};
		const ImRoom *room = im_rooms_find(rooms, key);
		int64_t		left = model->not_before > now ? model->not_before - now : 0;

		if (room != model->room)
			return false;
		if (room == NULL)
			continue;
		count++;
		ordered += model->ordered;
		if (room->stage != model->stage || room->nrows != model->nrows || room->after != model->after)
			return false;
		if (!model->listed || model->stage != stage || (ordered_only && !model->ordered))
			continue;
		due += left == 0;
		wait = wait < 0 || left < wait ? left : wait;
	}
	for (int i = 0; i < n; i++)
	{
		const Model *model = &models[picked[i]->key[0] - 'a'];

		if (!model->listed || model->stage != stage || model->came <= last)
			return false;
		last = model->came;
	}
	return n == due && im_rooms_count(rooms) == count && im_rooms_busy(rooms) == (count > 0) &&
		(below(32) != 0 || im_rooms_ordered(rooms) == ordered) && im_rooms_wait_at(rooms, stage, ordered_only, now) == wait;
}

/* One walk; false, and says so, if they part. */
static bool
walk(uint64_t seed)
{
	ImRooms    *rooms = im_rooms_create();
	Model		models[KEYS];
	bool		agree = true;

	memset(models, 0, sizeof(models));
	walk_state = seed;
	walk_step = 0;
	for (int64_t now = 0; now < STEPS && agree; now++)
	{
		int			i = below(KEYS);
		Model	   *model = &models[i];
		char		key[2] = {(char) ('a' + i), '\0'};

		if (model->room == NULL || below(10) == 0)
			walk_add(rooms, model, key);
		else if (model->nrows > 0 && below(2) == 0)
			walk_settle(rooms, model, now);
		else if (model->listed && model->not_before <= now)
			walk_serve(rooms, model, now);
		agree = walk_agrees(rooms, models, now);
		if (!agree)
			diag("seed %" PRIu64 ", step %" PRId64 ", room %s", seed, now, key);
	}
	im_rooms_free(rooms);
	return agree;
}

int
main(void)
{
	int			good = 0;

	test_stages();
	test_turns();
	test_again();
	test_begin();
	test_held();
	test_ordered();
	test_full();
	for (uint64_t seed = 1; seed <= WALKS; seed++)
		good += walk(seed);
	is_int(good, WALKS, "%d walks of %d steps agree with the model", WALKS, STEPS);
	return tap_done();
}
