/* load: many connections, or many bytes, each byte checked at both ends.
 *
 *   load serve PORT [COUNT]      until COUNT connections are over, or SIGTERM; then it says what it
 * saw load run HOST PORT MODE COUNT PARALLEL SIZE [MB/s]
 *
 * A connection begins with a header that says which bytes follow: both (they come back), sink (the
 * server checks them), source (the client checks them). The bytes are a function of the
 * connection's seed and of the offset, so one that is lost, swapped or another's is seen. When
 * COUNT equals PARALLEL no connection starts its work before all are open. */
#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define CHUNK       65536
#define REPORT_FROM (1u << 20) /* bytes: a connection of this size gets a line of its own */

struct header {
	char magic[4];
	char mode; /* 'b'oth, 's'ink, s'o'urce */
	char zero[3];
	uint64_t seed, size;
};

static struct {
	const char *host, *port;
	char mode;
	unsigned count, parallel;
	uint64_t size, rate, start;
} job;

static atomic_uint next_seed, connections, wrong, over;
static atomic_ullong bytes_checked;
static pthread_barrier_t all_open;

/* The bytes [offset, offset + CHUNK) of the stream; offset is a multiple of 8. */
static void make(uint8_t *chunk, uint64_t seed, uint64_t offset)
{
	uint64_t word;

	for (size_t i = 0; i < CHUNK; i += sizeof(word)) {
		word = (seed << 40 ^ (offset + i)) * 0x9e3779b97f4a7c15u;
		memcpy(chunk + i, &word, sizeof(word));
	}
}

static size_t size_here(uint64_t size, uint64_t offset)
{
	return size - offset < CHUNK ? (size_t)(size - offset) : CHUNK;
}

static bool write_all(int fd, const void *p, size_t n)
{
	for (size_t done = 0; done < n;) {
		ssize_t got = send(fd, (const char *)p + done, n - done, MSG_NOSIGNAL);

		if (got < 0)
			return false;
		done += (size_t)got;
	}
	return true;
}

static size_t read_all(int fd, void *p, size_t n)
{
	size_t done = 0;
	ssize_t got;

	while (done < n && (got = recv(fd, (char *)p + done, n - done, 0)) > 0)
		done += (size_t)got;
	return done;
}

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

/* Not faster than job.rate, when there is one. */
static void pace(uint64_t start, uint64_t sent)
{
	uint64_t due = job.rate ? start + sent * 1000 / job.rate : 0, now = now_ns();
	struct timespec ts;

	if (due <= now)
		return;
	ts.tv_sec = (time_t)((due - now) / 1000000000u);
	ts.tv_nsec = (long)((due - now) % 1000000000u);
	nanosleep(&ts, NULL);
}

static bool send_stream(int fd, const struct header *h)
{
	uint8_t chunk[CHUNK];
	uint64_t start = now_ns();

	for (uint64_t at = 0; at < h->size; at += CHUNK) {
		make(chunk, h->seed, at);
		if (!write_all(fd, chunk, size_here(h->size, at)))
			return false;
		pace(start, at);
	}
	return true;
}

/* How many bytes came, all of them right; or, beyond that, UINT64_MAX. */
static uint64_t check_stream(int fd, const struct header *h)
{
	uint8_t chunk[CHUNK], wanted[CHUNK];
	uint64_t at = 0;
	size_t n, got;

	for (; at < h->size; at += got) {
		n = size_here(h->size, at);
		got = read_all(fd, chunk, n);
		make(wanted, h->seed, at);
		if (memcmp(chunk, wanted, got) != 0)
			return UINT64_MAX;
		atomic_fetch_add(&bytes_checked, got);
		if (got < n)
			return at + got;
	}
	return at;
}

static bool echo_stream(int fd, const struct header *h)
{
	uint8_t chunk[CHUNK];
	size_t n;

	for (uint64_t at = 0; at < h->size; at += n) {
		n = size_here(h->size, at);
		if (read_all(fd, chunk, n) < n || !write_all(fd, chunk, n))
			return false;
	}
	return true;
}

static void report(const struct header *h, uint64_t received)
{
	const char *verdict = received == UINT64_MAX ? "WRONG"
			      : received == h->size  ? "complete"
						     : "the beginning of it";

	if (received != h->size)
		atomic_fetch_add(&wrong, 1);
	if (h->size >= REPORT_FROM)
		printf("size %llu received %llu: %s\n", (unsigned long long)h->size,
			(unsigned long long)(received == UINT64_MAX ? 0 : received), verdict);
}

static void end_service(void)
{
	printf("served %u connections, %u wrong\n", connections, wrong);
	exit(0);
}

static void *serve_one(void *arg)
{
	int fd = (int)(intptr_t)arg;
	struct header h;
	uint64_t received;
	char end;

	atomic_fetch_add(&connections, 1);
	if (read_all(fd, &h, sizeof(h)) != sizeof(h) || memcmp(h.magic, "load", 4) != 0) {
		atomic_fetch_add(&wrong, 1);
	} else if (h.mode == 's') {
		received = check_stream(fd, &h);
		report(&h, received);
		write_all(fd, &received, sizeof(received));
	} else if (h.mode == 'b' ? !echo_stream(fd, &h) : !send_stream(fd, &h)) {
		atomic_fetch_add(&wrong, 1);
	}
	while (recv(fd, &end, 1, 0) > 0) /* the client closes first */
		atomic_fetch_add(&wrong, 1);
	close(fd);
	if (atomic_fetch_add(&over, 1) + 1 == job.count)
		end_service();
	return NULL;
}

