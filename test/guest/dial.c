/* dial: many connections at once in one event loop, as a proxy or a crawler opens them.
 *
 *   dial HOST PORT COUNT
 *
 * It says when all connects are under way and its loop has turned meanwhile, and when all have
 * ended. */
#include <arpa/inet.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

#define TICKS 5 /* turns of the loop while the connects are under way */

static int epfd, timer, pipe_fd[2];
static unsigned ended, failed, ticks, pings;

static void watch(int fd, uint32_t events)
{
	struct epoll_event ev = { .events = events, .data.fd = fd };

	if (epoll_ctl(epfd, EPOLL_CTL_ADD, fd, &ev) < 0) {
		perror("dial: epoll");
		exit(1);
	}
}

static int dial(const struct sockaddr_in *in)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);

	if (connect(fd, (const void *)in, sizeof(*in)) == 0 || errno != EINPROGRESS) {
		perror("dial: connect");
		exit(1);
	}
	watch(fd, EPOLLOUT);
	return fd;
}

static void on_tick(void)
{
	uint64_t n;

	if (read(timer, &n, sizeof(n)) == sizeof(n) && write(pipe_fd[1], "p", 1) == 1)
		ticks++;
}

static void on_ping(void)
{
	char byte;

	if (read(pipe_fd[0], &byte, 1) == 1)
		pings++;
}

static void on_end(int fd)
{
	int error = -1;
	socklen_t len = sizeof(error);

	getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len);
	failed += error != 0;
	ended++;
	close(fd);
}

static void turn(void)
{
	struct epoll_event ev[16];
	int n = epoll_wait(epfd, ev, 16, -1);

	for (int i = 0; i < n; i++) {
		if (ev[i].data.fd == timer)
			on_tick();
		else if (ev[i].data.fd == pipe_fd[0])
			on_ping();
		else
			on_end(ev[i].data.fd);
	}
}

int main(int argc, char **argv)
{
	struct itimerspec it = { .it_value.tv_nsec = 1000000, .it_interval.tv_nsec = 1000000 };
	struct sockaddr_in in = { .sin_family = AF_INET };
	unsigned count;

	if (argc < 4 || inet_pton(AF_INET, argv[1], &in.sin_addr) != 1) {
		fprintf(stderr, "usage: dial HOST PORT COUNT\n");
		return 2;
	}
	in.sin_port = htons((uint16_t)atoi(argv[2]));
	count = (unsigned)atoi(argv[3]);
	setvbuf(stdout, NULL, _IOLBF, 0);
	epfd = epoll_create1(0);
	timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
	if (epfd < 0 || timer < 0 || pipe(pipe_fd) < 0) {
		perror("dial");
		return 1;
	}
	timerfd_settime(timer, 0, &it, NULL);
	watch(timer, EPOLLIN);
	watch(pipe_fd[0], EPOLLIN);
	for (unsigned i = 0; i < count; i++)
		dial(&in);
	while (pings < TICKS)
		turn();
	printf("%u dialled, %u ended, %u pings\n", count, ended, pings);
	while (ended < count)
		turn();
	printf("%u ended, %u failed\n", ended, failed);
	return 0;
}
