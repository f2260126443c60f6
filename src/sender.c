/*
 * sender.c
 *	  The one way out: sign, compose, wait for the limiter, POST, judge.
 *
 * The UserSig stands in the URL, so no URL and no part of one may ever reach
 * a message.  A UserSig is made once and used until 80 % of its life are
 * over, until the service refuses it, or until key or options change.
 *
 * A refused signature (class "resign") is tried once more with a new one;
 * refused again, it is a stop: see ImSignatures.
 *
 * Must not know: the outbox, pauses, the breaker.
 */
#include "postgres.h"

#include <sys/resource.h>
#include <time.h>

#include "common/hashfn.h"
#include "common/pg_prng.h"
#include "lib/ilist.h"
#include "lib/stringinfo.h"
#include "utils/memutils.h"

#include "compat.h"
#include "failpoint.h"
#include "http.h"
#include "operation.h"
#include "protocol.h"
#include "reply.h"
#include "sender.h"
#include "text.h"
#include "usersig.h"
#include "verdict.h"

#define SIG_LIFETIME		86400	/* seconds; the documented advice is a day */
#define SIG_BEGINNING		16	/* characters that tell a UserSig */
#define QUOTE_MAX			100 /* bytes of an unreadable answer */
#define SIG_RENEW_AT		(SIG_LIFETIME * 8 / 10)

#define ENTRIES_MAX			1000	/* items of an answer */

/* A call on its way through the sender. */
typedef struct Flight
{
	dlist_node	node;			/* in queue, flying or idle */
	ImCall	   *call;
	ImHttpCall *http_call;		/* while flying */
	uint32		sig_serial;		/* which signature it carries */
	StringInfoData target;
} Flight;

struct ImSender
{
	MemoryContext ctx;
	MemoryContext http_ctx;		/* reset with the options */
	int			max_flying;
	ImSlot	   *slot;
	bool		worker;
	ImApp	   *app;
	ImHttp	   *http;
	bool		stale;			/* options must be read again */
	bool		held;			/* new options: start nothing, let all land */

	char		sig[IM_USERSIG_MAX];	/* "" if there is none */
	char		sig_beginning[SIG_BEGINNING + 1];	/* of the last one: an answer to a
													 * call that carried it may quote it */
	char	   *identifier;		/* percent-encoded */
	time_t		signed_at;
	ImSignatures signatures;	/* sig is the newest */

	dlist_head	queue[IM_OPS];	/* each has a limiter of its own */
	dlist_head	flying;
	dlist_head	idle;
	int			nqueued;
	int			nqueued_of[IM_OPS];
	int			nflying;
	int			nflying_of[IM_OPS];
	int			first_op;		/* whose turn it is when places are scarce */
	ImListEntry *entries;		/* of an answer */
	int64		held_since[IM_OPS]; /* the limiter holds calls since then; 0: no */
};

/* See sender.h. */
ImSender *
im_sender_create(MemoryContext ctx, ImSlot *slot, bool worker)
{
	ImSender   *sender = MemoryContextAllocZero(ctx, sizeof(ImSender));

	sender->ctx = ctx;
	sender->slot = slot;
	sender->worker = worker;
	sender->stale = true;
	for (int op = 0; op < IM_OPS; op++)
		dlist_init(&sender->queue[op]);
	sender->entries = MemoryContextAlloc(ctx, sizeof(ImListEntry) * ENTRIES_MAX);
	dlist_init(&sender->flying);
	dlist_init(&sender->idle);
	return sender;
}

/* See sender.h. */
const ImApp *
im_sender_app(const ImSender *sender)
{
	return sender->app;
}

/* See sender.h. */
int
im_sender_queued(const ImSender *sender)
{
	return sender->nqueued;
}

/* See sender.h. */
int
im_sender_open(const ImSender *sender, ImOp op)
{
	return sender->nqueued_of[op] + sender->nflying_of[op];
}

/* See sender.h. */
int
im_sender_flying(const ImSender *sender, ImOp op)
{
	return sender->nflying_of[op];
}

