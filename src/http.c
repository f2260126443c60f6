/*
 * http.c
 *	  Runs a changing set of HTTPS POSTs beside latch, interrupts and
 *	  postmaster death.
 *
 * Six rules that the code alone would not tell:
 *
 * libcurl repeats a POST by itself when a reused connection dies before the
 * first byte of the answer, although the service may have applied it.  It
 * does so only if it can rewind the body.  So the body comes from a read
 * callback, and the seek callback refuses: the transfer then fails with
 * "rewind failed", which is an unknown outcome.  The same read callback is
 * the proof that nothing was sent: it was never called.
 *
 * libcurl's sockets live in an epoll set of our own, and that set's
 * descriptor is one event in PostgreSQL's wait set, beside the latch and the
 * postmaster's death.  So a network wait absorbs barriers and shuts down like
 * any other wait of the server.
 *
 * libcurl may start a thread for name resolution.  The thread inherits the
 * signal mask, and a PostgreSQL handler must never run in it: every signal is
 * blocked while libcurl runs.
 *
 * A call's time is judged here, after the sockets were read, and not by libcurl,
 * which looks at its clock first: after a machine was suspended it would throw
 * away answers that lie in the sockets.
 *
 * libcurl's words never stand alone in an error, and where they would look like
 * a fault of ours ("seek callback returned error 1") they are left out.
 *
 * Callbacks only record.  None of them may raise an ERROR, nor allocate from a
 * memory context, which may raise one: a longjmp through libcurl leaves it
 * broken.
 */
#include "postgres.h"

#include <curl/curl.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "lib/ilist.h"
#include "miscadmin.h"
#include "portability/instr_time.h"
#include "storage/latch.h"
#include "utils/memutils.h"

#include "call.h"
#include "compat.h"
#include "failpoint.h"
#include "http.h"
#include "sockets.h"

#define CONNECT_TIMEOUT_MS	5000L
#define HEADERS_MAX			(64 * 1024)
#define DATE_MAX			40	/* a Date header's value has 29 characters */
#define RETRY_AFTER_MAX		86400	/* seconds; who says more means a day */
#define EVENTS_AT_ONCE		64
#define ROUNDS_MAX			64	/* of so many events before timers are looked at */
#define LATE_US				1000	/* a body that leaves so long after the start */
#define UPLOAD_BUFFER		16384L	/* libcurl's least; its 64 kB cost a brk() each */
#define LIBCURL_SHOWN		110 /* bytes of libcurl's text in an error */
#define DOWNLOAD_BUFFER		4096L
#define REPLY_ROOM			4096	/* for an answer, at first; most have less */
#define REPLY_KEPT			(16 * 1024) /* more than this is given back */
#define STALLED_US			1000000 /* so late, we were stopped or busy ... */
#define GRACE_US			1000000 /* ... and answers may still be on their way */
#define CONNECTING_US		200000	/* who connects for so long is called again */
#define DEBIAN_CA_FILE		"/etc/ssl/certs/ca-certificates.crt"

/* A call and what libcurl needs for it; kept and reused. */
typedef struct Transfer
{
	ImHttpCall	call;			/* must be first: callers hold its address */
	CURL	   *easy;
	size_t		read_at;		/* next byte of the body to be read */
	size_t		header_bytes;
	char		date[DATE_MAX + 1]; /* the Date header's value, or "" */
	char		retry_after[DATE_MAX + 1];	/* that of Retry-After, or "" */
	size_t		reply_room;		/* allocated for call.reply */
	bool		overflow;		/* answer over a cap */
	bool		no_memory;		/* no room for more of the answer */
	bool		worn;			/* it failed: see renew_easy() */
	int			local_errno;	/* why this machine had no socket for it, or 0 */
	bool		in_flight;		/* in libcurl's hands */
	int64		opened_us;		/* it opened a socket then, 0: it did not */
	bool		fresh;			/* on a new connection: the one at hand was closed */
	int64		started_us;
	ImHttp	   *http;
	struct Transfer *next_late;
	char		curl_error[CURL_ERROR_SIZE];
	dlist_node	node;			/* in starting, done or free */
	struct Transfer *next_all;
} Transfer;

struct ImHttp
{
	CURLM	   *multi;
	struct curl_slist *headers;
	char	   *base_url;
	char	   *ca_file;
	long		timeout_ms;
	struct stat ca_stat;		/* of ca_file, all 0 if it is not there */
	bool		plain_http;
	int			epoll_fd;
	WaitEventSet *wait_set;
	int64		timer_at;		/* libcurl wants to run then; -1: never */
	int64		overdue_at;		/* no call's time is over before; 0: none flies */
	int			in_flight;		/* started, not yet handed out */
	ImSockets	sockets;		/* libcurl's, to see which were closed */
	char		date[DATE_MAX + 1]; /* the last Date header's value ... */
	int64		date_time;		/* ... in UNIX seconds */
	dlist_head	starting;		/* to be given to libcurl at the next wait */
	dlist_head	done;			/* to be handed out */
	dlist_head	free;
	Transfer   *late;			/* whose bodies began to leave late, in this wait */
	Transfer   *all;
	MemoryContextCallback cleanup;
};

/* Monotonic time in microseconds. */
static int64
now_us(void)
{
	instr_time	now;

	INSTR_TIME_SET_CURRENT(now);
	return (int64) INSTR_TIME_GET_MICROSEC(now);
}

