/* A decision is on the way of every call of the guest that names a file: the lists that everybody
 * has are compared by hand, and what costs a regular expression is only what the user has given. */
#include "fs_policy.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "path.h"
#include "pattern.h"
#include "proto.h"
#include "util.h"

/* Text of known length: a path, or the beginning or the end of one. */
struct piece {
	const char *text;
	size_t len;
};

#define PIECE(s)                                                                                   \
	{                                                                                          \
		(s), sizeof(s) - 1                                                                 \
	}

/* One value of an option. */
struct choice {
	struct pattern pattern;
	char *words;      /* option and value */
	const char *with; /* of --fs-map */
};

struct choices {
	struct choice *v;
	size_t n;
};

/* What the user can give, by row of options[]. */
enum list_id {
	LIST_READ_WRITE,
	LIST_READ_ONLY,
	LIST_LOCAL,
	LIST_NOT_FOUND,
	LIST_MAP,
	LIST_MAX,
};

/* Where the developer works. */
enum own_id {
	OWN_CWD,
	OWN_PROGRAM,
	OWN_PROGRAM_FILE,
	OWN_TMPDIR,
	OWN_MAX,
};

struct fs_policy {
	enum fs_mode mode;
	bool names, hostname;
	struct choices list[LIST_MAX];
	struct piece home;         /* text NULL: none, or all there is */
	struct piece own[OWN_MAX]; /* likewise */
	struct piece *mounts;
	size_t nmounts;
};

struct question {
	struct piece path;
	struct piece dir; /* the same with a slash behind it */
	enum fs_access access;
};

/* --- paths --- */

static bool begins(const struct piece *path, const struct piece *with)
{
	return path->len >= with->len && memcmp(path->text, with->text, with->len) == 0;
}

/* The path is that file or directory, or lies in it. */
static bool is_at(const struct piece *path, const struct piece *place)
{
	return place->text && begins(path, place) &&
	       (path->len == place->len || path->text[place->len] == '/');
}

static bool is_at_any(const struct piece *path, const struct piece *places, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (is_at(path, &places[i]))
			return true;
	}
	return false;
}

/* What the path is without the place before it: "" or "/…"; or NULL. */
static const char *beneath(const struct piece *path, const struct piece *place)
{
	return is_at(path, place) ? path->text + place->len : NULL;
}

/* --- the lists that everybody has --- */

static const struct piece name_files[] = {
	PIECE("/etc/resolv.conf"),
	PIECE("/etc/hosts"),
	PIECE("/etc/host.conf"),
	PIECE("/etc/nsswitch.conf"),
};

/* Keys to this machine's clouds, beneath the home directory: a program that finds none takes the
 * target's identity. */
static const struct piece credentials[] = {
	PIECE("/.config/gcloud"),
	PIECE("/.kube"),
	PIECE("/.azure"),
};

static const struct piece certificates = PIECE("/etc/ssl/certs");
static const struct piece hostname_file = PIECE("/etc/hostname");

static const struct piece secrets[] = {
	PIECE("/var/run/secrets"),
	PIECE("/run/secrets"),
};

/* The kernel's: a process that it shows is one of this machine. */
static const struct piece kernels[] = {
	PIECE("/proc"),
	PIECE("/sys"),
	PIECE("/dev"),
};

/* Where every program leaves its scratch, to find it again. */
static const struct piece scratch[] = {
	PIECE("/tmp"),
	PIECE("/var/tmp"),
};

/* What a system is made of. */
static const struct piece local_places[] = {
	PIECE("/usr"),
	PIECE("/lib"),
	PIECE("/lib64"),
	PIECE("/etc"),
	PIECE("/home"),
	PIECE("/bin"),
	PIECE("/sbin"),
	PIECE("/opt"),
	PIECE("/run"),
	PIECE("/var/run"),
	PIECE("/var/lock"),
	PIECE("/snap"),
	PIECE("/nix"),
	PIECE("/gnu"),
	PIECE("/selinux"),
	PIECE("/boot"),
	PIECE("/lib32"),
	PIECE("/libx32"),
	PIECE("/var/db/timezone/zoneinfo"),
};

