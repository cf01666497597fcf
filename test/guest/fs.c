/* fs: makes the file system's calls that it is told to, one on each line of standard input, and
 * prints one line with what came of it: the result, the errno, and what can be seen.
 *
 * The same lines must give the same answers in the target and under the supervisor. So what belongs
 * to a copy (device and inode, change time, blocks, a directory's size) is not printed; whether two
 * names are one file is asked by `same`. The calls are raw: a C library would choose others.
 *
 * A descriptor has a name; "#7" is the descriptor 7 itself, and "cwd" is AT_FDCWD. In a path \xHH
 * is a byte, {x*255} is x 255 times, "empty" is "", "null" and "bad" are pointers to nothing. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "orders.h"

#ifndef SYS_fchmodat2
#define SYS_fchmodat2 452
#endif
#ifndef FALLOC_FL_KEEP_SIZE
#define FALLOC_FL_KEEP_SIZE  1
#define FALLOC_FL_PUNCH_HOLE 2
#endif
#ifndef RENAME_NOREPLACE
#define RENAME_NOREPLACE 1
#define RENAME_EXCHANGE  2
#endif
#define RESOLVE_NO_XDEV       0x01
#define RESOLVE_NO_MAGICLINKS 0x02
#define RESOLVE_NO_SYMLINKS   0x04
#define RESOLVE_BENEATH       0x08
#define RESOLVE_IN_ROOT       0x10
#define RESOLVE_CACHED        0x20
#define STATX_WANTED          0x7ff /* STATX_BASIC_STATS */

#define NAMES_MAX     32
#define LINE_MAX_     16384
#define STRINGS_MAX   (1 << 17)
#define BUFFER_MAX    (1 << 20)
#define TEXT_SHOWN    120   /* bytes; of more the sum is shown */
#define ENTRIES_SHOWN 40    /* of a directory; of more their number and sum */
#define PATIENCE_MS   10000 /* for an event */
#define RECENT_S      86400 /* the fixture's times are older */

/* Of <linux/openat2.h> and <linux/stat.h>, which musl's compiler does not find. */
struct how {
	uint64_t flags, mode, resolve;
};

struct statx_time {
	int64_t s;
	uint32_t ns, spare;
};

struct statx_of_kernel {
	uint32_t mask, blksize;
	uint64_t attributes;
	uint32_t nlink, uid, gid;
	uint16_t mode, spare;
	uint64_t ino, size, blocks, attributes_mask;
	struct statx_time atime, btime, ctime, mtime;
	uint32_t rdev_major, rdev_minor, dev_major, dev_minor;
	uint64_t more[14];
};

struct symbol {
	const char *name;
	int value;
};

#define S(name)                                                                                    \
	{                                                                                          \
#name, name                                                                        \
	}
static const struct symbol errors[] = { S(EACCES), S(EAGAIN), S(EBADF), S(EBUSY), S(EDQUOT),
	S(EEXIST), S(EFAULT), S(EFBIG), S(EINTR), S(EINVAL), S(EIO), S(EISDIR), S(ELOOP), S(EMFILE),
	S(EMLINK), S(ENAMETOOLONG), S(ENODATA), S(ENODEV), S(ENOENT), S(ENOEXEC), S(ENOMEM),
	S(ENOSPC), S(ENOSYS), S(ENOTDIR), S(ENOTEMPTY), S(ENOTTY), S(ENXIO), S(EOPNOTSUPP),
	S(EOVERFLOW), S(EPERM), S(EPIPE), S(ERANGE), S(EROFS), S(ESPIPE), S(ESTALE), S(ETXTBSY),
	S(EXDEV), { 0 } };

