/* sock: makes the socket calls it is told to, one on each line of standard input, and prints one
 * line with what came of it: the result, the errno, the addresses.
 *
 * The same lines must give the same answers in the target's namespaces and under the supervisor.
 * The clients of the scenarios (test/e2e/scenarios/) are this program too.
 *
 * A socket has a name; "#7" is the descriptor 7 itself, whatever that is. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define SOCKETS_MAX 32
#define WORDS_MAX   12
#define LINE_MAX_   4096

static struct {
	char name[16];
	int fd;
} sockets[SOCKETS_MAX];

struct symbol {
	const char *name;
	int value;
};

#define S(name) ((struct symbol){ #name, name })
static const struct symbol errors[] = { S(EACCES), S(EADDRINUSE), S(EADDRNOTAVAIL), S(EAFNOSUPPORT),
	S(EAGAIN), S(EBADF), S(ECONNABORTED), S(ECONNREFUSED), S(ECONNRESET), S(EDESTADDRREQ),
	S(EFAULT), S(EINPROGRESS), S(EINTR), S(EINVAL), S(EISCONN), S(EMFILE), S(ENOENT),
	S(ENOPROTOOPT), S(ENOTCONN), S(ENOTSOCK), S(EOPNOTSUPP), S(EPERM), S(EPIPE),
	S(EPROTONOSUPPORT), S(ETIMEDOUT), { 0 } };

static const struct symbol constants[] = { { "inet", AF_INET }, { "inet6", AF_INET6 },
	{ "unix", AF_UNIX }, { "stream", SOCK_STREAM }, { "dgram", SOCK_DGRAM },
	{ "nonblock", SOCK_NONBLOCK }, { "cloexec", SOCK_CLOEXEC }, { "rd", SHUT_RD },
	{ "wr", SHUT_WR }, { "rdwr", SHUT_RDWR }, { 0 } };

static const struct symbol poll_events[] = { S(POLLIN), S(POLLOUT), S(POLLERR), S(POLLHUP),
	S(POLLRDHUP), S(POLLNVAL), { 0 } };

static const struct {
	const char *name;
	int level, option;
} options[] = {
	{ "reuseaddr", SOL_SOCKET, SO_REUSEADDR },
	{ "reuseport", SOL_SOCKET, SO_REUSEPORT },
	{ "acceptconn", SOL_SOCKET, SO_ACCEPTCONN },
	{ "domain", SOL_SOCKET, SO_DOMAIN },
	{ "type", SOL_SOCKET, SO_TYPE },
	{ "protocol", SOL_SOCKET, SO_PROTOCOL },
	{ "error", SOL_SOCKET, SO_ERROR },
	{ "keepalive", SOL_SOCKET, SO_KEEPALIVE },
	{ "v6only", IPPROTO_IPV6, IPV6_V6ONLY },
};

static void fail(const char *what)
{
	printf("sock: cannot understand %s\n", what);
	exit(99);
}

static const char *error_name(int error)
{
	static char number[16];

	for (const struct symbol *s = errors; s->name; s++)
		if (s->value == error)
			return s->name;
	snprintf(number, sizeof(number), "E%d", error);
	return number;
}

/* "a|b" or a number; an empty or missing word is 0. */
static int flags_of(const char *word)
{
	char copy[64], *save = NULL;
	int value = 0;

	snprintf(copy, sizeof(copy), "%s", word ? word : "");
	for (char *w = strtok_r(copy, "|", &save); w; w = strtok_r(NULL, "|", &save)) {
		const struct symbol *s = constants;

		while (s->name && strcmp(s->name, w) != 0)
			s++;
		value |= s->name ? s->value : (int)strtol(w, NULL, 0);
	}
	return value;
}

static int *slot_of(const char *name, bool make)
{
	int empty = -1;

	for (int i = 0; i < SOCKETS_MAX; i++) {
		if (!sockets[i].name[0] && empty < 0)
			empty = i;
		else if (strcmp(sockets[i].name, name) == 0)
			return &sockets[i].fd;
	}
	if (!make || empty < 0)
		fail(name);
	snprintf(sockets[empty].name, sizeof(sockets[empty].name), "%s", name);
	return &sockets[empty].fd;
}

