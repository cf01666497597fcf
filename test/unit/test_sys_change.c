/* How calls that change files are put to the agent: each with its arguments, and what is asked. The
 * test is its own guest; paths below /r are the target's, below /gone are not found. */
#include "tracer/change.c"
#include "tracer/sys_change.c"
#include "tracer/sys_sync.c"

#include "tracer/mem.c"

#include <sys/xattr.h>

#include "unit.h"

static struct tracer tracer;
static struct task task;
static struct fs_wait *waiting;

/* What was asked, or answered. */
static struct {
	enum file_op op; /* 0: nothing */
	uint32_t flags;
	uint64_t a, b;
	char path[PATH_MAX], second[PATH_MAX];
	size_t n;
	bool continued;
	unsigned here;  /* a set of the arguments that are local paths */
	int64_t answer; /* 1: none */
} asked;

/* --- stand-ins --- */

int fs_name_get(struct call *c, uint64_t dirfd, unsigned arg, enum fs_access access, bool follow,
	struct fs_name *n)
{
	int r = mem_read_string(c->task->tid, c->arg[arg], n->full, sizeof(n->full));

	(void)dirfd;
	(void)follow;
	assert_int_equal(access, FS_WRITES);
	n->is_empty = r == 0;
	n->arg = arg;
	n->where = FS_LOCAL;
	n->displaced = strncmp(n->full, "/tree/", 6) == 0;
	if (strncmp(n->full, "/r/", 3) == 0)
		n->where = FS_REMOTE;
	if (strncmp(n->full, "/gone/", 6) == 0)
		n->where = FS_NOT_FOUND;
	strcpy(n->path, n->full);
	return r < 0 ? r : 0;
}

int fs_xattr_name(const struct call *c, char name[static FS_XATTR_NAME])
{
	int r = mem_read_string(c->task->tid, c->arg[1], name, FS_XATTR_NAME);

	return r == 0 ? -ERANGE : r;
}

/* Descriptors 7, 9 and the working directory are of the tree; 8, too, but not to be written to. */
bool fs_name_of_fd(struct call *c, uint64_t fd, struct fs_name *n)
{
	(void)c;
	if ((fd < 7 || fd > 9) && (int)fd != AT_FDCWD)
		return false;
	*n = (struct fs_name){ .where = FS_REMOTE, .displaced = true };
	strcpy(n->full, fd == 8 ? "/ro/fd" : "/r/fd");
	strcpy(n->path, n->full);
	return true;
}

/* Which arguments are put right is what is remembered. */
void fs_here(struct call *c, const struct fs_name *n, const struct fs_name *to)
{
	(void)c;
	asked.here = 1U << n->arg | (to ? 1U << to->arg : 0);
}

bool fs_is_remote(struct call *c, const struct fs_name *n)
{
	if (n->where == FS_NOT_FOUND)
		call_return(c, -ENOENT);
	else if (n->where == FS_LOCAL)
		fs_here(c, n, NULL);
	return n->where == FS_REMOTE;
}

enum fs_where fs_policy_decide(
	const struct fs_policy *p, const char *path, enum fs_access access, const char **rule)
{
	(void)p, (void)access, (void)rule;
	return strncmp(path, "/r/", 3) == 0 ? FS_REMOTE : FS_LOCAL;
}

unsigned fs_guest_umask(const struct call *c)
{
	(void)c;
	return 022;
}

void *fs_wait_new(struct call *c, size_t size,
	void (*answer)(struct fs_wait *w, int error, const struct remote_found *found))
{
	waiting = calloc(1, size);
	assert_non_null(waiting);
	waiting->fs = &c->tracer->fs;
	waiting->call = c;
	waiting->answer = answer;
	return waiting;
}

void fs_ask(struct fs_wait *w, enum file_op op, uint32_t flags, uint64_t a, uint64_t b,
	const char *path, const void *second, size_t n)
{
	(void)w;
	asked.op = op;
	asked.flags = flags;
	asked.a = a;
	asked.b = b;
	asked.n = n;
	strcpy(asked.path, path);
	memset(asked.second, 0, sizeof(asked.second));
	if (n)
		memcpy(asked.second, second, n);
}

