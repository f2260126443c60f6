/*
 * test_breaker.c
 *	  When the whole drain waits, how long, and what ends it.
 */
#include <limits.h>

#include "breaker.h"
#include "tap.h"

#define SEC			INT64_C(1000000)

static ImBreaker breaker;
static int64_t now;

/* One exchange is over. */
static void
note(ImOutcome outcome, int32_t code, bool answered)
{
	ImVerdict	verdict = {.outcome = outcome, .code = code, .answered = answered,
	.http_status = !answered ? 0 : code == IM_CODE_HTTP ? 502 : 200};

	im_breaker_note(&breaker, &verdict, false, "info", now, now);
	if (outcome == IM_OUT_REFUSED || outcome == IM_OUT_DONE)
		im_breaker_answered(&breaker, code);
}

/* A breaker that has seen a success. */
static void
begin(void)
{
	now = 1000 * SEC;
	im_breaker_init(&breaker);
	note(IM_OUT_DONE, 0, true);
}

/* n calls without an answer. */
static void
silence(int n)
{
	for (int i = 0; i < n; i++)
		note(IM_OUT_UNKNOWN, IM_CODE_TIMEOUT, false);
}

/* One call until the service has taken one. */
static void
test_first_call(void)
{
	im_breaker_init(&breaker);
	now = 5 * SEC;
	is_int(im_breaker_allows(&breaker, 0, now), 1, "one call first");
	is_int(im_breaker_allows(&breaker, 1, now), 0, "no second while it flies");
	note(IM_OUT_RESIGN, 70001, true);
	is_int(im_breaker_allows(&breaker, 0, now), 1, "a refused signature proves nothing");
	note(IM_OUT_REFUSED, 10004, true);
	is_int(im_breaker_allows(&breaker, 50, now), INT_MAX, "a refused row proves the key");
	is_int(im_breaker_wait(&breaker, now), 0, "closed: no wait");
	im_breaker_reset(&breaker, now);
	is_int(im_breaker_allows(&breaker, 0, now), 1, "after a reset one call again");
	note(IM_OUT_EXISTS, 10021, true);
	is_int(im_breaker_allows(&breaker, 3, now), INT_MAX, "an id that exists proves it too");
	im_breaker_reset(&breaker, now);
	note(IM_OUT_UNREADABLE, 0, true);
	is_int(im_breaker_allows(&breaker, 0, now), 1, "an answer that decides nothing does not");
}

/* 60 s doubling to 10 min. */
static void
test_stop(void)
{
	static const int64_t delays[] = {60, 120, 240, 480, 600, 600};

	begin();
	for (int i = 0; i < 6; i++)
	{
		note(IM_OUT_STOP, 70009, true);
		is_int(breaker.state, IM_BREAKER_STOPPED, "stopped");
		is_int(im_breaker_wait(&breaker, now), delays[i] * SEC, "wait %d", i);
		is_int(im_breaker_allows(&breaker, 0, now), 0, "nothing goes");
		now += delays[i] * SEC - 1;
		is_int(im_breaker_allows(&breaker, 0, now), 0, "nor 1 us early");
		now += 1;
		is_int(im_breaker_allows(&breaker, 0, now), 1, "then one probe");
		is_int(im_breaker_allows(&breaker, 1, now), 0, "and no second");
	}
	note(IM_OUT_DONE, 0, true);
	is_int(breaker.state, IM_BREAKER_CLOSED, "a probe that goes through closes it");
	is_int(im_breaker_allows(&breaker, 5, now), INT_MAX, "and all may go");
	note(IM_OUT_STOP, 70009, true);
	is_int(im_breaker_wait(&breaker, now), 60 * SEC, "the next stop begins at 60 s");
	im_breaker_reset(&breaker, now + SEC);
	is_int(im_breaker_allows(&breaker, 0, now + SEC), 1, "a reset probes at once");
	is_int(breaker.state, IM_BREAKER_CLOSED, "and the old refusal means nothing");
	is_int(im_breaker_allows(&breaker, 1, now + SEC), 0, "with one call, no more");
	now += 2 * SEC;
	note(IM_OUT_STOP, 70009, true);
	is_int(im_breaker_wait(&breaker, now), 60 * SEC, "refused again: 60 s again");
}

