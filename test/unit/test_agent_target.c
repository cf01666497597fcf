#include "agent/creds.c"
#include "agent/target.c"

#include "unit.h"

#define ID  "3f4e0c2d9a1b5e6f7081923344556677889900aabbccddeeff00112233445566"
#define ID2 "3f4e0c2d9a1b5e6f70819233445566778899aaaabbccddeeff00112233445566"

/* Lines of /proc/N/cgroup as runtimes make them, what is asked for, and the id found; NULL: none.
 */
static void cgroup_lines_name_containers(void **state)
{
	static const struct {
		const char *line, *want, *found;
	} cases[] = {
		{ "12:memory:/docker/" ID "\n", ID, ID }, /* docker, v1 */
		{ "12:memory:/docker/" ID "\n", "3", ID },
		{ "0::/system.slice/docker-" ID ".scope\n", "3f4e0c2d9a1b", ID }, /* docker, v2 */
		{ "0::/system.slice/docker-" ID ".scope/init\n", ID, ID }, /* systemd inside */
		{ "0::/system.slice/docker-" ID ".scope", ID, ID },        /* no line end */
		{ "0::/default/" ID "\n", ID, ID },                        /* ctr */
		{ "0::/default/web\n", "web", "web" },
		{ "0::/default/web\n", "we", "web" },
		{ "0::/default/web/inner\n", "we", NULL },
		{ "0::/system.slice\n", "s", NULL },
		{ "0::/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-podX.slice/"
		  "cri-containerd-" ID ".scope\n",
			"3f4e0", ID },
		{ "11:cpu,cpuacct:/kubepods/burstable/pod0b2c/" ID "\n", "3f4e0", ID },
		{ "0::/machine.slice/libpod-" ID ".scope/container\n", ID, ID }, /* podman */
		{ "0::/machine.slice/libpod-conmon-" ID ".scope\n", ID, NULL },  /* its monitor */
		{ "0::/kubepods.slice/crio-" ID ".scope\n", ID, ID },
		{ "0::/kubepods.slice/crio-conmon-" ID ".scope\n", "3f4e", NULL },
		{ "0::/../cri-containerd-" ID ".scope\n", "3f4e", ID }, /* own namespace */
		{ "0::/docker/" ID2 "/docker/" ID "\n", ID, ID },       /* one in another */
		{ "0::/system.slice/docker.service\n", "docker", NULL },
		{ "0::/system.slice/ssh.service\n", "s", NULL },
		{ "0::/docker/" ID "\n", "4e0c", NULL }, /* not its start */
		{ "0::/docker/" ID "\n", ID "0", NULL },
		{ "0::/docker/" ID "\n", "", NULL },
		{ "0::/\n", "3", NULL },
		{ "0::", "3", NULL },
		{ "garbage", "g", NULL },
		{ "", "3", NULL },
		{ "0::/.scope/docker-.scope\n", "d", NULL },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct part id = cgroup_line_id(cases[i].line, cases[i].want);
		const char *found = cases[i].found;

		if (!found != !id.p ||
			(found && (id.len != strlen(found) || memcmp(id.p, found, id.len) != 0)))
			fail_msg("\"%s\" in %s: %.*s", cases[i].want, cases[i].line,
				id.p ? (int)id.len : 4, id.p ? id.p : "none");
	}
}

static void start_time_is_field_22(void **state)
{
#define TO_21 "S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18"
	static const struct {
		const char *stat;
		bool ok;
		uint64_t start;
	} cases[] = {
		{ "1 (init) " TO_21 " 4711 9 9\n", true, 4711 },
		{ "1 (a b) c) (d) " TO_21 " 18446744073709551615 9\n", true, UINT64_MAX },
		{ "1 (evil\n) S 1) " TO_21 " 5 9\n", true, 5 },
		{ "1 () " TO_21 " 0", true, 0 },
		{ "1 (init) " TO_21, false, 0 },
		{ "1 (init) " TO_21 " x", false, 0 },
		{ "1 (init)", false, 0 },
		{ "1 init S", false, 0 },
		{ "", false, 0 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		uint64_t start = 0;

		if (stat_start_time(cases[i].stat, &start) != cases[i].ok ||
			start != cases[i].start)
			fail_msg("%s: %llu", cases[i].stat, (unsigned long long)start);
	}
}

static void containers_are_noted_once(void **state)
{
	static const char *const ids[] = { "aa", "bb", "aa", "cc", "dd", "ee" };
	struct search s = { .id = "x" };
	struct err e;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(ids); i++)
		note_container(&s, (struct part){ ids[i], 2 });
	assert_int_equal(s.nfound, CONTAINERS_SHOWN);
	assert_int_equal(ambiguous(&s, &e), -ENOTUNIQ);
	assert_string_equal(e.text, "container:x may mean aa bb cc dd; give more of the id");
}

static void bad_targets_are_refused_with_a_sentence(void **state)
{
	static const struct {
		const char *spec;
		int error;
		const char *part;
	} cases[] = {
		{ "", -EINVAL, "not a target" },
		{ "pod/x", -EINVAL, "not a target" },
		{ "pid:", -EINVAL, "not a process id" },
		{ "pid:12x", -EINVAL, "not a process id" },
		{ "pid:-1", -EINVAL, "not a process id" },
		{ "pid:0", -EINVAL, "not a process id" },
		{ "pid:99999999999999999999", -EINVAL, "not a process id" },
		{ "pid:2147483647", -ESRCH, "no running process" },
		{ "container:", -EINVAL, "id is missing" },
		{ "container:no-such-container", -ESRCH, "no process here" },
		{ "netns:/nonexistent", -ENOENT, "no network namespace at" },
		{ "netns:/dev/null", -EINVAL, "is not a network namespace" },
		{ "netns:/proc/self/ns/pid", -EINVAL, "is not a network namespace" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct target t;
		struct err e = { "" };
		int r = target_find(&t, cases[i].spec, &e);

		if (r != cases[i].error || !strstr(e.text, cases[i].part))
			fail_msg("%s: %d, %s", cases[i].spec, r, e.text);
		assert_int_equal(t.netns, -1);
	}
}

static void own_namespace_is_found(void **state)
{
	struct target t;
	char spec[32];

	(void)state;
	snprintf(spec, sizeof(spec), "pid:%d", getpid());
	assert_int_equal(target_find(&t, spec, NULL), 0);
	assert_true(t.netns >= 0);
	assert_non_null(strstr(t.about, "test_agent_targ"));
	close_fd(&t.netns);
	assert_int_equal(target_find(&t, "netns:/proc/self/ns/net", NULL), 0);
	assert_string_equal(t.about, "netns /proc/self/ns/net");
	close_fd(&t.netns);
}

static void names_are_made_printable(void **state)
{
	char s[] = "a\033[31m\tb\nrest";

	(void)state;
	make_printable(s);
	assert_string_equal(s, "a?[31m?b");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(cgroup_lines_name_containers),
		cmocka_unit_test(start_time_is_field_22),
		cmocka_unit_test(containers_are_noted_once),
		cmocka_unit_test(bad_targets_are_refused_with_a_sentence),
		cmocka_unit_test(own_namespace_is_found),
		cmocka_unit_test(names_are_made_printable),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
