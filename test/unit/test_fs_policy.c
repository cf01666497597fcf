/* Whose a path is: each rule, and who wins where two neighbours in their order disagree. */
#include "unit.h"

#include "tracer/config.c"
#include "tracer/fs_policy.c"
#include "tracer/path.c"
#include "tracer/pattern.c"

#define L FS_LOCAL
#define R FS_REMOTE
#define N FS_NOT_FOUND

#define LIST(...)                                                                                  \
	{                                                                                          \
		.value = (const char *[]){ __VA_ARGS__ },                                          \
		.n = ARRAY_SIZE(((const char *[]){ __VA_ARGS__ }))                                 \
	}

static const char *const mounts[] = { "/data", "/run/config", "/usr/share/app", "/home/dev/data/",
	"/srv", "/tmp", "/tmp/shared", "/dev/shm", "/proc", "/", "", "relative", "/etc/hosts",
	"/home/dev/.cache/app", "/root", NULL };

static const struct fs_facts usual = {
	.home = "/home/dev",
	.cwd = "/srv/shop",
	.program = "/srv/bin/server",
	.tmpdir = "/scratch/dev",
	.mounts = mounts,
	.has_files = true,
	.names = true,
};

struct policy_case {
	struct config cfg;
	const char *path;
	enum fs_where reads, writes;
	const char *rule; /* of reading; NULL: not asked */
};

#define LOCAL(...) .cfg = { .fs_mode = FS_MODE_LOCAL, .hostname = true, __VA_ARGS__ }
#define OVERRIDES(...)                                                                             \
	.cfg = { .fs_mode = FS_MODE_LOCAL_WITH_OVERRIDES, .hostname = true, __VA_ARGS__ }
#define READ(...)  .cfg = { .fs_mode = FS_MODE_READ, .hostname = true, __VA_ARGS__ }
#define WRITE(...) .cfg = { .fs_mode = FS_MODE_WRITE, .hostname = true, __VA_ARGS__ }

