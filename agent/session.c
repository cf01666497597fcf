/* Theory of operation. A session is in one of two stages. GREETING: the client has to say hello, in
 * our version of the protocol, before anything else. SERVING: it may ask for what there is. The
 * table of rows says which message is legal when; any other ends the session, as does a value that
 * no honest client sends.
 *
 * What can go wrong for an honest client (a port that is stolen already, no privilege) is answered
 * in `subscribed`, with an errno and a sentence.
 *
 * A lost link takes the session's channels with it first (mux.h), then its subscriptions. The
 * memory is released at the end of the loop's turn, since the mux may still be in a call. */
#include "session.h"

#include <errno.h>
#include <ifaddrs.h>
#include <stdio.h>
#include <string.h>

#include "context.h"
#include "file_op.h"
#include "file_open.h"
#include "handle.h"
#include "outgoing.h"
#include "udp.h"
#include "watch.h"

/* More than any guest listens to; a bound for those that do not stop asking. */
#define SESSION_SUBSCRIPTIONS_MAX 256

enum session_stage {
	GREETING,
	SERVING,
};

struct session {
	struct list link; /* in agent->sessions */
	struct agent *agent;
	struct mux mux;
	enum session_stage stage;
	struct htab subscriptions; /* of struct subscription, by the client's id */
	struct handles handles;
	struct watches watches;
	struct deferred release;
};

struct subscription {
	struct hnode node;
	enum incoming_mode mode;
	union {
		struct steal_port steal;
		struct mirror_port mirror;
	};
};

/* End the session of a client that broke the protocol, with a last word to whoever looks into it.
 */
static void refuse(struct session *s, const char *why)
{
	struct msg m = { .type = MSG_notice, .notice.text = span_of(why) };

	mux_send(&s->mux, &m);
	mux_flush(&s->mux, 0);
	mux_fail(&s->mux, EPROTO, why);
}

/* --- hello --- */

/* Append an address as hello carries it. False when it does not fit. */
static bool put_address(struct buf *b, const struct sockaddr *sa)
{
	bool v6 = sa->sa_family == AF_INET6;
	size_t n = v6 ? 16 : 4;
	uint8_t *p = buf_reserve(b, 1 + n);

	if (!p)
		return false;
	put_uint(p, 1, v6 ? PROTO_IPV6 : PROTO_IPV4);
	if (v6)
		memcpy(p + 1, &((const struct sockaddr_in6 *)sa)->sin6_addr, n);
	else
		memcpy(p + 1, &((const struct sockaddr_in *)sa)->sin_addr, n);
	buf_commit(b, 1 + n);
	return true;
}

/* The addresses of this network namespace, as many as fit. */
static void put_addresses(struct buf *b)
{
	struct ifaddrs *all;

	if (getifaddrs(&all) < 0)
		return;
	for (struct ifaddrs *i = all; i; i = i->ifa_next) {
		const struct sockaddr *sa = i->ifa_addr;

		if (sa && (sa->sa_family == AF_INET || sa->sa_family == AF_INET6) &&
			!put_address(b, sa))
			break;
	}
	freeifaddrs(all);
}

static void answer_hello(struct session *s)
{
	const struct target *t = &s->agent->target;
	struct msg m = {
		.type = MSG_hello,
		.hello = {
			.magic = PROTO_MAGIC,
			.version = PROTO_VERSION,
			.netns_dev = t->netns_dev,
			.netns_ino = t->netns_ino,
			.boot_id = span_of(t->boot_id),
			.about = span_of(t->about),
		},
	};
	struct buf addresses;

	buf_init(&addresses, PROTO_ADDRESSES_MAX);
	put_addresses(&addresses);
	m.hello.addresses = (struct span){ buf_head(&addresses), (uint32_t)buf_len(&addresses) };
	mux_send(&s->mux, &m);
	buf_done(&addresses);
}

static void on_hello(struct session *s, const struct msg *m)
{
	char text[160];

	if (m->hello.magic != PROTO_MAGIC) {
		mux_fail(&s->mux, EPROTO, "the peer is not a mirrord-trace");
		return;
	}
	if (m->hello.version != PROTO_VERSION) {
		snprintf(text, sizeof(text),
			"this agent (%s) speaks version %d of the protocol, the client speaks %u; "
			"use "
			"programs of one release",
			VERSION, PROTO_VERSION, m->hello.version);
		refuse(s, text);
		return;
	}
	s->stage = SERVING;
	answer_hello(s);
}