/* Answers to calls that were under way when it opened. */
static void
test_late_answers(void)
{
	begin();
	note(IM_OUT_STOP, 70009, true);
	now += SEC;
	note(IM_OUT_DONE, 0, true);
	note(IM_OUT_REFUSED, 10004, true);
	note(IM_OUT_EXISTS, 10021, true);
	note(IM_OUT_SLOW, 60007, true);
	note(IM_OUT_QUOTA, 10006, true);
	is_int(breaker.state, IM_BREAKER_STOPPED, "late answers do not close it");
	is_int(im_breaker_allows(&breaker, 0, now), 0, "nor widen it");
	note(IM_OUT_STOP, 70009, true);
	silence(40);
	is_int(im_breaker_wait(&breaker, now), 59 * SEC, "nor lengthen the wait");
	now += 59 * SEC;
	note(IM_OUT_QUOTA, 10006, true);
	is_int(breaker.state, IM_BREAKER_CLOSED, "a probe that meets the quota was taken by the service");
}

/* A probe that is lost, while stopped and after a reset. */
static void
test_lost_probe(void)
{
	begin();
	note(IM_OUT_STOP, 70009, true);
	now += 60 * SEC;
	silence(1);
	is_int(breaker.state, IM_BREAKER_STOPPED, "a lost probe: still stopped");
	is_int(im_breaker_wait(&breaker, now), 60 * SEC, "and the same wait again");
}

/* Quota: a minute of patience, then 10 minutes. */
static void
test_quota(void)
{
	begin();
	note(IM_OUT_QUOTA, 10006, true);
	is_int(breaker.state, IM_BREAKER_CLOSED, "quota: patience at first");
	now += 59 * SEC;
	note(IM_OUT_QUOTA, 10006, true);
	is_int(breaker.state, IM_BREAKER_CLOSED, "still at 59 s");
	note(IM_OUT_DONE, 0, true);
	ok(im_breaker_meets_quota(&breaker, now + 30 * SEC), "rows of other kinds succeed: the groups' quota is not forgotten");
	ok(!im_breaker_meets_quota(&breaker, now + 61 * SEC), "but after a minute without a refusal");
	now += 30 * SEC;
	note(IM_OUT_QUOTA, 10006, true);
	is_int(breaker.state, IM_BREAKER_CLOSED, "a success begins it anew");
	now += 60 * SEC;
	note(IM_OUT_QUOTA, 10006, true);
	is_int(breaker.state, IM_BREAKER_QUOTA, "60 s without success: out of quota");
	is_int(im_breaker_wait(&breaker, now), 600 * SEC, "10 min");
	now += 600 * SEC;
	note(IM_OUT_QUOTA, 10006, true);
	is_int(im_breaker_wait(&breaker, now), 600 * SEC, "and no more than that");
	now += 600 * SEC;
	note(IM_OUT_DONE, 0, true);
	is_int(breaker.state, IM_BREAKER_CLOSED, "until a group goes through");
	note(IM_OUT_QUOTA, 10006, true);
	is_int(breaker.state, IM_BREAKER_CLOSED, "then patience again");
}

/* A few calls without a verdict; 1 s doubling to 30 s. */
static void
test_unreachable(void)
{
	static const int64_t delays[] = {1, 2, 4, 8, 16, 30, 30};

	begin();
	silence(IM_BREAKER_MISSES - 1);
	note(IM_OUT_REFUSED, 10004, true);
	silence(1);
	is_int(im_breaker_allows(&breaker, 0, now), IM_BREAKER_FEW, "after a miss a few more go, not all");
	is_int(im_breaker_allows(&breaker, 100, now), 0, "none while many are under way");
	silence(IM_BREAKER_MISSES - 2);
	is_int(breaker.state, IM_BREAKER_CLOSED, "15, an answer, 15: reachable");
	note(IM_OUT_NOT_SENT, IM_CODE_NOT_SENT, true);
	is_int(breaker.state, IM_BREAKER_UNREACHABLE,
		   "the 16th, and what answers without reading the body is no answer");
	for (int i = 0; i < 7; i++)
	{
		is_int(im_breaker_wait(&breaker, now), delays[i] * SEC, "wait %d", i);
		silence(3);
		now += delays[i] * SEC;
		is_int(im_breaker_allows(&breaker, 0, now), 1, "one probe");
		note(IM_OUT_NOT_SENT, IM_CODE_NOT_SENT, false);
	}
	note(IM_OUT_DONE, 0, true);
	is_int(breaker.state, IM_BREAKER_UNREACHABLE, "a late answer does not close it");
	now += 30 * SEC;
	note(IM_OUT_UNREADABLE, IM_CODE_TIMEOUT, false);
	is_int(im_breaker_wait(&breaker, now), 30 * SEC, "nor makes the next probe free");
	now += 30 * SEC;
	note(IM_OUT_SLOW, 60007, true);
	is_int(breaker.state, IM_BREAKER_CLOSED, "any answer to a probe closes it");
}

