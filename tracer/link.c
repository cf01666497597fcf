/* An agent of our own is a child with one end of a socket pair: it ends when that socket closes,
 * however we end. It has a session of its own, so that Ctrl-C reaches the guest and not the agent.
 */
#include "link.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tracer.h"
#include "util.h"

#define AGENT_NAME "mirrord-agent"
#define AGENT_FD   3 /* its end of the socket pair */

static struct tracer *tracer_of(struct link *l)
{
	return container_of(l, struct tracer, link);
}

/* --- messages --- */

static bool is_here(const struct msg_hello *h)
{
	char boot[64] = "", theirs[65];
	FILE *f = fopen("/proc/sys/kernel/random/boot_id", "re");
	struct stat st;

	if (f) {
		if (fgets(boot, sizeof(boot), f))
			boot[strcspn(boot, "\n")] = '\0';
		fclose(f);
	}
	proto_print(h->boot_id, theirs, sizeof(theirs));
	return *boot && strcmp(boot, theirs) == 0 && stat("/proc/self/ns/net", &st) == 0 &&
	       st.st_dev == h->netns_dev && st.st_ino == h->netns_ino;
}

static struct addr read_address(struct reader *r)
{
	unsigned family = (unsigned)read_uint(r, 1);
	const uint8_t *p;
	struct in6_addr ip6;

	if (family == PROTO_IPV4)
		return addr_v4((uint32_t)read_uint(r, 4), 0);
	p = read_bytes(r, sizeof(ip6));
	r->bad |= family != PROTO_IPV6;
	if (r->bad)
		return (struct addr){ 0 };
	memcpy(&ip6, p, sizeof(ip6));
	return addr_v6(&ip6, 0);
}

/* False when they are malformed. */
static bool keep_addresses(struct link *l, struct span s)
{
	const uint8_t *p = s.data;
	struct reader r = { p, p + s.len, false };

	while (!r.bad && r.p != r.end) {
		struct addr a = read_address(&r);

		if (!r.bad && l->naddresses < LINK_ADDRESSES_MAX)
			l->addresses[l->naddresses++] = a;
	}
	return !r.bad;
}

bool link_has_address(const struct link *l, const struct addr *a)
{
	struct addr ip = addr_unmap(a);

	if (ip.sa.sa_family == AF_INET6)
		ip.in6.sin6_scope_id = 0;
	for (unsigned i = 0; i < l->naddresses; i++) {
		if (addr_same_ip(&l->addresses[i], &ip))
			return true;
	}
	return false;
}

bool link_may_return(const struct link *l)
{
	const struct tracer *tr = container_of(l, const struct tracer, link);

	return tr->cfg->on_link_loss == LINK_LOSS_RECONNECT && !l->given_up;
}

static void link_back(struct link *l)
{
	l->retry_until = 0;
	timer_cancel(&l->patience);
	log_err("the link to the agent is back");
	tracer_link_back(tracer_of(l));
}

static void got_hello(struct link *l, const struct msg *m)
{
	char about[257];

	if (m->hello.magic != PROTO_MAGIC || m->hello.version != PROTO_VERSION) {
		mux_fail(&l->mux, EPROTO, "it is of another version; both must be the same");
		return;
	}
	if (!keep_addresses(l, m->hello.addresses)) {
		mux_fail(&l->mux, EPROTO, "its hello is malformed");
		return;
	}
	l->hello = true;
	l->here = is_here(&m->hello);
	log_dbg("agent ready: %s%s", proto_print(m->hello.about, about, sizeof(about)),
		l->here ? ", in our own network namespace" : "");
	if (l->retry_until)
		link_back(l);
}

static void link_message(struct mux *mux, const struct msg *m)
{
	struct link *l = container_of(mux, struct link, mux);
	char text[512];

	if (!l->hello && m->type != MSG_hello && m->type != MSG_notice)
		mux_fail(mux, EPROTO, "it does not begin with a hello");
	else if (m->type == MSG_hello && !l->hello)
		got_hello(l, m);
	else if (m->type == MSG_notice)
		log_err("the agent says: %s", proto_print(m->notice.text, text, sizeof(text)));
	else if (m->type == MSG_context || m->type == MSG_environ)
		context_message(&tracer_of(l)->context, m);
	else if (!fs_message(&tracer_of(l)->fs, m))
		incoming_message(&tracer_of(l)->incoming, m);
}

static const char *describe(int status, char *s, size_t size)
{
	if (WIFSIGNALED(status))
		snprintf(s, size, "it was killed by signal %d", WTERMSIG(status));
	else
		snprintf(s, size, "it ended with status %d", WEXITSTATUS(status));
	return s;
}

void link_child_ended(struct link *l, pid_t pid, int status)
{
	if (pid != l->agent)
		return;
	l->agent = 0;
	l->agent_spoke = WIFEXITED(status) && WEXITSTATUS(status) == EXIT_OURS;
	l->agent_in_order = WIFEXITED(status) && WEXITSTATUS(status) == 0;
	describe(status, l->agent_end, sizeof(l->agent_end));
}

