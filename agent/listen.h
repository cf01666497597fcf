/* The address at which clients find the agent: "unix:PATH" or "tcp:HOST:PORT". */
#ifndef AGENT_LISTEN_H
#define AGENT_LISTEN_H

#include <sys/un.h>

#include "log.h"

struct listen_addr {
	int fd;                                                 /* -1: not open */
	char path[sizeof(((struct sockaddr_un *)0)->sun_path)]; /* "": nothing to remove */
};

/* listen_open() - a listening, non-blocking socket. 0, or -errno with a sentence in e. */
int listen_open(struct listen_addr *l, const char *spec, struct err *e);

/* listen_close() - close it and remove a unix socket's file. */
void listen_close(struct listen_addr *l);

#endif
