/*
 * functions.c
 *	  The SQL functions that call no service: what a record would become, what
 *	  a UserSig says, the table of codes, and the outbox's column defaults.
 *
 * Must know neither shared memory nor HTTP: everything here works without
 * preloading the library.
 *
 * The surprising rule: a secret key is on the stack only between the last
 * thing that can raise and the signature, and is overwritten there.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/reloptions.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"
#include "utils/typcache.h"
#include "utils/uuid.h"

#include "app.h"
#include "compat.h"
#include "errcodes.h"
#include "batch.h"
#include "cmd_group.h"
#include "functions.h"
#include "glyph.h"
#include "json.h"
#include "problem.h"
#include "usersig.h"

/* How long a UserSig is valid unless the caller says so: a day. */
#define LIFETIME_DEFAULT	86400
/* So many random bytes are fetched at a time for row keys. */
#define RANDOM_BUFFER		4096

PG_FUNCTION_INFO_V1(im_import_validator);
PG_FUNCTION_INFO_V1(im_group_json);
PG_FUNCTION_INFO_V1(im_group_problems);
PG_FUNCTION_INFO_V1(im_row_json);
PG_FUNCTION_INFO_V1(im_row_problems);
PG_FUNCTION_INFO_V1(im_fit);
PG_FUNCTION_INFO_V1(im_sql_problem_kind);
PG_FUNCTION_INFO_V1(im_sql_problem_list);
PG_FUNCTION_INFO_V1(im_usersig_configured);
PG_FUNCTION_INFO_V1(im_usersig_pure);
PG_FUNCTION_INFO_V1(im_usersig_claims);
PG_FUNCTION_INFO_V1(im_error_codes);
PG_FUNCTION_INFO_V1(im_sql_advice);
PG_FUNCTION_INFO_V1(im_row_key);
PG_FUNCTION_INFO_V1(im_generated_group_id);

/* im_import_validator(text[], oid): the wrapper's, see app.c. */
Datum
im_import_validator(PG_FUNCTION_ARGS)
{
	im_app_validate(untransformRelOptions(PG_GETARG_DATUM(0)), PG_GETARG_OID(1));
	PG_RETURN_VOID();
}

/* ---- records ---- */

/* The index of a column of exactly that name and type, or -1. */
static int
find_column(TupleDesc desc, const char *name, Oid type)
{
	int			i;

	for (i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);

		if (!att->attisdropped && att->atttypid == type && strcmp(NameStr(att->attname), name) == 0)
			return i;
	}
	return -1;
}

