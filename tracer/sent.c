/* Theory of operation. A hash of zero stands for a block of zeros, however long, and for one beyond
 * the end: so a new array is that of an empty file, holes need not be read, and a file that becomes
 * longer by a hole is made so by its size alone. */
#include "sent.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "io.h"
#include "util.h"

static const XXH128_hash_t zeros;
static const XXH128_hash_t unknown = { UINT64_MAX, UINT64_MAX };

/* --- hashes --- */

static bool is_zero(const uint8_t *p, size_t n)
{
	return !n || (!*p && memcmp(p, p + 1, n - 1) == 0);
}

static XXH128_hash_t hash_of(const uint8_t *p, size_t n)
{
	return is_zero(p, n) ? zeros : XXH3_128bits(p, n);
}

static bool is_same(XXH128_hash_t a, XXH128_hash_t b)
{
	return a.low64 == b.low64 && a.high64 == b.high64;
}

static size_t blocks_of(uint64_t size)
{
	return (size_t)((size + SENT_BLOCK - 1) / SENT_BLOCK);
}

/* There shall be a hash for each block of a file of that size. */
static int reserve(struct sent *s, uint64_t size)
{
	size_t n = blocks_of(size), room = s->nhash ? s->nhash : 16;
	XXH128_hash_t *hash;

	if (size > SENT_FILE_MAX)
		return -EFBIG;
	if (s->blind || n <= s->nhash)
		return 0;
	while (room < n)
		room *= 2;
	hash = realloc(s->hash, room * sizeof(*hash));
	if (!hash)
		return -ENOMEM;
	memset(hash + s->nhash, 0, (room - s->nhash) * sizeof(*hash));
	s->hash = hash;
	s->nhash = room;
	return 0;
}

static void forget_behind(struct sent *s, uint64_t size)
{
	size_t n = blocks_of(size);

	if (n < s->nhash)
		memset(s->hash + n, 0, (s->nhash - n) * sizeof(*s->hash));
}

/* Of what is beyond the end nothing is kept, and of the block that it goes through nothing is
 * known. */
static void forget_from(struct sent *s, uint64_t size)
{
	size_t n = blocks_of(size);

	forget_behind(s, size);
	if (size % SENT_BLOCK && n <= s->nhash)
		s->hash[n - 1] = unknown;
}

/* Go over the holes for which the target's file has zeros, too. What is appended is sent without
 * its place, and so cannot leave one. */
static void skip_holes(const struct sent *s, struct sent_pass *p)
{
	uint64_t end = s->append ? MIN(s->size, p->end) : p->end;

	while (p->at < end && is_same(s->hash[p->at / SENT_BLOCK], zeros)) {
		if (p->data <= p->at) {
			off_t data = lseek(p->fd, (off_t)p->at, SEEK_DATA);

			p->data = data >= 0 ? (uint64_t)data : errno == ENXIO ? p->end : p->at;
		}
		if (p->data < p->at + SENT_BLOCK && p->data < p->end)
			return;
		p->at += SENT_BLOCK;
	}
}

int sent_know(struct sent *s, int fd, uint64_t size)
{
	struct sent_pass p = { .fd = fd, .end = size };
	uint8_t block[SENT_BLOCK];
	int r = reserve(s, size);

	s->size = s->sure = size;
	if (r < 0 || s->blind)
		return r;
	forget_from(s, 0);
	for (skip_holes(s, &p); p.at < size; p.at += SENT_BLOCK, skip_holes(s, &p)) {
		size_t want = (size_t)MIN(size - p.at, (uint64_t)SENT_BLOCK);
		ssize_t n = io_read_at(fd, block, want, p.at);

		if (n < 0)
			return (int)n;
		s->hash[p.at / SENT_BLOCK] = hash_of(block, (size_t)n);
	}
	return 0;
}

void sent_done(struct sent *s)
{
	free(s->hash);
	*s = (struct sent){ 0 };
}

/* --- taking --- */

/* The n bytes of `is` for those of `was`, run by run: what the guest writes beside them meanwhile
 * stays. */
