/* Work for the trap path: calls MODE MILLISECONDS. One line: operations per second, and the time of
 * one operation in nanoseconds, median and 99th percentile. */
#include <arpa/inet.h>
#include <err.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define SAMPLES_MAX (1u << 20)

static const struct sockaddr_in loopback = { .sin_family = AF_INET,
	.sin_addr = { .s_addr = 0x0100007f } };

static int listener = -1, bound = -1;
static struct sockaddr_in listener_at;

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
static void op_accept(void)
{
	struct linger now = { .l_onoff = 1 };
	struct sockaddr_in from;
	socklen_t len = sizeof(from);
	int fd = accept(listener, (struct sockaddr *)&from, &len);

	if (fd < 0)
		err(1, "accept");
	setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
	close(fd);
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

	if (argc != 3)
		errx(2, "usage: calls MODE MILLISECONDS");
	m = find_mode(argv[1]);
	if (m->start)
		m->start();
	for (unsigned i = 0; i < 10 * m->batch; i++)
		m->op();
	measure(m, strtoul(argv[2], NULL, 10) * 1000000);
	return 0;
}
