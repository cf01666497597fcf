/* Mirroring from packets to a client's channels: the real thing but for the ring, whose packets are
 * made here. */
#include "agent/copy.c"
#include "agent/fragments.c"
#include "agent/incoming.c"
#include "agent/mirror.c"
#include "agent/packet.c"
#include "agent/stream.c"

#include <stdio.h>
#include <sys/eventfd.h>

#include "agent_packet.h"

#define C4 "10.0.0.2:5000"
#define D4 "10.0.0.3:5000"
#define S4 "10.0.0.1:80"
#define C6 "[fd00::2]:5000"
#define S6 "[fd00::1]:80"

/* --- the ring's place --- */

static int ring_error;
static size_t filter_len;

int ring_open(struct ring *r, __attribute__((unused)) const struct sock_filter *f, size_t n,
	struct err *e)
{
	if (ring_error)
		return err_set(e, ring_error, "refused");
	filter_len = n;
	*r = (struct ring){ .fd = eventfd(0, EFD_CLOEXEC) };
	return 0;
}

void ring_close(struct ring *r)
{
	close_fd(&r->fd);
}

int ring_filter(__attribute__((unused)) struct ring *r,
	__attribute__((unused)) const struct sock_filter *f, size_t n)
{
	filter_len = n;
	return 0;
}

void ring_read(__attribute__((unused)) struct ring *r,
	__attribute__((unused)) void (*packet)(void *arg, const struct ring_packet *k),
	__attribute__((unused)) void *arg)
{
}

unsigned ring_drops(__attribute__((unused)) struct ring *r)
{
	return 0;
}

/* --- a client that writes down what it is told --- */

struct test {
	struct loop loop;
	struct mirror mirror;
	struct mux agent, client;
	struct mirror_port port4, port6;
	char heard[512]; /* in words, see the cases */
	bool starve;     /* bytes are taken, but no credit is given */
	struct channel channels[8];
	size_t nchannels;
};

static struct test *t;

__attribute__((format(printf, 1, 2))) static void hear(const char *fmt, ...)
{
	size_t n = strlen(t->heard);
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(t->heard + n, sizeof(t->heard) - n, fmt, ap);
	va_end(ap);
}

static void client_data(struct channel *c, const uint8_t *p, size_t n)
{
	if (t->starve)
		return;
	hear("%.*s", (int)n, (const char *)p);
	channel_consumed(c, n);
}

static void client_eof(__attribute__((unused)) struct channel *c)
{
	hear("$");
}

static void client_reset(__attribute__((unused)) struct channel *c, int error)
{
	hear("!%d", error);
}

static void client_writable(__attribute__((unused)) struct channel *c)
{
}

static const struct channel_ops client_channel = {
	.data = client_data,
	.eof = client_eof,
	.reset = client_reset,
	.writable = client_writable,
};

static void client_message(struct mux *mux, const struct msg *m)
{
	if (m->type == MSG_incoming) {
		assert_true(t->nchannels < ARRAY_SIZE(t->channels));
		assert_int_equal(
			channel_open(&t->channels[t->nchannels++], mux, m->id, &client_channel), 0);
		hear("+");
	} else if (m->type == MSG_gap) {
		hear("<%llu,%llu>", (unsigned long long)m->gap.after,
			(unsigned long long)m->gap.missing);
	}
}

static void agent_message(
	__attribute__((unused)) struct mux *mux, __attribute__((unused)) const struct msg *m)
{
}

static void link_lost(__attribute__((unused)) struct mux *mux, __attribute__((unused)) int error,
	__attribute__((unused)) const char *why)
{
}

static const struct mux_ops client_ops = { .message = client_message, .lost = link_lost };
static const struct mux_ops agent_ops = { .message = agent_message, .lost = link_lost };

static void subscribe(struct mirror_port *p, uint32_t id, enum proto_family family, uint16_t port)
{
	const struct subscriber to = { &t->agent, id };

	assert_int_equal(mirror_add(&t->mirror, p, &to, family, port, NULL), 0);
}

