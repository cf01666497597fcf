/* One table of options. From a row come parsing of flag and environment, and the line of --help. */
#include "config.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "util.h"

static const char *const incoming_names[] = { "off", "mirror", "steal", NULL };
static const char *const engine_names[] = { "auto", "ptrace", NULL };
static const char *const link_loss_names[] = { "end", "fail", "reconnect", NULL };
static const char *const fs_mode_names[] = { "local", "localwithoverrides", "read", "write", NULL };

_Static_assert(ARRAY_SIZE(incoming_names) == INCOMING_MODE_MAX + 1, "a name for each mode");
_Static_assert(ARRAY_SIZE(engine_names) == ENGINE_MAX + 1, "a name for each engine");
_Static_assert(ARRAY_SIZE(link_loss_names) == LINK_LOSS_MAX + 1, "a name for each policy");
_Static_assert(ARRAY_SIZE(fs_mode_names) == FS_MODE_MAX + 1, "a name for each mode");

enum option_type {
	OPTION_STRING,
	OPTION_ENUM,
	OPTION_TRUE,  /* a flag without a value */
	OPTION_FALSE, /* a flag that switches off; its variable says yes or no to the thing itself
		       */
	OPTION_SHORT, /* a flag that stands for another option's value */
	OPTION_SIZE,  /* bytes: 512, 64K, 10M, 2G */
	/* Those from here on are of lists. */
	OPTION_LIST,  /* may be given again; several in its variable are separated by semicolons */
	OPTION_NAMES, /* a list with several in one value: separated by commas, or semicolons */
	OPTION_PAIRS, /* a list of LEFT=RIGHT (config_right()) */
};

struct option_row {
	const char *flag;
	char letter; /* or 0 */
	const char *env;
	enum option_type type;
	size_t offset;
	const char *const *names; /* of an enum, in the order of its values */
	unsigned value;           /* of OPTION_SHORT */
	const char *arg;          /* in --help */
	const char *help;
};

#define FIELD(name) offsetof(struct config, name)