static const struct symbol constants[] = { { "rdonly", O_RDONLY }, { "wronly", O_WRONLY },
	{ "rdwr", O_RDWR }, { "creat", O_CREAT }, { "excl", O_EXCL }, { "trunc", O_TRUNC },
	{ "append", O_APPEND }, { "directory", O_DIRECTORY }, { "nofollow", O_NOFOLLOW },
	{ "cloexec", O_CLOEXEC }, { "path", O_PATH }, { "tmpfile", O_TMPFILE },
	{ "nonblock", O_NONBLOCK }, { "noctty", O_NOCTTY }, { "noatime", O_NOATIME },
	{ "sync", O_SYNC }, { "at_nofollow", AT_SYMLINK_NOFOLLOW },
	{ "at_follow", AT_SYMLINK_FOLLOW }, { "at_empty", AT_EMPTY_PATH },
	{ "at_removedir", AT_REMOVEDIR }, { "at_eaccess", AT_EACCESS }, { "f", F_OK },
	{ "r", R_OK }, { "w", W_OK }, { "x", X_OK }, { "set", SEEK_SET }, { "cur", SEEK_CUR },
	{ "end", SEEK_END }, { "data", SEEK_DATA }, { "hole", SEEK_HOLE },
	{ "no_xdev", RESOLVE_NO_XDEV }, { "no_magiclinks", RESOLVE_NO_MAGICLINKS },
	{ "no_symlinks", RESOLVE_NO_SYMLINKS }, { "beneath", RESOLVE_BENEATH },
	{ "in_root", RESOLVE_IN_ROOT }, { "cached", RESOLVE_CACHED },
	{ "noreplace", RENAME_NOREPLACE }, { "exchange", RENAME_EXCHANGE }, { "sh", LOCK_SH },
	{ "ex", LOCK_EX }, { "un", LOCK_UN }, { "nb", LOCK_NB },
	{ "keep_size", FALLOC_FL_KEEP_SIZE }, { "punch_hole", FALLOC_FL_PUNCH_HOLE },
	{ "xattr_create", 1 }, { "xattr_replace", 2 }, { "fifo", S_IFIFO }, { "regular", S_IFREG },
	{ "socket", S_IFSOCK }, { "getfl", F_GETFL }, { "getfd", F_GETFD }, { "setfl", F_SETFL },
	{ 0 } };

static const struct symbol events[] = { S(IN_ACCESS), S(IN_MODIFY), S(IN_ATTRIB), S(IN_CLOSE_WRITE),
	S(IN_CLOSE_NOWRITE), S(IN_OPEN), S(IN_MOVED_FROM), S(IN_MOVED_TO), S(IN_CREATE),
	S(IN_DELETE), S(IN_DELETE_SELF), S(IN_MOVE_SELF), S(IN_IGNORED), { "IN_ISDIR", IN_ISDIR },
	{ 0 } };

static struct {
	char name[16];
	int fd;
} names[NAMES_MAX];

static char strings[STRINGS_MAX]; /* of the line, expanded */
static size_t strings_len;
static char buffer[BUFFER_MAX]; /* what a call has written */

static void fail(const char *what)
{
	printf("fs: cannot understand %s\n", what);
	exit(99);
}

/* ---- words -------------------------------------------------------------------------------------
 */

static const char *error_name(int error)
{
	static char number[16];

	for (const struct symbol *s = errors; s->name; s++)
		if (s->value == error)
			return s->name;
	snprintf(number, sizeof(number), "E%d", error);
	return number;
}

static long value_of(const struct symbol *table, const char *word)
{
	char *end;
	long value;

	for (const struct symbol *s = table; s->name; s++)
		if (strcmp(s->name, word) == 0)
			return s->value;
	value = strtol(word, &end, 0);
	if (end == word || *end)
		fail(word);
	return value;
}

/* "a|b" or a number; a missing word is 0. */
static long flags_of(const struct symbol *table, const char *word)
{
	char copy[128], *save = NULL;
	long value = 0;

	snprintf(copy, sizeof(copy), "%s", word ? word : "0");
	for (char *w = strtok_r(copy, "|", &save); w; w = strtok_r(NULL, "|", &save))
		value |= value_of(table, w);
	return value;
}

static void append(const char *p, size_t n)
{
	if (n > sizeof(strings) - strings_len)
		fail("so long a string");
	memcpy(strings + strings_len, p, n);
	strings_len += n;
}

static void expand(const char *p, const char *end);

/* What "{x*255}" stands for, p being behind its brace; where the rest begins. */
static const char *repeat(const char *p, const char *end)
{
	const char *star = NULL, *close = p;
	int depth = 1;

	for (; close < end; close++) {
		depth += (*close == '{') - (*close == '}');
		if (depth == 0)
			break;
		if (depth == 1 && *close == '*')
			star = close;
	}
	if (depth || !star)
		fail(p);
	for (long times = strtol(star + 1, NULL, 10); times > 0; times--)
		expand(p, star);
	return close + 1;
}

static void expand(const char *p, const char *end)
{
	unsigned byte;
	char c;

	while (p < end)
		if (p[0] == '{') {
			p = repeat(p + 1, end);
		} else if (sscanf(p, "\\x%2x", &byte) == 1) {
			c = (char)byte;
			append(&c, 1);
			p += 4;
		} else {
			append(p++, 1);
		}
}

