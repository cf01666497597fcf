#include "agent/packet.c"

#include "agent_packet.h"
#include "buf.h"

#define C4 "10.0.0.2:5000"
#define S4 "10.0.0.1:80"
#define C6 "[fd00::2]:5000"
#define S6 "[fd00::1]:80"

#define UDP .protocol = IPPROTO_UDP

static void segments_are_found(void **state)
{
	static const struct packet_spec cases[] = {
		{ C4, S4, .seq = 0x80000001, .flags = TH_ACK, .text = "hello" },
		{ C4, S4, .flags = TH_SYN, .tcp_options = 40 },
		{ C4, S4, .flags = TH_ACK, .text = "x", .ip_options = 40 },
		{ C4, S4, .flags = TH_ACK, .text = "xyz", .ip_options = 4, .tcp_options = 12 },
		{ C4, S4, .flags = TH_ACK, .text = "big", .no_length = true },
		{ C4, S4, .flags = TH_ACK, .text = "x", .fragment = IP_DF },
		{ C6, S6, .flags = TH_ACK | TH_FIN, .text = "hello" },
		{ C6, S6, .flags = TH_ACK, .text = "big", .no_length = true },
		{ C6, S6, .flags = TH_SYN, .tcp_options = 20 },
		{ C4, S4, .protocol = IPPROTO_UDP, .text = "a datagram" },
		{ C4, S4, .protocol = IPPROTO_UDP, .ip_options = 8 },
		{ C6, S6, .protocol = IPPROTO_UDP, .text = "a datagram" },
		{ C6, S6, .protocol = IPPROTO_UDP, .fragment = IP_DF, .text = "one fragment" },
		{ C6, S6, .flags = TH_ACK, .fragment = IP_DF, .text = "one fragment" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct made_packet m = make_packet(&cases[i]);
		const char *text = cases[i].text ? cases[i].text : "";
		char src[ADDR_STRLEN], dst[ADDR_STRLEN];
		struct packet k;

		if (packet_parse(&k, m.data, m.len, m.len) < 0)
			fail_msg("case %zu is refused", i);
		assert_string_equal(addr_format(&k.src, src), cases[i].src);
		assert_string_equal(addr_format(&k.dst, dst), cases[i].dst);
		assert_int_equal(k.protocol, cases[i].protocol ? cases[i].protocol : IPPROTO_TCP);
		assert_int_equal(k.seq, cases[i].seq);
		assert_int_equal(k.flags, cases[i].flags);
		assert_int_equal(k.len, strlen(text));
		assert_memory_equal(k.data, text, k.len);
	}
}

/* Ethernet pads short frames: the IP header's length counts. */
static void padding_is_not_data(void **state)
{
	const struct packet_spec s = { C4, S4, .flags = TH_ACK };
	struct made_packet m = make_packet(&s);
	struct packet k;

	(void)state;
	assert_int_equal(packet_parse(&k, m.data, m.len + 6, m.len + 6), 0);
	assert_int_equal(k.len, 0);
}

static void what_is_not_all_there_is_refused(void **state)
{
	static const struct packet_spec cases[] = {
		{ C4, S4, .flags = TH_ACK, .text = "hello", .ip_options = 8, .tcp_options = 12 },
		{ C6, S6, .flags = TH_ACK, .text = "hello", .tcp_options = 12 },
		{ C4, S4, .protocol = IPPROTO_UDP, .text = "hello" },
	};
	struct packet k;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct made_packet m = make_packet(&cases[i]);

		for (size_t n = 0; n < m.len; n++) {
			/* At the end of its memory, for the sanitizer to see. */
			uint8_t *exact = malloc(n + 1);

			memcpy(exact + 1, m.data, n);
			assert_int_equal(packet_parse(&k, exact + 1, n, m.len), -EINVAL);
			free(exact);
		}
	}
}