void call_return(struct call *c, int64_t value)
{
	(void)c;
	asked.answer = value;
}

void call_continue(struct call *c)
{
	(void)c;
	asked.continued = true;
}

bool writeback_truncate(struct writeback *w, int fd, uint64_t size, int *result)
{
	(void)w, (void)fd, (void)size, (void)result;
	return false;
}

/* Descriptor 9 has O_PATH. */
int call_dup(const struct call *c, uint64_t fd)
{
	(void)c;
	return open("/dev/null", (fd == 9 ? O_PATH : O_RDONLY) | O_CLOEXEC);
}

bool writeback_sync(struct writeback *w, struct call *c, int fd)
{
	(void)w, (void)c, (void)fd;
	return false;
}

int fs_proc_open(const struct call *c, const char *path)
{
	(void)c;
	return strncmp(path, "/proc/self/fd/", 14) == 0 ? dup(atoi(path + 14)) : -1;
}

static bool is_unnamed;
static char named[PATH_MAX];

bool unnamed_is(const struct tree *t, int fd)
{
	(void)t;
	(void)fd;
	return is_unnamed;
}

void unnamed_link(struct call *c, int fd, const char *path)
{
	(void)c;
	close(fd);
	strcpy(named, path);
}

/* What was done to the copies. */
static char copies[256];

static struct tree_node node;

struct tree_node *tree_node(const struct tree *t, int fd)
{
	(void)t;
	(void)fd;
	return &node;
}

int tree_at(const struct tree *t, const char *path)
{
	(void)t;
	(void)path;
	return -ENOENT;
}

int tree_open_copy(const struct tree *t, int path_fd, int flags)
{
	(void)t, (void)path_fd, (void)flags;
	return -ENOENT;
}

int fs_put(struct fs *fs, const struct remote_found *found, struct tree_node **n)
{
	(void)fs;
	*n = &node;
	snprintf(copies, sizeof(copies), "put %s", found->path);
	return open("/dev/null", O_RDONLY | O_CLOEXEC);
}

void tree_set_attr(struct tree *t, int path_fd, const struct file_attr *attr)
{
	(void)t;
	(void)path_fd;
	snprintf(copies, sizeof(copies), "attr %o", attr->mode);
}

int tree_put(struct tree *t, const char *path, const struct file_attr *attr, const char *link,
	size_t len, struct tree_node **n)
{
	(void)t, (void)attr, (void)n;
	snprintf(copies + strlen(copies), sizeof(copies) - strlen(copies), "new %s %.*s", path,
		(int)len, link ? link : "");
	return 0;
}

void tree_rename(struct tree *t, const char *from, const char *to, bool exchange)
{
	(void)t;
	snprintf(copies, sizeof(copies), "rename %s %s %d", from, to, exchange);
}

void tree_remove(struct tree *t, const char *path)
{
	(void)t;
	snprintf(copies, sizeof(copies), "remove %s", path);
}

/* --- the calls --- */

#define P(s) ((uint64_t)(uintptr_t)(s))
#define CWD  ((uint64_t)AT_FDCWD)

static struct call make_call(const uint64_t *arg)
{
	struct call c = { .tracer = &tracer, .task = &task };

	task.tid = getpid();
	memcpy(c.arg, arg, sizeof(c.arg));
	memset(&asked, 0, sizeof(asked));
	asked.answer = 1;
	free(waiting);
	waiting = NULL;
	return c;
}

static const struct timespec some_times[2] = { { 1, 2 }, { -1, 500000000 } };
static const struct timespec now_omit[2] = { { 5, UTIME_NOW }, { 5, UTIME_OMIT } };
static const struct timespec far_times[2] = { { INT64_MAX, 0 }, { INT64_MIN, 0 } };