/* What a record type means, in a context of its own below fn_mcxt. */
static ImRecord *
make_record(MemoryContext parent, const ImCommand *command, Oid type, int32 typmod, uint64 shape)
{
	MemoryContext context = AllocSetContextCreate(parent, "im_import record",
												  ALLOCSET_SMALL_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	ImRecord   *record = palloc0(sizeof(ImRecord));
	TupleDesc	desc = lookup_rowtype_tupdesc_domain(type, typmod, false);

	record->context = context;
	record->shape = shape;
	record->command = command;
	record->desc = CreateTupleDescCopy(desc);
	ReleaseTupleDesc(desc);
	record->map = im_record_map(command, record->desc);
	record->id_column = find_column(record->desc, "id", INT8OID);
	record->row_key_column = find_column(record->desc, "row_key", UUIDOID);
	record->values = palloc(sizeof(Datum) * Max(record->desc->natts, 1));
	record->nulls = palloc(sizeof(bool) * Max(record->desc->natts, 1));
	MemoryContextSwitchTo(old);
	return record;
}

/* See functions.h. */
ImRecord *
im_record_arg(FunctionCallInfo fcinfo, int argno, const ImCommand *command)
{
	HeapTupleHeader header = PG_GETARG_HEAPTUPLEHEADER(argno);
	FmgrInfo   *flinfo = fcinfo->flinfo;
	Oid			type = HeapTupleHeaderGetTypeId(header);
	int32		typmod = HeapTupleHeaderGetTypMod(header);
	uint64		shape = assign_record_type_identifier(type, typmod);
	ImRecord   *record = flinfo->fn_extra;
	HeapTupleData tuple;

	if (record == NULL || record->shape != shape || record->command != command)
	{
		flinfo->fn_extra = NULL;
		if (record != NULL)
			MemoryContextDelete(record->context);
		record = make_record(flinfo->fn_mcxt, command, type, typmod, shape);
		flinfo->fn_extra = record;
	}
	if (record->generation != im_app_generation())
	{
		record->generation = im_app_generation();
		im_app_encoding(&record->limits, &record->message_bytes, &record->assigned_ids);
	}
	tuple.t_len = HeapTupleHeaderGetDatumLength(header);
	ItemPointerSetInvalid(&tuple.t_self);
	tuple.t_tableOid = InvalidOid;
	tuple.t_data = header;
	heap_deform_tuple(&tuple, record->desc, record->values, record->nulls);
	return record;
}

/* See functions.h. */
bool
im_record_is_row(const ImRecord *record, int64 *id, const unsigned char **row_key)
{
	int			i = record->id_column;
	int			k = record->row_key_column;

	if (i < 0 || k < 0 || record->nulls[i] || record->nulls[k])
		return false;
	if (id != NULL)
		*id = DatumGetInt64(record->values[i]);
	if (row_key != NULL)
		*row_key = DatumGetUUIDP(record->values[k])->data;
	return true;
}

/*
 * Encodes a record as the sender would: an outbox row without a group_id gets
 * the one that its row_key stands for.
 */
static void
encode_record(const ImRecord *record, bool want_warnings, ImItem *item)
{
	ImEncoding	encoding = {
		.limits = record->limits,
		.message_bytes = record->message_bytes,
		.warnings = want_warnings
	};
	char		generated[IM_GROUP_ID_MAX + 1];
	const unsigned char *row_key;

	if (!im_record_is_row(record, &encoding.id, &row_key))
		row_key = NULL;
	encoding.random = im_batch_random(encoding.id, row_key);
	if (row_key != NULL && record->command->makes_groups && !record->assigned_ids)
	{
		im_group_generate_id(row_key,
							 im_group_is_community(record->map, record->values, record->nulls),
							 generated);
		encoding.group_id = generated;
	}
	im_record_encode(record->map, record->values, record->nulls, &encoding, item);
}

/* The request for a record, alone in its call; best effort if there are problems. */
static Datum
record_json(const ImRecord *record)
{
	StringInfoData request;
	const char *json;
	size_t		len;
	ImItem		item;

	encode_record(record, false, &item);
	initStringInfo(&request);
	json = item.json.data;
	len = (size_t) item.json.len;
	im_record_request(&request, record->command, item.key, "", &json, &len, 1);
	PG_RETURN_TEXT_P(cstring_to_text(pg_any_to_server(request.data, request.len, PG_UTF8)));
}

/* All problems of a record as text[]. */
static Datum
record_problems(const ImRecord *record, bool warnings)
{
	ImItem		item;
	Datum	   *elements;
	ListCell   *lc;
	int			n = 0;

	encode_record(record, warnings, &item);
	elements = palloc(sizeof(Datum) * (list_length(item.problems) + 1));
	foreach(lc, item.problems)
		elements[n++] = CStringGetTextDatum(lfirst(lc));
	PG_RETURN_ARRAYTYPE_P(construct_array(elements, n, TEXTOID, -1, false, TYPALIGN_INT));
}

/* The command of a kind that a person names, or an ERROR. */
static const ImCommand *
command_arg(FunctionCallInfo fcinfo, int argno)
{
	char	   *name = text_to_cstring(PG_GETARG_TEXT_PP(argno));
	const ImCommand *command = im_command_find(name);

	if (command == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("there is no kind of row called \"%s\"", name),
				 errhint("Kinds are %s.", im_command_names(false))));
	return command;
}

/* im_group_json(record) */
Datum
im_group_json(PG_FUNCTION_ARGS)
{
	return record_json(im_record_arg(fcinfo, 0, &im_cmd_group));
}

/* im_group_problems(record, warnings) */
Datum
im_group_problems(PG_FUNCTION_ARGS)
{
	return record_problems(im_record_arg(fcinfo, 0, &im_cmd_group), PG_GETARG_BOOL(1));
}

/* im_row_json(kind, record) */
Datum
im_row_json(PG_FUNCTION_ARGS)
{
	return record_json(im_record_arg(fcinfo, 1, command_arg(fcinfo, 0)));
}

