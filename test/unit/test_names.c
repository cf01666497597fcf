/* Names: what is learned from answers and from the target's files, and who answers a query. */
#include "unit.h"

#include "tracer/dns.c"
#include "tracer/names.c"
#include "tracer/pattern.c"
#include "tracer/policy.c"
#include "tracer/resolvconf.c"

#include "sample_dns.h"

static struct config cfg;
static struct tracer tracer;
static struct names *names;

static void begin(const struct config *c)
{
	struct err e = { "" };

	cfg = *c;
	cfg.dns = true;
	tracer = (struct tracer){ .cfg = &cfg };
	if (policy_compile(&tracer.policy, &cfg, &e) < 0)
		fail_msg("%s", e.text);
	names = tracer.names = names_new(&tracer);
	assert_non_null(names);
}

static void end(void)
{
	names_free(names);
	policy_free(tracer.policy);
}

static void hosts_say(const char *text)
{
	names_hosts(names, text, strlen(text));
}

static void resolv_conf_says(const char *text)
{
	names_resolv_conf(names, text, strlen(text));
}

/* --- what is learned --- */

static void learn_sample(const char *what)
{
	uint8_t p[1024];

	for (size_t i = 0; i < ARRAY_SIZE(samples_dns); i++) {
		if (strcmp(samples_dns[i].what, what) == 0) {
			size_t n = sample_dns(&samples_dns[i], p);

			assert_int_equal(names_answer(names, p, n), !samples_dns[i].query);
			return;
		}
	}
	fail_msg("no sample %s", what);
}

/* want: the names, separated by blanks, newest first. */
static void known_as(const char *address, const char *want)
{
	const char *out[NAMES_OF_MAX];
	char got[1024] = "";
	struct addr a;
	unsigned n;

	assert_int_equal(addr_parse(&a, address), 0);
	n = names_of(names, &a, out);
	for (unsigned i = 0; i < n; i++) {
		strcat(got, i ? " " : "");
		strcat(got, out[i]);
	}
	assert_string_equal(got, want);
}

static void answers_tell_names(void **state)
{
	(void)state;
	begin(&(struct config){ 0 });
	for (size_t i = 0; i < ARRAY_SIZE(samples_dns); i++)
		learn_sample(samples_dns[i].what);
	known_as("10.1.2.3:80", "db.example.com");
	known_as("10.1.2.4:0", "db.example.com");
	known_as("[::ffff:10.1.2.4]:443", "db.example.com");
	known_as("[fd00::1]:443", "db.example.com");
	known_as("10.1.2.5:80", "www.example.com cdn.example.net edge.example.org");
	known_as("10.1.2.6:80", "www.example.com cdn.example.net edge.example.org");
	known_as("10.1.2.7:80", "a b");
	known_as("10.1.2.8:80", "");
	known_as("10.1.2.9:80", "");
	known_as("10.96.0.1:80", "db.shop.svc.cluster.local");
	end();
}

static void short_forms_are_told(void **state)
{
	(void)state;
	begin(&(struct config){ 0 });
	resolv_conf_says(
		"nameserver 10.96.0.10\nsearch shop.svc.cluster.local svc.cluster.local\n");
	learn_sample("below a search domain");
	known_as("10.96.0.1:80", "db.shop.svc.cluster.local db db.shop");
	end();
}

static void the_hosts_file_tells_names(void **state)
{
	(void)state;
	begin(&(struct config){ 0 });
	hosts_say("10.1.2.3 One two # three\n10.1.2.5 four");
	known_as("10.1.2.3:80", "two one");
	known_as("10.1.2.5:80", "four");
	learn_sample("a");
	known_as("10.1.2.3:80", "db.example.com two one");
	hosts_say("10.1.2.5 five\n10.1.2.3 db.example.com");
	known_as("10.1.2.3:80", "db.example.com db.example.com");
	known_as("10.1.2.5:80", "five");
	learn_sample("a");
	hosts_say("");
	known_as("10.1.2.3:80", "db.example.com");
	known_as("10.1.2.5:80", "");
	end();
}

static void the_newest_names_come_first_and_the_oldest_go(void **state)
{
	struct addr ip = addr_v4(0x0a010203, 0);
	const char *out[NAMES_OF_MAX];
	char name[32];

	(void)state;
	begin(&(struct config){ 0 });
	for (unsigned i = 0; i < NAMES_LEARNED_MAX + 5; i++) {
		struct addr own = addr_v4(0x0b000000 + i / NAMES_OF_MAX, 0);

		learn(names, &own, name, (size_t)snprintf(name, sizeof(name), "n%u", i));
	}
	assert_int_equal(names->nlearned, NAMES_LEARNED_MAX);
	known_as("11.0.0.0:1", "n31 n30 n29 n28 n27 n26 n25 n24 n23 n22 n21 n20 n19 n18 n17 n16 "
			       "n15 n14 n13 n12 n11 n10 n9 n8 n7 n6 n5");
	for (unsigned i = 0; i < NAMES_OF_MAX + 5; i++)
		learn(names, &ip, name, (size_t)snprintf(name, sizeof(name), "m%u", i));
	learn(names, &ip, "m0", 2);
	assert_int_equal(names_of(names, &ip, out), NAMES_OF_MAX);
	assert_string_equal(out[0], "m0");
	assert_string_equal(out[1], "m36");
	end();
}

