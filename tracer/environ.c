/* Every source adds its variables to one list, the weaker ones first; then of each name the last is
 * kept. */
#include "environ.h"

#include <ctype.h>
#include <errno.h>
#include <fnmatch.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pattern.h"
#include "util.h"

struct var {
	char *text; /* NAME=VALUE, owned */
	size_t name_len;
	size_t order;
};

struct vars {
	struct var *v;
	size_t n, cap;
};

/* What belongs to the system that the target's program runs on, and would mislead one here. */
static const char *const never[] = {
	"BUNDLE*",
	"CATALINA_HOME",
	"CLASSPATH",
	"DOTNET_EnableDiagnostics",
	"DOTNET_STARTUP_HOOKS",
	"GEM_*",
	"GOMODCACHE",
	"GOPATH",
	"HOME",
	"HOMEPATH",
	"JAVA_EXE",
	"JAVA_HOME",
	"JAVA_TOOL_OPTIONS",
	"LD_*",
	"MIRRORD_*",
	"OLDPWD",
	"PATH",
	"PWD",
	"PYTHONHOME",
	"PYTHONPATH",
	"RUBYLIB",
	"RUBYOPT",
	"RUST_LOG",
	"SHLVL",
	"TMPDIR",
	"_",
	"_JAVA_OPTIONS",
};

/* --- the list --- */

static void vars_done(struct vars *vs)
{
	for (size_t i = 0; i < vs->n; i++)
		free(vs->v[i].text);
	free(vs->v);
}

static bool has_room(struct vars *vs)
{
	size_t cap = vs->cap ? vs->cap * 2 : 64;
	struct var *v = vs->v;

	if (vs->n < vs->cap)
		return true;
	v = reallocarray(v, cap, sizeof(*v));
	if (!v)
		return false;
	vs->v = v;
	vs->cap = cap;
	return true;
}

/* text: NAME=VALUE, the list's from here on; NULL: there was no memory for it. */
static int add(struct vars *vs, char *text, struct err *e)
{
	cleanup_free char *owned = text;

	if (!text || !has_room(vs))
		return err_set(e, -ENOMEM, "no memory for the environment");
	if (vs->n == ENVIRON_VARS_MAX)
		return err_set(
			e, -E2BIG, "the environment has more than %u variables", ENVIRON_VARS_MAX);
	vs->v[vs->n] = (struct var){ text, strcspn(text, "="), vs->n };
	vs->n++;
	owned = NULL;
	return 0;
}

static int by_name(const void *a, const void *b)
{
	const struct var *x = a, *y = b;
	int r = strncmp(x->text, y->text, MIN(x->name_len, y->name_len));

	if (r == 0)
		r = (x->name_len > y->name_len) - (x->name_len < y->name_len);
	return r ? r : (x->order > y->order) - (x->order < y->order);
}

static int by_order(const void *a, const void *b)
{
	const struct var *x = a, *y = b;

	return (x->order > y->order) - (x->order < y->order);
}

static bool same_name(const struct var *a, const struct var *b)
{
	return a->name_len == b->name_len && memcmp(a->text, b->text, a->name_len) == 0;
}

/* Keep the last of each name, in the place of the first. */
static void keep_strongest(struct vars *vs)
{
	size_t kept = 0;

	if (vs->n)
		qsort(vs->v, vs->n, sizeof(*vs->v), by_name);
	for (size_t i = 0; i < vs->n; i++) {
		struct var *last = kept ? &vs->v[kept - 1] : NULL;

		if (last && same_name(last, &vs->v[i])) {
			free(last->text);
			last->text = vs->v[i].text;
		} else {
			vs->v[kept++] = vs->v[i];
		}
	}
	vs->n = kept;
	if (vs->n)
		qsort(vs->v, vs->n, sizeof(*vs->v), by_order);
}

/* --- names --- */

static bool is_like_any(const char *name, const char *const *patterns, size_t n, int flags)
{
	for (size_t i = 0; i < n; i++) {
		if (fnmatch(patterns[i], name, FNM_NOESCAPE | flags) == 0)
			return true;
	}
	return false;
}

static bool is_listed(const char *name, const struct config_list *l, int flags)
{
	return is_like_any(name, l->value, l->n, flags);
}

static bool is_named_in(const char *name, const struct config_list *l)
{
	for (unsigned i = 0; i < l->n; i++) {
		if (strcmp(name, l->value[i]) == 0)
			return true;
	}
	return false;
}

