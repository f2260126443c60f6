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
	ImVerdict	verdict = {.outcome = outcome, .code = code, .answered = answered};

	im_breaker_note(&breaker, &verdict, "info", now);
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
	is_int(im_breaker_allows(&breaker, 3, now), INT_MAX, "so does an answer that says nothing");
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
	is_int(breaker.state, IM_BREAKER_STOPPED, "but does not claim that all is well");
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
	im_breaker_reset(&breaker, now);
	note(IM_OUT_NOT_SENT, IM_CODE_NOT_SENT, false);
	is_int(im_breaker_wait(&breaker, now), 30 * SEC, "after a reset a lost probe waits too");
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

/* 16 calls without an answer; 1 s doubling to 30 s. */
static void
test_unreachable(void)
{
	static const int64_t delays[] = {1, 2, 4, 8, 16, 30, 30};

	begin();
	silence(15);
	note(IM_OUT_UNKNOWN, IM_CODE_HTTP, true);
	silence(15);
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
	silence(16);
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
	im_breaker_describe(&breaker, now, text, sizeof(text));
	is_str(text, "", "closed: nothing to say");
	note(IM_OUT_STOP, 70009, true);
	im_breaker_describe(&breaker, now, text, sizeof(text));
	is_str(text, "the service refuses every call: 70009 info; next probe in 60 s", "stopped");
	im_breaker_describe(&breaker, now, small, sizeof(small));
	is_str(small, "the servi", "cut to what there is room for");
	im_breaker_reset(&breaker, now);
	im_breaker_describe(&breaker, now, text, sizeof(text));
	is_str(text, "the service refuses every call: 70009 info; next probe in 0 s", "after a reset");
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
	return tap_done();
}
