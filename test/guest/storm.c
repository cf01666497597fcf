/* storm: signals at 2 kHz while calls are made in loops. No call may give EINTR that never does
 * natively, none may be lost, and one that waits must come to its end.
 *
 *   storm restart|interrupt PORT CLIENTS      the clients are the test's, one line each
 *   storm cancel PORT                         threads die in the middle of an accept */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

static volatile sig_atomic_t ticks;

static void on_tick(int sig)
{
	(void)sig;
	ticks = ticks + 1;
}

static void start_ticks(bool restart)
{
	struct sigaction sa = { .sa_handler = on_tick, .sa_flags = restart ? SA_RESTART : 0 };
	struct itimerval it = { .it_interval = { .tv_usec = 500 }, .it_value = { .tv_usec = 500 } };

	sigaction(SIGALRM, &sa, NULL);
	setitimer(ITIMER_REAL, &it, NULL);
}

static struct sockaddr_in any(int port)
{
	return (struct sockaddr_in){ .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };
}

/* bind, listen and the names of sockets are never interrupted. */
static int set_up_in_a_loop(void)
{
	struct sockaddr_in in;
	int bad = 0;

	for (int i = 0; i < 2000; i++) {
		socklen_t len = sizeof(in);
		int fd = socket(AF_INET, SOCK_STREAM, 0);

		in = any(0);
		in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
		bad += fd < 0 || bind(fd, (void *)&in, sizeof(in)) != 0;
		bad += getsockname(fd, (void *)&in, &len) != 0 || in.sin_port == 0;
		bad += getpeername(fd, (void *)&in, &len) != -1 || errno != ENOTCONN;
		if (i % 100 == 0) /* each listen is a round trip to the agent */
			bad += listen(fd, 4) != 0;
		bad += close(fd) != 0;
	}
	return bad;
}

static int storm(bool restart, int port, int clients)
{
	struct sockaddr_in in = any(port);
	int listener = socket(AF_INET, SOCK_STREAM, 0), served = 0, bad, fd;
	char byte;

	start_ticks(restart);
	bad = bind(listener, (void *)&in, sizeof(in)) != 0 || listen(listener, 64) != 0;
	printf("ready\n");
	while (!bad && served < clients) {
		socklen_t len = sizeof(in);

		fd = accept(listener, (void *)&in, &len);
		if (fd < 0 && errno == EINTR && !restart)
			continue;
		if (fd < 0 || getpeername(fd, (void *)&in, &len) != 0) {
			perror("storm: accept");
			return 1;
		}
		while (read(fd, &byte, 1) < 0 && errno == EINTR)
			;
		bad += byte != 'x';
		close(fd);
		served++;
	}
	printf("served %d, ", served);
	bad += set_up_in_a_loop();
	printf("%d bad calls, %s signals\n", bad, ticks > 100 ? "many" : "too few");
	return 0;
}

static void *acceptor(void *arg)
{
	return (void *)(intptr_t)accept((int)(intptr_t)arg, NULL, NULL);
}

/* Threads are cancelled inside accept; then a connection comes and the one that is left gets it. */
static int cancel(int port)
{
	struct sockaddr_in in = any(port);
	int listener = socket(AF_INET, SOCK_STREAM, 0);
	pthread_t threads[8], last;
	void *result;

	if (bind(listener, (void *)&in, sizeof(in)) != 0 || listen(listener, 64) != 0)
		return 1;
	for (int i = 0; i < 8; i++)
		pthread_create(&threads[i], NULL, acceptor, (void *)(intptr_t)listener);
	usleep(50000); /* most are in their accept by now; either way the result is the same */
	for (int i = 0; i < 8; i++)
		pthread_cancel(threads[i]);
	for (int i = 0; i < 8; i++) {
		pthread_join(threads[i], &result);
		if (result != PTHREAD_CANCELED)
			printf("thread %d was not cancelled\n", i);
	}
	printf("ready\n");
	pthread_create(&last, NULL, acceptor, (void *)(intptr_t)listener);
	pthread_join(last, &result);
	printf("accepted: %s\n", (intptr_t)result >= 0 ? "yes" : "no");
	return 0;
}

int main(int argc, char **argv)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	if (argc == 3 && strcmp(argv[1], "cancel") == 0)
		return cancel(atoi(argv[2]));
	if (argc == 4)
		return storm(strcmp(argv[1], "restart") == 0, atoi(argv[2]), atoi(argv[3]));
	return 2;
}