/* A string of the line, with what was told to be in it; terminated, *n without that. */
static const char *text_of(const char *word, size_t *n)
{
	const char *text = strings + strings_len;

	if (!word)
		fail("a missing word");
	if (strcmp(word, "empty") == 0)
		word = "";
	expand(word, word + strlen(word));
	if (n)
		*n = (size_t)(strings + strings_len - text);
	append("", 1);
	return text;
}

static const char *path_of(const char *word)
{
	if (word && strcmp(word, "null") == 0)
		return NULL;
	if (word && strcmp(word, "bad") == 0)
		return (const char *)8;
	return text_of(word, NULL);
}

/* Of a call that has failed there is none: what is done with it fails, too, and is told. */
static int named(const char *name)
{
	for (int i = 0; i < NAMES_MAX; i++)
		if (strcmp(names[i].name, name) == 0)
			return names[i].fd;
	return -1;
}

static void name_fd(const char *name, int fd)
{
	int i = 0;

	while (i < NAMES_MAX && names[i].name[0] && strcmp(names[i].name, name) != 0)
		i++;
	if (i == NAMES_MAX)
		fail("so many names");
	snprintf(names[i].name, sizeof(names[i].name), "%s", name);
	names[i].fd = fd;
}

static int fd_of(const char *word)
{
	if (!word)
		fail("a missing descriptor");
	if (strcmp(word, "cwd") == 0)
		return AT_FDCWD;
	return word[0] == '#' ? atoi(word + 1) : named(word);
}

/* "now", "omit", or seconds with a fraction of nine digits. */
static struct timespec time_of(const char *word)
{
	struct timespec ts = { 0 };
	long s = 0, ns = 0;

	if (strcmp(word, "now") == 0)
		ts.tv_nsec = UTIME_NOW;
	else if (strcmp(word, "omit") == 0)
		ts.tv_nsec = UTIME_OMIT;
	else if (sscanf(word, "%ld.%9ld", &s, &ns) >= 1)
		ts.tv_sec = s, ts.tv_nsec = ns;
	else
		fail(word);
	return ts;
}

/* ---- what is seen ------------------------------------------------------------------------------
 */

static void print_result(long result)
{
	if (result < 0)
		printf("-1 %s", error_name(errno));
	else
		printf("%ld", result);
}

#define SUM_BEGIN 0xcbf29ce484222325u /* FNV-1a */

static uint64_t sum(uint64_t so_far, const void *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		so_far = (so_far ^ ((const uint8_t *)p)[i]) * 0x100000001b3u;
	return so_far;
}

static void print_text(const char *p, size_t n)
{
	if (n > TEXT_SHOWN) {
		printf(" %zu bytes, sum %016llx", n, (unsigned long long)sum(SUM_BEGIN, p, n));
		return;
	}
	printf(" \"");
	for (size_t i = 0; i < n; i++)
		if (p[i] >= ' ' && p[i] <= '~' && p[i] != '\\' && p[i] != '"')
			putchar(p[i]);
		else
			printf("\\x%02x", (uint8_t)p[i]);
	printf("\"");
}

static const char *type_name(unsigned mode)
{
	switch (mode & S_IFMT) {
	case S_IFREG:
		return "file";
	case S_IFDIR:
		return "directory";
	case S_IFLNK:
		return "link";
	case S_IFIFO:
		return "fifo";
	case S_IFSOCK:
		return "socket";
	case S_IFCHR:
		return "char";
	case S_IFBLK:
		return "block";
	default:
		return "strange";
	}
}

static void print_time(const char *what, struct timespec ts)
{
	if (time(NULL) - ts.tv_sec < RECENT_S)
		printf(" %s now", what);
	else
		printf(" %s %lld.%09ld", what, (long long)ts.tv_sec, ts.tv_nsec);
}

static void print_stat(const struct stat *st)
{
	printf(" %s %04o %u %u", type_name(st->st_mode), st->st_mode & 07777, st->st_uid,
		st->st_gid);
	if (S_ISREG(st->st_mode) || S_ISLNK(st->st_mode))
		printf(" size %lld", (long long)st->st_size);
	if (S_ISCHR(st->st_mode) || S_ISBLK(st->st_mode))
		printf(" device %u,%u", major(st->st_rdev), minor(st->st_rdev));
	print_time("mtime", st->st_mtim);
}

