#include "acceptor.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "log.h"

/* One turn takes no more, so that a flood of connections holds up nothing else. */
#define ACCEPT_BATCH 64

/* With no descriptor left the backlog keeps the socket readable for ever; look again after this. */
#define ACCEPT_REST_MS 100

static void acceptor_rested(struct timer *t)
{
	struct acceptor *a = container_of(t, struct acceptor, rest);

	loop_set(a->loop, &a->watch, EPOLLIN);
}

static bool out_of_resources(int error)
{
	return error == EMFILE || error == ENFILE || error == ENOBUFS || error == ENOMEM;
}

static void acceptor_event(struct watch *w, __attribute__((unused)) uint32_t events)
{
	struct acceptor *a = container_of(w, struct acceptor, watch);

	/* accepted() may stop the acceptor. */
	for (int i = 0; i < ACCEPT_BATCH && w->fd >= 0; i++) {
		int fd = accept4(w->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (fd >= 0) {
			a->accepted(a, fd);
		} else if (out_of_resources(errno)) {
			log_dbg("accept: %s, resting", strerror(errno));
			loop_set(a->loop, w, 0);
			loop_timer(a->loop, &a->rest, ACCEPT_REST_MS);
			return;
		} else if (errno == EAGAIN) {
			return;
		}
		/* Any other error is that of one connection, which is gone (accept(2)). */
	}
}

int acceptor_start(struct acceptor *a, struct loop *loop, int listener,
	void (*accepted)(struct acceptor *a, int fd))
{
	a->loop = loop;
	a->accepted = accepted;
	timer_init(&a->rest, acceptor_rested);
	return loop_add(loop, &a->watch, listener, EPOLLIN, acceptor_event);
}

void acceptor_stop(struct acceptor *a)
{
	if (!a->loop)
		return;
	timer_cancel(&a->rest);
	loop_del(a->loop, &a->watch);
}
