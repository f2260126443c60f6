/*
 * im_import.c
 *	  Moves existing chat groups into Tencent Cloud IM.
 *
 * What the server calls first.  Where to go from here:
 *
 *	the path of a row			drain.c (claim, send, settle)
 *	what an answer means		protocol.c, errcodes.c
 *	what is sent				group.c, usersig.c, sender.c, http.c
 *	how fast					limiter.c; when not at all: breaker.c
 *	all SQL						statements.c; outbox.c, tally.c, sql/
 *	processes					worker.c, shared.c
 *	SQL functions				import.c, steer.c, watch.c, doctor.c, verify.c, functions.c, guard.c
 */
#include "postgres.h"

#include "fmgr.h"
#include "miscadmin.h"

#include "app.h"
#include "command.h"
#include "failpoint.h"
#include "shared.h"
#include "worker.h"

PG_MODULE_MAGIC;

void		_PG_init(void);

/* An option of the server or mapping changed: tell the worker at commit. */
static void
ring_for_options(void)
{
	im_ring_at_commit(true);
}

/* Loaded at server start, or by the first call of a function of ours. */
void
_PG_init(void)
{
	im_commands_check();
	im_failpoint_init();		/* before the prefix is reserved */
	im_shared_init();
	im_app_on_change(ring_for_options);
	if (process_shared_preload_libraries_in_progress)
		im_launcher_install();
}
