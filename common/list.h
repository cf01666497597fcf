/* A doubly linked list whose links live in the elements. An element that is in no list points to
 * itself, so list_del() may be called on it any number of times. */
#ifndef COMMON_LIST_H
#define COMMON_LIST_H

#include <stdbool.h>

#include "util.h"

struct list {
	struct list *prev, *next;
};

#define list_entry(ptr, type, member) container_of(ptr, type, member)

#define list_for_each(pos, head)                                                                   \
	for (struct list *pos = (head)->next; pos != (head); pos = pos->next)

/* The element at pos may be deleted inside the loop. */
#define list_for_each_safe(pos, head)                                                              \
	for (struct list *pos = (head)->next, *pos##_next = pos->next; pos != (head);              \
		pos = pos##_next, pos##_next = pos->next)

static inline void list_init(struct list *l)
{
	l->prev = l->next = l;
}

static inline bool list_empty(const struct list *l)
{
	return l->next == l;
}

/* list_add_before() - insert an element before pos; before the head means at the end. */
static inline void list_add_before(struct list *pos, struct list *element)
{
	element->prev = pos->prev;
	element->next = pos;
	pos->prev->next = element;
	pos->prev = element;
}

static inline void list_append(struct list *head, struct list *element)
{
	list_add_before(head, element);
}

static inline void list_del(struct list *element)
{
	element->prev->next = element->next;
	element->next->prev = element->prev;
	list_init(element);
}

/* list_shift() - remove and return the first element, or NULL. */
static inline struct list *list_shift(struct list *head)
{
	struct list *first = head->next;

	if (first == head)
		return NULL;
	list_del(first);
	return first;
}

#endif