/* One state may follow another. */
static void
test_changes(void)
{
	begin();
	silence(IM_BREAKER_MISSES);
	now += SEC;
	note(IM_OUT_STOP, 70009, true);
	is_int(breaker.state, IM_BREAKER_STOPPED, "unreachable, then stopped");
	is_int(im_breaker_wait(&breaker, now), 60 * SEC, "with its own delay");
	is_int(breaker.since, now, "since now");
}

/* 180 of the last 200 with one code. */
static void
test_same_refusal(void)
{
	begin();
	for (int i = 0; i < 198; i++)
		note(IM_OUT_REFUSED, 10019, true);
	is_int(im_breaker_same_refusal(&breaker), 0, "199 answers are not enough");
	note(IM_OUT_REFUSED, 10019, true);
	is_int(im_breaker_same_refusal(&breaker), 10019, "199 of 200 are");
	for (int i = 0; i < 20; i++)
		note(IM_OUT_REFUSED, 10050 + i, true);
	is_int(im_breaker_same_refusal(&breaker), 10019, "180 of 200 are too");
	note(IM_OUT_REFUSED, 80001, true);
	is_int(im_breaker_same_refusal(&breaker), 0, "179 are not");
	im_breaker_reset(&breaker, now);
	is_int(im_breaker_same_refusal(&breaker), 0, "a reset forgets them");
	for (int i = 0; i < 400; i++)
		note(IM_OUT_DONE, 0, true);
	is_int(im_breaker_same_refusal(&breaker), 0, "success is no refusal");
	for (int i = 0; i < 400; i++)
		note(i % 2 ? IM_OUT_EXISTS : IM_OUT_SLOW, 10021, true);
	is_int(im_breaker_same_refusal(&breaker), 0, "nor is what is not held against the row");
}

/* In words. */
static void
test_describe(void)
{
	char		text[1024];
	char		small[10];

	begin();
	im_breaker_describe(&breaker, true, now, text, sizeof(text));
	is_str(text, "", "closed: nothing to say");
	note(IM_OUT_STOP, 70009, true);
	im_breaker_describe(&breaker, true, now, text, sizeof(text));
	is_str(text, "the service refuses every call: 70009 info; next probe in 60 s", "stopped");
	im_breaker_describe(&breaker, false, now, text, sizeof(text));
	is_str(text, "the service refuses every call: 70009 info", "without probes");
	im_breaker_describe(&breaker, true, now, small, sizeof(small));
	is_str(small, "the servi", "cut to what there is room for");
	im_breaker_reset(&breaker, now);
	im_breaker_describe(&breaker, true, now, text, sizeof(text));
	is_str(text, "", "after a reset");
}

/* Answers that decide nothing are like silence, and the words say which. */
static void
test_no_verdict(void)
{
	static const struct
	{
		ImOutcome	outcome;
		int32_t		code;
		bool		answered;
		const char *text;
	}			cases[] = {
		{IM_OUT_UNKNOWN, IM_CODE_HTTP, true, "the service answers, but only with HTTP 502: -4 info; next probe in 1 s"},
		{IM_OUT_UNKNOWN, 10002, true, "the service answers, but only with error code 10002: 10002 info; next probe in 1 s"},
		{IM_OUT_UNKNOWN, IM_CODE_UNREADABLE, true, "the service answers, but nothing that can be used: -5 info; next probe in 1 s"},
		{IM_OUT_UNREADABLE, 60008, true, "the service answers, but only with error code 60008: 60008 info; next probe in 1 s"},
		{IM_OUT_UNKNOWN, IM_CODE_TIMEOUT, false, "the service does not answer: -2 info; next probe in 1 s"},
	};
	char		text[1024];

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
	{
		begin();
		for (int n = 1; n < IM_BREAKER_MISSES; n++)
			note(cases[i].outcome, cases[i].code, cases[i].answered);
		is_int(breaker.state, IM_BREAKER_CLOSED, "%d: not yet", (int) cases[i].code);
		note(cases[i].outcome, cases[i].code, cases[i].answered);
		is_int(breaker.state, IM_BREAKER_UNREACHABLE, "%d: unreachable", (int) cases[i].code);
		im_breaker_describe(&breaker, true, now, text, sizeof(text));
		is_str(text, cases[i].text, "%d: in words", (int) cases[i].code);
		now += SEC;
		note(IM_OUT_DONE, 0, true);
		is_int(breaker.state, IM_BREAKER_CLOSED, "%d: until one goes through", (int) cases[i].code);
	}
}