static void print_statx(const struct statx_of_kernel *stx)
{
	struct stat st = { .st_mode = stx->mode,
		.st_uid = stx->uid,
		.st_gid = stx->gid,
		.st_size = (off_t)stx->size,
		.st_rdev = makedev(stx->rdev_major, stx->rdev_minor),
		.st_mtim = { stx->mtime.s, stx->mtime.ns } };

	printf(" mask %x", stx->mask & STATX_WANTED);
	print_stat(&st);
}

static void print_statfs(const struct statfs *sf)
{
	printf(" type %lx bsize %ld frsize %ld namelen %ld blocks %llu files %llu",
		(unsigned long)sf->f_type, (long)sf->f_bsize, (long)sf->f_frsize,
		(long)sf->f_namelen, (unsigned long long)sf->f_blocks,
		(unsigned long long)sf->f_files);
}

/* ---- calls of the table
 * --------------------------------------------------------------------------
 *
 * Each letter of a signature is an argument:
 *   N  none: the word is the name of the descriptor that the call returns
 *   d  a descriptor          p  a path or a name        n  a number or flags; missing: 0
 *   t  bytes and their number (two arguments)           T  two times, or "null"
 *   b  a place of so many bytes and their number, shown as far as the result says
 *   o  struct how and its size: flags, mode, resolve
 *   0  none: a zero          S X V  struct stat, statx, statfs, shown */
struct row {
	const char *name;
	long nr;
	const char *signature;
};

static const struct row rows[] = {
	{ "openat", SYS_openat, "Ndpnn" },
	{ "openat2", SYS_openat2, "Ndpo" },
	{ "close", SYS_close, "d" },
	{ "dup", SYS_dup, "Nd" },
	{ "fcntl", SYS_fcntl, "dnn" },
	{ "read", SYS_read, "db" },
	{ "pread", SYS_pread64, "dbn" },
	{ "write", SYS_write, "dt" },
	{ "pwrite", SYS_pwrite64, "dtn" },
	{ "lseek", SYS_lseek, "dnn" },
	{ "fstat", SYS_fstat, "dS" },
	{ "fstatat", SYS_newfstatat, "dpSn" },
	{ "statx", SYS_statx, "dpnnX" },
	{ "statfs", SYS_statfs, "pV" },
	{ "fstatfs", SYS_fstatfs, "dV" },
	{ "faccessat", SYS_faccessat, "dpn" },
	{ "faccessat2", SYS_faccessat2, "dpnn" },
	{ "readlinkat", SYS_readlinkat, "dpb" },
	{ "chdir", SYS_chdir, "p" },
	{ "fchdir", SYS_fchdir, "d" },
	{ "getcwd", SYS_getcwd, "b" },
	{ "mkdirat", SYS_mkdirat, "dpn" },
	{ "mknodat", SYS_mknodat, "dpnn" },
	{ "unlinkat", SYS_unlinkat, "dpn" },
	{ "renameat2", SYS_renameat2, "dpdpn" },
	{ "linkat", SYS_linkat, "dpdpn" },
	{ "symlinkat", SYS_symlinkat, "pdp" },
	{ "fchmod", SYS_fchmod, "dn" },
	{ "fchmodat", SYS_fchmodat, "dpn" },
	{ "fchmodat2", SYS_fchmodat2, "dpnn" },
	{ "fchown", SYS_fchown, "dnn" },
	{ "fchownat", SYS_fchownat, "dpnnn" },
	{ "utimensat", SYS_utimensat, "dpTn" },
	{ "futimens", SYS_utimensat, "d0Tn" },
	{ "truncate", SYS_truncate, "pn" },
	{ "ftruncate", SYS_ftruncate, "dn" },
	{ "fallocate", SYS_fallocate, "dnnn" },
	{ "fsync", SYS_fsync, "d" },
	{ "fdatasync", SYS_fdatasync, "d" },
	{ "syncfs", SYS_syncfs, "d" },
	{ "flock", SYS_flock, "dn" },
	{ "copy_file_range", SYS_copy_file_range, "d0d0n" },
	{ "sendfile", SYS_sendfile, "dd0n" },
	{ "umask", SYS_umask, "n" },
	{ "getxattr", SYS_getxattr, "ppb" },
	{ "lgetxattr", SYS_lgetxattr, "ppb" },
	{ "fgetxattr", SYS_fgetxattr, "dpb" },
	{ "listxattr", SYS_listxattr, "pb" },
	{ "llistxattr", SYS_llistxattr, "pb" },
	{ "setxattr", SYS_setxattr, "pptn" },
	{ "fsetxattr", SYS_fsetxattr, "dptn" },
	{ "removexattr", SYS_removexattr, "pp" },
	{ "inotify", SYS_inotify_init1, "Nn" },
#ifdef SYS_open /* what an old program calls */
	{ "open", SYS_open, "Npnn" },
	{ "creat", SYS_creat, "Npn" },
	{ "stat", SYS_stat, "pS" },
	{ "lstat", SYS_lstat, "pS" },
	{ "access", SYS_access, "pn" },
	{ "readlink", SYS_readlink, "pb" },
	{ "mkdir", SYS_mkdir, "pn" },
	{ "mknod", SYS_mknod, "pnn" },
	{ "rmdir", SYS_rmdir, "p" },
	{ "unlink", SYS_unlink, "p" },
	{ "rename", SYS_rename, "pp" },
	{ "renameat", SYS_renameat, "dpdp" },
	{ "link", SYS_link, "pp" },
	{ "symlink", SYS_symlink, "pp" },
	{ "chmod", SYS_chmod, "pn" },
	{ "chown", SYS_chown, "pnn" },
	{ "lchown", SYS_lchown, "pnn" },
#endif
};