/* See sender.h. */
int
im_sender_in_flight(const ImSender *sender)
{
	return sender->nflying;
}

/* See sender.h. */
void
im_sender_forget_signature(ImSender *sender)
{
	im_usersig_cleanse(sender->sig, sizeof(sender->sig));
	sender->sig[0] = '\0';
}

/* Percent-encodes an identifier for a query string (RFC 3986). */
static char *
percent_encode(MemoryContext ctx, const char *text)
{
	static const char hex[] = "0123456789ABCDEF";
	char	   *out = MemoryContextAlloc(ctx, strlen(text) * 3 + 1);
	char	   *p = out;

	for (; *text; text++)
	{
		unsigned char c = (unsigned char) *text;

		if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
			strchr("-._~", c) != NULL)
			*p++ = (char) c;
		else
		{
			*p++ = '%';
			*p++ = hex[c >> 4];
			*p++ = hex[c & 15];
		}
	}
	*p = '\0';
	return out;
}

/* True if a connection made for one app's options cannot serve the other's. */
static bool
needs_new_http(const ImApp *old, const ImApp *new)
{
	if (old == NULL)
		return true;
	return strcmp(old->base_url, new->base_url) != 0 ||
		old->request_timeout_ms != new->request_timeout_ms ||
		old->max_in_flight != new->max_in_flight ||
		(old->ca_file == NULL) != (new->ca_file == NULL) ||
		(old->ca_file != NULL && strcmp(old->ca_file, new->ca_file) != 0);
}

/* See sender.h. */
uint32
im_sender_address(const ImApp *app)
{
	return hash_bytes((const unsigned char *) app->base_url, (int) strlen(app->base_url));
}

/*
 * How many calls may fly at once: as the options say, but a connection is a
 * descriptor, and half of them must be left to the server's own files.
 */
static int
flights_allowed(const ImApp *app)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY)
		return app->max_in_flight;
	return Max(Min(app->max_in_flight, (int) Min(limit.rlim_cur / 2, 100000)), 1);
}

/* Starts over with new connections. */
static void
make_http(ImSender *sender)
{
	ImHttpSettings settings = {
		.base_url = sender->app->base_url,
		.ca_file = sender->app->ca_file,
		.timeout_ms = sender->app->request_timeout_ms,
		.plain_http = sender->app->plain_http,
		.max_connections = flights_allowed(sender->app)
	};
	MemoryContext old;

	if (sender->http_ctx != NULL)
		MemoryContextDelete(sender->http_ctx);
	/* NULL in between: to make one may raise. */
	sender->http = NULL;
	sender->http_ctx = AllocSetContextCreate(sender->ctx, "im_import http",
											 ALLOCSET_DEFAULT_SIZES);
	old = MemoryContextSwitchTo(sender->http_ctx);
	sender->http = im_http_create(&settings);
	sender->max_flying = settings.max_connections;
	MemoryContextSwitchTo(old);
}

/* Tells the limiters what the options say. */
static void
set_rates(ImSender *sender)
{
	double		rates[IM_OPS];

	for (int op = 0; op < IM_OPS; op++)
		rates[op] = im_app_rate(sender->app, op);
	im_slot_set_app(sender->slot, sender->app->sdkappid, rates);
}

/* Reads the options anew.  Waits until nothing flies: answers must be judged. */
static bool
reload(ImSender *sender, ImProblem *problem)
{
	ImApp	   *app = im_app_load(sender->ctx, problem);
	bool		new_http;

	if (app == NULL)
		return false;
	new_http = sender->http == NULL || needs_new_http(sender->app, app) ||
		im_http_outdated(sender->http);
	/* what flies has options; without any, nothing is to be waited for */
	sender->held = new_http && sender->app != NULL && sender->nflying > 0;
	/* The old options stay until the last call under them has landed. */
	if (sender->held)
	{
		im_app_free(app);
		return true;
	}
	im_app_free(sender->app);
	sender->app = app;
	if (sender->identifier != NULL)
		pfree(sender->identifier);
	sender->identifier = percent_encode(sender->ctx, app->identifier);
	/* It was made for the old identifier and the old key. */
	im_sender_forget_signature(sender);
	if (new_http)
		make_http(sender);
	set_rates(sender);
	im_slot_lock(sender->slot);
	sender->slot->address = im_sender_address(app);
	im_slot_unlock(sender->slot);
	sender->stale = false;		/* only now: the above may raise */
	return true;
}