/* The agent's end closes its socket a moment before the end itself can be seen. */
static void await_agent(struct link *l, int ms)
{
	struct pollfd p = { .fd = l->agent_pidfd, .events = POLLIN };
	int status;

	if (!l->agent || poll(&p, 1, ms) <= 0)
		return;
	if (waitpid(l->agent, &status, 0) == l->agent)
		link_child_ended(l, l->agent, status);
}

static void try_again(struct link *l)
{
	if (now_ns() < l->retry_until) {
		loop_timer(&tracer_of(l)->loop, &l->retry, LINK_RETRY_MS);
		return;
	}
	l->retry_until = 0;
	l->given_up = true;
	log_err("no agent has answered for %u s: the program is ended; start it again",
		LINK_RECONNECT_MS / 1000);
	tracer_link_lost(tracer_of(l));
}

/* The guest runs. */
static void lost_under_way(struct link *l, const char *why)
{
	struct tracer *tr = tracer_of(l);

	if (l->retry_until) {
		log_dbg("no link yet: %s", why);
		try_again(l);
		return;
	}
	switch ((enum on_link_loss)tr->cfg->on_link_loss) {
	case LINK_LOSS_RECONNECT:
		log_err("the link to the agent is lost (%s): the target's connections are reset; a "
			"new link is tried for %u s, new connections wait for it",
			why, LINK_RECONNECT_MS / 1000);
		fs_link_broken(&tr->fs);
		l->retry_until = now_ns() + LINK_RECONNECT_MS * NS_PER_MS;
		loop_timer(&tr->loop, &l->retry, 0);
		return;
	case LINK_LOSS_FAIL:
		log_err("the link to the agent is lost (%s): the target's connections are reset, "
			"new ones fail, and its traffic comes no more; the program goes on",
			why);
		tracer_link_gone(tr);
		return;
	default:
		log_err("the link to the agent is lost (%s): the target's connections are reset "
			"and the program is ended; start it again",
			why);
		tracer_link_lost(tr);
	}
}

static void link_lost(struct mux *mux, int error, const char *why)
{
	struct link *l = container_of(mux, struct link, mux);
	struct tracer *tr = tracer_of(l);

	(void)error;
	await_agent(l, 500);
	if (*l->agent_end && !l->agent_in_order)
		why = l->agent_end;
	l->hello = false;
	if (l->err) {
		err_set(l->err, -ECONNRESET, "the agent ended the link before it was ready: %s",
			why);
		return;
	}
	if (tr->tasks.count)
		lost_under_way(l, why);
}

static void link_before_send(struct mux *mux)
{
	fs_before_send(&tracer_of(container_of(mux, struct link, mux))->fs);
}

static const struct mux_ops link_ops = {
	.message = link_message,
	.lost = link_lost,
	.before_send = link_before_send,
};

/* --- connecting --- */

static int connect_socket(int family, const struct sockaddr *sa, socklen_t len, const char *name,
	bool again, struct err *e)
{
	cleanup_fd int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);

	/* The second time nothing may wait: a failure shows as that of the link. */
	if (fd >= 0 && again)
		fcntl(fd, F_SETFL, O_NONBLOCK);
	if (fd < 0 || (connect(fd, sa, len) < 0 && !(again && errno == EINPROGRESS)))
		return err_set(e, -errno, "no agent answers at %s: %s", name, strerror(errno));
	return take_fd(&fd);
}

static int connect_unix(const char *path, const char *name, bool again, struct err *e)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };

	if (!*path || strlen(path) >= sizeof(un.sun_path))
		return err_set(e, -EINVAL, "the path in --agent %s must have 1 to %zu bytes", name,
			sizeof(un.sun_path) - 1);
	strcpy(un.sun_path, path);
	return connect_socket(AF_UNIX, (void *)&un, sizeof(un), name, again, e);
}

static int connect_agent(const char *name, bool again, struct err *e)
{
	struct addr a;

	if (strncmp(name, "unix:", 5) == 0)
		return connect_unix(name + 5, name, again, e);
	if (strncmp(name, "tcp:", 4) != 0 || addr_parse(&a, name + 4) < 0)
		return err_set(e, -EINVAL,
			"--agent is unix:PATH or tcp:ADDRESS:PORT; it cannot be '%s'", name);
	return connect_socket(a.sa.sa_family, &a.sa, addr_len(&a), name, again, e);
}

/* --- starting one --- */

/* The agent beside our own executable; else it is looked for in PATH. */
static void agent_path(char *path, size_t size)
{
	ssize_t n = readlink("/proc/self/exe", path, size - sizeof(AGENT_NAME) - 1);
	char *slash;

	path[n > 0 ? n : 0] = '\0';
	slash = strrchr(path, '/');
	strcpy(slash ? slash + 1 : path, AGENT_NAME);
	if (access(path, X_OK) < 0)
		strcpy(path, AGENT_NAME);
}