/* What programs are made of. */
static const struct piece local_ends[] = {
	PIECE(".so"),
	PIECE(".sh"),
	PIECE(".rb"),
	PIECE(".d"),
	PIECE(".pyc"),
	PIECE(".py"),
	PIECE(".jar"),
	PIECE(".class"),
	PIECE(".js"),
	PIECE(".mjs"),
	PIECE(".cjs"),
	PIECE(".node"),
	PIECE(".pth"),
	PIECE(".pdb"),
	PIECE(".dll"),
	PIECE("venv.cfg"),
	PIECE("jvm.cfg"),
	PIECE("/package.json"),
	PIECE("/.yarnrc"),
	PIECE("/.yarnrc.yml"),
	PIECE("/.yarnrc.json"),
	PIECE("/node_modules"),
	PIECE("/site-packages"),
	PIECE(".tool-versions"),
};

static const char *const local_infixes[] = {
	".asdf/",
	"/node_modules/",
	"/site-packages/",
};

static bool ends(const struct piece *path, const struct piece *with)
{
	return path->len >= with->len &&
	       strncasecmp(path->text + path->len - with->len, with->text, with->len) == 0;
}

/* libc.so.6: digits and dots follow the last ".so.". */
static bool is_versioned_library(const struct piece *path)
{
	const char *last = path->text + path->len;

	while (last > path->text && strchr("0123456789.", last[-1]))
		last--;
	return last - path->text >= 3 && memcmp(last - 3, ".so", 3) == 0 && *last == '.';
}

/* A pipe of the .NET runtime between its processes: clr-debug-pipe-… */
static bool is_dotnet_pipe(const struct piece *path)
{
	const char *clr = strstr(path->text, "clr-");

	return clr && strstr(clr + 4, "-pipe-");
}

static bool is_of_programs(const struct piece *path)
{
	for (size_t i = 0; i < ARRAY_SIZE(local_ends); i++) {
		if (ends(path, &local_ends[i]))
			return true;
	}
	for (size_t i = 0; i < ARRAY_SIZE(local_infixes); i++) {
		if (strstr(path->text, local_infixes[i]))
			return true;
	}
	return is_versioned_library(path) || is_dotnet_pipe(path);
}

static bool is_dot_file_of_home(const struct fs_policy *p, const struct piece *path)
{
	const char *rest = beneath(path, &p->home);

	return rest && strncmp(rest, "/.", 2) == 0;
}

/* --- the rules --- */

/* A pattern for what is in a directory is one for the directory, too: it may match with a slash
 * behind the path. */
static const char *first_match(const struct choices *list, const struct question *q)
{
	for (size_t i = 0; i < list->n; i++) {
		if (pattern_matches(&list->v[i].pattern, q->path.text, q->path.len) ||
			pattern_matches(&list->v[i].pattern, q->dir.text, q->dir.len))
			return list->v[i].words;
	}
	return NULL;
}

static const char *in_not_found(const struct fs_policy *p, const struct question *q)
{
	return first_match(&p->list[LIST_NOT_FOUND], q);
}

static const char *in_read_write(const struct fs_policy *p, const struct question *q)
{
	return first_match(&p->list[LIST_READ_WRITE], q);
}

static const char *in_read_only(const struct fs_policy *p, const struct question *q)
{
	return first_match(&p->list[LIST_READ_ONLY], q);
}

static const char *in_local(const struct fs_policy *p, const struct question *q)
{
	return first_match(&p->list[LIST_LOCAL], q);
}

static const char *of_names(const struct fs_policy *p, const struct question *q)
{
	if (!p->names)
		return NULL;
	for (size_t i = 0; i < ARRAY_SIZE(name_files); i++) {
		if (q->path.len == name_files[i].len && begins(&q->path, &name_files[i]))
			return "a file of name resolution";
	}
	return NULL;
}

