/* What the selectors mean: where a connection goes, who resolves a name, and what is said of a list
 * that is wrong. */
#include "unit.h"

#include "tracer/pattern.c"
#include "tracer/policy.c"

#define BOTH 0 /* as a protocol: the answer is the same for TCP and UDP */

struct address_case {
	struct config cfg;
	int protocol;
	const char *to;
	const char *names[3];
	enum side side;
	const char *why; /* NULL: not asked */
};

#define REMOTE(list)                                                                               \
	{                                                                                          \
		.outgoing_remote = (list)                                                          \
	}
#define LOCAL(list)                                                                                \
	{                                                                                          \
		.outgoing_local = (list)                                                           \
	}
#define TCP IPPROTO_TCP
#define UDP IPPROTO_UDP

static const struct address_case address_cases[] = {
	/* No list: remote, whatever it is. */
	{ { 0 }, BOTH, "10.1.2.3:80", { 0 }, SIDE_REMOTE, "the default" },
	{ { 0 }, BOTH, "127.0.0.1:80", { 0 }, SIDE_REMOTE, NULL },
	{ { 0 }, BOTH, "224.0.0.251:5353", { 0 }, SIDE_REMOTE, NULL },
	{ { 0 }, BOTH, "255.255.255.255:67", { 0 }, SIDE_REMOTE, NULL },
	/* ignore_localhost, before any list. */
	{ { .ignore_localhost = true }, BOTH, "127.9.9.9:80", { 0 }, SIDE_LOCAL,
		"--ignore-localhost" },
	{ { .ignore_localhost = true }, BOTH, "[::1]:80", { 0 }, SIDE_LOCAL, NULL },
	{ { .ignore_localhost = true }, BOTH, "[::ffff:127.0.0.1]:80", { 0 }, SIDE_LOCAL, NULL },
	{ { .ignore_localhost = true }, BOTH, "0.0.0.0:80", { 0 }, SIDE_LOCAL, NULL },
	{ { .ignore_localhost = true }, BOTH, "[::]:80", { 0 }, SIDE_LOCAL, NULL },
	{ { .ignore_localhost = true }, BOTH, "128.0.0.1:80", { 0 }, SIDE_REMOTE, NULL },
	{ { .ignore_localhost = true, .outgoing_remote = "127.0.0.1" }, BOTH, "127.0.0.1:80", { 0 },
		SIDE_LOCAL, NULL },
	/* A list of one side leaves the rest to the other. */
	{ REMOTE("10.1.2.3"), BOTH, "10.1.2.3:80", { 0 }, SIDE_REMOTE,
		"--outgoing-remote 10.1.2.3" },
	{ REMOTE("10.1.2.3"), BOTH, "10.1.2.4:80", { 0 }, SIDE_LOCAL, "not in --outgoing-remote" },
	{ LOCAL("10.1.2.3"), BOTH, "10.1.2.3:80", { 0 }, SIDE_LOCAL, "--outgoing-local 10.1.2.3" },
	{ LOCAL("10.1.2.3"), BOTH, "10.1.2.4:80", { 0 }, SIDE_REMOTE, "not in --outgoing-local" },
	{ LOCAL(" 1.1.1.1 , 2.2.2.2\t"), BOTH, "2.2.2.2:80", { 0 }, SIDE_LOCAL,
		"--outgoing-local 2.2.2.2" },
	/* Ports and protocols. */
	{ LOCAL("10.1.2.3:80"), BOTH, "10.1.2.3:80", { 0 }, SIDE_LOCAL, NULL },
	{ LOCAL("10.1.2.3:80"), BOTH, "10.1.2.3:81", { 0 }, SIDE_REMOTE, NULL },
	{ LOCAL(":80"), BOTH, "10.9.9.9:80", { 0 }, SIDE_LOCAL, NULL },
	{ LOCAL(":80"), BOTH, "[fd00::1]:80", { 0 }, SIDE_LOCAL, NULL },
	{ LOCAL(":80"), BOTH, "10.9.9.9:8080", { 0 }, SIDE_REMOTE, NULL },
	{ LOCAL("udp://"), UDP, "10.9.9.9:80", { 0 }, SIDE_LOCAL, NULL },
	{ LOCAL("udp://"), TCP, "10.9.9.9:80", { 0 }, SIDE_REMOTE, NULL },
	{ LOCAL("TCP://:80"), TCP, "10.9.9.9:80", { 0 }, SIDE_LOCAL, NULL },
	{ LOCAL("tcp://:80"), UDP, "10.9.9.9:80", { 0 }, SIDE_REMOTE, NULL },
	{ LOCAL("tcp://10.0.0.0/8:80"), TCP, "10.9.9.9:80", { 0 }, SIDE_LOCAL, NULL },
	{ LOCAL("tcp://10.0.0.0/8:80"), TCP, "10.9.9.9:81", { 0 }, SIDE_REMOTE, NULL },
	{ LOCAL(":65535"), BOTH, "10.9.9.9:65535", { 0 }, SIDE_LOCAL, NULL },
	/* Subnets. */
	{ LOCAL("10.0.0.0/8"), BOTH, "10.255.0.1:80", { 0 }, SIDE_LOCAL, NULL },
	{ LOCAL("10.0.0.0/8"), BOTH, "11.0.0.1:80", { 0 }, SIDE_REMOTE, NULL },
	{ LOCAL("10.0.7.9/12"), BOTH, "10.15.0.1:80", { 0 }, SIDE_LOCAL, NULL },
	{ LOCAL("10.0.7.9/12"), BOTH, "10.16.0.1:80", { 0 }, SIDE_REMOTE, NULL },
	{ LOCAL("0.0.0.0/0"), BOTH, "10.16.0.1:80", { 0 }, SIDE_LOCAL, NULL },
	{ LOCAL("0.0.0.0/0"), BOTH, "[fd00::1]:80", { 0 }, SIDE_REMOTE, NULL },
	{ LOCAL("10.1.2.3/32"), BOTH, "10.1.2.3:80", { 0 }, SIDE_LOCAL, NULL },
	{ LOCAL("fd00::/8"), BOTH, "[fdff::1]:80", { 0 }, SIDE_LOCAL, NULL },
	{ LOCAL("[fd00::]/8"), BOTH, "[fe00::1]:80", { 0 }, SIDE_REMOTE, NULL },
	{ LOCAL("[fd00::]/8:80"), BOTH, "[fdff::1]:80", { 0 }, SIDE_LOCAL, NULL },
	{ LOCAL("[fd00::]/8:80"), BOTH, "[fdff::1]:81", { 0 }, SIDE_REMOTE, NULL },
	{ LOCAL("fd00::1"), BOTH, "[fd00::1]:80", { 0 }, SIDE_LOCAL, NULL },
	{ LOCAL("[fd00::1]"), BOTH, "[fd00::1]:80", { 0 }, SIDE_LOCAL, NULL },
	{ LOCAL("udp://[fd00::1]:53"), UDP, "[fd00::1]:53", { 0 }, SIDE_LOCAL, NULL },
	{ LOCAL("fd00::1"), BOTH, "[fd00::2]:80", { 0 }, SIDE_REMOTE, NULL },
	/* Equal addresses in two forms; the unspecified one is loopback. */
	{ LOCAL("10.0.0.0/8"), BOTH, "[::ffff:10.1.2.3]:80", { 0 }, SIDE_LOCAL, NULL },
	{ LOCAL("::ffff:10.0.0.0/104"), BOTH, "10.1.2.3:80", { 0 }, SIDE_LOCAL, NULL },
	{ LOCAL("::ffff:10.0.0.0/104"), BOTH, "11.1.2.3:80", { 0 }, SIDE_REMOTE, NULL },
	{ LOCAL("127.0.0.0/8"), BOTH, "0.0.0.0:80", { 0 }, SIDE_LOCAL, NULL },
	{ LOCAL("::1"), BOTH, "[::]:80", { 0 }, SIDE_LOCAL, NULL },
	/* Names. */
	{ LOCAL("db.example.com"), BOTH, "10.1.2.3:80", { "db.example.com" }, SIDE_LOCAL, NULL },
	{ LOCAL("DB.Example.com."), BOTH, "10.1.2.3:80", { "x", "db.EXAMPLE.com" }, SIDE_LOCAL,
		NULL },
	{ LOCAL("db.example.com:80"), BOTH, "10.1.2.3:81", { "db.example.com" }, SIDE_REMOTE,
		NULL },
	{ LOCAL("db.example.com"), BOTH, "10.1.2.3:80", { 0 }, SIDE_REMOTE, NULL },
	{ LOCAL("db.example.com"), BOTH, "10.1.2.3:80", { "adb.example.com" }, SIDE_REMOTE, NULL },
	{ LOCAL("db"), BOTH, "10.1.2.3:80", { "db.example.com", "db" }, SIDE_LOCAL, NULL },
	{ LOCAL("*.example.com"), BOTH, "10.1.2.3:80", { "a.b.example.com" }, SIDE_LOCAL, NULL },
	{ LOCAL("*.example.com"), BOTH, "10.1.2.3:80", { "example.com" }, SIDE_REMOTE, NULL },
	{ LOCAL("*.example.com"), BOTH, "10.1.2.3:80", { "aexample.com" }, SIDE_REMOTE, NULL },
	{ LOCAL("tcp://*.example.com:443"), TCP, "10.1.2.3:443", { "www.example.com" }, SIDE_LOCAL,
		NULL },
	{ LOCAL("_srv._tcp.a-b.c"), BOTH, "10.1.2.3:80", { "_srv._tcp.a-b.c" }, SIDE_LOCAL, NULL },
};

