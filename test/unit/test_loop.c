#include <errno.h>
#include <sys/socket.h>

#include "unit.h"

static struct loop loop;

static int set_up(void **state)
{
	(void)state;
	return loop_init(&loop);
}

static int tear_down(void **state)
{
	(void)state;
	loop_done(&loop);
	return 0;
}

/* --- timers --- */

static char order[16];
static size_t order_len;

struct named_timer {
	struct timer timer;
	char name;
};

static void note(struct timer *t)
{
	order[order_len++] = container_of(t, struct named_timer, timer)->name;
	order[order_len] = '\0';
}

static void timers_fire_in_the_order_they_are_due(void **state)
{
	static const unsigned ms[] = { 9, 3, 6, 3, 0 };
	struct named_timer timers[ARRAY_SIZE(ms)];

	(void)state;
	order_len = 0;
	for (size_t i = 0; i < ARRAY_SIZE(ms); i++) {
		timer_init(&timers[i].timer, note);
		timers[i].name = (char)('a' + i);
		loop_timer(&loop, &timers[i].timer, ms[i]);
	}
	run_until(&loop, order_len == ARRAY_SIZE(ms));
	assert_string_equal(order, "ebdca");
}

static void a_timer_is_not_early(void **state)
{
	struct named_timer t = { .name = 't' };
	uint64_t start = now_ns();

	(void)state;
	order_len = 0;
	timer_init(&t.timer, note);
	loop_timer(&loop, &t.timer, 20);
	run_until(&loop, order_len);
	assert_true(now_ns() - start >= 20000000);
}

static void a_timer_set_anew_or_cancelled_fires_once_or_never(void **state)
{
	struct named_timer again = { .name = 'a' }, never = { .name = 'n' };

	(void)state;
	order_len = 0;
	timer_init(&again.timer, note);
	timer_init(&never.timer, note);
	timer_cancel(&never.timer);
	loop_timer(&loop, &again.timer, 1);
	loop_timer(&loop, &again.timer, 5);
	loop_timer(&loop, &never.timer, 2);
	timer_cancel(&never.timer);
	unit_run(&loop, 15);
	assert_string_equal(order, "a");
}

static void cancel_never(struct timer *t)
{
	struct named_timer *n = container_of(t, struct named_timer, timer);

	note(t);
	timer_cancel(&n[1].timer);
}

static void a_timer_may_cancel_one_that_is_due_too(void **state)
{
	struct named_timer t[2] = { { .name = 'a' }, { .name = 'b' } };

	(void)state;
	order_len = 0;
	timer_init(&t[0].timer, cancel_never);
	timer_init(&t[1].timer, note);
	loop_timer(&loop, &t[0].timer, 0);
	loop_timer(&loop, &t[1].timer, 0);
	unit_run(&loop, 3);
	assert_string_equal(order, "a");
}

/* --- deferred work --- */

struct work {
	struct deferred deferred;
	struct work *next; /* to put off from inside */
	int runs;
};

static void work_fn(struct deferred *d)
{
	struct work *w = container_of(d, struct work, deferred);

	w->runs++;
	if (w->next)
		loop_defer(&loop, &w->next->deferred);
}

static void deferred_work_runs_once_in_the_turn(void **state)
{
	struct work second = { 0 }, first = { .next = &second };

	(void)state;
	deferred_init(&first.deferred, work_fn);
	deferred_init(&second.deferred, work_fn);
	loop_defer(&loop, &first.deferred);
	loop_defer(&loop, &first.deferred);
	unit_run(&loop, 0);
	assert_int_equal(first.runs, 1);
	assert_int_equal(second.runs, 1);
	unit_run(&loop, 1);
	assert_int_equal(first.runs, 1);
}

static void what_is_put_off_is_done_at_the_end(void **state)
{
	struct work work = { 0 };
	struct loop other;

	(void)state;
	assert_int_equal(loop_init(&other), 0);
	deferred_init(&work.deferred, work_fn);
	loop_defer(&other, &work.deferred);
	loop_done(&other);
	assert_int_equal(work.runs, 1);
}

/* --- readiness --- */

struct end {
	struct watch watch;
	int fd, peer;
	int calls;
	uint32_t events;
	struct end *victim;
};

static void end_event(struct watch *w, uint32_t events)
{
	struct end *e = container_of(w, struct end, watch);

	e->calls++;
	e->events = events;
	if (e->victim)
		loop_del(&loop, &e->victim->watch);
}

static void end_open(struct end *e)
{
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	*e = (struct end){ .fd = fds[0], .peer = fds[1] };
	assert_int_equal(loop_add(&loop, &e->watch, e->fd, EPOLLIN, end_event), 0);
}

static void end_close(struct end *e)
{
	loop_del(&loop, &e->watch);
	close_fd(&e->fd);
	close_fd(&e->peer);
}

static void a_watch_that_left_in_the_turn_is_skipped(void **state)
{
	struct end a, b;

	(void)state;
	end_open(&a);
	end_open(&b);
	a.victim = &b;
	b.victim = &a;
	assert_int_equal(write(a.peer, "x", 1), 1);
	assert_int_equal(write(b.peer, "x", 1), 1);
	unit_run(&loop, 0);
	assert_int_equal(!!a.calls + !!b.calls, 1);
	end_close(&a);
	end_close(&b);
}

static void events_can_be_switched(void **state)
{
	struct end e;

	(void)state;
	end_open(&e);
	assert_int_equal(write(e.peer, "x", 1), 1);
	loop_set(&loop, &e.watch, 0);
	unit_run(&loop, 2);
	assert_int_equal(e.calls, 0);
	loop_set(&loop, &e.watch, EPOLLIN | EPOLLOUT);
	unit_run(&loop, 1);
	assert_int_equal(e.events, EPOLLIN | EPOLLOUT);
	loop_set(&loop, &e.watch, 0);
	close_fd(&e.peer);
	unit_run(&loop, 1);
	assert_int_equal(e.events, EPOLLHUP);
	end_close(&e);
	loop_set(&loop, &e.watch, EPOLLIN);
	loop_del(&loop, &e.watch);
}

static void what_cannot_be_watched_is_refused(void **state)
{
	struct watch w;

	(void)state;
	assert_int_equal(loop_add(&loop, &w, -1, EPOLLIN, end_event), -EBADF);
}

int main(void)
{
#define loop_test(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)
	static const struct CMUnitTest tests[] = {
		loop_test(timers_fire_in_the_order_they_are_due),
		loop_test(a_timer_is_not_early),
		loop_test(a_timer_set_anew_or_cancelled_fires_once_or_never),
		loop_test(a_timer_may_cancel_one_that_is_due_too),
		loop_test(deferred_work_runs_once_in_the_turn),
		loop_test(what_is_put_off_is_done_at_the_end),
		loop_test(a_watch_that_left_in_the_turn_is_skipped),
		loop_test(events_can_be_switched),
		loop_test(what_cannot_be_watched_is_refused),
	};

	return cmocka_run_group_tests_name("loop", tests, NULL, NULL);
}
