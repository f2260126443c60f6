/*
 * protocol.c
 *	  The life of an outbox row.
 *
 * The promise behind every line here: no row is lost, no group is created
 * twice, and what a row says is true.  Two facts carry it.  A row with an id
 * of its own can be sent again and again, because the service refuses a
 * GroupId that exists.  A row whose id the service assigns can not, so it is
 * POSTed at most once and waits for a person if the outcome is unknown.
 *
 * A row that was maybe sent never becomes failed or invalid unless the
 * service says that its group is absent, and says so after the last request
 * that might still be under way has died (IM_ZOMBIE_MS).
 *
 * Must not know: SQL, HTTP, clocks, shared memory.
 */
#include "protocol.h"

#include <string.h>

static const char *const status_names[] = {
	"pending", "sending", "imported", "failed", "invalid", "in_doubt", "undo", "undone"
};

/* See protocol.h. */
const char *
im_status_name(ImStatus status)
{
	return status_names[status];
}

/* See protocol.h. */
bool
im_status_parse(const char *name, ImStatus *status)
{
	for (int i = IM_PENDING; i <= IM_UNDONE; i++)
	{
		if (strcmp(name, status_names[i]) == 0)
		{
			*status = (ImStatus) i;
			return true;
		}
	}
	return false;
}

/* See protocol.h. */
int64_t
im_protocol_backoff(int32_t attempts, double jitter)
{
	int64_t		ceiling = IM_BACKOFF_FIRST_MS;

	while (--attempts > 0 && ceiling < IM_BACKOFF_MAX_MS)
		ceiling *= 2;
	if (ceiling > IM_BACKOFF_MAX_MS)
		ceiling = IM_BACKOFF_MAX_MS;
	/* Full jitter: rows that failed together do not come back together. */
	return 1 + (int64_t) (jitter * (double) ceiling);
}

/* See protocol.h. */
void
im_steady_note(ImSteady *steady, int64_t wall, int64_t mono)
{
	int64_t		moved = wall - mono - steady->offset;

	/* Clocks drift a little; only a jump ends what can be trusted. */
	if (steady->known && moved <= IM_STEADY_SLACK && moved >= -IM_STEADY_SLACK)
		return;
	steady->known = true;
	steady->offset = wall - mono;
	steady->since = mono;
}

/* See protocol.h. */
int64_t
im_steady_age_ms(ImSteady *steady, int64_t at, int64_t wall, int64_t mono)
{
	int64_t		age = wall - at;

	im_steady_note(steady, wall, mono);
	/* No doubt is surely older than the clocks have run evenly. */
	if (age > mono - steady->since)
		age = mono - steady->since;
	return age / 1000;
}

/* Starts a decision: the row ends in status, as certain as it was before. */
static void
settle(ImNext *next, const ImLife *row, ImStatus status)
{
	memset(next, 0, sizeof(*next));
	next->act = IM_ACT_SETTLE;
	next->status = status;
	next->maybe_sent = row->maybe_sent;
	next->attempts = row->attempts;

	/* A claim that only looked the group up was no attempt to send it. */
	if ((row->why == IM_WHY_EXHAUSTED || row->why == IM_WHY_INVALID) && next->attempts > 0)
		next->attempts--;
}

/* Back to pending as before the claim: this attempt never was. */
static void
restore(ImNext *next, const ImLife *row, int64_t delay_ms)
{
	settle(next, row, IM_PENDING);
	next->attempts = row->attempts > 0 ? row->attempts - 1 : 0;
	next->delay_ms = delay_ms;
}

/* The service must be asked about the group before the row can be judged. */
static void
look_up(ImNext *next, const ImLife *row, ImWhy why)
{
	settle(next, row, IM_PENDING);
	next->act = IM_ACT_LOOKUP;
	next->why = why;
}

/* Nobody can know but a person. */
static void
doubt(ImNext *next, const ImLife *row, const char *reason)
{
	settle(next, row, IM_IN_DOUBT);
	next->maybe_sent = true;
	next->suspect_now = !row->maybe_sent;
	next->reason = reason;
}

/* True once the last request that might still arrive is surely dead. */
static bool
zombies_gone(const ImLife *row)
{
	return row->suspect_ms >= IM_ZOMBIE_MS;
}

