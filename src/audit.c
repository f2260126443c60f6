/*
 * audit.c
 *	  im_import_audit(): the list of the app's groups, held against the rows.
 *
 * The service gives the list in pages, slowly.  Each page is kept with where the
 * next one begins, so that who cancels goes on there.  At the end of the list
 * im_import_ghosts is made anew: groups that no row knows, and imported rows
 * whose group is not listed.  Groups may be made and disbanded meanwhile; a row
 * that was imported after the audit began is none of its business.
 *
 * No transaction is doing anything while the service is asked.  Nothing here
 * changes the app or a row.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/portal.h"
#include "utils/snapmgr.h"

#include "ask.h"
#include "compat.h"
#include "encoding.h"
#include "errcodes.h"
#include "statements.h"
#include "steer.h"

PG_FUNCTION_INFO_V1(im_sql_audit);

#define SEC					INT64_C(1000000)
#define NOTICE_EVERY		(5 * SEC)
#define PAGE_MAX			10000	/* groups in one answer, as documented */
#define BARREN_MAX			100 /* pages in a row without a group that is new */

/* One im_import_audit(). */
typedef struct Audit
{
	ImOutbox   *outbox;
	ImAsk		ask;
	MemoryContext ctx;			/* of requests; reset for each page */
	bool		anew;			/* from the beginning, whatever is there */
	bool		resumed;
	int64		listed;			/* groups so far */
	int			barren;			/* pages since the last new one */
	ImPage		page;
	bool		done;
	int64		unknown;		/* at the end: groups that no row knows ... */
	int64		unlisted;		/* ... and rows whose group is not there */
	int64		told_at;
} Audit;

/* Runs a statement; its first row's values. */
static uint64
execute(const Audit *audit, ImStatement id, Datum *args)
{
	return im_statement(im_outbox_schema(audit->outbox), IM_GROUP, id, args, NULL, 0);
}

/* A number in the last result. */
static int64
number(int column)
{
	bool		isnull;

	return DatumGetInt64(im_statement_value(0, column, &isnull));
}

/* Goes on where the last audit was left, or begins one. */
static void
begin(Audit *audit)
{
	Datum		args[2] = {Int64GetDatum(im_origin()), Int64GetDatum(audit->ask.sdkappid)};

	audit->page.from = audit->listed = 0;
	audit->resumed = !audit->anew && execute(audit, ST_AUDIT_STATE, args) > 0;
	if (audit->resumed)
	{
		audit->page.from = number(1);
		audit->listed = number(2);
		return;
	}
	/* Together: nobody goes on with a list that was cleared. */
	execute(audit, ST_AUDIT_CLEAR, NULL);
	execute(audit, ST_AUDIT_BEGIN, args);
}

/* Holds the list against the rows. */
static void
finish(Audit *audit)
{
	Datum		arg = Int64GetDatum(im_origin());

	execute(audit, ST_GHOSTS_CLEAR, NULL);
	execute(audit, ST_GHOSTS, &arg);
	/* After the ghosts, which it counts. */
	execute(audit, ST_AUDIT_END, &arg);
	audit->unknown = number(1);
	audit->unlisted = number(2);
	audit->done = true;
}

/* Keeps a page. */
static void
keep_page(Audit *audit)
{
	const ImPage *page = &audit->page;
	Datum	   *ids = palloc(sizeof(Datum) * (page->n + 1));
	Datum		args[5] = {Int64GetDatum(im_origin()), (Datum) 0, Int64GetDatum(page->next), Int64GetDatum(audit->page.from),
	Int64GetDatum(audit->ask.sdkappid)};

	for (int i = 0; i < page->n; i++)
		ids[i] = CStringGetTextDatum(im_text_from_utf8(page->ids[i]));
	args[1] = PointerGetDatum(construct_array(ids, page->n, TEXTOID, -1, false, TYPALIGN_INT));
	/* Only if the list still stands where this page began. */
	if (execute(audit, ST_AUDIT_PAGE, args) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_IN_USE),
				 errmsg("another im_import_audit() is at work in this database"),
				 errhint("Wait until it has ended; its results stand in im_import_ghosts.")));
	audit->barren = number(1) > audit->listed ? 0 : audit->barren + 1;
	audit->listed = number(1);
	/* Nor would one that goes in a circle. */
	if (page->next != 0 && audit->barren > BARREN_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_EXCEPTION),
				 errmsg("the service's list of groups does not end"),
				 errhint("CALL im_import_audit(anew => true) begins again.")));
	audit->page.from = page->next;
	/* The last page and what follows from the list commit together. */
	if (page->next == 0)
		finish(audit);
}