/* im_row_problems(kind, record, warnings) */
Datum
im_row_problems(PG_FUNCTION_ARGS)
{
	return record_problems(im_record_arg(fcinfo, 1, command_arg(fcinfo, 0)), PG_GETARG_BOOL(2));
}

/*
 * im_fit(text, bytes): counted in UTF-8 whatever the database encoding is.
 * In SQL_ASCII the bytes are taken for UTF-8 without a look, so that one bad
 * title does not fail a load; im_group_problems() will name it.
 */
Datum
im_fit(PG_FUNCTION_ARGS)
{
	text	   *source = PG_GETARG_TEXT_PP(0);
	int32		bytes = PG_GETARG_INT32(1);
	char	   *utf8 = VARDATA_ANY(source);
	size_t		len = VARSIZE_ANY_EXHDR(source);
	int			encoding = GetDatabaseEncoding();
	bool		convert = encoding != PG_UTF8 && encoding != PG_SQL_ASCII;
	size_t		fit;

	if (bytes < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("number of bytes must not be negative: %d", bytes),
				 errhint("Name and introduction, for example, may have 30 and 240 bytes.")));
	if (convert)
	{
		utf8 = pg_server_to_any(text_to_cstring(source), (int) len, PG_UTF8);
		len = strlen(utf8);
	}
	fit = im_glyph_fit(utf8, len, (size_t) bytes);
	if (fit == len)
		PG_RETURN_TEXT_P(source);
	if (convert)
		PG_RETURN_TEXT_P(cstring_to_text(pg_any_to_server(pnstrdup(utf8, fit), (int) fit, PG_UTF8)));
	PG_RETURN_TEXT_P(cstring_to_text_with_len(utf8, (int) fit));
}

/* ---- problems ---- */

/* im_problem_kind(text): a problem without what differs from row to row. */
Datum
im_sql_problem_kind(PG_FUNCTION_ARGS)
{
	text	   *problem = PG_GETARG_TEXT_PP(0);
	size_t		len = VARSIZE_ANY_EXHDR(problem);
	text	   *kind = palloc(VARHDRSZ + len + IM_PROBLEM_GROWTH);

	len = im_problem_kind(VARDATA_ANY(problem), len, VARDATA(kind));
	SET_VARSIZE(kind, VARHDRSZ + len);
	PG_RETURN_TEXT_P(kind);
}

/* im_problem_list(text): the problems that an invalid row's error_info joins. */
Datum
im_sql_problem_list(PG_FUNCTION_ARGS)
{
	text	   *joined = PG_GETARG_TEXT_PP(0);
	const char *p = VARDATA_ANY(joined);
	const char *end = p + VARSIZE_ANY_EXHDR(joined);
	ArrayBuildState *list = initArrayResult(TEXTOID, CurrentMemoryContext, false);

	while (p < end)
	{
		size_t		len = im_problem_length(p, (size_t) (end - p));

		accumArrayResult(list, PointerGetDatum(cstring_to_text_with_len(p, (int) len)), false,
						 TEXTOID, CurrentMemoryContext);
		/* over the problem and its "; " */
		p += Min(len + 2, (size_t) (end - p));
	}
	PG_RETURN_DATUM(makeArrayResult(list, CurrentMemoryContext));
}

/* ---- UserSigs ---- */

/* The cure for each result, in the order of ImSigResult. */
static const char *const sig_hints[] = {
	[IM_SIG_OK] = NULL,
	[IM_SIG_BAD_IDENTIFIER] = "The identifier is a UserID of the app, of up to 256 bytes of UTF-8 without control characters.",
	[IM_SIG_BAD_KEY] = "The key is the one word that the IM console shows with the app.",
	[IM_SIG_BAD_LIFETIME] = "A UserSig may be valid for 1 second to 50 years, a year being 365 days.",
	[IM_SIG_BAD_SDKAPPID] = "The SDKAppID is a number from 1 to 4294967295, shown in the IM console.",
	[IM_SIG_CRYPTO] = "Look for a restricted OpenSSL configuration (FIPS) on the database server.",
	[IM_SIG_NOT_BASE64] = "A UserSig consists of A-Z, a-z, 0-9, *, - and _ only: perhaps it is percent-encoded, has white space, or was cut.",
	[IM_SIG_NOT_ZLIB] = "The text is not a complete UserSig of this kind (TLSSigAPIv2): perhaps it was cut, or signed with the older ECDSA scheme.",
	[IM_SIG_TOO_LONG] = "A UserSig has a few hundred characters.",
};