/* Asks again after the last suspect request must have died. */
static void
wait_for_zombies(ImNext *next, const ImLife *row)
{
	int64_t		age = row->suspect_ms > 0 ? row->suspect_ms : 0;

	settle(next, row, IM_PENDING);
	/* The clock was set back: counted from now on, or it might take days. */
	next->suspect_now = row->suspect_ms < 0;
	next->delay_ms = IM_ZOMBIE_MS - age;
	next->reason = "may still be on its way to the service; will be looked up there";
}

/* Asks get_group_info, unless a late request could make its answer untrue. */
static void
look_up_in_time(ImNext *next, const ImLife *row, ImWhy why)
{
	if (zombies_gone(row))
		look_up(next, row, why);
	else
		wait_for_zombies(next, row);
}

/* A message that may be there already is sent again only if it is not. */
static void
read_back(ImNext *next, const ImLife *row)
{
	if (row->suspect_ms >= IM_READ_BACK_MS)
	{
		look_up(next, row, IM_WHY_REPEAT);
		return;
	}
	/* Too early: a request that is still under way could come after the look. */
	settle(next, row, IM_PENDING);
	next->suspect_now = row->suspect_ms < 0;
	next->delay_ms = IM_READ_BACK_MS - (row->suspect_ms > 0 ? row->suspect_ms : 0);
}

/* See protocol.h. */
void
im_protocol_claim(const ImLife *row, bool invalid, const ImPolicy *policy, ImNext *next)
{
	bool		exhausted = row->attempts > policy->max_attempts;

	if (row->repeat == IM_REPEAT_UNDO)
	{
		look_up(next, row, IM_WHY_UNDO);
		return;
	}
	/* First of all: where the service assigns the id, nothing is sent a second time. */
	if (row->maybe_sent && row->repeat == IM_REPEAT_NEVER)
		doubt(next, row, "may have created a group whose id is not known");
	else if (invalid && !row->maybe_sent)
		settle(next, row, IM_INVALID);
	else if (row->maybe_sent && row->repeat == IM_REPEAT_HARMLESS && (invalid || exhausted))
		doubt(next, row, invalid ? "cannot be sent now, but an earlier request may have been applied" :
			  "out of attempts; an earlier request may have been applied");
	else if (invalid)
		look_up_in_time(next, row, IM_WHY_INVALID);
	else if (row->maybe_sent && exhausted)
		look_up_in_time(next, row, IM_WHY_EXHAUSTED);
	else if (row->maybe_sent && row->repeat == IM_REPEAT_READ_BACK)
		read_back(next, row);
	else
	{
		settle(next, row, IM_SENDING);
		next->act = IM_ACT_SEND;
		return;
	}
	if (next->attempts > 0)
		next->attempts--;		/* nothing is sent: not an attempt */
}

/* See protocol.h. */
void
im_protocol_wait(const ImLife *row, int64_t delay_ms, ImNext *next)
{
	restore(next, row, delay_ms);
}

/* The outcome of this attempt is unknown: the heart of the promise. */
static void
judge_unknown(const ImLife *row, const ImPolicy *policy, bool counts, double jitter,
			  ImNext *next)
{
	/* A second request could make a second group: a person has to look. */
	if (row->repeat == IM_REPEAT_NEVER)
	{
		doubt(next, row, NULL);
		next->suspect_now = true;
		return;
	}
	settle(next, row, IM_PENDING);
	next->maybe_sent = true;
	next->suspect_now = true;
	if (!counts && next->attempts > 0)
		next->attempts--;
	if (next->attempts >= policy->max_attempts)
		next->delay_ms = IM_ZOMBIE_MS;	/* then im_protocol_claim() looks it up */
	else
		next->delay_ms = im_protocol_backoff(next->attempts, jitter);
	/* The group is not read before the request must have arrived. */
	if (row->repeat == IM_REPEAT_READ_BACK && next->delay_ms < IM_READ_BACK_MS)
		next->delay_ms = IM_READ_BACK_MS;
}

