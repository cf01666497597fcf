/* workers: one port, several workers that accept on it.
 *
 *   workers threads|processes|reuseport-threads|reuseport-processes WORKERS PORT CONNECTIONS
 *
 * Threads and processes share one listener; with reuseport each has its own. Each connection sends
 * a byte and gets the client's address as a line. Ends after so many connections, with the other
 * workers still in the middle of their accept. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define WORKERS_MAX 64

static struct {
	bool reuseport, processes;
	int workers, port, listener;
	unsigned wanted;
} job;

static atomic_uint *served; /* shared by the processes */
static int done[2];         /* written when the last connection has been served */

static int make_listener(void)
{
	struct sockaddr_in in = { .sin_family = AF_INET, .sin_port = htons((uint16_t)job.port) };
	int fd = socket(AF_INET, SOCK_STREAM, 0), one = 1;

	setsockopt(fd, SOL_SOCKET, job.reuseport ? SO_REUSEPORT : SO_REUSEADDR, &one, sizeof(one));
	if (bind(fd, (void *)&in, sizeof(in)) < 0 || listen(fd, 64) < 0) {
		perror("workers: listen");
		exit(1);
	}
	return fd;
}

static void serve(int listener)
{
	struct sockaddr_in peer;
	socklen_t len;
	char line[64];
	int fd, n;

	for (;;) {
		len = sizeof(peer);
		fd = accept(listener, (void *)&peer, &len);
		if (fd < 0) {
			perror("workers: accept");
			exit(1);
		}
		if (read(fd, line, 1) !=
			1) /* what it leaves unread would make a reset of the close */
			perror("workers: read");
		n = snprintf(line, sizeof(line), "%s %d\n", inet_ntoa(peer.sin_addr),
			ntohs(peer.sin_port));
		if (write(fd, line, (size_t)n) != n)
			perror("workers: write");
		close(fd);
		if (atomic_fetch_add(served, 1) + 1 == job.wanted && write(done[1], "", 1) != 1)
			perror("workers: done");
	}
}

static void *worker(void *arg)
{
	serve((int)(intptr_t)arg);
	return NULL;
}

int main(int argc, char **argv)
{
	int listeners[WORKERS_MAX];
	pid_t pids[WORKERS_MAX];
	pthread_t thread;
	char byte;

	if (argc != 5 || atoi(argv[2]) > WORKERS_MAX)
		return 2;
	job.reuseport = strstr(argv[1], "reuseport");
	job.processes = strstr(argv[1], "processes");
	job.workers = atoi(argv[2]);
	job.port = atoi(argv[3]);
	job.wanted = (unsigned)atoi(argv[4]);
	served = mmap(
		NULL, sizeof(*served), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (served == MAP_FAILED || pipe(done) < 0)
		return 1;
	for (int i = 0; i < job.workers; i++)
		listeners[i] = i && !job.reuseport ? listeners[0] : make_listener();
	for (int i = 0; i < job.workers; i++) {
		if (!job.processes) {
			pthread_create(&thread, NULL, worker, (void *)(intptr_t)listeners[i]);
			continue;
		}
		pids[i] = fork();
		if (pids[i] == 0)
			serve(listeners[i]);
	}
	printf("ready\n");
	fflush(stdout);
	if (read(done[0], &byte, 1) != 1)
		return 1;
	for (int i = 0; job.processes && i < job.workers; i++) {
		kill(pids[i], SIGTERM);
		waitpid(pids[i], NULL, 0);
	}
	printf("served %u\n", *served);
	return 0;
}