/* In one transaction: options, and the first look or the page that was read. */
static void
step(Audit *audit, void (*work) (Audit *audit))
{
	MemoryContext old = MemoryContextSwitchTo(audit->ctx);
	ImRights	saved;

	PushActiveSnapshot(GetTransactionSnapshot());
	audit->outbox = im_require_outbox();
	/* Before the page is kept: it is of the app that was asked. */
	im_ask_connect(&audit->ask);
	im_outbox_enter(&saved);
	work(audit);
	im_outbox_leave(&saved);
	PopActiveSnapshot();
	MemoryContextSwitchTo(old);
	MemoryContextReset(audit->ctx);
	SPI_commit();
	CHECK_FOR_INTERRUPTS();
}

/* The service refuses a page: it is too large, or begins where none does any more. */
static void
refused(Audit *audit, const ImCall *call)
{
	if ((call->verdict.code == IM_CODE_TOO_BIG || im_error_find(call->reply.code)->code == 10018) && audit->page.limit != 1)
		audit->page.limit = Max((audit->page.limit == 0 ? PAGE_MAX : audit->page.limit) / 2, 1);
	else if (audit->resumed)
	{
		ereport(NOTICE,
				(errmsg("im_import: the service does not go on with its list where the last audit was left: it is read anew")));
		audit->anew = true;
		step(audit, begin);
	}
	else
		im_ask_raise(&audit->ask, call);
}

/* Asks for the next page; false if it is to be asked for again. */
static bool
ask_for_page(Audit *audit)
{
	MemoryContext old = MemoryContextSwitchTo(audit->ctx);
	ImCall		call = {.op = IM_OP_LIST_GROUPS,.page = &audit->page};
	bool		good = im_ask_once(&audit->ask, &call);

	MemoryContextSwitchTo(old);
	if (!good)
		refused(audit, &call);
	/* A list that does not move would never end. */
	else if (audit->page.next != 0 && audit->page.next == audit->page.from)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_EXCEPTION),
				 errmsg("the service's list of groups does not go on"),
				 errhint("%s", audit->ask.again)));
	return good;
}

/* Tells how far it is, not too often. */
static void
tell(Audit *audit)
{
	int64		now = im_now_us();

	if (now - audit->told_at < NOTICE_EVERY)
		return;
	audit->told_at = now;
	ereport(NOTICE,
			(errmsg("im_import: " INT64_FORMAT " of " INT64_FORMAT " groups listed", audit->listed,
					Max(audit->page.total, audit->listed))));
}

/* im_import_audit(anew) */
Datum
im_sql_audit(PG_FUNCTION_ARGS)
{
	Audit		audit = {0};

	PreventCommandDuringRecovery("im_import_audit()");
	im_require_nonatomic(fcinfo, "im_import_audit");
	audit.ask.slot = im_require_slot();
	audit.ask.again = "What was listed is kept: CALL im_import_audit() again, and it goes on from there. im_import_doctor() tries the connection.";
	audit.anew = !PG_ARGISNULL(0) && PG_GETARG_BOOL(0);
	audit.told_at = im_now_us();
	audit.page.max = PAGE_MAX;
	audit.page.ids = MemoryContextAlloc(PortalContext, sizeof(*audit.page.ids) * PAGE_MAX);
	audit.ctx = AllocSetContextCreate(PortalContext, "im_import audit", ALLOCSET_DEFAULT_SIZES);
	SPI_connect_ext(SPI_OPT_NONATOMIC);
	step(&audit, begin);
	while (!audit.done)
	{
		if (ask_for_page(&audit))
			step(&audit, keep_page);
		tell(&audit);
	}
	SPI_finish();
	ereport(NOTICE,
			(errmsg("im_import: " INT64_FORMAT " groups listed: " INT64_FORMAT " that no row knows, " INT64_FORMAT " rows whose group is not there",
					audit.listed, audit.unknown, audit.unlisted),
			 audit.unknown + audit.unlisted == 0 ? 0 : errhint("See im_import_ghosts.")));
	PG_RETURN_VOID();
}