/* Blocks every signal while libcurl runs; see the header. */
static void
enter_curl(sigset_t *saved)
{
	sigset_t	all;

	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, saved);
}

/* Ends enter_curl(). */
static void
leave_curl(const sigset_t *saved)
{
	sigprocmask(SIG_SETMASK, saved, NULL);
}

/* Only the scheme that the settings name, in the words of this libcurl. */
static void
set_protocols(CURL *easy, bool plain_http)
{
#if LIBCURL_VERSION_NUM >= 0x075500
	curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, plain_http ? "http" : "https");
#else
	curl_easy_setopt(easy, CURLOPT_PROTOCOLS,
					 (long) (plain_http ? CURLPROTO_HTTP : CURLPROTO_HTTPS));
#endif
}

/* Not to wait at cleanup for a resolver thread that sits in getaddrinfo(). */
static void
set_quick_exit(CURL *easy)
{
#if LIBCURL_VERSION_NUM >= 0x075700
	curl_easy_setopt(easy, CURLOPT_QUICK_EXIT, 1L);
#else
	(void) easy;
#endif
}

/* The first byte of a body leaves: notes it if that is long after the start. */
static void
note_sent(Transfer *transfer)
{
	transfer->call.sent = true;
	if (now_us() - transfer->started_us < LATE_US)
		return;
	transfer->next_late = transfer->http->late;
	transfer->http->late = transfer;
}

/* curl_multi_socket_all() without the warning: see help_connecting(). */
static void
multi_socket_all(CURLM *multi, int *running)
{
#if LIBCURL_VERSION_NUM >= 0x075700
	CURL_IGNORE_DEPRECATION(curl_multi_socket_all(multi, running);)
#else
	curl_multi_socket_all(multi, running);
#endif
}

/* Callback: hands the body out.  That it is called at all is what counts. */
static size_t
read_body(char *buffer, size_t size, size_t nitems, void *arg)
{
	Transfer   *transfer = arg;
	size_t		n = Min(size * nitems, transfer->call.body_len - transfer->read_at);

	/* Before the first byte is handed out: false must prove that none was. */
	if (!transfer->call.sent)
		note_sent(transfer);
	memcpy(buffer, transfer->call.body + transfer->read_at, n);
	transfer->read_at += n;
	return n;
}

/* Callback: refuses to rewind, so that libcurl never sends a body twice. */
static int
refuse_seek(void *arg, curl_off_t offset, int origin)
{
	(void) arg;
	(void) offset;
	(void) origin;
	return CURL_SEEKFUNC_FAIL;
}

/*
 * Room for so many bytes of an answer and a terminator; false without memory.
 * Outside PostgreSQL's memory contexts because a callback calls it.  It grows
 * with the answer: at its cap each of many connections would hold a megabyte,
 * which malloc() takes from pages that transactions have used before.
 */
static bool
make_room(Transfer *transfer, size_t bytes)
{
	size_t		room = Max(transfer->reply_room, REPLY_ROOM);
	char	   *bigger;

	while (room <= bytes)
		room *= 2;
	if (room == transfer->reply_room)
		return true;
	bigger = realloc(transfer->call.reply, room);
	if (bigger == NULL)
		return false;
	transfer->call.reply = bigger;
	transfer->reply_room = room;
	return true;
}

/* Gives the room of a large answer back: few are large. */
static void
shrink_room(Transfer *transfer)
{
	if (transfer->reply_room <= REPLY_KEPT)
		return;
	free(transfer->call.reply);
	transfer->call.reply = NULL;
	transfer->reply_room = 0;
}

/* Callback: keeps the answer, up to the cap. */
static size_t
write_reply(char *data, size_t size, size_t nmemb, void *arg)
{
	Transfer   *transfer = arg;
	ImHttpCall *call = &transfer->call;
	size_t		n = size * nmemb;

	/* To return less than was offered ends the transfer: no ERROR may be raised. */
	if (n > call->reply_cap - call->reply_len)
	{
		transfer->overflow = true;
		return 0;
	}
	if (!make_room(transfer, call->reply_len + n))
	{
		transfer->no_memory = true;
		return 0;
	}
	memcpy(call->reply + call->reply_len, data, n);
	call->reply_len += n;
	return n;
}

/* Keeps a header's value, if it is the one of that name; data has no terminator. */
static void
note_header(char *value, const char *name, const char *data, size_t len)
{
	size_t		skip = strlen(name);

	if (len <= skip || pg_strncasecmp(data, name, skip) != 0 || len - skip > DATE_MAX)
		return;
	memcpy(value, data + skip, len - skip);
	value[len - skip] = '\0';
}

/* Callback: endless headers end here. */
static size_t
count_header(char *data, size_t size, size_t nmemb, void *arg)
{
	Transfer   *transfer = arg;

	note_header(transfer->date, "date:", data, size * nmemb);
	note_header(transfer->retry_after, "retry-after:", data, size * nmemb);
	transfer->header_bytes += size * nmemb;
	if (transfer->header_bytes <= HEADERS_MAX)
		return size * nmemb;
	transfer->overflow = true;
	return 0;
}

/*
 * Callback: a socket; if there is none, notes why, which libcurl does not
 * tell.  An address family that the machine lacks is no reason: libcurl goes
 * on to the next address.
 */
