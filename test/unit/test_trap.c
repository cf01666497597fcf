/* The life of a call: what a signal may do to it at any moment, and what the guest is then
 * answered. The mechanism is one that records what it was told; the handler counts how often it
 * worked. */
#include "unit.h"

#include <string.h>

#include "../../tracer/hold.c"
#include "../../tracer/procfs.c"
#include "../../tracer/trap.c"

static struct tracer tracer;
static struct task thread;
static bool gone; /* the thread is not there to take the answer */
static int worked, cancelled, answers, proceeded, installed, last_fd;
static int64_t answered;
static bool parks;

int task_pidfd(struct tracer *tr, struct task *t)
{
	(void)tr;
	(void)t;
	return -ESRCH;
}

const char *sysdef_print(const struct call *c, char *s, size_t size)
{
	(void)c;
	(void)size;
	s[0] = '\0';
	return s;
}

static void record_finish(struct call *c)
{
	if (!gone) {
		answers++;
		answered = c->result;
	}
	call_set_state(c, gone ? CALL_REJOIN : CALL_ANSWERED);
}

static void record_proceed(struct call *c)
{
	proceeded++;
	call_set_state(c, CALL_ANSWERED);
}

static bool record_waits(const struct call *c)
{
	(void)c;
	return !gone;
}

static int record_install(struct call *c, int fd, bool cloexec)
{
	(void)c;
	(void)fd;
	(void)cloexec;
	if (gone)
		return -ENOENT;
	installed++;
	return 7;
}

static const struct trap_ops recorder = {
	.can = CAN_INSTALL,
	.install = record_install,
	.finish = record_finish,
	.proceed = record_proceed,
	.waits = record_waits,
};

static void cancel(struct call *c)
{
	(void)c;
	cancelled++;
}

static void enter_quick(struct call *c)
{
	worked++;
	if (parks)
		call_park(c, false, cancel, NULL);
	else
		call_return(c, 100 + worked);
}

static void enter_blocking(struct call *c)
{
	worked++;
	call_park(c, true, cancel, NULL);
}

static void enter_kernel(struct call *c)
{
	call_continue(c);
}

static void enter_open(struct call *c)
{
	worked++;
	last_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	call_open(c, last_fd, NULL, 0);
}

static const struct sysdef opens_file = { .name = "opens", .nr = 5, .enter = enter_open };
static const struct sysdef quick = { .name = "quick", .nr = 1, .enter = enter_quick };
static const struct sysdef blocking = {
	.name = "blocking", .nr = 2, .blocks = true, .enter = enter_blocking
};
static const struct sysdef kernel_blocks = {
	.name = "kernel_blocks", .nr = 3, .blocks = true, .enter = enter_kernel
};
static const struct sysdef kernel_quick = {
	.name = "kernel_quick", .nr = 4, .enter = enter_kernel
};

void rewrite_release(struct call *c)
{
	(void)c;
}

static bool waits_for_fifo(const struct call *c)
{
	return c->arg[0] == 3;
}

static const struct sysdef kernel_may_wait = {
	.name = "kernel_may_wait", .nr = 6, .may_wait = waits_for_fifo, .enter = enter_kernel
};

static const uint64_t args[CALL_ARGS] = { 3, 1, 2 }, others[CALL_ARGS] = { 4, 1, 2 };

static int fresh(void **state)
{
	(void)state;
	tracer = (struct tracer){ .trap = &recorder };
	thread = (struct task){ .tracer = &tracer, .tid = 1 };
	thread.call.task = &thread;
	thread.call.tracer = &tracer;
	gone = parks = false;
	thread.call.lent = thread.call.opened = -1;
	worked = cancelled = answers = proceeded = installed = 0;
	answered = 0;
	return 0;
}

static void an_answer_that_arrives_is_given_once(void **state)
{
	(void)state;
	call_begin(&thread, &quick, args, 1);
	assert_int_equal(answered, 101);
	/* The same call again is another call. */
	call_begin(&thread, &quick, args, 2);
	assert_int_equal(answered, 102);
	assert_int_equal(worked, 2);
}

