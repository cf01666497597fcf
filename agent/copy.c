/* Theory of operation. Bytes go to the channel at once if it has room and nothing waits; else they
 * wait here. What ends the connection is kept as a state and comes into effect when nothing waits
 * any more (settle()), so a client that is slower than the wire still sees all that was sent
 * before. The exception is a copy that falls behind too far: what waits is dropped and counts as a
 * gap of unknown size. Nothing is ever sent after a gap.
 *
 * The client may end a copy at any time; the connection is not touched by that. */
#include "copy.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "log.h"

struct copy {
	struct channel ch;
	struct list link;   /* in set->list, or alone */
	struct copies *set; /* NULL when the connection has let go */
	struct loop *loop;
	enum copy_state state;
	struct buf waiting;
	size_t *total;    /* of all copies: waiting is counted in it */
	uint64_t sent;    /* bytes that the channel has taken */
	uint64_t missing; /* for COPY_GAP */
	int error;        /* for COPY_RESET */
	struct deferred release;
};

static struct copy *copy_of(struct channel *c)
{
	return container_of(c, struct copy, ch);
}

static void set_state(struct copy *c, enum copy_state state)
{
	static const char *const names[] = { "open", "eof", "reset", "gap" };

	static_assert(ARRAY_SIZE(names) == COPY_STATE_MAX, "each state has a name");
	log_dbg("channel %u: %s -> %s after %llu bytes, %zu waiting", c->ch.id, names[c->state],
		names[state], (unsigned long long)c->sent, buf_len(&c->waiting));
	c->state = state;
}

static void copy_release(struct deferred *d)
{
	free(container_of(d, struct copy, release));
}

static void drop_waiting(struct copy *c)
{
	*c->total -= buf_len(&c->waiting);
	buf_done(&c->waiting);
}

/* The copy's end. */
static void copy_end(struct copy *c)
{
	channel_close(&c->ch);
	list_del(&c->link);
	drop_waiting(c);
	loop_defer(c->loop, &c->release);
}

static void send_gap(struct copy *c)
{
	struct msg m = {
		.type = MSG_gap,
		.id = c->ch.id,
		.gap = { .after = c->sent, .missing = c->missing },
	};

	mux_send(c->ch.mux, &m);
}

/* When nothing waits, say on the channel what the state says. The copy may be over then. */
static void settle(struct copy *c)
{
	if (c->state == COPY_OPEN || buf_len(&c->waiting))
		return;
	if (c->state == COPY_EOF) {
		channel_eof(&c->ch);
		return;
	}
	if (c->state == COPY_GAP)
		send_gap(c);
	channel_reset(&c->ch, c->state == COPY_GAP ? EIO : c->error);
	copy_end(c);
}

/* The connection lets go of the copy, whose state says how it will end. */
static void detach(struct copy *c, enum copy_state state)
{
	list_del(&c->link);
	c->set = NULL;
	set_state(c, state);
	settle(c);
}

/* The client has let go of the copy. */
static void leave(struct copy *c)
{
	struct copies *set = c->set;

	copy_end(c);
	if (set && list_empty(&set->list))
		set->empty(set);
}

/* --- the client's side --- */

/* Nobody is there to whom a mirrored connection's answers could be sent. */
static void copy_answer(struct channel *ch, __attribute__((unused)) const uint8_t *p, size_t n)
{
	channel_consumed(ch, n);
}

static void copy_answer_eof(struct channel *ch)
{
	if (channel_is_over(ch))
		leave(copy_of(ch));
}

static void copy_client_reset(struct channel *ch, int error)
{
	struct copy *c = copy_of(ch);

	log_dbg("channel %u: the client let go: %s", ch->id, strerror(error));
	leave(c);
}

static void copy_writable(struct channel *ch)
{
	struct copy *c = copy_of(ch);
	size_t n;

	if (!buf_len(&c->waiting))
		return;
	n = channel_send(ch, buf_head(&c->waiting), buf_len(&c->waiting));
	buf_consume(&c->waiting, n);
	*c->total -= n;
	c->sent += n;
	settle(c);
	if (c->state == COPY_EOF && channel_is_over(ch))
		leave(c);
}

static const struct channel_ops copy_channel = {
	.data = copy_answer,
	.eof = copy_answer_eof,
	.reset = copy_client_reset,
	.writable = copy_writable,
};

int copy_new(struct copies *set, struct loop *loop, const struct subscriber *to,
	const struct addr *peer, const struct addr *local)
{
	struct copy *c = calloc(1, sizeof(*c));
	uint32_t channel = incoming_channel();
	int r;

	if (!c)
		return -ENOMEM;
	r = channel_open(&c->ch, to->mux, channel, &copy_channel);
	if (r < 0) {
		free(c);
		return r;
	}
	c->loop = loop;
	c->set = set;
	c->total = set->waiting;
	buf_init(&c->waiting, COPY_WAITING_MAX);
	deferred_init(&c->release, copy_release);
	list_append(&set->list, &c->link);
	incoming_announce(to, channel, peer, local);
	return 0;
}

/* --- the connection's side --- */

/* Keep bytes that the channel does not take; false when there are too many. */
static bool put_waiting(struct copy *c, const uint8_t *p, size_t n)
{
	if (*c->total + n > c->set->waiting_max || buf_put(&c->waiting, p, n) < 0)
		return false;
	*c->total += n;
	return true;
}

static void copy_data(struct copy *c, const uint8_t *p, size_t n)
{
	size_t done = 0;

	if (!buf_len(&c->waiting))
		done = channel_send(&c->ch, p, n);
	c->sent += done;
	if (done == n || put_waiting(c, p + done, n - done))
		return;
	drop_waiting(c);
	c->missing = 0;
	detach(c, COPY_GAP);
}

void copies_data(struct copies *set, const uint8_t *p, size_t n)
{
	list_for_each_safe (pos, &set->list)
		copy_data(list_entry(pos, struct copy, link), p, n);
}

void copies_eof(struct copies *set)
{
	list_for_each_safe (pos, &set->list) {
		struct copy *c = list_entry(pos, struct copy, link);

		set_state(c, COPY_EOF);
		settle(c);
		if (channel_is_over(&c->ch)) /* the client has ended its direction before */
			copy_end(c);
	}
}

void copies_reset(struct copies *set, int error)
{
	list_for_each_safe (pos, &set->list) {
		struct copy *c = list_entry(pos, struct copy, link);

		c->error = error;
		detach(c, COPY_RESET);
	}
}

void copies_gap(struct copies *set, uint64_t missing)
{
	list_for_each_safe (pos, &set->list) {
		struct copy *c = list_entry(pos, struct copy, link);

		c->missing = missing;
		detach(c, COPY_GAP);
	}
}
