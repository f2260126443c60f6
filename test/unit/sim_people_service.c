/*
 * sim_people_service.c
 *	  The network, and the service as its documents describe it.
 */
#include <stdio.h>
#include <string.h>

#include "reply.h"
#include "results.h"
#include "sim_people.h"
#include "verdict.h"

#define ANSWER_MAX		8192

/* ------------------------------------------------------------------------
 * The service
 */

/* The code with which a call is refused as a whole; 0: it is not. */
static int
refuse_whole(const World *w, const Request *request)
{
	const Service *service = &w->service;
	bool		members = request->op == IM_OP_IMPORT_MEMBERS;
	bool		questions = im_op_asks(request->op);
	int			most = members ? service->most_members : questions ? IN_CALL : service->most_accounts;

	if (members && !service->group[request->group])
		return request->group == 0 ? 10010 : 10015;
	if (request->n > most)
		return members ? (request->n > 20 && w->nrows % 2 == 0 ? 10004 : 10005) : 70206;
	for (int i = 0; i < request->n && service->refuses_whole; i++)
	{
		const Row  *row = &w->rows[request->row[i]];

		/* A user may be named so that even the question is refused. */
		if (questions ? row->user % 5 == 3 : (request->value[i] & VALUE_BAD) != 0)
			return members ? 10004 : 70402;
		if (members && !service->account[row->user] && row->user % 2 == 0)
			return 10019;
	}
	return 0;
}

/* An account comes to be, or stays; false if it is refused. */
static bool
make_account(World *w, const Row *row, int value)
{
	Service    *service = &w->service;

	if (value & VALUE_BAD)
		return false;
	if (!service->account[row->user] || service->overwrites)
		service->value[row->user] = value;
	service->account[row->user] = true;
	return true;
}

/* The Result of a member. */
static int
add_member(World *w, const Row *row, int value)
{
	Service    *service = &w->service;
	int			n = 0;

	if (service->member[row->group][row->user])
		return 2;
	for (int i = 0; i < w->nusers; i++)
		n += service->member[row->group][i];
	if ((value & VALUE_BAD) || !service->account[row->user] || n >= service->capacity)
		return 0;
	service->member[row->group][row->user] = true;
	return 1;
}

/* What the service does for one row of a request, and says of it. */
static int
do_row(World *w, const Request *request, int i)
{
	const Row  *row = &w->rows[request->row[i]];

	switch ((int) request->op)
	{
		case IM_OP_IMPORT_MEMBERS:
			return add_member(w, row, request->value[i]);
		case IM_OP_CHECK_ACCOUNTS:
			return w->service.account[row->user];
		default:
			return make_account(w, row, request->value[i]);
	}
}

/* A request comes to the service. */
static void
arrive(World *w, Request *request)
{
	int			code = refuse_whole(w, request);

	request->code = code != 0 ? code : request->drawn_code;
	if (code != 0)
		return;
	for (int i = 0; i < request->n; i++)
	{
		if (!request->applies[i] || (request->whims && request->result[i] == 0 && !is_there(w, &w->rows[request->row[i]]) &&
									 chance(w, 300)))
			continue;
		request->result[i] = (signed char) do_row(w, request, i);
		if (request->op == IM_OP_IMPORT_MEMBERS)
			met[request->result[i] == 0 ? MET_REFUSED_MEMBER : request->result[i] == 1 ? MET_ADDED : MET_THERE].n++;
		if (request->result[i] != 0 && !im_op_asks(request->op))
			check_row(w, &w->rows[request->row[i]]);
	}
	/* The command for a single account says why not. */
	if (request->op == IM_OP_IMPORT_ACCOUNT && request->code == 0 && request->result[0] == 0)
		request->code = request->value[0] & VALUE_BAD ? 70399 : 40006;
}

/* ------------------------------------------------------------------------
 * The wire
 */

/* A code that says nothing of the rows: what of them is done nobody knows. */
static void
draw_code(World *w, Request *request)
{
	static const int retry[] = {10002, 60008, 40006, 99999, 79999};
	static const int refused[] = {60007, 60011, 70001, 70009};

	if (fault(w, 10))
	{
		request->drawn_code = refused[below(w, 4)];
		memset(request->applies, false, sizeof(request->applies));
	}
	else if (fault(w, 20))
	{
		int			done = below(w, 3) == 0 ? request->n : below(w, request->n + 1);

		request->drawn_code = retry[below(w, 5)];
		met[MET_PARTLY].n += done > 0 && done < request->n && !im_op_asks(request->op);
		for (int i = 0; i < request->n; i++)
			request->applies[i] = i < done;
	}
}