static const char *local_mode(const struct fs_policy *p, const struct question *q)
{
	(void)q;
	return p->mode == FS_MODE_LOCAL ? "--fs-mode local" : NULL;
}

static const char *of_a_cloud(const struct fs_policy *p, const struct question *q)
{
	struct piece rest = { beneath(&q->path, &p->home), 0 };

	if (!rest.text)
		return NULL;
	rest.len = q->path.len - p->home.len;
	return is_at_any(&rest, credentials, ARRAY_SIZE(credentials))
		       ? "credentials of this machine"
		       : NULL;
}

static const char *of_the_host(const struct fs_policy *p, const struct question *q)
{
	if (is_at(&q->path, &certificates))
		return "the target's certificates";
	return p->hostname && is_at(&q->path, &hostname_file) ? "the target's host name" : NULL;
}

/* Of a mount of the target's and a place of the developer's the deeper one counts: a volume may be
 * mounted where he works, and his work may lie where the target has a volume. */
static size_t own_depth(const struct fs_policy *p, const struct piece *path)
{
	size_t depth = is_dot_file_of_home(p, path) ? p->home.len + 1 : 0;

	for (size_t i = 0; i < OWN_MAX; i++) {
		if (is_at(path, &p->own[i]))
			depth = MAX(depth, p->own[i].len);
	}
	for (size_t i = 0; i < ARRAY_SIZE(scratch); i++) {
		if (is_at(path, &scratch[i]))
			depth = MAX(depth, scratch[i].len);
	}
	return depth;
}

static bool is_mounted(const struct fs_policy *p, const struct piece *path)
{
	size_t depth = 0;

	for (size_t i = 0; i < p->nmounts; i++) {
		if (is_at(path, &p->mounts[i]))
			depth = MAX(depth, p->mounts[i].len);
	}
	return depth && depth > own_depth(p, path);
}

static const char *of_a_mount(const struct fs_policy *p, const struct question *q)
{
	if (q->access == FS_WRITES && p->mode != FS_MODE_WRITE)
		return NULL;
	if (is_at_any(&q->path, secrets, ARRAY_SIZE(secrets)))
		return "the target's secrets";
	return is_mounted(p, &q->path) ? "a mount of the target" : NULL;
}

static const char *of_this_machine(const struct fs_policy *p, const struct question *q)
{
	const struct piece *path = &q->path;

	if (path->len == 1 || is_at_any(path, kernels, ARRAY_SIZE(kernels)) ||
		is_at_any(path, local_places, ARRAY_SIZE(local_places)) || own_depth(p, path) ||
		is_of_programs(path))
		return "local by default";
	return NULL;
}

static const char *overrides_mode(const struct fs_policy *p, const struct question *q)
{
	(void)q;
	return p->mode == FS_MODE_LOCAL_WITH_OVERRIDES ? "--fs-mode localwithoverrides" : NULL;
}

static const char *write_mode(const struct fs_policy *p, const struct question *q)
{
	(void)q;
	return p->mode == FS_MODE_WRITE ? "--fs-mode write" : NULL;
}

static const char *read_mode(const struct fs_policy *p, const struct question *q)
{
	(void)p;
	(void)q;
	return "--fs-mode read";
}

/* The next rule is asked. */
#define NEXT (-1)

/* The first that holds decides: why() gives the words for it. */
static const struct rule {
	const char *(*why)(const struct fs_policy *p, const struct question *q);
	int reads, writes; /* enum fs_where, or NEXT */
} rules[] = {
	{ of_names, FS_REMOTE, NEXT },
	{ local_mode, FS_LOCAL, FS_LOCAL },
	{ in_not_found, FS_NOT_FOUND, FS_NOT_FOUND },
	{ in_read_write, FS_REMOTE, FS_REMOTE },
	{ in_read_only, FS_REMOTE, FS_LOCAL },
	{ in_local, FS_LOCAL, FS_LOCAL },
	{ of_a_cloud, FS_NOT_FOUND, FS_NOT_FOUND },
	{ of_the_host, FS_REMOTE, NEXT },
	{ of_a_mount, FS_REMOTE, FS_REMOTE },
	{ of_this_machine, FS_LOCAL, FS_LOCAL },
	{ overrides_mode, FS_LOCAL, FS_LOCAL },
	{ write_mode, FS_REMOTE, FS_REMOTE },
	{ read_mode, FS_REMOTE, FS_LOCAL },
};

