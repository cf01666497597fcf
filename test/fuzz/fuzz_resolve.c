/* Paths over a tree with links of all kinds, beside which lies a file that none of them may lead
 * to.
 *
 * What is found is what the kernel finds beneath that root, or its errno; its canonical path leads
 * to it again; and a directory and a name in it lead to what the whole path names. The tree is in a
 * file system that is mounted nowhere, and goes with the process. */
#include "agent/creds.c"
#include "agent/resolve.c"
#include "agent/target.c"

#include "fuzz_root.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct target target = TARGET_NONE;
static struct stat outside;

int LLVMFuzzerInitialize(__attribute__((unused)) int *argc, __attribute__((unused)) char ***argv)
{
	int fs;

	protect_machine();
	fs = make_fs();
	target.root = make_root(fs);
	check(fstatat(fs, "outside", &outside, 0) == 0, "outside");
	close(fs);
	return 0;
}

/* Beneath the root, by nothing of what is tested. ".." is given up with EAGAIN when anything on
 * this machine is renamed or mounted meanwhile. */
static int plain(int dir, const char *path, int flags)
{
	const struct open_how how = { .flags = (uint64_t)(flags | O_PATH | O_CLOEXEC),
		.resolve = RESOLVE_IN_ROOT };
	int fd;

	do
		fd = (int)syscall(SYS_openat2, dir, path, &how, sizeof(how));
	while (fd < 0 && errno == EAGAIN);
	return fd < 0 ? -errno : fd;
}

static bool same(int a, int b)
{
	struct stat x, y;

	if (a < 0 || b < 0)
		return a == b;
	return fstat(a, &x) == 0 && fstat(b, &y) == 0 && x.st_ino == y.st_ino &&
	       x.st_dev == y.st_dev && x.st_ino != outside.st_ino;
}

static void try_path(const char *path, int flags)
{
	cleanup_fd int found = resolve_open(&target, path, O_PATH | flags, 0);
	cleanup_fd int expected = plain(target.root, path, flags), again = -1;
	char name[PATH_MAX];

	require(same(found, expected));
	if (found < 0)
		return;
	require(resolve_name(&target, found, name) > 0 && is_canonical(name));
	again = plain(target.root, name, O_NOFOLLOW);
	require(same(found, again));
}

/* The name in the directory, unless it is none; and the same by the canonical path. */
static void try_place(const char *path)
{
	char whole[PATH_MAX], name[PATH_MAX];
	struct place p = { .dir = -1 };
	size_t n = strlen(path);
	cleanup_fd int expected = -1, found = -1, again = -1, dir = -1;

	strcpy(whole, path);
	while (n > 1 && whole[n - 1] == '/')
		whole[--n] = '\0';
	if (resolve_place(&target, path, &p) < 0)
		return;
	dir = p.dir;
	strcpy(name, p.last);
	name[strcspn(name, "/")] = '\0';
	if (!*name || !strcmp(name, ".") || !strcmp(name, ".."))
		return;
	require(is_canonical(p.path));
	expected = plain(target.root, whole, O_NOFOLLOW);
	found = plain(dir, name, O_NOFOLLOW);
	again = plain(target.root, p.path, O_NOFOLLOW);
	require(same(found, expected) && same(again, expected));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char path[PATH_MAX] = "/";
	size_t n = 1;
	int flags = 0;

	if (size) {
		flags |= data[0] & 1 ? O_NOFOLLOW : 0;
		flags |= data[0] & 2 ? O_DIRECTORY : 0;
	}
	for (size_t i = 1; i < size && n < 2000; i++) {
		if (data[i] < ARRAY_SIZE(tokens))
			n += (size_t)snprintf(path + n, sizeof(path) - n, "%s", tokens[data[i]]);
		else
			path[n++] = (char)data[i];
		path[n] = '\0';
	}
	try_path(path, flags);
	try_place(path);
	return 0;
}