static struct policy *compiled(const struct config *cfg)
{
	struct policy *p;
	struct err e = { "" };

	if (policy_compile(&p, cfg, &e) < 0)
		fail_msg("%s", e.text);
	return p;
}

static void check_address(const struct address_case *t, int protocol)
{
	struct policy *p = compiled(&t->cfg);
	const char *why = NULL;
	unsigned n = 0;
	struct addr to;

	while (n < ARRAY_SIZE(t->names) && t->names[n])
		n++;
	assert_int_equal(addr_parse(&to, t->to), 0);
	if (policy_address(p, protocol, &to, t->names, n, &why) != t->side)
		fail_msg("case %td: %s is of the wrong side: %s", t - address_cases, t->to, why);
	assert_non_null(why);
	if (t->why)
		assert_string_equal(why, t->why);
	policy_free(p);
}

static void addresses_go_where_the_lists_say(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(address_cases); i++) {
		const struct address_case *t = &address_cases[i];

		if (t->protocol != UDP)
			check_address(t, TCP);
		if (t->protocol != TCP)
			check_address(t, UDP);
	}
}

struct name_case {
	struct config cfg;
	const char *name;
	enum side side;
};

static const char *const search[] = { "shop.svc.cluster.local", "cluster.local", "" };

static const struct name_case name_cases[] = {
	{ { 0 }, "a", SIDE_REMOTE },
	{ { .dns_remote = "a,*.b" }, "A", SIDE_REMOTE },
	{ { .dns_remote = "a,*.b" }, "x.b", SIDE_REMOTE },
	{ { .dns_remote = "a,*.b" }, "b", SIDE_LOCAL },
	{ { .dns_remote = "a,*.b" }, "a.shop.svc.cluster.local", SIDE_REMOTE },
	{ { .dns_remote = "a,*.b" }, "a.CLUSTER.local", SIDE_REMOTE },
	{ { .dns_remote = "a,*.b" }, "x.b.cluster.local", SIDE_REMOTE },
	{ { .dns_remote = "a,*.b" }, "a.elsewhere.local", SIDE_LOCAL },
	{ { .dns_remote = "a,*.b" }, "cluster.local", SIDE_LOCAL },
	{ { .dns_local = "a" }, "a", SIDE_LOCAL },
	{ { .dns_local = "a" }, "b", SIDE_REMOTE },
	/* Names of the outgoing lists; ports, protocols and addresses say nothing about them. */
	{ { .outgoing_local = "tcp://a:80,10.0.0.0/8,:53" }, "a", SIDE_LOCAL },
	{ { .outgoing_local = "tcp://a:80,10.0.0.0/8,:53" }, "a.cluster.local", SIDE_LOCAL },
	{ { .outgoing_local = "tcp://a:80,10.0.0.0/8,:53" }, "b", SIDE_REMOTE },
	{ { .outgoing_remote = "a" }, "a", SIDE_REMOTE },
	{ { .outgoing_remote = "a" }, "b", SIDE_REMOTE },
	{ { .outgoing_remote = "a", .dns_remote = "b" }, "a", SIDE_REMOTE },
	{ { .outgoing_remote = "a", .dns_remote = "b" }, "c", SIDE_LOCAL },
	{ { .outgoing_local = "a", .dns_local = "b" }, "a", SIDE_LOCAL },
	{ { .outgoing_local = "a", .dns_remote = "a" }, "a", SIDE_REMOTE },
	{ { .outgoing_remote = "a", .dns_local = "a" }, "a", SIDE_LOCAL },
};

