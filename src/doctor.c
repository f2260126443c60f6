/*
 * doctor.c
 *	  im_import_doctor(): everything that an import needs, looked at once, each
 *	  line with its cure.
 *
 * The rule: nothing that is wrong raises.  A check that fails for a reason of
 * its own becomes a line too, see run_check(); only a cancel gets through.
 *
 * The service is asked for a group that cannot exist, once or twice, within
 * the rate limit: harmless, and the answer judges network, TLS, clock, app,
 * key and admin together.  No line holds a secret, a UserSig or a URL's query.
 *
 * Adding a check is adding a function and its line in checks[].
 */
#include "postgres.h"

#include <sys/stat.h>
#include <time.h>

#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/pg_type.h"
#include "commands/dbcommands.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "postmaster/bgworker_internals.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/resowner.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"

#include "app.h"
#include "encoding.h"
#include "errcodes.h"
#include "http.h"
#include "operation.h"
#include "outbox.h"
#include "sender.h"
#include "session.h"
#include "shared.h"
#include "usersig.h"
#include "watch.h"

PG_FUNCTION_INFO_V1(im_sql_doctor);
PG_FUNCTION_INFO_V1(im_sql_same_app);

#define NO_SUCH_GROUP		"im_import doctor: no such group"
#define RATE_DOCUMENTED		200
#define BUDGET_SMALL		10000	/* net new groups a day, by plan */
#define BUDGET_LARGE		50000
#define SKEW_FINE			5	/* seconds */
#define SKEW_BAD			60
#define SLOW_MS				1000.0

typedef enum Health
{
	BAD,
	GOOD,
	UNSURE						/* a warning, or it cannot be known */
} Health;

/* What the checks share. */
typedef struct Doctor
{
	ReturnSetInfo *result;
	const char *item;			/* that is being looked at */
	ImApp	   *app;			/* or NULL, and problem says why */
	ImProblem	problem;
	ImSlot	   *slot;			/* or NULL */
	bool		installed;
	bool		key_good;
	bool		asked;			/* the service, and there are lines on it */
} Doctor;

/* Adds a line; cure may be NULL. */
static void
say(Doctor *doctor, Health health, const char *detail, const char *cure)
{
	Datum		values[4];
	bool		nulls[4] = {false, health == UNSURE, detail == NULL, cure == NULL};

	values[0] = CStringGetTextDatum(doctor->item);
	values[1] = BoolGetDatum(health == GOOD);
	values[2] = detail ? CStringGetTextDatum(detail) : (Datum) 0;
	values[3] = cure ? CStringGetTextDatum(cure) : (Datum) 0;
	tuplestore_putvalues(doctor->result->setResult, doctor->result->setDesc, values, nulls);
}

/* ------------------------------------------------------------------------
 * This server
 */

/* Is the library where it can work? */
static void
check_library(Doctor *doctor)
{
	if (im_shared_available() && doctor->slot == NULL)
		say(doctor, BAD, "every place for a database that imports is taken, and this database has none",
			"Raise im_import.max_databases in postgresql.conf and restart the server.");
	else if (im_shared_available())
		say(doctor, GOOD, psprintf("loaded at server start, with %s", im_http_version()), NULL);
	else
		say(doctor, BAD, "the library was not loaded at server start: nothing can be sent",
			"Add im_import to shared_preload_libraries in postgresql.conf and restart the server.");
}

/* Do library and SQL objects fit together? */
static void
check_extension(Doctor *doctor)
{
	doctor->installed = im_outbox_look(im_outbox_get()) == IM_INSTALLED;
	if (doctor->installed)
		say(doctor, GOOD, "the extension is of the library's version", NULL);
	else
		say(doctor, BAD, "the extension in this database is not of the library's version",
			"Run ALTER EXTENSION im_import UPDATE; after an upgrade of the package restart the server.");
}