/* A definite refusal of this row. */
static void
judge_refused(const ImLife *row, bool of_item, ImNext *next)
{
	if (!row->maybe_sent)
		settle(next, row, IM_FAILED);
	else if (row->repeat == IM_REPEAT_HARMLESS && of_item && !zombies_gone(row))
	{
		/* Not there now, but what is under way may come.  Then it is sent again; this was no attempt. */
		wait_for_zombies(next, row);
		next->attempts = row->attempts > 0 ? row->attempts - 1 : 0;
	}
	else if (row->repeat == IM_REPEAT_HARMLESS && of_item)
	{
		/* What had been applied before would be called done now. */
		settle(next, row, IM_FAILED);
		next->maybe_sent = false;
	}
	else if (row->repeat == IM_REPEAT_HARMLESS)
		doubt(next, row, "refused now, but an earlier request may have been applied");
	else if (row->repeat == IM_REPEAT_NEVER)
		doubt(next, row, "refused now, but an earlier request may have created a group");
	else
		look_up_in_time(next, row, IM_WHY_REFUSED);
}

/* Tries again later; out of attempts, ends as status says. */
static void
again_or(const ImLife *row, const ImPolicy *policy, double jitter, const char *reason,
		 ImNext *next)
{
	if (row->attempts < policy->max_attempts)
	{
		settle(next, row, IM_PENDING);
		next->delay_ms = im_protocol_backoff(row->attempts, jitter);
	}
	else if (row->maybe_sent || row->why == IM_WHY_EXHAUSTED)
		doubt(next, row, reason);
	else
		settle(next, row, IM_FAILED);
	next->reason = reason;
}

/* The lookup says that there is no such group. */
static void
judge_absent(const ImLife *row, const ImPolicy *policy, double jitter, ImNext *next)
{
	/* It was looked for before sending: it is not there, so it can go. */
	if (row->why == IM_WHY_REPEAT)
	{
		settle(next, row, IM_SENDING);
		next->act = IM_ACT_SEND;
		return;
	}
	if (row->why == IM_WHY_EXISTS)
	{
		/* Taken and absent at once: a dissolved group's id rests a while. */
		again_or(row, policy, jitter,
				 "the service calls the GroupId taken, yet knows no such group: the id of a disbanded group may stay taken for a time", next);
		return;
	}
	/* Refused while its outcome was unknown, for its time perhaps: it gets another. */
	if (row->repeat == IM_REPEAT_READ_BACK && row->why == IM_WHY_REFUSED &&
		row->attempts < policy->max_attempts)
	{
		settle(next, row, IM_PENDING);
		next->maybe_sent = false;
		return;
	}
	/* The answer can be believed by now: the row has done nothing. */
	settle(next, row, row->why == IM_WHY_INVALID ? IM_INVALID : IM_FAILED);
	next->maybe_sent = false;
	if (row->why == IM_WHY_EXHAUSTED)
		next->reason = row->repeat == IM_REPEAT_READ_BACK ?
			"out of attempts; the group has no such message" :
			"out of attempts; the service has no such group";
}

/* The lookup shows a group of this id with other content. */
static void
judge_other(const ImLife *row, ImNext *next)
{
	if (row->maybe_sent)
		doubt(next, row, "the GroupId exists with other content, and this row may have created it");
	else
	{
		settle(next, row, IM_FAILED);
		next->reason = "the GroupId exists with other content; choose another";
	}
}

/* The lookup gave nothing to decide by. */
static void
judge_unreadable(const ImLife *row, const ImPolicy *policy, double jitter, ImNext *next)
{
	const char *reason = row->repeat == IM_REPEAT_READ_BACK ?
		"the group's messages could not be read" : "the group could not be looked up";

	again_or(row, policy, jitter, reason, next);
	/* Such an answer counts even if the claim was no attempt: it must end. */
	if (next->status == IM_PENDING)
		next->attempts = row->attempts;
	/* Taken by somebody, and nobody can say by whom: not a plain failure. */
	if (next->status == IM_FAILED)
		doubt(next, row, reason);

	/* Later messages pass one in doubt by, so a late request must be dead first. */
	if (next->status == IM_IN_DOUBT && row->repeat == IM_REPEAT_READ_BACK && row->maybe_sent &&
		!zombies_gone(row))
		wait_for_zombies(next, row);
}

/* ---- undo: nothing is ever in doubt, because to disband twice does no harm ---- */