static curl_socket_t
open_socket(void *arg, curlsocktype purpose, struct curl_sockaddr *address)
{
	Transfer   *transfer = arg;
	int			fd = socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);

	(void) purpose;
	if (fd < 0 && errno != EAFNOSUPPORT)
		transfer->local_errno = errno;
	transfer->opened_us = now_us();
	if (fd < 0)
		return CURL_SOCKET_BAD;
	im_sockets_add(&transfer->http->sockets, fd);
	return fd;
}

/* Callback: closes a socket of open_socket(). */
static int
close_socket(void *arg, curl_socket_t fd)
{
	ImHttp	   *http = arg;

	/* Out of the list first: the number may be another socket's at once. */
	im_sockets_remove(&http->sockets, fd);
	return close(fd);
}

/*
 * Callback: a request is about to leave.  Not on a connection that the service
 * has closed, which libcurl may not have noticed; see restart().
 */
static int
before_request(void *arg, char *their_address, char *our_address, int their_port, int our_port)
{
	Transfer   *transfer = arg;

	(void) their_address;
	(void) our_address;
	(void) their_port;
	if (transfer->fresh || !im_sockets_closed(&transfer->http->sockets, our_port))
		return CURL_PREREQFUNC_OK;
	transfer->fresh = true;
	return CURL_PREREQFUNC_ABORT;
}

/*
 * Callback: libcurl wants to watch a socket, otherwise, or no more.  If that
 * cannot be, the one transfer times out: an error told to libcurl would end
 * all the others, too, with outcomes unknown.
 */
static int
watch_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *socket_arg)
{
	ImHttp	   *http = arg;
	struct epoll_event event = {0};
	Transfer   *transfer = NULL;

	if (what == CURL_POLL_REMOVE)
	{
		epoll_ctl(http->epoll_fd, EPOLL_CTL_DEL, fd, &event);
		return 0;
	}
	event.data.fd = fd;
	if (what & CURL_POLL_IN)
		event.events |= EPOLLIN;
	if (what & CURL_POLL_OUT)
		event.events |= EPOLLOUT;
	if (socket_arg != NULL)
	{
		if (epoll_ctl(http->epoll_fd, EPOLL_CTL_MOD, fd, &event) == 0)
			return 0;
	}
	else if (epoll_ctl(http->epoll_fd, EPOLL_CTL_ADD, fd, &event) == 0)
	{
		curl_multi_assign(http->multi, fd, http);	/* socket_arg from now on */
		return 0;
	}
	if (curl_easy_getinfo(easy, CURLINFO_PRIVATE, (char **) &transfer) == CURLE_OK && transfer != NULL)
		transfer->local_errno = errno;
	return 0;
}

/* Callback: libcurl wants to run again after so many milliseconds. */
static int
set_timer(CURLM *multi, long timeout_ms, void *arg)
{
	ImHttp	   *http = arg;

	(void) multi;
	http->timer_at = timeout_ms < 0 ? -1 : now_us() + (int64) timeout_ms * 1000;
	return 0;
}

/*
 * Starts libcurl, once in a process.  Environment variables could make it log
 * TLS keys; nothing of the sort is wanted of a server.
 */
static void
init_curl(void)
{
	static bool done = false;
	sigset_t	saved;
	CURLcode	result;

	if (done)
		return;
	unsetenv("SSLKEYLOGFILE");
	enter_curl(&saved);
	result = curl_global_init(CURL_GLOBAL_DEFAULT);
	leave_curl(&saved);
	if (result != CURLE_OK)
		ereport(ERROR,
				(errcode(ERRCODE_SYSTEM_ERROR),
				 errmsg("could not start libcurl: %s", curl_easy_strerror(result)),
				 errhint("Reinstall the package libcurl4, and restart the server.")));
	done = true;
}

/*
 * Frees what a memory context cannot: called when the context is reset, and
 * harmless a second time.
 */
static void
release(void *arg)
{
	ImHttp	   *http = arg;
	sigset_t	saved;

	enter_curl(&saved);
	for (Transfer *transfer = http->all; transfer != NULL; transfer = transfer->next_all)
	{
		if (transfer->in_flight)
			curl_multi_remove_handle(http->multi, transfer->easy);
		curl_easy_cleanup(transfer->easy);
		free(transfer->call.reply);
	}
	http->all = NULL;
	dlist_init(&http->starting);
	dlist_init(&http->done);
	dlist_init(&http->free);
	if (http->multi != NULL)
		curl_multi_cleanup(http->multi);
	http->multi = NULL;
	/* After the multi handle, whose end still closes connections by our callback. */
	im_sockets_free(&http->sockets);
	curl_slist_free_all(http->headers);
	http->headers = NULL;
	leave_curl(&saved);
	if (http->wait_set != NULL)
		FreeWaitEventSet(http->wait_set);
	http->wait_set = NULL;
	/* After the wait set that watches it. */
	if (http->epoll_fd >= 0)
		close(http->epoll_fd);
	http->epoll_fd = -1;
}

/* Latch, postmaster death and libcurl's sockets in one wait. */
static void
make_wait_set(ImHttp *http)
{
	http->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (http->epoll_fd < 0)
		ereport(ERROR,
				(errcode_for_socket_access(),
				 errmsg("could not create an epoll descriptor: %m"),
				 errhint("Raise the limit of open files of the server's service (ulimit -n), or lower max_files_per_process.")));
	http->wait_set = im_create_wait_set(3);
	AddWaitEventToSet(http->wait_set, WL_LATCH_SET, PGINVALID_SOCKET, MyLatch, NULL);
	AddWaitEventToSet(http->wait_set, WL_EXIT_ON_PM_DEATH, PGINVALID_SOCKET, NULL, NULL);
	AddWaitEventToSet(http->wait_set, WL_SOCKET_READABLE, http->epoll_fd, NULL, NULL);
}