static int fd_of(const char *name)
{
	return name[0] == '#' ? atoi(name + 1) : *slot_of(name, false);
}

static void forget(const char *name)
{
	for (int i = 0; i < SOCKETS_MAX; i++)
		if (strcmp(sockets[i].name, name) == 0)
			sockets[i].name[0] = 0;
}

/* "10.0.0.1:80", "[::1]:80", "/path", "unspec"; "null" and "bad" are pointers to nothing. */
static struct sockaddr *address_of(const char *text, struct sockaddr_storage *ss, socklen_t *len)
{
	struct sockaddr_in *in = (void *)ss;
	struct sockaddr_in6 *in6 = (void *)ss;
	struct sockaddr_un *un = (void *)ss;
	char host[64] = "";
	int port = 0;

	memset(ss, 0, sizeof(*ss));
	*len = sizeof(*in);
	if (strcmp(text, "null") == 0)
		return NULL;
	if (strcmp(text, "bad") == 0)
		return (void *)8;
	if (strcmp(text, "unspec") == 0)
		return (void *)ss;
	if (text[0] == '/') {
		un->sun_family = AF_UNIX;
		snprintf(un->sun_path, sizeof(un->sun_path), "%s", text);
		*len = sizeof(*un);
	} else if (sscanf(text, "[%63[^]]]:%d", host, &port) == 2) {
		in6->sin6_family = AF_INET6;
		in6->sin6_port = htons((uint16_t)port);
		if (inet_pton(AF_INET6, host, &in6->sin6_addr) != 1)
			fail(text);
		*len = sizeof(*in6);
	} else if (sscanf(text, "%63[^:]:%d", host, &port) == 2) {
		in->sin_family = AF_INET;
		in->sin_port = htons((uint16_t)port);
		if (inet_pton(AF_INET, host, &in->sin_addr) != 1)
			fail(text);
	} else {
		fail(text);
	}
	return (void *)ss;
}

/* What the kernel wrote, of which only min(len, room) bytes can be believed. */
static void print_address(const struct sockaddr_storage *ss, socklen_t len, socklen_t room)
{
	const struct sockaddr_in *in = (const void *)ss;
	const struct sockaddr_in6 *in6 = (const void *)ss;
	const unsigned char *raw = (const void *)ss;
	char host[INET6_ADDRSTRLEN];

	if (room < len) {
		for (socklen_t i = 0; i < room; i++)
			printf("%s%02x", i ? "" : " cut ", raw[i]);
		/* A write beyond the guest's buffer would be seen here. */
		for (socklen_t i = room; i < sizeof(*ss); i++)
			if (raw[i] != 0xee) {
				printf(" OVERRUN");
				break;
			}
	} else if (len >= sizeof(*in) && ss->ss_family == AF_INET) {
		inet_ntop(AF_INET, &in->sin_addr, host, sizeof(host));
		printf(" %s:%d", host, ntohs(in->sin_port));
	} else if (len >= sizeof(*in6) && ss->ss_family == AF_INET6) {
		inet_ntop(AF_INET6, &in6->sin6_addr, host, sizeof(host));
		printf(" [%s]:%d", host, ntohs(in6->sin6_port));
		if (in6->sin6_flowinfo || in6->sin6_scope_id)
			printf(" flow %x scope %u", in6->sin6_flowinfo, in6->sin6_scope_id);
	} else if (ss->ss_family == AF_UNIX) {
		printf(" unix");
	}
	printf(" len %u", (unsigned)len);
}

static void print_result(long result)
{
	if (result < 0)
		printf("-1 %s", error_name(errno));
	else
		printf("%ld", result);
}

static void do_socket(char **w)
{
	int fd = socket(flags_of(w[2]), flags_of(w[3]), flags_of(w[4]));

	print_result(fd);
	*slot_of(w[1], true) = fd;
}

static void do_bind(char **w)
{
	struct sockaddr_storage ss;
	socklen_t len;
	struct sockaddr *sa = address_of(w[2], &ss, &len);

	print_result(bind(fd_of(w[1]), sa, w[3] ? (socklen_t)atoi(w[3]) : len));
}

static void do_connect(char **w)
{
	struct sockaddr_storage ss;
	socklen_t len;
	struct sockaddr *sa = address_of(w[2], &ss, &len);

	print_result(connect(fd_of(w[1]), sa, len));
}