/* Is anybody there to start a worker? */
static void
check_launcher(Doctor *doctor)
{
	if (RecoveryInProgress())
		say(doctor, UNSURE, "this server is a standby and sends nothing until it is promoted",
			"Ask the primary server's im_import_doctor() about the import.");
	else if (im_launcher_runs())
		say(doctor, GOOD, "runs", NULL);
	else
		say(doctor, BAD, "does not run, so that no worker can start",
			im_shared_available() ?
			"See the server log for \"im_import launcher\": it is started again every second." :
			"Add im_import to shared_preload_libraries in postgresql.conf and restart the server.");
}

/* Which line says what is missing, if the import is not configured. */
static const char *
cure_of_configuration(const Doctor *doctor)
{
	if (doctor->app == NULL)
		return "See the line \"server and mapping\".";
	if (!doctor->key_good)
		return "See the line \"secret key\".";
	return "Nothing to do: server, mapping and key are good now, and the import goes on by itself.";
}

/* What a person does about a state, or NULL. */
static const char *
cure_of_state(const Doctor *doctor, const ImReport *report)
{
	if (report->beneath == IM_STATE_NOT_CONFIGURED)
		return cure_of_configuration(doctor);
	/* Where a line of ours knows more than the state. */
	switch (report->state)
	{
		case IM_STATE_STOPPED:
			return doctor->asked ?
				"The line \"service\" says whether this is so still, and what to cure; then CALL im_import_drain(1), or wait for the next probe." :
				"Cure what the lines on server, mapping and key say; then CALL im_import_drain(1), or wait for the next probe.";
		case IM_STATE_UNREACHABLE:
			return "The lines \"name resolution\", \"TLS\" and \"service\" say what is wrong; it goes on by itself.";
		case IM_STATE_NO_WORKER:
			return "See the lines on launcher and max_worker_processes, and the server log.";
		default:
			return im_state_cure(report);
	}
}

/* The last error, which may be long over; a code without text gets its meaning. */
static void
say_last_error(Doctor *doctor, const ImView *view, bool fine)
{
	const int64 *n = view->counts.rows.by_status;
	char	   *text = im_text_from_utf8(view->last_error);
	char	   *end;
	long		code = strtol(text, &end, 10);

	if (text[0] == '\0')
		return;
	if (end != text && strcmp(end, ": ") == 0)
		text = psprintf("%ld: %s", code, im_error_find((int32) code)->meaning);
	doctor->item = "last error";
	if (fine && n[IM_FAILED] + n[IM_INVALID] + n[IM_IN_DOUBT] == 0)
		say(doctor, GOOD, psprintf("%s; it is over, and no row needs a person", text), NULL);
	else
		say(doctor, UNSURE, text,
			"im_import_errors says which rows need a person, and the server log when and why the state of the import changed; this error may be over.");
}

/* A state in one line: its reason may begin with the very word. */
static char *
state_line(const ImView *view)
{
	const char *name = im_state_name(view->report.state);
	const char *reason = im_text_from_utf8(view->report.reason);
	char	   *pid = view->worker_pid ? psprintf("worker %d", view->worker_pid) : "";

	if (strncmp(reason, name, strlen(name)) == 0)
		return psprintf("%s%s%s", reason, pid[0] ? "; " : "", pid);
	return psprintf("%s%s%s%s%s", name, pid[0] ? ", " : "", pid, reason[0] ? ": " : "", reason);
}

/* What does im_import_status say, pauses included? */
static void
check_state(Doctor *doctor)
{
	ImView		view;
	Health		health = UNSURE;

	if (!doctor->installed)
		return;
	im_watch(&view);
	if (view.report.state == IM_STATE_IDLE || view.report.state == IM_STATE_RUNNING)
		health = GOOD;
	else if (im_view_stuck(&view) && view.report.state != IM_STATE_PAUSED)
		health = BAD;
	say(doctor, health, state_line(&view), cure_of_state(doctor, &view.report));
	say_last_error(doctor, &view, health == GOOD);
}

