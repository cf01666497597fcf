/* Write the corpus that the fuzzers of the link begin with: seeds DIRECTORY.
 *
 * Each file is a byte that chooses the sender, and frames: every message that the sender may send,
 * filled in three ways; and what a channel may live through, one message after the other. */
#include <err.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "sample.h"

#define SEED_MAX (1u << 20)

static int dir;

static void put_sender(struct buf *b, enum proto_side from)
{
	buf_put(b, &(uint8_t){ from == PROTO_AGENT }, 1);
}

static void put_msg(struct buf *b, const struct msg *m)
{
	if (proto_encode(b, m) < 0)
		errx(1, "cannot encode %s", proto_name(m->type));
}

/* Write the seed and empty it. */
static void save(struct buf *b, const char *name, enum proto_side from, unsigned number)
{
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "%s-%d-%u", name, from, number);
	fd = openat(dir, path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	if (fd < 0 || write(fd, buf_head(b), buf_len(b)) != (ssize_t)buf_len(b))
		err(1, "%s", path);
	close(fd);
	buf_consume(b, buf_len(b));
}

static void save_each_message(struct buf *b, enum proto_side from)
{
	for (size_t i = 0; i < ARRAY_SIZE(samples); i++) {
		for (enum sample_fill fill = 0; fill < SAMPLE_MAX; fill++) {
			struct msg m = sample_msg(samples[i].type, fill);

			if (!(samples[i].senders & 1u << from))
				continue;
			put_sender(b, from);
			put_msg(b, &m);
			save(b, samples[i].name, from, fill);
		}
	}
}

/* The lives of channels 1 to 8: opened, used, ended in order or not. */
static void save_lives(struct buf *b, enum proto_side from)
{
	static const enum msg_type lives[][5] = {
		{ MSG_data, MSG_eof },
		{ MSG_data, MSG_data, MSG_reset },
		{ MSG_eof, MSG_data },
		{ MSG_data, MSG_credit, MSG_data, MSG_eof, MSG_reset },
		{ MSG_reset, MSG_data, MSG_reset },
		{ MSG_packet, MSG_packet, MSG_credit, MSG_packet, MSG_eof },
		{ MSG_datagram, MSG_credit, MSG_datagram, MSG_reset },
	};

	for (unsigned life = 0; life < ARRAY_SIZE(lives); life++) {
		put_sender(b, from);
		for (uint32_t id = 1; id <= 8; id++) {
			struct msg m = sample_msg(
				from == PROTO_AGENT ? MSG_incoming : MSG_subscribe, SAMPLE_SOME);

			m.id = id;
			put_msg(b, &m);
			for (size_t i = 0; i < ARRAY_SIZE(lives[0]) && lives[life][i]; i++) {
				m = sample_msg(lives[life][i], SAMPLE_SOME);
				m.id = id;
				put_msg(b, &m);
			}
		}
		save(b, "life", from, life);
	}
}

int main(int argc, char **argv)
{
	struct buf b;

	if (argc != 2)
		errx(2, "usage: seeds DIRECTORY");
	dir = open(argv[1], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		err(1, "%s", argv[1]);
	buf_init(&b, SEED_MAX);
	for (enum proto_side from = PROTO_CLIENT; from <= PROTO_AGENT; from++) {
		save_each_message(&b, from);
		save_lives(&b, from);
	}
	buf_done(&b);
	return 0;
}