static const struct {
	void (*call)(struct call *c);
	uint64_t arg[CALL_ARGS];
	enum file_op op;
	uint32_t flags;
	uint64_t a, b;
	const char *path, *second;
} rows[] = {
	{ sys_mkdirat, { CWD, P("/r/d"), 0777 }, FILE_OP_MKDIR, 0, 0755, 0, "/r/d", "" },
	{ sys_mkdir, { P("/r/d"), 0700 }, FILE_OP_MKDIR, 0, 0700, 0, "/r/d", "" },
	{ sys_mknod, { P("/r/p"), S_IFIFO | 0666 }, FILE_OP_MKNOD, 0, S_IFIFO | 0644, 0, "/r/p",
		"" },
	{ sys_mknodat, { CWD, P("/r/f"), 0666 }, FILE_OP_MKNOD, 0, S_IFREG | 0644, 0, "/r/f", "" },
	{ sys_unlink, { P("/r/f") }, FILE_OP_UNLINK, 0, 0, 0, "/r/f", "" },
	{ sys_unlinkat, { CWD, P("/r/f"), 0 }, FILE_OP_UNLINK, 0, 0, 0, "/r/f", "" },
	{ sys_unlinkat, { CWD, P("/r/f"), AT_REMOVEDIR }, FILE_OP_RMDIR, 0, 0, 0, "/r/f", "" },
	{ sys_rmdir, { P("/r/d") }, FILE_OP_RMDIR, 0, 0, 0, "/r/d", "" },
	{ sys_rename, { P("/r/a"), P("/r/b") }, FILE_OP_RENAME, 0, 0, 0, "/r/a", "/r/b" },
	{ sys_renameat2, { CWD, P("/r/a"), CWD, P("/r/b"), RENAME_EXCHANGE }, FILE_OP_RENAME, 0,
		RENAME_EXCHANGE, 0, "/r/a", "/r/b" },
	{ sys_link, { P("/r/a"), P("/r/b") }, FILE_OP_LINK, FILE_NOFOLLOW, 0, 0, "/r/a", "/r/b" },
	{ sys_linkat, { CWD, P("/r/a"), CWD, P("/r/b"), 0 }, FILE_OP_LINK, FILE_NOFOLLOW, 0, 0,
		"/r/a", "/r/b" },
	{ sys_linkat, { CWD, P("/r/a"), CWD, P("/r/b"), AT_SYMLINK_FOLLOW }, FILE_OP_LINK, 0, 0, 0,
		"/r/a", "/r/b" },
	{ sys_linkat, { 7, P(""), CWD, P("/r/b"), AT_EMPTY_PATH }, FILE_OP_LINK, FILE_NOFOLLOW, 0,
		0, "/r/fd", "/r/b" },
	{ sys_symlink, { P("text"), P("/r/l") }, FILE_OP_SYMLINK, 0, 0, 0, "/r/l", "text" },
	{ sys_symlinkat, { P("/r/x"), CWD, P("/r/l") }, FILE_OP_SYMLINK, 0, 0, 0, "/r/l", "/r/x" },
	{ sys_chmod, { P("/r/f"), 0640 }, FILE_OP_CHMOD, 0, 0640, 0, "/r/f", "" },
	{ sys_fchmodat, { CWD, P("/r/f"), 0640, ~0ull }, FILE_OP_CHMOD, 0, 0640, 0, "/r/f", "" },
	{ sys_fchmodat2, { CWD, P("/r/f"), 0640, AT_SYMLINK_NOFOLLOW }, FILE_OP_CHMOD,
		FILE_NOFOLLOW, 0640, 0, "/r/f", "" },
	{ sys_fchmod, { 7, 0640 }, FILE_OP_CHMOD, 0, 0640, 0, "/r/fd", "" },
	{ sys_chown, { P("/r/f"), 1, ~0ull }, FILE_OP_CHOWN, 0, 1, UINT32_MAX, "/r/f", "" },
	{ sys_lchown, { P("/r/f"), 1, 2 }, FILE_OP_CHOWN, FILE_NOFOLLOW, 1, 2, "/r/f", "" },
	{ sys_fchownat, { 7, P(""), 1, 2, AT_EMPTY_PATH }, FILE_OP_CHOWN, 0, 1, 2, "/r/fd", "" },
	{ sys_fchownat, { 9, P(""), 1, 2, AT_EMPTY_PATH }, FILE_OP_CHOWN, 0, 1, 2, "/r/fd", "" },
	{ sys_fchownat, { CWD, P(""), 1, 2, AT_EMPTY_PATH }, FILE_OP_CHOWN, 0, 1, 2, "/r/fd", "" },
	{ sys_fchown, { 7, 1, 2 }, FILE_OP_CHOWN, 0, 1, 2, "/r/fd", "" },
	{ sys_truncate, { P("/r/f"), 1234 }, FILE_OP_TRUNCATE, 0, 1234, 0, "/r/f", "" },
	{ sys_utimensat, { CWD, P("/r/f"), P(some_times), 0 }, FILE_OP_UTIMENS, 0, 1000000002,
		(uint64_t)-500000000, "/r/f", "" },
	{ sys_utimensat, { CWD, P("/r/f"), 0, AT_SYMLINK_NOFOLLOW }, FILE_OP_UTIMENS, FILE_NOFOLLOW,
		FILE_TIME_NOW, FILE_TIME_NOW, "/r/f", "" },
	{ sys_utimensat, { 7, 0, P(now_omit), 0 }, FILE_OP_UTIMENS, 0, FILE_TIME_NOW,
		FILE_TIME_OMIT, "/r/fd", "" },
	{ sys_utimensat, { CWD, P("/r/f"), P(far_times), 0 }, FILE_OP_UTIMENS, 0, INT64_MAX,
		FILE_TIME_OMIT + 1, "/r/f", "" },
	{ sys_utime, { P("/r/f"), P(((struct utimbuf[]){ { 3, 4 } })) }, FILE_OP_UTIMENS, 0,
		3000000000, 4000000000, "/r/f", "" },
	{ sys_utimes, { P("/r/f"), P(((struct timeval[]){ { 3, 1 }, { 4, 2 } })) }, FILE_OP_UTIMENS,
		0, 3000001000, 4000002000, "/r/f", "" },
	{ sys_futimesat, { 7, 0, 0 }, FILE_OP_UTIMENS, 0, FILE_TIME_NOW, FILE_TIME_NOW, "/r/fd",
		"" },
	{ sys_setxattr, { P("/r/f"), P("user.a"), P("value"), 5, XATTR_CREATE }, FILE_OP_SETXATTR,
		0, XATTR_CREATE, 0, "/r/f", "user.a" },
	{ sys_lsetxattr, { P("/r/f"), P("user.a"), 0, 0, 0 }, FILE_OP_SETXATTR, FILE_NOFOLLOW, 0, 0,
		"/r/f", "user.a" },
	{ sys_fsetxattr, { 7, P("user.a"), P("v"), 1, 0 }, FILE_OP_SETXATTR, 0, 0, 0, "/r/fd",
		"user.a" },
	{ sys_removexattr, { P("/r/f"), P("user.a") }, FILE_OP_REMOVEXATTR, 0, 0, 0, "/r/f",
		"user.a" },
	{ sys_lremovexattr, { P("/r/f"), P("user.a") }, FILE_OP_REMOVEXATTR, FILE_NOFOLLOW, 0, 0,
		"/r/f", "user.a" },
	{ sys_fremovexattr, { 7, P("user.a") }, FILE_OP_REMOVEXATTR, 0, 0, 0, "/r/fd", "user.a" },
};