/* Lists groups that were to be taken back; the caller is inside SPI. */
static void
count_undo(Doctor *doctor, const char *schema)
{
	int64		n[3];
	bool		isnull;

	if (SPI_execute(psprintf("SELECT count(*) FILTER (WHERE state = 'open'), count(*) FILTER (WHERE state = 'disbanded'),"
							 " count(*) FILTER (WHERE state = 'refused') FROM %s.im_import_undo", schema), true, 1) != SPI_OK_SELECT)
		elog(ERROR, "SPI_execute failed");
	for (int i = 0; i < 3; i++)
		n[i] = DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, i + 1, &isnull));
	if (n[0] + n[1] > 0)
		say(doctor, GOOD, psprintf(INT64_FORMAT " groups are still to be disbanded; " INT64_FORMAT " are, and their rows are being marked", n[0], n[1]),
			"im_import_undo lists them, and what they wait for; CALL im_import_wait() waits for them.");
	if (n[2] > 0)
		say(doctor, UNSURE, psprintf(INT64_FORMAT " groups were to be taken back, and stay", n[2]),
			"im_import_undo says why: SELECT * FROM im_import_undo WHERE state = 'refused'. Disband them in the app's console, then set their status to undo again: what is gone becomes undone, and can be imported anew.");
	if (n[0] + n[1] + n[2] == 0)
		say(doctor, GOOD, "no group is being taken back, and none was refused to be", NULL);
}

/* Are groups being taken back, or do some stay that were to be? */
static void
check_undo(Doctor *doctor)
{
	ImRights	saved;

	if (!doctor->installed)
		return;
	im_outbox_enter(&saved);
	count_undo(doctor, quote_identifier(get_namespace_name(im_outbox_schema(im_outbox_get()))));
	im_outbox_leave(&saved);
}

/* Is there room for another background worker? */
static void
check_room(Doctor *doctor)
{
	int			used = 0;
	bool		isnull;
	char	   *detail;

	/* With the caller's rights, and so with nothing of his search_path. */
	SPI_connect();
	if (SPI_execute("SELECT pg_catalog.count(*)::pg_catalog.int4 FROM pg_catalog.pg_stat_get_activity(NULL) a"
					" WHERE a.backend_type OPERATOR(pg_catalog.<>) ALL (ARRAY['client backend', 'autovacuum launcher',"
					" 'autovacuum worker', 'background writer', 'checkpointer', 'walwriter',"
					" 'walsender', 'walreceiver', 'startup', 'archiver', 'logger', 'standalone backend',"
					" 'io worker', 'slotsync worker', 'walsummarizer']::pg_catalog.text[])",
					true, 1) == SPI_OK_SELECT && SPI_processed == 1)
		used = DatumGetInt32(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull));
	SPI_finish();
	detail = psprintf("%d of %d places for background workers are taken", used, max_worker_processes);
	if (doctor->slot != NULL && doctor->slot->no_start)
		say(doctor, BAD, psprintf("the server had no room for the worker: %s", detail),
			"Raise max_worker_processes in postgresql.conf and restart the server.");
	else if (used >= max_worker_processes && doctor->slot != NULL && doctor->slot->worker_pid == 0)
		say(doctor, UNSURE, detail, "Raise max_worker_processes in postgresql.conf and restart the server.");
	else
		say(doctor, GOOD, detail, NULL);
}

/* Complains of one setting, if it has a value that it should not have. */
static bool
complain_of_setting(Doctor *doctor, const char *name, const char *value, Health health,
					const char *detail, const char *cure)
{
	if (strcmp(GetConfigOption(name, false, false), value) != 0)
		return false;
	doctor->item = name;
	say(doctor, health, detail, cure);
	return true;
}

