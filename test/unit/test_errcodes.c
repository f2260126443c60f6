/*
 * test_errcodes.c
 *	  The table of error codes against a second writing of code and class,
 *	  made from the service's documents and not from the table.
 */
#include "errcodes.h"
#include "tap.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* All codes of one class, ended by 1, which is no code. */
typedef struct Expected
{
	ImClass		class;
	int32_t		codes[140];
} Expected;

static const Expected expected[] = {
	{IM_CLASS_DONE, {0, IM_CODE_DISBANDED, 1}},
	{IM_CLASS_EXISTS, {10021, 10025, 1}},
	{IM_CLASS_QUOTA, {10006, 1}},
	{IM_CLASS_SLOW, {60007, 60011, 60018, 60019, 10023, 1}},
	{IM_CLASS_RESIGN, {60004, 60005, 70001, 70003, 70005, 70052, 70346, 70347, 70348,
	10008, 20002, 1}},
	{IM_CLASS_STOP, {60002, 60006, 60009, 60010, 60012, 60016, 60017, 60020, 60021,
			70002, 70009, 70013, 70014, 70016, 70020, 70050, 70051, 70114, 70398, 70403, 72000,
			10003, 10012, 10026, 10058, 80005, 30002, 30004, 40004, 90009,
	IM_CODE_TLS, 1}},
	{IM_CLASS_RETRY, {60008, 60013, 60014, 70169, 70202, 70500, 10002, 10024, 80003,
			20004, 20005, 30006, 30007, 30008, 40006, 50004, 50005, 90992, 90994, 90995, 91000,
			IM_CODE_NOT_SENT, IM_CODE_TIMEOUT, IM_CODE_LOST, IM_CODE_HTTP, IM_CODE_UNREADABLE,
	IM_CODE_TOO_BIG, IM_CODE_CRASHED, IM_CODE_OTHER_ID, IM_CODE_ADOPTED, 1}},
	{IM_CLASS_ROW, {60003, 60015, 70101, 70107, 70206, 70399, 70402, 71000, 72001, 72012,
			10004, 10005, 10007, 10009, 10010, 10011, 10013, 10014, 10015, 10016, 10017, 10018,
			10019, 10020, 10030, 10031, 10032, 10033, 10034, 10035, 10036, 10037, 10038, 10041,
			10044, 10045, 10046, 10047, 10048, 10049, 10050, 10051, 10052, 10053, 10054, 10056,
			10059, 10060, 10061, 10062, 10063, 10070, 10071, 10100, 11000,
			80001, 80002, 80004, 20001, 20003,
			20006, 20007, 20008, 20009, 20010, 20011, 20012, 20016, 20018, 20022, 20023, 20028,
			30001, 30003, 30005, 30010, 30011, 30012, 30013, 30014, 30015,
			40001, 40002, 40003, 40005, 40009, 40601, 40605, 40610,
			90001, 90002, 90003, 90005, 90006, 90007, 90008, 90010, 90011, 90012, 90026, 90030, 90048, 93000,
	120001, -302, -20009, -10114, IM_CODE_DIFFERENT, IM_CODE_ITEM, 1}},
};

/* Undocumented codes, and the class of their families. */
static const struct
{
	int32_t		code;
	ImClass		class;
}			unknown[] = {
	{60000, IM_CLASS_RETRY}, {60001, IM_CLASS_RETRY}, {60022, IM_CLASS_RETRY},
	{60999, IM_CLASS_RETRY}, {69999, IM_CLASS_RETRY},
	{70000, IM_CLASS_STOP}, {70004, IM_CLASS_STOP}, {71001, IM_CLASS_STOP}, {79999, IM_CLASS_STOP},
	{80000, IM_CLASS_RETRY}, {80006, IM_CLASS_RETRY},
	{10000, IM_CLASS_RETRY}, {10001, IM_CLASS_RETRY}, {10022, IM_CLASS_RETRY},
	{10027, IM_CLASS_RETRY}, {10099, IM_CLASS_RETRY}, {10201, IM_CLASS_RETRY},
	{11001, IM_CLASS_RETRY}, {11999, IM_CLASS_RETRY},
	{1, IM_CLASS_RETRY}, {9999, IM_CLASS_RETRY}, {12000, IM_CLASS_RETRY},
	{120000, IM_CLASS_RETRY}, {130001, IM_CLASS_RETRY},
	{-14, IM_CLASS_RETRY}, {-10000, IM_CLASS_RETRY}, {-10115, IM_CLASS_RETRY},
	{INT32_MAX, IM_CLASS_RETRY}, {INT32_MIN, IM_CLASS_RETRY},
};

