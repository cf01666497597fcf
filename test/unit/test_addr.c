#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/un.h>

#include "addr.h"
#include "unit.h"

static struct addr parsed(const char *s)
{
	struct addr a;

	if (addr_parse(&a, s) < 0)
		fail_msg("not an address: %s", s);
	return a;
}

/* Text to address and back. printed NULL: it is refused. */
static void texts_parse_and_print(void **state)
{
	static const struct {
		const char *text, *printed;
	} cases[] = {
		{ "10.1.2.3:80", "10.1.2.3:80" },
		{ "0.0.0.0:0", "0.0.0.0:0" },
		{ "255.255.255.255:65535", "255.255.255.255:65535" },
		{ "[::1]:8080", "[::1]:8080" },
		{ "[FD00:0:0:0:0:0:0:1]:1", "[fd00::1]:1" },
		{ "[::ffff:1.2.3.4]:5", "[::ffff:1.2.3.4]:5" },
		{ "[::]:443", "[::]:443" },
		{ "1.2.3.4:00080", "1.2.3.4:80" },
		{ "", NULL },
		{ ":", NULL },
		{ ":80", NULL },
		{ "80", NULL },
		{ "1.2.3.4", NULL },
		{ "1.2.3.4:", NULL },
		{ "1.2.3.4:65536", NULL },
		{ "1.2.3.4:-1", NULL },
		{ "1.2.3.4:+1", NULL },
		{ "1.2.3.4: 1", NULL },
		{ "1.2.3.4:1x", NULL },
		{ "1.2.3.4:99999999999999999999", NULL },
		{ "1.2.3:80", NULL },
		{ "localhost:80", NULL },
		{ "[]:80", NULL },
		{ "[:80", NULL },
		{ "[::1:80", NULL },
		{ "[::1]80", NULL },
		{ "[::g]:80", NULL },
		{ "[1111:2222:3333:4444:5555:6666:7777:8888:9999:aaaa]:1", NULL },
	};
	char s[ADDR_STRLEN];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct addr a;
		int r = addr_parse(&a, cases[i].text);

		if (r != (cases[i].printed ? 0 : -EINVAL))
			fail_msg("'%s' gives %d", cases[i].text, r);
		if (cases[i].printed)
			assert_string_equal(addr_format(&a, s), cases[i].printed);
	}
}

static void the_longest_address_fits(void **state)
{
	struct addr a = parsed("[1111:2222:3333:4444:5555:6666:123.123.123.123]:65535");
	char s[ADDR_STRLEN];

	(void)state;
	a.in6.sin6_scope_id = UINT32_MAX;
	assert_non_null(strstr(addr_format(&a, s), "%4294967295]:65535"));
}

static void kinds_of_address(void **state)
{
	static const struct {
		const char *text;
		bool wildcard, loopback, mapped;
	} cases[] = {
		{ "0.0.0.0:80", true, false, false },
		{ "[::]:80", true, false, false },
		{ "[::ffff:0.0.0.0]:80", true, false, true },
		{ "127.0.0.1:80", false, true, false },
		{ "127.255.3.4:80", false, true, false },
		{ "[::1]:80", false, true, false },
		{ "[::ffff:127.0.0.9]:80", false, true, true },
		{ "128.0.0.1:80", false, false, false },
		{ "126.0.0.1:80", false, false, false },
		{ "[::ffff:10.0.0.1]:80", false, false, true },
		{ "[::127.0.0.1]:80", false, false, false },
		{ "[fe80::1]:80", false, false, false },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct addr a = parsed(cases[i].text);

		if (addr_is_wildcard(&a) != cases[i].wildcard ||
			addr_is_loopback(&a) != cases[i].loopback ||
			addr_is_v4mapped(&a) != cases[i].mapped)
			fail_msg("%s", cases[i].text);
	}
}

static void equality(void **state)
{
	static const struct {
		const char *a, *b;
		bool same_ip, equal;
	} cases[] = {
		{ "1.2.3.4:5", "1.2.3.4:5", true, true },
		{ "1.2.3.4:5", "1.2.3.4:6", true, false },
		{ "1.2.3.4:5", "1.2.3.5:5", false, false },
		{ "1.2.3.4:5", "[::ffff:1.2.3.4]:5", true, true },
		{ "[::1]:5", "127.0.0.1:5", false, false },
		{ "[::]:5", "0.0.0.0:5", false, false },
		{ "[fd00::1]:5", "[fd00::1]:5", true, true },
		{ "[fd00::1]:5", "[fd00::2]:5", false, false },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct addr a = parsed(cases[i].a), b = parsed(cases[i].b);

		assert_int_equal(addr_same_ip(&a, &b), cases[i].same_ip);
		assert_int_equal(addr_same_ip(&b, &a), cases[i].same_ip);
		assert_int_equal(addr_equal(&a, &b), cases[i].equal);
	}
}

static void a_scope_makes_a_difference(void **state)
{
	struct addr a = parsed("[fe80::1]:5"), b = a;

	(void)state;
	b.in6.sin6_scope_id = 2;
	assert_false(addr_same_ip(&a, &b));
}

static void mapping(void **state)
{
	static const struct {
		const char *in;
		sa_family_t family;
		const char *mapped, *unmapped;
	} cases[] = {
		{ "1.2.3.4:5", AF_INET6, "[::ffff:1.2.3.4]:5", "1.2.3.4:5" },
		{ "1.2.3.4:5", AF_INET, "1.2.3.4:5", "1.2.3.4:5" },
		{ "[::ffff:1.2.3.4]:5", AF_INET6, "[::ffff:1.2.3.4]:5", "1.2.3.4:5" },
		{ "[fd00::1]:5", AF_INET6, "[fd00::1]:5", "[fd00::1]:5" },
		{ "[fd00::1]:5", AF_INET, "[fd00::1]:5", "[fd00::1]:5" },
	};
	char s[ADDR_STRLEN];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct addr in = parsed(cases[i].in);
		struct addr mapped = addr_map(&in, cases[i].family), back = addr_unmap(&in);

		assert_string_equal(addr_format(&mapped, s), cases[i].mapped);
		assert_string_equal(addr_format(&back, s), cases[i].unmapped);
	}
}