/* Makes libcurl's multi handle and the headers that all calls share. */
static bool
make_multi(ImHttp *http, int max_connections)
{
	http->multi = curl_multi_init();
	http->headers = curl_slist_append(NULL, "Content-Type: application/json; charset=utf-8");
	if (http->multi == NULL || http->headers == NULL)
		return false;
	/* No "Expect: 100-continue", which would cost a round trip. */
	if (curl_slist_append(http->headers, "Expect:") == NULL)
		return false;
	curl_multi_setopt(http->multi, CURLMOPT_SOCKETFUNCTION, watch_socket);
	curl_multi_setopt(http->multi, CURLMOPT_SOCKETDATA, http);
	curl_multi_setopt(http->multi, CURLMOPT_TIMERFUNCTION, set_timer);
	curl_multi_setopt(http->multi, CURLMOPT_TIMERDATA, http);
	curl_multi_setopt(http->multi, CURLMOPT_MAXCONNECTS, (long) max_connections);
	/* One request at a time on a connection: no answer waits behind another. */
	curl_multi_setopt(http->multi, CURLMOPT_PIPELINING, (long) CURLPIPE_NOTHING);
	return true;
}

/* What stat() says of a file; all 0 if there is none. */
static void
look_at_file(const char *path, struct stat *found)
{
	memset(found, 0, sizeof(*found));
	if (stat(path, found) != 0)
		memset(found, 0, sizeof(*found));
}

/* See http.h. */
bool
im_http_outdated(const ImHttp *http)
{
	const struct stat *then = &http->ca_stat;
	struct stat now;

	if (http->plain_http)
		return false;
	look_at_file(http->ca_file, &now);
	return now.st_dev != then->st_dev || now.st_ino != then->st_ino || now.st_size != then->st_size ||
		now.st_mtim.tv_sec != then->st_mtim.tv_sec || now.st_mtim.tv_nsec != then->st_mtim.tv_nsec ||
		now.st_ctim.tv_sec != then->st_ctim.tv_sec || now.st_ctim.tv_nsec != then->st_ctim.tv_nsec;
}

/* See http.h. */
ImHttp *
im_http_create(const ImHttpSettings *settings)
{
	ImHttp	   *http;
	sigset_t	saved;
	bool		ok;

	init_curl();
	http = palloc0(sizeof(ImHttp));
	/* What release() needs, which may be called from here on. */
	http->epoll_fd = -1;
	http->timer_at = -1;
	dlist_init(&http->starting);
	dlist_init(&http->done);
	dlist_init(&http->free);
	http->timeout_ms = settings->timeout_ms;
	http->plain_http = settings->plain_http;
	http->base_url = psprintf("%s/", settings->base_url);
	http->ca_file = pstrdup(settings->ca_file ? settings->ca_file : DEBIAN_CA_FILE);
	look_at_file(http->ca_file, &http->ca_stat);
	http->cleanup.func = release;
	http->cleanup.arg = http;
	/* Before libcurl allocates anything: an ERROR below leaks nothing. */
	MemoryContextRegisterResetCallback(CurrentMemoryContext, &http->cleanup);

	enter_curl(&saved);
	ok = make_multi(http, settings->max_connections);
	leave_curl(&saved);
	if (!ok)
		ereport(ERROR,
				(errcode(ERRCODE_OUT_OF_MEMORY),
				 errmsg("out of memory"),
				 errdetail("libcurl could not allocate a multi handle.")));
	make_wait_set(http);
	return http;
}

/* What never changes for an easy handle: what is sent. */
static void
set_request_options(Transfer *transfer, const ImHttp *http)
{
	CURL	   *easy = transfer->easy;

	/*
	 * The URL is set once and has no query: libcurl parses and prints a URL
	 * several times for each request, and none of its messages can then show
	 * what the query holds.
	 */
	curl_easy_setopt(easy, CURLOPT_URL, http->base_url);
	curl_easy_setopt(easy, CURLOPT_UPLOAD_BUFFERSIZE, UPLOAD_BUFFER);
	curl_easy_setopt(easy, CURLOPT_BUFFERSIZE, DOWNLOAD_BUFFER);
	curl_easy_setopt(easy, CURLOPT_PRIVATE, transfer);
	curl_easy_setopt(easy, CURLOPT_POST, 1L);
	curl_easy_setopt(easy, CURLOPT_HTTPHEADER, http->headers);
	curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, open_socket);
	curl_easy_setopt(easy, CURLOPT_OPENSOCKETDATA, transfer);
	curl_easy_setopt(easy, CURLOPT_CLOSESOCKETFUNCTION, close_socket);
	curl_easy_setopt(easy, CURLOPT_CLOSESOCKETDATA, http);
	curl_easy_setopt(easy, CURLOPT_PREREQFUNCTION, before_request);
	curl_easy_setopt(easy, CURLOPT_PREREQDATA, transfer);
	curl_easy_setopt(easy, CURLOPT_READFUNCTION, read_body);
	curl_easy_setopt(easy, CURLOPT_READDATA, transfer);
	curl_easy_setopt(easy, CURLOPT_SEEKFUNCTION, refuse_seek);
	curl_easy_setopt(easy, CURLOPT_SEEKDATA, transfer);
	curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, write_reply);
	curl_easy_setopt(easy, CURLOPT_WRITEDATA, transfer);
	curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, count_header);
	curl_easy_setopt(easy, CURLOPT_HEADERDATA, transfer);
	curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, transfer->curl_error);
	curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long) CURL_HTTP_VERSION_1_1);
	curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, Min(http->timeout_ms, CONNECT_TIMEOUT_MS));
}

