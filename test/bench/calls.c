/* Work for the trap path: calls MODE MILLISECONDS [ADDRESS PORT]. One line: operations per second,
 * and the time of one operation in nanoseconds, median and 99th percentile. The modes that need a
 * peer find it at the address: calls serve 0 ADDRESS PORT. */
#include <arpa/inet.h>
#include <err.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define SAMPLES_MAX (1u << 20)
#define PIECE       (1u << 16) /* bytes of one operation on a stream */
#define MESSAGE     64         /* bytes of a round trip */

static const struct sockaddr_in loopback = { .sin_family = AF_INET,
	.sin_addr = { .s_addr = 0x0100007f } };

static int listener = -1, bound = -1;
static struct sockaddr_in listener_at, peer_at;
static int stream = -1, pair[2];
static char piece[PIECE];

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static int tcp_socket(void)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		err(1, "socket");
	return fd;
}

static int bound_socket(void)
{
	int fd = tcp_socket();

	if (bind(fd, (const struct sockaddr *)&loopback, sizeof(loopback)) < 0)
		err(1, "bind");
	return fd;
}

/* --- the operations --- */

static void op_getppid(void)
{
	syscall(SYS_getppid);
}

static void op_getsockname(void)
{
	struct sockaddr_in at;
	socklen_t len = sizeof(at);

	if (getsockname(bound, (struct sockaddr *)&at, &len) < 0)
		err(1, "getsockname");
}

static void op_bind(void)
{
	close(bound_socket());
}

static void op_listen(void)
{
	int fd = bound_socket();

	if (listen(fd, 1) < 0)
		err(1, "listen");
	close(fd);
}

/* Reset, not closed: thousands of connections must not wait in TIME_WAIT. */
static void reset_and_close(int fd)
{
	struct linger now = { .l_onoff = 1 };

	setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
	close(fd);
}

static void op_accept(void)
{
	struct sockaddr_in from;
	socklen_t len = sizeof(from);
	int fd = accept(listener, (struct sockaddr *)&from, &len);

	if (fd < 0)
		err(1, "accept");
	reset_and_close(fd);
}

/* The client of op_accept(): one connection after the other, until the process ends. */
static void *run_client(void *arg)
{
	char c;

	for (;;) {
		int fd = tcp_socket();

		if (connect(fd, (struct sockaddr *)&listener_at, sizeof(listener_at)) == 0 &&
			read(fd, &c, 1) > 0)
			errx(1, "the server spoke");
		close(fd);
	}
	return arg;
}

static void start_client(void)
{
	socklen_t len = sizeof(listener_at);
	pthread_t thread;

	listener = bound_socket();
	if (listen(listener, 16) < 0)
		err(1, "listen");
	if (getsockname(listener, (struct sockaddr *)&listener_at, &len) < 0)
		err(1, "getsockname");
	if (pthread_create(&thread, NULL, run_client, NULL) != 0)
		errx(1, "no thread");
}

static void start_bound(void)
{
	bound = bound_socket();
}

/* --- with a peer --- */

static int connect_peer(void)
{
	int fd = tcp_socket();

	if (connect(fd, (struct sockaddr *)&peer_at, sizeof(peer_at)) < 0)
		err(1, "connect");
	return fd;
}

static void op_connect(void)
{
	reset_and_close(connect_peer());
}

static void start_stream(char order)
{
	stream = connect_peer();
	if (write(stream, &order, 1) != 1)
		err(1, "write");
}

static void start_ping(void)
{
	start_stream('p');
}

static void start_fetch(void)
{
	start_stream('f');
}

static void start_push(void)
{
	start_stream('s');
}

static void read_all(size_t n)
{
	if (recv(stream, piece, n, MSG_WAITALL) != (ssize_t)n)
		err(1, "recv");
}

static void op_ping(void)
{
	if (write(stream, piece, MESSAGE) != MESSAGE)
		err(1, "write");
	read_all(MESSAGE);
}

static void op_fetch(void)
{
	read_all(PIECE);
}

static void op_push(void)
{
	if (write(stream, piece, PIECE) != (ssize_t)PIECE)
		err(1, "write");
}

