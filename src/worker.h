/*
 * worker.h
 *	  The launcher, one per server, and the worker, one per database at work.
 */
#ifndef IM_WORKER_H
#define IM_WORKER_H

#include "postgres.h"

/* Called by _PG_init() while shared_preload_libraries are loaded. */
extern void im_launcher_install(void);

/* Entry points that the postmaster looks up by name. */
extern PGDLLEXPORT void im_launcher_main(Datum arg);
extern PGDLLEXPORT void im_worker_main(Datum arg);

#endif							/* IM_WORKER_H */
