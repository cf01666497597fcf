/* Write the corpus that fuzz_agent_files begins with: seeds_agent_files DIRECTORY.
 *
 * The bytes are the choices that it takes, in its order: each operation with each number, and each
 * way to open a file with what may be done with it. */
#include <err.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "buf.h"
#include "proto.h"
#include "util.h"

#define TARGETS 3
#define NUMBERS 22
#define WANTS   15
#define PATHS   6 /* those that are taken most */
#define NEW     1 /* one where there is nothing */
#define BIG     4 /* one with a long attribute */

#define PUT(b, ...)                                                                                \
	buf_put(b, (const uint8_t[]){ __VA_ARGS__ }, sizeof((const uint8_t[]){ __VA_ARGS__ }))

static int dir;

/* Write the seed and empty it. */
static void save(struct buf *b, const char *name, unsigned who, unsigned number)
{
	char path[64];
	cleanup_fd int fd = -1;

	snprintf(path, sizeof(path), "%s-%u-%u", name, who, number);
	fd = openat(dir, path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	if (fd < 0 || write(fd, buf_head(b), buf_len(b)) != (ssize_t)buf_len(b))
		err(1, "%s", path);
	buf_consume(b, buf_len(b));
}

/* file_op with `a` at a path; two paths follow where two are taken. */
static void put_op(struct buf *b, uint8_t op, uint8_t a, uint8_t path, uint8_t second)
{
	PUT(b, 0, 3, op - 1, 0, a, a, path, 1);
	if (op == FILE_OP_RENAME || op == FILE_OP_LINK)
		PUT(b, second);
}

/* On one path after the other. */
static void save_op(struct buf *b, uint8_t who, uint8_t op)
{
	PUT(b, who);
	for (uint8_t a = 0; a < NUMBERS; a++)
		put_op(b, op, a, a % PATHS, 1 + a % (PATHS - 1));
	save(b, "op", who, op);
}

/* Where there is nothing; a seed holds half of the numbers. */
static void save_making(struct buf *b, uint8_t who, uint8_t op)
{
	for (uint8_t half = 0; half < 2; half++) {
		PUT(b, who);
		for (uint8_t a = half; a < NUMBERS; a += 2) {
			put_op(b, op, a, NEW, 0);
			put_op(b, op == FILE_OP_MKDIR ? FILE_OP_RMDIR : FILE_OP_UNLINK, 0, NEW, 0);
		}
		save(b, half ? "make-odd" : "make-even", who, op);
	}
}

/* Watch a file that changes, moves away, and changes there. */
static void save_watch(struct buf *b, uint8_t who)
{
	PUT(b, who);
	for (uint8_t path = 0; path < PATHS; path++) {
		PUT(b, 0, 13, path, path);
		put_op(b, FILE_OP_CHMOD, 14, path, 0);
		put_op(b, FILE_OP_RENAME, 0, path, NEW);
		put_op(b, FILE_OP_CHMOD, 14, NEW, 0);
	}
	save(b, "watch", who, 0);
}

/* What happens while the link is full, since the client does not listen. */
static void save_deaf(struct buf *b, uint8_t who)
{
	PUT(b, who, 0, 13, 0, BIG, 249);
	for (int i = 0; i < 2; i++)
		PUT(b, 240, 3, FILE_OP_GETXATTR - 1, 0, 0, 0, BIG, 0);
	put_op(b, FILE_OP_TRUNCATE, 2, BIG, 0);
	PUT(b, 248);
	save(b, "deaf", who, 0);
}

/* Open, watch, write, write where nothing can be, cut, sync, give credit, stop watching, close. */
static void save_open(struct buf *b, uint8_t who, uint8_t want)
{
	PUT(b, who);
	for (uint8_t path = 0; path < PATHS; path++) {
		PUT(b, 0, 13, path, path, 0, 0, want, 14, 0, path);
		if (want >= WANTS - 2)
			PUT(b, 0); /* base */
		PUT(b, 0, 0, 0, 8, 0, 3, 255, 0, 8, 0, 9, 1, 0, 10, 0, 8);
		PUT(b, 0, 11, 0, 0, 15, 0, 0, 0, 14, path, 0, 12, 0);
	}
	save(b, "open", who, want);
}

int main(int argc, char **argv)
{
	static const uint8_t makers[] = { FILE_OP_MKDIR, FILE_OP_SYMLINK, FILE_OP_MKNOD };
	struct buf b;

	if (argc != 2)
		errx(2, "usage: seeds_agent_files DIRECTORY");
	dir = open(argv[1], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		err(1, "%s", argv[1]);
	buf_init(&b, PROTO_DATA_MAX);
	for (uint8_t who = 0; who < TARGETS; who++) {
		for (uint8_t op = 1; op < FILE_OP_MAX; op++)
			save_op(&b, who, op);
		for (size_t i = 0; i < ARRAY_SIZE(makers); i++)
			save_making(&b, who, makers[i]);
		save_watch(&b, who);
		save_deaf(&b, who);
		for (uint8_t want = 0; want < WANTS; want++)
			save_open(&b, who, want);
	}
	buf_done(&b);
	return 0;
}
