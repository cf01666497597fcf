/* The options: every way to say a thing, and what is said to somebody who says it wrong. */
#include "unit.h"

#include "../../tracer/config.c"

struct option_case {
	const char *args[8]; /* after the program's name */
	enum config_result result;
	const char *says; /* a part of the error */
	struct config want;
};

#define RUNS_LOCALLY(...) .result = CONFIG_RUN, .want = { __VA_ARGS__ }
#define RUNS(...)         RUNS_LOCALLY(.outgoing = true, .dns = true, __VA_ARGS__)
#define FAILS(text)       .result = CONFIG_ERROR, .says = (text)

static const struct option_case cases[] = {
	{ { "-t", "pid:1", "prog" }, RUNS(.target = "pid:1", .incoming = INCOMING_MIRROR) },
	{ { "-tpid:1", "prog" }, RUNS(.target = "pid:1", .incoming = INCOMING_MIRROR) },
	{ { "--target", "pid:1", "prog" }, RUNS(.target = "pid:1", .incoming = INCOMING_MIRROR) },
	{ { "--target=pid:1", "prog" }, RUNS(.target = "pid:1", .incoming = INCOMING_MIRROR) },
	{ { "--steal", "-t", "pid:1", "prog", "--steal" },
		RUNS(.target = "pid:1", .incoming = INCOMING_STEAL) },
	{ { "-t", "pid:1", "--incoming", "off", "--", "-prog" },
		RUNS(.target = "pid:1", .incoming = INCOMING_OFF) },
	{ { "--agent", "unix:/a", "--engine=ptrace", "-v", "prog" },
		RUNS(.agent = "unix:/a", .incoming = INCOMING_MIRROR, .engine = ENGINE_PTRACE,
			.verbose = true) },
	{ { "-t", "pid:1", "--incoming=off", "--no-outgoing", "prog" },
		RUNS_LOCALLY(.target = "pid:1") },
	{ { "-t", "pid:1", "--incoming=off", "--no-dns", "prog" },
		RUNS_LOCALLY(.target = "pid:1", .outgoing = true) },
	{ { "-t", "pid:1", "--incoming=off", "--ignore-localhost", "prog" },
		RUNS(.target = "pid:1", .ignore_localhost = true) },
	{ { "-t", "pid:1", "--incoming=off", "--outgoing-remote", "a,b", "--dns-remote=c", "prog" },
		RUNS(.target = "pid:1", .outgoing_remote = "a,b", .dns_remote = "c") },
	{ { "-t", "pid:1", "--incoming=off", "--outgoing-local=a", "--dns-local", "c", "prog" },
		RUNS(.target = "pid:1", .outgoing_local = "a", .dns_local = "c") },
	{ { "-t", "pid:1", "--incoming=off", "--outgoing-local=a", "--dns-remote=c", "prog" },
		RUNS(.target = "pid:1", .outgoing_local = "a", .dns_remote = "c") },
	{ { "-t", "pid:1", "--incoming=off", "--unix-remote=^/run/", "prog" },
		RUNS(.target = "pid:1", .unix_remote = "^/run/") },
	{ { "-t", "pid:1", "--incoming=off", "--on-link-loss", "reconnect", "prog" },
		RUNS(.target = "pid:1", .on_link_loss = LINK_LOSS_RECONNECT) },
	{ { "-t", "pid:1", "--on-link-loss=wait", "prog" }, FAILS("one of end, fail, reconnect") },
	{ { "-t", "pid:1", "--no-dns=yes", "prog" }, FAILS("--no-dns takes no value") },
	{ { "-t", "pid:1", "--outgoing-remote=", "prog" }, FAILS("needs a value") },
	{ { "-t", "pid:1", "--outgoing-remote=a", "--outgoing-local=b", "prog" },
		FAILS("--outgoing-remote and --outgoing-local exclude each other") },
	{ { "-t", "pid:1", "--dns-remote=a", "--dns-local=b", "prog" },
		FAILS("--dns-remote and --dns-local exclude each other") },
	{ { "prog" }, FAILS("name a target") },
	{ { "-t", "pid:1" }, FAILS("name a program") },
	{ { "-t" }, FAILS("--target needs a value") },
	{ { "--target=", "prog" }, FAILS("--target needs a value") },
	{ { "-t", "pid:1", "--agent", "unix:/a", "prog" }, FAILS("has its target already") },
	{ { "--targe", "pid:1", "prog" }, FAILS("there is no option --targe") },
	{ { "-x", "prog" }, FAILS("there is no option -x") },
	{ { "-vx", "prog" }, FAILS("there is no option -vx") },
	{ { "--verbose=1", "prog" }, FAILS("takes no value") },
	{ { "--incoming", "both", "prog" }, FAILS("one of off, mirror, steal") },
	{ { "--engine", "", "prog" }, FAILS("one of auto, ptrace") },
};

static void same(const char *a, const char *b)
{
	assert_int_equal(!a, !b);
	if (a)
		assert_string_equal(a, b);
}