static const struct option_row options[] = {
	{ "target", 't', "MIRRORD_TRACE_TARGET", OPTION_STRING, FIELD(target), NULL, 0, "TARGET",
		"pid:N, netns:PATH, container:ID (a prefix is enough), or targetless" },
	{ "agent", 0, "MIRRORD_TRACE_AGENT", OPTION_STRING, FIELD(agent), NULL, 0, "ADDRESS",
		"an agent that already runs: unix:PATH or tcp:HOST:PORT" },
	{ "incoming", 0, "MIRRORD_TRACE_INCOMING", OPTION_ENUM, FIELD(incoming), incoming_names, 0,
		"MODE", "the target's incoming traffic: mirror (default), steal or off" },
	{ "steal", 0, NULL, OPTION_SHORT, FIELD(incoming), NULL, INCOMING_STEAL, NULL,
		"the same as --incoming steal" },
	{ "no-outgoing", 0, "MIRRORD_TRACE_OUTGOING", OPTION_FALSE, FIELD(outgoing), NULL, 0, NULL,
		"connections leave from this machine; implies --no-dns" },
	{ "outgoing-remote", 0, "MIRRORD_TRACE_OUTGOING_REMOTE", OPTION_STRING,
		FIELD(outgoing_remote), NULL, 0, "LIST",
		"only these connections leave from the target: db,10.0.0.0/8,tcp://:80" },
	{ "outgoing-local", 0, "MIRRORD_TRACE_OUTGOING_LOCAL", OPTION_STRING, FIELD(outgoing_local),
		NULL, 0, "LIST", "these connections leave from this machine" },
	{ "ignore-localhost", 0, "MIRRORD_TRACE_IGNORE_LOCALHOST", OPTION_TRUE,
		FIELD(ignore_localhost), NULL, 0, NULL,
		"localhost is this machine, not the target" },
	{ "unix-remote", 0, "MIRRORD_TRACE_UNIX_REMOTE", OPTION_STRING, FIELD(unix_remote), NULL, 0,
		"REGEX", "unix sockets of the target, by path or @abstract name" },
	{ "no-dns", 0, "MIRRORD_TRACE_DNS", OPTION_FALSE, FIELD(dns), NULL, 0, NULL,
		"names are looked up as on this machine" },
	{ "dns-remote", 0, "MIRRORD_TRACE_DNS_REMOTE", OPTION_STRING, FIELD(dns_remote), NULL, 0,
		"LIST", "only these names are looked up as in the target: db,*.example.com" },
	{ "dns-local", 0, "MIRRORD_TRACE_DNS_LOCAL", OPTION_STRING, FIELD(dns_local), NULL, 0,
		"LIST", "these names are asked of this machine's name server" },
	{ "fs-mode", 0, "MIRRORD_TRACE_FS_MODE", OPTION_ENUM, FIELD(fs_mode), fs_mode_names, 0,
		"MODE", "the target's files: read (default), write, localwithoverrides or local" },
	{ "fs-read-write", 0, "MIRRORD_TRACE_FS_READ_WRITE", OPTION_LIST, FIELD(fs_read_write),
		NULL, 0, "REGEX", "these paths are the target's, read and written" },
	{ "fs-read-only", 0, "MIRRORD_TRACE_FS_READ_ONLY", OPTION_LIST, FIELD(fs_read_only), NULL,
		0, "REGEX", "these are the target's when read, this machine's when written" },
	{ "fs-local", 0, "MIRRORD_TRACE_FS_LOCAL", OPTION_LIST, FIELD(fs_local), NULL, 0, "REGEX",
		"these are this machine's" },
	{ "fs-not-found", 0, "MIRRORD_TRACE_FS_NOT_FOUND", OPTION_LIST, FIELD(fs_not_found), NULL,
		0, "REGEX", "these are not there" },
	{ "fs-map", 0, "MIRRORD_TRACE_FS_MAP", OPTION_PAIRS, FIELD(fs_map), NULL, 0, "REGEX=PATH",
		"paths that stand for others, with $1 for what (...) matched" },
	{ "fs-dir", 0, "MIRRORD_TRACE_FS_DIR", OPTION_STRING, FIELD(fs_dir), NULL, 0, "DIR",
		"where copies of the target's files are kept" },
	{ "fs-file-max", 0, "MIRRORD_TRACE_FS_FILE_MAX", OPTION_SIZE, FIELD(fs_file_max), NULL, 0,
		"SIZE", "the largest file that is copied (default 1G)" },
	{ "fs-tree-max", 0, "MIRRORD_TRACE_FS_TREE_MAX", OPTION_SIZE, FIELD(fs_tree_max), NULL, 0,
		"SIZE", "what all copies may take together (default 4G)" },
	{ "no-fs-watch", 0, "MIRRORD_TRACE_FS_WATCH", OPTION_FALSE, FIELD(fs_watch), NULL, 0, NULL,
		"open files of the target do not follow its changes" },
	{ "no-env", 0, "MIRRORD_TRACE_ENV", OPTION_FALSE, FIELD(env), NULL, 0, NULL,
		"the target's environment is left out" },
	{ "env-include", 0, "MIRRORD_TRACE_ENV_INCLUDE", OPTION_NAMES, FIELD(env_include), NULL, 0,
		"NAMES", "only these variables of the target: DB_*,API_KEY" },
	{ "env-exclude", 0, "MIRRORD_TRACE_ENV_EXCLUDE", OPTION_NAMES, FIELD(env_exclude), NULL, 0,
		"NAMES", "all variables of the target but these" },
	{ "env-file", 0, "MIRRORD_TRACE_ENV_FILE", OPTION_STRING, FIELD(env_file), NULL, 0, "FILE",
		"lines of NAME=VALUE, stronger than the target's" },
	{ "env-map", 0, "MIRRORD_TRACE_ENV_MAP", OPTION_PAIRS, FIELD(env_map), NULL, 0,
		"REGEX=VALUE", "another value for the target's variables of these names" },
	{ "env", 0, "MIRRORD_TRACE_ENV_SET", OPTION_PAIRS, FIELD(env_set), NULL, 0, "NAME=VALUE",
		"a variable for the program, stronger than all others" },
	{ "env-unset", 0, "MIRRORD_TRACE_ENV_UNSET", OPTION_NAMES, FIELD(env_unset), NULL, 0,
		"NAMES", "variables of this machine that the program does not get" },
	{ "no-hostname", 0, "MIRRORD_TRACE_HOSTNAME", OPTION_FALSE, FIELD(hostname), NULL, 0, NULL,
		"the host name is this machine's" },
	{ "on-link-loss", 0, "MIRRORD_TRACE_ON_LINK_LOSS", OPTION_ENUM, FIELD(on_link_loss),
		link_loss_names, 0, "POLICY",
		"the link to the agent is lost: end (default), fail or reconnect" },
	{ "engine", 0, "MIRRORD_TRACE_ENGINE", OPTION_ENUM, FIELD(engine), engine_names, 0,
		"ENGINE", "how calls are intercepted: auto (default) or ptrace" },
	{ "verbose", 'v', "MIRRORD_TRACE_VERBOSE", OPTION_TRUE, FIELD(verbose), NULL, 0, NULL,
		"a line on stderr for each call that was handled" },
};