/* What will become of a request. */
static void
draw_fate(World *w, Request *request)
{
	bool		in_time = true;

	request->arrives_at = w->now + 1 + below(w, 100 * MS);
	request->answers_at = request->arrives_at + below(w, 1 * SEC);
	memset(request->applies, true, sizeof(request->applies));
	if (fault(w, 20))
		request->failure = IM_CODE_TIMEOUT;
	if (fault(w, 5))
		request->failure = IM_CODE_HTTP;
	if (fault(w, 15))
	{
		request->arrives_at = w->now + 1 * SEC + below(w, (int) (LATE_MAX - 1 * SEC));
		request->failure = IM_CODE_LOST;
		in_time = false;
	}
	if (fault(w, 15))
	{
		request->arrives_at = NEVER;
		request->failure = chance(w, 500) ? IM_CODE_NOT_SENT : IM_CODE_LOST;
	}
	if (fault(w, 10) && request->arrives_at != NEVER && in_time)
	{
		/* The last answer is the one that comes back, if any does. */
		request->repeated_at = request->arrives_at + below(w, 10 * SEC);
		if (request->failure == 0)
			request->answers_at = request->repeated_at + below(w, 100 * MS);
	}
	request->whims = fault(w, 10) && !im_op_asks(request->op);
	request->garbled = fault(w, 10);
	draw_code(w, request);
	if (request->failure != 0)
		request->answers_at = w->now + (request->failure == IM_CODE_NOT_SENT ? 10 * MS : 3 * SEC + below(w, 7 * SEC));
}

/* A call goes out. */
void
send_request(World *w, Call *call)
{
	int			place = 0;
	Request    *request;

	while (place < w->nrequests && w->requests[place].used)
		place++;
	if (place == REQUESTS)
	{
		violate(w, "requests without end");
		return;
	}
	if (place == w->nrequests)
		w->nrequests++;
	request = &w->requests[place];
	memset(request, 0, sizeof(*request));
	request->used = true;
	request->op = call->call.op;
	request->call = call;
	request->n = call->call.nrows;
	request->repeated_at = NEVER;
	for (int i = 0; i < request->n; i++)
	{
		request->row[i] = (int) call->rows[i]->id - 1;
		request->value[i] = w->rows[request->row[i]].value;
	}
	request->group = w->rows[request->row[0]].group;
	draw_fate(w, request);
	trace(w, "operation %d with %d rows goes out, the first is %d", (int) request->op, request->n, request->row[0] + 1);
}

/* Nobody waits for answers any more; what was sent travels on. */
void
orphan_requests(World *w)
{
	for (int i = 0; i < w->nrequests; i++)
		w->requests[i].call = NULL;
}

/* Everything that is due on the wire, but for the answers. */
void
move_requests(World *w)
{
	for (int i = 0; i < w->nrequests; i++)
	{
		Request    *request = &w->requests[i];

		if (!request->used)
			continue;
		if (request->arrives_at <= w->now)
		{
			met[MET_LATE].n += request->call == NULL && !im_op_asks(request->op);
			arrive(w, request);
			request->arrives_at = NEVER;
		}
		else if (request->arrives_at == NEVER && request->repeated_at <= w->now)
		{
			met[MET_REPEATED].n++;
			arrive(w, request);
			request->repeated_at = NEVER;
		}
		if (request->call == NULL && request->arrives_at == NEVER && request->repeated_at == NEVER)
			request->used = false;
	}
}

/* When something happens on the wire, or an answer comes. */
int64_t
next_on_the_wire(const World *w)
{
	int64_t		at = NEVER;

	for (int i = 0; i < w->nrequests; i++)
	{
		const Request *request = &w->requests[i];
		int64_t		arrives = request->arrives_at != NEVER ? request->arrives_at : request->repeated_at;

		if (request->used && arrives < at)
			at = arrives;
		if (request->used && request->call != NULL && request->answers_at < at)
			at = request->answers_at;
	}
	return at;
}

/* ------------------------------------------------------------------------
 * Answers
 */