/* Makes a UserSig; false and *problem if the key cannot be had. */
static bool
sign(ImSender *sender, ImProblem *problem)
{
	char		key[IM_KEY_MAX + 1];
	int			key_len;
	time_t		now = time(NULL);
	ImSigResult result;

	key_len = im_app_read_key(sender->app, key, problem);
	if (key_len < 0)
		return false;
	result = im_usersig_sign(sender->app->sdkappid, key, key_len, sender->app->identifier,
							 now, SIG_LIFETIME, sender->sig);
	/* Wiped at once, whatever came of it. */
	im_usersig_cleanse(key, sizeof(key));
	if (result != IM_SIG_OK)
	{
		im_sender_forget_signature(sender);
		problem->sqlstate = ERRCODE_FDW_ERROR;
		problem->message = psprintf("could not make a UserSig: %s",
									im_usersig_result_text(result));
		problem->hint = pstrdup("Check the options of the server and of its owner's user mapping.");
		return false;
	}
	sender->signed_at = now;
	strlcpy(sender->sig_beginning, sender->sig, sizeof(sender->sig_beginning));
	/* Counted: a refusal is about the signature that a call has carried. */
	sender->signatures.newest++;
	return true;
}

/* True if there is a signature that need not be renewed yet. */
static bool
has_signature(const ImSender *sender)
{
	time_t		age = time(NULL) - sender->signed_at;

	return sender->sig[0] != '\0' && age >= 0 && age < SIG_RENEW_AT;
}

/* See sender.h. */
bool
im_sender_configure(ImSender *sender, ImProblem *problem)
{
	if (im_app_stale() || (sender->http != NULL && im_http_outdated(sender->http)))
		sender->stale = true;
	if ((sender->stale || sender->app == NULL) && !reload(sender, problem))
		return false;
	/* Another key may be in the file: the old one's signature is of no use. */
	if (has_signature(sender) && im_app_key_changed(sender->app))
		im_sender_forget_signature(sender);
	return has_signature(sender) || sign(sender, problem);
}

/* See sender.h. */
bool
im_sender_wants_configure(const ImSender *sender)
{
	return (sender->held && sender->nflying == 0) || (!sender->held && !has_signature(sender));
}

/* A flight record, new or used before. */
static Flight *
make_flight(ImSender *sender)
{
	Flight	   *flight;
	MemoryContext old;

	if (!dlist_is_empty(&sender->idle))
		return dlist_container(Flight, node, dlist_pop_head_node(&sender->idle));
	old = MemoryContextSwitchTo(sender->ctx);
	flight = palloc0(sizeof(Flight));
	initStringInfo(&flight->target);
	MemoryContextSwitchTo(old);
	return flight;
}

/* See sender.h. */
void
im_sender_add(ImSender *sender, ImCall *call, bool urgent)
{
	Flight	   *flight = make_flight(sender);

	flight->call = call;
	flight->http_call = NULL;
	if (urgent)
		dlist_push_head(&sender->queue[call->op], &flight->node);
	else
		dlist_push_tail(&sender->queue[call->op], &flight->node);
	sender->nqueued++;
	sender->nqueued_of[call->op]++;
}

/* Path and query of one request.  They hold the UserSig: never to be shown. */
static void
compose_target(ImSender *sender, Flight *flight, const ImOperation *operation)
{
	resetStringInfo(&flight->target);
	appendStringInfo(&flight->target,
					 "/v4/%s?sdkappid=" INT64_FORMAT "&identifier=%s&usersig=%s&random=%u&contenttype=json",
					 operation->path, sender->app->sdkappid,
					 sender->identifier, sender->sig,
					 pg_prng_uint32(&pg_global_prng_state));
}