/* Plays back, sends or swallows, as the first byte says. */
static void *serve_one(void *arg)
{
	int fd = (int)(intptr_t)arg;
	char order, bytes[PIECE];
	ssize_t n = read(fd, &order, 1);

	while (n > 0) {
		n = order == 'f' ? (ssize_t)sizeof(bytes) : read(fd, bytes, sizeof(bytes));
		if (n > 0 && order != 's')
			n = send(fd, bytes, (size_t)n, MSG_NOSIGNAL);
	}
	close(fd);
	return NULL;
}

static void serve(void)
{
	int on = 1, fd;

	listener = tcp_socket();
	setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(listener, (struct sockaddr *)&peer_at, sizeof(peer_at)) < 0 ||
		listen(listener, SOMAXCONN) < 0)
		err(1, "no place to serve");
	puts("ready");
	fflush(stdout);
	while ((fd = accept(listener, NULL, NULL)) >= 0) {
		pthread_t thread;

		if (pthread_create(&thread, NULL, serve_one, (void *)(intptr_t)fd) != 0)
			errx(1, "no thread");
		pthread_detach(thread);
	}
	err(1, "accept");
}

/* --- calls of other sockets and of files, which are trapped in passing --- */

static void start_pair(void)
{
	if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) < 0)
		err(1, "socketpair");
}

static void op_sendmsg(void)
{
	struct iovec iov = { piece, 1 };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1 };

	if (sendmsg(pair[0], &m, 0) != 1 || recvmsg(pair[1], &m, 0) != 1)
		err(1, "sendmsg");
}

static void op_open(void)
{
	int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		err(1, "open");
	close(fd);
}

static void op_stat(void)
{
	struct stat st;

	if (stat("/dev/null", &st) < 0)
		err(1, "stat");
}

/* --- measuring --- */

static const struct mode {
	const char *name;
	void (*start)(void);
	void (*op)(void);
	unsigned batch; /* operations per sample, so that the clock does not show */
} modes[] = {
	{ "getppid", NULL, op_getppid, 200 },
	{ "getsockname", start_bound, op_getsockname, 1 },
	{ "bind", NULL, op_bind, 1 },
	{ "listen", NULL, op_listen, 1 },
	{ "accept", start_client, op_accept, 1 },
	{ "open", NULL, op_open, 1 },
	{ "stat", NULL, op_stat, 1 },
	{ "sendmsg", start_pair, op_sendmsg, 1 },
	{ "connect", NULL, op_connect, 1 },
	{ "ping", start_ping, op_ping, 1 },
	{ "fetch", start_fetch, op_fetch, 1 },
	{ "push", start_push, op_push, 1 },
};

static const struct mode *find_mode(const char *name)
{
	for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++)
		if (strcmp(modes[i].name, name) == 0)
			return &modes[i];
	errx(2, "no such mode: %s", name);
}

static int by_size(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

static void measure(const struct mode *m, uint64_t ns)
{
	static uint32_t samples[SAMPLES_MAX];
	uint64_t start = now_ns(), last = start, now;
	size_t n = 0;

	while (last - start < ns && n < SAMPLES_MAX) {
		for (unsigned i = 0; i < m->batch; i++)
			m->op();
		now = now_ns();
		samples[n++] = (uint32_t)((now - last) / m->batch);
		last = now;
	}
	qsort(samples, n, sizeof(samples[0]), by_size);
	printf("%.1f %u %u\n", (double)n * m->batch * 1e9 / (double)(last - start), samples[n / 2],
		samples[n * 99 / 100]);
}

int main(int argc, char **argv)
{
	const struct mode *m;

	if (argc != 3 && argc != 5)
		errx(2, "usage: calls MODE MILLISECONDS [ADDRESS PORT]");
	if (argc == 5) {
		peer_at.sin_family = AF_INET;
		peer_at.sin_port = htons((uint16_t)atoi(argv[4]));
		if (inet_pton(AF_INET, argv[3], &peer_at.sin_addr) != 1)
			errx(2, "no IPv4 address: %s", argv[3]);
	}
	if (strcmp(argv[1], "serve") == 0)
		serve();
	m = find_mode(argv[1]);
	if (m->start)
		m->start();
	for (unsigned i = 0; i < 10 * m->batch; i++)
		m->op();
	measure(m, strtoul(argv[2], NULL, 10) * 1000000);
	return 0;
}