static void names_are_resolved_where_the_lists_say(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(name_cases); i++) {
		const struct name_case *t = &name_cases[i];
		struct policy *p = compiled(&t->cfg);

		if (policy_name(p, t->name, search, ARRAY_SIZE(search)) != t->side)
			fail_msg("case %zu: %s is of the wrong side", i, t->name);
		if (t->side == SIDE_LOCAL)
			assert_true(policy_splits_names(p));
		policy_free(p);
	}
}

static void names_need_no_look_when_all_are_remote(void **state)
{
	static const struct config remote[] = { { 0 }, { .outgoing_remote = "a" },
		{ .outgoing_local = "10.0.0.0/8,:53" }, { .ignore_localhost = true } };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(remote); i++) {
		struct policy *p = compiled(&remote[i]);

		assert_false(policy_splits_names(p));
		policy_free(p);
	}
}

struct bad_case {
	const char *selector;
	const char *says;
};

static const struct bad_case bad_cases[] = {
	{ "", "between two commas" },
	{ "http://a", "the protocol is tcp or udp" },
	{ "tcp://udp://a", "a port is" },
	{ ":0", "a port is a number from 1 to 65535" },
	{ ":65536", "a port is" },
	{ ":", "a port is" },
	{ "a:b", "a port is" },
	{ "a:+1", "a port is" },
	{ "a: 1", "a port is" },
	{ "10.1.2.3:80x", "a port is" },
	{ "10.0.0.0/33", "a subnet has" },
	{ "10.0.0.0/", "a subnet has" },
	{ "10.0.0.0/-1", "a subnet has" },
	{ "fd00::/129", "a subnet has" },
	{ "[fd00::]/129", "a subnet has" },
	{ "db/8", "a subnet is ADDRESS/BITS" },
	{ "10.0.0/8", "a subnet is ADDRESS/BITS" },
	{ "fd00::1:2:x", "it is no IPv6 address" },
	{ "1:2:3:4:5:6:7:8:9", "it is no IPv6 address" },
	{ "[fd00::1", "in brackets" },
	{ "[fd00::1]5432", "in brackets" },
	{ "[10.1.2.3]:80", "in brackets" },
	{ "[db]:80", "in brackets" },
	{ "[fd00::1]:", "a port is" },
	{ "1.2.3.400", "it is no address" },
	{ "1.2.3", "it is no address" },
	{ "a b", "it is neither" },
	{ "a..b", "it is neither" },
	{ ".a", "it is neither" },
	{ ".", "it is neither" },
	{ "*.", "it is neither" },
	{ "*", "a * stands for" },
	{ "a.*.b", "a * stands for" },
	{ "*a.b", "a * stands for" },
	{ "m\303\274ller.de", "it is neither" },
	{ "0123456789012345678901234567890123456789012345678901234567890123.a", "it is neither" },
};

