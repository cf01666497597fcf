#include "htab.h"

#include <errno.h>
#include <stdlib.h>

#define HTAB_MIN_SLOTS 16

static size_t slot_of(size_t nslots, uint64_t key)
{
	/* Fibonacci hashing: the high bits of the product depend on all bits of the key. */
	return (size_t)((key * 0x9e3779b97f4a7c15u) >> 32) & (nslots - 1);
}

void htab_done(struct htab *t)
{
	free(t->slots);
	*t = (struct htab){ 0 };
}

static int grow(struct htab *t)
{
	size_t nslots = t->nslots ? t->nslots * 2 : HTAB_MIN_SLOTS;
	struct hnode **slots = calloc(nslots, sizeof(struct hnode *));

	if (!slots)
		return -ENOMEM;
	for (size_t i = 0; i < t->nslots; i++) {
		struct hnode *next, **tail;

		/* Appending keeps the newest of equal keys in front. */
		for (struct hnode *n = t->slots[i]; n; n = next) {
			next = n->next;
			for (tail = &slots[slot_of(nslots, n->key)]; *tail; tail = &(*tail)->next)
				;
			n->next = NULL;
			*tail = n;
		}
	}
	free(t->slots);
	t->slots = slots;
	t->nslots = nslots;
	t->lowest = 0;
	return 0;
}

int htab_add(struct htab *t, struct hnode *node, uint64_t key)
{
	size_t slot;

	/* A table that cannot grow still works, only slower. */
	if (t->count >= t->nslots && grow(t) < 0 && !t->nslots)
		return -ENOMEM;
	slot = slot_of(t->nslots, key);
	node->key = key;
	node->next = t->slots[slot];
	t->slots[slot] = node;
	if (slot < t->lowest)
		t->lowest = slot;
	t->count++;
	return 0;
}

void htab_del(struct htab *t, struct hnode *node)
{
	struct hnode **p;

	if (!t->nslots)
		return;
	for (p = &t->slots[slot_of(t->nslots, node->key)]; *p; p = &(*p)->next) {
		if (*p != node)
			continue;
		*p = node->next;
		node->next = NULL;
		t->count--;
		return;
	}
}

struct hnode *htab_find(const struct htab *t, uint64_t key)
{
	struct hnode *n;

	if (!t->nslots)
		return NULL;
	for (n = t->slots[slot_of(t->nslots, key)]; n && n->key != key; n = n->next)
		;
	return n;
}

struct hnode *htab_next(const struct hnode *node)
{
	struct hnode *n;

	for (n = node->next; n && n->key != node->key; n = n->next)
		;
	return n;
}

struct hnode *htab_any(struct htab *t)
{
	for (; t->lowest < t->nslots; t->lowest++) {
		if (t->slots[t->lowest])
			return t->slots[t->lowest];
	}
	return NULL;
}
