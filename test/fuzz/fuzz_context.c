/* What an agent tells of its target, and the environment that is made of it by a few sets of
 * options.
 *
 * Names and mounts are kept within their bounds. A program's environment has no name twice, nothing
 * that is no variable, all of this machine's that nothing replaces, and nothing of the target's
 * that belongs to its system.
 *
 * Input: which options, an --env-file, then a byte for each choice that the answers leave. */
#include "tracer/config.c"
#include "tracer/context.c"
#include "tracer/environ.c"
#include "tracer/pattern.c"

#include <sys/mman.h>

#define INPUT_MAX 4096
#define FULL      8192
#define MANY      40 /* messages; when they are full of variables, those are too many */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct tracer tracer;
static struct reader *input; /* what is left of it */

static char *const local[] = { "PATH=local", "HOME=local", "A=local", "B=local", "LD_X=local",
	"MIRRORD_TRACE=local", "_=local", "c d=local", NULL };

#define LIST(...)                                                                                  \
	{                                                                                          \
		.value = (const char *[]){ __VA_ARGS__ },                                          \
		.n = ARRAY_SIZE(((const char *[]){ __VA_ARGS__ }))                                 \
	}

/* None of them names what `never` does, but to have it of the target. */
static const struct config sets[] = {
	{ .env = true },
	{ .env = false },
	{ .env = true, .env_include = LIST("*") },
	{ .env = true, .env_include = LIST("A*", "?", "PATH", "LD_PRELOAD") },
	{ .env = true, .env_exclude = LIST("A*", "[!a]", "\\") },
	{ .env = true, .env_unset = LIST("a", "p*", "*_*") },
	{ .env = true, .env_map = LIST("^(A|B)$=x=y", ".*=", "(a+)+$=\\1") },
	{ .env = true, .env_set = LIST("A=set", "NEW=", "NEW=set=again") },
	{ .env = true,
		.env_include = LIST("*"),
		.env_unset = LIST("*"),
		.env_map = LIST("A=mapped"),
		.env_set = LIST("B=set") },
};

static void require(bool ok)
{
	if (!ok)
		abort();
}

/* --- the agent --- */

static uint8_t byte(struct reader *r)
{
	return (uint8_t)read_uint(r, 1);
}

/* Words, and bytes that are none. */
static struct span bytes(struct reader *r, size_t max)
{
	static const struct span words[] = { { "\0", 1 }, { "=", 1 }, { "A=1\0", 4 }, { "B=", 2 },
		{ "PATH=x\0", 7 }, { "LD_PRELOAD=x\0", 13 }, { "HOME=x", 6 }, { "_=x\0", 4 },
		{ "GEM_", 4 }, { "MIRRORD_", 8 }, { "/", 1 }, { "/data\0", 6 }, { "NEW=x\0", 6 } };
	static char text[FULL];
	size_t n = 0, want = byte(r);

	for (size_t i = 0; i < want && !r->bad && n + 16 < max; i++) {
		uint8_t c = byte(r);

		if (c < ARRAY_SIZE(words)) {
			memcpy(text + n, words[c].data, words[c].len);
			n += words[c].len;
		} else {
			text[n++] = (char)c;
		}
	}
	if (want == 255) { /* the same over and over */
		for (size_t i = n; n && i < max; i++)
			text[i] = text[i % n];
		n = n ? max : 0;
	}
	return (struct span){ text, (uint32_t)n };
}

static struct span name(struct reader *r)
{
	static char text[64];
	struct span s = bytes(r, sizeof(text));

	memcpy(text, s.data, s.len);
	return (struct span){ text, s.len };
}

static uint32_t error(struct reader *r)
{
	uint8_t which = byte(r);

	return which < 240 ? 0 : which == 255 ? UINT32_MAX : which;
}

static struct msg context(struct reader *r)
{
	struct msg m = { .type = MSG_context, .context = { .uid = byte(r), .has_files = byte(r) } };

	m.context.nodename = name(r);
	m.context.domainname = m.context.nodename;
	m.context.mounts = bytes(r, FULL);
	return m;
}

static struct msg environment(struct reader *r)
{
	return (struct msg){ .type = MSG_environ,
		.environ = { .error = error(r), .more = byte(r) & 1, .bytes = bytes(r, FULL) } };
}

static void say(const struct msg *m, unsigned times)
{
	struct msg heard;
	struct buf b;

	buf_init(&b, PROTO_FRAME_MAX);
	require(proto_encode(&b, m) == 0);
	require(proto_decode(buf_head(&b), buf_len(&b), PROTO_AGENT, &heard) > 0);
	while (times--)
		context_message(&tracer.context, &heard);
	buf_done(&b);
}