static int write_changed(int fd, const uint8_t *is, const uint8_t *was, size_t n, uint64_t at)
{
	int r = 0;

	for (size_t i = 0; i < n && r == 0;) {
		size_t from = i;

		while (i < n && is[i] != was[i])
			i++;
		if (i > from)
			r = io_write_at(fd, is + from, i - from, at + from);
		else
			i++;
	}
	return r;
}

/* A block of the target's file, which has n bytes of it; zeros stand for what the copy lacks. */
static int take_block(struct sent *s, int copy, int content, uint64_t at, size_t n)
{
	uint8_t is[SENT_BLOCK], was[SENT_BLOCK];
	size_t had = (size_t)MIN(s->size > at ? s->size - at : 0, (uint64_t)SENT_BLOCK);
	ssize_t now = io_read_at(copy, was, had, at), r = io_read_at(content, is, n, at);

	if (now < 0 || r < 0)
		return (int)(now < 0 ? now : r);
	if (!s->blind && !is_same(hash_of(was, (size_t)now), s->hash[at / SENT_BLOCK]))
		return 0;
	memset(is + r, 0, sizeof(is) - (size_t)r);
	memset(was + now, 0, sizeof(was) - (size_t)now);
	if (!s->blind)
		s->hash[at / SENT_BLOCK] = hash_of(is, n);
	return write_changed(copy, is, was, n, at);
}

int sent_fill(struct sent *s, int copy, int content, uint64_t size)
{
	int r = reserve(s, size);

	for (uint64_t at = 0; at < size && r == 0; at += SENT_BLOCK)
		r = take_block(s, copy, content, at, (size_t)MIN(size - at, (uint64_t)SENT_BLOCK));
	return r;
}

int sent_take(struct sent *s, int copy, int content, uint64_t size)
{
	struct stat st;
	int r;

	if (fstat(copy, &st) < 0)
		return -errno;
	if ((uint64_t)st.st_size != s->size)
		return 0;
	r = sent_fill(s, copy, content, size);
	if (r < 0 || size == s->size)
		return r;
	if (ftruncate(copy, (off_t)size) < 0)
		return -errno;
	forget_behind(s, size);
	s->size = size;
	s->sure = MIN(s->sure, size);
	return 0;
}

/* --- checking --- */

uint64_t sent_check_from(const struct sent *s)
{
	return s->blind ? s->sure : 0;
}

static bool is_in_copy(const struct sent_check *c)
{
	uint8_t copy[SENT_BLOCK];

	return io_read_at(c->fd, copy, c->n, c->at) == (ssize_t)c->n &&
	       memcmp(copy, c->block, c->n) == 0;
}

/* The block, or what the file has of it, is there. */
static void check_block(struct sent_check *c, struct sent *s)
{
	XXH128_hash_t is, *was = s->blind ? NULL : &s->hash[c->at / SENT_BLOCK];

	if (c->differs || !c->n)
		return;
	is = hash_of(c->block, c->n);
	c->differs = !(was && is_same(is, *was)) && !is_in_copy(c);
	if (was)
		*was = is;
}

/* What comes next is at `to`: zeros are before it. */
static void check_up_to(struct sent_check *c, struct sent *s, uint64_t to)
{
	c->differs = c->differs || to > s->size;
	while (!c->differs && c->at + c->n < to) {
		size_t n = (size_t)MIN(to - c->at, (uint64_t)SENT_BLOCK);

		memset(c->block + c->n, 0, n - c->n);
		c->n = n;
		if (n < SENT_BLOCK)
			return;
		check_block(c, s);
		c->at += n;
		c->n = 0;
	}
}

void sent_check_data(
	struct sent_check *c, struct sent *s, uint64_t offset, const uint8_t *p, size_t n)
{
	check_up_to(c, s, offset);
	c->differs = c->differs || offset + n > s->size;
	while (n && !c->differs) {
		size_t some = MIN(n, SENT_BLOCK - c->n);

		memcpy(c->block + c->n, p, some);
		c->n += some;
		p += some;
		n -= some;
		if (c->n < SENT_BLOCK)
			return;
		check_block(c, s);
		c->at += SENT_BLOCK;
		c->n = 0;
	}
}

