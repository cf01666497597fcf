/* Whose variable the program gets, and what is said of an --env-file that is wrong. */
#include "unit.h"

#include <fcntl.h>

#include "tracer/config.c"
#include "tracer/environ.c"
#include "tracer/pattern.c"

#define LIST(...)                                                                                  \
	{                                                                                          \
		.value = (const char *[]){ __VA_ARGS__ },                                          \
		.n = ARRAY_SIZE(((const char *[]){ __VA_ARGS__ }))                                 \
	}

struct environ_case {
	const char *local; /* separated by blanks */
	const char *remote;
	struct config cfg;
	const char *file; /* of --env-file, or NULL */
	const char *want;
};

static const struct environ_case cases[] = {
	/* The target's over this machine's. */
	{ "A=1 B=2", "B=3 C=4", { 0 }, NULL, "A=1 B=3 C=4" },
	{ "", "", { 0 }, NULL, "" },
	{ "A=1", "", { 0 }, NULL, "A=1" },
	{ "", "A=", { 0 }, NULL, "A=" },
	{ "AB=1 A=2", "A=3 ABC=4", { 0 }, NULL, "AB=1 A=3 ABC=4" },
	{ "", "A=1 A=2", { 0 }, NULL, "A=2" },
	{ "", "A=b=c \xff=\x01\x80", { 0 }, NULL, "A=b=c \xff=\x01\x80" },
	/* What is no variable. */
	{ "", "A =B C=1", { 0 }, NULL, "C=1" },
	/* What belongs to the target's system. */
	{ "PATH=/bin HOME=/me", "PATH=/x HOME=/y PWD=/ _=x LD_PRELOAD=z A=1", { 0 }, NULL,
		"PATH=/bin HOME=/me A=1" },
	{ "", "GEM_HOME=1 BUNDLER_X=2 BUNDLE=3 GEM=4 PATHS=5 path=6", { 0 }, NULL,
		"GEM=4 PATHS=5 path=6" },
	{ "MIRRORD_TRACE_X=1", "MIRRORD_TRACE_X=2 MIRRORD_TRACE_Y=3", { 0 }, NULL,
		"MIRRORD_TRACE_X=1" },
	{ "PATH=/bin", "PATH=/x A=1", { .env_include = LIST("*") }, NULL, "PATH=/bin A=1" },
	{ "PATH=/bin", "PATH=/x A=1", { .env_include = LIST("PATH") }, NULL, "PATH=/x" },
	{ "PATH=/bin", "PATH=/x A=1 B=2", { .env_include = LIST("PATH", "A*") }, NULL,
		"PATH=/x A=1" },
	/* --env-include, --env-exclude */
	{ "", "DB_HOST=1 DB_=2 DB=3 XDB_A=4", { .env_include = LIST("DB_*") }, NULL,
		"DB_HOST=1 DB_=2" },
	{ "", "A1=1 A12=2 a1=3", { .env_include = LIST("A?") }, NULL, "A1=1" },
	{ "A=0", "A=1 B=2 C=3", { .env_exclude = LIST("A", "C") }, NULL, "A=0 B=2" },
	{ "A=0", "A=1 B=2", { .env_exclude = LIST("*") }, NULL, "A=0" },
	/* --env-unset is about this machine's, in both cases of letters. */
	{ "A=1 B=2 ab=3", "A=4", { .env_unset = LIST("a*") }, NULL, "B=2 A=4" },
	{ "A=1 PATH=/bin", "C=4", { .env_unset = LIST("*") }, NULL, "C=4" },
	{ "A=1", "A=2", { .env_unset = LIST("*"), .env_set = LIST("A=3") }, NULL, "A=3" },
	/* Each over the former. */
	{ "A=1", "A=2", { .env_set = LIST("A=3", "B=4", "B=5") }, NULL, "A=3 B=5" },
	{ "A=1", "A=2", { 0 }, "A=3", "A=3" },
	{ "", "A=2", { .env_map = LIST("^A$=4") }, "A=3", "A=4" },
	{ "", "A=2", { .env_map = LIST("^A$=4"), .env_set = LIST("A=5") }, "A=3", "A=5" },
	{ "", "A=2 B=2 AB=2 b=2", { .env_map = LIST("^(A|B)$=x=y", "^A=z") }, NULL,
		"A=z B=x=y AB=z b=2" },
	{ "A=1 C=1", "B=2", { .env_map = LIST(".=x") }, NULL, "A=1 C=1 B=x" },
	{ "", "A=Z", { .env_map = LIST("Z=x") }, NULL, "A=Z" },
	{ "", "PATH=/x", { 0 }, "PATH=/y", "PATH=/y" },
	/* --env-file */
	{ "", "", { 0 }, "", "" },
	{ "", "", { 0 }, "\n# A=1\n\n  #\nB=2", "B=2" },
	{ "", "", { 0 }, "export A=1\nexport\tB = 2 \nexportC=3\nexport=4",
		"A=1 B=2 exportC=3 export=4" },
	{ "", "", { 0 }, "A=1\r\nB=\r\nC='x'\r\n", "A=1 B= C=x" },
	{ "", "", { 0 }, "A=b#c\nB=b #c\nC=#d\nD= #d\nE='#' #e", "A=b#c B=b C=#d D= E=#" },
	{ "", "", { 0 }, "A='b\\n\"$C'\nB=\"\\\"\\\\\\$C\\q'\"", "A=b\\n\"$C B=\"\\$C\\q'" },
	{ "", "", { 0 }, "A=\"x\ny\\tz\"\nB='p\nq'", "A=x\ny\tz B=p\nq" },
	{ "", "", { 0 }, "A=it's\nB=a\"b\"", "A=it's B=a\"b\"" },
	{ "", "", { 0 }, "_a.b-1=x", "_a.b-1=x" },
};