static void each_call_is_put_to_the_agent(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct call c = make_call(rows[i].arg);

		rows[i].call(&c);
		if (asked.op != rows[i].op)
			fail_msg("row %zu: asked %d, answered %d", i, (int)asked.op,
				(int)asked.answer);
		assert_string_equal(asked.path, rows[i].path);
		assert_string_equal(asked.second, rows[i].second);
		if (asked.flags != rows[i].flags || asked.a != rows[i].a || asked.b != rows[i].b)
			fail_msg("row %zu: flags %x, a %llx, b %llx", i, asked.flags,
				(unsigned long long)asked.a, (unsigned long long)asked.b);
		assert_false(asked.continued);
		assert_int_equal(asked.answer, 1);
	}
}

static void an_attributes_value_follows_its_name(void **state)
{
	struct call c = make_call(
		(uint64_t[CALL_ARGS]){ P("/r/f"), P("user.a"), P("va\0ue"), 5, 0 });

	(void)state;
	sys_setxattr(&c);
	assert_int_equal(asked.n, 7 + 5);
	assert_memory_equal(asked.second, "user.a\0va\0ue", 12);
}

/* Without a question: a number is the answer, 1 leaves the call to the kernel. */
static const struct {
	void (*call)(struct call *c);
	uint64_t arg[CALL_ARGS];
	int64_t answer;
} unasked[] = {
	{ sys_unlink, { P("/gone/f") }, -ENOENT },
	{ sys_rename, { P("/"), P("/r/b") }, -EXDEV },
	{ sys_rename, { P("/there-is-none"), P("/r/b") }, -ENOENT },
	{ sys_rename, { P("/r/a"), P("") }, -ENOENT },
	{ sys_rename, { P(""), P("/r/b") }, -ENOENT },
	{ sys_linkat, { CWD, P(""), CWD, P("/r/b"), 0 }, -ENOENT },
	{ sys_rename, { P("/gone/a"), P("/r/b") }, -ENOENT },
	{ sys_mkdir, { 1 }, -EFAULT },
	{ sys_symlink, { P(""), P("/r/l") }, -ENOENT },
	{ sys_symlink, { 1, P("/r/l") }, -EFAULT },
	{ sys_fchmod, { 3, 0 }, 1 },
	{ sys_fchmod, { 8, 0 }, -EROFS },
	{ sys_fchmod, { 9, 0 }, 1 },
	{ sys_fchown, { 9, 1, 1 }, 1 },
	{ sys_utimensat, { 9, 0, 0, 0 }, 1 },
	{ sys_utimensat, { 7, 0, 0, AT_SYMLINK_NOFOLLOW }, 1 },
	{ sys_utimensat, { CWD, 0, 0, 0 }, -EFAULT },
	{ sys_futimesat, { CWD, 0, 0 }, -EFAULT },
	{ sys_fsetxattr, { 9, P("user.a"), P("v"), 1, 0 }, 1 },
	{ sys_fchmodat2, { CWD, P("/r/f"), 0, 0x40000000 }, 1 },
	{ sys_unlinkat, { CWD, P("/r/f"), AT_SYMLINK_FOLLOW }, 1 },
	{ sys_linkat, { CWD, P("/r/a"), CWD, P("/r/b"), 0x40000000 }, 1 },
	{ sys_truncate, { P("/r/f"), (uint64_t)-1 }, -EINVAL },
	{ sys_utimensat, { CWD, P("/r/f"), 1 }, -EFAULT },
	{ sys_utimensat, { CWD, P("/r/f"), P(((struct timespec[]){ { 1, -1 }, { 1, 1 } })) },
		-EINVAL },
	{ sys_utimes, { P("/r/f"), P(((struct timeval[]){ { 1, 0 }, { 1, 1000000 } })) }, -EINVAL },
	{ sys_setxattr, { P("/r/f"), P("user.a"), P("v"), XATTR_SIZE_MAX + 1 }, -E2BIG },
	{ sys_setxattr, { P("/r/f"), P(""), P("v"), 1 }, -ERANGE },
	{ sys_setxattr, { P("/r/f"), P("user.a"), 1, 1 }, -EFAULT },
	{ sys_ftruncate, { 7, 0 }, 1 },
	{ sys_fsync, { 7 }, 1 },
	{ sys_sync, { 0 }, 1 },
	{ sys_msync, { 0, 0, MS_ASYNC }, 1 },
};