/* Documented as ranges: the entry is the first code's. */
static const struct
{
	int32_t		code;
	int32_t		first;
}			in_range[] = {
	{-10113, -10114}, {-10001, -10114},
	{10101, 10100}, {10200, 10100},
	{120002, 120001}, {130000, 120001},
};

/* Every expected code is there, with its class, and no other code is. */
static void
test_classes(void)
{
	int			n;
	int			listed = 0;

	for (size_t i = 0; i < COUNT(expected); i++)
	{
		for (const int32_t *code = expected[i].codes; *code != 1; code++)
		{
			const ImErrorCode *entry = im_error_find(*code);

			is_int(entry->code, *code, "%d has an entry", *code);
			is_str(im_class_name(entry->class), im_class_name(expected[i].class), "class of %d", *code);
			ok(im_error_documented(*code), "%d is documented", *code);
			listed++;
		}
	}
	im_error_table(&n);
	is_int(n, listed, "no code is in the table that is not listed here");
}

/* Fit for a table of messages: a clause for meaning, sentences for advice. */
static void
check_texts(const ImErrorCode *entry)
{
	const char *meaning = entry->meaning;
	const char *advice = entry->advice;
	size_t		meaning_len = strlen(meaning);
	size_t		advice_len = strlen(advice);
	bool		ascii = true;

	for (const char *p = meaning; *p; p++)
		ascii &= *p >= 0x20 && *p <= 0x7e;
	for (const char *p = advice; *p; p++)
		ascii &= *p >= 0x20 && *p <= 0x7e;
	ok(ascii, "%d: plain ASCII", entry->code);
	ok(meaning_len > 3 && strchr(".?! ", meaning[meaning_len - 1]) == NULL,
	   "%d: meaning has no full stop", entry->code);
	ok((meaning[0] >= 'a' && meaning[0] <= 'z') || strncmp(meaning, "SDKAppID", 8) == 0,
	   "%d: meaning begins in lower case", entry->code);
	ok(strchr(meaning, ';') == NULL, "%d: meaning is one clause", entry->code);
	ok(advice_len > 15 && advice[advice_len - 1] == '.' && advice[0] >= 'A' && advice[0] <= 'Z',
	   "%d: advice is a sentence", entry->code);
	ok(strstr(advice, "  ") == NULL, "%d: advice has no double space", entry->code);
}

/* The table's order and texts. */
static void
test_table(void)
{
	int			n;
	const ImErrorCode *table = im_error_table(&n);

	for (int i = 0; i < n; i++)
	{
		if (i > 0)
			ok(table[i].code > table[i - 1].code, "%d stands after %d", table[i].code, table[i - 1].code);
		ok(im_error_find(table[i].code) == &table[i], "%d is found", table[i].code);
		check_texts(&table[i]);
	}
}

/* A person who follows the advice is led to something that exists. */
static void
test_advice(void)
{
	int			n;
	const ImErrorCode *table = im_error_table(&n);

	for (int i = 0; i < n; i++)
	{
		const char *retry = strstr(table[i].advice, "im_import_retry(");
		int32_t		code;

		if (table[i].class == IM_CLASS_STOP)
			ok(strstr(table[i].advice, "im_import_drain(1)") != NULL, "%d says how to go on", table[i].code);
		if (table[i].class == IM_CLASS_ROW)
			ok(retry != NULL || strstr(table[i].advice, "status = 'pending'") != NULL,
			   "%d says how the row is sent again", table[i].code);
		if (retry != NULL && sscanf(retry, "im_import_retry(%" SCNd32 ")", &code) == 1)
			is_int(code, table[i].code, "%d: retry names this very code", table[i].code);
	}
	ok(strstr(im_error_find(70016)->advice, "SET region") != NULL, "70016 names the region");
	ok(strstr(im_error_find(70020)->advice, "SET region") != NULL, "70020 names the region");
	ok(strstr(im_error_find(70009)->advice, "ALTER USER MAPPING") != NULL, "70009 names the mapping");
	ok(strstr(im_error_find(10004)->advice, "all defined key is invalid") != NULL,
	   "10004 names the fault that is no fault of the row");
	ok(strstr(im_error_find(10004)->advice, "text_limits") != NULL, "10004 names the text limits");
	ok(strstr(im_error_find(10006)->advice, "groups_per_day") != NULL, "10006 names the budget");
	ok(strstr(im_error_find(IM_CODE_TIMEOUT)->advice, "im_import_resolve()") != NULL,
	   "a time-out names im_import_resolve()");
}