/* What the answer has of one row. */
static int
put_row(const World *w, const Request *request, int i, bool first, char *out)
{
	const char *comma = first ? "" : ",";
	int			user = w->rows[request->row[i]].user;

	switch ((int) request->op)
	{
		case IM_OP_IMPORT_MEMBERS:
			return sprintf(out, "%s{\"Member_Account\":\"u%d\",\"Result\":%d}", comma, user, request->result[i]);
		case IM_OP_CHECK_ACCOUNTS:
			return sprintf(out, "%s{\"UserID\":\"u%d\",\"ResultCode\":0,\"AccountStatus\":\"%s\"}", comma, user,
						   request->result[i] ? "Imported" : "NotImported");
		default:
			if (request->result[i] != 0)
				return 0;
			met[MET_LISTED_FAILED].n++;
			return sprintf(out, "%s\"u%d\"", comma, user);
	}
}

/* Writes the answer; returns which row it leaves out, or -1. */
static int
write_answer(World *w, const Request *request, char *body)
{
	static const char *const lists[IM_OPS] = {
		[IM_OP_IMPORT_ACCOUNTS] = "FailAccounts",[IM_OP_IMPORT_MEMBERS] = "MemberList",[IM_OP_CHECK_ACCOUNTS] = "ResultItem"
	};
	int			used = sprintf(body, "{\"ErrorCode\":%d,\"ErrorInfo\":\"\"", request->code);
	int			left_out = request->garbled && request->op != IM_OP_IMPORT_ACCOUNTS ? below(w, request->n) : -1;
	bool		first = true;

	if (request->code == 0 && lists[request->op] != NULL)
	{
		used += sprintf(body + used, ",\"%s\":[", lists[request->op]);
		for (int i = 0; i < request->n; i++)
		{
			int			n = i == left_out ? 0 : put_row(w, request, i, first, body + used);

			first = first && n == 0;
			used += n;
		}
		used += sprintf(body + used, "]");
	}
	/* Cut off it cannot be read at all. */
	if (request->garbled && (left_out < 0 || below(w, 2) == 0))
	{
		met[MET_GARBLED].n++;
		body[used] = '\0';
		return -1;
	}
	strcpy(body + used, "}");
	return left_out;
}

/* Notes what the worker has been told of the users of refused rows. */
static void
note_told(World *w, const Call *call, const Request *request, int left_out)
{
	if (request->op != IM_OP_CHECK_ACCOUNTS || call->call.found == IM_FOUND_UNREADABLE)
		return;
	for (int i = 0; i < request->n; i++)
		for (int j = 0; j < request->n; j++)
			/* A user of two groups may be asked for twice. */
			if (j != left_out && w->rows[request->row[i]].user == w->rows[request->row[j]].user)
				w->rows[request->row[i]].told_absent = request->result[j] == 0;
}

/* Counts the answers that refuse nine of ten of their rows; some of them say so again for each row. */
static void
count_alike(World *w, const Request *request)
{
	int			n = 0;

	if (request->failure != 0 || im_op_asks(request->op))
		return;
	for (int i = 0; i < request->n && request->code == 0; i++)
		n += request->result[i] == 0;
	if (request->code == 0 ? n * 10 >= request->n * 9 :
		im_error_find(request->code)->class == IM_CLASS_ROW && (request->n == 1 || !w->service.group[request->group]))
		w->alike++;
}

/* The answer as the sender reads it. */
void
read_answer(World *w, Call *call, const Request *request)
{
	static ImListEntry entries[IN_CALL + 1];
	char		body[ANSWER_MAX] = "";
	ImCall	   *c = &call->call;
	ImExchange	exchange = {.sent = request->failure != IM_CODE_NOT_SENT,.failure = request->failure};
	int			left_out = -1;

	memset(&c->reply, 0, sizeof(c->reply));
	c->found = IM_FOUND_UNREADABLE;
	if (request->failure == 0 || request->failure == IM_CODE_HTTP)
		exchange.http_status = request->failure == 0 ? 200 : 502;
	if (request->failure == 0)
	{
		left_out = write_answer(w, request, body);
		im_reply_parse(body, strlen(body), &c->reply);
		if (c->op == IM_OP_CHECK_ACCOUNTS)
			im_verdict_read(c, im_results_accounts, false, body, strlen(body), entries, IN_CALL + 1);
	}
	im_verdict_judge(c, &exchange);
	(void) im_verdict_rows(c, &exchange, body, strlen(body), entries, IN_CALL + 1);
	note_told(w, call, request, left_out);
	count_alike(w, request);
	trace(w, "answer to operation %d, %d rows from %d: code %d, outcome %d", (int) c->op, c->nrows, (int) c->rows[0]->id,
		  (int) c->verdict.code, (int) c->verdict.outcome);
}
