/* execve(2) of a file of the target: the copy is executed. Of a script the kernel would hand the
 * copy's path to the interpreter; so the interpreter itself is executed, with the arguments that
 * the kernel makes for it (execve(2), "Interpreter scripts") and the path that the guest knows. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fetch.h"
#include "fs.h"
#include "mem.h"
#include "path.h"
#include "sysdef.h"
#include "task.h"
#include "tracer.h"
#include "util.h"

/* How deep interpreters may be scripts themselves (execve(2)), and what they put before the guest's
 * arguments: each adds itself, an option, and the script that it is for. */
#define EXEC_DEPTH_MAX  5
#define EXEC_PREFIX_MAX (3 * EXEC_DEPTH_MAX)

/* The line of an interpreter, with the zero byte that ends it (binfmt_script.c). */
#define SHEBANG_SIZE 256

#define WANT_PROGRAM (FILE_EXEC | FILE_READ | FILE_CONTENT)

struct exec {
	struct fetch_call wait;
	unsigned path_arg;             /* argv is the next */
	uint64_t flags;                /* execveat(2)'s */
	char *script;                  /* the path as it was given, for its interpreter */
	char *prefix[EXEC_PREFIX_MAX]; /* these stand for argv[0] */
	unsigned nprefix, depth;
};

static void exec_freed(struct fetch_call *w)
{
	struct exec *x = container_of(w, struct exec, wait);

	free(x->script);
	for (unsigned i = 0; i < x->nprefix; i++)
		free(x->prefix[i]);
}

static void exec_answer(struct exec *x, int64_t result)
{
	call_return(fetch_call_end(&x->wait), result);
}

/* The strings, and the array of pointers to them and to the guest's own arguments. */
struct vector {
	uint8_t bytes[SCRATCH_SLOT_SIZE];
	size_t n;
	size_t pointers_at;
};

/* Its offset in *at; false: there is no room. */
static bool add_string(struct vector *v, const char *text, uint64_t *at)
{
	size_t len = strlen(text) + 1;

	if (len > sizeof(v->bytes) - v->n)
		return false;
	memcpy(v->bytes + v->n, text, len);
	*at = v->n;
	v->n += len;
	return true;
}

static bool add_pointer(struct vector *v, uint64_t pointer)
{
	if (sizeof(pointer) > sizeof(v->bytes) - v->n)
		return false;
	memcpy(v->bytes + v->n, &pointer, sizeof(pointer));
	v->n += sizeof(pointer);
	return true;
}

/* The guest's arguments but the first, and the NULL at the end. 0 or -errno. */
static int add_guest_args(struct vector *v, const struct call *c, uint64_t argv)
{
	uint64_t pointer = 1;

	for (unsigned i = 0; pointer; i++) {
		int r = argv ? mem_read(c->task->tid, argv + i * sizeof(pointer), &pointer,
				       sizeof(pointer))
			     : 0;

		if (r < 0)
			return r;
		if (!argv)
			pointer = 0;
		if ((i || !pointer) && !add_pointer(v, pointer))
			return -E2BIG;
	}
	return 0;
}

static int make_vector(struct vector *v, const struct exec *x, uint64_t argv)
{
	uint64_t at[EXEC_PREFIX_MAX];

	for (unsigned i = 0; i < x->nprefix; i++) {
		if (!add_string(v, x->prefix[i], &at[i]))
			return -E2BIG;
	}
	while (v->n % sizeof(uint64_t))
		v->bytes[v->n++] = 0;
	v->pointers_at = v->n;
	for (unsigned i = 0; i < x->nprefix; i++) {
		if (!add_pointer(v, at[i]))
			return -E2BIG;
	}
	return add_guest_args(v, x->wait.call, argv);
}

/* Which argument of execveat(2) its flags are. */
#define FLAGS_ARG 4

/* The kernel executes what is at path, by way of links if it is an interpreter's. */
static void exec_path(struct exec *x, const char *path)
{
	struct call *c = x->wait.call;
	unsigned argv_arg = x->path_arg + 1;
	struct vector v = { .n = strlen(path) + 1 };
	struct call_change change = {
		.args = 1U << x->path_arg | (x->nprefix ? 1U << argv_arg : 0),
		.bytes = v.bytes,
	};
	int r = 0;

	memcpy(v.bytes, path, v.n);
	if (x->nprefix)
		r = make_vector(&v, x, c->arg[argv_arg]);
	if (r < 0) {
		exec_answer(x, r);
		return;
	}
	change.pointers = change.args;
	change.args |= x->flags ? 1U << FLAGS_ARG : 0;
	change.arg[FLAGS_ARG] = x->flags & ~(uint64_t)AT_SYMLINK_NOFOLLOW;
	change.arg[argv_arg] = v.pointers_at;
	change.words_at = v.pointers_at;
	change.nwords = x->nprefix;
	change.n = v.n;
	call_rewrite(fetch_call_end(&x->wait), &change);
}

/* --- scripts --- */

/* The interpreter and its option, "" if there is none, in the first line. False: it is no script.
 */
