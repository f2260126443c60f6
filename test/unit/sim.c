/*
 * sim.c
 *	  Runs the model world of sim.h once per seed, and says what it found.
 *
 *		sim --seeds N [--from S]	many seeds; ends with 1 on a violation
 *		sim --seed S --trace		one seed, with everything that happened
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "sim.h"

#define MAX_STEPS		20000	/* of one world: more is a loop without end */
#define CALM_MAX		(3 * 3600 * SEC)	/* to come to rest without faults */
#define ENOUGH_SEEDS	100000	/* from so many on every counter must count */
#define SHOW_MAX		5		/* violations that are shown with their trace */

/* ------------------------------------------------------------------------
 * Chance, clock, trace
 */

/* The next random number of the seed (splitmix64). */
uint64_t
sim_random(SimWorld *world)
{
	uint64_t	z = (world->random += UINT64_C(0x9e3779b97f4a7c15));

	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

/* A random number from 0 to n - 1. */
int
sim_below(SimWorld *world, int n)
{
	return (int) (((sim_random(world) >> 32) * (uint64_t) n) >> 32);
}

/* A random number from low to high, both included. */
int64_t
sim_between(SimWorld *world, int64_t low, int64_t high)
{
	if (high <= low)
		return low;
	return low + (int64_t) (sim_random(world) % (uint64_t) (high - low + 1));
}

/* True in so many of a thousand cases. */
bool
sim_chance(SimWorld *world, int per_mille)
{
	return per_mille > 0 && sim_below(world, 1000) < per_mille;
}

/* What the clock of a copy's host shows. */
int64_t
sim_wall(const SimWorld *world, const SimCopy *copy)
{
	return world->now + copy->wall_offset;
}

/* Prints one line of what happens, with the time. */
void
sim_trace(SimWorld *world, const char *format,...)
{
	va_list		args;

	printf("%12.6f  ", (double) world->now / SEC);
	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	printf("\n");
}

/* The promise is broken: the first way in which it is stays. */
void
sim_violate(SimWorld *world, const char *what)
{
	if (world->violation == NULL)
		world->violation = what;
	TRACE(world, "VIOLATION: %s", what);
}

/* ------------------------------------------------------------------------
 * The world's loop
 */

/* What happens next. */
typedef struct Event
{
	int64_t		at;
	SimRequest *arrival;
	SimCopy    *copy;			/* its worker turns, or is started */
} Event;

/* When the launcher starts a worker of a copy that has none. */
static int64_t
launch_time(const SimWorld *world, const SimCopy *copy)
{
	int64_t		at = copy->polled_at + 30 * SEC;

	if (copy->slot.wake_at != 0 && copy->slot.wake_at < at)
		at = copy->slot.wake_at;
	if (copy->slot.ring)
		at = world->now;
	if (at < copy->launch_at)
		at = copy->launch_at;
	return at < copy->starts_at ? copy->starts_at : at;
}

/* When a copy acts next, apart from answers that come. */
static void
next_of_copy(SimWorld *world, SimCopy *copy, Event *event)
{
	int64_t		at;

	if (!copy->exists || !copy->up)
		return;
	if (copy->running)
		at = copy->slot.ring && copy->drain.ending_at == 0 ? world->now : copy->drain.wake_at;
	else
		at = launch_time(world, copy);
	if (at < event->at)
		*event = (Event) {.at = at, .copy = copy};
}

/* When a request arrives, or its answer wakes who waits for it. */
static void
next_of_request(SimWorld *world, SimRequest *request, Event *event)
{
	if (!request->used)
		return;
	if (request->arrives_at < event->at)
		*event = (Event) {.at = request->arrives_at, .arrival = request};
	if (request->call >= 0 && request->done_at < event->at)
		*event = (Event) {.at = request->done_at, .copy = &world->copies[request->copy]};
}

/* One step of the world. */
static void
step(SimWorld *world)
{
	Event		event = {.at = NEVER};

	for (int i = 0; i < MAX_REQUESTS; i++)
		next_of_request(world, &world->requests[i], &event);
	for (int i = 0; i < MAX_COPIES; i++)
		next_of_copy(world, &world->copies[i], &event);
	if (world->ticks > 0 && world->tick_at <= event.at)
		event = (Event) {.at = world->tick_at};
	if (event.at > world->now)
		world->now = event.at;
	if (event.arrival != NULL)
		sim_arrive(world, event.arrival);
	else if (event.copy == NULL)
		sim_tick(world);
	else if (!event.copy->running)
		sim_start_worker(world, event.copy);
	else
		sim_turn(world, event.copy);
}

/* A life of one world. */
static void
run(SimWorld *world, uint64_t seed)
{
	world->seed = seed;
	world->random = seed * UINT64_C(0xd1342543de82ef95) + 1;
	sim_init_world(world);
	while (world->violation == NULL)
	{
		if (world->ticks == 0 && world->faults && world->now >= world->tick_at)
			sim_calm(world);
		else if (world->ticks == 0 && world->faults && sim_quiet(world))
			sim_calm(world);
		if (!world->faults && sim_quiet(world))
			break;
		if (++world->steps > MAX_STEPS)
			sim_violate(world, "P1: the world runs in circles");
		if (!world->faults && world->now - world->calm_since > CALM_MAX)
			break;
		step(world);
	}
	if (world->violation == NULL)
		sim_check_end(world);
}

/* ------------------------------------------------------------------------
 * Command line
 */

/* Shows a violation: its seed, what broke, and how it came to that. */
static void
show(SimWorld *world)
{
	const char *what = world->violation;
	uint64_t	seed = world->seed;
	SimCoverage saved = sim_coverage;

	printf("seed %llu: %s\n", (unsigned long long) seed, what);
	world->trace = true;
	run(world, seed);
	world->trace = false;
	sim_coverage = saved;
	printf("replay: sim --seed %llu --trace\n\n", (unsigned long long) seed);
}

/* Runs many seeds. Returns the exit status. */
static int
run_many(SimWorld *world, uint64_t from, uint64_t seeds, uint64_t stop_after)
{
	uint64_t	violations = 0;
	uint64_t	n;
	clock_t		start = clock();
	const char *missing;
	double		seconds;

	for (n = 0; n < seeds && violations < stop_after; n++)
	{
		run(world, from + n);
		if (world->violation == NULL)
			continue;
		if (++violations <= SHOW_MAX)
			show(world);
	}
	seconds = (double) (clock() - start) / CLOCKS_PER_SEC;
	sim_print_coverage();
	missing = n >= ENOUGH_SEEDS ? sim_zero_counter() : NULL;
	if (missing != NULL)
		printf("never met: %s\n", missing);
	printf("sim: %llu seeds, %llu violations, %lld requests, %lld groups, %.1f s, %.0f seeds/s\n",
		   (unsigned long long) n, (unsigned long long) violations,
		   (long long) sim_coverage.sends, (long long) sim_coverage.groups,
		   seconds, (double) n / (seconds > 0 ? seconds : 1));
	return violations > 0 || missing != NULL ? 1 : 0;
}

/* Runs one seed, and tells all. */
static int
run_one(SimWorld *world, uint64_t seed, bool trace)
{
	world->trace = trace;
	run(world, seed);
	printf("sim: seed %llu: %s\n", (unsigned long long) seed,
		   world->violation ? world->violation : "no violation");
	return world->violation ? 1 : 0;
}

int
main(int argc, char **argv)
{
	SimWorld   *world = calloc(1, sizeof(SimWorld));
	uint64_t	seeds = 100000;
	uint64_t	from = 1;
	uint64_t	seed = 0;
	uint64_t	stop_after = UINT64_MAX;
	bool		one = false;
	bool		trace = false;

	if (world == NULL)
		abort();
	for (int i = 1; i < argc; i++)
	{
		if (strcmp(argv[i], "--trace") == 0)
			trace = true;
		else if (strcmp(argv[i], "--stop") == 0)
			stop_after = 1;
		else if (i + 1 < argc && strcmp(argv[i], "--seeds") == 0)
			seeds = strtoull(argv[++i], NULL, 10);
		else if (i + 1 < argc && strcmp(argv[i], "--from") == 0)
			from = strtoull(argv[++i], NULL, 10);
		else if (i + 1 < argc && strcmp(argv[i], "--seed") == 0)
		{
			seed = strtoull(argv[++i], NULL, 10);
			one = true;
		}
		else
		{
			fprintf(stderr, "usage: sim [--seeds N] [--from S] [--stop] | --seed S [--trace]\n");
			return 2;
		}
	}
	return one ? run_one(world, seed, trace) : run_many(world, from, seeds, stop_after);
}