static void a_bad_selector_is_explained(void **state)
{
	struct policy *p = NULL;
	struct err e;
	char list[160];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad_cases); i++) {
		const struct bad_case *t = &bad_cases[i];
		struct config cfg = { .outgoing_local = list };

		snprintf(list, sizeof(list), "good.example.com,%s", t->selector);
		e.text[0] = '\0';
		if (policy_compile(&p, &cfg, &e) != -EINVAL)
			fail_msg("'%s' is taken", t->selector);
		if (!strstr(e.text, t->says) || !strstr(e.text, t->selector) ||
			!strstr(e.text, "--outgoing-local"))
			fail_msg("'%s': %s", t->selector, e.text);
		assert_null(p);
	}
}

static void a_long_name_is_refused(void **state)
{
	struct config cfg = { .dns_local = NULL };
	char name[300];
	struct policy *p;
	struct err e;

	(void)state;
	for (size_t i = 0; i < sizeof(name) - 1; i++)
		name[i] = i % 50 == 49 ? '.' : 'a';
	name[sizeof(name) - 1] = '\0';
	cfg.dns_local = name;
	assert_int_equal(policy_compile(&p, &cfg, &e), -EINVAL);
	assert_non_null(strstr(e.text, "at most 253"));
}

static void the_dns_lists_hold_names_only(void **state)
{
	static const char *const bad[] = { "10.1.2.3", "10.0.0.0/8", ":53", "udp://", "a:53",
		"tcp://a", "a,b,fd00::1" };
	struct policy *p;
	struct err e;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct config cfg = { .dns_remote = bad[i] };

		assert_int_equal(policy_compile(&p, &cfg, &e), -EINVAL);
		assert_non_null(strstr(e.text, "--dns-remote"));
		assert_non_null(strstr(e.text, "names only"));
	}
}

