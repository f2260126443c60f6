/*
 * sim_people.c
 *	  A simulated life of accounts and members: the world, people, and what must
 *	  hold.  See sim_people.h.
 *
 *		sim_people --seeds N [--first N] [--stop] [--trace]
 *
 * What must hold: what is imported is there, as the row has it; what failed or is
 * invalid is not; a refused member is explained as far as the service told; no row
 * is sent without a committed claim, or without end; the import pauses when nine of
 * ten are refused alike, and not before; and when nothing goes wrong any more, and
 * people have repaired what failed, every row is imported.
 */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "sim_people.h"

#define SENDS_MAX		32		/* calls of one row after one claim: halved, alone, explained */
#define STEPS_MAX		200000
#define CALM_MAX		(4 * 3600 * SEC)	/* in so long all comes to an end */
#define CURES			6

LifeMet		met[NMET] = {
	{"imported", 0}, {"failed", 0}, {"invalid", 0}, {"in doubt", 0}, {"listed in FailAccounts", 0},
	{"sent alone, to learn why", 0}, {"sent alone, and done", 0}, {"members added", 0}, {"members that were there", 0},
	{"members refused", 0}, {"asked why", 0}, {"told that the account is not there", 0}, {"questions split", 0},
	{"too many in one call", 0}, {"halved for one row's sake", 0}, {"partly applied", 0}, {"late request applied", 0},
	{"request repeated", 0}, {"answer cut off", 0}, {"group gone", 0}, {"crashed", 0}, {"crashed with a request on its way", 0},
	{"crashed behind a claim", 0}, {"commit rolled back", 0}, {"commit of unknown outcome", 0}, {"row locked", 0},
	{"row repaired", 0}, {"doubt sent again", 0}, {"doubt resolved", 0}, {"member waits for its account", 0},
	{"paused: refused alike", 0}, {"worker left", 0}
};

/* A random number below n. */
int
below(World *w, int n)
{
	return (int) (life_draw(&w->random) % (uint64_t) n);
}

/* True in so many of a thousand cases. */
bool
chance(World *w, int per_mille)
{
	return per_mille > 0 && below(w, 1000) < per_mille;
}

/* A fault, while there are any. */
bool
fault(World *w, int share)
{
	return w->now < w->calm_at && w->bad > 0 && below(w, 100000) < w->bad * share;
}

/* One line of what happens. */
void
trace(const World *w, const char *format,...)
{
	va_list		args;

	if (!w->trace)
		return;
	printf("%12.6f  ", (double) w->now / SEC);
	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	printf("\n");
}

/* The first thing that does not hold stays. */
void
violate(World *w, const char *what)
{
	trace(w, "VIOLATION: %s", what);
	if (w->violation == NULL)
		w->violation = what;
}

/* ------------------------------------------------------------------------
 * What must hold
 */

/* The service has what the row says. */
bool
is_there(const World *w, const Row *row)
{
	if (row->kind == IM_MEMBER)
		return w->service.member[row->group][row->user];
	return w->service.account[row->user] && w->service.value[row->user] == row->value;
}

/* What a row says must be so. */
void
check_row(World *w, const Row *row)
{
	bool		gone = row->kind == IM_MEMBER && !w->service.group[row->group];
	bool		any = is_there(w, row) || gone ||
		(row->kind == IM_ACCOUNT && w->service.account[row->user] && !w->service.overwrites);

	if (row->status == IM_IMPORTED && !any)
		violate(w, "imported, and not there");
	if ((row->status == IM_FAILED || row->status == IM_INVALID) && is_there(w, row))
		violate(w, "failed, and there");
	if (w->flawless && row->status != IM_IMPORTED && row->status != IM_PENDING && row->status != IM_SENDING)
		violate(w, "a good row is not imported, although nothing went wrong");
}

/* A refused member is told what the service told. */
void
check_told(World *w, const Row *row, const ImRow *out)
{
	static const char absent[] = "the app has no account";
	bool		told = strncmp(out->info, absent, sizeof(absent) - 1) == 0;

	if (row->status != IM_FAILED || row->kind != IM_MEMBER || out->verdict.code != IM_CODE_ITEM)
		return;
	met[MET_ABSENT].n += told;
	if (told != row->told_absent)
		violate(w, told ? "an account is called absent, and nobody said so" : "nobody says that the account is absent");
	if (out->info[0] == '\0')
		violate(w, "a refused member without words");
}

/* A call leaves. */
void
check_send(World *w, const Call *call)
{
	for (int i = 0; i < call->call.nrows; i++)
	{
		Row		   *row = &w->rows[call->rows[i]->id - 1];

		if (row->status != IM_SENDING || row->claim != call->rows[i]->claim)
			violate(w, "sent without a committed claim");
		if (++row->sends > SENDS_MAX)
			violate(w, "a row is sent again and again");
	}
	w->imports += !im_op_asks(call->call.op);
}