/* What never changes for an easy handle: whom we trust, and nobody else. */
static void
set_trust_options(Transfer *transfer, const ImHttp *http)
{
	CURL	   *easy = transfer->easy;

	curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
	/* A redirect would give body and UserSig to somebody else. */
	curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L);
	curl_easy_setopt(easy, CURLOPT_PROXY, "");	/* also none from the environment */
	curl_easy_setopt(easy, CURLOPT_NETRC, (long) CURL_NETRC_IGNORED);
	curl_easy_setopt(easy, CURLOPT_HTTP09_ALLOWED, 0L);
	curl_easy_setopt(easy, CURLOPT_DISALLOW_USERNAME_IN_URL, 1L);
	set_protocols(easy, http->plain_http);
	curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, 1L);
	curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, 2L);
	curl_easy_setopt(easy, CURLOPT_SSLVERSION, (long) CURL_SSLVERSION_TLSv1_2);

	/*
	 * A default CAPATH would make libcurl parse the whole bundle anew for
	 * each connection (19 ms of CPU): it caches only without one.
	 */
	curl_easy_setopt(easy, CURLOPT_CAPATH, NULL);
	curl_easy_setopt(easy, CURLOPT_CAINFO, http->ca_file);
	set_quick_exit(easy);
}

/*
 * Gives a transfer a new easy handle; false without memory.  What failed once
 * may leave something behind.  libcurl 8.7 to 8.15 keeps a refused rewind on
 * the handle: it tries to rewind before each later transfer, and fails, and
 * curl_easy_reset() does not clear that.  Connections, names and TLS sessions
 * belong to the multi handle, and stay.
 */
static bool
renew_easy(ImHttp *http, Transfer *transfer)
{
	sigset_t	saved;

	enter_curl(&saved);
	curl_easy_cleanup(transfer->easy);
	transfer->easy = curl_easy_init();
	if (transfer->easy != NULL)
	{
		set_request_options(transfer, http);
		set_trust_options(transfer, http);
		transfer->worn = false;
	}
	leave_curl(&saved);
	return transfer->easy != NULL;
}

/* Makes a transfer, or returns NULL without memory. */
static Transfer *
make_transfer(ImHttp *http)
{
	Transfer   *transfer = MemoryContextAllocZero(GetMemoryChunkContext(http), sizeof(Transfer));

	if (!renew_easy(http, transfer))
		return NULL;
	transfer->http = http;
	transfer->next_all = http->all;
	http->all = transfer;
	return transfer;
}

/* A transfer that was used before and can be used again, or a new one, or NULL without memory. */
static Transfer *
take_transfer(ImHttp *http)
{
	Transfer   *transfer;

	if (dlist_is_empty(&http->free))
		return make_transfer(http);
	transfer = dlist_container(Transfer, node, dlist_pop_head_node(&http->free));
	if (!transfer->worn || renew_easy(http, transfer))
		return transfer;
	dlist_push_head(&http->free, &transfer->node);
	return NULL;
}

/* See http.h. */
ImHttpCall *
im_http_open(ImHttp *http)
{
	Transfer   *transfer = take_transfer(http);
	char	   *reply;

	if (transfer == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OUT_OF_MEMORY),
				 errmsg("out of memory"),
				 errdetail("libcurl could not allocate an easy handle.")));
	/* The room for an answer stays with the transfer. */
	reply = transfer->call.reply;
	memset(&transfer->call, 0, sizeof(ImHttpCall));
	transfer->call.reply = reply;
	return &transfer->call;
}

/* See http.h. */
void
im_http_start(ImHttp *http, ImHttpCall *call)
{
	Transfer   *transfer = (Transfer *) call;

	/* Room for the terminator, which is put even if nothing comes. */
	if (!make_room(transfer, 0))
		ereport(ERROR,
				(errcode(ERRCODE_OUT_OF_MEMORY),
				 errmsg("out of memory")));
	transfer->read_at = 0;
	transfer->header_bytes = 0;
	transfer->date[0] = '\0';
	transfer->retry_after[0] = '\0';
	transfer->overflow = false;
	transfer->no_memory = false;
	transfer->local_errno = 0;
	transfer->opened_us = 0;
	transfer->fresh = false;
	transfer->curl_error[0] = '\0';
	transfer->started_us = now_us();
	/* All have the same time, so the first one started is the first one over. */
	if (http->overdue_at == 0)
		http->overdue_at = transfer->started_us + http->timeout_ms * 1000;
	dlist_push_tail(&http->starting, &transfer->node);
	http->in_flight++;
}

