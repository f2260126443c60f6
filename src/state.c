/*
 * state.c
 *	  One function from facts to a state, one table of states.
 *
 * The order of the questions is the order in which a person has to cure
 * things.  A pause comes last and covers all of them: who paused must see it
 * whatever else is wrong, and what is wrong stands in the reason.  Only a
 * library that is not loaded comes before it, because then nothing is true.
 *
 * Must not know: shared memory, SQL, who asks.
 */
#include "state.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "errcodes.h"
#include "text.h"

/* A state. */
typedef struct StateWords
{
	const char *name;
	bool		held_up;		/* see im_state_held_up() */
	bool		stuck;			/* see im_state_stuck() */
	const char *cure;			/* or NULL */
	const char *cure_paused;	/* the same if a pause is to be kept */
} StateWords;

static const StateWords words[] = {
	[IM_STATE_IDLE] = {"idle", false, false, NULL, NULL},
	[IM_STATE_RUNNING] = {"running", false, false, NULL, NULL},
	[IM_STATE_PAUSED] = {"paused", true, true,
	"SELECT im_import_resume() when the reason is gone. CALL im_import_drain(100) keeps the pause: it takes back groups whose status is undo first, and sends what is left of the hundred, with all that belongs to these groups.", NULL},
	[IM_STATE_STOPPED] = {"stopped", true, true,
		"Cure what the reason names. A change of the options or of the key file is tried at once, and CALL im_import_drain(1) tries the service too.",
	"Cure what the reason names; im_import_doctor() asks the service and sends no row. CALL im_import_drain(1) keeps the pause, but sends all accounts, and one group with what is in it."},
	[IM_STATE_QUOTA] = {"quota", true, false,
		"Nothing to do: it goes on by itself. A larger plan, or a larger groups_per_day, makes it sooner.",
	"Nothing to do about the quota; SELECT im_import_resume() when the reason of the pause is gone."},
	[IM_STATE_UNREACHABLE] = {"unreachable", true, false,
		"Nothing to do if the service is down: the import tries again by itself. Otherwise im_import_doctor() says what is wrong.",
	"im_import_doctor() asks the service, says what is wrong, and sends no row. CALL im_import_drain(1) keeps the pause, but sends all accounts, and one group with what is in it."},
	[IM_STATE_FENCED] = {"fenced", true, true,
		"Make sure that no other copy of this database sends to the same app, then SELECT im_import_adopt().",
	"Make sure that no other copy of this database sends to the same app, then SELECT im_import_adopt(): it keeps the pause."},
	[IM_STATE_COUNTING] = {"counting", false, false, NULL, NULL},
	[IM_STATE_NO_WORKER] = {"no worker", true, true,
		"SELECT * FROM im_import_doctor() WHERE NOT ok says what is wrong.",
	"SELECT * FROM im_import_doctor() WHERE NOT ok says what is wrong."},
	[IM_STATE_NOT_CONFIGURED] = {"not configured", true, true,
		"SELECT * FROM im_import_doctor() WHERE NOT ok says what is wrong.",
	"SELECT * FROM im_import_doctor() WHERE NOT ok says what is wrong; the pause stays."},
	[IM_STATE_NOT_PRELOADED] = {"not preloaded", true, true,
	"Add im_import to shared_preload_libraries in postgresql.conf and restart the server.", NULL}
};

/* See state.h. */
const char *
im_state_name(ImState state)
{
	return words[state].name;
}

/* See state.h. */
bool
im_state_held_up(ImState state)
{
	return words[state].held_up;
}

/* See state.h. */
bool
im_state_stuck(ImState state)
{
	return words[state].stuck;
}

/* See state.h. */
const char *
im_state_cure(const ImReport *report)
{
	const char *kept = words[report->beneath].cure_paused;

	if (report->state == IM_STATE_PAUSED && kept != NULL)
		return kept;
	return words[report->state].cure;
}

/* See state.h. */
ImState
im_state_of_breaker(ImBreakerState state)
{
	static const ImState states[] = {
		[IM_BREAKER_CLOSED] = IM_STATE_RUNNING,
		[IM_BREAKER_STOPPED] = IM_STATE_STOPPED,
		[IM_BREAKER_QUOTA] = IM_STATE_QUOTA,
		[IM_BREAKER_UNREACHABLE] = IM_STATE_UNREACHABLE
	};

	return states[state];
}

/*
 * Why an open breaker is open, and the cure: clean UTF-8 text; "" if it is
 * closed.  probes: the service is tried again by itself.
 */
static void
breaker_reason(const ImBreaker *breaker, bool probes, int64_t now, char *out, size_t size)
{
	char		text[IM_REASON_MAX * 2];
	size_t		used;

	im_breaker_describe(breaker, probes, now, text, sizeof(text));
	used = strlen(text);
	if (used > 0)
		snprintf(text + used, sizeof(text) - used, ". %s", im_error_find(breaker->code)->advice);
	im_text_clean(text, strlen(text), out, size);
}

/* Sets state and reason; what does not fit is cut between characters. */
static void say(ImReport *report, ImState state, const char *format,...)
			__attribute__((format(printf, 3, 4)));