static void what_is_not_for_the_agent(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(unasked); i++) {
		struct call c = make_call(unasked[i].arg);

		unasked[i].call(&c);
		if (asked.op || asked.answer != unasked[i].answer ||
			asked.continued != (unasked[i].answer == 1))
			fail_msg("row %zu: asked %d, answered %d, continued %d", i, (int)asked.op,
				(int)asked.answer, asked.continued);
	}
}

/* Which arguments are paths, of calls that are about local files. */
static const struct {
	void (*call)(struct call *c);
	uint64_t arg[CALL_ARGS];
	unsigned paths;
} here[] = {
	{ sys_mkdir, { P("/a"), 0777 }, 1 << 0 },
	{ sys_mkdirat, { CWD, P("/a"), 0777 }, 1 << 1 },
	{ sys_mknod, { P("/a"), 0666 }, 1 << 0 },
	{ sys_unlink, { P("/a") }, 1 << 0 },
	{ sys_rmdir, { P("/a") }, 1 << 0 },
	{ sys_unlinkat, { CWD, P("/a"), 0 }, 1 << 1 },
	{ sys_rename, { P("/a"), P("/b") }, 1 << 0 | 1 << 1 },
	{ sys_renameat, { CWD, P("/a"), CWD, P("/b") }, 1 << 1 | 1 << 3 },
	{ sys_renameat2, { CWD, P("/a"), CWD, P("/b"), 0 }, 1 << 1 | 1 << 3 },
	{ sys_link, { P("/a"), P("/b") }, 1 << 0 | 1 << 1 },
	{ sys_linkat, { CWD, P("/a"), CWD, P("/b"), 0 }, 1 << 1 | 1 << 3 },
	{ sys_symlink, { P("/r/text"), P("/b") }, 1 << 1 },
	{ sys_symlinkat, { P("/r/text"), CWD, P("/b") }, 1 << 2 },
	{ sys_chmod, { P("/a"), 0640 }, 1 << 0 },
	{ sys_fchmodat, { CWD, P("/a"), 0640 }, 1 << 1 },
	{ sys_lchown, { P("/a"), 1, 2 }, 1 << 0 },
	{ sys_fchownat, { CWD, P("/a"), 1, 2, 0 }, 1 << 1 },
	{ sys_truncate, { P("/a"), 0 }, 1 << 0 },
	{ sys_utime, { P("/a"), 0 }, 1 << 0 },
	{ sys_utimes, { P("/a"), 0 }, 1 << 0 },
	{ sys_futimesat, { CWD, P("/a"), 0 }, 1 << 1 },
	{ sys_utimensat, { CWD, P("/a"), 0, 0 }, 1 << 1 },
	{ sys_setxattr, { P("/a"), P("user.a"), P("v"), 1, 0 }, 1 << 0 },
	{ sys_lremovexattr, { P("/a"), P("user.a") }, 1 << 0 },
};