/* Does a commit survive a crash? */
static void
check_durability(Doctor *doctor)
{
	bool		bad;

	bad = complain_of_setting(doctor, "fsync", "off", BAD,
							  "off: after a crash of the machine rows may be lost, and groups made twice",
							  "Set fsync = on in postgresql.conf and reload.");
	bad |= complain_of_setting(doctor, "full_page_writes", "off", BAD,
							   "off: a crash of the machine may damage the outbox",
							   "Set full_page_writes = on in postgresql.conf and reload.");
	bad |= complain_of_setting(doctor, "synchronous_commit", "off", UNSURE,
							   "off in this session: rows inserted just before a crash may be lost (the worker's own commits are always durable)",
							   "Set synchronous_commit = on where you insert into the outbox.");
	doctor->item = "durability";
	if (!bad)
		say(doctor, GOOD, "fsync, full_page_writes and synchronous_commit are on", NULL);
}

/* Can the database hold what the service says? */
static void
check_encoding(Doctor *doctor)
{
	const char *name = GetDatabaseEncodingName();

	if (GetDatabaseEncoding() == PG_UTF8)
		say(doctor, GOOD, name, NULL);
	else if (GetDatabaseEncoding() == PG_SQL_ASCII)
		say(doctor, UNSURE, "SQL_ASCII: texts must be UTF-8, and rows that are not become invalid",
			"Convert the texts when you insert them, or use a database with encoding UTF8.");
	else
		say(doctor, GOOD, psprintf("%s: texts are converted to UTF-8; limits count bytes of UTF-8", name), NULL);
}

/* ------------------------------------------------------------------------
 * The app
 */

/* Is there one server with a mapping, and what do they say? */
static void
check_server(Doctor *doctor)
{
	const ImApp *app;

	doctor->app = im_app_load(CurrentMemoryContext, &doctor->problem);
	app = doctor->app;
	if (app == NULL)
		say(doctor, BAD, doctor->problem.message, doctor->problem.hint);
	else
		say(doctor, GOOD, psprintf("server \"%s\": sdkappid " INT64_FORMAT ", %s%s%s, identifier \"%s\"",
								   app->server_name, app->sdkappid, app->region ? app->region : "",
								   app->region ? " at " : "", app->base_url,
								   im_text_from_utf8(app->identifier)), NULL);
}

/* True if a key is what the console shows: 64 hexadecimal digits. */
static bool
looks_like_key(const char *key)
{
	return strlen(key) == 64 && strspn(key, "0123456789abcdefABCDEF") == 64;
}

/* Can the key be read, and is it kept well? */
static void
check_key(Doctor *doctor)
{
	char		key[IM_KEY_MAX + 1];
	bool		usual;
	struct stat st;

	if (doctor->app == NULL)
		return;
	doctor->key_good = im_app_read_key(doctor->app, key, &doctor->problem) >= 0;
	usual = doctor->key_good && looks_like_key(key);
	im_usersig_cleanse(key, sizeof(key));
	if (!doctor->key_good)
		say(doctor, BAD, doctor->problem.message, doctor->problem.hint);
	else if (!usual)
		say(doctor, UNSURE, "the key is not of the usual form, 64 hexadecimal digits",
			"Compare it with the key that the app's page in the console shows.");
	else if (doctor->app->secret_key_file == NULL)
		say(doctor, UNSURE, "the key stands in the user mapping, where superusers and dumps see it",
			"Write it to a file of the server's user, mode 0600, and use option secret_key_file.");
	else if (stat(doctor->app->secret_key_file, &st) == 0)
		say(doctor, GOOD, psprintf("\"%s\" can be read, mode %04o", doctor->app->secret_key_file,
								   (unsigned) (st.st_mode & 07777)), NULL);
	else
		say(doctor, GOOD, "can be read", NULL);
}