/* --- subscriptions --- */

static struct subscription *subscription_find(const struct session *s, uint32_t id)
{
	struct hnode *n = htab_find(&s->subscriptions, id);

	return n ? container_of(n, struct subscription, node) : NULL;
}

static int subscription_start(
	struct session *s, struct subscription *sub, const struct msg *m, struct err *e)
{
	const struct subscriber to = { .mux = &s->mux, .id = m->id };

	sub->mode = m->subscribe.mode;
	if (sub->mode == INCOMING_STEAL)
		return steal_add(&s->agent->steal, &sub->steal, &to, m->subscribe.family,
			m->subscribe.port, e);
	return mirror_add(
		&s->agent->mirror, &sub->mirror, &to, m->subscribe.family, m->subscribe.port, e);
}

static void subscription_end(struct session *s, struct subscription *sub)
{
	htab_del(&s->subscriptions, &sub->node);
	if (sub->mode == INCOMING_STEAL)
		steal_del(&s->agent->steal, &sub->steal);
	else
		mirror_del(&s->agent->mirror, &sub->mirror);
	free(sub);
}

static int subscription_new(struct session *s, const struct msg *m, struct err *e)
{
	struct subscription *sub;
	int r;

	if (s->subscriptions.count >= SESSION_SUBSCRIPTIONS_MAX)
		return err_set(e, -ENOSPC, "a session may subscribe to %d ports at once",
			SESSION_SUBSCRIPTIONS_MAX);
	sub = calloc(1, sizeof(*sub));
	if (!sub)
		return err_set(e, -ENOMEM, "the agent has no memory");
	r = htab_add(&s->subscriptions, &sub->node, m->id);
	if (r < 0) {
		free(sub);
		return err_set(e, r, "the agent has no memory");
	}
	r = subscription_start(s, sub, m, e);
	if (r < 0) {
		htab_del(&s->subscriptions, &sub->node);
		free(sub);
	}
	return r;
}

static bool subscribe_is_sane(const struct msg *m)
{
	const struct msg_subscribe *sub = &m->subscribe;

	return (sub->mode == INCOMING_STEAL || sub->mode == INCOMING_MIRROR) &&
	       (sub->family == PROTO_IPV4 || sub->family == PROTO_IPV6) && sub->port != 0;
}

static void on_subscribe(struct session *s, const struct msg *m)
{
	struct msg answer = { .type = MSG_subscribed, .id = m->id };
	struct err e;
	int r;

	if (!subscribe_is_sane(m) || subscription_find(s, m->id)) {
		refuse(s, "the client sent a subscription that makes no sense");
		return;
	}
	r = subscription_new(s, m, &e);
	answer.subscribed.error = (uint32_t)-r;
	if (r < 0)
		answer.subscribed.text = span_of(e.text);
	else if (m->subscribe.mode == INCOMING_STEAL)
		answer.subscribed.text = span_of(steal_method(&s->agent->steal));
	else
		answer.subscribed.text = span_of("packet ring");
	log_dbg("subscription %u: %s port %u (IPv%u): %.*s", m->id,
		m->subscribe.mode == INCOMING_STEAL ? "steal" : "mirror", m->subscribe.port,
		m->subscribe.family, (int)answer.subscribed.text.len,
		(const char *)answer.subscribed.text.data);
	mux_send(&s->mux, &answer);
}

/* An id that is unknown is that of a subscription that failed: the answer crossed this on its way.
 */
static void on_unsubscribe(struct session *s, const struct msg *m)
{
	struct subscription *sub = subscription_find(s, m->id);

	log_dbg("subscription %u: ended", m->id);
	if (sub)
		subscription_end(s, sub);
}

/* --- outgoing --- */

static void on_connect(struct session *s, const struct msg *m)
{
	if (outgoing_connect(&s->agent->drain, &s->mux, &s->agent->target, m) < 0)
		refuse(s, "the client asked for a connection that makes no sense");
}

static void on_udp_open(struct session *s, const struct msg *m)
{
	const struct udp_ports ports = { &s->agent->steal, &s->agent->mirror };

	if (udp_open(&s->agent->loop, &ports, &s->mux, m) < 0)
		refuse(s, "the client asked for a UDP socket that makes no sense");
}