static void options_as_documented(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const struct option_case *t = &cases[i];
		char *argv[10] = { "mirrord-trace" };
		struct config c;
		struct err e = { "" };
		int argc = 1;

		for (; t->args[argc - 1]; argc++)
			argv[argc] = (char *)t->args[argc - 1];
		assert_int_equal(config_parse(&c, argc, argv, &e), t->result);
		if (t->says && !strstr(e.text, t->says))
			fail_msg("case %zu: '%s' does not say '%s'", i, e.text, t->says);
		if (t->result != CONFIG_RUN)
			continue;
		same(c.target, t->want.target);
		same(c.agent, t->want.agent);
		assert_int_equal(c.incoming, t->want.incoming);
		assert_int_equal(c.engine, t->want.engine);
		assert_int_equal(c.verbose, t->want.verbose);
		assert_int_equal(c.outgoing, t->want.outgoing);
		assert_int_equal(c.dns, t->want.dns);
		assert_int_equal(c.ignore_localhost, t->want.ignore_localhost);
		assert_int_equal(c.on_link_loss, t->want.on_link_loss);
		same(c.outgoing_remote, t->want.outgoing_remote);
		same(c.outgoing_local, t->want.outgoing_local);
		same(c.dns_remote, t->want.dns_remote);
		same(c.dns_local, t->want.dns_local);
		same(c.unix_remote, t->want.unix_remote);
		assert_non_null(strstr(c.argv[0], "prog"));
	}
}

static void the_program_keeps_its_arguments(void **state)
{
	char *argv[] = { "mirrord-trace", "-t", "pid:1", "prog", "-t", "--help", NULL };
	struct config c;
	struct err e;

	(void)state;
	assert_int_equal(config_parse(&c, 6, argv, &e), CONFIG_RUN);
	assert_ptr_equal(c.argv, argv + 3);
}

static void the_environment_is_weaker_than_arguments(void **state)
{
	char *argv[] = { "mirrord-trace", "-t", "pid:2", "prog", NULL };
	struct config c;
	struct err e;

	(void)state;
	setenv("MIRRORD_TRACE_TARGET", "pid:1", 1);
	setenv("MIRRORD_TRACE_INCOMING", "steal", 1);
	assert_int_equal(config_parse(&c, 4, argv, &e), CONFIG_RUN);
	assert_string_equal(c.target, "pid:2");
	assert_int_equal(c.incoming, INCOMING_STEAL);
	setenv("MIRRORD_TRACE_INCOMING", "x", 1);
	assert_int_equal(config_parse(&c, 4, argv, &e), CONFIG_ERROR);
	assert_non_null(strstr(e.text, "MIRRORD_TRACE_INCOMING"));
	unsetenv("MIRRORD_TRACE_TARGET");
	unsetenv("MIRRORD_TRACE_INCOMING");
}

/* The variable of a --no-X speaks of X. */
static void the_environment_switches_off(void **state)
{
	char *argv[] = { "mirrord-trace", "-t", "pid:2", "prog", NULL };
	struct config c;
	struct err e;

	(void)state;
	setenv("MIRRORD_TRACE_DNS", "no", 1);
	setenv("MIRRORD_TRACE_OUTGOING", "yes", 1);
	assert_int_equal(config_parse(&c, 4, argv, &e), CONFIG_RUN);
	assert_false(c.dns);
	assert_true(c.outgoing);
	setenv("MIRRORD_TRACE_OUTGOING", "no", 1);
	setenv("MIRRORD_TRACE_DNS", "yes", 1);
	assert_int_equal(config_parse(&c, 4, argv, &e), CONFIG_RUN);
	assert_false(c.outgoing);
	assert_false(c.dns);
	unsetenv("MIRRORD_TRACE_DNS");
	unsetenv("MIRRORD_TRACE_OUTGOING");
}

static void the_environment_says_yes_or_no(void **state)
{
	static const struct {
		const char *value;
		enum config_result result;
		bool yes;
	} words[] = {
		{ "yes", CONFIG_RUN, true },
		{ "1", CONFIG_RUN, true },
		{ "True", CONFIG_RUN, true },
		{ "on", CONFIG_RUN, true },
		{ "no", CONFIG_RUN, false },
		{ "0", CONFIG_RUN, false },
		{ "FALSE", CONFIG_RUN, false },
		{ "Off", CONFIG_RUN, false },
		{ "nope", CONFIG_ERROR, false },
		{ "2", CONFIG_ERROR, false },
		{ "no ", CONFIG_ERROR, false },
	};
	char *argv[] = { "mirrord-trace", "-t", "pid:2", "prog", NULL };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
		struct config c;
		struct err e = { "" };

		setenv("MIRRORD_TRACE_DNS", words[i].value, 1);
		setenv("MIRRORD_TRACE_IGNORE_LOCALHOST", words[i].value, 1);
		if (config_parse(&c, 4, argv, &e) != words[i].result)
			fail_msg("'%s': %s", words[i].value, e.text);
		if (words[i].result == CONFIG_ERROR)
			assert_non_null(strstr(e.text, "neither yes nor no (from MIRRORD_TRACE_"));
		else
			assert_true(c.dns == words[i].yes && c.ignore_localhost == words[i].yes);
	}
	unsetenv("MIRRORD_TRACE_DNS");
	unsetenv("MIRRORD_TRACE_IGNORE_LOCALHOST");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(options_as_documented),
		cmocka_unit_test(the_program_keeps_its_arguments),
		cmocka_unit_test(the_environment_is_weaker_than_arguments),
		cmocka_unit_test(the_environment_switches_off),
		cmocka_unit_test(the_environment_says_yes_or_no),
	};

	return cmocka_run_group_tests_name("config", tests, NULL, NULL);
}