static const struct policy_case cases[] = {
	/* What is in no list is as the mode says. */
	{ LOCAL(), "/app/conf", L, L, "--fs-mode local" },
	{ OVERRIDES(), "/app/conf", L, L, "--fs-mode localwithoverrides" },
	{ READ(), "/app/conf", R, L, "--fs-mode read" },
	{ WRITE(), "/app/conf", R, R, "--fs-mode write" },
	/* Name resolution, in every mode and before every list. */
	{ LOCAL(), "/etc/resolv.conf", R, L, "a file of name resolution" },
	{ LOCAL(), "/etc/hosts", R, L, NULL },
	{ OVERRIDES(), "/etc/host.conf", R, L, NULL },
	{ READ(), "/etc/nsswitch.conf", R, L, NULL },
	{ READ(.fs_local = LIST("^/etc/hosts$")), "/etc/hosts", R, L, NULL },
	{ READ(.fs_not_found = LIST("^/etc/hosts$")), "/etc/hosts", R, N, NULL },
	{ READ(), "/etc/hosts.allow", L, L, "local by default" },
	{ READ(), "/etc/hosts/x", R, L, "a mount of the target" },
	{ READ(), "/srv/etc/hosts", R, L, "a mount of the target" },
	{ WRITE(), "/etc/resolv.conf", R, L, NULL },
	/* local: the mode before the lists. */
	{ LOCAL(.fs_read_write = LIST(".")), "/data/x", L, L, "--fs-mode local" },
	{ LOCAL(.fs_not_found = LIST(".")), "/data/x", L, L, NULL },
	{ LOCAL(), "/etc/hostname", L, L, NULL },
	/* The lists, each before the next. */
	{ READ(.fs_not_found = LIST("^/app/"), .fs_read_write = LIST("^/app/")), "/app/x", N, N,
		"--fs-not-found ^/app/" },
	{ READ(.fs_read_write = LIST("^/app/"), .fs_read_only = LIST("^/app/")), "/app/x", R, R,
		"--fs-read-write ^/app/" },
	{ READ(.fs_read_only = LIST("^/usr/"), .fs_local = LIST("^/usr/")), "/usr/x", R, L,
		"--fs-read-only ^/usr/" },
	{ WRITE(.fs_read_only = LIST("^/app/")), "/app/x", R, L, NULL },
	{ READ(.fs_local = LIST("^/app/")), "/app/x", L, L, "--fs-local ^/app/" },
	{ READ(.fs_local = LIST("^/data/")), "/data/x", L, L, NULL },
	{ OVERRIDES(.fs_read_write = LIST("^/usr/")), "/usr/x", R, R, NULL },
	{ READ(.fs_local = LIST("\\.kube")), "/home/dev/.kube/config", L, L, NULL },
	{ READ(.fs_local = LIST("^/a/", "^/b/")), "/b/x", L, L, "--fs-local ^/b/" },
	{ READ(.fs_local = LIST("^/a/", "^/b/")), "/c/x", R, L, NULL },
	/* A regular expression is looked for anywhere, and letters are the same in both cases. */
	{ READ(.fs_local = LIST("conf")), "/app/My.CONFig", L, L, NULL },
	{ READ(.fs_local = LIST("^/app/conf$")), "/app/conf\n", R, L, NULL },
	{ READ(.fs_local = LIST("^/app/.*conf$")), "/app/a\nb/conf", L, L, NULL },
	{ READ(.fs_local = LIST("^/(.)\\1")), "/xx", L, L, NULL },
	/* Credentials: whole components. */
	{ READ(), "/home/dev/.kube", N, N, "credentials of this machine" },
	{ OVERRIDES(), "/home/dev/.azure/token", N, N, NULL },
	{ WRITE(), "/home/dev/.config/gcloud/x", N, N, NULL },
	{ LOCAL(), "/home/dev/.kube", L, L, NULL },
	{ READ(), "/home/dev/.kubectl", L, L, "local by default" },
	{ READ(), "/home/dev/.config/x", L, L, NULL },
	{ READ(), "/home/devel/.kube", L, L, NULL },
	/* The target's by default. */
	{ READ(), "/etc/hostname", R, L, "the target's host name" },
	{ OVERRIDES(), "/etc/ssl/certs", R, L, "the target's certificates" },
	{ WRITE(), "/etc/ssl/certs/ca.pem", R, L, NULL },
	{ READ(), "/etc/ssl/certs2", L, L, NULL },
	{ READ(), "/etc/ssl/private/key", L, L, NULL },
	{ READ(), "/var/run/secrets/token", R, L, "the target's secrets" },
	{ WRITE(), "/run/secrets/token", R, R, NULL },
	{ OVERRIDES(), "/run/secrets", R, L, NULL },
	{ READ(), "/run/secrets2", L, L, NULL },
	/* Mounts, before the default lists but not where the developer is at home. */
	{ READ(), "/data", R, L, "a mount of the target" },
	{ OVERRIDES(), "/data/x.py", R, L, NULL },
	{ WRITE(), "/data/x.py", R, R, NULL },
	{ WRITE(), "/run/config/a", R, R, NULL },
	{ READ(), "/run/configure", L, L, NULL },
	{ READ(), "/usr/share/app/a", R, L, NULL },
	{ READ(), "/home/dev/data/a", R, L, NULL },
	{ READ(), "/home/dev/database", L, L, NULL },
	{ READ(), "/dev/shm/a", L, L, NULL },
	{ READ(), "/proc/1/environ", L, L, NULL },
	{ READ(), "/srv/shop/main.conf", L, L, "local by default" },
	{ READ(), "/srv/bin/server", L, L, NULL },
	{ READ(), "/srv/other", R, L, NULL },
	{ READ(), "/tmp/a", L, L, NULL },
	{ READ(), "/tmp/shared/a", R, L, NULL },
	{ READ(), "/home/dev/.cache/app/a", R, L, NULL },
	{ READ(), "/home/dev/.cache/other", L, L, NULL },
	/* This machine's by default. */
	{ WRITE(), "/", L, L, "local by default" },
	{ WRITE(), "/usr", L, L, NULL },
	{ WRITE(), "/usr/lib/x", L, L, NULL },
	{ WRITE(), "/lib64/ld-linux-x86-64.so.2", L, L, NULL },
	{ WRITE(), "/etc/passwd", L, L, NULL },
	{ WRITE(), "/usrlocal/x", R, R, NULL },
	{ WRITE(), "/USR/x", R, R, NULL },
	{ WRITE(), "/proc/self/maps", L, L, NULL },
	{ WRITE(), "/var/tmp/x", L, L, NULL },
	{ WRITE(), "/var/run/x.pid", L, L, NULL },
	{ WRITE(), "/var/lib/x", R, R, NULL },
	{ WRITE(), "/scratch/dev/x", L, L, NULL },
	{ WRITE(), "/scratch/other", R, R, NULL },
	{ WRITE(), "/app/libx.so", L, L, NULL },
	{ WRITE(), "/app/libx.so.1.2", L, L, NULL },
	{ WRITE(), "/app/libx.so.1.2.bak", R, R, NULL },
	{ WRITE(), "/app/libx.so1", R, R, NULL },
	{ WRITE(), "/app/1.2", R, R, NULL },
	{ WRITE(), "/app/main.PY", L, L, NULL },
	{ WRITE(), "/app/main.pyx", R, R, NULL },
	{ WRITE(), "/app/package.json", L, L, NULL },
	{ WRITE(), "/app/other-package.json", R, R, NULL },
	{ WRITE(), "/app/node_modules", L, L, NULL },
	{ WRITE(), "/app/node_modules/a/b.json", L, L, NULL },
	{ WRITE(), "/app/site-packages", L, L, NULL },
	{ WRITE(), "/app/.asdf/x", L, L, NULL },
	{ WRITE(), "/app/clr-debug-pipe-1-in", L, L, NULL },
	{ WRITE(), "/app/clr-debug", R, R, NULL },
	{ WRITE(), "/app/so", R, R, NULL },
	/* What is for all that is in a directory is for the directory. */
	{ READ(.fs_read_only = LIST("^/etc/app/")), "/etc/app", R, L, NULL },
	{ READ(.fs_read_only = LIST("^/etc/app/.")), "/etc/app", L, L, NULL },
	{ READ(.fs_read_only = LIST("^/etc/app$")), "/etc/app", R, L, NULL },
	{ READ(.fs_read_only = LIST("^/etc/app/")), "/etc/apple", L, L, NULL },
	/* A user's list is stronger than these. */
	{ READ(.fs_read_write = LIST("^/tmp/x$")), "/tmp/x", R, R, NULL },
	{ READ(.fs_read_only = LIST("^/$")), "/", R, L, NULL },
};