static bool read_shebang(
	const struct fetch *f, char line[static SHEBANG_SIZE], char **interpreter, char **option)
{
	cleanup_fd int fd = tree_open_copy(&f->fs->tree, f->copy, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, line, SHEBANG_SIZE - 1);
	char *end;

	if (n < 3 || line[0] != '#' || line[1] != '!')
		return false;
	line[n] = '\0';
	end = line + strcspn(line, "\n");
	while (end > line + 2 && (end[-1] == ' ' || end[-1] == '\t'))
		end--;
	*end = '\0';
	*interpreter = line + 2 + strspn(line + 2, " \t");
	*option = *interpreter + strcspn(*interpreter, " \t");
	if (**option)
		*(*option)++ = '\0';
	*option += strspn(*option, " \t");
	return **interpreter;
}

/* What the interpreter is told stands where argv[0] was. False: no memory, or too much. */
static bool push_interpreter(struct exec *x, const char *interpreter, const char *option)
{
	const char *first[] = { interpreter, *option ? option : NULL, x->script };
	unsigned more = 0, rest = x->nprefix ? x->nprefix - 1 : 0;
	char *copies[3];

	for (unsigned i = 0; i < ARRAY_SIZE(first); i++) {
		if (first[i])
			copies[more++] = strdup(first[i]);
	}
	if (x->nprefix)
		free(x->prefix[0]);
	memmove(x->prefix + more, x->prefix + (x->nprefix ? 1 : 0), rest * sizeof(*x->prefix));
	memcpy(x->prefix, copies, more * sizeof(*copies));
	x->nprefix = more + rest;
	free(x->script);
	x->script = strdup(interpreter);
	for (unsigned i = 0; i < x->nprefix; i++) {
		if (!x->prefix[i])
			return false;
	}
	return x->script;
}

/* The interpreter is found as any path of the guest's is. */
static void exec_interpreter(struct exec *x, const char *interpreter)
{
	const struct fs_policy *policy = x->wait.fetch.fs->policy;
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s", interpreter);
	path_normalize(path);
	fetch_release(&x->wait.fetch);
	if (*interpreter == '/' && fs_policy_decide(policy, path, FS_READS, NULL) == FS_REMOTE)
		fetch_call_start(&x->wait, WANT_PROGRAM, 0, 0, interpreter);
	else
		exec_path(x, interpreter);
}

/* The copy is there. The kernel would hand a script's interpreter the copy's path: so it gets the
 * interpreter itself, with the arguments that execve(2) makes for it. */
static void exec_copy(struct exec *x)
{
	char line[SHEBANG_SIZE], path[PATH_MAX], *interpreter, *option;

	if (!read_shebang(&x->wait.fetch, line, &interpreter, &option)) {
		if (tree_kernel_path(&x->wait.fetch.fs->tree, x->wait.fetch.path, path) >
			sizeof(path))
			exec_answer(x, -ENAMETOOLONG);
		else
			exec_path(x, path);
	} else if (++x->depth > EXEC_DEPTH_MAX) {
		exec_answer(x, -ELOOP);
	} else if (!push_interpreter(x, interpreter, option)) {
		exec_answer(x, -ENOMEM);
	} else {
		exec_interpreter(x, interpreter);
	}
}

/* --- the file --- */

static void exec_fetched(struct fetch_call *w, int error)
{
	struct exec *x = container_of(w, struct exec, wait);

	if (error)
		exec_answer(x, -error);
	else
		exec_copy(x);
}

static void exec_remote(struct call *c, unsigned path_arg, uint64_t flags, const struct fs_name *n)
{
	uint32_t way = flags & AT_SYMLINK_NOFOLLOW ? FILE_NOFOLLOW : 0;
	struct exec *x = fetch_call_new(c, sizeof(*x), exec_fetched, exec_freed);
	char given[PATH_MAX];

	if (!x)
		return;
	if (mem_read_string(c->task->tid, c->arg[path_arg], given, sizeof(given)) <= 0)
		strcpy(given, n->path);
	x->path_arg = path_arg;
	x->flags = flags;
	x->script = strdup(given);
	if (x->script)
		fetch_call_start(&x->wait, WANT_PROGRAM | way, 0, 0, n->full);
	else
		exec_answer(x, -ENOMEM);
}

/* A copy that was opened by O_PATH has no content yet. */
static bool is_copy_itself(struct call *c, uint64_t dirfd, uint64_t flags, struct fs_name *n)
{
	return n->is_empty && flags & AT_EMPTY_PATH && fs_name_of_fd(c, dirfd, n);
}

static void exec_any(struct call *c, uint64_t dirfd, unsigned path_arg, uint64_t flags)
{
	bool follow = !(flags & AT_SYMLINK_NOFOLLOW);
	struct fs_name n;
	int r = fs_name_get(c, dirfd, path_arg, FS_READS, follow, &n);

	if (r < 0)
		call_return(c, r);
	else if (is_copy_itself(c, dirfd, flags, &n) || fs_is_remote(c, &n))
		exec_remote(c, path_arg, flags, &n);
}

void sys_execve(struct call *c)
{
	exec_any(c, (uint64_t)AT_FDCWD, 0, 0);
}

void sys_execveat(struct call *c)
{
	exec_any(c, c->arg[0], 1, (uint32_t)c->arg[FLAGS_ARG]);
}