static void do_listen(char **w)
{
	print_result(listen(fd_of(w[1]), w[2] ? atoi(w[2]) : 16));
}

/* Where the kernel shall put an address: the word is nothing, "null", "bad", "badlen", a length. */
struct place {
	struct sockaddr_storage ss;
	socklen_t room, len;
	struct sockaddr *sa;
	socklen_t *lenp;
};

static void place_init(struct place *p, const char *word)
{
	memset(&p->ss, 0xee, sizeof(p->ss));
	p->len = sizeof(p->ss);
	p->sa = (void *)&p->ss;
	p->lenp = &p->len;
	if (!word)
		;
	else if (strcmp(word, "null") == 0)
		p->sa = NULL, p->lenp = NULL;
	else if (strcmp(word, "bad") == 0)
		p->sa = (void *)8;
	else if (strcmp(word, "badlen") == 0)
		p->lenp = (void *)8;
	else
		p->len = (socklen_t)strtol(word, NULL, 0);
	p->room = p->len < sizeof(p->ss) ? p->len : sizeof(p->ss);
}

static void place_print(const struct place *p, long result)
{
	print_result(result);
	if (result >= 0 && p->sa == (void *)&p->ss && p->lenp == &p->len)
		print_address(&p->ss, p->len, p->room);
}

/* accept LISTENER NAME [WHERE]      accept4 LISTENER NAME FLAGS [WHERE] */
static void do_accept(char **w)
{
	bool four = strcmp(w[0], "accept4") == 0;
	struct place p;
	int fd;

	place_init(&p, four ? w[4] : w[3]);
	fd = four ? accept4(fd_of(w[1]), p.sa, p.lenp, flags_of(w[3]))
		  : accept(fd_of(w[1]), p.sa, p.lenp);
	place_print(&p, fd);
	if (fd >= 0)
		*slot_of(w[2], true) = fd;
}

static void do_getname(char **w)
{
	struct place p;

	place_init(&p, w[2]);
	place_print(&p, w[0][3] == 's' ? getsockname(fd_of(w[1]), p.sa, p.lenp)
				       : getpeername(fd_of(w[1]), p.sa, p.lenp));
}

/* port NAME: only the number, for the client's use. */
static void do_port(char **w)
{
	struct sockaddr_in6 in6 = { 0 };
	socklen_t len = sizeof(in6);

	getsockname(fd_of(w[1]), (void *)&in6, &len);
	printf("%d", ntohs(in6.sin6_port));
}

static void do_close(char **w)
{
	print_result(close(fd_of(w[1])));
	forget(w[1]);
}

static void do_reset(char **w)
{
	struct linger linger = { .l_onoff = 1 };

	setsockopt(fd_of(w[1]), SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
	do_close(w);
}

static void do_shutdown(char **w)
{
	print_result(shutdown(fd_of(w[1]), flags_of(w[2])));
}

static void do_send(char **w)
{
	print_result(send(fd_of(w[1]), w[2], strlen(w[2]), MSG_NOSIGNAL));
}

/* recv NAME N: waits for N bytes, the end, or an error. */
static void do_recv(char **w)
{
	char bytes[1024] = "";
	size_t want = w[2] ? (size_t)atoi(w[2]) : sizeof(bytes) - 1, got = 0;
	ssize_t n = 1;

	while (got < want && (n = recv(fd_of(w[1]), bytes + got, want - got, 0)) > 0)
		got += (size_t)n;
	printf("\"%s\"", bytes);
	if (n == 0)
		printf(" end");
	else if (n < 0)
		printf(" %s", error_name(errno));
}

static void do_option(char **w)
{
	size_t i = 0;
	int value = w[3] ? atoi(w[3]) : 0;
	socklen_t len = sizeof(value);

	while (i < sizeof(options) / sizeof(options[0]) && strcmp(options[i].name, w[2]) != 0)
		i++;
	if (i == sizeof(options) / sizeof(options[0]))
		fail(w[2]);
	if (w[3]) {
		print_result(setsockopt(
			fd_of(w[1]), options[i].level, options[i].option, &value, sizeof(value)));
		return;
	}
	print_result(getsockopt(fd_of(w[1]), options[i].level, options[i].option, &value, &len));
	printf(" value %s", strcmp(w[2], "error") == 0 && value ? error_name(value) : "");
	if (strcmp(w[2], "error") != 0 || !value)
		printf("%d", value);
}

static void do_timeout(char **w)
{
	int ms = atoi(w[2]);
	struct timeval tv = { .tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000 };

	print_result(setsockopt(fd_of(w[1]), SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv)));
}