/* Only for tests: a body has left completely, and its answer is not here. */
static void
note_last_byte(ImHttp *http)
{
#ifdef IM_FAILPOINTS
	for (Transfer *transfer = http->all; transfer != NULL; transfer = transfer->next_all)
		if (transfer->in_flight && transfer->call.sent &&
			transfer->read_at == transfer->call.body_len && transfer->call.reply_len == 0)
			IM_FAILPOINT("after_last_byte");
#else
	(void) http;
#endif
}

/* Why a transfer failed, as one of our codes. */
static int
failure_code(const Transfer *transfer, CURLcode result)
{
	const ImHttpCall *call = &transfer->call;

	/* First: libcurl only knows that a callback refused. */
	if (transfer->overflow)
		return call->sent ? IM_CODE_TOO_BIG : IM_CODE_NOT_SENT;
	switch (result)
	{
		case CURLE_OK:
			if (call->status == 200)
				return 0;
			return call->status == 0 ? IM_CODE_LOST : IM_CODE_HTTP;
		case CURLE_SSL_CONNECT_ERROR:
		case CURLE_PEER_FAILED_VERIFICATION:
		case CURLE_SSL_CACERT_BADFILE:
		case CURLE_SSL_ISSUER_ERROR:
		case CURLE_SSL_CERTPROBLEM:
			return call->sent ? IM_CODE_LOST : IM_CODE_TLS;
		case CURLE_OPERATION_TIMEDOUT:
			return call->sent ? IM_CODE_TIMEOUT : IM_CODE_NOT_SENT;
		default:
			return call->sent ? IM_CODE_LOST : IM_CODE_NOT_SENT;
	}
}

/* How a failure is told. */
typedef struct Words
{
	CURLcode	result;
	const char *text;
	bool		more;			/* libcurl's own text helps: it names host, port,
								 * address, certificate */
} Words;

static const Words words_unsent[] = {
	{CURLE_COULDNT_RESOLVE_HOST, "the host name could not be resolved", true},
	{CURLE_COULDNT_CONNECT, "no connection could be made", true},
	{CURLE_OPERATION_TIMEDOUT, "the connection timed out before the call was sent", true},
	{CURLE_PEER_FAILED_VERIFICATION, "the certificate is not accepted", true},
	{CURLE_SSL_ISSUER_ERROR, "the certificate is not accepted", true},
	{CURLE_SSL_CACERT_BADFILE, "the file of CA certificates cannot be used", true},
	{CURLE_SSL_CONNECT_ERROR, "no TLS connection could be made", true},
	{CURLE_OUT_OF_MEMORY, "there was no memory for the call", false},
	{CURLE_OK, "the connection was lost before the call was sent", false}
};

static const Words words_sent[] = {
	{CURLE_OPERATION_TIMEDOUT, "no answer came in time", false},
	{CURLE_PARTIAL_FILE, "the connection was lost in the middle of the answer", false},
	{CURLE_WEIRD_SERVER_REPLY, "what came back is not HTTP", false},
	{CURLE_UNSUPPORTED_PROTOCOL, "what came back is not HTTP/1.1", false},
	{CURLE_BAD_CONTENT_ENCODING, "the answer's transfer encoding cannot be read", false},
	{CURLE_OUT_OF_MEMORY, "there was no memory for the answer", false},
	{CURLE_OK, "the connection was lost before the answer was complete", false}
};

/* Our words for a result; the last line stands for all that are not named. */
static const Words *
words_for(const Transfer *transfer, CURLcode result)
{
	const Words *words = transfer->call.sent ? words_sent : words_unsent;

	while (words->result != result && words->result != CURLE_OK)
		words++;
	return words;
}

/* True if libcurl's text may be shown: it must not bring the UserSig along. */
static bool
may_show(const char *text)
{
	return text[0] != '\0' && strchr(text, '?') == NULL && strstr(text, "usersig") == NULL;
}

/* What happened, in words. */
static void
describe_event(const Transfer *transfer, CURLcode result, char *out, size_t size)
{
	const ImHttpCall *call = &transfer->call;
	const Words *words = words_for(transfer, result);

	if (transfer->overflow)
		strlcpy(out, "the answer is larger than expected", size);
	else if (transfer->no_memory)
		strlcpy(out, "there was no memory for the answer", size);
	else if (result == CURLE_OK && call->status == 0)
		strlcpy(out, "the connection was closed without an answer", size);
	else if (result == CURLE_OK && call->retry_after > 0)
		snprintf(out, size, "HTTP status %d, which asks to wait %d s", call->status, call->retry_after);
	else if (result == CURLE_OK)
		snprintf(out, size, "HTTP status %d", call->status);
	else if (transfer->local_errno != 0)
		snprintf(out, size, "no socket on this machine: %s",
				 transfer->local_errno == EMFILE || transfer->local_errno == ENFILE ?
				 "too many open files" : "not enough resources");
	else if (words->more && may_show(transfer->curl_error))
		snprintf(out, size, "%s (%.*s)", words->text, LIBCURL_SHOWN, transfer->curl_error);
	else
		strlcpy(out, words->text, size);
}

/* The failure in words: what happened, and whether the call may have been applied. */
static void
describe_failure(Transfer *transfer, CURLcode result)
{
	ImHttpCall *call = &transfer->call;
	char		event[IM_HTTP_ERROR_MAX - 40];

	describe_event(transfer, result, event, sizeof(event));
	snprintf(call->error, sizeof(call->error), "%s; %s", event,
			 call->sent ? "the call may have been applied" : "nothing was sent");
}

