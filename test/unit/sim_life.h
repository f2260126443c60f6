/*
 * sim_life.h
 *	  What the simulators of many small lives share: chance, and the command line.
 */
#ifndef SIM_LIFE_H
#define SIM_LIFE_H

#include <stdbool.h>
#include <stdint.h>

/* The next random number of a seed. */
extern uint64_t life_draw(uint64_t *random);

/* What a run must have met, and how often it did. */
typedef struct LifeMet
{
	const char *name;
	int64_t		n;
} LifeMet;

/*
 * NAME --seeds N [--first N] [--stop] [--trace]: runs live() for each seed, which
 * returns what was violated, or NULL.  Returns the exit status.
 */
extern int	life_main(int argc, char **argv, const char *name,
					  const char *(*live) (uint64_t seed, bool trace), const LifeMet *met, int nmet);

#endif							/* SIM_LIFE_H */
