/*
 * functions.h
 *	  A SQL function's record argument, for the functions that take one.
 */
#ifndef IM_FUNCTIONS_H
#define IM_FUNCTIONS_H

#include "postgres.h"

#include "fmgr.h"

#include "record.h"

/* A record and what its type means; all but the values lives in fn_extra. */
typedef struct ImRecord
{
	Datum	   *values;
	bool	   *nulls;
	TupleDesc	desc;
	const ImCommand *command;
	ImRecordMap *map;
	int			id_column;		/* index of a bigint column "id", or -1 */
	int			row_key_column; /* index of a uuid column "row_key", or -1 */
	ImTextLimits limits;		/* of the configured app, else the page's */
	int			message_bytes;	/* the same */
	bool		assigned_ids;	/* option group_ids 'assigned' */
	uint64		shape;			/* tells one record type from another */
	uint64		generation;		/* of the options */
	bool		told;			/* of columns that are not sent */
	MemoryContext context;
} ImRecord;

/*
 * Takes a record argument apart.  Raises an ERROR if it lacks a column that
 * the command requires.  What the type means is looked up once and kept in fn_extra, and
 * again if a later call brings another type; fn_extra is ours alone.
 */
extern ImRecord *im_record_arg(FunctionCallInfo fcinfo, int argno, const ImCommand *command);

/*
 * True if the record carries an outbox row's id and row_key, and so is that
 * row.  id and row_key (16 bytes, not copied) may be NULL.
 */
extern bool im_record_is_row(const ImRecord *record, int64 *id, const unsigned char **row_key);

#endif							/* IM_FUNCTIONS_H */
