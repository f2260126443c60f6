/*
 * sockets.h
 *	  The sockets that are open to the service, and which of them it has closed.
 */
#ifndef IM_SOCKETS_H
#define IM_SOCKETS_H

#include <stdbool.h>

/* One of them; its port here is asked for when first needed. */
typedef struct ImSocket
{
	int			fd;
	int			port;			/* 0: not known yet */
} ImSocket;

/* All of them; begins as zeros. */
typedef struct ImSockets
{
	ImSocket   *all;			/* from malloc() */
	int			n;
	int			room;
} ImSockets;

/* Adds a new socket.  Without memory it is left out: it is then never called closed. */
extern void im_sockets_add(ImSockets *sockets, int fd);

/* Forgets a socket that will be closed. */
extern void im_sockets_remove(ImSockets *sockets, int fd);

/* True if the other side has closed the connection that has this port here. */
extern bool im_sockets_closed(ImSockets *sockets, int port);

extern void im_sockets_free(ImSockets *sockets);

#endif							/* IM_SOCKETS_H */
