/* Work on files, timed by itself: one line, milliseconds.
 *
 *   files small DIRECTORY COUNT       open, fstat, read, close of the files 0, 1, … in it
 *   files write FILE MIB              16 KiB at a time, then fsync
 *   files read FILE MIB               16 KiB at a time
 *   files copy-write SOCKET FILE MIB  the same by a stream socket, with nothing but the bytes:
 *   files copy-read SOCKET FILE MIB   FILE is here, what is written there comes from memory
 *   files serve SOCKET FILE MIB       their peer, with FILE there, for one of them
 *
 * A copy begins with a question and its answer, as an open does, and one that writes ends with
 * another, as fsync does. */
#include <err.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define PIECE (1u << 14)
#define CHUNK (1u << 16) /* of a copy */

#define ORDER_READ  'r'
#define ORDER_WRITE 'w'

static uint8_t bytes[CHUNK];

static double now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec * 1e3 + (double)ts.tv_nsec / 1e6;
}

static int open_file(const char *path, int flags)
{
	int fd = open(path, flags | O_CLOEXEC, 0644);

	if (fd < 0)
		err(1, "%s", path);
	return fd;
}

static size_t take(int fd, size_t n)
{
	ssize_t got = read(fd, bytes, n);

	if (got <= 0)
		err(1, "read");
	return (size_t)got;
}

static void give(int fd, size_t n)
{
	if (write(fd, bytes, n) != (ssize_t)n)
		err(1, "write");
}

static void sync_and_close(int fd)
{
	if (fsync(fd) < 0)
		err(1, "fsync");
	close(fd);
}

/* --- the work --- */

static void small(char **arg)
{
	for (int i = 0; i < atoi(arg[1]); i++) {
		char path[4096];
		struct stat st;
		int fd;

		snprintf(path, sizeof(path), "%s/%d", arg[0], i);
		fd = open_file(path, O_RDONLY);
		if (fstat(fd, &st) < 0)
			err(1, "fstat");
		take(fd, PIECE);
		close(fd);
	}
}

/* No two pieces are the same. */
static void write_pieces(int fd, size_t left)
{
	for (; left; left -= PIECE) {
		memcpy(bytes, &left, sizeof(left));
		give(fd, PIECE);
	}
}

static void write_file(char **arg)
{
	int fd = open_file(arg[0], O_WRONLY | O_CREAT | O_TRUNC);

	write_pieces(fd, strtoul(arg[1], NULL, 10) << 20);
	sync_and_close(fd);
}

static void read_file(char **arg)
{
	int fd = open_file(arg[0], O_RDONLY);

	for (size_t left = strtoul(arg[1], NULL, 10) << 20; left;)
		left -= take(fd, PIECE);
	close(fd);
}

/* --- a plain copy --- */

static struct sockaddr_un address(const char *path)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };

	snprintf(un.sun_path, sizeof(un.sun_path), "%s", path);
	return un;
}

static void say(int fd, char word)
{
	if (write(fd, &word, 1) != 1)
		err(1, "the peer");
}

static char hear(int fd)
{
	char word;

	if (read(fd, &word, 1) != 1)
		err(1, "the peer");
	return word;
}

static int ask(const char *path, char order)
{
	struct sockaddr_un un = address(path);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || connect(fd, (const struct sockaddr *)&un, sizeof(un)) < 0)
		err(1, "%s", path);
	say(fd, order);
	hear(fd);
	return fd;
}

static void copy(int from, int to, size_t left)
{
	for (size_t n; left; left -= n) {
		n = take(from, left < CHUNK ? left : CHUNK);
		give(to, n);
	}
}

static void copy_write(char **arg)
{
	int peer = ask(arg[0], ORDER_WRITE);

	write_pieces(peer, strtoul(arg[2], NULL, 10) << 20);
	hear(peer);
	close(peer);
}

static void copy_read(char **arg)
{
	int peer = ask(arg[0], ORDER_READ);
	int fd = open_file(arg[1], O_WRONLY | O_CREAT | O_TRUNC);

	copy(peer, fd, strtoul(arg[2], NULL, 10) << 20);
	close(fd);
	close(peer);
}

static int wait_for_peer(const char *path)
{
	struct sockaddr_un un = address(path);
	int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), fd;

	if (listener < 0 || bind(listener, (const struct sockaddr *)&un, sizeof(un)) < 0 ||
		listen(listener, 1) < 0)
		err(1, "%s", path);
	puts("ready");
	fflush(stdout);
	fd = accept(listener, NULL, NULL);
	if (fd < 0)
		err(1, "accept");
	return fd;
}

static void serve(char **arg)
{
	int peer = wait_for_peer(arg[0]);
	bool writes = hear(peer) == ORDER_WRITE;
	int fd = open_file(arg[1], writes ? O_WRONLY | O_CREAT | O_TRUNC : O_RDONLY);
	size_t size = strtoul(arg[2], NULL, 10) << 20;

	say(peer, 'k');
	if (writes) {
		copy(peer, fd, size);
		sync_and_close(fd);
		say(peer, 'k');
	} else {
		copy(fd, peer, size);
	}
	(void)!read(peer, bytes, 1); /* until it has gone */
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		int args;
		void (*work)(char **arg);
	} modes[] = {
		{ "small", 2, small },
		{ "write", 2, write_file },
		{ "read", 2, read_file },
		{ "copy-write", 3, copy_write },
		{ "copy-read", 3, copy_read },
		{ "serve", 3, serve },
	};

	for (size_t i = 0; argc > 1 && i < sizeof(modes) / sizeof(modes[0]); i++) {
		double start = now_ms();

		if (strcmp(argv[1], modes[i].name) != 0 || argc != 2 + modes[i].args)
			continue;
		modes[i].work(argv + 2);
		printf("%.1f\n", now_ms() - start);
		return 0;
	}
	errx(2, "usage: files MODE ARGUMENT...");
}
