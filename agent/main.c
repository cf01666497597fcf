/* mirrord-agent: enter a target's network namespace once, then serve clients from there.
 *
 * The clients' address belongs to the namespace the agent was started in, so it is opened before
 * the target is entered. With --fd there is one client, and the agent lives as long as its link. */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>

#include "listen.h"
#include "session.h"

struct options {
	const char *target;
	const char *listen;
	int fd; /* -1: none */
	bool verbose;
};

struct option_row {
	const char *name;
	char key; /* also the short option, for those with `brief` */
	bool brief;
	const char *arg;
	const char *help;
};

static const struct option_row option_rows[] = {
	{ "target", 't', true, "T", "pid:N, container:ID or netns:PATH" },
	{ "listen", 'l', true, "ADDR", "serve clients at unix:PATH or tcp:HOST:PORT" },
	{ "fd", 'F', false, "N", "serve one client at the open stream socket N" },
	{ "verbose", 'v', true, NULL, "say on stderr what is done" },
	{ "version", 'V', false, NULL, "print the version" },
	{ "help", 'h', false, NULL, "print this" },
};

static void print_help(void)
{
	puts("usage: mirrord-agent --target T (--listen ADDR | --fd N) [-v]");
	for (size_t i = 0; i < ARRAY_SIZE(option_rows); i++) {
		const struct option_row *o = &option_rows[i];
		char brief[] = "   ";

		if (o->brief)
			snprintf(brief, sizeof(brief), "-%c,", o->key);
		printf("  %s --%-8s %-5s %s\n", brief, o->name, o->arg ? o->arg : "", o->help);
	}
}

static int fd_number(const char *text)
{
	char *end;
	long n = strtol(text, &end, 10);

	if (*text < '0' || *text > '9' || *end || n > INT32_MAX)
		die(EXIT_OURS, "\"%s\" is not a descriptor; say --fd NUMBER", text);
	return (int)n;
}

static void require_stream_socket(int fd)
{
	int type = 0;
	socklen_t len = sizeof(type);

	if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) < 0 || type != SOCK_STREAM)
		die(EXIT_OURS, "descriptor %d of --fd is not a connected stream socket", fd);
}

static void set_option(struct options *o, int key)
{
	switch (key) {
	case 't':
		o->target = optarg;
		break;
	case 'l':
		o->listen = optarg;
		break;
	case 'F':
		o->fd = fd_number(optarg);
		break;
	case 'v':
		o->verbose = true;
		break;
	case 'V':
		puts("mirrord-agent " VERSION);
		exit(EXIT_SUCCESS);
	case 'h':
		print_help();
		exit(EXIT_SUCCESS);
	default:
		exit(EXIT_OURS); /* getopt has said why */
	}
}

static struct options parse_options(int argc, char **argv)
{
	static char name[] = "mirrord-agent"; /* getopt's messages begin with it */
	struct option longs[ARRAY_SIZE(option_rows) + 1] = { 0 };
	char shorts[2 * ARRAY_SIZE(option_rows) + 1];
	struct options o = { .fd = -1 };
	size_t n = 0;
	int key;

	for (size_t i = 0; i < ARRAY_SIZE(option_rows); i++) {
		const struct option_row *row = &option_rows[i];

		longs[i] = (struct option){ row->name, row->arg ? required_argument : no_argument,
			NULL, row->key };
		if (row->brief)
			shorts[n++] = row->key;
		if (row->brief && row->arg)
			shorts[n++] = ':';
	}
	shorts[n] = '\0';
	argv[0] = name;
	while ((key = getopt_long(argc, argv, shorts, longs, NULL)) != -1)
		set_option(&o, key);
	if (optind < argc)
		die(EXIT_OURS, "unexpected argument \"%s\"; see --help", argv[optind]);
	if (!o.target)
		die(EXIT_OURS, "--target is missing; see --help");
	if (!o.listen == (o.fd < 0))
		die(EXIT_OURS, "say where the clients are: either --listen ADDR or --fd N");
	if (o.fd >= 0)
		require_stream_socket(o.fd);
	return o;
}

/* Each connection takes a descriptor. */
static void raise_file_limit(void)
{
	struct rlimit r;

	if (getrlimit(RLIMIT_NOFILE, &r) == 0 && r.rlim_cur < r.rlim_max) {
		r.rlim_cur = r.rlim_max;
		setrlimit(RLIMIT_NOFILE, &r);
	}
}

