/* One epoll loop: readiness, timers, signals as readiness, and work put off to the turn's end.
 *
 * Within a turn several events may be in hand already. An object that a handler takes down
 * therefore only leaves its watch (loop_del()) and puts its release off with loop_defer(): the loop
 * skips what has left, and runs the deferred work after the last event of the turn. */
#ifndef COMMON_LOOP_H
#define COMMON_LOOP_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/epoll.h>

#include "list.h"

struct loop {
	int epfd;
	bool stop;
	struct list timers;   /* by due time */
	struct list deferred; /* in the order they were put off */
};

struct watch {
	int fd; /* -1: watches nothing */
	uint32_t events;
	void (*fn)(struct watch *w, uint32_t events);
};

struct timer {
	struct list link;
	uint64_t due_ns; /* CLOCK_MONOTONIC */
	void (*fn)(struct timer *t);
};

struct deferred {
	struct list link;
	void (*fn)(struct deferred *d);
};

int loop_init(struct loop *l); /* 0 or -errno */
void loop_done(struct loop *l);

/* loop_turn() - wait for events, and serve those that came. 0 or -errno of epoll_wait(2). */
int loop_turn(struct loop *l);

/* loop_run() - serve until a handler sets stop. 0 or -errno of epoll_wait(2). */
int loop_run(struct loop *l);

/* loop_add() - call fn when fd has one of the events (EPOLLERR and EPOLLHUP always). The fd stays
 * the caller's and must leave with loop_del() before it is closed. 0 or -errno. */
int loop_add(struct loop *l, struct watch *w, int fd, uint32_t events,
	void (*fn)(struct watch *w, uint32_t events));

/* loop_set() - change the events; nothing is done when they are the same. */
void loop_set(struct loop *l, struct watch *w, uint32_t events);
void loop_del(struct loop *l, struct watch *w);

void timer_init(struct timer *t, void (*fn)(struct timer *t));
void loop_timer(struct loop *l, struct timer *t, unsigned ms); /* set, or set anew */
void timer_cancel(struct timer *t);

void deferred_init(struct deferred *d, void (*fn)(struct deferred *d));
void loop_defer(struct loop *l, struct deferred *d); /* once per turn, however often it is asked */

#endif