static void other_packets_are_refused(void **state)
{
	static const struct packet_spec specs[] = {
		{ C4, S4, .protocol = IPPROTO_ICMP },
		{ C4, S4, .protocol = IPPROTO_UDP, .fragment = IP_MF },
		{ C4, S4, .fragment = IP_MF },
		{ C4, S4, .fragment = 1 },
		{ C6, S6, .protocol = IPPROTO_UDP, .fragment = IP_MF },
		{ C6, S6, .protocol = IPPROTO_UDP, .fragment = 1 },
		{ C6, S6, .protocol = IPPROTO_ROUTING },
		{ C6, S6, .protocol = IPPROTO_ROUTING, .fragment = IP_DF },
	};
	static const struct {
		size_t at;
		uint8_t byte;
	} broken[] = {
		{ 0, 0x44 },  /* an IP header of 16 bytes */
		{ 0, 0x4f },  /* one of 60, longer than the packet */
		{ 0, 0x55 },  /* version 5 */
		{ 3, 30 },    /* a length that ends inside the TCP header */
		{ 3, 10 },    /* one that ends inside the IP header */
		{ 3, 200 },   /* one beyond the packet */
		{ 32, 0x40 }, /* a TCP header of 16 bytes */
		{ 32, 0xf0 }, /* one of 60, longer than the segment */
	};
	const struct packet_spec good = { C4, S4, .flags = TH_ACK, .text = "hello" };
	struct made_packet m;
	struct packet k;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(specs); i++) {
		m = make_packet(&specs[i]);
		if (packet_parse(&k, m.data, m.len, m.len) == 0)
			fail_msg("spec %zu is taken", i);
	}
	for (size_t i = 0; i < ARRAY_SIZE(broken); i++) {
		m = make_packet(&good);
		m.data[broken[i].at] = broken[i].byte;
		if (packet_parse(&k, m.data, m.len, m.len) == 0)
			fail_msg("broken %zu is taken", i);
	}
}

static void a_wrong_checksum_is_seen(void **state)
{
	static const struct packet_spec cases[] = {
		{ C4, S4, .seq = 77, .flags = TH_ACK, .text = "even" },
		{ C4, S4, .seq = 77, .flags = TH_ACK, .text = "odd", .ip_options = 4 },
		{ C6, S6, .seq = 77, .flags = TH_ACK, .text = "a longer text", .tcp_options = 12 },
		{ C4, S4, .protocol = IPPROTO_UDP, .text = "even" },
		{ C6, S6, .protocol = IPPROTO_UDP, .text = "odd" },
	};
	struct packet k;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct made_packet m = make_packet(&cases[i]);

		assert_int_equal(packet_parse(&k, m.data, m.len, m.len), 0);
		assert_true(packet_sum_ok(&k));
		m.data[m.len - 1] ^= 1;
		assert_false(packet_sum_ok(&k));
	}
}

static void udp_over_ipv4_may_have_no_checksum(void **state)
{
	static const struct packet_spec four = { C4, S4, .protocol = IPPROTO_UDP, .text = "x" },
					six = { C6, S6, .protocol = IPPROTO_UDP, .text = "x" };
	struct made_packet m = make_packet(&four);
	struct packet k;

	(void)state;
	memset(m.data + sizeof(struct ip) + offsetof(struct udphdr, uh_sum), 0, 2);
	assert_int_equal(packet_parse(&k, m.data, m.len, m.len), 0);
	assert_true(packet_sum_ok(&k));
	m = make_packet(&six);
	memset(m.data + sizeof(struct ip6_hdr) + offsetof(struct udphdr, uh_sum), 0, 2);
	assert_int_equal(packet_parse(&k, m.data, m.len, m.len), 0);
	assert_false(packet_sum_ok(&k));
}