/* The row is to be undone later; attempt says whether this one counts. */
static void
undo_later(ImNext *next, const ImLife *row, bool attempt, int64_t delay_ms)
{
	settle(next, row, IM_UNDO);
	if (!attempt && next->attempts > 0)
		next->attempts--;
	next->delay_ms = delay_ms;
}

/*
 * The group stays, which is true only once no request to disband it can be under
 * way any more.
 */
static void
keep_group(ImNext *next, const ImLife *row, const char *reason)
{
	if (row->maybe_sent && !zombies_gone(row))
	{
		undo_later(next, row, false, IM_ZOMBIE_MS - (row->suspect_ms > 0 ? row->suspect_ms : 0));
		next->suspect_now = row->suspect_ms < 0;
		return;
	}
	settle(next, row, IM_IMPORTED);
	next->maybe_sent = false;
	next->reason = reason;
}

/* See protocol.h. */
void
im_protocol_keep(const ImLife *row, const char *reason, ImNext *next)
{
	keep_group(next, row, reason);
}

/* See protocol.h. */
void
im_protocol_gone(const ImLife *row, ImNext *next)
{
	settle(next, row, IM_UNDONE);
	/* Nobody was asked. */
	if (next->attempts > 0)
		next->attempts--;
}

/* See protocol.h. */
void
im_protocol_undo_later(const ImLife *row, int64_t delay_ms, ImNext *next)
{
	undo_later(next, row, false, delay_ms);
}

/* Whether the group was disbanded is not known: that is found out before it is tried again. */
static void
undo_unknown(ImNext *next, const ImLife *row, bool counts, double jitter)
{
	undo_later(next, row, counts, im_protocol_backoff(row->attempts, jitter));
	next->maybe_sent = true;
	next->suspect_now = true;
}

/* What an exchange means for a row that is to be undone. */
static void
judge_undo(const ImLife *row, const ImVerdict *verdict, const ImPolicy *policy, bool counts,
		   double jitter, ImNext *next)
{
	bool		exhausted = row->attempts >= policy->max_attempts;

	switch (verdict->outcome)
	{
		case IM_OUT_DONE:
			settle(next, row, IM_UNDONE);
			break;
		case IM_OUT_ABSENT:
		case IM_OUT_SAME:
			/* A lookup may lag behind what was made just now: the command itself is asked, too. */
			settle(next, row, verdict->outcome == IM_OUT_ABSENT && row->maybe_sent ? IM_UNDONE : IM_UNDO);
			if (next->status == IM_UNDO)
				next->act = IM_ACT_SEND;
			break;
		case IM_OUT_OTHER:
			keep_group(next, row, "not undone: the group is not what was imported, somebody has changed its type, name, owner or time");
			break;
		case IM_OUT_IN_USE:
			keep_group(next, row, "not undone: the group has messages that no row has imported");
			break;
		case IM_OUT_EXISTS:
		case IM_OUT_REFUSED:
			/* It may be a second request that was refused, and the first one that did it. */
			if (row->maybe_sent && !exhausted)
				undo_later(next, row, true, im_protocol_backoff(row->attempts, jitter));
			else
				keep_group(next, row, "not undone: the service has refused to disband the group");
			break;
		case IM_OUT_NOT_SENT:
		case IM_OUT_RESIGN:
			undo_later(next, row, false, 0);
			break;
		case IM_OUT_SLOW:
		case IM_OUT_QUOTA:
			undo_later(next, row, false, im_protocol_backoff(1, jitter));
			break;
		case IM_OUT_STOP:
			if (verdict->ambiguous)
				undo_unknown(next, row, false, jitter);
			else
				undo_later(next, row, false, 0);
			break;
		case IM_OUT_UNKNOWN:
			undo_unknown(next, row, counts, jitter);
			break;
		case IM_OUT_UNREADABLE:
			/* What may be gone cannot be called imported: that is asked for ever. */
			counts = counts && verdict->answered;
			if (counts && exhausted && !row->maybe_sent)
				keep_group(next, row, "not undone: the group could not be looked up");
			else
				undo_later(next, row, counts, im_protocol_backoff(row->attempts, jitter));
			break;
	}
}