/* One row that is answered "try again" for ever is not the service's trouble. */
static void
test_again(void)
{
	ImVerdict	verdict = {.outcome = IM_OUT_UNKNOWN, .code = 10002, .answered = true, .http_status = 200};

	begin();
	for (int i = 0; i < 100; i++)
		im_breaker_note(&breaker, &verdict, true, "", now, now);
	is_int(breaker.state, IM_BREAKER_CLOSED, "the same row again and again");
	verdict.http_status = 502;
	verdict.code = IM_CODE_HTTP;
	for (int i = 0; i < IM_BREAKER_MISSES; i++)
		im_breaker_note(&breaker, &verdict, true, "", now, now);
	is_int(breaker.state, IM_BREAKER_UNREACHABLE, "a gateway knows no rows");
}

/* Retry-After is said to everybody. */
static void
test_retry_after(void)
{
	ImVerdict	verdict = {.outcome = IM_OUT_UNKNOWN, .code = IM_CODE_HTTP, .answered = true,
	.http_status = 429, .retry_after = 40};
	char		text[1024];

	begin();
	im_breaker_note(&breaker, &verdict, false, "", now, now);
	is_int(im_breaker_allows(&breaker, 0, now), 0, "one such answer is enough");
	is_int(im_breaker_wait(&breaker, now), 40 * SEC, "nothing before that time");
	im_breaker_describe(&breaker, true, now, text, sizeof(text));
	is_str(text, "the service asks to wait 40 s: -4; next probe in 40 s", "and the words say so");
	now += 40 * SEC;
	note(IM_OUT_DONE, 0, true);
	verdict.retry_after = 1000000;
	im_breaker_note(&breaker, &verdict, false, "", now, now);
	is_int(im_breaker_wait(&breaker, now), 600 * SEC, "no longer than ten minutes");
}

/* Whose attempts a miss uses up. */
static void
test_counts(void)
{
	ImVerdict	miss = {.outcome = IM_OUT_UNKNOWN, .code = IM_CODE_TIMEOUT};
	ImVerdict	words = {.outcome = IM_OUT_UNKNOWN, .code = 10002, .answered = true, .http_status = 200};

	begin();
	silence(IM_BREAKER_MISSES - 1);
	is_int(im_breaker_counts(&breaker, &miss), true, "a service that has taken calls: counts");
	silence(1);
	is_int(im_breaker_counts(&breaker, &miss), false, "unreachable: does not");
	im_breaker_init(&breaker);
	silence(1);
	is_int(im_breaker_counts(&breaker, &miss), true, "the very first call: counts");
	silence(1);
	is_int(im_breaker_counts(&breaker, &miss), false, "the second, before any was taken: does not");
	is_int(im_breaker_counts(&breaker, &words), true, "unless the service itself spoke");
}

/* Somebody asks while it is open. */
static void
test_ask(void)
{
	ImVerdict	late = {.outcome = IM_OUT_STOP, .code = 70009, .answered = true};

	begin();
	im_breaker_ask(&breaker, now, now);
	is_int(im_breaker_owes(&breaker, now), false, "closed: nothing is owed");
	note(IM_OUT_STOP, 70009, true);
	is_int(im_breaker_owes(&breaker, now), false, "asked before the refused call began");
	im_breaker_ask(&breaker, now, now);
	is_int(im_breaker_wait(&breaker, now), 60 * SEC, "so no probe is made for it");
	now += SEC;
	im_breaker_ask(&breaker, now, now);
	is_int(im_breaker_owes(&breaker, now), true, "asked later: owed");
	is_int(im_breaker_allows(&breaker, 0, now), 1, "a probe at once");
	im_breaker_note(&breaker, &late, false, "", now - SEC, now);
	is_int(im_breaker_owes(&breaker, now), true, "the answer to a call that began before: one more");
	im_breaker_ask(&breaker, now, now);
	now += 1;
	note(IM_OUT_STOP, 70009, true);
	is_int(im_breaker_owes(&breaker, now - 1), false, "answered by a call that began later");
}

int
main(void)
{
	test_first_call();
	test_stop();
	test_late_answers();
	test_lost_probe();
	test_quota();
	test_unreachable();
	test_changes();
	test_same_refusal();
	test_describe();
	test_no_verdict();
	test_again();
	test_retry_after();
	test_counts();
	test_ask();
	return tap_done();
}