/* A datagram's own length counts, and lies within the packet's. */
static void a_datagrams_length_is_checked(void **state)
{
	static const struct packet_spec spec = { C4, S4, .protocol = IPPROTO_UDP, .text = "hello" };
	static const struct {
		uint8_t length;
		int len; /* -1: refused */
	} cases[] = { { 13, 5 }, { 12, 4 }, { 8, 0 }, { 7, -1 }, { 0, -1 }, { 14, -1 } };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct made_packet m = make_packet(&spec);
		struct packet k;
		int r;

		m.data[sizeof(struct ip) + 5] = cases[i].length;
		r = packet_parse(&k, m.data, m.len, m.len);
		if (r < 0 ? cases[i].len >= 0 : (int)k.len != cases[i].len)
			fail_msg("length %u", cases[i].length);
	}
}

static void fragments_are_found(void **state)
{
	static const struct packet_spec cases[] = {
		{ C4, S4, UDP, .text = "a datagram in fragments" },
		{ C6, S6, UDP, .text = "a datagram in fragments" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct made_packet whole = make_packet(&cases[i]);
		size_t all = sizeof(struct udphdr) + strlen(cases[i].text);
		const uint8_t *payload = whole.data + whole.len - all;

		for (size_t at = 0; at < all; at += 16) {
			struct made_packet m = cut_packet(&whole, 4321, at, 16);
			char src[ADDR_STRLEN];
			struct fragment f;
			struct packet k;

			assert_int_equal(packet_parse(&k, m.data, m.len, m.len), -EINVAL);
			assert_int_equal(packet_fragment(&f, m.data, m.len + 3), 0);
			assert_string_equal(
				addr_format(&f.src, src), i ? "[fd00::2]:0" : "10.0.0.2:0");
			assert_int_equal(f.protocol, IPPROTO_UDP);
			assert_int_equal(f.id, 4321);
			assert_int_equal(f.offset, at);
			assert_int_equal(f.len, MIN((size_t)16, all - at));
			assert_int_equal(f.more, at + f.len < all);
			assert_memory_equal(f.data, payload + at, f.len);
			for (size_t n = 0; n < m.len; n++)
				assert_int_equal(packet_fragment(&f, m.data, n), -EINVAL);
		}
	}
}

static void other_fragments_are_refused(void **state)
{
	static const struct {
		const char *name;
		struct packet_spec spec;
		int r;
	} cases[] = {
		{ "a whole datagram", { C4, S4, UDP }, -EINVAL },
		{ "IPv6, a whole datagram", { C6, S6, UDP }, -EINVAL },
		{ "IPv6, one in one fragment", { C6, S6, UDP, .fragment = IP_DF }, -EINVAL },
		{ "TCP", { C4, S4, .fragment = IP_MF }, -EINVAL },
		{ "IPv6, TCP", { C6, S6, .fragment = IP_MF }, -EINVAL },
		{ "IPv6, another header behind",
			{ C6, S6, .protocol = IPPROTO_DSTOPTS, .fragment = IP_MF }, -EINVAL },
		/* With headers an IPv4 packet has 65535 bytes; the payload of IPv6 has as many. */
		{ "up to the end", { C4, S4, UDP, .fragment = 8188, .text = "123" }, 0 },
		{ "beyond it", { C4, S4, UDP, .fragment = 8188, .text = "1234" }, -EINVAL },
		{ "beyond it with options",
			{ C4, S4, UDP, .fragment = 8188, .text = "123", .ip_options = 4 },
			-EINVAL },
		{ "IPv6, up to the end", { C6, S6, UDP, .fragment = 8190, .text = "1234567" }, 0 },
		{ "IPv6, beyond it", { C6, S6, UDP, .fragment = 8190, .text = "12345678" },
			-EINVAL },
	};
	struct fragment f;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct made_packet m = make_packet(&cases[i].spec);

		if (packet_fragment(&f, m.data, m.len) != cases[i].r)
			fail_msg("%s", cases[i].name);
	}
}

/* --- the filter, run by an interpreter of what it uses (Documentation/networking/filter.rst) ---
 */

