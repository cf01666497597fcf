/* A stop wakes the supervisor, and the scheduler likes to put it on an idle processor, from where
 * the guest's thread must be woken in turn: across processors that costs more than the stop itself.
 * User notification has a flag for that; ptrace has none. So while calls come thick, the supervisor
 * stays on the processor where it found the thread that makes them, and the scheduler tends to draw
 * the thread there: a call then took 9 to 17 µs instead of 16 to 25, in a virtual machine with two
 * processors. When calls become rare it may run anywhere again, as carrying bytes is better done
 * beside the guest than in its way. */
#include "follow.h"

#include <stdio.h>
#include <string.h>

#include "procfs.h"

#define FOLLOW_STOPS   64 /* so many make it worth to look where the thread is */
#define FOLLOW_REST_MS 50

static void follow_rest(struct timer *t)
{
	struct follow *f = container_of(t, struct follow, rest);

	if (f->stops >= FOLLOW_STOPS) {
		f->stops = 0;
		loop_timer(f->loop, t, FOLLOW_REST_MS);
		return;
	}
	f->pinned = false;
	sched_setaffinity(0, sizeof(f->allowed), &f->allowed);
}

void follow_init(struct follow *f, struct loop *loop)
{
	*f = (struct follow){ .loop = loop };
	timer_init(&f->rest, follow_rest);
}

/* Field 39 of /proc/T/stat, proc(5): the processor that the thread ran on last; -1: it is gone. */
static int processor_of(pid_t tid)
{
	const char *p;
	char text[1024];
	int cpu = -1;

	if (!procfs_read(tid, "stat", text, sizeof(text)))
		return -1;
	p = strrchr(text, ')'); /* the end of field 2 */
	for (int field = 2; p && field < 39; field++)
		p = strchr(p + 1, ' ');
	return p && sscanf(p, "%d", &cpu) == 1 ? cpu : -1;
}

static void pin(struct follow *f, pid_t tid)
{
	int cpu = processor_of(tid);
	cpu_set_t one;

	if (cpu < 0 || cpu >= CPU_SETSIZE)
		return;
	if (!f->pinned && sched_getaffinity(0, sizeof(f->allowed), &f->allowed) < 0)
		return;
	CPU_ZERO(&one);
	CPU_SET(cpu, &one);
	if (sched_setaffinity(0, sizeof(one), &one) < 0)
		return;
	f->pinned = true;
	f->stops = FOLLOW_STOPS;
	loop_timer(f->loop, &f->rest, FOLLOW_REST_MS);
}

void follow_stop(struct follow *f, pid_t tid)
{
	if (f->stops++ == 0 && !f->pinned)
		f->since_ns = now_ns();
	if (f->pinned || f->stops < FOLLOW_STOPS)
		return;
	f->stops = 0;
	if (is_within(f->since_ns, FOLLOW_REST_MS))
		pin(f, tid);
}