bool sent_check_end(struct sent_check *c, struct sent *s, uint64_t size)
{
	check_up_to(c, s, size);
	check_block(c, s);
	if (c->differs || size > s->size || size < MIN(s->sure, s->size))
		return false;
	if (!s->blind)
		forget_behind(s, size);
	s->size = size;
	return true;
}

/* --- sending --- */

static void send_write(struct sent *s, struct mux *mux, uint64_t offset, const uint8_t *p, size_t n)
{
	struct msg m = { .type = MSG_file_write,
		.id = s->handle,
		.file_write = { .offset = offset, .bytes = { p, (uint32_t)n } } };

	if (n)
		mux_source_send(mux, &m);
}

static void send_bytes(struct sent *s, struct mux *mux, uint64_t offset, const uint8_t *p, size_t n)
{
	size_t within = n;

	if (s->append)
		within = (size_t)MIN(s->size > offset ? s->size - offset : 0, (uint64_t)n);
	send_write(s, mux, offset, p, within);
	send_write(s, mux, PROTO_FILE_END, p + within, n - within);
	s->size = MAX(s->size, offset + n);
	s->unsure = s->news = true;
}

static void send_size(struct sent *s, struct mux *mux, uint64_t size)
{
	struct msg m = { .type = MSG_file_truncate, .id = s->handle, .file_truncate.size = size };

	mux_source_send(mux, &m);
	s->size = size;
	s->sure = MIN(s->sure, size);
	s->unsure = s->news = true;
}

static void cut_to(struct sent *s, struct mux *mux, uint64_t size)
{
	send_size(s, mux, size);
	forget_from(s, size);
}

void sent_cut(struct sent *s, uint64_t size)
{
	s->left = s->cut ? MIN(s->left, size) : size;
	s->cut = true;
}

int sent_begin(struct sent *s, struct sent_pass *p, struct mux *mux, int fd, bool all)
{
	struct stat st;
	int r;

	if (fstat(fd, &st) < 0)
		return -errno;
	r = reserve(s, (uint64_t)st.st_size);
	if (r < 0)
		return r;
	if (s->cut && s->left < s->size)
		cut_to(s, mux, s->left);
	s->cut = false;
	if ((uint64_t)st.st_size < s->size)
		cut_to(s, mux, (uint64_t)st.st_size);
	*p = (struct sent_pass){ .fd = fd, .end = (uint64_t)st.st_size };
	if (s->blind)
		p->at = s->size;
	else if (!all)
		p->at = s->size / SENT_BLOCK * SENT_BLOCK;
	return 0;
}

/* n bytes are in the block now. Those that the target's file has of it, if they are the same, stay;
 * zeros where it ends before need not be sent. */
static void send_block(
	struct sent *s, const struct sent_pass *p, struct mux *mux, const uint8_t *block, size_t n)
{
	XXH128_hash_t *was = &s->hash[p->at / SENT_BLOCK], is = hash_of(block, n);
	uint64_t rest = s->size > p->at ? s->size - p->at : 0;
	size_t had = (size_t)MIN(rest, (uint64_t)SENT_BLOCK), from = 0;

	if (is_same(is, *was) && (had == n || (is_same(is, zeros) && !s->append)))
		return;
	if (had < n && is_same(hash_of(block, had), *was))
		from = had;
	send_bytes(s, mux, p->at + from, block + from, n - from);
	*was = had > n ? unknown : is;
}

int sent_step(struct sent *s, struct sent_pass *p, struct mux *mux)
{
	uint8_t block[SENT_BLOCK];
	ssize_t n = 0;

	if (!s->blind)
		skip_holes(s, p);
	if (p->at < p->end) {
		n = io_read_at(
			p->fd, block, (size_t)MIN(p->end - p->at, (uint64_t)SENT_BLOCK), p->at);
		if (n < 0)
			return (int)n;
		if ((size_t)n < SENT_BLOCK && p->at + (size_t)n < p->end)
			p->end = p->at + (size_t)n; /* it was cut meanwhile: the next pass */
	}
	if (n && s->blind)
		send_bytes(s, mux, p->at, block, (size_t)n);
	else if (n)
		send_block(s, p, mux, block, (size_t)n);
	p->at += (size_t)n;
	if (p->at < p->end)
		return 1;
	if (s->size < p->end)
		send_size(s, mux, p->end);
	return 0;
}