/* See protocol.h. */
void
im_protocol_judge(const ImLife *row, const ImVerdict *verdict, const ImPolicy *policy,
				  bool counts, double jitter, ImNext *next)
{
	if (row->repeat == IM_REPEAT_UNDO)
	{
		judge_undo(row, verdict, policy, counts, jitter, next);
		return;
	}
	switch (verdict->outcome)
	{
		case IM_OUT_DONE:
		case IM_OUT_SAME:
			settle(next, row, IM_IMPORTED);
			break;
		case IM_OUT_EXISTS:
			if (row->repeat == IM_REPEAT_NEVER)
				doubt(next, row, "the service chose the id, yet calls it taken");
			else if (row->repeat == IM_REPEAT_REFUSED)
				look_up(next, row, IM_WHY_EXISTS);
			else
				judge_refused(row, verdict->of_item, next);
			break;
		case IM_OUT_REFUSED:
			judge_refused(row, verdict->of_item, next);
			break;
		case IM_OUT_NOT_SENT:
		case IM_OUT_RESIGN:
			/* Not sent, or not let in: this attempt never was. */
			restore(next, row, 0);
			break;
		case IM_OUT_SLOW:
		case IM_OUT_QUOTA:
			restore(next, row, im_protocol_backoff(1, jitter));
			break;
		case IM_OUT_STOP:
			/* A code that is not documented does not prove that nothing was applied. */
			if (verdict->ambiguous)
				judge_unknown(row, policy, false, jitter, next);
			else
				restore(next, row, 0);
			break;
		case IM_OUT_UNKNOWN:
			judge_unknown(row, policy, counts, jitter, next);
			break;
		case IM_OUT_OTHER:
		case IM_OUT_IN_USE:
			judge_other(row, next);
			break;
		case IM_OUT_ABSENT:
			judge_absent(row, policy, jitter, next);
			break;
		case IM_OUT_UNREADABLE:
			/* Only an answer can be held against the row, never silence. */
			if (verdict->answered && counts)
				judge_unreadable(row, policy, jitter, next);
			else
				restore(next, row, im_protocol_backoff(row->attempts, jitter));
			break;
	}
}

/* See protocol.h. */
void
im_protocol_recover(ImRepeat repeat, int32_t attempts, ImNext *next)
{
	ImLife		row = {.repeat = repeat, .maybe_sent = true, .attempts = attempts};

	if (repeat == IM_REPEAT_NEVER)
		doubt(next, &row, "the sender died while the request was under way");
	else
		settle(next, &row, IM_PENDING);
	/* Whatever it was before: this request may have left. */
	next->maybe_sent = true;
	next->suspect_now = true;
}

/* See protocol.h. */
void
im_protocol_adopt(ImRepeat repeat, int32_t attempts, ImNext *next)
{
	ImLife		row = {.repeat = repeat, .maybe_sent = true, .attempts = attempts};

	if (repeat == IM_REPEAT_NEVER)
		doubt(next, &row, "another copy of this database may have created the group");
	else
		settle(next, &row, IM_PENDING);
	next->attempts = 0;
	next->suspect_now = true;
}

/* What the class of a readable answer means for import_group. */
static ImOutcome
outcome_of_class(ImClass class, bool resigned)
{
	switch (class)
	{
		case IM_CLASS_DONE:
			return IM_OUT_DONE;
		case IM_CLASS_EXISTS:
			return IM_OUT_EXISTS;
		case IM_CLASS_ROW:
			return IM_OUT_REFUSED;
		case IM_CLASS_SLOW:
			return IM_OUT_SLOW;
		case IM_CLASS_QUOTA:
			return IM_OUT_QUOTA;
		case IM_CLASS_RESIGN:
			return resigned ? IM_OUT_STOP : IM_OUT_RESIGN;
		case IM_CLASS_STOP:
			return IM_OUT_STOP;
		case IM_CLASS_RETRY:
			break;
	}
	return IM_OUT_UNKNOWN;
}

