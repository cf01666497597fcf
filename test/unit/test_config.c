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
	{ { "-t", "pid:1", "--fs-map=nothing", "prog" }, FAILS("--fs-map is REGEX=PATH") },
	{ { "-t", "pid:1", "--env", "=1", "prog" }, FAILS("--env is NAME=VALUE") },
	{ { "-t", "pid:1", "--env-map", "A(?=B)", "prog" }, FAILS("--env-map is REGEX=VALUE") },
	{ { "-t", "pid:1", "--fs-local=", "prog" }, FAILS("--fs-local needs a value") },
	{ { "-t", "pid:1", "--env-include=,;", "prog" }, FAILS("--env-include needs a value") },
	{ { "-t", "pid:1", "--fs-local" }, FAILS("--fs-local needs a value: REGEX") },
	{ { "-t", "pid:1", "--env-include=A", "--env-exclude=B", "prog" },
		FAILS("--env-include and --env-exclude exclude each other") },
	{ { "-t", "pid:1", "--fs-mode=rw", "prog" },
		FAILS("one of local, localwithoverrides, read, write") },
	{ { "-t", "pid:1", "--no-env=1", "prog" }, FAILS("--no-env takes no value") },
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
		if (t->result != CONFIG_RUN) {
			config_done(&c);
			continue;
		}
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
		config_done(&c);
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

static struct config parse(int argc, const char *const *args)
{
	char *argv[16] = { "mirrord-trace", "-t", "pid:1" };
	struct config c;
	struct err e = { "" };

	for (int i = 0; i < argc; i++)
		argv[3 + i] = (char *)args[i];
	argv[3 + argc] = "prog";
	if (config_parse(&c, argc + 4, argv, &e) != CONFIG_RUN)
		fail_msg("%s", e.text);
	return c;
}

#define PARSE(...)                                                                                 \
	parse(ARRAY_SIZE(((const char *[]){ __VA_ARGS__ })), (const char *[]){ __VA_ARGS__ })

/* want: the values, each in angle brackets. */
static void lists(const struct config_list *l, const char *want)
{
	char got[256] = "";

	for (unsigned i = 0; i < l->n; i++)
		snprintf(got + strlen(got), sizeof(got) - strlen(got), "<%s>", l->value[i]);
	assert_string_equal(got, want);
}

static void a_list_is_given_piece_by_piece(void **state)
{
	struct config c = PARSE("--fs-local", "a;b,c", "--env-include=A,B;C", "--fs-local=d",
		"--env=X=1,2;3", "--env", "Y=");

	(void)state;
	lists(&c.fs_local, "<a;b,c><d>");
	lists(&c.env_include, "<A><B><C>");
	lists(&c.env_set, "<X=1,2;3><Y=>");
	lists(&c.fs_map, "");
	config_done(&c);
	lists(&c.fs_local, "");
}

static void a_list_of_the_environment_is_replaced_by_arguments(void **state)
{
	struct config c;

	(void)state;
	setenv("MIRRORD_TRACE_FS_LOCAL", ";^/a,b$;^/c$;", 1);
	setenv("MIRRORD_TRACE_FS_NOT_FOUND", "^/d$;^/e$", 1);
	setenv("MIRRORD_TRACE_ENV_SET", "A=1;B=2", 1);
	c = PARSE("--fs-not-found", "^/f$", "--fs-not-found", "^/g$");
	lists(&c.fs_local, "<^/a,b$><^/c$>");
	lists(&c.fs_not_found, "<^/f$><^/g$>");
	lists(&c.env_set, "<A=1><B=2>");
	config_done(&c);
	unsetenv("MIRRORD_TRACE_FS_LOCAL");
	unsetenv("MIRRORD_TRACE_FS_NOT_FOUND");
	unsetenv("MIRRORD_TRACE_ENV_SET");
}

static void files_environment_and_host_name_are_the_targets_by_default(void **state)
{
	struct config c = PARSE("-v");

	(void)state;
	assert_int_equal(c.fs_mode, FS_MODE_READ);
	assert_true(c.fs_watch && c.env && c.hostname);
	assert_int_equal(c.fs_file_max, 1u << 30);
	assert_int_equal(c.fs_tree_max, UINT64_C(1) << 32);
	c = PARSE("--no-fs-watch", "--no-env", "--no-hostname", "--fs-mode", "write");
	assert_int_equal(c.fs_mode, FS_MODE_WRITE);
	assert_false(c.fs_watch || c.env || c.hostname);
}

static void sizes_have_units(void **state)
{
	static const struct {
		const char *text;
		uint64_t bytes; /* 0: it is none */
	} sizes[] = {
		{ "512", 512 },
		{ "64K", 64 << 10 },
		{ "10m", 10 << 20 },
		{ "2G", UINT64_C(2) << 30 },
		{ "1T", UINT64_C(1) << 40 },
		{ "18446744073709551615", UINT64_MAX },
		{ "16777215T", UINT64_C(16777215) << 40 },
		{ "16777216T", 0 },
		{ "18446744073709551616", 0 },
		{ "0", 0 },
		{ "", 0 },
		{ "K", 0 },
		{ "1KB", 0 },
		{ "1 K", 0 },
		{ "-1", 0 },
		{ " 1", 0 },
		{ "0x10", 0 },
		{ "1.5G", 0 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		char *argv[] = { "mirrord-trace", "-tpid:1", "--fs-file-max", (char *)sizes[i].text,
			"prog", NULL };
		struct config c;
		struct err e = { "" };
		enum config_result r = config_parse(&c, 5, argv, &e);

		if (r != (sizes[i].bytes ? CONFIG_RUN : CONFIG_ERROR))
			fail_msg("'%s': %s", sizes[i].text, e.text);
		if (r == CONFIG_RUN)
			assert_int_equal(c.fs_file_max, sizes[i].bytes);
		else
			assert_non_null(strstr(e.text, "number of bytes"));
	}
}

static void a_pair_is_split_outside_of_its_regular_expression(void **state)
{
	static const char *const pairs[][2] = {
		{ "A=B", "B" },
		{ "A=", "" },
		{ "A=B=C", "B=C" },
		{ "a(?=b)c=d", "d" },
		{ "a(?<=b)c=(?=", "(?=" },
		{ "a\\=b=c", "c" },
		{ "?=c", "c" },
		{ "(?=)", NULL },
		{ "a", NULL },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(pairs); i++)
		same(config_right(pairs[i][0]), pairs[i][1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(options_as_documented),
		cmocka_unit_test(the_program_keeps_its_arguments),
		cmocka_unit_test(the_environment_is_weaker_than_arguments),
		cmocka_unit_test(the_environment_switches_off),
		cmocka_unit_test(the_environment_says_yes_or_no),
		cmocka_unit_test(a_list_is_given_piece_by_piece),
		cmocka_unit_test(a_list_of_the_environment_is_replaced_by_arguments),
		cmocka_unit_test(files_environment_and_host_name_are_the_targets_by_default),
		cmocka_unit_test(sizes_have_units),
		cmocka_unit_test(a_pair_is_split_outside_of_its_regular_expression),
	};

	return cmocka_run_group_tests_name("config", tests, NULL, NULL);
}
