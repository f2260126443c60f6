/*
 * report.c
 *	  im_import_plan() and im_import_report(): before and after.
 *
 * Both are queries that stand in the extension's script, because what they say
 * is about tables and views.  They are kept as text: a function in SQL would
 * forbid to rename the schema, or to alter the outbox.  They run with the
 * caller's rights, and with a search_path that nobody can put anything into.
 *
 * The page is ASCII, whatever the database encoding: everything that is not
 * markup is escaped in append_html(), and nothing else writes such text.
 */
#include "postgres.h"

#include "catalog/pg_collation.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "nodes/pg_list.h"
#include "nodes/value.h"
#include "parser/parse_func.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/tuplestore.h"

#include "encoding.h"
#include "text.h"

PG_FUNCTION_INFO_V1(im_sql_plan);
PG_FUNCTION_INFO_V1(im_sql_report);

/* In the markup of a page's part: here stands its next text, or its next number and the query of that. */
#define TEXT_PLACE		'$'
#define NUMBER_PLACE	'^'

/* The query that a function of the schema has, for the schema's name as it is now. */
static char *
query_of(Oid schema, char *function)
{
	List	   *name = list_make2(makeString(get_namespace_name(schema)), makeString(function));
	/* the caller need not be allowed to call it */
	Datum		query = OidFunctionCall0(LookupFuncName(name, 0, NULL, false));

	return TextDatumGetCString(DirectFunctionCall3Coll(replace_text, C_COLLATION_OID, query,
													   CStringGetTextDatum("@im@"),
													   CStringGetTextDatum(quote_identifier(get_namespace_name(schema)))));
}

/* Runs such a query, and leaves its rows to be read.  Returns what end_query() wants. */
static int
begin_query(Oid schema, char *function)
{
	char	   *query = query_of(schema, function);
	int			level = NewGUCNestLevel();
	int			rc;

	(void) set_config_option("search_path", "pg_catalog, pg_temp", PGC_USERSET, PGC_S_SESSION,
							 GUC_ACTION_SAVE, true, 0, false);
	/* so many expressions take longer to compile than to run */
	(void) set_config_option("jit", "off", PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	rc = SPI_execute(query, true, 0);
	if (rc != SPI_OK_SELECT)
		elog(ERROR, "SPI_execute failed: %s", SPI_result_code_string(rc));
	return level;
}

static void
end_query(int level)
{
	SPI_finish();
	AtEOXact_GUC(true, level);
}

/* im_import_plan(): what is to be done, and what the service makes of it. */
Datum
im_sql_plan(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	int			level;

	InitMaterializedSRF(fcinfo, 0);
	level = begin_query(get_func_namespace(fcinfo->flinfo->fn_oid), "_im_plan_query");
	for (uint64 i = 0; i < SPI_processed; i++)
		tuplestore_puttuple(result->setResult, SPI_tuptable->vals[i]);
	end_query(level);
	return (Datum) 0;
}

/* What a page can show: no control characters, and no number that is not a character. */
static bool
can_be_shown(uint32 c)
{
	if (c & IM_TEXT_BAD_BYTE)
		return false;
	if (im_utf8_is_control(c))
		return c == '\t' || c == '\n';
	return (c & 0xfffe) != 0xfffe && (c < 0xfdd0 || c > 0xfdef);
}

/* Appends text of the database encoding as HTML in ASCII. */
static void
append_html(StringInfo out, Oid conversion, const char *text)
{
	char	   *utf8 = OidIsValid(conversion) ? im_text_as_utf8(text) : pstrdup(text);
	const char *end = utf8 + strlen(utf8);

	for (const char *p = utf8; p < end;)
	{
		uint32		c;

		p += im_text_decode(p, (size_t) (end - p), &c);
		if (!can_be_shown(c))
			c = IM_TEXT_REPLACEMENT;
		if (c > 0x7e || c == '<' || c == '>' || c == '&' || c == '"' || c == '\'')
			appendStringInfo(out, "&#%u;", c);
		else
			appendStringInfoChar(out, (char) c);
	}
	pfree(utf8);
}

/* Appends a number, its digits in groups of three. */
static void
append_number(StringInfo out, const char *number)
{
	int			whole = (int) strspn(number, "0123456789");
	int			head = whole > 0 ? (whole - 1) % 3 + 1 : 0;

	appendBinaryStringInfo(out, number, head);
	for (number += head; whole > head; whole -= 3, number += 3)
		appendStringInfo(out, ",%.3s", number);
	appendStringInfoString(out, number);
}

/* The texts of a part of the page; NULL for one that is NULL. */
static char **
texts_of(HeapTuple tuple, TupleDesc desc, int *count)
{
	bool		isnull;
	Datum		array = SPI_getbinval(tuple, desc, 2, &isnull);
	Datum	   *values;
	bool	   *nulls;
	char	  **texts;

	*count = 0;
	if (isnull)
		return NULL;
	deconstruct_array(DatumGetArrayTypeP(array), TEXTOID, -1, false, TYPALIGN_INT, &values, &nulls, count);
	texts = palloc(sizeof(char *) * (*count + 1));
	for (int i = 0; i < *count; i++)
		texts[i] = nulls[i] ? NULL : TextDatumGetCString(values[i]);
	return texts;
}

/* Appends a part of the page: its markup, with its texts in their places. */
static void
append_part(StringInfo page, Oid conversion, const char *markup, char **texts, int count)
{
	int			used = 0;

	for (; *markup != '\0'; markup++)
	{
		int			need = *markup == NUMBER_PLACE ? 2 : *markup == TEXT_PLACE ? 1 : 0;

		if (used + need > count)
			elog(ERROR, "a part of the report has %d texts, and needs more", count);
		if (need == 0)
			appendStringInfoChar(page, *markup);
		else if (need == 1)
			append_html(page, conversion, texts[used] ? texts[used] : "-");
		else
		{
			appendStringInfoString(page, "<b data-q=\"");
			append_html(page, conversion, texts[used]);
			appendStringInfoString(page, "\">");
			append_number(page, texts[used + 1] ? texts[used + 1] : "-");
			appendStringInfoString(page, "</b>");
		}
		used += need;
	}
	if (used < count)
		elog(ERROR, "a part of the report has %d texts, and uses %d", count, used);
}

/* im_import_report(): the move as a page of HTML. */
Datum
im_sql_report(PG_FUNCTION_ARGS)
{
	StringInfoData page;
	Oid			conversion = im_text_conversion();
	int			level;

	initStringInfo(&page);		/* outlives the query, whose memory does not */
	level = begin_query(get_func_namespace(fcinfo->flinfo->fn_oid), "_im_report_query");
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		int			count;
		char	  **texts = texts_of(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, &count);

		append_part(&page, conversion, SPI_getvalue(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1), texts, count);
	}
	end_query(level);
	PG_RETURN_TEXT_P(cstring_to_text_with_len(page.data, page.len));
}