static void unix_sockets_by_regular_expression(void **state)
{
	struct config cfg = { .unix_remote = "^/run/db/|^@bus$" };
	struct policy *p = compiled(&cfg);

	(void)state;
	assert_true(policy_unix(p, "/run/db/socket"));
	assert_false(policy_unix(p, "/var/run/db/socket"));
	assert_true(policy_unix(p, "@bus"));
	assert_false(policy_unix(p, "@bus2"));
	policy_free(p);
	cfg.unix_remote = NULL;
	p = compiled(&cfg);
	assert_false(policy_unix(p, "/run/db/socket"));
	policy_free(p);
}

static void a_bad_regular_expression_is_explained(void **state)
{
	struct config cfg = { .unix_remote = "^/run/(a" };
	struct policy *p;
	struct err e;

	(void)state;
	assert_int_equal(policy_compile(&p, &cfg, &e), -EINVAL);
	assert_non_null(strstr(e.text, "--unix-remote ^/run/(a"));
	assert_non_null(strstr(e.text, "at character 9"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(addresses_go_where_the_lists_say),
		cmocka_unit_test(names_are_resolved_where_the_lists_say),
		cmocka_unit_test(names_need_no_look_when_all_are_remote),
		cmocka_unit_test(a_bad_selector_is_explained),
		cmocka_unit_test(a_long_name_is_refused),
		cmocka_unit_test(the_dns_lists_hold_names_only),
		cmocka_unit_test(unix_sockets_by_regular_expression),
		cmocka_unit_test(a_bad_regular_expression_is_explained),
	};

	return cmocka_run_group_tests_name("policy", tests, NULL, NULL);
}