/* UNIX seconds of a Date header, parsed once for all answers of a second. */
static int64
server_time(ImHttp *http, const char *date)
{
	if (strcmp(http->date, date) != 0)
	{
		strlcpy(http->date, date, sizeof(http->date));
		http->date_time = Max((int64) curl_getdate(date, NULL), 0);
	}
	return http->date_time;
}

/*
 * Seconds that the answer asks to wait: a number, or a date, which is held
 * against the same answer's Date, since the clocks here and there may differ.
 */
static int
retry_after(const Transfer *transfer)
{
	const ImHttpCall *call = &transfer->call;
	const char *text = transfer->retry_after;
	int64		seconds;
	char	   *end;

	if (call->status != 429 && call->status != 503)
		return 0;
	text += strspn(text, " \t");
	if (*text >= '0' && *text <= '9')
	{
		seconds = strtol(text, &end, 10);	/* too many digits: the largest number */
		if (end[strspn(end, " \t\r\n")] != '\0')
			return 0;
	}
	else if ((seconds = (int64) curl_getdate(text, NULL)) <= 0)
		return 0;
	else
		seconds -= call->server_time != 0 ? call->server_time : (int64) time(NULL);
	return (int) Max(Min(seconds, RETRY_AFTER_MAX), 0);
}

/* Takes a finished transfer out of libcurl and notes what happened. */
static void
finish(ImHttp *http, Transfer *transfer, CURLcode result)
{
	ImHttpCall *call = &transfer->call;
	long		status = 0;
	long		connects = 0;

	curl_easy_getinfo(transfer->easy, CURLINFO_RESPONSE_CODE, &status);
	curl_easy_getinfo(transfer->easy, CURLINFO_NUM_CONNECTS, &connects);
	if (transfer->in_flight)
		curl_multi_remove_handle(http->multi, transfer->easy);
	transfer->in_flight = false;
	dlist_push_tail(&http->done, &transfer->node);

	call->status = (int) status;
	call->connected = connects > 0;
	call->server_time = server_time(http, transfer->date);
	call->retry_after = retry_after(transfer);
	call->elapsed_us = now_us() - transfer->started_us;
	call->reply[call->reply_len] = '\0';
	call->failure = failure_code(transfer, result);
	transfer->worn = call->failure != 0;
	if (call->failure != 0)
		describe_failure(transfer, result);
}

/* Starts a transfer again that before_request() stopped, on a new connection. */
static void
restart(ImHttp *http, Transfer *transfer)
{
	curl_multi_remove_handle(http->multi, transfer->easy);
	transfer->in_flight = false;
	transfer->curl_error[0] = '\0';
	dlist_push_tail(&http->starting, &transfer->node);
}

/* Gives libcurl what was started; it does nothing yet but set its timer. */
static void
start_transfers(ImHttp *http)
{
	while (!dlist_is_empty(&http->starting))
	{
		Transfer   *transfer = dlist_container(Transfer, node, dlist_pop_head_node(&http->starting));

		curl_easy_setopt(transfer->easy, CURLOPT_FRESH_CONNECT, (long) transfer->fresh);
		curl_easy_setopt(transfer->easy, CURLOPT_REQUEST_TARGET, transfer->call.target);
		curl_easy_setopt(transfer->easy, CURLOPT_POSTFIELDSIZE_LARGE,
						 (curl_off_t) transfer->call.body_len);
		transfer->in_flight = curl_multi_add_handle(http->multi, transfer->easy) == CURLM_OK;
		if (!transfer->in_flight)
			finish(http, transfer, CURLE_FAILED_INIT);
	}
}

/*
 * Calls libcurl for everything, if a call is still connecting.  libcurl (seen
 * with 7.88) leaves an address that does not answer when its timer says so, and
 * then waits to be called once more before it tries the next one; but nothing
 * would call it until the time of that one is over, too.
 */
static void
help_connecting(ImHttp *http)
{
	int64		before = now_us() - CONNECTING_US;
	int			running;

	for (Transfer *transfer = http->all; transfer != NULL; transfer = transfer->next_all)
	{
		if (!transfer->in_flight || transfer->call.sent ||
			transfer->opened_us == 0 || transfer->opened_us > before)
			continue;
		multi_socket_all(http->multi, &running);
		return;
	}
}

/* Lets libcurl work on the sockets that are ready; returns how many were. */
static int
work_on_sockets(ImHttp *http)
{
	struct epoll_event events[EVENTS_AT_ONCE];
	int			n = epoll_wait(http->epoll_fd, events, EVENTS_AT_ONCE, 0);
	int			running;		/* libcurl tells it always */

	for (int i = 0; i < n; i++)
	{
		int			what = 0;

		if (events[i].events & (EPOLLIN | EPOLLHUP))
			what |= CURL_CSELECT_IN;
		if (events[i].events & EPOLLOUT)
			what |= CURL_CSELECT_OUT;
		if (events[i].events & EPOLLERR)
			what |= CURL_CSELECT_ERR;
		curl_multi_socket_action(http->multi, events[i].data.fd, what, &running);
	}
	return n;
}

/* Lets libcurl work on its timers. */
static void
work_on_timers(ImHttp *http)
{
	int			running;

	if (http->timer_at < 0 || now_us() < http->timer_at)
		return;
	/* Cleared before the call, in which libcurl may set it again. */
	http->timer_at = -1;
	curl_multi_socket_action(http->multi, CURL_SOCKET_TIMEOUT, 0, &running);
	help_connecting(http);
}