static void *wait_for_end(void *arg)
{
	int sig;

	sigwait(arg, &sig);
	end_service();
	return NULL;
}

static void start(pthread_t *thread, void *(*fn)(void *), void *arg)
{
	pthread_attr_t attr;

	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, 4 * CHUNK + 65536);
	if (pthread_create(thread, &attr, fn, arg) != 0) {
		perror("load: thread");
		exit(1);
	}
	pthread_attr_destroy(&attr);
}

static int serve(int port)
{
	struct sockaddr_in6 in6 = { .sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port) };
	int listener = socket(AF_INET6, SOCK_STREAM, 0), one = 1, fd;
	static sigset_t end;
	pthread_t thread;

	sigemptyset(&end);
	sigaddset(&end, SIGTERM);
	pthread_sigmask(SIG_BLOCK, &end, NULL);
	setvbuf(stdout, NULL, _IOLBF, 0);
	setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(listener, (void *)&in6, sizeof(in6)) < 0 || listen(listener, 1024) < 0) {
		perror("load: listen");
		return 1;
	}
	start(&thread, wait_for_end, &end);
	printf("ready\n");
	for (;;) {
		fd = accept(listener, NULL, NULL);
		if (fd < 0) {
			perror("load: accept");
			return 1;
		}
		start(&thread, serve_one, (void *)(intptr_t)fd);
		pthread_detach(thread);
	}
}

static int open_connection(void)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICHOST }, *ai;
	int fd;

	if (getaddrinfo(job.host, job.port, &hints, &ai) != 0)
		return -1;
	fd = socket(ai->ai_family, SOCK_STREAM, 0);
	if (connect(fd, ai->ai_addr, ai->ai_addrlen) < 0) {
		perror("load: connect");
		close(fd);
		fd = -1;
	}
	freeaddrinfo(ai);
	return fd;
}

static void *send_part(void *arg)
{
	const struct header *h = ((void **)arg)[0];

	send_stream((int)(intptr_t)((void **)arg)[1], h);
	return NULL;
}

/* Sends and receives at the same time, as both needs. */
static bool run_one(int fd, uint64_t seed)
{
	struct header h = { .magic = "load", .mode = job.mode, .seed = seed, .size = job.size };
	void *arg[] = { &h, (void *)(intptr_t)fd };
	uint64_t received = 0;
	pthread_t sender;
	char end;

	if (!write_all(fd, &h, sizeof(h)))
		return false;
	if (h.mode == 's') {
		if (!send_stream(fd, &h) || read_all(fd, &received, 8) != 8 || received != h.size)
			return false;
	} else if (h.mode == 'o') {
		if (check_stream(fd, &h) != h.size)
			return false;
	} else {
		start(&sender, send_part, arg);
		received = check_stream(fd, &h);
		pthread_join(sender, NULL);
		if (received != h.size)
			return false;
	}
	shutdown(fd, SHUT_WR);
	return recv(fd, &end, 1, 0) == 0;
}

static void *client(void *arg)
{
	unsigned seed;
	int fd;

	(void)arg;
	while ((seed = atomic_fetch_add(&next_seed, 1)) < job.count) {
		pace(job.start, seed * job.size);
		fd = open_connection();
		if (job.count == job.parallel)
			pthread_barrier_wait(&all_open);
		if (fd < 0 || !run_one(fd, seed + 1))
			atomic_fetch_add(&wrong, 1);
		else
			atomic_fetch_add(&connections, 1);
		if (fd >= 0)
			close(fd);
	}
	return NULL;
}

static int run(void)
{
	pthread_t *threads = calloc(job.parallel, sizeof(*threads));

	job.start = now_ns();
	pthread_barrier_init(&all_open, NULL, job.parallel);
	for (unsigned i = 0; threads && i < job.parallel; i++)
		start(&threads[i], client, NULL);
	for (unsigned i = 0; threads && i < job.parallel; i++)
		pthread_join(threads[i], NULL);
	free(threads);
	printf("%u connections right, %u wrong\n", connections, wrong);
	return wrong ? 1 : 0;
}

int main(int argc, char **argv)
{
	if (argc >= 3 && strcmp(argv[1], "serve") == 0) {
		job.count = argc > 3 ? (unsigned)atoi(argv[3]) : 0;
		return serve(atoi(argv[2]));
	}
	if (argc < 8 || strcmp(argv[1], "run") != 0) {
		fprintf(stderr, "usage: load serve PORT [COUNT]\n"
				"       load run HOST PORT both|sink|source COUNT PARALLEL SIZE "
				"[MB/s]\n");
		return 2;
	}
	job.host = argv[2];
	job.port = argv[3];
	job.mode = strcmp(argv[4], "source") == 0 ? 'o' : argv[4][0];
	job.count = (unsigned)atoi(argv[5]);
	job.parallel = (unsigned)atoi(argv[6]);
	job.size = strtoull(argv[7], NULL, 0);
	job.rate = argc > 8 ? strtoull(argv[8], NULL, 0) : 0; /* MB/s is bytes per microsecond */
	return run();
}