static struct fs_policy *compiled(const struct config *cfg, const struct fs_facts *facts)
{
	struct fs_policy *p = NULL;
	struct err e = { "" };

	if (fs_policy_compile(&p, cfg, facts, &e) < 0)
		fail_msg("%s", e.text);
	return p;
}

static void each_rule_in_its_order(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const struct policy_case *c = &cases[i];
		struct fs_policy *p = compiled(&c->cfg, &usual);
		const char *rule;
		enum fs_where reads = fs_policy_decide(p, c->path, FS_READS, &rule);
		enum fs_where writes = fs_policy_decide(p, c->path, FS_WRITES, NULL);

		if (reads != c->reads || writes != c->writes ||
			(c->rule && strcmp(rule, c->rule) != 0))
			fail_msg("case %zu: %s: %d, %d: %s", i, c->path, reads, writes, rule);
		fs_policy_free(p);
	}
}

static enum fs_where reads(const struct config *cfg, const struct fs_facts *facts, const char *path)
{
	struct fs_policy *p = compiled(cfg, facts);
	enum fs_where where = fs_policy_decide(p, path, FS_READS, NULL);

	fs_policy_free(p);
	return where;
}

static void a_place_is_text_and_may_be_missing(void **state)
{
	static const struct {
		struct fs_facts facts;
		const char *path;
		enum fs_where where;
	} places[] = {
		{ { .home = NULL }, "/.kube", R },
		{ { .home = "" }, "/.kube", R },
		{ { .home = "/" }, "/.kube", R },
		{ { .home = "//" }, "/.bashrc", R },
		{ { .home = "relative" }, "/relative/.kube", R },
		{ { .home = "/h/" }, "/h/.kube", N },
		{ { .home = "/h//./x/../y" }, "/h/y/.kube", N },
		{ { .home = "/h.*" }, "/hello/.kube", R },
		{ { .home = "/h.*" }, "/h.*/.kube", N },
		{ { .cwd = "/" }, "/x", R },
		{ { .cwd = NULL }, "/x", R },
		{ { .cwd = "/a(b" }, "/a(b/c", L },
		{ { .cwd = "/a.b" }, "/aXb/c", R },
		{ { .cwd = "/a" }, "/ab", R },
		{ { .tmpdir = "/t/" }, "/t/x", L },
		{ { .tmpdir = "/" }, "/x", R },
		{ { .program = "/p/q" }, "/p/q", L },
		{ { .program = "/p/q" }, "/p", R },
	};
	const struct config cfg = { .fs_mode = FS_MODE_READ };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
		struct fs_facts facts = places[i].facts;

		facts.has_files = true;
		if (reads(&cfg, &facts, places[i].path) != places[i].where)
			fail_msg("case %zu: %s", i, places[i].path);
	}
}