/* Undocumented codes get their family's entry. */
static void
test_unknown(void)
{
	for (size_t i = 0; i < COUNT(unknown); i++)
	{
		const ImErrorCode *entry = im_error_find(unknown[i].code);

		is_str(im_class_name(entry->class), im_class_name(unknown[i].class), "class of unknown %d", unknown[i].code);
		ok(entry->code != unknown[i].code, "unknown %d gets another entry", unknown[i].code);
		ok(!im_error_documented(unknown[i].code), "%d is not documented", unknown[i].code);
		check_texts(entry);
	}
	ok(im_error_find(60000) == im_error_find(69999) && im_error_find(60000) != im_error_find(1),
	   "requests are a family");
	ok(im_error_find(10000) == im_error_find(11999) && im_error_find(10000) != im_error_find(1),
	   "groups are a family");
}

/* Codes documented as a range get the entry of its first. */
static void
test_ranges(void)
{
	for (size_t i = 0; i < COUNT(in_range); i++)
	{
		const ImErrorCode *entry = im_error_find(in_range[i].code);

		is_int(entry->code, in_range[i].first, "%d is in the range of %d", in_range[i].code, in_range[i].first);
		is_int(entry->class, IM_CLASS_ROW, "class of %d", in_range[i].code);
		ok(im_error_documented(in_range[i].code), "%d is documented", in_range[i].code);
	}
}

/* The SQL spelling of every class. */
static void
test_class_names(void)
{
	is_str(im_class_name(IM_CLASS_DONE), "done", "done");
	is_str(im_class_name(IM_CLASS_EXISTS), "exists", "exists");
	is_str(im_class_name(IM_CLASS_ROW), "row", "row");
	is_str(im_class_name(IM_CLASS_SLOW), "slow", "slow");
	is_str(im_class_name(IM_CLASS_QUOTA), "quota", "quota");
	is_str(im_class_name(IM_CLASS_RESIGN), "resign", "resign");
	is_str(im_class_name(IM_CLASS_STOP), "stop", "stop");
	is_str(im_class_name(IM_CLASS_RETRY), "retry", "retry");
	is_str(im_class_name((ImClass) 99), "unknown", "no class");
}

/* Advice fits the kind: what is for groups alone is said of groups alone.  That of each kind is in test/sql/codes.sql. */
static void
test_kinds(void)
{
	static const char *const of_groups[] = {"owner_account", "im_import_resolve", "Importing groups", "another group_id", "im_group_json"};
	static const ImAdvice own[] = {{10004, "its own"}, {30003, "its own of all"}, {IM_CODE_ITEM, "not said"}, {0, NULL}};
	int			n;
	const ImErrorCode *table = im_error_table(&n);
	int			bad = 0;

	for (int i = 0; i < n; i++)
	{
		const char *advice = im_error_advice(NULL, false, table[i].code);

		for (int j = 0; j < (int) COUNT(of_groups); j++)
			if (strstr(advice, of_groups[j]) != NULL)
			{
				bad++;
				printf("# code %d: %s\n", (int) table[i].code, advice);
			}
		is_str(im_error_advice(own, true, table[i].code), table[i].advice, "groups have the table's advice of %d", (int) table[i].code);
	}
	is_int(bad, 0, "no other kind has the advice of groups");
	is_str(im_error_advice(own, false, 10004), "its own", "a kind's own advice");
	is_str(im_error_advice(own, false, 30003), "its own of all", "goes before that for all");
	ok(strstr(im_error_advice(NULL, false, 30003), "Import the account") != NULL, "which others have");
	ok(strstr(im_error_advice(own, false, 10007), "Correct the row") != NULL, "else that of its class");
	is_str(im_error_advice(own, false, IM_CODE_ITEM), im_error_find(IM_CODE_ITEM)->advice, "what every kind has");
	ok(strstr(im_error_advice(NULL, false, 39999), "nothing arrives twice") != NULL, "that of a code nobody knows");
}

int
main(void)
{
	test_classes();
	test_table();
	test_advice();
	test_unknown();
	test_ranges();
	test_class_names();
	test_kinds();
	return tap_done();
}
