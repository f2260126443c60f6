/*
 * app.c
 *	  Which IM app this database belongs to: options of the SERVER and of its
 *	  owner's USER MAPPING, checked when they are set and read when they are
 *	  used.
 *
 * options[] below is the only place that knows names, rights and values;
 * adding an option is adding a line there and a field to ImApp.  This file
 * must not know who sends.
 *
 * Two surprising rules.  The validator gets the final list of options and
 * nothing else: it cannot see other servers, nor tell CREATE from ALTER, so
 * what concerns more than one object is checked when it is used, and so are
 * key files (a restore elsewhere must not fail).  And a failing statement goes
 * to the server's log with the key that it may spell: our errors hide theirs
 * and never hold a secret's value.
 */
#include "postgres.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/reloptions.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_foreign_server.h"
#include "catalog/pg_user_mapping.h"
#include "commands/defrem.h"
#include "common/hashfn.h"
#include "foreign/foreign.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "nodes/value.h"
#include "storage/fd.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/inval.h"
#include "utils/syscache.h"
#include "utils/varlena.h"

#include "app.h"
#include "compat.h"
#include "encoding.h"
#include "operation.h"
#include "usersig.h"
#include "values.h"

#define TIMEOUT_MIN_MS		1000
#define TIMEOUT_SERVICE_MS	3000	/* the service's own limit */
#define TIMEOUT_MAX_MS		600000
#define RATE_MAX			1000000
#define RATE_MIN			0.001
#define SDKAPPID_MAX		INT64CONST(4294967295)
/* The option that says in which database the server was made. */
#define HOME_OPTION			"origin"
/* A key file over this is no key; white space around a key is allowed. */
#define KEY_FILE_MAX		1024

/* Who may set an option. */
typedef enum ImRight
{
	RIGHT_ANY,					/* who may change the object at all */
	RIGHT_READ_FILES,			/* pg_read_server_files */
	RIGHT_SUPERUSER
} ImRight;

/* What an option's value is: read into a member of ImApp, or by a function of its own. */
typedef struct ImOptionValue
{
	/* False if it is none.  Memory is palloc'd. */
	bool		(*read) (const char *value, const struct ImOptionValue *what, void *member);
	bool		(*parse) (const char *value, ImApp *app);	/* in its place */
	size_t		member;			/* of ImApp */
	int64		most;			/* of a number */
	const char *words[2];		/* that mean false and true */
} ImOptionValue;

typedef struct ImOption
{
	const char *name;
	Oid			catalog;
	ImOptionValue value;
	ImRight		right;
	const char *expected;		/* what a value is, a sentence for the HINT */
	bool		secret;			/* its value never shows */
} ImOption;

typedef struct ImRegion
{
	const char *name;
	const char *host;
} ImRegion;

/* From the RESTful API overview, document 1047/34620. */
static const ImRegion regions[] = {
	{"china", "console.tim.qq.com"},
	{"singapore", "adminapisgp.im.qcloud.com"},
	{"seoul", "adminapikr.im.qcloud.com"},
	{"tokyo", "adminapijpn.im.qcloud.com"},
	{"frankfurt", "adminapiger.im.qcloud.com"},
	{"silicon_valley", "adminapiusa.im.qcloud.com"},
	{"jakarta", "adminapiidn.im.qcloud.com"},
	{"riyadh", "adminapiksa.im.qcloud.com"},
};

/* ImApp's strings, for who copies or frees them all. */
static const size_t app_strings[] = {
	offsetof(ImApp, server_name), offsetof(ImApp, base_url), offsetof(ImApp, region),
	offsetof(ImApp, ca_file), offsetof(ImApp, identifier),
	offsetof(ImApp, secret_key_file), offsetof(ImApp, secret_key),
};

/*
 * What is known of a key file, to see that it is another.  All of one width:
 * stamps are compared byte by byte, so there must be no padding.
 */
typedef struct ImKeyStamp
{
	int64		device;
	int64		inode;
	int64		size;
	int64		mtime;
	int64		ctime;
	int64		ctime_nsec;
} ImKeyStamp;

/* The key file at the last im_app_read_key(); all zero if it was not there. */
static ImKeyStamp key_stamp;

static void (*change_ring) (void) = NULL;
static uint64 generation = 0;
static bool warned = false;		/* the next validation warns of nothing again */

/* ---- values ---- */

/* Fills a problem; hint may be NULL. Always false, for its callers to return. */
static bool
set_problem(ImProblem *problem, int sqlstate, char *message, const char *hint)
{
	problem->sqlstate = sqlstate;
	problem->message = message;
	problem->hint = hint ? pstrdup(hint) : NULL;
	return false;
}