/* The path with a slash behind it. */
static struct piece as_directory(const char *path, char dir[static PATH_MAX + 1])
{
	size_t len = strnlen(path, PATH_MAX - 1);

	memcpy(dir, path, len);
	memcpy(dir + len, "/", 2);
	return (struct piece){ dir, len + 1 };
}

enum fs_where fs_policy_decide(
	const struct fs_policy *p, const char *path, enum fs_access access, const char **rule)
{
	char dir[PATH_MAX + 1];
	const struct question q = { { path, strlen(path) }, as_directory(path, dir), access };

	for (const struct rule *r = rules;; r++) {
		int where = access == FS_WRITES ? r->writes : r->reads;
		const char *why = where == NEXT ? NULL : r->why(p, &q);

		if (!why)
			continue;
		if (rule)
			*rule = why;
		return (enum fs_where)where;
	}
}

bool fs_policy_map(const struct fs_policy *p, const char *path, char *to, size_t size)
{
	const struct choices *list = &p->list[LIST_MAP];
	char dir[PATH_MAX + 1];

	if (p->mode == FS_MODE_LOCAL)
		return false; /* as of all lists */
	as_directory(path, dir);
	for (size_t i = 0; i < list->n; i++) {
		const struct choice *c = &list->v[i];

		if (!pattern_replace(&c->pattern, path, c->with, to, size) &&
			!pattern_replace(&c->pattern, dir, c->with, to, size))
			continue;
		if (*to != '/')
			continue;
		path_normalize(to);
		return strcmp(to, path) != 0;
	}
	return false;
}

/* --- compiling --- */

static const struct list_option {
	const char *option;
	size_t offset;
} list_options[] = {
	[LIST_READ_WRITE] = { "fs-read-write", offsetof(struct config, fs_read_write) },
	[LIST_READ_ONLY] = { "fs-read-only", offsetof(struct config, fs_read_only) },
	[LIST_LOCAL] = { "fs-local", offsetof(struct config, fs_local) },
	[LIST_NOT_FOUND] = { "fs-not-found", offsetof(struct config, fs_not_found) },
	[LIST_MAP] = { "fs-map", offsetof(struct config, fs_map) },
};

_Static_assert(ARRAY_SIZE(list_options) == LIST_MAX, "an option for each list");

static int compile_choice(
	struct choice *c, const char *option, const char *value, bool is_map, struct err *e)
{
	const char *with = is_map ? config_right(value) : NULL;
	size_t n = with ? (size_t)(with - value) - 1 : strlen(value);
	int r = pattern_compile(&c->pattern, option, value, n, PATTERN_CASELESS, e);

	c->with = with;
	if (r == 0 && with)
		r = pattern_takes(&c->pattern, option, with, e);
	if (r == 0 && asprintf(&c->words, "--%s %s", option, value) < 0) {
		c->words = NULL;
		r = err_set(e, -ENOMEM, "no memory for --%s", option);
	}
	return r;
}

static int compile_list(
	struct fs_policy *p, enum list_id id, const struct config *cfg, struct err *e)
{
	const struct list_option *o = &list_options[id];
	const struct config_list *values = (const void *)((const char *)cfg + o->offset);
	struct choices *list = &p->list[id];
	int r = 0;

	if (!values->n)
		return 0;
	list->v = calloc(values->n, sizeof(*list->v));
	if (!list->v)
		return err_set(e, -ENOMEM, "no memory for --%s", o->option);
	while (r == 0 && list->n < values->n) {
		struct choice *c = &list->v[list->n];

		r = compile_choice(c, o->option, values->value[list->n++], id == LIST_MAP, e);
	}
	return r;
}