static void help(void)
{
	puts("Usage: mirrord-trace [OPTION]... [--] PROGRAM [ARGUMENT]...\n"
	     "Run PROGRAM here as if it ran inside the target: it receives the target's "
	     "traffic.\n");
	for (size_t i = 0; i < ARRAY_SIZE(options); i++) {
		const struct option_row *o = &options[i];
		char name[64];

		snprintf(name, sizeof(name), "--%s%s%s", o->flag, o->arg ? " " : "",
			o->arg ? o->arg : "");
		printf("  %c%c%s %-22s %s\n", o->letter ? '-' : ' ', o->letter ? o->letter : ' ',
			o->letter ? "," : " ", name, o->help);
	}
	puts("  -h, --help                 this text\n"
	     "  -V, --version              the version\n\n"
	     "Exit status: PROGRAM's own, also when a signal ended it; 125 mirrord-trace failed,\n"
	     "126 PROGRAM cannot be executed, 127 it was not found. More in mirrord-trace(1).");
}

static int set_enum(const struct option_row *o, unsigned *to, const char *value, struct err *e)
{
	char known[128] = "";

	for (unsigned i = 0; o->names[i]; i++) {
		if (strcmp(o->names[i], value) == 0) {
			*to = i;
			return 0;
		}
		if (i)
			strcat(known, ", ");
		strcat(known, o->names[i]);
	}
	return err_set(e, -1, "--%s is one of %s; it cannot be '%s'", o->flag, known, value);
}

static bool is_word(const char *value, const char *const *words)
{
	while (*words && strcasecmp(*words, value) != 0)
		words++;
	return *words;
}

/* An argument has no value; then it is `flag`. */
static int set_bool(bool *to, const char *value, bool flag, struct err *e)
{
	static const char *const yes[] = { "yes", "1", "on", "true", NULL };
	static const char *const no[] = { "no", "0", "off", "false", NULL };

	if (value && !is_word(value, yes) && !is_word(value, no))
		return err_set(e, -1, "'%s' is neither yes nor no", value);
	*to = value ? is_word(value, yes) : flag;
	return 0;
}

/* 512, 64K, 10M, 2G, 1T */
static int set_size(const struct option_row *o, uint64_t *to, const char *value, struct err *e)
{
	static const char units[] = "KMGT";
	const char *unit;
	char *end;
	uint64_t n;
	unsigned shift = 0;

	errno = 0;
	n = strtoull(value, &end, 10);
	unit = *end ? strchr(units, toupper((unsigned char)*end)) : NULL;
	if (unit) {
		shift = 10 * (unsigned)(unit - units + 1);
		end++;
	}
	if (!isdigit((unsigned char)*value) || *end || errno || !n || n > UINT64_MAX >> shift)
		return err_set(e, -1,
			"--%s is a number of bytes, as 512, 64K, 10M and 2G are; it cannot be '%s'",
			o->flag, value);
	*to = n << shift;
	return 0;
}

/* --- lists --- */