/* A variable of the target. */
static bool is_wanted(const char *name, const struct config *cfg)
{
	if (is_like_any(name, never, ARRAY_SIZE(never), 0))
		return is_named_in(name, &cfg->env_include);
	if (cfg->env_include.n)
		return is_listed(name, &cfg->env_include, 0);
	return !is_listed(name, &cfg->env_exclude, 0);
}

/* --- this machine's, the target's, --env-map and --env --- */

/* The name of NAME=VALUE, which is the caller's; NULL: no memory. */
static char *name_of(const char *text)
{
	return strndup(text, strcspn(text, "="));
}

static int add_local(struct vars *vs, char *const *local, const struct config *cfg, struct err *e)
{
	int r = 0;

	for (; *local && r == 0; local++) {
		cleanup_free char *name = name_of(*local);

		if (!name)
			r = add(vs, NULL, e);
		else if (!is_listed(name, &cfg->env_unset, FNM_CASEFOLD))
			r = add(vs, strdup(*local), e);
	}
	return r;
}

static int add_remote(
	struct vars *vs, const char *remote, size_t n, const struct config *cfg, struct err *e)
{
	int r = 0;

	for (size_t at = 0, len; at < n && r == 0; at += len + 1) {
		len = strnlen(remote + at, n - at);
		cleanup_free char *text = strndup(remote + at, len);
		cleanup_free char *name = text ? name_of(text) : NULL;

		if (!name) {
			r = add(vs, NULL, e);
		} else if (*name && text[strlen(name)] == '=' && is_wanted(name, cfg)) {
			r = add(vs, text, e);
			text = NULL;
		}
	}
	return r;
}

static int set_value(struct var *var, const char *value, struct err *e)
{
	char *text;

	if (asprintf(&text, "%.*s=%s", (int)var->name_len, var->text, value) < 0)
		return err_set(e, -ENOMEM, "no memory for the environment");
	free(var->text);
	var->text = text;
	return 0;
}

/* REGEX=VALUE for the variables from that one on. */
static int map_values(struct vars *vs, size_t from, const char *pair, struct err *e)
{
	const char *value = config_right(pair);
	struct pattern p;
	int r = pattern_compile(&p, "env-map", pair, (size_t)(value - pair) - 1, 0, e);

	for (size_t i = from; i < vs->n && r == 0; i++) {
		if (pattern_matches(&p, vs->v[i].text, vs->v[i].name_len))
			r = set_value(&vs->v[i], value, e);
	}
	pattern_done(&p);
	return r;
}

/* --- --env-file --- */

struct file {
	const char *name;
	const char *p; /* what is still to be read */
	unsigned line;
	char *var; /* NAME=VALUE of a line: room for all of the file */
};

static int wrong(const struct file *f, struct err *e, const char *what)
{
	return err_set(e, -EINVAL, "%s:%u: %s", f->name, f->line, what);
}

static void skip_blanks(struct file *f)
{
	f->p += strspn(f->p, " \t\r");
}

/* To the next line. False: something other than a comment is in the way. */
static bool end_line(struct file *f)
{
	skip_blanks(f);
	if (*f->p == '#')
		f->p += strcspn(f->p, "\n");
	if (*f->p == '\n') {
		f->p++;
		f->line++;
		return true;
	}
	return !*f->p;
}

/* What a backslash and that character stand for between double quotes, or 0. */
static char unescaped(char c)
{
	static const char from[] = "nrt\"\\$", to[] = "\n\r\t\"\\$";
	const char *at = c ? strchr(from, c) : NULL;

	return at ? to[at - from] : '\0';
}

/* The value between quotes. False: the second one is missing. */
static bool read_quoted(struct file *f)
{
	char *to = f->var + strlen(f->var), quote = *f->p++, c;

	for (; *f->p != quote; f->p++) {
		c = *f->p;
		if (!c)
			return false;
		f->line += c == '\n';
		if (quote == '"' && c == '\\' && unescaped(f->p[1]))
			c = unescaped(*++f->p);
		*to++ = c;
	}
	*to = '\0';
	f->p++;
	return true;
}

/* To the end of the line, or to a comment: a # behind a blank. */
static void read_plain(struct file *f)
{
	const char *begin = f->p, *end;

	while (*f->p && *f->p != '\n' && !(*f->p == '#' && isblank((unsigned char)f->p[-1])))
		f->p++;
	for (end = f->p; end > begin && strchr(" \t\r", end[-1]);)
		end--;
	strncat(f->var, begin, (size_t)(end - begin));
}