/* The import pauses, because nine of ten are refused alike. */
void
check_pause(World *w)
{
	met[MET_PAUSED].n++;
	if (w->alike < IM_BREAKER_SAME)
		violate(w, "paused, although most rows were taken");
	w->pauses++;
}

/* All rows are refused for one reason: that must not go on. */
static void
check_brake(World *w)
{
	ImKind		kind = w->rows[0].kind;
	int			alone = kind == IM_ACCOUNT ? 1 : w->per_call[kind];

	if (w->brake && w->pauses == 0 &&
		w->failed > IM_BREAKER_WINDOW * alone + (w->max_in_flight + 30) * w->per_call[kind])
		violate(w, "all rows are refused for one reason, and the import goes on");
}

/* Nothing went wrong: no more calls than are needed. */
static void
check_economy(World *w)
{
	int			n[1 + GROUPS] = {0};
	int			accounts;
	int			most;

	for (int i = 0; i < w->nrows; i++)
		n[w->rows[i].kind == IM_ACCOUNT ? 0 : 1 + w->rows[i].group]++;
	accounts = (n[0] + w->per_call[IM_ACCOUNT] - 1) / w->per_call[IM_ACCOUNT];
	most = accounts;
	for (int g = 1; g <= GROUPS; g++)
		if (n[g] > 0)
			most += (n[g] + w->per_call[IM_MEMBER] - 1) / w->per_call[IM_MEMBER] + accounts;
	if (w->imports > most)
		violate(w, "more calls than are needed");
}

/* Everything has come to an end, people have repaired what they could. */
static void
check_end(World *w)
{
	for (int i = 0; i < w->nrows; i++)
	{
		const Row  *row = &w->rows[i];

		check_row(w, row);
		if (row->status != IM_IMPORTED && !(row->kind == IM_MEMBER && !w->service.group[row->group]))
			violate(w, "a row is lost: repaired, and not imported");
	}
}

/* ------------------------------------------------------------------------
 * People
 */

/* A row starts anew; see start_anew() of guard.c. */
static void
send_again(World *w, Row *row)
{
	row->status = IM_PENDING;
	row->attempts = 0;
	row->due_at = -1;
	w->ring = true;
}

/* Repairs a row, or has it sent again if it is in doubt: its record is frozen then. */
static void
repair(World *w, Row *row, bool good)
{
	if (row->status == IM_IN_DOUBT)
		met[MET_RETRIED].n++;
	else if (row->status == IM_FAILED || row->status == IM_INVALID)
	{
		met[MET_REPAIRED].n++;
		row->value += VALUE_NEXT - row->value % VALUE_NEXT;
		if (!good && chance(w, 300))
			row->value += VALUE_BAD;
	}
	else
		return;
	trace(w, "row of user %d is repaired", row->user);
	send_again(w, row);
}

/* The import goes on. */
static void
resume(World *w)
{
	w->paused = false;
	im_breaker_reset(&w->breaker, w->now);
	w->alike = w->failed = 0;
	w->ring = true;
}

/* Something that people do, now and then. */
static void
act(World *w)
{
	Row		   *row = &w->rows[below(w, w->nrows)];

	switch (below(w, 8))
	{
		case 0:
			row->locked_until = w->now + below(w, 20) * SEC;
			break;
		case 1:
			if (chance(w, 50))
			{
				int			g = below(w, w->ngroups);

				met[MET_DISSOLVED].n += w->service.group[g];
				w->service.group[g] = false;
				memset(w->service.member[g], false, sizeof(w->service.member[g]));
			}
			break;
		case 2:
			if (w->paused)
				resume(w);
			break;
		default:
			if (is_visible(w, row) && row->locked_until <= w->now)
				repair(w, row, false);
	}
}

/* Nothing goes wrong any more: people cure what there is to cure. False if there is nothing. */
static bool
cure(World *w, int round)
{
	bool		any = w->paused;

	w->calm_at = w->now;
	w->service.capacity = USERS;
	for (int i = 0; i < w->nusers; i++)
		w->service.account[i] = true;
	for (int i = 0; i < w->nrows; i++)
	{
		Row		   *row = &w->rows[i];

		if (row->status == IM_IMPORTED || (row->kind == IM_MEMBER && !w->service.group[row->group]))
			continue;
		any = true;
		if (row->status == IM_IN_DOUBT && round > 0)
		{
			/* im_import_resolve(): whoever has looked knows that it is not there. */
			met[MET_RESOLVED].n++;
			row->maybe_sent_at = -1;
			if (is_there(w, row))
				row->status = IM_IMPORTED;
			else
				send_again(w, row);
		}
		else
			repair(w, row, true);
	}
	if (w->paused)
		resume(w);
	return any;
}