/* A number of calls, rows or bytes. */
static bool
read_count(const char *value, const ImOptionValue *what, void *member)
{
	int64		count = 0;
	bool		good = im_value_whole(value, 1, what->most, &count);

	*(int *) member = (int) count;
	return good;
}

/* A number that may be larger. */
static bool
read_whole(const char *value, const ImOptionValue *what, void *member)
{
	return im_value_whole(value, 1, what->most, member);
}

/* Calls per second, fractions allowed. */
static bool
read_rate(const char *value, const ImOptionValue *what, void *member)
{
	return im_value_number(value, RATE_MIN, RATE_MAX, member);
}

/* One of two words. */
static bool
read_word(const char *value, const ImOptionValue *what, void *member)
{
	return im_value_word(value, what->words[0], what->words[1], member);
}

/* Whether the file is there is seen when it is used. */
static bool
read_path(const char *value, const ImOptionValue *what, void *member)
{
	*(char **) member = pstrdup(value);
	return is_absolute_path(value);
}

/* One of regions[]. */
static bool
parse_region(const char *value, ImApp *app)
{
	size_t		i;

	for (i = 0; i < lengthof(regions); i++)
		if (strcmp(regions[i].name, value) == 0)
		{
			app->region = pstrdup(value);
			return true;
		}
	return false;
}

/* https:// anywhere, http:// only where nobody can listen. */
static bool
parse_endpoint(const char *value, ImApp *app)
{
	app->base_url = palloc(IM_URL_MAX + 1);
	return im_value_endpoint(value, app->base_url, &app->plain_http);
}

/* That of all commands; it is known whether a person has set it. */
static bool
parse_rate_limit(const char *value, ImApp *app)
{
	app->rate_limit_given = true;
	return im_value_number(value, RATE_MIN, RATE_MAX, &app->rate_limit);
}

/* With units as in a GUC; a bare number would be milliseconds, and is too small. */
static bool
parse_request_timeout(const char *value, ImApp *app)
{
	return im_value_time(value, TIMEOUT_MIN_MS, TIMEOUT_MAX_MS, &app->request_timeout_ms);
}

/* Which documents to believe, see record.h. */
static bool
parse_text_limits(const char *value, ImApp *app)
{
	bool		sdk;
	bool		good = im_value_word(value, "page", "sdk", &sdk);

	app->text_limits = sdk ? IM_LIMITS_SDK : IM_LIMITS_PAGE;
	return good;
}

/* The extension's own; dumped with the server, and so a copy can be told. */
static bool
parse_origin(const char *value, ImApp *app)
{
	app->has_home = true;
	return im_value_whole(value, PG_INT64_MIN, PG_INT64_MAX, &app->home);
}

/* Kept as UTF-8, because that is what is signed. */
static bool
parse_identifier(const char *value, ImApp *app)
{
	size_t		len;

	app->identifier = im_text_to_utf8(im_text_conversion(), pstrdup(value), strlen(value), &len);
	return app->identifier != NULL && im_value_identifier(app->identifier, len, IM_IDENTIFIER_MAX);
}

/* The key itself, for who cannot place a file. */
static bool
parse_secret_key(const char *value, ImApp *app)
{
	app->secret_key = palloc0(IM_KEY_MAX + 1);
	return im_value_key(value, strlen(value), app->secret_key);
}

/* How much later than it was written a message may be sent. */
static bool
parse_max_time_shift(const char *value, ImApp *app)
{
	int			ms;
	bool		good = im_value_time(value, 0, INT_MAX, &ms);

	app->max_time_shift = ms / 1000;
	return good;
}

/* Values that are read into a member. */
#define COUNT(place, max)	{.read = read_count,.member = offsetof(ImApp, place),.most = (max)}
#define WHOLE(place, max)	{.read = read_whole,.member = offsetof(ImApp, place),.most = (max)}
#define RATE(place)			{.read = read_rate,.member = offsetof(ImApp, place)}
#define WORD(place, no, yes) {.read = read_word,.member = offsetof(ImApp, place),.words = {no, yes}}
#define PATH(place)			{.read = read_path,.member = offsetof(ImApp, place)}
#define OWN(function)		{.parse = function}