/* --- files --- */

static void on_file_open(struct session *s, const struct msg *m)
{
	if (file_open(&s->agent->loop, &s->mux, &s->agent->target, &s->handles, m) < 0)
		refuse(s, "the client opened a file in a way that makes no sense");
}

static void on_handle(struct session *s, const struct msg *m)
{
	handle_message(&s->handles, m);
}

static void on_file_op(struct session *s, const struct msg *m)
{
	if (file_op(&s->mux, &s->agent->target, m) < 0)
		refuse(s, "the client asked for something with a file that makes no sense");
}

static void on_watch(struct session *s, const struct msg *m)
{
	if (watch_message(&s->watches, m) < 0)
		refuse(s, "the client asked for a watch that makes no sense");
}

static void on_context_get(struct session *s, const struct msg *m)
{
	context_send(&s->mux, &s->agent->target, m->id);
}

static void on_environ_get(struct session *s, const struct msg *m)
{
	environ_send(&s->mux, &s->agent->target, m->id);
}

/* --- the link --- */

static void session_message(struct mux *mux, const struct msg *m)
{
	static const struct {
		enum msg_type type;
		enum session_stage when;
		void (*handle)(struct session *s, const struct msg *m);
	} rows[] = {
		{ MSG_hello, GREETING, on_hello },
		{ MSG_subscribe, SERVING, on_subscribe },
		{ MSG_unsubscribe, SERVING, on_unsubscribe },
		{ MSG_connect, SERVING, on_connect },
		{ MSG_udp_open, SERVING, on_udp_open },
		{ MSG_context_get, SERVING, on_context_get },
		{ MSG_environ_get, SERVING, on_environ_get },
		{ MSG_file_open, SERVING, on_file_open },
		{ MSG_file_write, SERVING, on_handle },
		{ MSG_file_truncate, SERVING, on_handle },
		{ MSG_file_sync, SERVING, on_handle },
		{ MSG_file_close, SERVING, on_handle },
		{ MSG_file_op, SERVING, on_file_op },
		{ MSG_file_watch, SERVING, on_watch },
		{ MSG_file_unwatch, SERVING, on_watch },
	};
	struct session *s = container_of(mux, struct session, mux);

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		if (rows[i].type == m->type && rows[i].when == s->stage) {
			rows[i].handle(s, m);
			return;
		}
	}
	log_dbg("unexpected message: %s", proto_name(m->type));
	refuse(s, "the client sent a message out of its turn");
}

static void session_release(struct deferred *d)
{
	free(container_of(d, struct session, release));
}

/* The link is closed already. */
static void session_end(struct session *s)
{
	struct hnode *n;

	while ((n = htab_any(&s->subscriptions)))
		subscription_end(s, container_of(n, struct subscription, node));
	htab_done(&s->subscriptions);
	handles_done(&s->handles);
	watches_done(&s->watches);
	list_del(&s->link);
	if (s->agent->ends_with_session)
		drain_leave(&s->agent->drain);
	loop_defer(&s->agent->loop, &s->release);
}

static void session_lost(struct mux *mux, int error, const char *why)
{
	struct session *s = container_of(mux, struct session, mux);

	log_dbg("session over: %s%s", error ? "" : "in order, ", why);
	mux_done(mux);
	session_end(s);
}

static const struct mux_ops session_ops = {
	.message = session_message,
	.lost = session_lost,
};

int session_start(struct agent *agent, int fd)
{
	struct session *s = calloc(1, sizeof(*s));
	int r = -ENOMEM;

	if (s)
		r = mux_init(&s->mux, &agent->loop, fd, PROTO_AGENT, &session_ops);
	if (r < 0) {
		free(s);
		close(fd);
		return r;
	}
	s->agent = agent;
	deferred_init(&s->release, session_release);
	handles_init(&s->handles, &s->mux, &agent->target);
	watches_init(&s->watches, &agent->loop, &s->mux, &agent->target);
	list_append(&agent->sessions, &s->link);
	log_dbg("session started");
	return 0;
}

void session_end_all(struct agent *agent)
{
	list_for_each_safe (pos, &agent->sessions) {
		struct session *s = list_entry(pos, struct session, link);

		mux_done(&s->mux);
		session_end(s);
	}
}