static size_t name_length(const char *p)
{
	size_t n = 0;

	if (!isdigit((unsigned char)*p)) {
		while (isalnum((unsigned char)p[n]) || (p[n] && strchr("_.-", p[n])))
			n++;
	}
	return n;
}

static void skip_export(struct file *f)
{
	if (strncmp(f->p, "export", 6) == 0 && isblank((unsigned char)f->p[6]))
		f->p += 6;
	skip_blanks(f);
}

/* [export] NAME=VALUE, after which may stand a comment. */
static int add_line(struct vars *vs, struct file *f, struct err *e)
{
	struct file begin;
	size_t n;

	skip_export(f);
	n = name_length(f->p);
	memcpy(f->var, f->p, n);
	f->p += n;
	skip_blanks(f);
	if (!n || *f->p++ != '=')
		return wrong(f, e, "a line is NAME=VALUE, or a comment behind a #");
	skip_blanks(f);
	strcpy(f->var + n, "=");
	begin = *f;
	if (*f->p != '"' && *f->p != '\'')
		read_plain(f);
	else if (!read_quoted(f))
		return wrong(&begin, e, "the value's second quote is missing");
	if (!end_line(f))
		return wrong(f, e, "something stands behind the value's second quote");
	return add(vs, strdup(f->var), e);
}

static int add_lines(struct vars *vs, struct file *f, struct err *e)
{
	int r = 0;

	while (*f->p && r == 0) {
		if (!end_line(f))
			r = add_line(vs, f, e);
	}
	return r;
}

/* The file's text, which is the caller's; or NULL and e. */
static char *read_text(const char *name, struct err *e)
{
	FILE *stream = fopen(name, "re");
	cleanup_free char *text = stream ? calloc(1, ENVIRON_FILE_MAX + 1) : NULL;
	size_t n = text ? fread(text, 1, ENVIRON_FILE_MAX + 1, stream) : 0;
	int error = !text || ferror(stream) ? errno : 0;
	char *taken = text;

	if (stream)
		fclose(stream);
	if (error)
		err_set(e, -error, "--env-file %s: %s", name, strerror(error));
	else if (n > ENVIRON_FILE_MAX)
		error = err_set(e, EFBIG, "--env-file %s: it has more than %u bytes", name,
			ENVIRON_FILE_MAX);
	else if (strlen(text) != n)
		error = err_set(e, EINVAL, "--env-file %s: it is not text", name);
	if (error)
		return NULL;
	text = NULL;
	return taken;
}

static int add_file(struct vars *vs, const char *name, struct err *e)
{
	cleanup_free char *text = read_text(name, e);
	cleanup_free char *var = text ? malloc(strlen(text) + 2) : NULL;
	struct file f = { name, text, 1, var };

	if (!text)
		return -EINVAL;
	return var ? add_lines(vs, &f, e) : add(vs, NULL, e);
}

/* --- all of it --- */

static int collect(struct vars *vs, char *const *local, const char *remote, size_t n,
	const struct config *cfg, struct err *e)
{
	int r = add_local(vs, local, cfg, e);
	size_t ours = vs->n;

	if (r == 0)
		r = add_remote(vs, remote, n, cfg, e);
	if (r == 0 && cfg->env_file)
		r = add_file(vs, cfg->env_file, e);
	for (unsigned i = 0; i < cfg->env_map.n && r == 0; i++)
		r = map_values(vs, ours, cfg->env_map.value[i], e);
	for (unsigned i = 0; i < cfg->env_set.n && r == 0; i++)
		r = add(vs, strdup(cfg->env_set.value[i]), e);
	return r;
}

int environ_make(char ***made, char *const *local, const char *remote, size_t n,
	const struct config *cfg, struct err *e)
{
	struct vars vs = { 0 };
	char **env = NULL;
	int r = collect(&vs, local, remote, n, cfg, e);

	if (r == 0) {
		keep_strongest(&vs);
		env = calloc(vs.n + 1, sizeof(*env));
		r = env ? 0 : err_set(e, -ENOMEM, "no memory for the environment");
	}
	for (size_t i = 0; i < vs.n && env; i++) {
		env[i] = vs.v[i].text;
		vs.v[i].text = NULL;
	}
	vars_done(&vs);
	if (r == 0)
		*made = env;
	return r;
}

void environ_free(char **env)
{
	for (size_t i = 0; env && env[i]; i++)
		free(env[i]);
	free(env);
}