/* A call on its way: words that are left, arguments so far, and what is to be shown. */
struct call {
	char **word;
	long arg[6];
	int n;
	const char *name; /* of the descriptor that it returns */
	char shown;       /* b S X V, or 0 */
	struct how how;
	struct timespec times[2];
};

static char *next_word(struct call *c)
{
	return *c->word ? *c->word++ : NULL;
}

static void add(struct call *c, long arg)
{
	if (c->n == (int)(sizeof(c->arg) / sizeof(c->arg[0])))
		fail("so many arguments");
	c->arg[c->n++] = arg;
}

static void add_buffer(struct call *c)
{
	long size = flags_of(constants, next_word(c));

	if (size < 0 || size > BUFFER_MAX)
		fail("so large a buffer");
	memset(buffer, 0xee, sizeof(buffer));
	add(c, (long)buffer);
	add(c, size);
}

static void add_times(struct call *c)
{
	char *first = next_word(c), *second;

	if (first && strcmp(first, "null") == 0) {
		add(c, 0);
		return;
	}
	second = next_word(c);
	if (!second)
		fail("one time");
	c->times[0] = time_of(first);
	c->times[1] = time_of(second);
	add(c, (long)c->times);
}

static void add_text(struct call *c)
{
	size_t n;

	add(c, (long)text_of(next_word(c), &n));
	add(c, (long)n);
}

static void add_how(struct call *c)
{
	c->how.flags = (uint64_t)flags_of(constants, next_word(c));
	c->how.mode = (uint64_t)flags_of(constants, next_word(c));
	c->how.resolve = (uint64_t)flags_of(constants, next_word(c));
	add(c, (long)&c->how);
	add(c, sizeof(c->how));
}

static void add_argument(struct call *c, char kind)
{
	switch (kind) {
	case 'N':
		c->name = next_word(c);
		break;
	case 'd':
		add(c, fd_of(next_word(c)));
		break;
	case 'p':
		add(c, (long)path_of(next_word(c)));
		break;
	case 'n':
		add(c, flags_of(constants, next_word(c)));
		break;
	case '0':
		add(c, 0);
		break;
	case 't':
		add_text(c);
		break;
	case 'T':
		add_times(c);
		break;
	case 'o':
		add_how(c);
		break;
	case 'b':
		c->shown = kind;
		add_buffer(c);
		break;
	default:
		c->shown = kind;
		memset(buffer, 0xee, sizeof(struct statx_of_kernel));
		add(c, (long)buffer);
	}
}

static void show(const struct call *c, long result)
{
	switch (c->shown) {
	case 'b':
		print_text(buffer, (size_t)result);
		break;
	case 'S':
		print_stat((const void *)buffer);
		break;
	case 'X':
		print_statx((const void *)buffer);
		break;
	case 'V':
		print_statfs((const void *)buffer);
		break;
	default:
		break;
	}
}

static void do_call(const struct row *row, char **words)
{
	struct call c = { .word = words };
	long result;

	for (const char *kind = row->signature; *kind; kind++)
		add_argument(&c, *kind);
	if (*c.word)
		fail(*c.word);
	result = syscall(row->nr, c.arg[0], c.arg[1], c.arg[2], c.arg[3], c.arg[4], c.arg[5]);
	print_result(result);
	if (result >= 0)
		show(&c, result);
	if (c.name)
		name_fd(c.name, (int)result);
}

