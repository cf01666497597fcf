#include "loop.h"

#include <errno.h>
#include <limits.h>

#define LOOP_EVENTS 64

int loop_init(struct loop *l)
{
	*l = (struct loop){ .epfd = epoll_create1(EPOLL_CLOEXEC) };
	if (l->epfd < 0)
		return -errno;
	list_init(&l->timers);
	list_init(&l->deferred);
	return 0;
}

static void run_deferred(struct loop *l)
{
	struct list *first;

	while ((first = list_shift(&l->deferred))) {
		struct deferred *d = list_entry(first, struct deferred, link);

		d->fn(d);
	}
}

void loop_done(struct loop *l)
{
	run_deferred(l);
	close_fd(&l->epfd);
}

int loop_add(struct loop *l, struct watch *w, int fd, uint32_t events,
	void (*fn)(struct watch *w, uint32_t events))
{
	struct epoll_event ev = { .events = events, .data.ptr = w };

	if (epoll_ctl(l->epfd, EPOLL_CTL_ADD, fd, &ev) < 0)
		return -errno;
	*w = (struct watch){ .fd = fd, .events = events, .fn = fn };
	return 0;
}

void loop_set(struct loop *l, struct watch *w, uint32_t events)
{
	struct epoll_event ev = { .events = events, .data.ptr = w };

	if (w->fd < 0 || w->events == events)
		return;
	w->events = events;
	epoll_ctl(l->epfd, EPOLL_CTL_MOD, w->fd, &ev);
}

void loop_del(struct loop *l, struct watch *w)
{
	if (w->fd < 0)
		return;
	epoll_ctl(l->epfd, EPOLL_CTL_DEL, w->fd, NULL);
	w->fd = -1;
}

void timer_init(struct timer *t, void (*fn)(struct timer *t))
{
	list_init(&t->link);
	t->fn = fn;
}

void loop_timer(struct loop *l, struct timer *t, unsigned ms)
{
	struct list *pos;

	list_del(&t->link);
	t->due_ns = now_ns() + ms * (uint64_t)NS_PER_MS;
	/* From the end: of many timers with one period the newest is the last. */
	for (pos = l->timers.prev; pos != &l->timers; pos = pos->prev) {
		if (list_entry(pos, struct timer, link)->due_ns <= t->due_ns)
			break;
	}
	list_add_before(pos->next, &t->link);
}

void timer_cancel(struct timer *t)
{
	list_del(&t->link);
}

void deferred_init(struct deferred *d, void (*fn)(struct deferred *d))
{
	list_init(&d->link);
	d->fn = fn;
}

void loop_defer(struct loop *l, struct deferred *d)
{
	if (list_empty(&d->link))
		list_append(&l->deferred, &d->link);
}

/* Milliseconds until the first timer, rounded up so that it is due when epoll_wait() returns. */
static int next_timeout(const struct loop *l)
{
	uint64_t now, due;

	if (list_empty(&l->timers))
		return -1;
	due = list_entry(l->timers.next, struct timer, link)->due_ns;
	now = now_ns();
	if (due <= now)
		return 0;
	return (int)MIN((due - now + 999999) / 1000000, (uint64_t)INT_MAX);
}

static void run_timers(struct loop *l)
{
	uint64_t now;

	if (list_empty(&l->timers))
		return;
	now = now_ns();
	while (!list_empty(&l->timers)) {
		struct timer *t = list_entry(l->timers.next, struct timer, link);

		if (t->due_ns > now)
			break;
		list_del(&t->link);
		t->fn(t);
	}
}

int loop_turn(struct loop *l)
{
	struct epoll_event ev[LOOP_EVENTS];
	int n = epoll_wait(l->epfd, ev, LOOP_EVENTS, next_timeout(l));

	if (n < 0 && errno != EINTR)
		return -errno;
	for (int i = 0; i < n; i++) {
		struct watch *w = ev[i].data.ptr;

		if (w->fd >= 0)
			w->fn(w, ev[i].events);
	}
	run_timers(l);
	run_deferred(l);
	return 0;
}

int loop_run(struct loop *l)
{
	int r = 0;

	while (!l->stop && r == 0)
		r = loop_turn(l);
	return r;
}