/* Raises an ERROR for any result but IM_SIG_OK. */
static void
check_result(ImSigResult result, const char *what)
{
	if (result == IM_SIG_OK)
		return;
	ereport(ERROR,
			(errcode(result == IM_SIG_CRYPTO ? ERRCODE_EXTERNAL_ROUTINE_EXCEPTION :
					 ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("%s: %s", what, im_usersig_result_text(result)),
			 errhint("%s", sig_hints[result])));
}

/*
 * An interval in seconds; a year has 365 days here and a month else 30, so
 * that '50 years' is what the service allows.
 */
static int64
interval_seconds(const Interval *interval)
{
	int64		days = (int64) interval->month / 12 * 365 +
		(int64) interval->month % 12 * 30 + interval->day;

	return days * SECS_PER_DAY + interval->time / USECS_PER_SEC;
}

/* A text argument as a UTF-8 string. */
static char *
utf8_arg(FunctionCallInfo fcinfo, int argno)
{
	text	   *arg = PG_GETARG_TEXT_PP(argno);
	char	   *server = text_to_cstring(arg);

	return pg_server_to_any(server, (int) strlen(server), PG_UTF8);
}

/* Signs, overwrites the key, and then raises or returns the UserSig. */
static text *
sign(int64 sdkappid, char *key, int key_len, const char *identifier,
	 TimestampTz issued_at, int64 lifetime)
{
	char		usersig[IM_USERSIG_MAX];
	ImSigResult result = im_usersig_sign(sdkappid, key, (size_t) key_len, identifier,
										 (int64) timestamptz_to_time_t(issued_at), lifetime,
										 usersig);

	im_usersig_cleanse(key, (size_t) key_len);
	check_result(result, "could not make a UserSig");
	return cstring_to_text(usersig);
}

/* im_usersig(identifier, lifetime): with the configured key. */
Datum
im_usersig_configured(PG_FUNCTION_ARGS)
{
	char	   *identifier = PG_ARGISNULL(0) ? NULL : utf8_arg(fcinfo, 0);
	int64		lifetime = PG_ARGISNULL(1) ? LIFETIME_DEFAULT : interval_seconds(PG_GETARG_INTERVAL_P(1));
	char		key[IM_KEY_MAX + 1];
	ImProblem	problem;
	ImApp	   *app = im_app_load(CurrentMemoryContext, &problem);
	int			key_len;
	int64		sdkappid;

	if (app == NULL)
		im_app_raise(&problem);
	sdkappid = app->sdkappid;
	if (identifier == NULL)
		identifier = pstrdup(app->identifier);
	key_len = im_app_read_key(app, key, &problem);
	im_app_free(app);
	if (key_len < 0)
		im_app_raise(&problem);
	PG_RETURN_TEXT_P(sign(sdkappid, key, key_len, identifier, GetCurrentTimestamp(), lifetime));
}

/* im_usersig(sdkappid, secret_key, identifier, lifetime, issued_at). */
Datum
im_usersig_pure(PG_FUNCTION_ARGS)
{
	char	   *identifier = utf8_arg(fcinfo, 2);
	TimestampTz issued_at = PG_GETARG_TIMESTAMPTZ(4);
	char	   *key = text_to_cstring(PG_GETARG_TEXT_PP(1));

	if (TIMESTAMP_NOT_FINITE(issued_at) || timestamptz_to_time_t(issued_at) < 0)
		ereport(ERROR,
				(errcode(ERRCODE_DATETIME_VALUE_OUT_OF_RANGE),
				 errmsg("issued_at must be a point in time from 1970 on"),
				 errhint("Pass now() for a UserSig that is valid from now.")));
	PG_RETURN_TEXT_P(sign(PG_GETARG_INT64(0), key, (int) strlen(key), identifier, issued_at,
						  interval_seconds(PG_GETARG_INTERVAL_P(3))));
}

/* im_usersig_claims(usersig): the JSON within, whoever signed it. */
Datum
im_usersig_claims(PG_FUNCTION_ARGS)
{
	text	   *usersig = PG_GETARG_TEXT_PP(0);
	char		json[IM_USERSIG_JSON_MAX];
	size_t		len;

	check_result(im_usersig_decode(VARDATA_ANY(usersig), VARSIZE_ANY_EXHDR(usersig), json, &len),
				 "could not read the UserSig");
	if (!pg_verify_mbstr(PG_UTF8, json, (int) len, true) || !im_json_valid(json, len) ||
		json[strspn(json, " \t\r\n")] != '{')
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("could not read the UserSig: it holds no JSON object"),
				 errhint("Only a UserSig of the kind TLSSigAPIv2 can be read.")));
	PG_RETURN_DATUM(DirectFunctionCall1(jsonb_in,
										CStringGetDatum(pg_any_to_server(json, (int) len, PG_UTF8))));
}