static void local_files_are_the_kernels(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(here); i++) {
		struct call c = make_call(here[i].arg);

		here[i].call(&c);
		if (asked.op || asked.answer != 1 || asked.here != here[i].paths)
			fail_msg("row %zu: asked %d, answered %d, paths %x", i, (int)asked.op,
				(int)asked.answer, asked.here);
	}
}

static void what_has_no_name_gets_one(void **state)
{
	static const uint64_t ways[][CALL_ARGS] = {
		{ CWD, P("/proc/self/fd/1"), CWD, P("/r/b"), AT_SYMLINK_FOLLOW },
		{ 6, P(""), CWD, P("/r/b"), AT_EMPTY_PATH },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(ways); i++) {
		struct call c = make_call(ways[i]);

		is_unnamed = true;
		*named = '\0';
		sys_linkat(&c);
		assert_string_equal(named, "/r/b");
		is_unnamed = false; /* and is not of the tree */
		sys_linkat(&c);
		assert_int_equal(asked.answer, -EXDEV);
		assert_int_equal(asked.op, 0);
	}
}

/* A file of the target cannot come here, but for it to be refused it has to be there. */
static void what_goes_across_is_looked_at(void **state)
{
	static const struct {
		void (*call)(struct call *c);
		uint64_t arg[CALL_ARGS];
		uint32_t flags;
	} across[] = {
		{ sys_rename, { P("/r/a"), P("/b") }, FILE_NOFOLLOW },
		{ sys_link, { P("/r/a"), P("/b") }, FILE_NOFOLLOW },
		{ sys_linkat, { CWD, P("/r/a"), CWD, P("/b"), AT_SYMLINK_FOLLOW }, 0 },
	};
	const struct remote_found found = { .path = "/c/path" };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(across); i++) {
		struct call c = make_call(across[i].arg);

		across[i].call(&c);
		assert_int_equal(asked.op, FILE_OP_STAT);
		assert_int_equal(asked.flags, across[i].flags);
		assert_string_equal(asked.path, "/r/a");
		waiting->answer(waiting, ENOENT, NULL);
		assert_int_equal(asked.answer, -ENOENT);
		waiting->answer(waiting, 0, &found);
		assert_int_equal(asked.answer, -EXDEV);
	}
}