/* Judges an answer that could be read. */
static void
judge_reply(const ImExchange *exchange, ImVerdict *verdict)
{
	const ImReply *reply = exchange->reply;
	bool		own = exchange->group_id[0] != '\0';
	bool		assigned = !own && exchange->op == IM_OP_IMPORT_GROUP;

	verdict->code = reply->code;
	verdict->outcome = outcome_of_class(exchange->class, exchange->resigned);
	verdict->ambiguous = verdict->outcome == IM_OUT_STOP && !exchange->documented;
	if (verdict->outcome != IM_OUT_DONE)
		return;

	/* "Done" counts only if it is our group that was done. */
	if (own && (reply->odd_group_id ||
				(reply->group_id[0] != '\0' && strcmp(reply->group_id, exchange->group_id) != 0)))
	{
		verdict->outcome = IM_OUT_UNKNOWN;
		verdict->code = IM_CODE_OTHER_ID;
	}
	else if (assigned && reply->group_id[0] == '\0')
	{
		verdict->outcome = IM_OUT_UNKNOWN;
		verdict->code = IM_CODE_UNREADABLE;
	}
}

/* Judges a lookup; the answer's own code matters only without an entry. */
static void
judge_lookup(const ImExchange *exchange, ImVerdict *verdict)
{
	static const ImOutcome by_found[] = {
		[IM_FOUND_UNREADABLE] = IM_OUT_UNREADABLE,
		[IM_FOUND_SAME] = IM_OUT_SAME,
		[IM_FOUND_OTHER] = IM_OUT_OTHER,
		[IM_FOUND_ABSENT] = IM_OUT_ABSENT
	};

	verdict->code = exchange->reply->code;
	verdict->outcome = by_found[exchange->found];
	if (exchange->found == IM_FOUND_OTHER)
		verdict->code = IM_CODE_DIFFERENT;
	if (exchange->found != IM_FOUND_UNREADABLE || !exchange->reply->readable)
		return;

	/* What would meet every row is no verdict on this one. */
	switch (outcome_of_class(exchange->class, exchange->resigned))
	{
		case IM_OUT_SLOW:
			verdict->outcome = IM_OUT_SLOW;
			break;
		case IM_OUT_QUOTA:
			/* A lookup makes no group: for it a quota is only a matter of pace. */
			verdict->outcome = IM_OUT_SLOW;
			break;
		case IM_OUT_RESIGN:
			verdict->outcome = IM_OUT_RESIGN;
			break;
		case IM_OUT_STOP:
			verdict->outcome = IM_OUT_STOP;
			break;
		default:
			break;
	}
}

/*
 * Nothing that could be read came back.  Before a byte of the body left, that
 * is a definite "not applied"; after it, nothing is known.  Looking up is
 * always harmless.
 */
static void
judge_silence(const ImExchange *exchange, ImVerdict *verdict)
{
	verdict->answered = exchange->http_status != 0;
	verdict->code = exchange->failure;
	if (im_op_asks(exchange->op))
		verdict->outcome = IM_OUT_UNREADABLE;
	else if (!exchange->sent)
		verdict->outcome = IM_OUT_NOT_SENT;
	else
		verdict->outcome = IM_OUT_UNKNOWN;
}

/* See protocol.h. */
void
im_judge(const ImExchange *exchange, ImVerdict *verdict)
{
	memset(verdict, 0, sizeof(*verdict));
	verdict->http_status = exchange->http_status;
	/* An answer to a body of which no byte left is no answer to it. */
	if (exchange->failure != 0 || exchange->http_status != 200 ||
		(!im_op_asks(exchange->op) && !exchange->sent))
	{
		judge_silence(exchange, verdict);
		return;
	}
	verdict->answered = true;
	if (im_op_asks(exchange->op))
		judge_lookup(exchange, verdict);
	else if (exchange->reply->readable)
		judge_reply(exchange, verdict);
	else
	{
		verdict->outcome = IM_OUT_UNKNOWN;
		verdict->code = IM_CODE_UNREADABLE;
	}
}

/* See protocol.h. */
bool
im_signature_resigned(const ImSignatures *signatures, uint32_t carried)
{
	return signatures->refused != 0 && carried > signatures->refused;
}

/* See protocol.h. */
bool
im_signature_note(ImSignatures *signatures, uint32_t carried, const ImVerdict *verdict)
{
	if (verdict->outcome != IM_OUT_RESIGN && verdict->outcome != IM_OUT_STOP)
	{
		if (verdict->answered)
			signatures->refused = 0;
		return false;
	}
	if (verdict->outcome == IM_OUT_RESIGN && carried > signatures->refused)
		signatures->refused = carried;
	/* A newer one may have been made since this call left: that one stays. */
	return carried == signatures->newest;
}
