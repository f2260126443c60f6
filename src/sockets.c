/*
 * sockets.c
 *	  The sockets that are open to the service, and which of them it has closed.
 *
 * libcurl looks whether an idle connection is still alive before it uses it
 * again, but from 8.22 on not more than once a second.  A request that goes
 * out on a connection that was closed meanwhile may have arrived, for all
 * that we can know, although it never did.  So http.c asks here just before
 * a request leaves.
 *
 * libcurl does not tell which socket a transfer will use, but which port of
 * this machine its connection has.
 *
 * Knows nothing of the server and of libcurl.  Does not raise errors, and uses
 * malloc(): callbacks call it.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE				/* POLLRDHUP */
#endif

#include <netinet/in.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "sockets.h"

/* See sockets.h. */
void
im_sockets_add(ImSockets *sockets, int fd)
{
	if (sockets->n == sockets->room)
	{
		int			room = sockets->room * 2 + 8;
		ImSocket   *all = realloc(sockets->all, room * sizeof(ImSocket));

		if (all == NULL)
			return;
		sockets->all = all;
		sockets->room = room;
	}
	sockets->all[sockets->n].fd = fd;
	sockets->all[sockets->n].port = 0;
	sockets->n++;
}

/* See sockets.h. */
void
im_sockets_remove(ImSockets *sockets, int fd)
{
	for (int i = 0; i < sockets->n; i++)
	{
		if (sockets->all[i].fd != fd)
			continue;
		sockets->all[i] = sockets->all[--sockets->n];
		return;
	}
}

/* The port that a socket has on this machine, or 0. */
static int
port_of(ImSocket *s)
{
	union
	{
		struct sockaddr any;
		struct sockaddr_in v4;
		struct sockaddr_in6 v6;
	}			name = {.any.sa_family = AF_UNSPEC};
	socklen_t	size = sizeof(name);

	if (s->port != 0 || getsockname(s->fd, &name.any, &size) != 0)
		return s->port;
	if (name.any.sa_family == AF_INET)
		s->port = ntohs(name.v4.sin_port);
	else if (name.any.sa_family == AF_INET6)
		s->port = ntohs(name.v6.sin6_port);
	return s->port;
}

/* See sockets.h. */
bool
im_sockets_closed(ImSockets *sockets, int port)
{
	for (int i = 0; i < sockets->n; i++)
	{
		struct pollfd ask = {.fd = sockets->all[i].fd, .events = POLLRDHUP};

		/* Bytes that wait to be read are no sign: the end of TLS looks like its tickets. */
		if (port_of(&sockets->all[i]) == port)
			return poll(&ask, 1, 0) > 0 && (ask.revents & (POLLRDHUP | POLLHUP | POLLERR)) != 0;
	}
	return false;
}

/* See sockets.h. */
void
im_sockets_free(ImSockets *sockets)
{
	free(sockets->all);
	sockets->all = NULL;
	sockets->n = 0;
	sockets->room = 0;
}