static const struct {
	void (*call)(struct call *c);
	uint64_t arg[CALL_ARGS];
	const char *copies;
} effects[] = {
	{ sys_mkdir, { P("/r/d"), 0777 }, "new /c/path " },
	{ sys_symlink, { P("text"), P("/r/l") }, "new /c/path text" },
	{ sys_unlink, { P("/r/f") }, "remove /c/path" },
	{ sys_rmdir, { P("/r/f") }, "remove /c/path" },
	{ sys_rename, { P("/r/a"), P("/r/b") }, "rename /c/path /c/to 0" },
	{ sys_renameat2, { CWD, P("/r/a"), CWD, P("/r/b"), RENAME_EXCHANGE },
		"rename /c/path /c/to 1" },
	{ sys_link, { P("/r/a"), P("/r/b") }, "new /c/path new /c/to " },
	{ sys_chmod, { P("/r/f"), 0640 }, "attr 100640" },
	{ sys_removexattr, { P("/r/f"), P("user.a") }, "" },
};

/* The copies follow what the agent has done, by the paths that it says, and nothing else. */
static void the_copies_follow(void **state)
{
	const struct file_attr attr = { .mode = S_IFREG | 0640 };
	const struct remote_found found = { .attr = &attr, .path = "/c/path", .more = "/c/to" };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(effects); i++) {
		struct call c = make_call(effects[i].arg);
		uint64_t epoch = tracer.fs.tree.epoch;

		*copies = '\0';
		effects[i].call(&c);
		waiting->answer(waiting, EACCES, NULL);
		assert_int_equal(asked.answer, -EACCES);
		assert_string_equal(copies, "");
		assert_int_equal(tracer.fs.tree.epoch, epoch);
		waiting->answer(waiting, 0, &found);
		assert_int_equal(asked.answer, 0);
		assert_string_equal(copies, effects[i].copies);
		assert_true(tracer.fs.tree.epoch > epoch);
	}
}

static int free_waiting(void **state)
{
	(void)state;
	free(waiting);
	return 0;
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_call_is_put_to_the_agent),
		cmocka_unit_test(an_attributes_value_follows_its_name),
		cmocka_unit_test(what_is_not_for_the_agent),
		cmocka_unit_test(local_files_are_the_kernels),
		cmocka_unit_test(what_goes_across_is_looked_at),
		cmocka_unit_test(what_has_no_name_gets_one),
		cmocka_unit_test(the_copies_follow),
	};

	return cmocka_run_group_tests_name("sys_change", tests, NULL, free_waiting);
}