static void run_line(char *line);

/* ---- what is more than one call
 * ------------------------------------------------------------------ */

/* list NAME: the entries that are left, sorted, each with the type that the kernel gave. */
struct linux_dirent {
	uint64_t ino;
	int64_t off;
	uint16_t reclen;
	uint8_t type;
	char name[];
};

struct entry {
	char name[256];
	uint8_t type;
};

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct entry *)a)->name, ((const struct entry *)b)->name);
}

static void print_entries(struct entry *e, size_t n)
{
	uint64_t all = SUM_BEGIN;

	if (n)
		qsort(e, n, sizeof(*e), by_name);
	printf("%zu", n);
	for (size_t i = 0; i < n; i++) {
		if (n <= ENTRIES_SHOWN) {
			print_text(e[i].name, strlen(e[i].name));
			printf(" %s", type_name((unsigned)e[i].type << 12)); /* DTTOIF() */
		}
		all = sum(all, e[i].name, strlen(e[i].name) + 1);
		all = sum(all, &e[i].type, 1);
	}
	if (n > ENTRIES_SHOWN)
		printf(" entries, sum %016llx", (unsigned long long)all);
}

static struct entry *more_entries(struct entry *e, size_t n)
{
	struct entry *more = realloc(e, n * sizeof(*e));

	if (!more)
		fail("so many entries");
	return more;
}

static void do_list(char **w)
{
	static char dents[32768];
	struct entry *e = NULL;
	size_t n = 0;
	long got;

	while ((got = syscall(SYS_getdents64, fd_of(w[1]), dents, sizeof(dents))) > 0) {
		const struct linux_dirent *d;

		for (long at = 0; at < got; at += d->reclen) {
			d = (const void *)(dents + at);
			if (n % 64 == 0)
				e = more_entries(e, n + 64);
			snprintf(e[n].name, sizeof(e[n].name), "%s", d->name);
			e[n++].type = d->type;
		}
	}
	if (got < 0)
		print_result(got);
	else
		print_entries(e, n);
	free(e);
}

/* sum NAME: all that it can read from here on. */
static void do_sum(char **w)
{
	uint64_t s = SUM_BEGIN;
	long got, total = 0;

	while ((got = syscall(SYS_read, fd_of(w[1]), buffer, sizeof(buffer))) > 0) {
		s = sum(s, buffer, (size_t)got);
		total += got;
	}
	if (got < 0)
		print_result(got);
	else
		printf("%ld bytes, sum %016llx", total, (unsigned long long)s);
}

/* fill NAME TEXT TIMES: so many write(2) of it. */
static void do_fill(char **w)
{
	size_t n;
	const char *text = text_of(w[2], &n);
	long got = 0, total = 0;

	for (long i = flags_of(constants, w[3]); i > 0 && got >= 0; i--) {
		got = syscall(SYS_write, fd_of(w[1]), text, n);
		total += got > 0 ? got : 0;
	}
	print_result(got < 0 ? got : total);
}

static int stat_of(const char *word, struct stat *st)
{
	if (word[0] == '/' || word[0] == '.')
		return (int)syscall(
			SYS_newfstatat, AT_FDCWD, path_of(word), st, AT_SYMLINK_NOFOLLOW);
	return (int)syscall(SYS_fstat, fd_of(word), st);
}

/* same A B: descriptors, or paths, which begin with "/" or "."; a link is not followed. */
static void do_same(char **w)
{
	struct stat a, b;

	if (stat_of(w[1], &a) < 0 || stat_of(w[2], &b) < 0)
		print_result(-1);
	else
		printf("%s", a.st_dev == b.st_dev && a.st_ino == b.st_ino ? "the same file"
									  : "two files");
}

static void do_nlink(char **w)
{
	struct stat st;
	int got = stat_of(w[1], &st);

	print_result(got < 0 ? got : (long)st.st_nlink);
}

static void do_times(char **w)
{
	struct stat st;
	int got = stat_of(w[1], &st);

	print_result(got);
	if (got == 0) {
		print_time("atime", st.st_atim);
		print_time("mtime", st.st_mtim);
	}
}

static const char *fd_path(int fd)
{
	static char path[64];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return path;
}

/* fdlink NAME|cwd: what /proc says of it. */
static void do_fdlink(char **w)
{
	int fd = fd_of(w[1]);
	long got = syscall(SYS_readlinkat, AT_FDCWD,
		fd == AT_FDCWD ? "/proc/self/cwd" : fd_path(fd), buffer, sizeof(buffer));

	print_result(got < 0 ? got : 0);
	if (got >= 0)
		print_text(buffer, (size_t)got);
}