/* Names as in the documentation; the order is that of the hints. */
static const ImOption options[] = {
	{"sdkappid", ForeignServerRelationId, WHOLE(sdkappid, SDKAPPID_MAX), RIGHT_ANY,
	"The SDKAppID of the IM console is expected, a number from 1 to 4294967295.", false},
	{"region", ForeignServerRelationId, OWN(parse_region), RIGHT_ANY,
	"The data center of the app is expected: china, singapore, seoul, tokyo, frankfurt, silicon_valley, jakarta or riyadh.", false},
	{"endpoint", ForeignServerRelationId, OWN(parse_endpoint), RIGHT_SUPERUSER,
	"A URL like https://host[:port] is expected, without path, query and user; http:// only for a loopback address.", false},
	{"rate_limit", ForeignServerRelationId, OWN(parse_rate_limit), RIGHT_ANY,
	"Calls per second are expected, a number from 0.001 to 1000000.", false},
#define KIND_RATE(kind, name) \
	{#name "_rate_limit", ForeignServerRelationId, RATE(rates[kind]), RIGHT_ANY, \
	"Calls per second are expected, a number from 0.001 to 1000000.", false},
#define IM_KIND(kind, name, function) KIND_RATE(kind, name)
#define IM_KIND_OF_OTHERS(kind, name) KIND_RATE(kind, name)
#include "commandlist.h"
	{"audit_rate_limit", ForeignServerRelationId, RATE(audit_rate), RIGHT_ANY,
	"Calls per second are expected, a number from 0.001 to 1000000; the service's limit is 1.", false},
#define IM_PER_CALL(kind, rows, most, note) \
	{#rows "_per_call", ForeignServerRelationId, COUNT(batch[kind], most), RIGHT_ANY, \
	"A number of rows from 1 to " #most " is expected" note ".", false},
#include "commandlist.h"
	{"equal_seconds", ForeignServerRelationId, WORD(keep_equal_seconds, "move", "keep"), RIGHT_ANY,
	"move (a message goes a second later than the one before it) or keep is expected.", false},
	{"max_time_shift", ForeignServerRelationId, OWN(parse_max_time_shift), RIGHT_ANY,
	"A time with its unit is expected, for example '1h'.", false},
	{"message_bytes", ForeignServerRelationId, COUNT(message_bytes, 1024 * 1024), RIGHT_ANY,
	"A number of bytes from 1 to 1048576 is expected; the service's limit is 12288.", false},
	{"recent_contact", ForeignServerRelationId, WORD(recent_contact, "off", "on"), RIGHT_ANY,
	"off or on is expected.", false},
	{"groups_per_day", ForeignServerRelationId, WHOLE(groups_per_day, PG_INT64_MAX), RIGHT_ANY,
	"A whole number of groups over 0 is expected; without the option there is no budget.", false},
	{"max_in_flight", ForeignServerRelationId, COUNT(max_in_flight, 1024), RIGHT_ANY,
	"A number of calls from 1 to 1024 is expected.", false},
	{"request_timeout", ForeignServerRelationId, OWN(parse_request_timeout), RIGHT_ANY,
	"A time from 1s to 10min is expected, with its unit (ms, s, min), for example '15s'.", false},
	{"max_attempts", ForeignServerRelationId, COUNT(max_attempts, 1000), RIGHT_ANY,
	"A number of attempts from 1 to 1000 is expected.", false},
	{"group_ids", ForeignServerRelationId, WORD(assigned_ids, "generated", "assigned"), RIGHT_ANY,
	"generated (from the row's random key) or assigned (by the service) is expected.", false},
	{"text_limits", ForeignServerRelationId, OWN(parse_text_limits), RIGHT_ANY,
	"page (30, 240, 300 and 100 bytes) or sdk (100, 400, 400 and 500 bytes) is expected.", false},
	{"after_promotion", ForeignServerRelationId, WORD(continue_after_promotion, "hold", "continue"), RIGHT_ANY,
	"hold (until im_import_adopt() is called) or continue is expected.", false},
	{"ca_file", ForeignServerRelationId, PATH(ca_file), RIGHT_READ_FILES,
	"An absolute path on the database server is expected.", false},
	{HOME_OPTION, ForeignServerRelationId, OWN(parse_origin), RIGHT_ANY,
	"What _im_origin() says is expected. The extension sets it when the server is made and by im_import_adopt(): leave it out.", false},
	{"identifier", UserMappingRelationId, OWN(parse_identifier), RIGHT_ANY,
	"The UserID of an app admin is expected, up to 256 bytes without control characters.", false},
	/* a secret, because who mixes the two up writes the key here */
	{"secret_key_file", UserMappingRelationId, PATH(secret_key_file), RIGHT_READ_FILES,
	"An absolute path on the database server is expected.", true},
	{"secret_key", UserMappingRelationId, OWN(parse_secret_key), RIGHT_ANY,
	"The key of the IM console is expected, one word of up to 256 bytes.", true},
};

/* ---- lists of options ---- */

/* The option of that name, of a catalog or (InvalidOid) of any; or NULL. */
static const ImOption *
find_option(const char *name, Oid catalog)
{
	size_t		i;

	for (i = 0; i < lengthof(options); i++)
		if (strcmp(options[i].name, name) == 0 &&
			(!OidIsValid(catalog) || options[i].catalog == catalog))
			return &options[i];
	return NULL;
}

/* The option of a catalog that a misspelt name most likely means, or NULL. */
static const char *
nearest_option(const char *name, Oid catalog)
{
	int			len = (int) strlen(name);
	int			least = Min(4, len / 2) + 1;
	const char *nearest = NULL;
	size_t		i;

	if (len > NAMEDATALEN)
		return NULL;
	for (i = 0; i < lengthof(options); i++)
	{
		int			distance = varstr_levenshtein_less_equal(name, len, options[i].name,
															 (int) strlen(options[i].name),
															 1, 1, 1, least, true);

		if (options[i].catalog == catalog && distance < least)
		{
			least = distance;
			nearest = options[i].name;
		}
	}
	return nearest;
}

/* All options of a catalog as a sentence. */
static char *
list_options(Oid catalog)
{
	StringInfoData buf;
	size_t		i;

	initStringInfo(&buf);
	for (i = 0; i < lengthof(options); i++)
		if (options[i].catalog == catalog && strcmp(options[i].name, HOME_OPTION) != 0)
			appendStringInfo(&buf, "%s%s", buf.len > 0 ? ", " : "Valid options here are: ",
							 options[i].name);
	if (buf.len == 0)
		appendStringInfoString(&buf, "There are no valid options in this context");
	appendStringInfoChar(&buf, '.');
	return buf.data;
}

/* Fills a problem about a name that is no option here. */
static bool
unknown_option(const char *name, Oid catalog, ImProblem *problem)
{
	const ImOption *elsewhere = find_option(name, InvalidOid);
	const char *nearest = nearest_option(name, catalog);
	char	   *hint;

	if (elsewhere != NULL)
		hint = psprintf("It is an option of the %s.",
						elsewhere->catalog == UserMappingRelationId ? "USER MAPPING" : "SERVER");
	else if (nearest != NULL)
		hint = psprintf("Perhaps you meant the option \"%s\".", nearest);
	else
		hint = list_options(catalog);
	return set_problem(problem, ERRCODE_FDW_INVALID_OPTION_NAME,
					   psprintf("invalid option \"%s\"", name), hint);
}

/* An app before its options are read. */
static void
set_defaults(ImApp *app)
{
	memset(app, 0, sizeof(ImApp));
	app->rate_limit = 200;
	app->max_in_flight = 128;
	app->request_timeout_ms = 15000;
	app->max_attempts = 12;
	app->text_limits = IM_LIMITS_PAGE;
	app->max_time_shift = 3600;
	app->message_bytes = 12288;
}

/* See app.h. */
double
im_app_rate(const ImApp *app, ImOp op)
{
	int			most = im_operations[op].rate;

	for (int kind = 0; kind < IM_KINDS; kind++)
	{
		if (im_commands[kind]->op != op)
			continue;
		if (app->rates[kind] > 0)
			return app->rates[kind];
		most = im_commands[kind]->rate;
	}
	if (op == IM_OP_LIST_GROUPS && app->audit_rate > 0)
		return app->audit_rate;
	return most > 0 ? Min(app->rate_limit, most) : app->rate_limit;
}

/* See app.h. */
int
im_app_batch(const ImApp *app, ImKind kind)
{
	return app->batch[kind] > 0 ? app->batch[kind] : im_commands[kind]->batch;
}

/* Reads a value into the app; false if it is not one. */
static bool
read_value(const ImOptionValue *what, const char *value, ImApp *app)
{
	return what->parse != NULL ? what->parse(value, app) : what->read(value, what, (char *) app + what->member);
}

/* Reads a catalog's options into the app; false and *problem at a bad one. */
static bool
apply_options(List *list, Oid catalog, ImApp *app, ImProblem *problem)
{
	ListCell   *lc;

	foreach(lc, list)
	{
		DefElem    *def = lfirst(lc);
		const ImOption *option = find_option(def->defname, catalog);
		char	   *value = defGetString(def);
		bool		good;

		if (option == NULL)
			return unknown_option(def->defname, catalog, problem);
		good = read_value(&option->value, value, app);
		/* At once, good or not: it must not stay in memory. */
		if (option->secret)
			im_usersig_cleanse(value, strlen(value));
		if (!good)
			return set_problem(problem, ERRCODE_FDW_INVALID_ATTRIBUTE_VALUE,
							   option->secret ? psprintf("invalid value for option \"%s\"", option->name) :
							   psprintf("invalid value for option \"%s\": \"%s\"", option->name, value),
							   option->expected);
	}
	return true;
}

/* False and *problem if options that must be there are not. */
static bool
is_complete(Oid catalog, const ImApp *app, ImProblem *problem)
{
	const char *missing = NULL;

	if (catalog == ForeignServerRelationId && app->sdkappid == 0)
		missing = "sdkappid";
	else if (catalog == ForeignServerRelationId && app->region == NULL && app->base_url == NULL)
		missing = "region";
	else if (catalog == UserMappingRelationId && app->identifier == NULL)
		missing = "identifier";
	else if (catalog == UserMappingRelationId && app->secret_key == NULL && app->secret_key_file == NULL)
		missing = "secret_key_file";
	if (missing != NULL)
		return set_problem(problem, ERRCODE_FDW_OPTION_NAME_NOT_FOUND,
						   psprintf("option \"%s\" is required", missing),
						   find_option(missing, catalog)->expected);
	/* Both at once would leave open which of them is used. */
	if (app->secret_key != NULL && app->secret_key_file != NULL)
		return set_problem(problem, ERRCODE_FDW_INVALID_OPTION_NAME,
						   pstrdup("options \"secret_key\" and \"secret_key_file\" exclude each other"),
						   "Keep secret_key_file, and drop the other with ALTER USER MAPPING ... OPTIONS (DROP secret_key).");
	return true;
}

/* ---- the validator ---- */

/* Raises a problem without the statement, which may spell a key. */
static void
raise_hidden(const ImProblem *problem)
{
	ereport(ERROR,
			(errcode(problem->sqlstate), errmsg("%s", problem->message),
			 problem->hint ? errhint("%s", problem->hint) : 0,
			 errhidestmt(true), errhidecontext(true)));
}

/* Raises an ERROR if the user may not set one of the options. */
static void
check_rights(List *list, Oid catalog)
{
	ImProblem	problem;
	ListCell   *lc;

	if (superuser())
		return;
	foreach(lc, list)
	{
		const ImOption *option = find_option(((DefElem *) lfirst(lc))->defname, catalog);

		if (option->right == RIGHT_ANY ||
			(option->right == RIGHT_READ_FILES &&
			 has_privs_of_role(GetUserId(), ROLE_PG_READ_SERVER_FILES)))
			continue;
		set_problem(&problem, ERRCODE_INSUFFICIENT_PRIVILEGE,
					psprintf("permission denied to set option \"%s\"", option->name),
					option->right == RIGHT_SUPERUSER ?
					"Only a superuser may change an object that has this option." :
					"Only a superuser or a member of pg_read_server_files may change an object that has this option.");
		raise_hidden(&problem);
	}
}

/* See app.h. */
void
im_app_validate(List *list, Oid catalog)
{
	ImProblem	problem;
	ImApp		app;
	bool		good;

	set_defaults(&app);
	good = apply_options(list, catalog, &app, &problem) && is_complete(catalog, &app, &problem);
	if (app.secret_key != NULL)
		im_usersig_cleanse(app.secret_key, IM_KEY_MAX);
	if (!good)
		raise_hidden(&problem);
	check_rights(list, catalog);
	if (app.request_timeout_ms < TIMEOUT_SERVICE_MS && !warned)
		ereport(WARNING,
				(errcode(ERRCODE_WARNING),
				 errmsg("a request_timeout of %d ms is less than the service's own limit of 3 s",
						app.request_timeout_ms),
				 errhint("Calls that are answered later leave it open whether their group exists: 15s is the default."),
				 errhidestmt(true)));
	warned = false;
	/* The worker may wait for just this change. */
	if (change_ring != NULL &&
		(catalog == ForeignServerRelationId || catalog == UserMappingRelationId))
		change_ring();
}

/* See app.h. */
void
im_app_on_change(void (*ring) (void))
{
	change_ring = ring;
}

/* See app.h. */
void
im_app_raise(const ImProblem *problem)
{
	ereport(ERROR,
			(errcode(problem->sqlstate), errmsg("%s", problem->message),
			 problem->hint ? errhint("%s", problem->hint) : 0));
	pg_unreachable();
}

/* ---- loading ---- */

/* Orders server names for messages. */
static int
compare_names(const ListCell *a, const ListCell *b)
{
	return strcmp(lfirst(a), lfirst(b));
}

/*
 * The servers of our wrapper: their names, and the oid of the last one seen.
 * No index leads there; the catalog is small.
 */
static List *
find_servers(Oid *server_id)
{
	Oid			wrapper = get_foreign_data_wrapper_oid(IM_WRAPPER_NAME, true);
	Relation	rel = table_open(ForeignServerRelationId, AccessShareLock);
	List	   *names = NIL;
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;

	ScanKeyInit(&key, Anum_pg_foreign_server_srvfdw, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(wrapper));
	scan = systable_beginscan(rel, InvalidOid, false, NULL, 1, &key);
	while ((tuple = systable_getnext(scan)) != NULL)
	{
		Form_pg_foreign_server form = (Form_pg_foreign_server) GETSTRUCT(tuple);

		*server_id = form->oid;
		names = lappend(names, pstrdup(NameStr(form->srvname)));
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	list_sort(names, compare_names);
	return names;
}

/* The one server, or NULL and *problem. */
static ForeignServer *
find_server(ImProblem *problem)
{
	Oid			server_id = InvalidOid;
	List	   *names = find_servers(&server_id);
	StringInfoData buf;
	ListCell   *lc;

	if (list_length(names) == 1)
		return GetForeignServer(server_id);
	if (names == NIL)
	{
		set_problem(problem, ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
					pstrdup("this database has no server of the foreign-data wrapper \"" IM_WRAPPER_NAME "\""),
					"Say which IM app it belongs to: CREATE SERVER im FOREIGN DATA WRAPPER " IM_WRAPPER_NAME " OPTIONS (sdkappid '...', region '...').");
		return NULL;
	}
	initStringInfo(&buf);
	foreach(lc, names)
		appendStringInfo(&buf, "%s\"%s\"", buf.len > 0 ? ", " : "", (char *) lfirst(lc));
	set_problem(problem, ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
				psprintf("this database has more than one server of the foreign-data wrapper \"" IM_WRAPPER_NAME "\": %s",
						 buf.data),
				"One database belongs to one IM app: drop all but one.");
	return NULL;
}

/*
 * Options of a user's mapping, else of PUBLIC's.  False and *problem if there
 * is neither.
 */
static bool
find_mapping(const ForeignServer *server, List **list, ImProblem *problem)
{
	HeapTuple	tuple = SearchSysCache2(USERMAPPINGUSERSERVER,
										ObjectIdGetDatum(server->owner),
										ObjectIdGetDatum(server->serverid));
	Datum		datum;
	bool		isnull;

	/* PUBLIC's is second to the owner's own. */
	if (!HeapTupleIsValid(tuple))
		tuple = SearchSysCache2(USERMAPPINGUSERSERVER, ObjectIdGetDatum(InvalidOid),
								ObjectIdGetDatum(server->serverid));
	if (!HeapTupleIsValid(tuple))
		return set_problem(problem, ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
						   psprintf("server \"%s\" has no user mapping for its owner \"%s\"",
									server->servername, GetUserNameFromId(server->owner, false)),
						   psprintf("Run CREATE USER MAPPING FOR %s SERVER %s OPTIONS (identifier '...', secret_key_file '...').",
									quote_identifier(GetUserNameFromId(server->owner, false)),
									quote_identifier(server->servername)));
	datum = SysCacheGetAttr(USERMAPPINGUSERSERVER, tuple, Anum_pg_user_mapping_umoptions, &isnull);
	*list = isnull ? NIL : untransformRelOptions(datum);
	ReleaseSysCache(tuple);
	return true;
}

/* The string at an offset of app_strings[]. */
static char **
app_string(ImApp *app, size_t i)
{
	return (char **) ((char *) app + app_strings[i]);
}

/* Frees an app's strings, overwriting the key. */
static void
free_strings(ImApp *app)
{
	size_t		i;

	if (app->secret_key != NULL)
		im_usersig_cleanse(app->secret_key, strlen(app->secret_key));
	for (i = 0; i < lengthof(app_strings); i++)
		if (*app_string(app, i) != NULL)
			pfree(*app_string(app, i));
}

/* Fills in what the options say together. */
static void
finish_app(ImApp *app)
{
	size_t		i;

	/* An endpoint counts more than a region. */
	if (app->base_url != NULL)
		app->region = NULL;
	for (i = 0; i < lengthof(regions) && app->region != NULL; i++)
		if (strcmp(regions[i].name, app->region) == 0)
			app->base_url = psprintf("https://%s", regions[i].host);
}

/* Reads server and mapping in the current context; false and *problem. */
static bool
load_app(ImApp *app, ImProblem *problem)
{
	ForeignServer *server = find_server(problem);
	List	   *mapping;

	set_defaults(app);
	if (server == NULL ||
		!apply_options(server->options, ForeignServerRelationId, app, problem) ||
		!is_complete(ForeignServerRelationId, app, problem) ||
		!find_mapping(server, &mapping, problem) ||
		!apply_options(mapping, UserMappingRelationId, app, problem) ||
		!is_complete(UserMappingRelationId, app, problem))
		return false;
	app->server_name = pstrdup(server->servername);
	finish_app(app);
	return true;
}

/* See app.h. */
ImApp *
im_app_load(MemoryContext ctx, ImProblem *problem)
{
	ImApp		loaded;
	ImApp	   *app = NULL;
	size_t		i;

	if (load_app(&loaded, problem))
	{
		app = MemoryContextAlloc(ctx, sizeof(ImApp));
		*app = loaded;
		for (i = 0; i < lengthof(app_strings); i++)
			if (*app_string(app, i) != NULL)
				*app_string(app, i) = MemoryContextStrdup(ctx, *app_string(app, i));
	}
	/* Also after a failure: a key may have been read. */
	free_strings(&loaded);
	return app;
}

/* See app.h. */
void
im_app_free(ImApp *app)
{
	if (app == NULL)
		return;
	free_strings(app);
	pfree(app);
}

/* See app.h. */
void
im_app_encoding(ImTextLimits *limits, int *message_bytes, bool *assigned_ids)
{
	Oid			server_id = InvalidOid;
	ImProblem	problem;
	ImApp		app;

	set_defaults(&app);
	if (list_length(find_servers(&server_id)) == 1)
		apply_options(GetForeignServer(server_id)->options, ForeignServerRelationId,
					  &app, &problem);
	*limits = app.text_limits;
	*message_bytes = app.message_bytes;
	*assigned_ids = app.assigned_ids;
}

/* ---- where the server was made ---- */

/* See app.h. */
bool
im_app_home(int64 *home)
{
	Oid			server_id = InvalidOid;
	ImProblem	problem;
	ImApp		app;

	set_defaults(&app);
	if (list_length(find_servers(&server_id)) == 1)
		apply_options(GetForeignServer(server_id)->options, ForeignServerRelationId,
					  &app, &problem);
	*home = app.home;
	return app.has_home;
}

/* True if a list has the option of that name. */
static bool
has_option(List *list, const char *name)
{
	ListCell   *lc;

	foreach(lc, list)
		if (strcmp(((DefElem *) lfirst(lc))->defname, name) == 0)
			return true;
	return false;
}

/* See app.h. */
void
im_app_note_home(const char *name, int64 origin, bool again)
{
	Oid			server_id = InvalidOid;
	List	   *names = name == NULL ? find_servers(&server_id) : NIL;
	ForeignServer *server;
	AlterForeignServerStmt *change = makeNode(AlterForeignServerStmt);
	DefElem    *option;
	bool		told;

	if (name == NULL && list_length(names) != 1)
		return;
	server = name == NULL ? GetForeignServer(server_id) : GetForeignServerByName(name, true);
	if (server == NULL || server->fdwid != get_foreign_data_wrapper_oid(IM_WRAPPER_NAME, true))
		return;
	told = has_option(server->options, HOME_OPTION);
	/* Whoever made it has said so, as a restored dump does. */
	if (told && !again)
		return;
	option = makeDefElem(pstrdup(HOME_OPTION), (Node *) makeString(psprintf(INT64_FORMAT, origin)), -1);
	option->defaction = told ? DEFELEM_SET : DEFELEM_ADD;
	change->servername = server->servername;
	change->options = list_make1(option);
	warned = true;
	(void) AlterForeignServer(change);
	CommandCounterIncrement();
}

/* ---- staleness ---- */

/* A server, mapping or wrapper changed. */
static void
options_changed(Datum arg, int cacheid, uint32 hashvalue)
{
	generation++;
}

/* See app.h. */
uint64
im_app_generation(void)
{
	static const int caches[] = {FOREIGNSERVEROID, USERMAPPINGOID, FOREIGNDATAWRAPPEROID};
	size_t		i;

	/* Registered once in a process: there is no way to take that back. */
	if (generation == 0)
	{
		for (i = 0; i < lengthof(caches); i++)
			CacheRegisterSyscacheCallback(caches[i], options_changed, (Datum) 0);
		generation = 1;
	}
	return generation;
}

/* See app.h. */
bool
im_app_stale(void)
{
	static uint64 seen = 0;
	bool		stale = seen != im_app_generation();

	seen = generation;
	return stale;
}

/* ---- the key ---- */

/* What tells a key file from what it was before. */
static ImKeyStamp
stamp_of(const struct stat *st)
{
	ImKeyStamp	stamp;

	memset(&stamp, 0, sizeof(stamp));
	stamp.device = (int64) st->st_dev;
	stamp.inode = (int64) st->st_ino;
	stamp.size = (int64) st->st_size;
	stamp.mtime = (int64) st->st_mtime;
	stamp.ctime = (int64) st->st_ctime;
	stamp.ctime_nsec = IM_CTIME_NSEC(*st);
	return stamp;
}

/* Fills a problem from errno. Always false. */
static bool
file_problem(const char *path, ImProblem *problem)
{
	bool		scarce = errno == EMFILE || errno == ENFILE || errno == ENOMEM;
	int			sqlstate = errno == ENOENT || errno == ENOTDIR ? ERRCODE_UNDEFINED_FILE :
		errno == EACCES || errno == EPERM ? ERRCODE_INSUFFICIENT_PRIVILEGE :
		scarce ? ERRCODE_INSUFFICIENT_RESOURCES : ERRCODE_IO_ERROR;

	return set_problem(problem, sqlstate,
					   psprintf("could not read secret key file \"%s\": %m", path),
					   scarce ? "The file may be right: the server's system is short of something. It is tried again; if it lasts, see the limits of the server's user." :
					   "The option secret_key_file names a file on the database server that the server's user can read.");
}

/* The rule of ssl_key_file: ours and 0600, or root's and at most 0640. */
static bool
check_key_file(const char *path, const struct stat *st, ImProblem *problem)
{
	mode_t		forbidden = st->st_uid == 0 && geteuid() != 0 ?
		(S_IWGRP | S_IXGRP | S_IRWXO) : (S_IRWXG | S_IRWXO);

	if (!S_ISREG(st->st_mode))
		return set_problem(problem, ERRCODE_CONFIG_FILE_ERROR,
						   psprintf("secret key file \"%s\" is not a regular file", path),
						   "Put the key into a file of its own.");
	if (st->st_uid != geteuid() && st->st_uid != 0)
		return set_problem(problem, ERRCODE_CONFIG_FILE_ERROR,
						   psprintf("secret key file \"%s\" must be owned by the database server's user or root", path),
						   psprintf("Change the file's owner to the server's user, and its mode: chmod 0600 %s.", path));
	if (st->st_mode & forbidden)
		return set_problem(problem, ERRCODE_CONFIG_FILE_ERROR,
						   psprintf("secret key file \"%s\" is open to others, its mode is %04o",
									path, (unsigned) (st->st_mode & 07777)),
						   psprintf("Run chmod 0600 %s (0640 is allowed if root owns it).", path));
	return true;
}

/*
 * Reads the file into buf (KEY_FILE_MAX + 1 bytes).  O_NONBLOCK, because a
 * FIFO would hang us; works outside a transaction, because nothing can raise
 * between open and close.  Returns the length, or -1 with errno.
 */
static int
read_file(const char *path, char *buf, struct stat *st)
{
	int			fd = BasicOpenFile(path, O_RDONLY | O_NONBLOCK | PG_BINARY);
	int			len = 0;
	int			save_errno;

	if (fd < 0)
		return -1;
	if (fstat(fd, st) != 0)
		len = -1;
	else if (S_ISREG(st->st_mode))
		len = (int) read(fd, buf, KEY_FILE_MAX + 1);
	/* close() may set another one. */
	save_errno = errno;
	close(fd);
	errno = save_errno;
	return len;
}

/* Reads and checks the key file; returns the key's length or -1. */
static int
read_key_file(const char *path, char *key, ImProblem *problem)
{
	char		buf[KEY_FILE_MAX + 1];
	struct stat st;
	int			len = read_file(path, buf, &st);
	bool		good;

	memset(&key_stamp, 0, sizeof(key_stamp));
	if (len < 0)
	{
		file_problem(path, problem);
		return -1;
	}
	/* Noted whatever is wrong with it: only a change is worth another look. */
	key_stamp = stamp_of(&st);
	good = check_key_file(path, &st, problem);
	if (good && (len > KEY_FILE_MAX || !im_value_key(buf, len, key)))
		good = set_problem(problem, ERRCODE_CONFIG_FILE_ERROR,
						   psprintf("secret key file \"%s\" is empty, or holds more than one key of up to %d bytes",
									path, IM_KEY_MAX),
						   "The file holds nothing but the key that the IM console shows with the app, on one line.");
	im_usersig_cleanse(buf, sizeof(buf));
	return good ? (int) strlen(key) : -1;
}

/* See app.h. */
int
im_app_read_key(const ImApp *app, char *key, ImProblem *problem)
{
	if (app->secret_key_file != NULL)
		return read_key_file(app->secret_key_file, key, problem);
	strlcpy(key, app->secret_key, IM_KEY_MAX + 1);
	return (int) strlen(key);
}

/* A stamp in one number. */
static uint64
fold_stamp(const ImKeyStamp *stamp)
{
	return hash_bytes_extended((const unsigned char *) stamp, sizeof(*stamp), 0);
}

/* See app.h. */
uint64
im_key_file_stamp(const char *path)
{
	ImKeyStamp	stamp;
	struct stat st;

	memset(&stamp, 0, sizeof(stamp));
	if (stat(path, &st) == 0)
		stamp = stamp_of(&st);
	return fold_stamp(&stamp);
}

/* See app.h. */
uint64
im_app_key_stamp(void)
{
	return fold_stamp(&key_stamp);
}

/* See app.h. */
bool
im_app_key_changed(const ImApp *app)
{
	ImKeyStamp	stamp;
	struct stat st;

	if (app->secret_key_file == NULL)
		return false;
	memset(&stamp, 0, sizeof(stamp));
	if (stat(app->secret_key_file, &st) == 0)
		stamp = stamp_of(&st);
	return memcmp(&stamp, &key_stamp, sizeof(stamp)) != 0;
}