/* Hands one call to the network. */
static void
launch(ImSender *sender, Flight *flight)
{
	ImCall	   *call = flight->call;
	const ImOperation *operation = &im_operations[call->op];
	ImHttpCall *http_call = im_http_open(sender->http);

	/* Not when it was queued: it carries the signature of now. */
	compose_target(sender, flight, operation);
	http_call->target = flight->target.data;
	http_call->reply_cap = operation->reply_cap;
	http_call->owner = flight;
	http_call->body = call->body;
	http_call->body_len = call->body_len;
	flight->http_call = http_call;
	flight->sig_serial = sender->signatures.newest;
	/* Before bytes can leave: options that change from here on are newer than it. */
	call->begun_at = im_now_us();
	IM_FAILPOINT("before_first_byte");
	im_http_start(sender->http, http_call);
}

/* Adds up the time for which calls were ready and their limiter said wait. */
static void
note_throttling(ImSender *sender, int op, bool held)
{
	int64	   *since = &sender->held_since[op];
	int64		now;

	if (*since == 0 && !held)
		return;
	now = im_now_us();
	if (*since != 0)
		im_slot_throttled(sender->slot, op, im_operations[op].kind, now - *since);
	*since = held ? now : 0;
}

/* True if a call must wait: for more rows, or for another one of its key that is under way. */
static bool
must_wait(const ImSender *sender, const ImCall *call)
{
	dlist_iter	iter;

	if (call->waits)
		return true;
	if (call->command == NULL || !call->command->serial || call->op != call->command->op || call->rows[0]->key == NULL)
		return false;
	dlist_foreach(iter, unconstify(dlist_head *, &sender->flying))
	{
		const ImCall *other = dlist_container(Flight, node, iter.cur)->call;

		if (other->op == call->op && strcmp(other->rows[0]->key, call->rows[0]->key) == 0)
			return true;
	}
	return false;
}

/* The next call of an operation that can start; NULL: there is none. */
static Flight *
next_to_start(ImSender *sender, int op)
{
	dlist_iter	iter;

	dlist_foreach(iter, &sender->queue[op])
	{
		Flight	   *flight = dlist_container(Flight, node, iter.cur);

		if (!must_wait(sender, flight->call))
			return flight;
	}
	return NULL;
}

/* Starts a call that is its operation's next. */
static void
start(ImSender *sender, int op, Flight *flight)
{
	dlist_delete(&flight->node);
	sender->nqueued--;
	sender->nqueued_of[op]--;
	/* In the list before it is launched: an ERROR there must not lose it. */
	dlist_push_tail(&sender->flying, &flight->node);
	sender->nflying++;
	sender->nflying_of[op]++;
	launch(sender, flight);
}

/*
 * Starts what one operation may; *allowed counts down.  Returns how long its
 * limiter says to wait, or -1.
 */
static int64
pump_operation(ImSender *sender, int op, int *allowed)
{
	while (sender->nqueued_of[op] > 0 && *allowed > 0 && sender->nflying < sender->max_flying)
	{
		/* The limiter is asked last: what it grants is spent. */
		Flight	   *flight = next_to_start(sender, op);
		int64		wait = flight == NULL ? -1 : im_slot_take(sender->slot, op, sender->worker);

		if (flight == NULL || wait > 0)
			return wait;
		start(sender, op, flight);
		(*allowed)--;
	}
	/* Only a connection is missing: that counts as having been told to wait. */
	if (sender->nqueued_of[op] > 0 && *allowed > 0)
		im_slot_want(sender->slot, op);
	return -1;
}

/* See sender.h. */
int64
im_sender_pump(ImSender *sender, int allowed)
{
	int64		least = -1;
	bool		started;

	if (sender->nqueued == 0 || allowed <= 0 || sender->http == NULL || sender->held ||
		!has_signature(sender))
	{
		if (sender->nqueued == 0)
			memset(sender->held_since, 0, sizeof(sender->held_since));
		return -1;
	}
	started = sender->nflying < sender->max_flying;
	/* Where connections are scarce each operation is first in its turn. */
	for (int i = 0; i < IM_OPS; i++)
	{
		int			op = (sender->first_op + i) % IM_OPS;
		int64		wait = pump_operation(sender, op, &allowed);

		if (wait > 0 && (least < 0 || wait < least))
			least = wait;
		if (started)
			note_throttling(sender, op, wait > 0);
	}
	sender->first_op = (sender->first_op + 1) % IM_OPS;
	return least;
}