/* Can a UserSig be made of it? */
static void
check_usersig(Doctor *doctor)
{
	char		key[IM_KEY_MAX + 1];
	char		usersig[IM_USERSIG_MAX];
	int			len;
	ImSigResult result;

	if (!doctor->key_good)
		return;
	len = im_app_read_key(doctor->app, key, &doctor->problem);
	if (len < 0)
		return;
	result = im_usersig_sign(doctor->app->sdkappid, key, (size_t) len, doctor->app->identifier,
							 (int64) time(NULL), 60, usersig);
	im_usersig_cleanse(key, sizeof(key));
	im_usersig_cleanse(usersig, sizeof(usersig));
	if (result == IM_SIG_OK)
		say(doctor, GOOD, "can be made; the line \"service\" says whether it is accepted", NULL);
	else
		say(doctor, BAD, psprintf("could not be made: %s", im_usersig_result_text(result)),
			"Check the options of the server and of its owner's user mapping.");
}

/* Are rates and limits those of the documents? */
static void
check_limits(Doctor *doctor)
{
	const ImApp *app = doctor->app;

	if (app == NULL)
		return;
	doctor->item = "rate_limit";
	say(doctor, app->rate_limit > RATE_DOCUMENTED ? UNSURE : GOOD,
		psprintf("%g calls a second", app->rate_limit),
		app->rate_limit > RATE_DOCUMENTED ?
		"The documented limit is 200; unless the service raised it for your app, call im_import_set_rate(200)." : NULL);
	doctor->item = "groups_per_day";
	if (app->groups_per_day == 0)
		say(doctor, UNSURE, "not set: the plan's quota of net new groups a day (10,000, or 50,000 of the largest plan) can be used up, also for live users",
			"Set option groups_per_day of the server below the plan's quota, unless that was lifted for you.");
	else
		say(doctor, app->groups_per_day > BUDGET_SMALL ? UNSURE : GOOD,
			psprintf(INT64_FORMAT " groups a day", app->groups_per_day),
			app->groups_per_day > BUDGET_LARGE ? "No plan has more than 50,000 net new groups a day unless that was lifted for you." :
			app->groups_per_day > BUDGET_SMALL ? "Only the largest plan has more than 10,000 net new groups a day." : NULL);
	doctor->item = "text_limits";
	if (app->text_limits == IM_LIMITS_SDK)
		say(doctor, UNSURE, "sdk: longer texts than the import page allows",
			"Rehearse with some rows: if they are refused with 10004, set option text_limits of the server to 'page'.");
	else
		say(doctor, GOOD, "page: 30, 240, 300 and 100 bytes for name, introduction, notification and face_url", NULL);
}

/*
 * Databases of this cluster, other than ours, whose worker calls our app at our
 * address; names as C strings.  The same number at another address is a
 * rehearsal against a stand-in.
 */
static List *
same_app(const ImApp *app)
{
	uint32		address = im_sender_address(app);
	List	   *names = NIL;
	ImSlot	   *slot;

	for (int i = 0; (slot = im_slot_nth(i)) != NULL; i++)
	{
		Oid			dboid;
		char	   *name = NULL;

		im_slot_lock(slot);
		dboid = slot->sdkappid == app->sdkappid && slot->address == address ? slot->dboid : InvalidOid;
		im_slot_unlock(slot);
		if (OidIsValid(dboid) && dboid != MyDatabaseId)
			name = get_database_name(dboid);
		if (name != NULL)
			names = lappend(names, name);
	}
	return names;
}

/* _im_same_app(): other databases of this cluster that use our app. */
Datum
im_sql_same_app(PG_FUNCTION_ARGS)
{
	ImProblem	problem = {0};
	ImApp	   *app = im_app_load(CurrentMemoryContext, &problem);
	List	   *names = app ? same_app(app) : NIL;
	Datum	   *elements = palloc(sizeof(Datum) * (list_length(names) + 1));

	im_app_free(app);
	for (int i = 0; i < list_length(names); i++)
		elements[i] = CStringGetTextDatum(list_nth(names, i));
	PG_RETURN_ARRAYTYPE_P(construct_array(elements, list_length(names), TEXTOID, -1, false,
										  TYPALIGN_INT));
}