/* In place of the link: the input says what comes. */
int link_await(__attribute__((unused)) struct link *l, const bool *there, struct err *e)
{
	while (!*there && !input->bad) {
		uint8_t how = byte(input);
		struct msg m = how & 1 ? context(input) : environment(input);

		say(&m, how >= 250 ? MANY : 1);
	}
	return *there ? 0 : err_set(e, -ECONNRESET, "the input is over");
}

/* --- what has to be so --- */

static void check_context(const struct context *cx, const struct config *cfg)
{
	unsigned n = 0;

	require(strlen(cx->nodename) < CONTEXT_NAME_SIZE && !strcmp(cx->nodename, cx->domainname));
	while (cx->mounts[n])
		require(*cx->mounts[n++] == '/');
	require(n <= CONTEXT_MOUNTS_MAX && buf_len(&cx->environ) <= CONTEXT_ENVIRON_MAX);
	require(cfg->env || !buf_len(&cx->environ));
	require(!cx->environ_error || (!cx->has_files && !buf_len(&cx->environ)));
}

static bool has(char *const *env, const char *text)
{
	for (; *env; env++) {
		if (strcmp(*env, text) == 0)
			return true;
	}
	return false;
}

/* With the name of NAME=VALUE, how many there are. */
static unsigned count_name(char *const *env, const char *text)
{
	size_t n = strcspn(text, "=") + 1;
	unsigned count = 0;

	for (; *env; env++)
		count += strncmp(*env, text, n) == 0;
	return count;
}

static void check_var(char *const *env, const char *text, const struct config *cfg)
{
	char *own = name_of(text);

	require(*text && *text != '=' && strchr(text, '=') && count_name(env, text) == 1);
	if (!cfg->env_file && is_like_any(own, never, ARRAY_SIZE(never), 0))
		require(has(local, text) || is_named_in(own, &cfg->env_include));
	free(own);
}

static void check_local(char *const *env, const struct config *cfg)
{
	for (char *const *l = local; *l; l++) {
		char *own = name_of(*l);

		require(is_listed(own, &cfg->env_unset, FNM_CASEFOLD) || count_name(env, *l));
		free(own);
	}
}

static void check_environ_of(char *const *env, const struct config *cfg)
{
	size_t n = 0;

	for (; env[n]; n++)
		check_var(env, env[n], cfg);
	require(n <= ENVIRON_VARS_MAX);
	check_local(env, cfg);
	for (unsigned i = 0; i < cfg->env_set.n; i++)
		require(count_name(env, cfg->env_set.value[i]) == 1);
	require(!cfg->env_set.n || has(env, cfg->env_set.value[cfg->env_set.n - 1]));
}

/* A file that only we see, at the path; its descriptor, which is the caller's. */
static int make_file(struct reader *r, char path[32])
{
	int fd = memfd_create("env-file", MFD_CLOEXEC);
	struct span text = bytes(r, INPUT_MAX);

	require(fd >= 0 && write(fd, text.data, text.len) == (ssize_t)text.len);
	snprintf(path, 32, "/proc/self/fd/%d", fd);
	return fd;
}

static void make_environ(const struct config *cfg)
{
	struct buf *remote = &tracer.context.environ;
	struct err e = { "" };
	char **env = NULL;
	size_t n = buf_len(remote);
	const char *text = n ? (const char *)buf_head(remote) : "";
	int r = environ_make(&env, local, text, n, cfg, &e);

	if (r == 0)
		check_environ_of(env, cfg);
	else
		require(*e.text && (r == -E2BIG || (r == -EINVAL && cfg->env_file)));
	environ_free(env);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct reader r = { data, data + size, false };
	struct err e = { "" };
	cleanup_fd int fd = -1;
	struct config cfg;
	char path[32];
	uint8_t how;
	int got;

	if (size > INPUT_MAX)
		return -1;
	how = byte(&r);
	cfg = sets[how % ARRAY_SIZE(sets)];
	if (how & 128) {
		fd = make_file(&r, path);
		cfg.env_file = path;
	}
	tracer = (struct tracer){ .cfg = &cfg, .link.mux.lost = true };
	input = &r;
	got = context_get(&tracer.context, &tracer, &e);
	require(got == 0 || *e.text);
	if (got == 0) {
		check_context(&tracer.context, &cfg);
		make_environ(&cfg);
	}
	context_done(&tracer.context);
	return 0;
}
