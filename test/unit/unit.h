/* What every unit test shares: cmocka behind the headers it wants, and a loop run by hand. */
#ifndef TEST_UNIT_H
#define TEST_UNIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "loop.h"
#include "util.h"

/* A small generator with the same numbers on every run and machine (xorshift64). */
static inline uint64_t unit_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

struct unit_stop {
	struct timer timer;
	struct loop *loop;
};

static inline void unit_stop_fn(struct timer *t)
{
	container_of(t, struct unit_stop, timer)->loop->stop = true;
}

/* unit_run() - let the loop run for that long. */
static inline void unit_run(struct loop *l, unsigned ms)
{
	struct unit_stop stop = { .loop = l };

	timer_init(&stop.timer, unit_stop_fn);
	loop_timer(l, &stop.timer, ms);
	l->stop = false;
	assert_int_equal(loop_run(l), 0);
	timer_cancel(&stop.timer);
}

/* run_until() - let the loop run until the condition holds. The test fails when it does not within
 * ten seconds, less than what a keep-alive takes to stir things up. */
#define run_until(l, condition)                                                                    \
	do {                                                                                       \
		uint64_t end_ = now_ns() + 10000000000u;                                           \
		while (!(condition)) {                                                             \
			if (now_ns() > end_)                                                       \
				fail_msg("still not: %s", #condition);                             \
			unit_run(l, 1);                                                            \
		}                                                                                  \
	} while (0)

#endif