/* Does another database of this cluster send to the same app? */
static void
check_same_app(Doctor *doctor)
{
	List	   *names;
	ListCell   *lc;

	if (doctor->app == NULL || !im_shared_available())
		return;
	names = same_app(doctor->app);
	foreach(lc, names)
		say(doctor, UNSURE, psprintf("database \"%s\" uses the same sdkappid; each has a rate limit of its own, and the app has one for both",
									 (char *) lfirst(lc)),
			"Divide the rate with im_import_set_rate() in each, or give the databases apps of their own.");
	if (names == NIL)
		say(doctor, GOOD, "no other database of this cluster has used it since the server's start", NULL);
}

/* ------------------------------------------------------------------------
 * The outbox
 */

/* Do rows wait that came from elsewhere, or has the timeline changed? */
static void
check_origin(Doctor *doctor)
{
	ImOutbox   *outbox = im_outbox_get();
	ImCounts	counts;
	ImControl	control;
	ImRights	saved;

	if (!doctor->installed)
		return;
	im_outbox_enter(&saved);
	im_outbox_count(outbox, PG_INT64_MIN, &counts);
	(void) im_outbox_read_control(outbox, &control);
	im_outbox_leave(&saved);
	if (im_origin_elsewhere())
		say(doctor, BAD, "the server was made in another database, of which this one is a copy (a restored dump, a template, an upgraded cluster), and so nothing is sent",
			"Make sure that the other database sends nothing more to this app, then call im_import_adopt().");
	if (control.moved)
		say(doctor, BAD, "this server's timeline has changed (a promotion, or a restored backup), and rows may have been sent by the former one",
			"Make sure that the former server sends nothing more, then call im_import_adopt().");
	if (counts.foreign_open > 0)
		say(doctor, BAD, psprintf(INT64_FORMAT " open rows came from another database and are not sent",
								  counts.foreign_open),
			"If this database shall send them, and the other one shall not, call im_import_adopt(); else delete them.");
	if (!control.fenced && counts.foreign_open == 0)
		say(doctor, GOOD, "server and open rows were made here, and the timeline is the same as ever", NULL);
}

/* Lists what was altered in the outbox; the caller is inside SPI. */
static void
list_changes(Doctor *doctor, const char *schema)
{
	int			rc;

	rc = SPI_execute(psprintf("SELECT kind, name, change, harmless, outbox FROM %s._im_outbox_changes() ORDER BY outbox, kind, name",
							  schema), true, 0);
	if (rc != SPI_OK_SELECT)
		elog(ERROR, "SPI_execute failed: %s", SPI_result_code_string(rc));
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		HeapTuple	tuple = SPI_tuptable->vals[i];
		TupleDesc	desc = SPI_tuptable->tupdesc;
		bool		isnull;
		bool		harmless = DatumGetBool(SPI_getbinval(tuple, desc, 4, &isnull));

		say(doctor, harmless ? UNSURE : BAD,
			psprintf("%s: %s \"%s\" was %s", SPI_getvalue(tuple, desc, 5), SPI_getvalue(tuple, desc, 1), SPI_getvalue(tuple, desc, 2),
					 SPI_getvalue(tuple, desc, 3)),
			harmless ?
			"It costs time for every row, and pg_dump does not keep it: drop it, or make it again after a restore." :
			"Undo it: the worker relies on the table as the extension made it, and pg_dump does not keep changes to it.");
	}
	if (SPI_processed == 0)
		say(doctor, GOOD, "the outboxes are as the extension made them", NULL);
}

/* Was anything about the table altered? */
static void
check_changes(Doctor *doctor)
{
	ImRights	saved;

	if (!doctor->installed)
		return;
	im_outbox_enter(&saved);
	list_changes(doctor, quote_identifier(get_namespace_name(im_outbox_schema(im_outbox_get()))));
	im_outbox_leave(&saved);
}

/* ------------------------------------------------------------------------
 * The service
 */