static unsigned count_of(const char *address)
{
	struct addr ip;
	unsigned n = 0;

	assert_int_equal(addr_parse(&ip, address), 0);
	ip = bare(&ip);
	for (const struct known *k = newest(names, &ip); k; k = older(k))
		n++;
	return n;
}

/* What would never be told is not kept: nobody can make one address slow. */
static void an_address_has_a_bounded_number_of_names(void **state)
{
	static char hosts[11 * 1000 + 1];
	struct addr ip = addr_v4(0x0a010203, 0);
	char name[32];

	(void)state;
	begin(&(struct config){ 0 });
	for (size_t at = 0; at < sizeof(hosts) - 1; at += 11)
		memcpy(hosts + at, "10.1.2.3 h\n", 11);
	hosts_say(hosts);
	assert_int_equal(count_of("10.1.2.3:1"), NAMES_OF_MAX);
	for (unsigned i = 0; i < 3 * NAMES_OF_MAX; i++)
		learn(names, &ip, name, (size_t)snprintf(name, sizeof(name), "n%u", i));
	assert_int_equal(count_of("10.1.2.3:1"), 2 * NAMES_OF_MAX);
	assert_int_equal(names->nlearned, NAMES_OF_MAX);
	end();
}

static void what_is_no_answer_teaches_nothing(void **state)
{
	uint8_t p[1024], cut[1024];

	(void)state;
	begin(&(struct config){ 0 });
	for (size_t i = 0; i < ARRAY_SIZE(samples_dns); i++) {
		size_t n = sample_dns(&samples_dns[i], p);

		for (size_t len = 0; len < n; len++) {
			memcpy(cut, p, len);
			assert_false(names_answer(names, cut, len));
		}
	}
	assert_int_equal(names->nlearned, 0);
	end();
}

static void a_stream_of_answers_in_pieces(void **state)
{
	uint8_t p[2048];
	size_t n = 0, len;

	(void)state;
	for (size_t i = 1; i < 4; i++) { /* answers */
		len = sample_dns(&samples_dns[i], p + n + 2);
		sample_u16(p + n, (unsigned)len);
		n += len + 2;
	}
	for (size_t piece = 1; piece <= n; piece++) {
		struct names_stream s = { 0 };

		begin(&(struct config){ 0 });
		for (size_t at = 0; at < n; at += piece)
			names_stream_bytes(names, &s, p + at, MIN(piece, n - at));
		assert_false(s.over);
		known_as("10.1.2.3:80", "db.example.com");
		known_as("[fd00::1]:80", "db.example.com");
		known_as("10.1.2.5:80", "www.example.com cdn.example.net edge.example.org");
		names_stream_done(&s);
		end();
	}
}

static void a_stream_of_something_else_is_given_up(void **state)
{
	struct names_stream s = { 0 };

	(void)state;
	begin(&(struct config){ 0 });
	names_stream_bytes(names, &s, (const uint8_t *)"\0\0", 2);
	assert_true(s.over);
	s = (struct names_stream){ 0 };
	names_stream_bytes(names, &s, (const uint8_t *)"\0\4HTTP/1.1 200 OK", 17);
	assert_true(s.over);
	assert_null(s.message);
	names_stream_bytes(names, &s, (const uint8_t *)"more", 4);
	assert_null(s.message);
	end();
}

/* --- who answers --- */

static void queries_go_where_the_policy_says(void **state)
{
	struct addr server = { 0 };
	uint8_t p[1024];
	size_t n = sample_dns(&samples_dns[0], p);

	(void)state;
	begin(&(struct config){ 0 });
	assert_int_equal(names_query(names, p, n, &server), SIDE_REMOTE);
	end();
	begin(&(struct config){ .dns_local = "*.example.com" });
	assert_int_equal(names_query(names, p, n - 1, &server), SIDE_REMOTE);
	assert_int_equal(server.sa.sa_family, AF_UNSPEC);
	assert_int_equal(names_query(names, p, n, &server), SIDE_LOCAL);
	assert_int_equal(addr_port(&server), DNS_PORT);
	end();
	begin(&(struct config){ .dns_local = "db" });
	assert_int_equal(names_query(names, p, n, &server), SIDE_REMOTE);
	resolv_conf_says("search example.com");
	assert_int_equal(names_query(names, p, n, &server), SIDE_LOCAL);
	end();
}

static bool goes(const struct addr *to, enum side want)
{
	enum side whose;

	return names_server(names, to, &whose) && whose == want;
}

