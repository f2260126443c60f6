/*
 * identity.h
 *	  Which database this is, whether the app's server was made in it, and what
 *	  a table of the extension must look like to be read from C.
 */
#ifndef IM_IDENTITY_H
#define IM_IDENTITY_H

#include "postgres.h"

#include "access/tupdesc.h"

/* The extension's row in pg_extension. */
typedef struct ImExtension
{
	Oid			schema;
	Oid			owner;
	bool		known;			/* a version that this library knows */
} ImExtension;

/* False if the extension is not in this database.  Needs a transaction. */
extern bool im_extension_read(ImExtension *extension);

/*
 * Identity of this database: system identifier, oid, and the random bits of
 * _im_identity, folded.  Needs a transaction, but only at the first time
 * and after the extension was made anew.
 */
extern int64 im_origin(void);

/*
 * True if the server of the app was made in another database than this one, so
 * that nothing may be sent before somebody says so.  Needs a transaction.
 */
extern bool im_origin_elsewhere(void);

/*
 * Raises an ERROR unless each of a relation's columns that C reads by their
 * type is what the extension made it; name is shown.  Columns that desc does
 * not have are no concern here.
 */
extern void im_check_columns(TupleDesc desc, const char *name);

#endif							/* IM_IDENTITY_H */