/* Words into an array that ends with NULL. */
static void split(char *text, char **to)
{
	for (char *word = strtok(text, " "); word; word = strtok(NULL, " "))
		*to++ = word;
	*to = NULL;
}

static void write_file(char *path, const char *text, size_t n)
{
	int fd = mkstemp(path);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, n), n);
	close(fd);
}

static int make(char ***made, const struct environ_case *c, struct err *e)
{
	char local[256], remote[256], path[] = "/tmp/test_environ.XXXXXX", *words[16];
	struct config cfg = c->cfg;
	size_t n = strlen(c->remote);
	int r;

	strcpy(local, c->local);
	split(local, words);
	strcpy(remote, c->remote);
	for (size_t i = 0; i < n; i++)
		remote[i] = remote[i] == ' ' ? '\0' : remote[i];
	if (c->file) {
		write_file(path, c->file, strlen(c->file));
		cfg.env_file = path;
	}
	/* With the last zero byte or without. */
	r = environ_make(made, words, remote, n + (n % 2), &cfg, e);
	if (c->file)
		unlink(path);
	return r;
}

static void the_strongest_is_given(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char got[512] = "", **made = NULL;
		struct err e = { "" };

		if (make(&made, &cases[i], &e) < 0)
			fail_msg("case %zu: %s", i, e.text);
		for (size_t j = 0; made[j]; j++)
			snprintf(got + strlen(got), sizeof(got) - strlen(got), "%s%s", j ? " " : "",
				made[j]);
		if (strcmp(got, cases[i].want) != 0)
			fail_msg("case %zu: '%s'", i, got);
		environ_free(made);
	}
}

static void a_bad_line_is_named(void **state)
{
	static const struct {
		const char *text, *says;
	} files[] = {
		{ "A=1\nB\n", ":2: a line is NAME=VALUE" },
		{ "=1", ":1: a line is NAME=VALUE" },
		{ "1A=1", ":1: a line is NAME=VALUE" },
		{ "A B=1", ":1: a line is NAME=VALUE" },
		{ "export", ":1: a line is NAME=VALUE" },
		{ "A='x\ny'\n\nB='secret\n", ":4: the value's second quote is missing" },
		{ "A=\"x\\\"", ":1: the value's second quote is missing" },
		{ "A='x'secret\n", ":1: something stands behind" },
		{ "A='x\ny' z", ":2: something stands behind" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		const struct environ_case c = { "", "", { 0 }, files[i].text, NULL };
		char **made = NULL;
		struct err e = { "" };

		assert_true(make(&made, &c, &e) < 0);
		if (!strstr(e.text, files[i].says) || strstr(e.text, "secret"))
			fail_msg("case %zu: '%s'", i, e.text);
	}
}

static int with_file(const char *path, struct err *e)
{
	const struct config cfg = { .env_file = path };
	char *local[] = { NULL }, **made;

	return environ_make(&made, local, "", 0, &cfg, e);
}

static void a_file_that_cannot_be_had_is_named(void **state)
{
	char zeros[] = "/tmp/test_environ.XXXXXX", large[] = "/tmp/test_environ.XXXXXX";
	struct err e = { "" };

	(void)state;
	assert_true(with_file("/nonexistent/x", &e) < 0);
	assert_string_equal(e.text, "--env-file /nonexistent/x: No such file or directory");
	assert_true(with_file("/tmp", &e) < 0);
	assert_non_null(strstr(e.text, "Is a directory"));
	write_file(zeros, "A=1\0B=2", 7);
	assert_true(with_file(zeros, &e) < 0);
	assert_non_null(strstr(e.text, "not text"));
	write_file(large, "#", 1);
	assert_int_equal(truncate(large, ENVIRON_FILE_MAX + 1), 0);
	assert_true(with_file(large, &e) < 0);
	assert_non_null(strstr(e.text, "more than 1048576 bytes"));
	unlink(zeros);
	unlink(large);
}

static void a_wrong_expression_is_named(void **state)
{
	const struct environ_case c = { "", "", { .env_map = LIST("(=1") }, NULL, NULL };
	struct err e = { "" };
	char **made;

	(void)state;
	assert_true(make(&made, &c, &e) < 0);
	assert_non_null(strstr(e.text, "'--env-map (': it is no regular expression"));
}

static char *many(unsigned n)
{
	char *text = malloc(n * 8), *at = text;

	for (unsigned i = 0; i < n; i++) {
		snprintf(at, 8, "A%05x=", i);
		at += 8;
	}
	return text;
}

static void so_many_variables_are_taken(void **state)
{
	const struct config cfg = { 0 };
	char *local[] = { NULL }, **made = NULL;
	cleanup_free char *text = many(ENVIRON_VARS_MAX + 1);
	struct err e = { "" };

	(void)state;
	assert_int_equal(
		environ_make(&made, local, text, (size_t)ENVIRON_VARS_MAX * 8, &cfg, &e), 0);
	environ_free(made);
	assert_int_equal(
		environ_make(&made, local, text, (size_t)(ENVIRON_VARS_MAX + 1) * 8, &cfg, &e),
		-E2BIG);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_strongest_is_given),
		cmocka_unit_test(a_bad_line_is_named),
		cmocka_unit_test(a_file_that_cannot_be_had_is_named),
		cmocka_unit_test(a_wrong_expression_is_named),
		cmocka_unit_test(so_many_variables_are_taken),
	};

	return cmocka_run_group_tests_name("environ", tests, NULL, NULL);
}