struct frame {
	const uint8_t *p;
	size_t len;
	uint16_t ethertype;
	uint8_t direction;
};

/* A load at an offset; false when the kernel would end the program with 0. */
static bool load(const struct frame *f, uint32_t offset, size_t width, uint32_t *a)
{
	struct reader r = { f->p, f->p + f->len, false };

	if (offset >= (uint32_t)SKF_AD_OFF) {
		offset -= (uint32_t)SKF_AD_OFF;
		assert_true(offset == SKF_AD_PROTOCOL || offset == SKF_AD_PKTTYPE);
		*a = offset == SKF_AD_PROTOCOL ? f->ethertype : f->direction;
		return true;
	}
	read_bytes(&r, offset);
	*a = (uint32_t)read_uint(&r, width);
	return !r.bad;
}

static uint32_t run(const struct sock_filter *prog, size_t n, const struct frame *f)
{
	uint32_t a = 0, x = 0;

	for (size_t pc = 0; pc < n; pc++) {
		const struct sock_filter *i = &prog[pc];

		switch (i->code) {
		case BPF_LD | BPF_W | BPF_ABS:
			if (!load(f, i->k, 4, &a))
				return 0;
			break;
		case BPF_LD | BPF_H | BPF_ABS:
			if (!load(f, i->k, 2, &a))
				return 0;
			break;
		case BPF_LD | BPF_B | BPF_ABS:
			if (!load(f, i->k, 1, &a))
				return 0;
			break;
		case BPF_LD | BPF_H | BPF_IND:
			if (!load(f, x + i->k, 2, &a))
				return 0;
			break;
		case BPF_LD | BPF_B | BPF_IND:
			if (!load(f, x + i->k, 1, &a))
				return 0;
			break;
		case BPF_LDX | BPF_B | BPF_MSH:
			if (!load(f, i->k, 1, &x))
				return 0;
			x = (x & 15) * 4;
			break;
		case BPF_LDX | BPF_W | BPF_IMM:
			x = i->k;
			break;
		case BPF_JMP | BPF_JEQ | BPF_K:
			pc += a == i->k ? i->jt : i->jf;
			break;
		case BPF_JMP | BPF_JGT | BPF_K:
			pc += a > i->k ? i->jt : i->jf;
			break;
		case BPF_JMP | BPF_JSET | BPF_K:
			pc += a & i->k ? i->jt : i->jf;
			break;
		case BPF_JMP | BPF_JA:
			pc += i->k;
			break;
		case BPF_RET | BPF_K:
			return i->k;
		default:
			fail_msg("instruction %zu: code %#x", pc, i->code);
		}
	}
	fail_msg("the program has no end");
	return 0;
}

static uint32_t filter_packet(
	const struct packet_ports *ports, const struct packet_spec *s, uint8_t direction)
{
	static struct sock_filter prog[BPF_MAXINSNS];
	size_t n = packet_filter(prog, ports);
	struct made_packet m = make_packet(s);
	const struct frame f = { m.data, m.len, m.data[0] >> 4 == 4 ? ETH_P_IP : ETH_P_IPV6,
		direction };

	assert_true(n <= BPF_MAXINSNS);
	return run(prog, n, &f);
}