/* --- serving --- */

struct server {
	struct agent agent;
	struct listen_addr listen;
	struct acceptor acceptor;
	struct watch signals;
};

static void got_signal(struct watch *w, __attribute__((unused)) uint32_t events)
{
	struct server *s = container_of(w, struct server, signals);

	log_dbg("ended by a signal");
	s->agent.loop.stop = true;
}

/* The client of --fd ends the agent by closing its end. A SIGINT that the terminal sends to the
 * client's whole process group is not meant for us: the guest may handle it, and go on. */
static int watch_signals(struct server *s)
{
	sigset_t set;
	int fd, r;

	signal(SIGPIPE, SIG_IGN);
	signal(SIGXFSZ, SIG_IGN); /* a client's write beyond our limit is an error of that write */
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	if (s->agent.ends_with_session) {
		signal(SIGINT, SIG_IGN);
		signal(SIGQUIT, SIG_IGN);
		signal(SIGHUP, SIG_IGN);
	} else {
		sigaddset(&set, SIGINT);
		sigaddset(&set, SIGHUP);
	}
	sigprocmask(SIG_BLOCK, &set, NULL);
	fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
	if (fd < 0)
		return -errno;
	r = loop_add(&s->agent.loop, &s->signals, fd, EPOLLIN, got_signal);
	if (r < 0)
		close(fd);
	return r;
}

static void client_accepted(struct acceptor *a, int fd)
{
	struct server *s = container_of(a, struct server, acceptor);
	int r = session_start(&s->agent, fd);

	if (r < 0)
		log_err("cannot serve a client: %s", strerror(-r));
}

static int start(struct server *s, const struct options *o)
{
	struct agent *agent = &s->agent;
	int r;

	list_init(&agent->sessions);
	drain_init(&agent->drain, &agent->loop);
	steal_init(&agent->steal, &agent->drain);
	mirror_init(&agent->mirror, &agent->loop);
	agent->ends_with_session = o->fd >= 0;
	r = watch_signals(s);
	if (r < 0)
		return r;
	if (o->fd >= 0)
		return session_start(agent, o->fd);
	r = acceptor_start(&s->acceptor, &agent->loop, s->listen.fd, client_accepted);
	if (r == 0 && (puts("agent ready") == EOF || fflush(stdout) == EOF))
		log_dbg("nobody reads stdout");
	return r;
}

static void finish(struct server *s)
{
	int signals = s->signals.fd;

	acceptor_stop(&s->acceptor);
	listen_close(&s->listen);
	session_end_all(&s->agent);
	steal_done(&s->agent.steal);
	mirror_done(&s->agent.mirror);
	drain_done(&s->agent.drain);
	loop_del(&s->agent.loop, &s->signals);
	close_fd(&signals);
	loop_done(&s->agent.loop);
	target_close(&s->agent.target);
}

int main(int argc, char **argv)
{
	static struct server server = { .listen.fd = -1 };
	struct options o;
	struct err e;
	int r;

	log_init("mirrord-agent", false);
	o = parse_options(argc, argv);
	/* A supervisor's own agent speaks for it. */
	log_init(o.fd >= 0 ? "mirrord-trace: agent" : "mirrord-agent", o.verbose);
	raise_file_limit();
	umask(0); /* a client says the mode that a file is to have */
	r = loop_init(&server.agent.loop);
	if (r < 0)
		die(EXIT_OURS, "cannot make an epoll set: %s", strerror(-r));
	if (target_find(&server.agent.target, o.target, &e) < 0)
		die(EXIT_OURS, "%s", e.text);
	if (o.listen && listen_open(&server.listen, o.listen, &e) < 0)
		die(EXIT_OURS, "%s", e.text);
	if (target_enter(&server.agent.target, &e) < 0) {
		listen_close(&server.listen);
		die(EXIT_OURS, "%s", e.text);
	}
	r = start(&server, &o);
	if (r == 0)
		r = loop_run(&server.agent.loop);
	if (r < 0)
		log_err("cannot serve: %s", strerror(-r));
	finish(&server);
	return r < 0 ? EXIT_OURS : EXIT_SUCCESS;
}
