/* Which paths lead by /proc to what is open. */
#include "unit.h"

#include "tracer/proc_path.c"

static void links_are_found_and_what_follows(void **state)
{
	static const struct {
		const char *path, *link, *rest;
	} cases[] = {
		{ "/proc/self/cwd", "/proc/7/cwd", "" },
		{ "/proc/self/cwd/a/b", "/proc/7/cwd", "/a/b" },
		{ "/proc/self/cwd/", "/proc/7/cwd", "/" },
		{ "/proc/thread-self/exe", "/proc/7/exe", "" },
		{ "/proc/self/exe", "/proc/7/exe", "" },
		{ "/proc/12/exe", "/proc/12/exe", "" },
		{ "/proc/12/cwd/x", "/proc/12/cwd", "/x" },
		{ "/proc/self/fd/3", "/proc/7/fd/3", "" },
		{ "/proc/12/fd/34/x", "/proc/12/fd/34", "/x" },
		{ "/dev/fd/5", "/proc/7/fd/5", "" },
		{ "/dev/stdin", "/proc/7/fd/0", "" },
		{ "/dev/stderr", "/proc/7/fd/2", "" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char link[PROC_PATH_LINK] = "";
		const char *rest = "?";

		assert_true(proc_path_parse(cases[i].path, 7, link, &rest));
		assert_string_equal(link, cases[i].link);
		assert_string_equal(rest, cases[i].rest);
	}
}

static void others_are_none(void **state)
{
	static const char *const cases[] = { "", "/", "/proc", "/proc/", "/proc/self",
		"/proc/self/", "/proc/self/fd", "/proc/self/fd/", "/proc/self/fd/x",
		"/proc/self/fd/-1", "/proc/self/fd/3x", "/proc/self/fd/99999999999",
		"/proc/self/cwdx", "/proc/self/status", "/proc/selfish/cwd", "/proc/-1/cwd",
		"/proc/12x/cwd", "/proc/cpuinfo", "/dev/null", "/dev/fd", "/dev/fd/", "/dev/stdinx",
		"/dev/stdin2", "/devil/fd/3", "proc/self/cwd" };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char link[PROC_PATH_LINK];
		const char *rest;

		assert_false(proc_path_parse(cases[i], 7, link, &rest));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(links_are_found_and_what_follows),
		cmocka_unit_test(others_are_none),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