static void the_filter_passes_what_is_mirrored(void **state)
{
	static const struct packet_ports ports = {
		.v4 = { 80, 443, 24 },
		.nv4 = 3,
		.v6 = { 80, 8080 },
		.nv6 = 2,
		.udp4 = { 53, 443 },
		.nudp4 = 2,
		.udp6 = { 5353 },
		.nudp6 = 1,
	};
	static const struct {
		const char *name;
		struct packet_spec spec;
		uint8_t direction;
		bool pass;
	} cases[] = {
		{ "a SYN", { C4, S4, .flags = TH_SYN }, PACKET_HOST, true },
		{ "data", { C4, S4, .flags = TH_ACK, .text = "x" }, PACKET_HOST, true },
		{ "IP options", { C4, S4, .flags = TH_ACK, .ip_options = 40 }, PACKET_HOST, true },
		{ "the second port", { C4, "10.0.0.1:443", .flags = TH_ACK }, PACKET_HOST, true },
		{ "another port", { C4, "10.0.0.1:8080", .flags = TH_ACK }, PACKET_HOST, false },
		{ "the port as source", { S4, C4, .flags = TH_RST }, PACKET_HOST, false },
		{ "on its way out", { C4, S4, .flags = TH_ACK }, PACKET_OUTGOING, false },
		{ "for another host", { C4, S4, .flags = TH_ACK }, PACKET_OTHERHOST, false },
		{ "UDP to a port of TCP", { C4, S4, UDP }, PACKET_HOST, false },
		{ "TCP to a port of UDP", { C4, "10.0.0.1:53", .flags = TH_SYN }, PACKET_HOST,
			false },
		{ "UDP", { C4, "10.0.0.1:443", UDP, .ip_options = 8 }, PACKET_HOST, true },
		{ "UDP, broadcast", { C4, "10.0.0.255:53", UDP }, PACKET_BROADCAST, true },
		{ "UDP, multicast", { C4, "224.0.0.1:53", UDP }, PACKET_MULTICAST, true },
		{ "UDP for another host", { C4, "10.0.0.1:53", UDP }, PACKET_OTHERHOST, false },
		{ "UDP on its way out", { C4, "10.0.0.1:53", UDP }, PACKET_OUTGOING, false },
		{ "a UDP answer", { "10.0.0.1:53", C4, UDP }, PACKET_OUTGOING, false },
		{ "UDP over IPv6", { C6, "[fd00::1]:5353", UDP }, PACKET_HOST, true },
		{ "UDP over IPv6, a port of IPv4", { C6, "[fd00::1]:53", UDP }, PACKET_HOST,
			false },
		{ "UDP, the first fragment, another port", { C4, S4, UDP, .fragment = IP_MF },
			PACKET_HOST, true },
		{ "UDP, a later fragment", { C4, S4, UDP, .fragment = 100 }, PACKET_HOST, true },
		{ "UDP, may not be fragmented", { C4, S4, UDP, .fragment = IP_DF }, PACKET_HOST,
			false },
		{ "a fragment on its way out", { C4, S4, UDP, .fragment = 100 }, PACKET_OUTGOING,
			false },
		{ "a fragment for another host", { C4, S4, UDP, .fragment = 100 }, PACKET_OTHERHOST,
			false },
		{ "UDP over IPv6, a fragment", { C6, S6, UDP, .fragment = 100 }, PACKET_HOST,
			true },
		{ "UDP over IPv6, a fragment on its way out", { C6, S6, UDP, .fragment = 100 },
			PACKET_OUTGOING, false },
		{ "TCP over IPv6, a fragment", { C6, S6, .fragment = 100 }, PACKET_HOST, false },
		{ "ICMP", { C4, S4, .protocol = IPPROTO_ICMP }, PACKET_HOST, false },
		{ "a later fragment", { C4, S4, .fragment = 100 }, PACKET_HOST, false },
		{ "a server's reset", { S4, C4, .flags = TH_RST | TH_ACK }, PACKET_OUTGOING, true },
		{ "a server's data", { S4, C4, .flags = TH_ACK }, PACKET_OUTGOING, false },
		{ "flags are not a port", { S4, C4, .flags = TH_PUSH | TH_ACK /* 24 */ },
			PACKET_OUTGOING, false },
		{ "another server's reset", { "10.0.0.1:81", C4, .flags = TH_RST }, PACKET_OUTGOING,
			false },
		{ "IPv6", { C6, S6, .flags = TH_ACK }, PACKET_HOST, true },
		{ "IPv6, the second port", { C6, "[fd00::1]:8080", .flags = TH_ACK }, PACKET_HOST,
			true },
		{ "IPv6, a port of IPv4", { C6, "[fd00::1]:443", .flags = TH_ACK }, PACKET_HOST,
			false },
		{ "IPv6, a server's reset", { S6, C6, .flags = TH_RST }, PACKET_OUTGOING, true },
		{ "IPv6, an extension header", { C6, S6, .protocol = IPPROTO_ROUTING }, PACKET_HOST,
			false },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		uint32_t r = filter_packet(&ports, &cases[i].spec, cases[i].direction);

		if (r != (cases[i].pass ? UINT32_MAX : 0))
			fail_msg("%s: %u", cases[i].name, r);
	}
}

