/* A hash table from 64-bit keys to elements that hold their own node. Keys need not be unique:
 * htab_find() returns the newest, htab_next() the next older one with the same key. */
#ifndef COMMON_HTAB_H
#define COMMON_HTAB_H

#include <stddef.h>
#include <stdint.h>

struct hnode {
	struct hnode *next;
	uint64_t key;
};

struct htab {
	struct hnode **slots;
	size_t nslots; /* a power of two, or 0 before the first insertion */
	size_t count;
	size_t lowest; /* the slots before it are empty */
};

/* htab_done() - free the table itself; the elements belong to the caller. */
void htab_done(struct htab *t);

/* htab_add() - 0, or -ENOMEM with nothing changed. */
int htab_add(struct htab *t, struct hnode *node, uint64_t key);

/* htab_del() - take a node out; one that is not in the table is left alone. */
void htab_del(struct htab *t, struct hnode *node);

struct hnode *htab_find(const struct htab *t, uint64_t key);
struct hnode *htab_next(const struct hnode *node);

/* htab_any() - some node, or NULL when the table is empty: to empty a table, in a time
 * that grows with it. */
struct hnode *htab_any(struct htab *t);

/* The node at pos may be deleted inside the loop, others may not. */
#define htab_for_each(pos, t)                                                                      \
	for (size_t pos##_slot = 0; pos##_slot < (t)->nslots; pos##_slot++)                        \
		for (struct hnode *pos = (t)->slots[pos##_slot],                                   \
				  *pos##_next = pos ? pos->next : NULL;                            \
			pos; pos = pos##_next, pos##_next = pos ? pos->next : NULL)

#endif