/* reopen NEW NAME FLAGS: by /proc/self/fd. */
static void do_reopen(char **w)
{
	long fd = syscall(SYS_openat, AT_FDCWD, fd_path(fd_of(w[2])), flags_of(constants, w[3]), 0);

	print_result(fd);
	name_fd(w[1], (int)fd);
}

/* give NAME PATH: linkat(2) of what was opened without a name, by /proc. */
static void do_give(char **w)
{
	print_result(syscall(SYS_linkat, AT_FDCWD, fd_path(fd_of(w[1])), AT_FDCWD, path_of(w[2]),
		AT_SYMLINK_FOLLOW));
}

/* map NAME LENGTH private|shared|both [OFFSET]: what is read through a mapping; "both" stores
 * nothing. */
static void do_map(char **w)
{
	size_t length = (size_t)flags_of(constants, w[2]);
	int flags = strcmp(w[3], "shared") == 0 ? MAP_SHARED : MAP_PRIVATE;
	char *p = mmap(NULL, length, PROT_READ, flags, fd_of(w[1]),
		w[4] ? (off_t)flags_of(constants, w[4]) : 0);

	if (p == MAP_FAILED) {
		print_result(-1);
		return;
	}
	printf("0 sum %016llx", (unsigned long long)sum(SUM_BEGIN, p, length));
	munmap(p, length);
}

/* store NAME OFFSET TEXT [sync]: through a shared mapping, in one page. */
static void do_store(char **w)
{
	size_t n;
	const char *text = text_of(w[3], &n);
	long at = flags_of(constants, w[2]), page = sysconf(_SC_PAGESIZE), begin = at - at % page;
	char *p = mmap(NULL, (size_t)page, PROT_READ | PROT_WRITE, MAP_SHARED, fd_of(w[1]), begin);
	int got = 0;

	if (p == MAP_FAILED || (size_t)(at - begin) + n > (size_t)page) {
		print_result(-1);
		return;
	}
	memcpy(p + (at - begin), text, n);
	if (w[4])
		got = msync(p, (size_t)page, MS_SYNC);
	print_result(got);
	munmap(p, (size_t)page);
}

/* watch INOTIFY PATH EVENTS */
static void do_watch(char **w)
{
	long got = syscall(
		SYS_inotify_add_watch, fd_of(w[1]), path_of(w[2]), flags_of(events, w[3]));

	print_result(got);
}

/* event INOTIFY: the next one, of as many as come in one read(2). Which others follow, and how many
 * of them become one, is left to time. */
static void do_event(char **w)
{
	struct pollfd pfd = { .fd = fd_of(w[1]), .events = POLLIN };
	_Alignas(struct inotify_event) char bytes[4096];
	const struct inotify_event *e = (void *)bytes;

	if (poll(&pfd, 1, PATIENCE_MS) != 1 || read(pfd.fd, bytes, sizeof(bytes)) <= 0) {
		printf("none");
		return;
	}
	printf("watch %d", e->wd);
	for (const struct symbol *s = events; s->name; s++)
		if (e->mask & (uint32_t)s->value)
			printf(" %s", s->name);
	if (e->len)
		print_text(e->name, strlen(e->name));
}

/* await NAME TEXT: until the file begins with it. */
static void do_await(char **w)
{
	size_t n;
	const char *text = text_of(w[2], &n);
	char bytes[256];

	for (int ms = 0; ms < PATIENCE_MS && n <= sizeof(bytes); ms++) {
		if (pread(fd_of(w[1]), bytes, n, 0) == (ssize_t)n && memcmp(bytes, text, n) == 0) {
			printf("there");
			return;
		}
		poll(NULL, 0, 1);
	}
	printf("never");
}

static long read_all(int fd)
{
	long total = 0, got;

	while (total < (long)sizeof(buffer) &&
		(got = read(fd, buffer + total, sizeof(buffer) - (size_t)total)) > 0)
		total += got;
	return total;
}

static void run_child(char **w, const int out[2], bool by_fd)
{
	static char *const environment[] = { "PATH=/usr/bin:/bin", NULL };
	int error;

	dup2(out[1], STDOUT_FILENO);
	dup2(out[1], STDERR_FILENO);
	close(out[0]);
	close(out[1]);
	if (by_fd)
		syscall(SYS_execveat, fd_of(w[1]), "", w + 1, environment, AT_EMPTY_PATH);
	else
		syscall(SYS_execve, path_of(w[1]), w + 1, environment);
	error = errno;
	dprintf(STDOUT_FILENO, "-1 %s", error_name(error));
	_exit(126);
}