/* See sender.h. */
const char *
im_sender_command(ImOp op)
{
	return strchr(im_operations[op].path, '/') + 1;
}

/* See sender.h. */
void
im_sender_wait(ImSender *sender, long timeout_ms)
{
	void	   *owner;
	int64		granted;

	if (sender->http != NULL)
	{
		im_http_wait(sender->http, timeout_ms);
		while ((granted = im_http_next_late(sender->http, &owner)) != 0)
			im_slot_late(sender->slot, ((Flight *) owner)->call->op, granted);
	}
	else						/* could not be made; the reason was raised */
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						 timeout_ms, im_wait_event_sender());
}

/* The beginning of an answer that cannot be read, for whoever looks later. */
static void
quote_unreadable(ImCall *call, const ImHttpCall *http_call)
{
	static const char prefix[] = "the answer begins with: ";
	static const char gzip[] = "\x1f\x8b";
	size_t		used = sizeof(prefix) - 1;

	if (http_call->reply_len > 2 && memcmp(http_call->reply, gzip, 2) == 0)
	{
		strlcpy(call->reply.info,
				"the answer is compressed by gzip, which was not asked for; does a proxy or gateway do that?",
				sizeof(call->reply.info));
		return;
	}
	memcpy(call->reply.info, prefix, used);
	im_text_clean(http_call->reply, Min(http_call->reply_len, QUOTE_MAX),
				   call->reply.info + used, sizeof(call->reply.info) - used);
}

/*
 * An answer may echo the request, with the UserSig in it, which is as good as
 * a password for a day.  All UserSigs begin alike, so one of before is found,
 * too.
 */
static void
hide_signature(char *info, const char *beginning)
{
	char	   *found = strstr(info, "usersig");

	if (found == NULL && beginning[0] != '\0')
		found = strstr(info, beginning);
	if (found != NULL)
		strlcpy(found, "(hidden)", IM_INFO_MAX + 1 - (found - info));
}

/* Looks in the answer for what was asked. */
static void
read_asked(const ImSender *sender, ImCall *call, const ImHttpCall *http_call)
{
	const ImOperation *operation = &im_operations[call->op];

	im_verdict_read(call, operation->read, operation->own_codes, http_call->reply, http_call->reply_len,
					sender->entries, ENTRIES_MAX);
}

/* Says of all rows of a call how the answer begins, of which nothing can be read. */
static void
quote_to_rows(const ImSender *sender, ImCall *call, const ImHttpCall *http_call)
{
	quote_unreadable(call, http_call);
	hide_signature(call->reply.info, sender->sig_beginning);
	for (int i = 0; i < call->nrows; i++)
		strlcpy(call->rows[i]->info, call->reply.info, sizeof(call->rows[i]->info));
}

/* Reads the answer into the call, whatever it is. */
static void
read_reply(ImSender *sender, ImCall *call, const ImHttpCall *http_call)
{
	/* Nothing of an earlier answer may stay. */
	call->found = IM_FOUND_UNREADABLE;
	memset(&call->reply, 0, offsetof(ImReply, info));
	call->reply.info[0] = '\0';
	call->reply.group_id[0] = '\0';
	call->reply.odd_group_id = false;
	if (http_call->failure != 0)
		im_text_clean(http_call->error, strlen(http_call->error),
					   call->reply.info, sizeof(call->reply.info));
	else
	{
		im_reply_parse(http_call->reply, http_call->reply_len, &call->reply);
		if (im_operations[call->op].read != NULL)
			read_asked(sender, call, http_call);
	}
	if (http_call->failure == 0 && !call->reply.readable && call->reply.info[0] == '\0')
		quote_unreadable(call, http_call);
	/* Over whatever words came together. */
	hide_signature(call->reply.info, sender->sig_beginning);
}

