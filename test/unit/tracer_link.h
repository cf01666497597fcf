/* A supervisor that is nothing but its link, whose agent the test plays. What else the link belongs
 * to are stand-ins. */
#ifndef TEST_TRACER_LINK_H
#define TEST_TRACER_LINK_H

#include <sys/socket.h>

#include "tracer/link.c"

#include "unit.h"

static struct tracer tracer;
static int agent; /* its end of the link */

bool config_targetless(__attribute__((unused)) const struct config *cfg)
{
	return false;
}

void incoming_message(
	__attribute__((unused)) struct incoming *in, __attribute__((unused)) const struct msg *m)
{
}

bool fs_message(__attribute__((unused)) struct fs *fs, __attribute__((unused)) const struct msg *m)
{
	return false;
}

void fs_before_send(__attribute__((unused)) struct fs *fs)
{
}

void fs_link_broken(__attribute__((unused)) struct fs *fs)
{
}

void tracer_link_lost(__attribute__((unused)) struct tracer *tr)
{
}

void tracer_link_gone(__attribute__((unused)) struct tracer *tr)
{
}

void tracer_link_back(__attribute__((unused)) struct tracer *tr)
{
}

static void tracer_begin(const struct config *cfg)
{
	int pair[2];

	tracer = (struct tracer){ .cfg = cfg };
	assert_int_equal(loop_init(&tracer.loop), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	agent = pair[1];
	tracer.link = (struct link){ .agent_pidfd = -1, .open = true };
	timer_init(&tracer.link.patience, out_of_patience);
	timer_init(&tracer.link.retry, retry);
	assert_int_equal(
		mux_init(&tracer.link.mux, &tracer.loop, pair[0], PROTO_CLIENT, &link_ops), 0);
}

static void tracer_end(void)
{
	tracer.link.hello = false; /* nobody answers a goodbye */
	link_close(&tracer.link);
	loop_done(&tracer.loop);
	close_fd(&agent);
}

#endif