static void exec_agent(const char *target, int fd)
{
	char path[PATH_MAX], number[16];

	setsid();
	/* What we were started with is the guest's, but for stderr: it must not be kept open here.
	 */
	dup2(fd, AGENT_FD);
	close_range(AGENT_FD + 1, ~0U, 0);
	dup2(open("/dev/null", O_RDWR | O_CLOEXEC), STDIN_FILENO);
	dup2(STDIN_FILENO, STDOUT_FILENO);
	snprintf(number, sizeof(number), "%d", AGENT_FD);
	agent_path(path, sizeof(path));
	if (log_is_verbose())
		execlp(path, AGENT_NAME, "-v", "--target", target, "--fd", number, NULL);
	else
		execlp(path, AGENT_NAME, "--target", target, "--fd", number, NULL);
	log_err("%s cannot be started: %s; install it beside mirrord-trace, or name one that runs "
		"with --agent",
		path, strerror(errno));
	_exit(EXIT_OURS);
}

static int start_agent(struct link *l, const char *target, struct err *e)
{
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return err_set(e, -errno, "no socket pair for the agent: %s", strerror(errno));
	l->agent = fork();
	if (l->agent == 0)
		exec_agent(target, pair[1]);
	close(pair[1]);
	if (l->agent < 0) {
		close(pair[0]);
		return err_set(e, -errno, "no process for the agent: %s", strerror(errno));
	}
	close_fd(&l->agent_pidfd);
	l->agent_pidfd = (int)syscall(SYS_pidfd_open, l->agent, 0);
	l->agent_end[0] = '\0';
	return pair[0];
}

static void out_of_patience(struct timer *t)
{
	struct link *l = container_of(t, struct link, patience);

	mux_fail(&l->mux, ETIMEDOUT, "it did not answer in time");
}

static void say_hello(struct link *l)
{
	struct msg hello = { .type = MSG_hello,
		.hello = { .magic = PROTO_MAGIC,
			.version = PROTO_VERSION,
			.boot_id = span_of(""),
			.about = span_of("mirrord-trace " VERSION) } };

	loop_timer(&tracer_of(l)->loop, &l->patience, LINK_ANSWER_MS);
	mux_send(&l->mux, &hello);
}

int link_await(struct link *l, const bool *there, struct err *e)
{
	struct loop *loop = &tracer_of(l)->loop;
	int r = 0;

	l->err = e;
	e->text[0] = '\0';
	loop_timer(loop, &l->patience, LINK_ANSWER_MS);
	mux_flush(&l->mux, LINK_ANSWER_MS);
	while (!*there && !l->mux.lost && r == 0)
		r = loop_turn(loop);
	timer_cancel(&l->patience);
	l->err = NULL;
	if (r < 0)
		return err_set(e, r, "the agent cannot be waited for: %s", strerror(-r));
	return l->mux.lost ? -ECONNRESET : 0;
}

static int await_hello(struct link *l, struct err *e)
{
	say_hello(l);
	return link_await(l, &l->hello, e);
}

/* A stream to an agent, and the mux over it. */
static int connect_link(struct link *l, bool again, struct err *e)
{
	struct tracer *tr = tracer_of(l);
	const struct config *cfg = tr->cfg;
	int fd = cfg->agent ? connect_agent(cfg->agent, again, e) : start_agent(l, cfg->target, e);
	int r;

	if (fd < 0)
		return fd;
	r = mux_init(&l->mux, &tr->loop, fd, PROTO_CLIENT, &link_ops);
	if (r < 0) {
		close(fd);
		return err_set(e, r, "the link cannot be set up: %s", strerror(-r));
	}
	l->open = true;
	return 0;
}

static void retry(struct timer *t)
{
	struct link *l = container_of(t, struct link, retry);
	struct err e;

	mux_done(&l->mux);
	l->naddresses = 0;
	if (connect_link(l, true, &e) < 0) {
		log_dbg("no link yet: %s", e.text);
		l->mux.lost = true;
		try_again(l);
		return;
	}
	say_hello(l);
}

int link_open(struct link *l, struct tracer *tr, struct err *e)
{
	int r;

	*l = (struct link){ .agent_pidfd = -1 };
	timer_init(&l->patience, out_of_patience);
	timer_init(&l->retry, retry);
	if (config_targetless(tr->cfg))
		return 0;
	r = connect_link(l, false, e);
	return r < 0 ? r : await_hello(l, e);
}

/* Say that nothing more will come, and wait for the agent to close its end: it does when all that
 * it did for us is undone. */
static void say_goodbye(struct link *l)
{
	struct pollfd p = { .fd = l->mux.watch.fd, .events = POLLIN };
	uint64_t end = now_ns() + LINK_BYE_MS * NS_PER_MS;
	char sink[4096];

	mux_flush(&l->mux, LINK_BYE_MS);
	shutdown(p.fd, SHUT_WR);
	while (now_ns() < end && poll(&p, 1, LINK_BYE_MS) > 0) {
		if (recv(p.fd, sink, sizeof(sink), MSG_DONTWAIT) <= 0)
			break;
	}
}

void link_close(struct link *l)
{
	if (link_is_up(l))
		say_goodbye(l);
	if (l->open)
		mux_done(&l->mux);
	l->open = false;
	await_agent(l, LINK_BYE_MS);
	if (l->agent) {
		kill(l->agent, SIGKILL);
		await_agent(l, LINK_BYE_MS);
	}
	close_fd(&l->agent_pidfd);
}