/* Asks for the group that cannot exist; once more if the UserSig was refused. */
static void
ask(Doctor *doctor, ImCall *call)
{
	ImCall	   *calls[1] = {call};
	ImRow	   *row = palloc0(sizeof(ImRow));

	memset(call, 0, sizeof(*call));
	strlcpy(row->group_id, NO_SUCH_GROUP, sizeof(row->group_id));
	call->op = IM_OP_CHECK_GROUPS;
	call->rows = palloc(sizeof(ImRow *));
	call->rows[call->nrows++] = row;
	im_question_compose(call, true);
	for (int i = 0; i < 2; i++)
	{
		ImSender   *sender = im_session_sender(doctor->slot, &doctor->problem);

		if (sender == NULL)
			im_app_raise(&doctor->problem);
		im_session_exchange(sender, calls, 1);
		im_session_note(doctor->slot, call);
		if (call->verdict.outcome != IM_OUT_RESIGN)
			return;
	}
}

/* What the connection says of name resolution and TLS. */
static void
say_network(Doctor *doctor, const ImCall *call)
{
	const char *info = im_text_from_utf8(call->reply.info);
	bool		answered = call->verdict.answered;

	doctor->item = "name resolution";
	if (!answered && strstr(info, "esolv") != NULL)
		say(doctor, BAD, info, "Check the host's resolver (/etc/resolv.conf), and the name in option endpoint if it is set.");
	else
		say(doctor, GOOD, psprintf("the host of %s has an address", doctor->app->base_url), NULL);
	doctor->item = "TLS";
	if (doctor->app->plain_http)
		say(doctor, UNSURE, "not used: option endpoint is http:// on a loopback address",
			"This is for tests. Drop option endpoint and set region to call the service itself.");
	else if (call->verdict.code == IM_CODE_TLS)
		say(doctor, BAD, info, im_error_find(IM_CODE_TLS)->advice);
	else if (answered)
		say(doctor, GOOD, "the certificate was accepted", NULL);
	else
		say(doctor, UNSURE, "not known: there was no connection", NULL);
}

/* The answer's meaning for a person. */
static void
say_answer(Doctor *doctor, const ImCall *call)
{
	int32		code = call->verdict.code < 0 ? call->verdict.code : call->reply.code;
	const ImErrorCode *entry = im_error_find(code);
	const char *info = im_text_from_utf8(call->reply.info);

	doctor->item = "service";
	if (call->found != IM_FOUND_UNREADABLE)
		say(doctor, GOOD, "answers, and accepts app, key and admin", NULL);
	else if (!call->verdict.answered)
		say(doctor, BAD, psprintf("no answer: %s%s%s", entry->meaning, info[0] ? ": " : "", info),
			entry->advice);
	else if (code == 0)
		say(doctor, UNSURE, psprintf("the answer is not what the service documents%s%s",
									 info[0] ? ": " : "", info),
			"Check that region or endpoint name the service itself, and that no proxy answers for it.");
	else
		say(doctor, entry->class == IM_CLASS_SLOW || entry->class == IM_CLASS_RETRY ? UNSURE : BAD,
			psprintf("refuses with %d, %s%s%s", (int) code, entry->meaning, info[0] ? ": " : "", info),
			entry->advice);
}

/* How far away it is, and what that means for the rate. */
static void
say_round_trip(Doctor *doctor, const ImCall *call, int64 first_us)
{
	double		ms = call->elapsed_us / 1000.0;
	double		most = doctor->app->max_in_flight * 1000.0 / Max(ms, 0.001);
	char	   *detail = psprintf("%.1f ms; %.1f ms with a new connection", ms, first_us / 1000.0);

	doctor->item = "round trip";
	if (most < doctor->app->rate_limit)
		say(doctor, UNSURE, psprintf("%s: at most %.0f calls a second with max_in_flight %d", detail, most,
									 doctor->app->max_in_flight),
			"Raise option max_in_flight of the server.");
	else
		say(doctor, ms > SLOW_MS ? UNSURE : GOOD, detail,
			ms > SLOW_MS ? "Check that region is the app's own; a database nearer to it is faster." : NULL);
}