static void an_answer_that_finds_nobody_is_given_to_the_restart(void **state)
{
	(void)state;
	gone = true;
	call_begin(&thread, &quick, args, 1);
	assert_int_equal(answers, 0);
	gone = false;
	call_begin(&thread, &quick, args, 2);
	assert_int_equal(answered, 101);
	assert_int_equal(worked, 1);
}

static void an_answer_lost_on_the_way_is_given_again(void **state)
{
	(void)state;
	call_begin(&thread, &quick, args, 1);
	assert_true(call_interrupted(&thread.call)); /* the thread was seen outside */
	call_begin(&thread, &quick, args, 2);
	assert_int_equal(answers, 2);
	assert_int_equal(answered, 101);
	assert_int_equal(worked, 1);
}

static void an_answer_that_was_taken_is_not_given_to_the_next(void **state)
{
	(void)state;
	call_begin(&thread, &quick, args, 1);
	/* The same call again was number 2, which was interrupted before it was read. */
	assert_true(call_interrupted(&thread.call));
	tracer.missed_id = 2;
	call_begin(&thread, &quick, args, 3);
	assert_int_equal(answered, 102);
	assert_int_equal(worked, 2);
}

/* That nobody took it was certain: a number that is missing since then changes nothing. */
static void an_answer_that_found_nobody_is_given_whatever_was_missed(void **state)
{
	(void)state;
	gone = true;
	call_begin(&thread, &quick, args, 1);
	gone = false;
	assert_true(call_interrupted(&thread.call));
	tracer.missed_id = 2;
	call_begin(&thread, &quick, args, 3);
	assert_int_equal(answered, 101);
	assert_int_equal(worked, 1);
}

/* First in doubt, and then for certain. */
static void an_answer_lost_twice_is_given_again(void **state)
{
	(void)state;
	call_begin(&thread, &quick, args, 1);
	assert_true(call_interrupted(&thread.call));
	gone = true;
	call_begin(&thread, &quick, args, 2);
	gone = false;
	tracer.missed_id = 3;
	call_begin(&thread, &quick, args, 4);
	assert_int_equal(answered, 101);
	assert_int_equal(worked, 1);
}

static bool last_is_open(void)
{
	return fcntl(last_fd, F_GETFD) >= 0;
}

/* open(O_CREAT | O_EXCL) would find its own file. */
static void a_file_opened_for_nobody_is_given_to_the_restart(void **state)
{
	(void)state;
	gone = true;
	call_begin(&thread, &opens_file, args, 1);
	assert_true(last_is_open());
	assert_true(call_interrupted(&thread.call));
	call_begin(&thread, &opens_file, args, 2); /* and is interrupted again */
	assert_int_equal(installed, 0);
	gone = false;
	call_begin(&thread, &opens_file, args, 3);
	assert_int_equal(worked, 1);
	assert_int_equal(installed, 1);
	assert_false(last_is_open());
	assert_int_equal(thread.call.state, CALL_NONE);
}

static void a_file_opened_for_nobody_is_closed_when_it_is_not_wanted(void **state)
{
	(void)state;
	gone = true;
	call_begin(&thread, &opens_file, args, 1);
	gone = false;
	call_begin(&thread, &quick, args, 2);
	assert_int_equal(worked, 2);
	assert_false(last_is_open());
}

static void another_call_does_not_get_the_answer(void **state)
{
	(void)state;
	gone = true;
	call_begin(&thread, &quick, args, 1);
	gone = false;
	call_begin(&thread, &quick, others, 2);
	assert_int_equal(answered, 102);
	assert_int_equal(worked, 2);
}

static void a_wait_goes_on_through_signals(void **state)
{
	(void)state;
	parks = true;
	call_begin(&thread, &quick, args, 1);
	for (uint64_t i = 2; i < 10; i++) {
		assert_true(call_interrupted(&thread.call));
		call_begin(&thread, &quick, args, i);
	}
	assert_int_equal(worked, 1);
	assert_int_equal(cancelled, 0);
	assert_true(call_waits(&thread.call));
	call_return(&thread.call, 7);
	assert_int_equal(answered, 7);
	assert_int_equal(thread.call.id, 9);
}

