/*
 * sim_life.c
 *	  What the simulators of many small lives share: chance, and the command line.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sim_life.h"

#define ENOUGH_SEEDS	10000	/* from so many on every counter must count */

/* See sim_life.h. */
uint64_t
life_draw(uint64_t *random)
{
	uint64_t	x = *random += UINT64_C(0x9e3779b97f4a7c15);

	x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
	return x ^ (x >> 31);
}

/* Prints what was met; returns how much was not, of what must be. */
static int
show_met(const LifeMet *met, int nmet, bool all)
{
	int			missing = 0;

	for (int i = 0; i < nmet; i++)
	{
		printf("%12" PRId64 " %s\n", met[i].n, met[i].name);
		if (met[i].n > 0 || !all)
			continue;
		printf("never met: %s\n", met[i].name);
		missing++;
	}
	return missing;
}

/* See sim_life.h. */
int
life_main(int argc, char **argv, const char *name, const char *(*live) (uint64_t seed, bool trace),
		  const LifeMet *met, int nmet)
{
	uint64_t	seeds = 1000;
	uint64_t	first = 1;
	bool		stop = false;
	bool		trace = false;
	int			bad = 0;

	for (int i = 1; i < argc; i++)
	{
		if (strcmp(argv[i], "--stop") == 0)
			stop = true;
		else if (strcmp(argv[i], "--trace") == 0)
			trace = true;
		else if (strcmp(argv[i], "--seeds") == 0 && i + 1 < argc)
			seeds = strtoull(argv[++i], NULL, 10);
		else if (strcmp(argv[i], "--first") == 0 && i + 1 < argc)
			first = strtoull(argv[++i], NULL, 10);
	}
	for (uint64_t seed = first; seed < first + seeds && !(stop && bad > 0) && bad < 20; seed++)
	{
		const char *violation = live(seed, trace);

		if (violation == NULL)
			continue;
		bad++;
		printf("seed %" PRIu64 ": %s\n", seed, violation);
	}
	bad += show_met(met, nmet, seeds >= ENOUGH_SEEDS && bad == 0);
	printf("%s: %" PRIu64 " lives, %d violations\n", name, seeds, bad);
	return bad > 0;
}