/* Takes what libcurl is done with. */
static void
take_done(ImHttp *http)
{
	CURLMsg    *message;
	int			left;

	while ((message = curl_multi_info_read(http->multi, &left)) != NULL)
	{
		CURLcode	result = message->data.result;
		Transfer   *transfer;

		if (message->msg != CURLMSG_DONE)
			continue;
		curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, (char **) &transfer);
		/* Stopped by before_request(): no byte has left, so it can go again. */
		if (result == CURLE_ABORTED_BY_CALLBACK && transfer->fresh && !transfer->call.sent)
			restart(http, transfer);
		else
			finish(http, transfer, result);
	}
}

/*
 * Ends the calls whose time is over.  Who comes here late was stopped, with the
 * whole machine perhaps, or busy: what was read just now is not all that the
 * service had to say.
 */
static void
end_overdue(ImHttp *http)
{
	int64		now = now_us();
	int64		timeout = http->timeout_ms * 1000;
	int64		next = 0;

	if (http->overdue_at == 0 || now < http->overdue_at)
		return;
	if (now - http->overdue_at > STALLED_US)
	{
		http->overdue_at = now + GRACE_US;
		return;
	}
	for (Transfer *transfer = http->all; transfer != NULL; transfer = transfer->next_all)
	{
		if (!transfer->in_flight)
			continue;
		if (now >= transfer->started_us + timeout)
			finish(http, transfer, CURLE_OPERATION_TIMEDOUT);
		else if (next == 0 || transfer->started_us + timeout < next)
			next = transfer->started_us + timeout;
	}
	http->overdue_at = next;
}

/*
 * All of libcurl's work that is due, with the signals blocked once for it.  Its
 * timers come after the sockets, and both before anybody's time is judged.
 */
static void
perform(ImHttp *http)
{
	sigset_t	saved;
	int			rounds = 0;

	enter_curl(&saved);
	start_transfers(http);
	/* Bounded: sockets that are always ready must not keep us from the latch. */
	while (work_on_sockets(http) == EVENTS_AT_ONCE && ++rounds < ROUNDS_MAX)
		;
	work_on_timers(http);
	take_done(http);
	start_transfers(http);
	/* Last: what lay in the sockets was read first. */
	end_overdue(http);
	leave_curl(&saved);
	note_last_byte(http);
}

/* Milliseconds to sleep: no longer than libcurl's timer and the calls' time allow. */
static long
sleep_time(const ImHttp *http, long timeout_ms)
{
	int64		until = http->timer_at < 0 ? PG_INT64_MAX : http->timer_at;
	int64		left;

	if (http->overdue_at != 0)
		until = Min(until, http->overdue_at);
	if (until == PG_INT64_MAX)
		return timeout_ms;
	left = (until - now_us() + 999) / 1000;
	if (left < 0)
		left = 0;
	return timeout_ms < 0 || left < timeout_ms ? (long) left : timeout_ms;
}

/* See http.h. */
void
im_http_wait(ImHttp *http, long timeout_ms)
{
	WaitEvent	event;

	http->late = NULL;
	/* Before sleeping: only then libcurl has told what it waits for. */
	if (!dlist_is_empty(&http->starting) || (http->timer_at >= 0 && now_us() >= http->timer_at))
		perform(http);
	/* There is something to hand out: a look, but no sleep. */
	if (!dlist_is_empty(&http->done))
		timeout_ms = 0;
	/* Only the latch, and no call flies: nothing for libcurl to do. */
	if (WaitEventSetWait(http->wait_set, sleep_time(http, timeout_ms), &event, 1,
						 im_wait_event_network()) > 0 &&
		(event.events & WL_LATCH_SET) != 0 && http->in_flight == 0)
		return;
	perform(http);
}

/* See http.h. */
int64
im_http_next_late(ImHttp *http, void **owner)
{
	Transfer   *transfer = http->late;

	if (transfer == NULL)
		return 0;
	http->late = transfer->next_late;
	*owner = transfer->call.owner;
	return transfer->started_us;
}

/* See http.h. */
ImHttpCall *
im_http_next(ImHttp *http)
{
	if (dlist_is_empty(&http->done))
		return NULL;
	http->in_flight--;
	return &dlist_container(Transfer, node, dlist_pop_head_node(&http->done))->call;
}

/* See http.h. */
void
im_http_close(ImHttp *http, ImHttpCall *call)
{
	Transfer   *transfer = (Transfer *) call;

	shrink_room(transfer);
	dlist_push_head(&http->free, &transfer->node);
}

/* See http.h. */
void
im_http_abandon(ImHttp *http)
{
	sigset_t	saved;

	dlist_init(&http->starting);
	dlist_init(&http->done);
	dlist_init(&http->free);
	enter_curl(&saved);
	for (Transfer *transfer = http->all; transfer != NULL; transfer = transfer->next_all)
	{
		if (transfer->in_flight)
		{
			curl_multi_remove_handle(http->multi, transfer->easy);
			/* Cut off in the middle: its handle is not to be trusted. */
			transfer->worn = true;
		}
		transfer->in_flight = false;
		im_http_close(http, &transfer->call);
	}
	leave_curl(&saved);
	http->in_flight = 0;
	http->overdue_at = 0;
}

/* See http.h. */
const char *
im_http_version(void)
{
	return curl_version();
}