/* exec PATH ARGUMENT…      fexec NAME ARGUMENT…: in a child; what it says and its status. */
static void do_exec(char **w)
{
	int out[2], status;
	long n;
	pid_t pid;

	fflush(stdout);
	if (pipe2(out, O_CLOEXEC) < 0 || (pid = fork()) < 0) {
		print_result(-1);
		return;
	}
	if (pid == 0)
		run_child(w, out, w[0][0] == 'f');
	close(out[1]);
	n = read_all(out[0]);
	close(out[0]);
	waitpid(pid, &status, 0);
	printf("status %d", WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status));
	print_text(buffer, (size_t)n);
}

/* again NAME…: a new image of this program, which knows those names. */
static void do_again(char **w)
{
	static char words[NAMES_MAX][32];
	char *argv[NAMES_MAX + 2] = { "again" };
	int n = 0;

	while (w[n + 1] && n < NAMES_MAX) {
		snprintf(words[n], sizeof(words[n]), "%.15s=%d", w[n + 1], fd_of(w[n + 1]));
		argv[n + 1] = words[n];
		n++;
	}
	fflush(stdout);
	execv("/proc/self/exe", argv);
	print_result(-1);
}

/* fork: a child goes on with the next lines, up to `exit`; then the parent. The child has answered.
 */
static void do_fork(char **w)
{
	char line[LINE_MAX_];
	pid_t pid;

	(void)w;
	fflush(stdout);
	pid = fork();
	if (pid < 0)
		print_result(pid);
	if (pid == 0)
		printf("child");
	if (pid <= 0)
		return;
	waitpid(pid, NULL, 0);
	if (!read_line(line, sizeof(line)))
		exit(0);
	run_line(line);
}

static void do_exit(char **w)
{
	printf("bye\n");
	exit(w[1] ? atoi(w[1]) : 0);
}

/* mkdtemp TEMPLATE: its name is random, but not what it is. */
static void do_mkdtemp(char **w)
{
	char template[4096];
	struct stat st;

	snprintf(template, sizeof(template), "%s", path_of(w[1]));
	if (!mkdtemp(template) || stat(template, &st) < 0) {
		print_result(-1);
		return;
	}
	printf("0");
	print_stat(&st);
	printf(" %s", rmdir(template) == 0 ? "removed" : error_name(errno));
}

static const struct command commands[] = {
	{ "list", 2, do_list },
	{ "sum", 2, do_sum },
	{ "fill", 4, do_fill },
	{ "same", 3, do_same },
	{ "nlink", 2, do_nlink },
	{ "times", 2, do_times },
	{ "fdlink", 2, do_fdlink },
	{ "reopen", 4, do_reopen },
	{ "give", 3, do_give },
	{ "map", 4, do_map },
	{ "store", 4, do_store },
	{ "watch", 4, do_watch },
	{ "event", 2, do_event },
	{ "await", 3, do_await },
	{ "exec", 2, do_exec },
	{ "fexec", 2, do_exec },
	{ "again", 1, do_again },
	{ "fork", 1, do_fork },
	{ "mkdtemp", 2, do_mkdtemp },
	{ "exit", 1, do_exit },
};

/* ---- lines
 * --------------------------------------------------------------------------------------- */

static void run(char **w)
{
	strings_len = 0;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (strcmp(rows[i].name, w[0]) == 0) {
			do_call(&rows[i], w + 1);
			return;
		}
	if (!run_command(commands, sizeof(commands) / sizeof(commands[0]), w))
		fail(w[0]);
}

static void run_line(char *line)
{
	char *w[ORDER_WORDS_MAX + 1];

	split_line(line, w);
	if (!w[0])
		fail("an empty line");
	run(w);
}

int main(int argc, char **argv)
{
	static char line[LINE_MAX_];

	setvbuf(stdout, NULL, _IOLBF, 0);
	for (int i = 1; i < argc; i++) {
		char *value = strchr(argv[i], '=');

		if (!value)
			fail(argv[i]);
		*value = 0;
		name_fd(argv[i], atoi(value + 1));
	}
	if (strcmp(argv[0], "again") == 0)
		printf("a new image\n");
	while (read_line(line, sizeof(line))) {
		run_line(line);
		printf("\n");
	}
	return 0;
}