/* Whether the host's clock is right: a UserSig begins and ends by it. */
static void
say_clock(Doctor *doctor, const ImCall *call)
{
	int64		skew = (int64) time(NULL) - call->server_time;
	int64		off = skew < 0 ? -skew : skew;

	doctor->item = "clock";
	if (call->server_time == 0)
		say(doctor, UNSURE, "not known: the answer has no Date header", NULL);
	else if (off <= SKEW_FINE)
		say(doctor, GOOD, psprintf("within %d s of the service's", SKEW_FINE), NULL);
	else
		say(doctor, off > SKEW_BAD ? BAD : UNSURE,
			psprintf(INT64_FORMAT " s %s the service's", off, skew > 0 ? "ahead of" : "behind"),
			"Synchronize the database host's clock (chrony, systemd-timesyncd): a UserSig is refused when it seems expired.");
}

/* Calls the service, harmlessly. */
static void
check_service(Doctor *doctor)
{
	ImCall		call;
	int64		first_us;

	if (doctor->app == NULL || doctor->slot == NULL || !doctor->key_good)
	{
		say(doctor, UNSURE, "not asked", "Mend what stands above first.");
		return;
	}
	ask(doctor, &call);
	doctor->asked = true;
	first_us = call.elapsed_us;
	say_network(doctor, &call);
	say_answer(doctor, &call);
	if (!call.verdict.answered)
		return;
	say_clock(doctor, &call);
	if (call.found == IM_FOUND_UNREADABLE)
		return;
	ask(doctor, &call);
	if (call.found != IM_FOUND_UNREADABLE)
		say_round_trip(doctor, &call, first_us);
}

/* ------------------------------------------------------------------------ */

static const struct
{
	const char *item;
	void		(*check) (Doctor *doctor);
}			checks[] = {
	{"library", check_library},
	{"extension", check_extension},
	{"launcher", check_launcher},
	{"max_worker_processes", check_room},
	{"server and mapping", check_server},
	{"secret key", check_key},
	{"UserSig", check_usersig},
	{"service", check_service},
	{"limits", check_limits},
	{"same app", check_same_app},
	{"state", check_state},
	{"undo", check_undo},
	{"origin", check_origin},
	{"outbox", check_changes},
	{"durability", check_durability},
	{"encoding", check_encoding},
};

/* A check failed for a reason of its own: a line, unless it was cancelled. */
static void
say_failure(Doctor *doctor, MemoryContext caller)
{
	ErrorData  *error;

	MemoryContextSwitchTo(caller);
	error = CopyErrorData();
	if (error->sqlerrcode == ERRCODE_QUERY_CANCELED || error->sqlerrcode == ERRCODE_ADMIN_SHUTDOWN)
		PG_RE_THROW();
	FlushErrorState();
	RollbackAndReleaseCurrentSubTransaction();
	MemoryContextSwitchTo(caller);
	say(doctor, UNSURE, psprintf("could not be checked: %s", error->message),
		error->hint ? error->hint : "See the server log.");
}

/* Runs one check in a subtransaction, so that nothing raises. */
static void
run_check(Doctor *doctor, int i)
{
	MemoryContext caller = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;

	doctor->item = checks[i].item;
	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(caller);
	PG_TRY();
	{
		checks[i].check(doctor);
		ReleaseCurrentSubTransaction();
	}
	PG_CATCH();
	{
		say_failure(doctor, caller);
	}
	PG_END_TRY();
	MemoryContextSwitchTo(caller);
	CurrentResourceOwner = owner;
}

/* im_import_doctor() */
Datum
im_sql_doctor(PG_FUNCTION_ARGS)
{
	Doctor		doctor = {0};

	InitMaterializedSRF(fcinfo, 0);
	doctor.result = (ReturnSetInfo *) fcinfo->resultinfo;
	doctor.slot = im_slot_mine();
	for (int i = 0; i < (int) lengthof(checks); i++)
		run_check(&doctor, i);
	im_app_free(doctor.app);
	return (Datum) 0;
}