/* A place to compare paths with; none when it is the root, or not absolute. */
static int set_place(struct piece *place, const char *path)
{
	char *copy;

	if (!path || *path != '/')
		return 0;
	copy = strdup(path);
	if (!copy)
		return -ENOMEM;
	path_normalize(copy);
	if (copy[1])
		*place = (struct piece){ copy, strlen(copy) };
	else
		free(copy);
	return 0;
}

static int add_mount(struct fs_policy *p, const char *path)
{
	struct piece mount = { 0 };
	int r = set_place(&mount, path);

	if (!mount.text)
		return r;
	if (is_at_any(&mount, kernels, ARRAY_SIZE(kernels)))
		free((char *)mount.text);
	else
		p->mounts[p->nmounts++] = mount;
	return 0;
}

static int set_mounts(struct fs_policy *p, const char *const *mounts)
{
	size_t n = 0;
	int r = 0;

	while (mounts && mounts[n])
		n++;
	if (!n)
		return 0;
	p->mounts = calloc(n, sizeof(*p->mounts));
	if (!p->mounts)
		return -ENOMEM;
	for (size_t i = 0; i < n && r == 0; i++)
		r = add_mount(p, mounts[i]);
	return r;
}

static int set_facts(struct fs_policy *p, const struct fs_facts *facts)
{
	int r = set_place(&p->home, facts->home);

	if (r == 0)
		r = set_place(&p->own[OWN_CWD], facts->cwd);
	if (r == 0)
		r = set_place(&p->own[OWN_PROGRAM], facts->program);
	if (r == 0)
		r = set_place(&p->own[OWN_PROGRAM_FILE], facts->program_file);
	if (r == 0)
		r = set_place(&p->own[OWN_TMPDIR], facts->tmpdir);
	if (r == 0 && facts->has_files)
		r = set_mounts(p, facts->mounts);
	return r;
}

static int compile(
	struct fs_policy *p, const struct config *cfg, const struct fs_facts *facts, struct err *e)
{
	p->mode = cfg->fs_mode;
	if (!facts->has_files && p->mode != FS_MODE_LOCAL)
		p->mode = FS_MODE_LOCAL_WITH_OVERRIDES;
	p->names = facts->names;
	p->hostname = cfg->hostname;
	for (enum list_id id = 0; id < LIST_MAX; id++) {
		int r = compile_list(p, id, cfg, e);

		if (r < 0)
			return r;
	}
	return set_facts(p, facts) < 0 ? err_set(e, -ENOMEM, "no memory") : 0;
}

int fs_policy_compile(
	struct fs_policy **p, const struct config *cfg, const struct fs_facts *facts, struct err *e)
{
	struct fs_policy *made = calloc(1, sizeof(*made));

	if (!made)
		return err_set(e, -1, "no memory");
	if (compile(made, cfg, facts, e) < 0) {
		fs_policy_free(made);
		return -1;
	}
	*p = made;
	return 0;
}

static void free_list(struct choices *list)
{
	for (size_t i = 0; i < list->n; i++) {
		pattern_done(&list->v[i].pattern);
		free(list->v[i].words);
	}
	free(list->v);
}

void fs_policy_free(struct fs_policy *p)
{
	if (!p)
		return;
	for (size_t i = 0; i < LIST_MAX; i++)
		free_list(&p->list[i]);
	for (size_t i = 0; i < OWN_MAX; i++)
		free((char *)p->own[i].text);
	for (size_t i = 0; i < p->nmounts; i++)
		free((char *)p->mounts[i].text);
	free((char *)p->home.text);
	free(p->mounts);
	free(p);
}

bool fs_policy_may_be_remote(const struct config *cfg)
{
	return cfg->fs_mode != FS_MODE_LOCAL || cfg->dns;
}

bool fs_policy_may_write(const struct config *cfg)
{
	return cfg->fs_mode == FS_MODE_WRITE ||
	       (cfg->fs_mode != FS_MODE_LOCAL && cfg->fs_read_write.n);
}