/* ------------------------------------------------------------------------
 * The world
 */

/* A row is added to its outbox. */
static void
add_row(World *w, ImKind kind, int user, int group)
{
	Row		   *row = &w->rows[w->nrows++];

	*row = (Row) {.kind = kind,.user = user,.group = group,.due_at = -1,.maybe_sent_at = -1,.visible_at = w->now};
	if (w->flawless || w->brake)
		return;
	row->value = (chance(w, 80) ? VALUE_BAD : 0) + (chance(w, 30) ? VALUE_INVALID : 0);
	if (chance(w, 100))
		row->visible_at += below(w, 60) * SEC;
}

/* All rows will be refused, for one reason. */
static void
add_refused_rows(World *w)
{
	ImKind		kind = chance(w, 500) ? IM_ACCOUNT : IM_MEMBER;

	w->nusers = 500;
	w->ngroups = 1;
	w->per_call[IM_ACCOUNT] = 1 + below(w, 12);
	w->per_call[IM_MEMBER] = 1;
	for (int i = 0; i < w->nusers; i++)
	{
		w->service.comes_at[i] = NEVER;
		add_row(w, kind, i, 0);
		w->rows[i].value = VALUE_BAD;
	}
}

/* Accounts and members, of a few users or of many. */
static void
add_rows(World *w)
{
	bool		has_row[USERS];

	w->nusers = chance(w, 30) ? 20 + below(w, 120) : 1 + below(w, 12);
	w->ngroups = 1 + below(w, GROUPS);
	w->per_call[IM_ACCOUNT] = chance(w, 300) ? 100 : 1 + below(w, 10);
	w->per_call[IM_MEMBER] = chance(w, 300) ? 20 + below(w, 2) * 80 : 1 + below(w, 8);
	for (int i = 0; i < w->nusers; i++)
	{
		w->service.comes_at[i] = NEVER;
		has_row[i] = w->flawless || chance(w, 700);
		if (has_row[i])
			add_row(w, IM_ACCOUNT, i, 0);
		if (has_row[i] ? !w->flawless && chance(w, 100) : chance(w, 600))
		{
			w->service.account[i] = true;
			w->service.value[i] = -1;
		}
		else if (!has_row[i] && chance(w, 500))
			w->service.comes_at[i] = below(w, 120) * SEC;
	}
	for (int g = 0; g < w->ngroups; g++)
		for (int i = 0; i < w->nusers; i++)
			if (chance(w, 700))
				add_row(w, IM_MEMBER, i, g);
}

/* What the service is like in this world. */
static void
init_service(World *w)
{
	Service    *service = &w->service;

	service->most_accounts = w->flawless || chance(w, 700) ? 100 : 1 + below(w, w->per_call[IM_ACCOUNT]);
	service->most_members = w->flawless || chance(w, 700) ? 500 : 1 + below(w, w->per_call[IM_MEMBER]);
	service->capacity = w->flawless || chance(w, 900) ? USERS : 1 + below(w, 5);
	service->refuses_whole = !w->flawless && !w->brake && chance(w, 300);
	service->overwrites = chance(w, 700);
	for (int g = 0; g < w->ngroups; g++)
		w->made_at[g] = w->brake || w->flawless || chance(w, 500) ? w->now : w->now + below(w, 30) * SEC;
}

static void
init_world(World *w, uint64_t seed, bool tracing)
{
	static const ImOp limited[] = {IM_OP_IMPORT_ACCOUNTS, IM_OP_IMPORT_ACCOUNT, IM_OP_IMPORT_MEMBERS, IM_OP_CHECK_ACCOUNTS};

	memset(w, 0, offsetof(World, requests));
	memset(&w->nrequests, 0, offsetof(World, rows) - offsetof(World, nrequests));
	memset(&w->nrows, 0, sizeof(World) - offsetof(World, nrows));
	w->random = seed;
	w->trace = tracing;
	w->now = 1000 * SEC;
	w->flawless = chance(w, 100);
	w->brake = !w->flawless && chance(w, 2);
	w->calm_at = w->now + 1 * SEC + below(w, 300) * SEC;
	w->bad = w->flawless || w->brake || chance(w, 250) ? 0 : 50 + below(w, 700);
	w->crash = w->bad > 0 ? below(w, 2) * below(w, 30) : 0;
	w->max_attempts = 1 + below(w, 8);
	w->max_in_flight = 1 + below(w, 8);
	for (int i = 0; i < 4; i++)
		im_limiter_init(&w->limiters[limited[i]], chance(w, 800) ? 100 : 2, w->now - 10 * SEC);
	im_breaker_init(&w->breaker);
	if (w->brake)
		add_refused_rows(w);
	else
		add_rows(w);
	init_service(w);
	if (w->nrows == 0)
		add_row(w, IM_ACCOUNT, 0, 0);
	w->starts_at = w->now;
	w->ring = true;
}

