/* argv → configuration → agent → guest → the loop → the guest's own exit status. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "environ.h"
#include "job.h"
#include "launch.h"
#include "probe.h"
#include "procfs.h"
#include "task.h"
#include "tracer.h"

/* After the link is lost the program is asked to end, and ended when it has not after this time. */
#define KILL_AFTER_MS 5000
#define KILL_AGAIN_MS 100

/* How long the last bytes of a guest that has ended may wait until some of them leave. */
#define DRAIN_MS 5000

static void kill_guest(struct timer *t)
{
	struct tracer *tr = container_of(t, struct tracer, kill_timer);

	htab_for_each (n, &tr->tasks)
		kill(container_of(n, struct task, node)->tid, SIGKILL);
	/* One that was being made meanwhile is found the next time. */
	loop_timer(&tr->loop, t, KILL_AGAIN_MS);
}

void tracer_link_gone(struct tracer *tr)
{
	incoming_link_lost(&tr->incoming);
	outgoing_link_lost(&tr->outgoing);
	datagram_link_lost(&tr->datagrams);
	fs_link_lost(&tr->fs);
}

void tracer_link_back(struct tracer *tr)
{
	incoming_link_back(&tr->incoming);
	outgoing_link_back(&tr->outgoing);
	datagram_link_back(&tr->datagrams);
	fs_link_back(&tr->fs);
}

void tracer_link_lost(struct tracer *tr)
{
	tr->failed = true;
	tracer_link_gone(tr);
	job_kill(tr, SIGTERM);
	job_kill(tr, SIGCONT);
	loop_timer(&tr->loop, &tr->kill_timer, KILL_AFTER_MS);
}

/* The program that traces us, if there is one, is mirrord-trace. */
static bool is_nested(void)
{
	unsigned long long tracer;
	char name[32];

	return procfs_status(getpid(), "TracerPid", 10, &tracer) && tracer &&
	       procfs_read((pid_t)tracer, "comm", name, sizeof(name)) &&
	       strcmp(name, "mirrord-trace\n") == 0;
}

static void drain_over(struct timer *t)
{
	(void)t; /* it ends the wait of a turn */
}

static void tracer_init(struct tracer *tr, const struct config *cfg)
{
	*tr = (struct tracer){ .cfg = cfg, .status = GUEST_RUNS };
	tr->listener.fd = tr->signals.fd = tr->report.fd = -1;
	timer_init(&tr->kill_timer, kill_guest);
	timer_init(&tr->drain_timer, drain_over);
	follow_init(&tr->follow, &tr->loop);
	sock_table_init(&tr->socks, tr);
	incoming_init(&tr->incoming, tr);
	outgoing_init(&tr->outgoing, tr);
	datagram_init(&tr->datagrams, tr);
}

static void tracer_done(struct tracer *tr)
{
	fs_done(&tr->fs);
	link_close(&tr->link);
	timer_cancel(&tr->kill_timer);
	timer_cancel(&tr->drain_timer);
	timer_cancel(&tr->follow.rest);
	task_table_done(tr);
	datagram_done(&tr->datagrams);
	loop_done(&tr->loop);
	incoming_done(&tr->incoming);
	outgoing_done(&tr->outgoing);
	names_free(tr->names);
	policy_free(tr->policy);
	sock_table_done(&tr->socks);
	environ_free(tr->env);
	context_done(&tr->context);
}

/* The guest has ended; what it sent last is still to be read by our relays and passed on. */
static void drain(struct tracer *tr)
{
	uint64_t end = now_ns() + DRAIN_MS * NS_PER_MS;
	uint64_t sent = tr->link.mux.sent;

	fs_finish(&tr->fs);
	while (now_ns() < end &&
		(incoming_is_sending(&tr->incoming) || outgoing_is_sending(&tr->outgoing) ||
			datagram_drain(&tr->datagrams) || fs_is_sending(&tr->fs))) {
		loop_timer(&tr->loop, &tr->drain_timer, DRAIN_MS);
		if (loop_turn(&tr->loop) < 0)
			return;
		if (tr->link.mux.sent != sent)
			end = now_ns() + DRAIN_MS * NS_PER_MS;
		sent = tr->link.mux.sent;
	}
}