static void a_namespace_has_no_files_of_its_own(void **state)
{
	struct config cfg = { .fs_mode = FS_MODE_WRITE };
	struct fs_facts facts = usual;

	(void)state;
	facts.has_files = false;
	assert_int_equal(reads(&cfg, &facts, "/app/x"), L);
	assert_int_equal(reads(&cfg, &facts, "/data/x"), L);
	assert_int_equal(reads(&cfg, &facts, "/etc/resolv.conf"), R);
	cfg.fs_read_only = (struct config_list)LIST("^/app/");
	assert_int_equal(reads(&cfg, &facts, "/app/x"), R);
	cfg.fs_mode = FS_MODE_LOCAL;
	assert_int_equal(reads(&cfg, &facts, "/app/x"), L);
}

static void without_names_their_files_are_local(void **state)
{
	const struct config cfg = { .fs_mode = FS_MODE_READ };
	struct fs_facts facts = { .has_files = true };

	(void)state;
	assert_int_equal(reads(&cfg, &facts, "/etc/resolv.conf"), L);
	assert_int_equal(reads(&cfg, &facts, "/etc/hosts"), L);
}

static void without_the_host_name_its_file_is_local(void **state)
{
	const struct config cfg = { .fs_mode = FS_MODE_READ };

	(void)state;
	assert_int_equal(reads(&cfg, &usual, "/etc/hostname"), L);
}

