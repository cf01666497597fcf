/* Barriers: calls that wait until the agent has what the guest wrote, and has it on the disk. */
#include <errno.h>
#include <stdlib.h>

#include "trap.h"
#include "tree.h"
#include "util.h"
#include "writeback_parts.h"

/* One call that waits until the agent has it all. */
struct barrier {
	struct call *call; /* NULL: the thread is gone */
	struct writeback *wb;
	bool goes_on; /* then the kernel does the call */
	int error;
	unsigned waits, n;
	struct deferred release;
	struct barrier_query {
		struct remote_query query;
		struct barrier *barrier;
		uint32_t handle;
		uint64_t placed; /* the file's, when it was asked */
		bool waits;
	} query[];
};

static void barrier_free(struct deferred *d)
{
	free(container_of(d, struct barrier, release));
}

static void barrier_over(struct barrier *b)
{
	struct call *c = b->call;

	loop_defer(loop_of(b->wb), &b->release);
	if (!c)
		return;
	c->cancel = NULL;
	if (b->error || !b->goes_on)
		call_return(c, -b->error);
	else
		call_continue(c);
}

static struct writeback_file *file_of_handle(const struct writeback *w, uint32_t handle)
{
	list_for_each (l, &w->files) {
		struct writeback_file *f = list_entry(l, struct writeback_file, link);

		if (f->sent.handle == handle)
			return f;
	}
	return NULL;
}

static void on_synced(struct remote_query *q, int error, const struct remote_found *found)
{
	struct barrier_query *bq = container_of(q, struct barrier_query, query);
	struct barrier *b = bq->barrier;
	struct writeback_file *f = file_of_handle(b->wb, bq->handle);

	(void)found;
	bq->waits = false;
	if (!b->error)
		b->error = error;
	if (f && !error && f->placed == bq->placed && !writeback_has_unsent(f))
		sent_sure(&f->sent);
	if (--b->waits == 0)
		barrier_over(b);
}

static const struct remote_ops sync_ops = { .found = on_synced };

static void barrier_cancel(struct call *c)
{
	struct barrier *b = c->data;

	b->call = NULL;
	for (unsigned i = 0; i < b->n; i++) {
		if (b->query[i].waits)
			remote_drop(&b->query[i].query);
	}
	loop_defer(loop_of(b->wb), &b->release);
}

/* Ask for a file to be compared, sent, and written to the target's disk. */
static void barrier_add(struct barrier *b, struct writeback_file *f)
{
	struct barrier_query *q = &b->query[b->n++];
	int r = -EIO;

	if (f->mappable || f->owed)
		writeback_pass(f, true);
	q->barrier = b;
	q->handle = f->sent.handle;
	q->placed = f->placed;
	q->query.ops = &sync_ops;
	if (f->state == HANDLE_OPEN)
		r = remote_sync(&b->wb->tracer->fs.remote, &q->query, f->sent.handle);
	q->waits = r == 0;
	b->waits += q->waits;
	if (r < 0 && !b->error)
		b->error = -r;
}

static unsigned count(const struct list *all)
{
	unsigned n = 0;

	list_for_each (l, all)
		n++;
	return n;
}

bool writeback_sync(struct writeback *w, struct call *c, int fd)
{
	struct writeback_file *one = fd >= 0 ? writeback_file_of(w, fd) : NULL;
	unsigned n = one ? 1 : fd >= 0 || writeback_is_idle(w) ? 0 : count(&w->files);
	struct barrier *b = n ? calloc(1, sizeof(*b) + n * sizeof(b->query[0])) : NULL;

	if (!n)
		return false;
	if (!b) {
		call_return(c, -ENOMEM);
		return true;
	}
	*b = (struct barrier){ .call = c, .wb = w, .goes_on = fd < 0 };
	deferred_init(&b->release, barrier_free);
	writeback_before_send(w);
	if (one) {
		barrier_add(b, one);
	} else {
		list_for_each (l, &w->files) {
			struct writeback_file *f = list_entry(l, struct writeback_file, link);

			if (f->state != HANDLE_GONE)
				barrier_add(b, f);
		}
	}
	if (b->waits)
		call_park(c, false, barrier_cancel, b);
	else
		barrier_over(b);
	return true;
}