/* What must be known of the target before the program starts. 0, or -errno and e. */
static int get_context(struct tracer *tr, struct err *e)
{
	struct context *cx = &tr->context;
	int r = tr->link.open ? context_get(cx, tr, e) : 0;

	if (r == 0)
		r = environ_make(&tr->env, environ, (const char *)buf_head(&cx->environ),
			buf_len(&cx->environ), tr->cfg, e);
	buf_done(&cx->environ);
	return r;
}

/* A namespace has no files of its own: but for those of name resolution they are this machine's,
 * and need no agent. */
static void settle_files(struct config *cfg, const struct context *cx)
{
	if (!cx->has_files && !cfg->fs_read_write.n && !cfg->fs_read_only.n && !cfg->fs_map.n)
		cfg->fs_mode = FS_MODE_LOCAL;
}

/* Run the guest to its end. Its wait status, or GUEST_RUNS when it could not be started. */
static int run(struct tracer *tr, struct config *cfg, struct err *e)
{
	int r = loop_init(&tr->loop);

	if (r < 0) {
		err_set(e, r, "no event loop: %s", strerror(-r));
		return GUEST_RUNS;
	}
	tr->names = names_new(tr);
	if (!tr->names || policy_compile(&tr->policy, tr->cfg, e) < 0 || fs_check(cfg, e) < 0 ||
		link_open(&tr->link, tr, e) < 0 || get_context(tr, e) < 0) {
		tracer_done(tr);
		return GUEST_RUNS;
	}
	settle_files(cfg, &tr->context);
	if (fs_start(&tr->fs, tr, e) < 0) {
		tracer_done(tr);
		return GUEST_RUNS;
	}
	if (launch(tr, e) == 0 && loop_run(&tr->loop) == 0)
		drain(tr);
	tracer_done(tr);
	return tr->status;
}

static int exec_failed(const struct tracer *tr)
{
	log_err("'%s' cannot be executed: %s", tr->cfg->argv[0], strerror(tr->exec_errno));
	return tr->exec_errno == ENOENT ? 127 : 126;
}

/* Descriptors 0 to 2 exist, so that none of ours ever takes their place. */
static void guard_standard_fds(void)
{
	for (int fd = 0; fd < 3; fd++) {
		if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", O_RDWR | O_CLOEXEC) != fd)
			die(EXIT_OURS, "/dev/null cannot be opened: %s", strerror(errno));
	}
}

/* A program that this machine does not have may be one of the target's files. */
static bool may_be_there(const struct config *cfg)
{
	return strchr(cfg->argv[0], '/') && access(cfg->argv[0], F_OK) < 0 &&
	       fs_policy_may_be_remote(cfg);
}

int main(int argc, char **argv)
{
	static struct tracer tr;
	static struct config cfg; /* as long as the process */
	struct err e = { "" };
	int status;

	log_init("mirrord-trace", false);
	guard_standard_fds();
	switch (config_parse(&cfg, argc, argv, &e)) {
	case CONFIG_ERROR:
		die(EXIT_OURS, "%s", e.text);
	case CONFIG_EXIT:
		return 0;
	case CONFIG_RUN:
		break;
	}
	log_init("mirrord-trace", cfg.verbose);
	if (is_nested())
		die(EXIT_OURS, "this runs under mirrord-trace already; start the program without a "
			       "second one");
	if (config_targetless(&cfg)) {
		cfg.incoming = INCOMING_OFF;
		cfg.outgoing = cfg.dns = cfg.env = cfg.hostname = false;
		cfg.fs_mode = FS_MODE_LOCAL;
	}
	if (probe_needed(&e) < 0)
		die(EXIT_OURS, "%s", e.text);
	status = launch_find(cfg.argv[0], &e);
	if (status && !may_be_there(&cfg))
		die(status, "%s", e.text);
	tracer_init(&tr, &cfg);
	status = run(&tr, &cfg, &e);
	if (tr.exec_errno)
		return exec_failed(&tr);
	if (status == GUEST_RUNS && tr.link.agent_spoke)
		return EXIT_OURS;
	if (status == GUEST_RUNS)
		die(EXIT_OURS, "%s", *e.text ? e.text : "the program could not be started");
	if (tr.failed)
		return EXIT_OURS;
	job_end(status);
}