/* Judges a finished flight and counts it. */
static void
judge(ImSender *sender, Flight *flight)
{
	ImCall	   *call = flight->call;
	const ImHttpCall *http_call = flight->http_call;
	ImExchange	exchange = {
		.sent = http_call->sent,
		.http_status = http_call->status,
		.failure = http_call->failure,
		.resigned = im_signature_resigned(&sender->signatures, flight->sig_serial)
	};

	call->elapsed_us = http_call->elapsed_us;
	call->server_time = http_call->server_time;
	call->retry_after = http_call->retry_after;
	read_reply(sender, call, http_call);
	im_verdict_judge(call, &exchange);
	if (im_signature_note(&sender->signatures, flight->sig_serial, &call->verdict))
		im_sender_forget_signature(sender);
	/* After the verdict, which rows get that the answer does not name. */
	if (!im_verdict_rows(call, &exchange, http_call->reply, http_call->reply_len, sender->entries, ENTRIES_MAX))
		quote_to_rows(sender, call, http_call);
	for (int i = 0; i < call->nrows; i++)
		hide_signature(call->rows[i]->info, sender->sig_beginning);
	im_slot_count(sender->slot, call, im_operations[call->op].kind, exchange.class, http_call->elapsed_us,
				  http_call->body_len, http_call->reply_len, http_call->connected,
				  !sender->app->plain_http);
}

/* Takes a flight out of the air. */
static void
land(ImSender *sender, Flight *flight)
{
	dlist_delete(&flight->node);
	sender->nflying--;
	sender->nflying_of[flight->call->op]--;
	dlist_push_head(&sender->idle, &flight->node);
}

/* See sender.h. */
ImCall *
im_sender_next(ImSender *sender)
{
	ImHttpCall *http_call = sender->http ? im_http_next(sender->http) : NULL;
	Flight	   *flight;

	if (http_call == NULL)
		return NULL;
	flight = http_call->owner;
	/* Judged before it is closed: the answer is valid until then. */
	judge(sender, flight);
	im_http_close(sender->http, http_call);
	land(sender, flight);
	return flight->call;
}

/* See sender.h. */
ImCall *
im_sender_take_back(ImSender *sender)
{
	Flight	   *flight;

	int			op = IM_OPS - 1;

	if (sender->nqueued == 0)
		return NULL;
	while (sender->nqueued_of[op] == 0)
		op--;
	flight = dlist_container(Flight, node, dlist_tail_node(&sender->queue[op]));
	dlist_delete(&flight->node);
	sender->nqueued--;
	sender->nqueued_of[op]--;
	dlist_push_head(&sender->idle, &flight->node);
	return flight->call;
}

/* See sender.h. */
ImCall *
im_sender_give_up(ImSender *sender)
{
	Flight	   *flight;
	ImExchange	exchange = {0};

	if (sender->nflying == 0)
		return NULL;
	flight = dlist_container(Flight, node, dlist_head_node(&sender->flying));
	exchange.op = flight->call->op;
	/* Memory may have run out before it was given to the network. */
	exchange.sent = flight->http_call != NULL && flight->http_call->sent;
	exchange.failure = IM_CODE_CRASHED;
	exchange.reply = &flight->call->reply;
	exchange.group_id = "";
	flight->call->reply.readable = false;
	flight->call->reply.info[0] = '\0';
	flight->call->retry_after = 0;
	im_judge(&exchange, &flight->call->verdict);
	for (int i = 0; i < flight->call->nrows; i++)
	{
		flight->call->rows[i]->verdict = flight->call->verdict;
		flight->call->rows[i]->info[0] = '\0';
	}
	land(sender, flight);
	return flight->call;
}

/* See sender.h. */
void
im_sender_abandon(ImSender *sender)
{
	/* The network first: it must not write to what is dropped below. */
	if (sender->http != NULL)
		im_http_abandon(sender->http);
	while (im_sender_give_up(sender) != NULL)
		;
	while (im_sender_take_back(sender) != NULL)
		;
}