/* Groups are made, accounts come, rows are committed. Returns when the next one does. */
static int64_t
let_come(World *w)
{
	int64_t		next = NEVER;

	for (int g = 0; g < w->ngroups; g++)
	{
		char		key[4] = {'+', (char) ('0' + g), '\0'};

		if (w->made_at[g] > w->now && w->made_at[g] < next)
			next = w->made_at[g];
		if (w->made_at[g] > w->now || w->made_at[g] == 0)
			continue;
		w->service.group[g] = true;
		w->made_at[g] = 0;
		/* Its row is imported: what waits for it can go. */
		if (w->running)
			(void) im_rooms_add(w->rooms, key, key, 0);
		w->turns_at = w->now;
	}
	for (int i = 0; i < w->nusers; i++)
	{
		int64_t		at = w->service.comes_at[i] == NEVER ? NEVER : 1000 * SEC + w->service.comes_at[i];

		if (at > w->now && at < next)
			next = at;
		if (at > w->now || w->service.account[i])
			continue;
		w->service.account[i] = true;
		w->service.value[i] = -1;
	}
	for (int i = 0; i < w->nrows; i++)
	{
		if (w->rows[i].visible_at > w->now && w->rows[i].visible_at < next)
			next = w->rows[i].visible_at;
		w->ring = w->ring || (w->rows[i].visible_at > w->came_until && w->rows[i].visible_at <= w->now);
	}
	w->came_until = w->now;
	return next;
}

/* When a worker turns next, or is started. */
static int64_t
next_turn(const World *w)
{
	int64_t		at = w->polled_at + 30 * SEC;

	if (w->running)
		return w->ring ? w->now : w->turns_at;
	if (w->wake_at != 0 && w->wake_at < at)
		at = w->wake_at;
	if (w->ring)
		at = w->now;
	return at < w->starts_at ? w->starts_at : at;
}

/* True if nothing is on its way and nothing open. */
static bool
quiet(const World *w)
{
	if (w->nlive > 0 || w->noutcomes > 0)
		return false;
	for (int i = 0; i < w->nrequests; i++)
		if (w->requests[i].used)
			return false;
	for (int g = 0; g < w->ngroups; g++)
		if (w->made_at[g] != 0)
			return false;
	for (int i = 0; i < w->nrows; i++)
		if ((!w->paused && is_open(w, &w->rows[i])) || !is_visible(w, &w->rows[i]))
			return false;
	return true;
}

/* One step of the world; false if nothing is left to happen. */
static void
step(World *w, int *ticks, int64_t *tick_at)
{
	int64_t		at = let_come(w);
	int64_t		wire = next_on_the_wire(w);
	int64_t		turns = next_turn(w);

	if (wire < at)
		at = wire;
	if (turns < at)
		at = turns;
	if (*ticks > 0 && *tick_at < at)
		at = *tick_at;
	if (at > w->now)
		w->now = at;
	(void) let_come(w);
	if (*ticks > 0 && *tick_at <= w->now)
	{
		act(w);
		(*ticks)--;
		*tick_at = w->now + below(w, 30) * SEC;
	}
	move_requests(w);
	if (next_turn(w) > w->now && !(w->running && wire <= w->now))
		return;
	if (!w->running)
		start_worker(w);
	turn(w);
	check_brake(w);
}

/* One life; returns what was violated, or NULL. */
static const char *
live(uint64_t seed, bool tracing)
{
	static World world;
	World	   *w = &world;
	int			rounds = 0;
	int			ticks;
	int64_t		tick_at;

	init_world(w, seed, tracing);
	ticks = w->flawless || w->brake ? 0 : below(w, 12);
	tick_at = w->now + below(w, 30) * SEC;
	while (w->violation == NULL)
	{
		if (ticks == 0 && quiet(w))
		{
			if (w->flawless)
				check_economy(w);
			w->flawless = false;
			if (rounds == CURES || !cure(w, rounds++))
				break;
		}
		if (++w->steps > STEPS_MAX)
			violate(w, "the world runs in circles");
		if (w->now > w->calm_at + CALM_MAX && ticks == 0)
			violate(w, "a row is lost: it never comes to an end");
		step(w, &ticks, &tick_at);
	}
	if (w->violation == NULL)
		check_end(w);
	forget_worker(w);
	return w->violation;
}

int
main(int argc, char **argv)
{
	return life_main(argc, argv, "sim_people", live, met, NMET);
}