/* Nobody wants them. */
static void the_filter_drops_fragments_without_udp_ports(void **state)
{
	static const struct packet_ports ports = { .v4 = { 80 }, .nv4 = 1, .v6 = { 80 }, .nv6 = 1 };
	static const struct packet_spec four = { C4, S4, UDP, .fragment = 100 },
					six = { C6, S6, UDP, .fragment = 100 };

	(void)state;
	assert_int_equal(filter_packet(&ports, &four, PACKET_HOST), 0);
	assert_int_equal(filter_packet(&ports, &six, PACKET_HOST), 0);
}

/* Conditional jumps reach 255 instructions, and a program has at most 4096. */
static void the_filter_holds_all_ports(void **state)
{
	static struct packet_ports ports;
	const struct packet_spec last4 = { C4, "10.0.0.1:2023", .flags = TH_ACK };
	const struct packet_spec last6 = { C6, "[fd00::1]:3535", .flags = TH_ACK };
	const struct packet_spec last_udp = { C6, "[fd00::1]:5535", UDP };
	const struct packet_spec none6 = { C6, "[fd00::1]:2023", .flags = TH_ACK };

	(void)state;
	for (; ports.nv4 < PACKET_PORTS_MAX; ports.nv4++)
		ports.v4[ports.nv4] = (uint16_t)(1000 + ports.nv4);
	assert_int_equal(filter_packet(&ports, &last4, PACKET_HOST), UINT32_MAX);
	for (ports.nv4 /= 2; ports.nv6 < PACKET_PORTS_MAX / 2; ports.nv6++)
		ports.v6[ports.nv6] = (uint16_t)(3024 + ports.nv6);
	assert_int_equal(filter_packet(&ports, &last6, PACKET_HOST), UINT32_MAX);
	assert_int_equal(filter_packet(&ports, &none6, PACKET_HOST), 0);
	for (; ports.nudp6 < PACKET_UDP_PORTS_MAX; ports.nudp6++)
		ports.udp6[ports.nudp6] = (uint16_t)(5024 + ports.nudp6);
	assert_int_equal(filter_packet(&ports, &last_udp, PACKET_HOST), UINT32_MAX);
	assert_int_equal(filter_packet(&ports, &last6, PACKET_HOST), UINT32_MAX);
	ports.nv4 = ports.nv6 = 0;
	assert_int_equal(filter_packet(&ports, &last6, PACKET_HOST), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(segments_are_found),
		cmocka_unit_test(padding_is_not_data),
		cmocka_unit_test(what_is_not_all_there_is_refused),
		cmocka_unit_test(other_packets_are_refused),
		cmocka_unit_test(a_wrong_checksum_is_seen),
		cmocka_unit_test(udp_over_ipv4_may_have_no_checksum),
		cmocka_unit_test(a_datagrams_length_is_checked),
		cmocka_unit_test(fragments_are_found),
		cmocka_unit_test(other_fragments_are_refused),
		cmocka_unit_test(the_filter_passes_what_is_mirrored),
		cmocka_unit_test(the_filter_drops_fragments_without_udp_ports),
		cmocka_unit_test(the_filter_holds_all_ports),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
