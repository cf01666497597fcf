/* Theory of operation. Fragments begin at multiples of eight bytes, and all but the last have such
 * a length (RFC 791, RFC 8200 4.5). So what has come of a datagram is noted in one mark for each
 * block of eight, and it is whole when the blocks up to its end are marked.
 *
 * What contradicts itself is decided as the kernel does, since that is what the target sees: a
 * fragment of which every block has come is a duplicate and is ignored; one of which some have come
 * overlaps, and the whole datagram is dropped (RFC 5722, which Linux applies to IPv4 too, since
 * 4.19); likewise when two fragments disagree on where it ends. Its later fragments are those of a
 * new datagram, that never gets whole.
 *
 * A packet socket could let the kernel do this (PACKET_FANOUT_FLAG_DEFRAG), but for IPv4 alone. */
#include "fragments.h"

#include <string.h>

#define BLOCK       8u
#define PAYLOAD_MAX 65535u
#define BLOCKS(n)   (((n) + BLOCK - 1) / BLOCK)

/* A datagram under way. */
struct assembly {
	struct list age;
	struct addr src, dst;
	uint32_t id;
	uint64_t since;
	size_t end; /* the highest that was seen; of the datagram, if has_end */
	bool has_end;
	size_t nseen;                      /* how many blocks */
	uint8_t seen[BLOCKS(PAYLOAD_MAX)]; /* 0 or 1 */
	uint8_t bytes[];                   /* PAYLOAD_MAX */
};

static struct assembly *assembly_of(struct list *l)
{
	return list_entry(l, struct assembly, age);
}

static void assembly_leave(struct fragments *t, struct assembly *a)
{
	list_del(&a->age);
	t->count--;
}

static void assembly_drop(struct fragments *t, struct assembly *a)
{
	assembly_leave(t, a);
	free(a);
}

static void release_whole(struct fragments *t)
{
	free(t->whole);
	t->whole = NULL;
}

void fragments_init(struct fragments *t)
{
	*t = (struct fragments){ 0 };
	list_init(&t->under_way);
}

void fragments_clear(struct fragments *t)
{
	release_whole(t);
	while (!list_empty(&t->under_way))
		assembly_drop(t, assembly_of(t->under_way.next));
}

/* The newest first: fragments mostly come one right after the other. */
static struct assembly *assembly_find(struct fragments *t, const struct fragment *f)
{
	for (struct list *pos = t->under_way.prev; pos != &t->under_way; pos = pos->prev) {
		struct assembly *a = assembly_of(pos);

		if (a->id == f->id && addr_equal(&a->src, &f->src) && addr_equal(&a->dst, &f->dst))
			return a;
	}
	return NULL;
}

static struct assembly *assembly_new(struct fragments *t, const struct fragment *f, uint64_t now)
{
	struct assembly *a;

	if (t->count >= FRAGMENTS_MAX)
		assembly_drop(t, assembly_of(t->under_way.next));
	a = malloc(sizeof(*a) + PAYLOAD_MAX);
	if (!a)
		return NULL;
	*a = (struct assembly){ .src = f->src, .dst = f->dst, .id = f->id, .since = now };
	list_append(&t->under_way, &a->age);
	t->count++;
	return a;
}

static bool well_formed(const struct fragment *f)
{
	return f->len && f->offset % BLOCK == 0 && !(f->more && f->len % BLOCK) &&
	       f->offset <= PAYLOAD_MAX && f->len <= PAYLOAD_MAX - f->offset;
}

/* False when the fragment contradicts what was seen. */
static bool assembly_add(struct assembly *a, const struct fragment *f)
{
	size_t end = f->offset + f->len, n = BLOCKS(f->len);
	uint8_t *seen = a->seen + f->offset / BLOCK;

	if (end < a->end ? !f->more : a->has_end && end > a->end)
		return false;
	if (!memchr(seen, 0, n))
		return true;
	if (memchr(seen, 1, n))
		return false;
	memset(seen, 1, n);
	memcpy(a->bytes + f->offset, f->data, f->len);
	a->nseen += n;
	a->has_end |= !f->more;
	if (end > a->end)
		a->end = end;
	return true;
}

bool fragments_add(
	struct fragments *t, const struct fragment *f, uint64_t now, struct fragment *whole)
{
	struct assembly *a;

	release_whole(t);
	if (!well_formed(f))
		return false;
	a = assembly_find(t, f);
	if (!a)
		a = assembly_new(t, f, now);
	if (!a)
		return false;
	if (!assembly_add(a, f)) {
		assembly_drop(t, a);
		return false;
	}
	if (!a->has_end || a->nseen < BLOCKS(a->end))
		return false;
	assembly_leave(t, a);
	t->whole = a;
	*whole = *f;
	whole->offset = 0;
	whole->more = false;
	whole->data = a->bytes;
	whole->len = a->end;
	return true;
}

void fragments_expire(struct fragments *t, uint64_t now)
{
	release_whole(t);
	while (!list_empty(&t->under_way)) {
		struct assembly *a = assembly_of(t->under_way.next);

		if (now - a->since < FRAGMENTS_NS)
			return;
		assembly_drop(t, a);
	}
}
