/*
 * http.h
 *	  Runs a changing set of HTTPS POSTs beside latch, interrupts and
 *	  postmaster death.
 *
 * The only user of libcurl.  Knows nothing of the IM service, JSON or SQL.
 * What went wrong is data in the call, never an ERROR; only running out of
 * memory and a libcurl that cannot start raise.
 */
#ifndef IM_HTTP_H
#define IM_HTTP_H

#include "postgres.h"

#define IM_HTTP_ERROR_MAX	256

typedef struct ImHttp ImHttp;

/* One POST.  Obtained by im_http_open(), given back by im_http_close(). */
typedef struct ImHttpCall
{
	/* Set by the caller; target and body must stay until it is done. */
	const char *target;			/* path and query */
	const char *body;
	size_t		body_len;
	size_t		reply_cap;		/* bytes; a longer answer is a failure */
	void	   *owner;			/* the caller's own */

	/* What happened. */
	bool		sent;			/* a byte of the body was handed to the network;
								 * false proves that nothing was applied */
	int			status;			/* HTTP status, 0 if none came */
	int			failure;		/* an ImOwnCode, or 0 */
	char		error[IM_HTTP_ERROR_MAX];	/* in words; never holds the URL */
	char	   *reply;			/* valid until im_http_close(); terminated */
	size_t		reply_len;
	int64		elapsed_us;		/* from im_http_start() */
	bool		connected;		/* a new connection was made for it */
	int64		server_time;	/* UNIX seconds of the Date header, 0: none */
	int			retry_after;	/* seconds that HTTP 429 or 503 asks to wait, at
								 * most a day; 0: it does not say */
} ImHttpCall;

/* What all calls of one ImHttp share. */
typedef struct ImHttpSettings
{
	const char *base_url;		/* scheme, host and port */
	const char *ca_file;		/* NULL: the system's bundle */
	int			timeout_ms;		/* of a whole call */
	bool		plain_http;		/* http:// instead of https:// */
	int			max_connections;
} ImHttpSettings;

/*
 * Makes a multiplexer in the current memory context, which must be at least
 * as long-lived as its use; its reset closes sockets and frees libcurl's
 * memory.  Not to be used in the postmaster.
 */
extern ImHttp *im_http_create(const ImHttpSettings *settings);

/*
 * True if the file of CA certificates is not the one of im_http_create(), or has
 * other content: libcurl goes on with what it read once, so make a new ImHttp.
 */
extern bool im_http_outdated(const ImHttp *http);

/* An idle call with its fields cleared. */
extern ImHttpCall *im_http_open(ImHttp *http);

/* Has a call leave with the next im_http_wait(), together with all others. */
extern void im_http_start(ImHttp *http, ImHttpCall *call);

/*
 * Moves transfers on, then sleeps until a socket is ready, the latch is set or
 * timeout_ms have passed (-1: no limit), and moves transfers on again.  Does
 * not sleep if a call is done.  Exits the process if the postmaster died.  The
 * caller resets the latch and checks for interrupts.  Works without calls in
 * flight too: the worker has no other wait.
 */
extern void im_http_wait(ImHttp *http, long timeout_ms);

/*
 * Of a call whose body began to leave during the last im_http_wait(), but well
 * after im_http_start(), because it had to make a connection: when it was
 * started, in microseconds of the monotonic clock.  Each is told once; 0: no
 * more.
 */
extern int64 im_http_next_late(ImHttp *http, void **owner);

/* The next call that is done, or NULL. */
extern ImHttpCall *im_http_next(ImHttp *http);
extern void im_http_close(ImHttp *http, ImHttpCall *call);

/* Drops all calls in flight, unanswered: after an ERROR left them behind. */
extern void im_http_abandon(ImHttp *http);

/* Version of the libcurl that is loaded, as it tells itself. */
extern const char *im_http_version(void);

#endif							/* IM_HTTP_H */