static void the_target_says_who_its_servers_are(void **state)
{
	struct addr there = addr_v4(0x0a60000a, DNS_PORT), other = addr_v4(0x0a60000a, 54),
		    loopback = addr_v4(INADDR_LOOPBACK, DNS_PORT);
	enum side side;

	(void)state;
	begin(&(struct config){ 0 });
	assert_true(goes(&loopback, SIDE_REMOTE));
	resolv_conf_says("nameserver 10.96.0.10\n");
	assert_true(goes(&there, SIDE_REMOTE));
	assert_false(names_server(names, &other, &side));
	assert_false(names_server(names, &loopback, &side));
	end();
}

static void without_names_the_servers_are_this_machines(void **state)
{
	struct addr own = read_own().servers[0], there = addr_v4(0x0a60000a, DNS_PORT), server;
	uint8_t p[1024];
	size_t n = sample_dns(&samples_dns[0], p);
	enum side side;

	(void)state;
	begin(&(struct config){ .dns_local = "*.example.com" });
	cfg.dns = false;
	assert_true(goes(&own, SIDE_LOCAL));
	assert_false(names_server(names, &there, &side));
	assert_int_equal(names_query(names, p, n, &server), SIDE_REMOTE);
	end();
}

static void sockets_that_answer_for_names_are_refused(void **state)
{
	static const char *const refused[] = { "/var/run/nscd/socket", "/run/nscd/socket",
		"/run/systemd/resolve/io.systemd.Resolve",
		"/run/systemd/resolve/io.systemd.Resolve.Monitor", "/var/run/avahi-daemon/socket" };
	static const char *const others[] = { "", "/run/nscd/socket2", "/var/run/",
		"run/nscd/socket", "/run/docker.sock" };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(refused); i++)
		assert_true(names_refuses(refused[i]));
	for (size_t i = 0; i < ARRAY_SIZE(others); i++)
		assert_false(names_refuses(others[i]));
}

/* --- texts --- */

struct resolv_case {
	const char *text;
	const char *servers, *search;
};

static const struct resolv_case resolv_cases[] = {
	{ "", "127.0.0.1:53", "" },
	{ "nameserver 10.96.0.10\nsearch a.b C.\noptions ndots:5\n", "10.96.0.10:53", "a.b c" },
	{ "\tnameserver\t::1  # us\r\n;nameserver 1.1.1.1\nnameserver x\nnameserver", "[::1]:53",
		"" },
	{ "nameserver 1.1.1.1\nnameserver 2.2.2.2\nnameserver 3.3.3.3\nnameserver 4.4.4.4",
		"1.1.1.1:53 2.2.2.2:53 3.3.3.3:53", "" },
	{ "domain a\nsearch b c\n", "127.0.0.1:53", "b c" },
	{ "search b c\ndomain a d\n", "127.0.0.1:53", "a" },
	{ "search 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17", "127.0.0.1:53",
		"1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16" },
};

static void resolv_conf_is_read(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(resolv_cases); i++) {
		const struct resolv_case *t = &resolv_cases[i];
		char servers[256] = "", search[512] = "", one[ADDR_STRLEN];
		struct resolv_conf r;

		resolv_conf_parse(&r, t->text, strlen(t->text));
		for (unsigned j = 0; j < r.nservers; j++) {
			strcat(servers, j ? " " : "");
			strcat(servers, addr_format(&r.servers[j], one));
		}
		for (unsigned j = 0; j < r.nsearch; j++) {
			strcat(search, j ? " " : "");
			strcat(search, r.search[j]);
		}
		assert_string_equal(servers, t->servers);
		assert_string_equal(search, t->search);
	}
}

static void nsswitch_asks_files_and_dns(void **state)
{
	static const char *const cases[][2] = {
		{ "", "hosts: files dns\n" },
		{ "passwd: files", "passwd: files\nhosts: files dns\n" },
		{ "passwd: files\nhosts:\tmymachines resolve [!UNAVAIL=return] files\nrpc: db\n",
			"passwd: files\nrpc: db\nhosts: files dns\n" },
		{ " HOSTS: a\nhosts: b\n#hosts: c\n", "#hosts: c\nhosts: files dns\n" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		size_t n = strlen(cases[i][0]);
		char *made = nsswitch_make(cases[i][0], &n);

		assert_string_equal(made, cases[i][1]);
		assert_int_equal(n, strlen(made));
		free(made);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(answers_tell_names),
		cmocka_unit_test(short_forms_are_told),
		cmocka_unit_test(the_hosts_file_tells_names),
		cmocka_unit_test(the_newest_names_come_first_and_the_oldest_go),
		cmocka_unit_test(an_address_has_a_bounded_number_of_names),
		cmocka_unit_test(what_is_no_answer_teaches_nothing),
		cmocka_unit_test(a_stream_of_answers_in_pieces),
		cmocka_unit_test(a_stream_of_something_else_is_given_up),
		cmocka_unit_test(queries_go_where_the_policy_says),
		cmocka_unit_test(the_target_says_who_its_servers_are),
		cmocka_unit_test(without_names_the_servers_are_this_machines),
		cmocka_unit_test(sockets_that_answer_for_names_are_refused),
		cmocka_unit_test(resolv_conf_is_read),
		cmocka_unit_test(nsswitch_asks_files_and_dns),
	};

	return cmocka_run_group_tests_name("names", tests, NULL, NULL);
}