static void a_wait_answered_while_the_thread_is_away(void **state)
{
	(void)state;
	parks = true;
	call_begin(&thread, &quick, args, 1);
	assert_true(call_interrupted(&thread.call));
	gone = true;
	call_return(&thread.call, 7);
	gone = false;
	call_begin(&thread, &quick, args, 2);
	assert_int_equal(answered, 7);
	assert_int_equal(worked, 1);
}

static void a_blocking_wait_ends_with_the_signal(void **state)
{
	(void)state;
	call_begin(&thread, &blocking, args, 1);
	assert_false(call_interrupted(&thread.call)); /* the kernel decides about EINTR */
	assert_int_equal(cancelled, 1);
	call_begin(&thread, &blocking, args, 2);
	assert_int_equal(worked, 2);
}

/* As recvmmsg(2) does with the datagrams that it has by then. */
static void a_wait_that_has_something_ends_with_it(void **state)
{
	(void)state;
	parks = true;
	call_begin(&thread, &quick, args, 1);
	thread.call.partial = 3;
	assert_true(call_interrupted(&thread.call));
	assert_int_equal(cancelled, 1);
	assert_int_equal(answers, 0);
	call_begin(&thread, &quick, args, 2);
	assert_int_equal(answered, 3);
	assert_int_equal(worked, 1);
	assert_int_equal(cancelled, 1);
}

/* The thread comes again though no signal was seen: it was stopped and continued. */
static void a_blocking_wait_starts_anew(void **state)
{
	(void)state;
	call_begin(&thread, &blocking, args, 1);
	call_begin(&thread, &blocking, args, 2);
	assert_int_equal(cancelled, 1);
	assert_int_equal(worked, 2);
}

static void the_kernels_own_interruption_is_left_alone(void **state)
{
	(void)state;
	call_begin(&thread, &kernel_blocks, args, 1);
	assert_int_equal(proceeded, 1);
	assert_false(call_interrupted(&thread.call));
	call_begin(&thread, &kernel_may_wait, args, 2);
	assert_false(call_interrupted(&thread.call));
	call_begin(&thread, &kernel_may_wait, others, 3);
	assert_true(call_interrupted(&thread.call));
	/* But a call that never blocks was interrupted on its way into the kernel. */
	call_begin(&thread, &kernel_quick, args, 2);
	assert_true(call_interrupted(&thread.call));
	call_begin(&thread, &kernel_quick, args, 3);
	assert_int_equal(proceeded, 5);
}

static void death_cancels_once(void **state)
{
	(void)state;
	parks = true;
	call_begin(&thread, &quick, args, 1);
	call_drop(&thread.call);
	call_drop(&thread.call);
	assert_int_equal(cancelled, 1);
	assert_false(call_waits(&thread.call));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(an_answer_that_arrives_is_given_once, fresh),
		cmocka_unit_test_setup(an_answer_that_finds_nobody_is_given_to_the_restart, fresh),
		cmocka_unit_test_setup(an_answer_lost_on_the_way_is_given_again, fresh),
		cmocka_unit_test_setup(an_answer_that_was_taken_is_not_given_to_the_next, fresh),
		cmocka_unit_test_setup(
			an_answer_that_found_nobody_is_given_whatever_was_missed, fresh),
		cmocka_unit_test_setup(an_answer_lost_twice_is_given_again, fresh),
		cmocka_unit_test_setup(a_file_opened_for_nobody_is_given_to_the_restart, fresh),
		cmocka_unit_test_setup(
			a_file_opened_for_nobody_is_closed_when_it_is_not_wanted, fresh),
		cmocka_unit_test_setup(another_call_does_not_get_the_answer, fresh),
		cmocka_unit_test_setup(a_wait_goes_on_through_signals, fresh),
		cmocka_unit_test_setup(a_wait_answered_while_the_thread_is_away, fresh),
		cmocka_unit_test_setup(a_blocking_wait_ends_with_the_signal, fresh),
		cmocka_unit_test_setup(a_wait_that_has_something_ends_with_it, fresh),
		cmocka_unit_test_setup(a_blocking_wait_starts_anew, fresh),
		cmocka_unit_test_setup(the_kernels_own_interruption_is_left_alone, fresh),
		cmocka_unit_test_setup(death_cancels_once, fresh),
	};

	return cmocka_run_group_tests_name("trap", tests, NULL, NULL);
}
