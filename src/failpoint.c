/*
 * failpoint.c
 *	  Named places where a test can hold the worker, to kill it there.
 *
 * The setting im_import.failpoint names one place.  Who comes there creates
 * the file im_failpoint.hit in the data directory and waits until somebody
 * creates im_failpoint.go, until it is asked to end, or until the postmaster
 * is gone.  Each place holds once for each im_failpoint.hit that is removed.
 *
 * Must not be in a build that sends real requests: see the Makefile.
 */
#include "postgres.h"

#ifdef IM_FAILPOINTS

#include <fcntl.h>
#include <unistd.h>

#include "miscadmin.h"
#include "storage/pmsignal.h"
#include "utils/guc.h"

#include "failpoint.h"

#define HIT_FILE	"im_failpoint.hit"
#define GO_FILE		"im_failpoint.go"

static char *wanted = NULL;

/* See failpoint.h. */
void
im_failpoint_init(void)
{
	DefineCustomStringVariable("im_import.failpoint",
							   "Sets where the worker is held, for tests.", NULL,
							   &wanted, "", PGC_SIGHUP, 0, NULL, NULL, NULL);
}

/* See failpoint.h. */
void
im_failpoint(const char *name)
{
	int			fd;

	if (wanted == NULL || strcmp(wanted, name) != 0)
		return;
	fd = open(HIT_FILE, O_CREAT | O_EXCL | O_WRONLY, 0600);
	if (fd < 0)
		return;
	close(fd);
	while (access(GO_FILE, F_OK) != 0 && !ProcDiePending)
	{
		if (!PostmasterIsAlive())
			_exit(1);
		pg_usleep(1000);
	}
}

#endif							/* IM_FAILPOINTS */
