#include "datagram.h"

#include "trap.h"

void datagram_init(struct datagram_table *t, struct tracer *tr)
{
	*t = (struct datagram_table){ .tracer = tr };
}

void datagram_done(struct datagram_table *t)
{
	htab_done(&t->by_cookie);
}

void datagram_bind(struct call *c, int fd, const struct addr *asked)
{
	(void)fd;
	(void)asked;
	call_continue(c);
}

void datagram_connect(struct call *c, int fd, const struct addr *to)
{
	(void)fd;
	(void)to;
	call_continue(c);
}

bool datagram_addresses(
	const struct datagram_table *t, int fd, struct addr *local, struct addr *peer)
{
	(void)t;
	(void)fd;
	(void)local;
	(void)peer;
	return false;
}

bool datagram_is_own(const struct datagram_table *t, const struct addr *to, struct addr *real)
{
	(void)t;
	(void)to;
	(void)real;
	return false;
}

void datagram_check_soon(struct datagram_table *t)
{
	(void)t;
}

void datagram_link_lost(struct datagram_table *t)
{
	(void)t;
}

void datagram_link_back(struct datagram_table *t)
{
	(void)t;
}