static void begin(void)
{
	int fds[2];

	t = calloc(1, sizeof(*t));
	assert_int_equal(loop_init(&t->loop), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	assert_int_equal(mux_init(&t->agent, &t->loop, fds[0], PROTO_AGENT, &agent_ops), 0);
	assert_int_equal(mux_init(&t->client, &t->loop, fds[1], PROTO_CLIENT, &client_ops), 0);
	mirror_init(&t->mirror, &t->loop);
	subscribe(&t->port4, 4, PROTO_IPV4, 80);
	subscribe(&t->port6, 6, PROTO_IPV6, 80);
}

/* Nothing may be left behind when the client is gone. */
static void end(void)
{
	mux_done(&t->agent);
	mux_done(&t->client);
	mirror_del(&t->mirror, &t->port4);
	mirror_del(&t->mirror, &t->port6);
	unit_run(&t->loop, 1);
	assert_int_equal(t->mirror.flows.count, 0);
	assert_int_equal(t->mirror.ports.count, 0);
	assert_int_equal(t->mirror.kept.used, 0);
	assert_int_equal(t->mirror.waiting, 0);
	assert_int_equal(t->mirror.ring.fd, -1);
	mirror_done(&t->mirror);
	loop_done(&t->loop);
	free(t);
}

static void see(const struct packet_spec *s, bool outgoing, bool corrupt)
{
	struct made_packet m = make_packet(s);
	const struct ring_packet k = {
		.data = m.data, .captured = m.len, .wire = m.len, .outgoing = outgoing
	};

	if (corrupt)
		m.data[m.len - 1] ^= 1;
	got_packet(&t->mirror, &k);
}

/* What is queued leaves at the end of one turn and arrives in the next, in both directions. */
static void run_turns(void)
{
	for (int i = 0; i < 4; i++)
		unit_run(&t->loop, 1);
}

/* Packets, and what the client hears of them: + a connection, its bytes, $ its end, ! a reset with
 * its errno, <after,missing> a gap. */
static void packets_become_channels(void **state)
{
	enum how { IN, OUT, BAD }; /* BAD: with a wrong checksum */
	static const struct {
		const char *name;
		struct {
			struct packet_spec spec;
			enum how how;
		} steps[10];
		const char *heard;
	} cases[] = {
#define TEXT_PACKET(from, to, at, what, said)                                                      \
	{ .src = (from), .dst = (to), .seq = (at), .flags = (what), .text = (said) }
#define SYN(isn)                                                                                   \
	{                                                                                          \
		{ C4, S4, .seq = (isn), .flags = TH_SYN }, IN                                      \
	}
#define ACK(at)                                                                                    \
	{                                                                                          \
		{ C4, S4, .seq = (at), .flags = TH_ACK }, IN                                       \
	}
#define DATA(at, text)                                                                             \
	{                                                                                          \
		TEXT_PACKET(C4, S4, at, TH_ACK, text), IN                                          \
	}
#define FIN(at, text)                                                                              \
	{                                                                                          \
		TEXT_PACKET(C4, S4, at, TH_ACK | TH_FIN, text), IN                                 \
	}
#define RST(at)                                                                                    \
	{                                                                                          \
		{ C4, S4, .seq = (at), .flags = TH_RST }, IN                                       \
	}
#define SERVER_RST                                                                                 \
	{                                                                                          \
		{ S4, C4, .flags = TH_RST | TH_ACK }, OUT                                          \
	}
		{ "a connection", { SYN(99), ACK(100), DATA(100, "abc"), FIN(103, "d") },
			"+abcd$" },
		{ "a handshake", { SYN(99), ACK(100) }, "+" },
		{ "a SYN alone", { SYN(99) }, "" },
		{ "the handshake's end with data", { SYN(99), DATA(100, "abc") }, "+abc" },
		{ "the handshake's end overtaken", { SYN(99), DATA(101, "b"), DATA(100, "a") },
			"+ab" },
		{ "no handshake", { ACK(100), DATA(100, "abc"), FIN(103, "") }, "" },
		{ "another window", { SYN(99), DATA(200000, "abc") }, "" },
		{ "over the wrap",
			{ SYN(UINT32_MAX - 2), ACK(UINT32_MAX - 1), DATA(UINT32_MAX - 1, "abc"),
				DATA(1, "de") },
			"+abcde" },
		{ "reordered", { SYN(99), ACK(100), DATA(102, "c"), FIN(103, ""), DATA(100, "ab") },
			"+abc$" },
		{ "the SYN again", { SYN(99), SYN(99), ACK(100), SYN(99), DATA(100, "a") }, "+a" },
		{ "refused", { SYN(99), SERVER_RST, ACK(100) }, "" },
		{ "reset by the client", { SYN(99), ACK(100), DATA(100, "a"), RST(101) },
			"+a!104" },
		{ "reset by the server", { SYN(99), ACK(100), SERVER_RST, DATA(100, "a") },
			"+!104" },
		{ "reset after the end", { SYN(99), FIN(100, "a"), SERVER_RST }, "+a$!104" },
		{ "a forged reset", { SYN(99), DATA(100, "abc"), RST(50), DATA(103, "d") },
			"+abcd" },
		{ "the addresses used again",
			{ SYN(99), DATA(100, "a"), SYN(5000), DATA(5001, "b") }, "+a!104+b" },
		{ "the other direction's SYN",
			{ { { C4, S4, .seq = 99, .flags = TH_SYN | TH_ACK }, IN }, ACK(100) }, "" },
		{ "fast open", { { TEXT_PACKET(C4, S4, 99, TH_SYN, "abc"), IN }, ACK(103) }, "" },
		{ "a wrong checksum",
			{ SYN(99), { TEXT_PACKET(C4, S4, 100, TH_ACK, "x"), BAD }, DATA(100, "y") },
			"+y" },
		{ "another port",
			{ { { C4, "10.0.0.1:81", .seq = 99, .flags = TH_SYN }, IN },
				{ { C4, "10.0.0.1:81", .seq = 100, .flags = TH_ACK }, IN } },
			"" },
		{ "IPv6",
			{ { { C6, S6, .seq = 99, .flags = TH_SYN }, IN },
				{ TEXT_PACKET(C6, S6, 100, TH_ACK | TH_FIN, "six"), IN } },
			"+six$" },
		{ "two clients",
			{ SYN(99), { { D4, S4, .seq = 99, .flags = TH_SYN }, IN }, DATA(100, "a"),
				{ TEXT_PACKET(D4, S4, 100, TH_ACK, "b"), IN } },
			"+a+b" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		begin();
		for (size_t j = 0; cases[i].steps[j].spec.src; j++)
			see(&cases[i].steps[j].spec, cases[i].steps[j].how == OUT,
				cases[i].steps[j].how == BAD);
		run_turns();
		if (strcmp(t->heard, cases[i].heard) != 0)
			fail_msg("%s: %s", cases[i].name, t->heard);
		end();
	}
}

static void from_c4(uint32_t seq, uint8_t flags, const char *text)
{
	const struct packet_spec s = { C4, S4, .seq = seq, .flags = flags, .text = text };

	see(&s, false, false);
}

static void a_hole_that_stays_is_a_gap(void **state)
{
	(void)state;
	begin();
	from_c4(99, TH_SYN, NULL);
	from_c4(100, TH_ACK, "abc");
	from_c4(110, TH_ACK, "beyond");
	run_turns();
	expire_holes(&t->mirror, now_ns());
	run_turns();
	assert_string_equal(t->heard, "+abc");
	expire_holes(&t->mirror, now_ns() + HOLE_NS);
	from_c4(103, TH_ACK, "too late");
	run_turns();
	assert_string_equal(t->heard, "+abc<3,7>!5");
	end();
}

/* Each hole has a time of its own. */
static void a_hole_that_moves_starts_anew(void **state)
{
	struct flow *f;

	(void)state;
	begin();
	from_c4(99, TH_SYN, NULL);
	from_c4(101, TH_ACK, "b");
	from_c4(103, TH_ACK, "d");
	f = list_entry(t->mirror.holed.next, struct flow, hole);
	f->hole_since -= HOLE_NS;
	from_c4(100, TH_ACK, "a");
	expire_holes(&t->mirror, now_ns());
	from_c4(102, TH_ACK, "c");
	assert_true(list_empty(&t->mirror.holed));
	run_turns();
	assert_string_equal(t->heard, "+abcd");
	end();
}

static void half_open_flows_expire(void **state)
{
	(void)state;
	begin();
	from_c4(99, TH_SYN, NULL);
	expire_half_open(&t->mirror, now_ns());
	assert_int_equal(t->mirror.flows.count, 1);
	expire_half_open(&t->mirror, now_ns() + HALF_OPEN_NS);
	assert_int_equal(t->mirror.flows.count, 0);
	end();
}

static void the_oldest_handshake_makes_room(void **state)
{
	(void)state;
	begin();
	from_c4(99, TH_SYN, NULL);
	from_c4(100, TH_ACK, "a");
	for (unsigned i = 0; i < MIRROR_FLOWS_MAX + 10; i++) {
		char src[32];
		const struct packet_spec s = { src, S4, .seq = 1, .flags = TH_SYN };

		snprintf(src, sizeof(src), "10.1.%u.%u:1000", i / 256, i % 256);
		see(&s, false, false);
	}
	assert_int_equal(t->mirror.flows.count, MIRROR_FLOWS_MAX);
	from_c4(101, TH_ACK, "b");
	run_turns();
	assert_string_equal(t->heard, "+ab");
	end();
}

/* A client that gives no credit holds up to its bound, and then is told so. */
static void a_client_that_stands_still_gets_a_gap(void **state)
{
	static char text[1001];
	uint32_t at = 100;

	(void)state;
	begin();
	t->starve = true;
	memset(text, 'x', sizeof(text) - 1);
	from_c4(99, TH_SYN, NULL);
	for (; at + 1000 < PROTO_WINDOW + COPY_WAITING_MAX; at += 1000) {
		from_c4(at, TH_ACK, text);
		if (at % 50000 == 100)
			unit_run(&t->loop, 1);
	}
	run_turns();
	assert_string_equal(t->heard, "+");
	for (int i = 0; i < 3; i++, at += 1000)
		from_c4(at, TH_ACK, text);
	run_turns();
	assert_string_equal(t->heard, "+<1048576,0>!5");
	end();
}

/* What waits for credit still goes out when the connection has ended. */
static void the_end_waits_for_what_waits(void **state)
{
	static char text[1001];
	uint32_t at = 100;

	(void)state;
	begin();
	t->starve = true;
	memset(text, 'x', sizeof(text) - 1);
	from_c4(99, TH_SYN, NULL);
	for (; at < PROTO_WINDOW + 50000; at += 1000) {
		from_c4(at, TH_ACK, text);
		if (at % 50000 == 100)
			unit_run(&t->loop, 1);
	}
	from_c4(at, TH_RST, NULL);
	assert_int_equal(t->mirror.flows.count, 0);
	run_turns();
	assert_string_equal(t->heard, "+");
	channel_consumed(&t->channels[0], PROTO_WINDOW);
	run_until(&t->loop, strstr(t->heard, "!104"));
	assert_int_equal(t->mirror.waiting, 0);
	end();
}

static void the_client_may_let_go(void **state)
{
	(void)state;
	begin();
	from_c4(99, TH_SYN, NULL);
	from_c4(100, TH_ACK, "a");
	run_turns();
	channel_reset(&t->channels[0], ECONNRESET);
	run_until(&t->loop, t->mirror.flows.count == 0);
	from_c4(101, TH_ACK, "b");

	/* In order, too: its own end, and then the connection's. */
	from_c4(999, TH_SYN, NULL);
	from_c4(1000, TH_ACK, "c");
	run_turns();
	channel_eof(&t->channels[1]);
	run_turns();
	assert_int_equal(t->mirror.flows.count, 1);
	from_c4(1001, TH_ACK | TH_FIN, "d");
	assert_int_equal(t->mirror.flows.count, 0);
	run_turns();
	assert_string_equal(t->heard, "+a+cd$");
	end();
}

static void copies_outlive_their_subscription(void **state)
{
	struct mirror_port second;

	(void)state;
	begin();
	subscribe(&second, 7, PROTO_IPV4, 90);
	mirror_del(&t->mirror, &second);
	subscribe(&second, 8, PROTO_IPV4, 80);
	from_c4(99, TH_SYN, NULL);
	from_c4(100, TH_ACK, "a");
	mirror_del(&t->mirror, &second);
	mirror_del(&t->mirror, &t->port4);
	from_c4(101, TH_ACK, "b");
	run_turns();
	assert_string_equal(t->heard, "++aabb");
	from_c4(102, TH_RST, NULL);
	assert_int_equal(t->mirror.ports.count, 1);
	subscribe(&t->port4, 4, PROTO_IPV4, 80);
	end();
}

/* --- datagrams --- */

static void hear_datagram(__attribute__((unused)) void *owner, const struct addr *peer,
	__attribute__((unused)) const struct addr *local, const uint8_t *bytes, size_t n)
{
	char s[ADDR_STRLEN];

	hear("%s %.*s;", addr_format(peer, s), (int)n, (const char *)bytes);
}

/* A datagram cut into fragments of n bytes, with a byte changed on the way or not. */
static void see_cut(const struct packet_spec *s, size_t n, bool corrupt)
{
	struct made_packet whole = make_packet(s);
	size_t all = sizeof(struct udphdr) + strlen(s->text);

	if (corrupt)
		whole.data[whole.len - 1] ^= 1;
	for (size_t at = 0; at < all; at += n) {
		struct made_packet m = cut_packet(&whole, 1, at, n);
		const struct ring_packet k = {
			.data = m.data, .captured = m.len, .wire = m.len, .summed = true
		};

		got_packet(&t->mirror, &k);
	}
}

static void datagrams_are_handed_out_whole(void **state)
{
	static const struct {
		const char *name;
		struct packet_spec spec;
		size_t cut;
		bool corrupt;
		const char *heard;
	} cases[] = {
		{ "whole", { C4, S4, .protocol = IPPROTO_UDP, .text = "datagram" }, 1000, false,
			"10.0.0.2:5000 datagram;" },
		{ "in fragments", { C4, S4, .protocol = IPPROTO_UDP, .text = "datagram" }, 8, false,
			"10.0.0.2:5000 datagram;" },
		{ "IPv6", { C6, S6, .protocol = IPPROTO_UDP, .text = "a datagram of six" }, 8,
			false, "[fd00::2]:5000 a datagram of six;" },
		{ "no one's port",
			{ C4, "10.0.0.1:81", .protocol = IPPROTO_UDP, .text = "datagram" }, 8,
			false, "" },
		{ "another family's port",
			{ C6, "[fd00::1]:53", .protocol = IPPROTO_UDP, .text = "datagram" }, 8,
			false, "" },
		{ "changed on the way", { C4, S4, .protocol = IPPROTO_UDP, .text = "datagram" }, 8,
			true, "" },
	};
	struct mirror_udp ports[] = {
		{ .family = PROTO_IPV4, .port = 80, .datagram = hear_datagram },
		{ .family = PROTO_IPV6, .port = 80, .datagram = hear_datagram },
		{ .family = PROTO_IPV4, .port = 53, .datagram = hear_datagram },
	};

	(void)state;
	begin();
	for (size_t i = 0; i < ARRAY_SIZE(ports); i++)
		assert_int_equal(mirror_udp_add(&t->mirror, &ports[i], NULL), 0);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		t->heard[0] = '\0';
		see_cut(&cases[i].spec, cases[i].cut, cases[i].corrupt);
		if (strcmp(t->heard, cases[i].heard) != 0)
			fail_msg("%s: %s", cases[i].name, t->heard);
		assert_int_equal(t->mirror.fragments.count, 0);
	}
	for (size_t i = 0; i < ARRAY_SIZE(ports); i++)
		mirror_udp_del(&t->mirror, &ports[i]);
	end();
}

static void a_ring_that_fails_is_reported(void **state)
{
	struct mirror m;
	struct mirror_port p;
	struct loop loop;
	struct err e;

	(void)state;
	assert_int_equal(loop_init(&loop), 0);
	mirror_init(&m, &loop);
	ring_error = -EPERM;
	assert_int_equal(mirror_add(&m, &p, &(struct subscriber){ 0 }, PROTO_IPV4, 80, &e), -EPERM);
	ring_error = 0;
	assert_string_equal(e.text, "refused");
	assert_int_equal(m.ports.count, 0);
	unit_run(&loop, 1);
	mirror_done(&m);
	loop_done(&loop);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(packets_become_channels),
		cmocka_unit_test(a_hole_that_stays_is_a_gap),
		cmocka_unit_test(a_hole_that_moves_starts_anew),
		cmocka_unit_test(half_open_flows_expire),
		cmocka_unit_test(the_oldest_handshake_makes_room),
		cmocka_unit_test(a_client_that_stands_still_gets_a_gap),
		cmocka_unit_test(the_end_waits_for_what_waits),
		cmocka_unit_test(the_client_may_let_go),
		cmocka_unit_test(copies_outlive_their_subscription),
		cmocka_unit_test(datagrams_are_handed_out_whole),
		cmocka_unit_test(a_ring_that_fails_is_reported),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