static int add_value(const struct option_row *o, struct config_list *l, const char *value,
	size_t len, struct err *e)
{
	const char **grown = reallocarray(l->value, l->n + 1, sizeof(*grown));
	char *copy = grown ? strndup(value, len) : NULL;

	if (grown)
		l->value = grown;
	if (!copy)
		return err_set(e, -1, "no memory for --%s", o->flag);
	l->value[l->n++] = copy;
	if (o->type != OPTION_PAIRS || (config_right(copy) && *copy != '='))
		return 0;
	return err_set(e, -1, "--%s is %s; it cannot be '%s'", o->flag, o->arg, copy);
}

static void list_done(struct config_list *l)
{
	for (unsigned i = 0; i < l->n; i++)
		free((char *)l->value[i]);
	free(l->value);
	*l = (struct config_list){ 0 };
}

/* separators: "" when the value is one. */
static int add_values(const struct option_row *o, struct config_list *l, const char *value,
	const char *separators, struct err *e)
{
	unsigned before = l->n;

	for (;;) {
		size_t n = strcspn(value, separators);

		if (n && add_value(o, l, value, n, e) < 0)
			return -1;
		if (!value[n])
			break;
		value += n + 1;
	}
	return l->n > before ? 0 : err_set(e, -1, "--%s needs a value", o->flag);
}

const char *config_right(const char *pair)
{
	const char *at = pair;

	while ((at = strchr(at, '='))) {
		size_t n = (size_t)(at - pair);

		if (!(n && at[-1] == '\\') && !(n >= 2 && memcmp(at - 2, "(?", 2) == 0) &&
			!(n >= 3 && memcmp(at - 3, "(?<", 3) == 0))
			return at + 1;
		at++;
	}
	return NULL;
}

static bool is_list(const struct option_row *o)
{
	return o->type >= OPTION_LIST;
}

/* --- one option --- */

/* Where a value comes from. */
enum source {
	SOURCE_ARGUMENT,
	SOURCE_ENVIRONMENT,
};

static int set_option(struct config *c, const struct option_row *o, const char *value,
	enum source source, struct err *e)
{
	void *to = (char *)c + o->offset;

	switch (o->type) {
	case OPTION_STRING:
		if (!*value)
			return err_set(e, -1, "--%s needs a value", o->flag);
		*(const char **)to = value;
		return 0;
	case OPTION_ENUM:
		return set_enum(o, to, value, e);
	case OPTION_TRUE:
	case OPTION_FALSE:
		return set_bool(to, value, o->type == OPTION_TRUE, e);
	case OPTION_SHORT:
		*(unsigned *)to = o->value;
		return 0;
	case OPTION_SIZE:
		return set_size(o, to, value, e);
	case OPTION_NAMES:
		return add_values(o, to, value, ",;", e);
	case OPTION_LIST:
	case OPTION_PAIRS:
		return add_values(o, to, value, source == SOURCE_ENVIRONMENT ? ";" : "", e);
	}
	return 0;
}

static int from_environment(struct config *c, struct err *e)
{
	for (size_t i = 0; i < ARRAY_SIZE(options); i++) {
		const struct option_row *o = &options[i];
		const char *value = o->env ? getenv(o->env) : NULL;
		struct err why;

		if (!value || !*value || set_option(c, o, value, SOURCE_ENVIRONMENT, &why) == 0)
			continue;
		return err_set(e, -1, "%s (from %s in the environment)", why.text, o->env);
	}
	return 0;
}

/* The row that an argument names, and where its value stands in the same argument, if it does. */
static const struct option_row *find_option(const char *arg, const char **value)
{
	const char *equals = strchr(arg, '=');
	size_t n = equals ? (size_t)(equals - arg) : strlen(arg);

	for (size_t i = 0; i < ARRAY_SIZE(options); i++) {
		const struct option_row *o = &options[i];

		*value = equals ? equals + 1 : NULL;
		if (arg[1] == '-' && n - 2 == strlen(o->flag) && !strncmp(arg + 2, o->flag, n - 2))
			return o;
		*value = arg[1] && arg[2] ? arg + 2 : NULL;
		if (o->letter && arg[1] == o->letter && (!arg[2] || o->arg))
			return o;
	}
	return NULL;
}

