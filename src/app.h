/*
 * app.h
 *	  Which IM app this database belongs to: the options of the one SERVER of
 *	  our wrapper and of its owner's USER MAPPING.
 *
 * Knows nothing of who sends.  Loading never raises for what a person can
 * have misconfigured: a problem is data, so that the worker can show it in
 * im_import_status and go on; SQL functions turn it into an ERROR with
 * im_app_raise().
 */
#ifndef IM_APP_H
#define IM_APP_H

#include "postgres.h"

#include "nodes/pg_list.h"

#include "compat.h"
#include "record.h"
#include "values.h"

/* The wrapper's name, created by the extension's script. */
#define IM_WRAPPER_NAME		"im_import"

/* Why something cannot be used, ready for ereport. Strings are palloc'd. */
typedef struct ImProblem
{
	int			sqlstate;
	char	   *message;		/* primary message, no full stop */
	char	   *hint;			/* the cure, a sentence */
} ImProblem;

typedef struct ImApp
{
	char	   *server_name;
	int64		sdkappid;
	char	   *base_url;		/* scheme, host and port; no trailing slash */
	bool		plain_http;		/* base_url is http:// on a loopback address */
	char	   *region;			/* or NULL if endpoint is set */
	double		rate_limit;		/* calls per second of a command without its own */
	double		rates[IM_KINDS];	/* calls per second of a kind's command; 0: rate_limit */
	double		audit_rate;		/* of the list of groups; 0: what is documented */
	int			batch[IM_KINDS];	/* rows a call; 0: the command's own */
	bool		keep_equal_seconds; /* messages of one second go with that time */
	int64		max_time_shift; /* seconds by which a message may go later */
	int			message_bytes;	/* of a MsgBody */
	bool		recent_contact; /* messages refresh the members' conversation lists */
	bool		rate_limit_given;	/* the option is set, not the default */
	int64		groups_per_day; /* 0: no budget */
	int			max_in_flight;
	int			request_timeout_ms;
	int			max_attempts;
	bool		assigned_ids;	/* group_ids 'assigned' */
	bool		continue_after_promotion;
	bool		has_home;		/* the server says in which database ... */
	int64		home;			/* ... it was made, see im_origin() */
	ImTextLimits text_limits;
	char	   *ca_file;		/* or the system's bundle */
	char	   *identifier;		/* UTF-8 */
	char	   *secret_key_file;	/* or NULL */
	char	   *secret_key;		/* or NULL; only one of the two is set */
} ImApp;

/*
 * Loads the app's options into ctx.  Returns NULL and fills *problem if there
 * is no server, more than one, no mapping, or an option is missing.  Needs a
 * transaction.
 */
extern ImApp *im_app_load(MemoryContext ctx, ImProblem *problem);

/* Frees what im_app_load() returned, overwriting the key. NULL is allowed. */
extern void im_app_free(ImApp *app);

/*
 * Copies the secret key to key (IM_KEY_MAX + 1 bytes) and returns its length,
 * or -1 and *problem: file missing, wrong owner or mode (as for
 * ssl_key_file), empty, too long, not a regular file.  White space around the
 * key is dropped.  The caller must im_usersig_cleanse() it.
 */
extern int	im_app_read_key(const ImApp *app, char *key, ImProblem *problem);

/* Calls per second of an operation. */
extern double im_app_rate(const ImApp *app, ImOp op);

/* Rows in one call of a kind. */
extern int	im_app_batch(const ImApp *app, ImKind kind);

/* True if the key file is another than at the last im_app_read_key(). */
extern bool im_app_key_changed(const ImApp *app);

/*
 * A number that changes with the file of this name: its content, owner or
 * mode.  For the launcher, which watches the key file of a held up import.
 */
extern uint64 im_key_file_stamp(const char *path);

/* That of the key file at the last im_app_read_key(). */
extern uint64 im_app_key_stamp(void);

/*
 * True once after options of a server, mapping or wrapper may have changed.
 * The first call installs the invalidation callbacks and returns true.
 */
extern bool im_app_stale(void);

/*
 * Goes up whenever options may have changed: for who keeps something derived
 * from them, without taking im_app_stale()'s one answer from others.
 */
extern uint64 im_app_generation(void);

/*
 * What encoding a record needs to know of the server, mapping or not; the
 * defaults if there is none or more than one.  Needs a transaction.
 */
extern void im_app_encoding(ImTextLimits *limits, int *message_bytes, bool *assigned_ids);

/*
 * In which database the one server was made, as it says; false if it does not
 * say, or there is none or more than one.  Needs a transaction.
 */
extern bool im_app_home(int64 *home);

/*
 * Notes in a server of the wrapper that it was made in the database of that
 * origin: with again also if it says otherwise.  Name NULL means the one
 * server; one of another wrapper is left alone.  The user must own it.
 */
extern void im_app_note_home(const char *name, int64 origin, bool again);

/*
 * What the wrapper's validator function does: raises an ERROR for a bad,
 * unknown or missing option and for a lacking right, else rings.  options is
 * the final list, as after an ALTER; catalog is that of the object.
 */
extern void im_app_validate(List *options, Oid catalog);

/* Raises a problem as an ERROR. */
pg_noreturn extern void im_app_raise(const ImProblem *problem);

/*
 * Registers what the validator calls so that a change reaches the worker when
 * it commits (shared.c knows how, but is no business of this file).
 */
extern void im_app_on_change(void (*ring) (void));

#endif							/* IM_APP_H */