static void do_nonblock(char **w)
{
	int fl = fcntl(fd_of(w[1]), F_GETFL);

	print_result(fcntl(fd_of(w[1]), F_SETFL, atoi(w[2]) ? fl | O_NONBLOCK : fl & ~O_NONBLOCK));
}

static void do_flags(char **w)
{
	int fl = fcntl(fd_of(w[1]), F_GETFL), fd = fcntl(fd_of(w[1]), F_GETFD);

	if (fl < 0) {
		print_result(fl);
		return;
	}
	printf("%s%s%s", fl & O_NONBLOCK ? "nonblock " : "", fd & FD_CLOEXEC ? "cloexec " : "",
		(fl & O_ACCMODE) == O_RDWR ? "rdwr" : "");
}

static void print_events(int events)
{
	for (const struct symbol *s = poll_events; s->name; s++)
		if (events & s->value)
			printf(" %s", s->name + 4);
}

/* poll NAME IN,OUT,… MS */
static void do_poll(char **w)
{
	struct pollfd pfd = { .fd = fd_of(w[1]) };

	for (const struct symbol *s = poll_events; s->name; s++)
		if (strstr(w[2], s->name + 4))
			pfd.events |= (short)s->value;
	print_result(poll(&pfd, 1, atoi(w[3])));
	print_events(pfd.revents);
}

/* epoll NAME MS: is it readable? epoll's bits are poll's. */
static void do_epoll(char **w)
{
	struct epoll_event ev = { .events = EPOLLIN | EPOLLRDHUP };
	int epfd = epoll_create1(EPOLL_CLOEXEC);

	epoll_ctl(epfd, EPOLL_CTL_ADD, fd_of(w[1]), &ev);
	ev.events = 0;
	print_result(epoll_wait(epfd, &ev, 1, atoi(w[2])));
	print_events((int)ev.events);
	close(epfd);
}

static void do_dup(char **w)
{
	int fd = dup(fd_of(w[1]));

	print_result(fd);
	*slot_of(w[2], true) = fd;
}

/* The rest of the lines are the child's. It keeps the sockets; the parent only waits. */
static void become_child(void)
{
	int status = 0;
	pid_t pid = fork();

	if (pid == 0)
		return;
	for (int fd = 3; fd < 64; fd++)
		close(fd);
	waitpid(pid, &status, 0);
	_exit(WIFEXITED(status) ? WEXITSTATUS(status) : 98);
}

static void do_fork(char **w)
{
	(void)w;
	become_child();
	printf("child");
}

static void do_exec(char **w)
{
	char words[SOCKETS_MAX][40], *argv[SOCKETS_MAX + 2] = { w[0] };
	int n = 1;

	for (int i = 0; i < SOCKETS_MAX; i++)
		if (sockets[i].name[0]) {
			snprintf(words[i], sizeof(words[i]), "%.15s=%d", sockets[i].name,
				sockets[i].fd);
			argv[n++] = words[i];
		}
	execv("/proc/self/exe", argv);
	print_result(-1);
}

/* pass NAME: a child gets the socket by SCM_RIGHTS and goes on with it alone. */
static void do_pass(char **w)
{
	union {
		struct cmsghdr hdr;
		char space[CMSG_SPACE(sizeof(int))];
	} control = { 0 };
	char byte = 0;
	struct iovec iov = { .iov_base = &byte, .iov_len = 1 };
	struct msghdr msg = { .msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control) };
	int pair[2], *slot = slot_of(w[1], false);

	control.hdr.cmsg_level = SOL_SOCKET;
	control.hdr.cmsg_type = SCM_RIGHTS;
	control.hdr.cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(&control.hdr), slot, sizeof(int));
	if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) < 0 || sendmsg(pair[0], &msg, 0) != 1) {
		print_result(-1);
		return;
	}
	close(*slot);
	become_child();
	if (recvmsg(pair[1], &msg, 0) != 1) {
		print_result(-1);
		return;
	}
	memcpy(slot, CMSG_DATA(&control.hdr), sizeof(int));
	close(pair[0]);
	close(pair[1]);
	print_result(*slot);
}

