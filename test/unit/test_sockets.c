/*
 * test_sockets.c
 *	  Which connections the other side has closed, on real sockets.
 */
#include <arpa/inet.h>
#include <sys/socket.h>
#include <unistd.h>

#include "sockets.h"
#include "tap.h"

#define MANY		40

/* The port of a socket on this machine. */
static int
port_of(int fd)
{
	struct sockaddr_in name;
	socklen_t	size = sizeof(name);

	return getsockname(fd, (struct sockaddr *) &name, &size) == 0 ? ntohs(name.sin_port) : -1;
}

/* Someone who listens on loopback. */
static int
listener(void)
{
	struct sockaddr_in name;
	int			fd = socket(AF_INET, SOCK_STREAM, 0);

	memset(&name, 0, sizeof(name));
	name.sin_family = AF_INET;
	name.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	ok(bind(fd, (struct sockaddr *) &name, sizeof(name)) == 0 && listen(fd, MANY) == 0, "somebody listens");
	return fd;
}

/* A connection to a listener; *there is its other end. */
static int
connection(int listens, int *there)
{
	struct sockaddr_in name;
	socklen_t	size = sizeof(name);
	int			fd = socket(AF_INET, SOCK_STREAM, 0);

	if (getsockname(listens, (struct sockaddr *) &name, &size) != 0 ||
		connect(fd, (struct sockaddr *) &name, size) != 0)
		return -1;
	*there = accept(listens, NULL, NULL);
	return fd;
}

int
main(void)
{
	ImSockets	sockets = {0};
	int			listens = listener();
	int			here[MANY];
	int			there[MANY];
	int			wrong = 0;

	for (int i = 0; i < MANY; i++)
	{
		here[i] = connection(listens, &there[i]);
		im_sockets_add(&sockets, here[i]);
	}
	for (int i = 0; i < MANY; i++)
		wrong += im_sockets_closed(&sockets, port_of(here[i]));
	ok(wrong == 0, "nobody has closed");
	ok(!im_sockets_closed(&sockets, port_of(listens)), "an unknown port");

	ok(write(there[3], "x", 1) == 1 && !im_sockets_closed(&sockets, port_of(here[3])), "bytes to be read are no end");
	close(there[3]);
	ok(im_sockets_closed(&sockets, port_of(here[3])), "closed, though there are bytes to be read");
	shutdown(there[5], SHUT_WR);
	ok(im_sockets_closed(&sockets, port_of(here[5])), "closed in one direction");
	setsockopt(there[7], SOL_SOCKET, SO_LINGER, &(struct linger) {1, 0}, sizeof(struct linger));
	close(there[7]);
	ok(im_sockets_closed(&sockets, port_of(here[7])), "reset");
	ok(!im_sockets_closed(&sockets, port_of(here[4])), "its neighbour is not");

	im_sockets_remove(&sockets, here[3]);
	im_sockets_remove(&sockets, here[3]);
	ok(!im_sockets_closed(&sockets, port_of(here[3])), "forgotten");
	ok(im_sockets_closed(&sockets, port_of(here[5])) && sockets.n == MANY - 1, "the others are not");
	im_sockets_free(&sockets);
	ok(sockets.n == 0 && !im_sockets_closed(&sockets, port_of(here[5])), "empty");
	return tap_done();
}