/* ---- codes ---- */

/*
 * An advice whose calls of im_import_retry() take the rows of this kind and code
 * only, so that it can be typed as it stands.
 */
static char *
name_retry(const char *advice, const char *kind, int32 code)
{
	static const char call[] = "im_import_retry(";
	static const char *const said[] = {" with this code", " with the code"};
	StringInfoData out;
	const char *at;

	initStringInfo(&out);
	for (; (at = strstr(advice, call)) != NULL && strchr(at, ')') != NULL; advice = at)
	{
		const char *args = at + strlen(call);
		const char *named;

		at = strchr(args, ')');
		appendBinaryStringInfo(&out, advice, at - advice);
		if (at == args)
			appendStringInfo(&out, "%d", code);
		/* A code that only another kind meets names that. */
		named = strstr(args, "kind => ");
		if (named == NULL || named > at)
			appendStringInfo(&out, ", kind => '%s'", kind);
		appendStringInfoChar(&out, ')');
		at++;
		for (int i = 0; i < lengthof(said); i++)
			if (strncmp(at, said[i], strlen(said[i])) == 0)
				at += strlen(said[i]);
	}
	appendStringInfoString(&out, advice);
	return out.data;
}

/* _im_advice(kind, code) */
Datum
im_sql_advice(PG_FUNCTION_ARGS)
{
	const ImCommand *command = im_command_find(text_to_cstring(PG_GETARG_TEXT_PP(0)));

	if (command == NULL)
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(cstring_to_text(name_retry(im_error_advice(command->advice, command->makes_groups,
																PG_GETARG_INT32(1)),
												command->name, PG_GETARG_INT32(1))));
}

/* im_error_codes(): the table that the judge uses. */
Datum
im_error_codes(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	const ImErrorCode *table;
	int			n;
	int			i;

	InitMaterializedSRF(fcinfo, 0);
	table = im_error_table(&n);
	for (i = 0; i < n; i++)
	{
		Datum		values[4];
		bool		nulls[4] = {false, false, false, false};

		values[0] = Int32GetDatum(table[i].code);
		values[1] = CStringGetTextDatum(im_class_name(table[i].class));
		values[2] = CStringGetTextDatum(table[i].meaning);
		values[3] = CStringGetTextDatum(table[i].advice);
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
	return (Datum) 0;
}

/* ---- column defaults ---- */

/*
 * im_row_key(): 128 random bits.  Fetched a few hundred at a time, because a
 * system call for each row would cost a bulk INSERT more than the row; a
 * forked child must not use its parent's.
 */
Datum
im_row_key(PG_FUNCTION_ARGS)
{
	static unsigned char pool[RANDOM_BUFFER];
	static size_t used = RANDOM_BUFFER;
	static int	owner = 0;
	pg_uuid_t  *row_key = palloc(sizeof(pg_uuid_t));

	if (used >= RANDOM_BUFFER || owner != MyProcPid)
	{
		if (!pg_strong_random(pool, RANDOM_BUFFER))
			ereport(ERROR,
					(errcode(ERRCODE_INTERNAL_ERROR),
					 errmsg("could not generate random values")));
		used = 0;
		owner = MyProcPid;
	}
	memcpy(row_key->data, pool + used, UUID_LEN);
	used += UUID_LEN;
	PG_RETURN_UUID_P(row_key);
}

/* im_generated_group_id(row_key, community): what a row without group_id gets. */
Datum
im_generated_group_id(PG_FUNCTION_ARGS)
{
	char		group_id[IM_GROUP_ID_MAX + 1];

	im_group_generate_id(PG_GETARG_UUID_P(0)->data, PG_GETARG_BOOL(1), group_id);
	PG_RETURN_TEXT_P(cstring_to_text(group_id));
}