static void paths_are_mapped(void **state)
{
	static const struct {
		const char *path, *to; /* NULL: not mapped */
	} paths[] = {
		{ "/app/x", "/srv/x" },
		{ "/APP/x", "/srv/x" },
		{ "/app", "/srv" },
		{ "/my/app/x", NULL },
		{ "/a-1/2", "/2/1" },
		{ "/same/x", NULL },
		{ "/relative/x", NULL },
		{ "/up/x", "/x" },
		{ "/root", "/" },
		{ "/opt-/x", "/[]/x" },
		{ "/opt-y/x", "/[y]/x" },
	};
	const struct config cfg = { .fs_mode = FS_MODE_READ,
		.fs_map = LIST("^/app/=/srv/", "^/a-(.)/(.)=/$2/${1}", "^/app/x=/never",
			"^/same=/same", "^/relative/=", "^/up=/a/.././/", "^/root$=/",
			"^/opt-(y)?=/[$1]", "^/short=/longer") };
	struct fs_policy *p = compiled(&cfg, &usual);
	char to[PROTO_FILE_PATH_MAX + 1], longest[PROTO_FILE_PATH_MAX + 1];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
		bool mapped = fs_policy_map(p, paths[i].path, to, sizeof(to));

		assert_int_equal(mapped, paths[i].to != NULL);
		if (mapped)
			assert_string_equal(to, paths[i].to);
	}
	memset(longest, 'x', sizeof(longest) - 1);
	longest[sizeof(longest) - 1] = '\0';
	memcpy(longest, "/app/", 5);
	assert_true(fs_policy_map(p, longest, to, sizeof(to)));
	memcpy(longest, "/a-1/2", 6);
	assert_true(fs_policy_map(p, longest, to, sizeof(to)));
	memcpy(longest, "/short", 6);
	assert_false(fs_policy_map(p, longest, to, sizeof(to)));
	fs_policy_free(p);
}

static void what_is_wrong_is_named(void **state)
{
	const struct {
		struct config cfg;
		const char *says;
	} wrong[] = {
		{ { .fs_local = LIST("^/a", "(") }, "'--fs-local (': it is no regular expression" },
		{ { .fs_not_found = LIST("a[") }, "'--fs-not-found a['" },
		{ { .fs_map = LIST("(=/x") }, "'--fs-map (': it is no regular expression" },
		{ { .fs_map = LIST("^/(a)=/$2") }, "'--fs-map ^/(a)=/$2': the replacement" },
		{ { .fs_map = LIST("^/a=/${x") }, "the replacement is wrong" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		struct fs_policy *p = NULL;
		struct err e = { "" };

		assert_int_equal(fs_policy_compile(&p, &wrong[i].cfg, &usual, &e), -1);
		if (!strstr(e.text, wrong[i].says))
			fail_msg("case %zu: '%s'", i, e.text);
	}
}

static void what_need_not_be_trapped(void **state)
{
	(void)state;
	assert_false(fs_policy_may_be_remote(&(struct config){ .fs_mode = FS_MODE_LOCAL }));
	assert_true(
		fs_policy_may_be_remote(&(struct config){ .fs_mode = FS_MODE_LOCAL, .dns = true }));
	assert_true(fs_policy_may_be_remote(&(struct config){ .fs_mode = FS_MODE_READ }));
	assert_false(fs_policy_may_write(&(struct config){ .fs_mode = FS_MODE_READ }));
	assert_true(fs_policy_may_write(&(struct config){ .fs_mode = FS_MODE_WRITE }));
	assert_true(fs_policy_may_write(
		&(struct config){ .fs_mode = FS_MODE_READ, .fs_read_write = LIST("x") }));
	assert_false(fs_policy_may_write(
		&(struct config){ .fs_mode = FS_MODE_LOCAL, .fs_read_write = LIST("x") }));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_rule_in_its_order),
		cmocka_unit_test(a_place_is_text_and_may_be_missing),
		cmocka_unit_test(a_namespace_has_no_files_of_its_own),
		cmocka_unit_test(without_names_their_files_are_local),
		cmocka_unit_test(without_the_host_name_its_file_is_local),
		cmocka_unit_test(paths_are_mapped),
		cmocka_unit_test(what_is_wrong_is_named),
		cmocka_unit_test(what_need_not_be_trapped),
	};

	return cmocka_run_group_tests_name("fs_policy", tests, NULL, NULL);
}
