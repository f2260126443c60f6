/*
 * postgres.h
 *	  As much of PostgreSQL's as the tables in src/cmd_*.c need to be compiled
 *	  without a server: the simulators link these files as they ship.
 *
 * What they call of the server's stands in sim_commands.c, and is not called.
 */
#ifndef POSTGRES_H
#define POSTGRES_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define lengthof(array)		(sizeof(array) / sizeof((array)[0]))

typedef int64_t int64;
typedef int32_t int32;
typedef uint32_t uint32;
typedef uint64_t uint64;
typedef uintptr_t Datum;
typedef unsigned Oid;
typedef struct TupleDescData *TupleDesc;
typedef struct List List;

typedef struct StringInfoData
{
	char	   *data;
	int			len;
} StringInfoData;

typedef StringInfoData *StringInfo;

extern void appendStringInfoString(StringInfo str, const char *s);
extern void appendStringInfoChar(StringInfo str, char ch);
extern void appendStringInfo(StringInfo str, const char *fmt,...);
extern void escape_json(StringInfo buf, const char *str);
extern char *psprintf(const char *fmt,...);

#endif							/* POSTGRES_H */