static void a_sockaddr_must_be_long_enough(void **state)
{
	static const struct {
		sa_family_t family;
		size_t len;
		int want;
	} cases[] = {
		{ AF_INET, 0, -EINVAL },
		{ AF_INET, 1, -EINVAL },
		{ AF_INET, sizeof(struct sockaddr_in) - 1, -EINVAL },
		{ AF_INET, sizeof(struct sockaddr_in), 0 },
		{ AF_INET, sizeof(struct sockaddr_storage), 0 },
		{ AF_INET6, sizeof(struct sockaddr_in), -EINVAL },
		{ AF_INET6, offsetof(struct sockaddr_in6, sin6_scope_id) - 1, -EINVAL },
		{ AF_INET6, offsetof(struct sockaddr_in6, sin6_scope_id), 0 },
		{ AF_INET6, sizeof(struct sockaddr_in6), 0 },
		{ AF_INET6, sizeof(struct sockaddr_storage), 0 },
		{ AF_UNIX, sizeof(struct sockaddr_un), -EAFNOSUPPORT },
		{ AF_UNSPEC, sizeof(struct sockaddr_in), -EAFNOSUPPORT },
		{ AF_UNIX, sizeof(sa_family_t), -EAFNOSUPPORT },
	};
	const struct addr before = parsed("9.9.9.9:9");

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		uint8_t *sa = test_malloc(cases[i].len + 1);
		struct addr a = before;

		memset(sa, 0xff, cases[i].len + 1);
		if (cases[i].len >= sizeof(sa_family_t))
			memcpy(sa, &cases[i].family, sizeof(sa_family_t));
		assert_int_equal(addr_from_sockaddr(&a, sa, cases[i].len), cases[i].want);
		if (cases[i].want < 0)
			assert_memory_equal(&a, &before, sizeof(a));
		else
			assert_int_equal(a.sa.sa_family, cases[i].family);
		test_free(sa);
	}
}

static void a_short_ipv6_sockaddr_has_no_scope(void **state)
{
	struct addr full = parsed("[fe80::1]:5"), a;

	(void)state;
	full.in6.sin6_scope_id = 3;
	assert_int_equal(
		addr_from_sockaddr(&a, &full, offsetof(struct sockaddr_in6, sin6_scope_id)), 0);
	assert_int_equal(a.in6.sin6_scope_id, 0);
	assert_int_equal(addr_port(&a), 5);
}

static void ports(void **state)
{
	static const char *const texts[] = { "1.2.3.4:1", "[::1]:1" };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		struct addr a = parsed(texts[i]);

		assert_int_equal(addr_port(&a), 1);
		addr_set_port(&a, 65534);
		assert_int_equal(addr_port(&a), 65534);
	}
}

static void the_kernel_takes_and_gives_them(void **state)
{
	static const char *const texts[] = { "127.0.0.1:0", "[::1]:0" };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		struct addr want = parsed(texts[i]), got;
		cleanup_fd int fd = socket(want.sa.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);

		if (fd < 0 || bind(fd, &want.sa, addr_len(&want)) < 0)
			skip();
		assert_int_equal(addr_of_socket(fd, &got), 0);
		assert_true(addr_same_ip(&got, &want));
		assert_int_not_equal(addr_port(&got), 0);
		assert_int_equal(addr_of_peer(fd, &got), -ENOTCONN);
	}
}

static void other_sockets_are_refused(void **state)
{
	struct addr a;
	int fds[2];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	assert_int_equal(addr_of_socket(fds[0], &a), -EAFNOSUPPORT);
	assert_int_equal(addr_of_peer(fds[0], &a), -EAFNOSUPPORT);
	close(fds[0]);
	close(fds[1]);
	assert_int_equal(addr_of_socket(-1, &a), -EBADF);
}

static void what_an_address_means(void **state)
{
	static const struct {
		const char *to, *meant;
	} cases[] = {
		{ "10.1.2.3:80", "10.1.2.3:80" },
		{ "0.0.0.0:80", "127.0.0.1:80" },
		{ "[::]:80", "[::1]:80" },
		{ "[fd00::1]:80", "[fd00::1]:80" },
		{ "[::ffff:10.1.2.3]:80", "10.1.2.3:80" },
		{ "[::ffff:0.0.0.0]:80", "127.0.0.1:80" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char text[ADDR_STRLEN];
		struct addr a;

		assert_int_equal(addr_parse(&a, cases[i].to), 0);
		a = addr_meant(&a);
		assert_string_equal(addr_format(&a, text), cases[i].meant);
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(texts_parse_and_print),
		cmocka_unit_test(the_longest_address_fits),
		cmocka_unit_test(kinds_of_address),
		cmocka_unit_test(equality),
		cmocka_unit_test(a_scope_makes_a_difference),
		cmocka_unit_test(mapping),
		cmocka_unit_test(a_sockaddr_must_be_long_enough),
		cmocka_unit_test(a_short_ipv6_sockaddr_has_no_scope),
		cmocka_unit_test(ports),
		cmocka_unit_test(the_kernel_takes_and_gives_them),
		cmocka_unit_test(other_sockets_are_refused),
		cmocka_unit_test(what_an_address_means),
	};

	return cmocka_run_group_tests_name("addr", tests, NULL, NULL);
}