static void
say(ImReport *report, ImState state, const char *format,...)
{
	char		text[IM_REASON_MAX * 2];
	va_list		args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	report->state = state;
	im_text_clean(text, strlen(text), report->reason, sizeof(report->reason));
}

/* A text that may be missing. */
static const char *
or_nothing(const char *text)
{
	return text != NULL ? text : "";
}

/* The import runs: at full speed, slower, or while something fails. */
static void
say_running(const ImFacts *facts, int64_t now, ImReport *report)
{
	bool		quota = facts->breaker != NULL && im_breaker_meets_quota(facts->breaker, now);

	if (facts->failure != NULL)
		say(report, IM_STATE_RUNNING,
			"the outbox could not be read or written, it is tried again: %s", facts->failure);
	else if (or_nothing(facts->lock)[0] != '\0')
		say(report, IM_STATE_RUNNING,
			"waiting for a lock: %s. It goes on by itself when that transaction ends", facts->lock);
	else if (facts->rate_limit > 0 && facts->rate / facts->rate_limit < 0.995)
		say(report, IM_STATE_RUNNING, "%s: slowed to %.4g calls a second",
			quota ? "the service takes no new groups (10006); if that lasts a minute while nothing else succeeds, the state becomes quota" :
			"the service said too fast", facts->rate);
	else
		say(report, IM_STATE_RUNNING, "%s", or_nothing(facts->wait));
}

/*
 * What a worker said a moment ago of a breaker that is closed by now is over:
 * whoever waits must not be sent away for it.
 */
static bool
holds_still(const ImReport *said)
{
	return said->beneath != IM_STATE_STOPPED && said->beneath != IM_STATE_UNREACHABLE;
}

/* The state as if nobody had paused. */
static void
say_beneath(const ImFacts *facts, int64_t now, ImReport *report)
{
	char		why[IM_REASON_MAX];

	if (!facts->preloaded)
		say(report, IM_STATE_NOT_PRELOADED,
			"add im_import to shared_preload_libraries and restart the server");
	else if (!facts->configured)
		say(report, IM_STATE_NOT_CONFIGURED, "%s", or_nothing(facts->trouble));
	else if (facts->counting)
		say(report, IM_STATE_COUNTING, "rows came by a way that no trigger saw, and the worker counts them; "
			"or an outbox was emptied after this transaction began: then look again in a new one");
	else if (facts->fence != NULL)
		say(report, IM_STATE_FENCED, "%s", facts->fence);
	else if (facts->breaker != NULL && facts->breaker->state != IM_BREAKER_CLOSED)
	{
		breaker_reason(facts->breaker, !facts->paused || facts->ordered > 0, now, why, sizeof(why));
		say(report, im_state_of_breaker(facts->breaker->state), "%s", why);
	}
	else if (facts->said != NULL && holds_still(facts->said))
		say(report, facts->said->beneath, "%s", facts->paused ? "" : facts->said->reason);
	else if (facts->no_worker != NULL)
		say(report, IM_STATE_NO_WORKER, "%s", facts->no_worker);
	else if (facts->day_budget > 0)
		say(report, IM_STATE_QUOTA, "the budget of %lld groups a day is used up; "
			"goes on after midnight UTC, or raise groups_per_day", (long long) facts->day_budget);
	else if (facts->busy)
		say_running(facts, now, report);
	else if (facts->foreign_open > 0)
		say(report, IM_STATE_FENCED,
			"%lld open rows came from another database and are not sent: if that one will not send them, SELECT im_import_adopt()",
			(long long) facts->foreign_open);
	else
	{
		if (facts->failure != NULL)
			say(report, IM_STATE_IDLE, "%s", facts->failure);
		else if (facts->waiting > 0)
			say(report, IM_STATE_IDLE, "%lld rows wait for groups that are not imported: "
				"they are failed, invalid, in doubt or undone, or no row of im_group_outbox has their source_id, or people write in them",
				(long long) facts->waiting);
		else
			say(report, IM_STATE_IDLE, "%s", "");
	}
}

/* See state.h. */
void
im_state_of(const ImFacts *facts, int64_t now, ImReport *report)
{
	ImReport	bare;
	const char *also;

	say_beneath(facts, now, report);
	report->beneath = report->state;
	if (!facts->paused || report->state == IM_STATE_NOT_PRELOADED)
		return;

	/* The pause, then what else would keep the rows waiting. */
	bare = *report;
	also = im_state_held_up(bare.state) ? bare.reason : "";
	if (facts->ordered > 0)
		say(report, IM_STATE_PAUSED, "%s; im_import_drain() lets rows through%s%s%s%s",
			or_nothing(facts->pause_reason), also[0] ? "; " : "",
			also[0] ? words[bare.state].name : "", also[0] ? ": " : "", also);
	else
		say(report, IM_STATE_PAUSED, "%s%s%s%s%s", or_nothing(facts->pause_reason),
			also[0] ? "; " : "", also[0] ? words[bare.state].name : "", also[0] ? ": " : "", also);
}