static volatile sig_atomic_t alarms;

static void on_alarm(int sig)
{
	(void)sig;
	alarms = alarms + 1;
}

/* alarm MS once|every restart|interrupt     alarm off: were there any? */
static void do_alarm(char **w)
{
	struct sigaction sa = { .sa_handler = on_alarm };
	struct itimerval it = { 0 };

	if (strcmp(w[1], "off") == 0) {
		setitimer(ITIMER_REAL, &it, NULL);
		printf("%s", alarms ? "some" : "none");
		alarms = 0;
		return;
	}
	sa.sa_flags = strcmp(w[3], "restart") == 0 ? SA_RESTART : 0;
	sigaction(SIGALRM, &sa, NULL);
	it.it_value.tv_usec = atoi(w[1]) * 1000;
	if (strcmp(w[2], "every") == 0)
		it.it_interval = it.it_value;
	print_result(setitimer(ITIMER_REAL, &it, NULL));
}

/* sleep MS */
static void do_sleep(char **w)
{
	print_result(poll(NULL, 0, atoi(w[1])));
}

static void do_exit(char **w)
{
	printf("bye\n");
	exit(w[1] ? atoi(w[1]) : 0);
}

static const struct {
	const char *name;
	int words; /* at least */
	void (*fn)(char **w);
} commands[] = {
	{ "socket", 4, do_socket },
	{ "bind", 3, do_bind },
	{ "connect", 3, do_connect },
	{ "listen", 2, do_listen },
	{ "accept", 3, do_accept },
	{ "accept4", 4, do_accept },
	{ "getsockname", 2, do_getname },
	{ "getpeername", 2, do_getname },
	{ "port", 2, do_port },
	{ "close", 2, do_close },
	{ "reset", 2, do_reset },
	{ "shutdown", 3, do_shutdown },
	{ "send", 3, do_send },
	{ "recv", 2, do_recv },
	{ "option", 3, do_option },
	{ "timeout", 3, do_timeout },
	{ "nonblock", 3, do_nonblock },
	{ "flags", 2, do_flags },
	{ "poll", 4, do_poll },
	{ "epoll", 3, do_epoll },
	{ "dup", 3, do_dup },
	{ "fork", 1, do_fork },
	{ "exec", 1, do_exec },
	{ "pass", 2, do_pass },
	{ "alarm", 2, do_alarm },
	{ "sleep", 2, do_sleep },
	{ "exit", 1, do_exit },
};

/* Byte by byte: a child or a new program goes on with the next line. */
static bool read_line(char *line, size_t size)
{
	size_t n = 0;
	ssize_t got;

	while (n + 1 < size) {
		got = read(STDIN_FILENO, line + n, 1);
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return false;
		if (line[n] == '\n')
			break;
		n++;
	}
	line[n] = 0;
	return true;
}

static void do_line(char *line)
{
	char *w[WORDS_MAX + 1] = { 0 }, *save = NULL;
	int n = 0;

	for (char *word = strtok_r(line, " ", &save); word && n < WORDS_MAX;
		word = strtok_r(NULL, " ", &save))
		w[n++] = word;
	for (size_t i = 0; n && i < sizeof(commands) / sizeof(commands[0]); i++)
		if (strcmp(commands[i].name, w[0]) == 0 && n >= commands[i].words) {
			commands[i].fn(w);
			printf("\n");
			return;
		}
	fail(n ? w[0] : "an empty line");
}

int main(int argc, char **argv)
{
	char line[LINE_MAX_];

	setvbuf(stdout, NULL, _IOLBF, 0);
	for (int i = 1; i < argc; i++) {
		char *value = strchr(argv[i], '=');

		if (!value)
			fail(argv[i]);
		*value = 0;
		*slot_of(argv[i], true) = atoi(value + 1);
	}
	if (strcmp(argv[0], "exec") == 0)
		printf("new program\n");
	while (read_line(line, sizeof(line)))
		do_line(line);
	return 0;
}
