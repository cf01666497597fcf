#include "guestmsg.h"

#include <errno.h>

#include "mem.h"
#include "util.h"

void guestmsg_one(struct guestmsg *g, pid_t tid, uint64_t data, uint64_t len)
{
	g->tid = tid;
	g->at = 0;
	g->h = (struct msghdr){ .msg_name = NULL };
	g->iov[0] = (struct iovec){ (void *)(uintptr_t)data, len };
	g->niov = 1;
	g->len = len;
}

int guestmsg_read(struct guestmsg *g, pid_t tid, uint64_t at)
{
	int r = mem_read(tid, at, &g->h, sizeof(g->h));

	if (r < 0)
		return r;
	if (g->h.msg_iovlen > IOV_MAX)
		return -EMSGSIZE;
	g->tid = tid;
	g->at = at;
	g->niov = g->h.msg_iovlen;
	g->len = 0;
	if (g->niov)
		r = mem_read(tid, (uintptr_t)g->h.msg_iov, g->iov, g->niov * sizeof(*g->iov));
	for (size_t i = 0; r == 0 && i < g->niov; i++) {
		if (g->iov[i].iov_len > SSIZE_MAX - g->len)
			return -EINVAL;
		g->len += g->iov[i].iov_len;
	}
	return r;
}

int guestmsg_name(const struct guestmsg *g, struct addr *a)
{
	return mem_read_sockaddr(g->tid, (uintptr_t)g->h.msg_name, g->h.msg_namelen, a);
}

ssize_t guestmsg_control(const struct guestmsg *g, void *to, size_t size)
{
	size_t n = g->h.msg_control ? g->h.msg_controllen : 0;
	int r;

	if (n > size)
		return -ENOBUFS;
	r = n ? mem_read(g->tid, (uintptr_t)g->h.msg_control, to, n) : 0;
	return r < 0 ? r : (ssize_t)n;
}
