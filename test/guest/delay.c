/* delay: carries one link from a unix socket to an agent's, later, or not until it may.
 *
 *   delay LISTEN AGENT [MS [BYTES [RATE]]]
 *
 * Bytes are passed on MS milliseconds after they came, in both directions; after BYTES of them, of
 * both directions together, the link is cut; 0 is never. RATE is what it carries each way, in MB/s;
 * what waits for that is not taken from its sender. SIGUSR1 holds back what comes from the agent,
 * SIGUSR2 lets it go on. When it ends it tells how often the client had something to say after an
 * answer: the round trips of somebody who waits for each; and how many bytes there were. Each
 * connect message of the client is counted aloud, so that a test can see how many are under way
 * before the first is answered (common/PROTOCOL.md, section 2). */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define CHUNK       65536
#define AHEAD_NS    4000000 /* more is not taken in advance */
#define HEADER      12
#define MSG_CONNECT 0x30

struct chunk {
	struct chunk *next;
	int64_t due; /* ns */
	size_t len;
	uint8_t bytes[CHUNK];
};

struct way {
	int from, to;
	bool held, ended;
	int64_t busy; /* until then it carries what was taken; ns */
	struct chunk *first, **last;
};

/* Where in the client's stream of frames we are. */
static struct {
	uint8_t header[HEADER];
	size_t have, body;
	unsigned connects;
} frames;

static int64_t delay_ns, byte_ps;
static uint64_t bytes, bytes_left = UINT64_MAX;
static unsigned turns;

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static int64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000 + ts.tv_nsec;
}

static int to_ms(int64_t ns)
{
	return (int)((ns + 999999) / 1000000);
}

static void count_connects(const uint8_t *p, size_t n)
{
	size_t skip;

	while (n > 0) {
		skip = n < frames.body ? n : frames.body;
		frames.body -= skip;
		p += skip;
		n -= skip;
		for (; n > 0 && frames.have < HEADER; n--)
			frames.header[frames.have++] = *p++;
		if (frames.have < HEADER || frames.body > 0)
			return;
		frames.have = 0;
		frames.body = (size_t)frames.header[0] << 24 | (size_t)frames.header[1] << 16 |
			      (size_t)frames.header[2] << 8 | frames.header[3];
		if (frames.header[4] == MSG_CONNECT)
			printf("connects: %u\n", ++frames.connects);
	}
}

static int socket_at(const char *path, bool listening)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0), got;

	snprintf(un.sun_path, sizeof(un.sun_path), "%s", path);
	if (listening)
		got = bind(fd, (void *)&un, sizeof(un)) < 0 ? -1 : listen(fd, 1);
	else
		got = connect(fd, (void *)&un, sizeof(un));
	if (got < 0)
		die(path);
	return fd;
}

static void end(void)
{
	printf("turns: %u\nbytes: %ju\n", turns, (uintmax_t)bytes);
	exit(0);
}

static void count_turns(bool client)
{
	static bool answered;

	turns += client && answered;
	answered = !client;
}

static void take(struct way *w, bool client)
{
	struct chunk *c = calloc(1, sizeof(*c));
	int64_t now = now_ns();
	ssize_t n = c ? recv(w->from, c->bytes, sizeof(c->bytes), 0) : -1;

	if (n <= 0) {
		free(c);
		w->ended = true;
		return;
	}
	if ((uint64_t)n > bytes_left)
		end();
	bytes_left -= (uint64_t)n;
	bytes += (uint64_t)n;
	count_turns(client);
	c->len = (size_t)n;
	w->busy = (w->busy > now ? w->busy : now) + n * byte_ps / 1000;
	c->due = w->busy + delay_ns;
	*w->last = c;
	w->last = &c->next;
	if (client)
		count_connects(c->bytes, c->len);
}

/* What is due goes on. How long until there is more: -1 is for ever. */
static int give(struct way *w)
{
	struct chunk *c;
	int64_t left;

	while (!w->held && (c = w->first)) {
		left = c->due - now_ns();
		if (left > 0)
			return to_ms(left);
		for (size_t done = 0; done < c->len;) {
			ssize_t n = send(w->to, c->bytes + done, c->len - done, MSG_NOSIGNAL);

			if (n < 0)
				end();
			done += (size_t)n;
		}
		w->first = c->next;
		if (!w->first)
			w->last = &w->first;
		free(c);
	}
	if (w->ended && !w->first)
		end();
	return -1;
}

static void obey(int signals, struct way *w)
{
	struct signalfd_siginfo si;

	if (read(signals, &si, sizeof(si)) != sizeof(si))
		die("signal");
	w->held = si.ssi_signo == SIGUSR1;
	printf("%s\n", w->held ? "held" : "released");
}

/* How long until more may be taken: -1 is now. */
static int full(const struct way *w)
{
	int64_t left = w->busy - now_ns() - AHEAD_NS;

	return left > 0 ? to_ms(left) : -1;
}

static int sooner(int a, int b)
{
	if (a < 0 || b < 0)
		return a < 0 ? b : a;
	return a < b ? a : b;
}

int main(int argc, char **argv)
{
	struct way out = { .last = &out.first }, back = { .last = &back.first };
	int listener, signals;
	sigset_t set;

	if (argc < 3) {
		fprintf(stderr, "usage: delay LISTEN AGENT [MS [BYTES [RATE]]]\n");
		return 2;
	}
	delay_ns = argc > 3 ? atoi(argv[3]) * 1000000L : 0;
	if (argc > 4 && atoll(argv[4]))
		bytes_left = strtoull(argv[4], NULL, 10);
	if (argc > 5)
		byte_ps = 1000000 / atoi(argv[5]);
	setvbuf(stdout, NULL, _IOLBF, 0);
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigaddset(&set, SIGUSR2);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signals = signalfd(-1, &set, 0);
	listener = socket_at(argv[1], true);
	printf("ready\n");
	out.from = back.to = accept(listener, NULL, NULL);
	out.to = back.from = socket_at(argv[2], false);
	for (;;) {
		int given = sooner(give(&out), give(&back)), out_full = full(&out),
		    back_full = full(&back);
		struct pollfd fds[] = { { .fd = signals, .events = POLLIN },
			{ .fd = out.ended || out_full > 0 ? -1 : out.from, .events = POLLIN },
			{ .fd = back.ended || back_full > 0 ? -1 : back.from, .events = POLLIN } };

		if (poll(fds, 3, sooner(given, sooner(out_full, back_full))) < 0)
			die("poll");
		if (fds[0].revents)
			obey(signals, &back);
		if (fds[1].revents)
			take(&out, true);
		if (fds[2].revents)
			take(&back, false);
	}
}
