#include "file.h"

#include <errno.h>
#include <limits.h>
#include <linux/magic.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/vfs.h>
#include <sys/xattr.h>
#include <time.h>

#include "resolve.h"
#include "util.h"

struct file_attr file_attr_of(const struct creds *c, const struct stat *st)
{
	return (struct file_attr){
		.mode = st->st_mode,
		.uid = creds_uid_inside(c, st->st_uid),
		.gid = creds_gid_inside(c, st->st_gid),
		.nlink = (uint32_t)st->st_nlink,
		.dev = st->st_dev,
		.ino = st->st_ino,
		.rdev = st->st_rdev,
		.size = (uint64_t)st->st_size,
		.blocks = (uint64_t)st->st_blocks,
		.atime = timespec_to_ns(st->st_atim),
		.mtime = timespec_to_ns(st->st_mtim),
		.ctime = timespec_to_ns(st->st_ctim),
	};
}

static uint64_t xattr_flags(ssize_t names_len)
{
	return names_len == 0 ? FILE_NO_XATTRS : 0;
}

uint64_t file_flags(int fd)
{
	char path[RESOLVE_FD_PATH];

	return xattr_flags(listxattr(resolve_fd_path(fd, path), NULL, 0));
}

uint64_t file_flags_at(int dir, const char *name)
{
	char dir_path[RESOLVE_FD_PATH], path[RESOLVE_FD_PATH + 1 + NAME_MAX];

	snprintf(path, sizeof(path), "%s/%s", resolve_fd_path(dir, dir_path), name);
	return xattr_flags(llistxattr(path, NULL, 0));
}

static bool is_settled(const struct stat *st)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return timespec_to_ns(now) - timespec_to_ns(st->st_ctim) > FILE_SETTLED_NS;
}

/* File systems whose files are made up as they are read. They have no blocks, so that few others
 * need to be asked. */
static bool is_made_up(int fd, const struct stat *st)
{
	static const long made_up[] = { PROC_SUPER_MAGIC, SYSFS_MAGIC, CGROUP_SUPER_MAGIC,
		CGROUP2_SUPER_MAGIC, DEBUGFS_MAGIC, TRACEFS_MAGIC, SECURITYFS_MAGIC, BPF_FS_MAGIC,
		EFIVARFS_MAGIC };
	struct statfs fs;

	if (st->st_blocks)
		return false;
	if (fstatfs(fd, &fs) < 0)
		return true;
	for (size_t i = 0; i < ARRAY_SIZE(made_up); i++) {
		if ((long)fs.f_type == made_up[i])
			return true;
	}
	return false;
}

/* The finalizer of SplitMix64: each bit of the sum so far reaches all of the result. */
static uint64_t mix(uint64_t sum, uint64_t v)
{
	uint64_t x = sum + v + 0x9e3779b97f4a7c15u;

	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
	x = (x ^ x >> 27) * 0x94d049bb133111ebu;
	return x ^ x >> 31;
}

uint64_t file_version(int fd, const struct stat *st)
{
	const uint64_t parts[] = { st->st_dev, st->st_ino, (uint64_t)st->st_size,
		(uint64_t)timespec_to_ns(st->st_mtim), (uint64_t)timespec_to_ns(st->st_ctim) };
	uint64_t sum = 0;

	if (!is_settled(st) || is_made_up(fd, st))
		return 0;
	for (size_t i = 0; i < ARRAY_SIZE(parts); i++)
		sum = mix(sum, parts[i]);
	return sum ? sum : 1;
}

int file_error(int r)
{
	return r == -EMFILE || r == -ENFILE || r == -ENOMEM ? EIO : -r;
}