static bool is_arg(const char *arg, const char *shorter, const char *longer)
{
	return strcmp(arg, shorter) == 0 || strcmp(arg, longer) == 0;
}

/* What a list has of the environment goes with the first argument for it. */
static void begin_list(struct config *c, const struct option_row *o, bool *begun)
{
	if (is_list(o) && !begun[o - options])
		list_done((void *)((char *)c + o->offset));
	begun[o - options] = true;
}

/* One option at argv[*i]; *i is left at its last argument. begun: the options that were there. */
static int parse_option(struct config *c, int *i, char **argv, bool *begun, struct err *e)
{
	const char *value = NULL;
	const struct option_row *o = find_option(argv[*i], &value);

	if (!o)
		return err_set(e, -1, "there is no option %s; see mirrord-trace --help", argv[*i]);
	if (!o->arg && value)
		return err_set(e, -1, "--%s takes no value", o->flag);
	if (o->arg && !value)
		value = argv[++*i];
	if (o->arg && !value)
		return err_set(e, -1, "--%s needs a value: %s", o->flag, o->arg);
	begin_list(c, o, begun);
	return set_option(c, o, value, SOURCE_ARGUMENT, e);
}

/* Both lists together would leave open what is in neither. */
static int check_lists(const char *remote, const char *local, const char *kind, struct err *e)
{
	if (!remote || !local)
		return 0;
	return err_set(e, -1,
		"--%s-remote and --%s-local exclude each other: say which are remote, or which are "
		"local",
		kind, kind);
}

static int check(const struct config *c, struct err *e)
{
	if (!c->argv[0])
		return err_set(e, -1, "name a program to run: mirrord-trace -t TARGET PROGRAM");
	if (!c->target && !c->agent)
		return err_set(e, -1,
			"name a target: -t pid:N, -t container:ID, -t netns:PATH, or --agent "
			"ADDRESS "
			"of an agent that runs");
	if (c->target && c->agent)
		return err_set(e, -1,
			"the agent at --agent %s has its target already; leave out -t %s", c->agent,
			c->target);
	if (check_lists(c->outgoing_remote, c->outgoing_local, "outgoing", e) < 0)
		return -1;
	if (c->env_include.n && c->env_exclude.n)
		return err_set(e, -1,
			"--env-include and --env-exclude exclude each other: say which variables "
			"are wanted, or which are not");
	return check_lists(c->dns_remote, c->dns_local, "dns", e);
}

enum config_result config_parse(struct config *c, int argc, char **argv, struct err *e)
{
	bool begun[ARRAY_SIZE(options)] = { false };
	int i;

	*c = (struct config){ .incoming = INCOMING_MIRROR,
		.outgoing = true,
		.dns = true,
		.fs_mode = FS_MODE_READ,
		.fs_file_max = UINT64_C(1) << 30,
		.fs_tree_max = UINT64_C(4) << 30,
		.fs_watch = true,
		.env = true,
		.hostname = true };
	if (from_environment(c, e) < 0)
		return CONFIG_ERROR;
	for (i = 1; i < argc && argv[i][0] == '-' && argv[i][1]; i++) {
		if (strcmp(argv[i], "--") == 0) {
			i++;
			break;
		}
		if (is_arg(argv[i], "-h", "--help")) {
			help();
			return CONFIG_EXIT;
		}
		if (is_arg(argv[i], "-V", "--version")) {
			puts("mirrord-trace " VERSION);
			return CONFIG_EXIT;
		}
		if (parse_option(c, &i, argv, begun, e) < 0)
			return CONFIG_ERROR;
	}
	c->argv = argv + i;
	/* A name is resolved on the side where the connection is made. */
	if (!c->outgoing)
		c->dns = false;
	return check(c, e) < 0 ? CONFIG_ERROR : CONFIG_RUN;
}

void config_done(struct config *c)
{
	for (size_t i = 0; i < ARRAY_SIZE(options); i++) {
		if (is_list(&options[i]))
			list_done((void *)((char *)c + options[i].offset));
	}
}

bool config_targetless(const struct config *c)
{
	return c->target && strcmp(c->target, "targetless") == 0;
}
