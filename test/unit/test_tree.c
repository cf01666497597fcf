/* The tree of copies, on real file systems: each test with a tree on disk and one in memory. What
 * must be the same without privilege runs again in a child that has none. */
#include "../../tracer/tree.c"

#include "../../tracer/tree_content.c"
#include "../../tracer/tree_links.c"
#include "../../tracer/tree_list.c"
#include "../../tracer/tree_place.c"

#include <poll.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>

#include "unit.h"

#define NOBODY 65534

static struct tree tree;
static char place[64];

static struct file_attr attr_of(uint32_t mode, uint64_t ino, uint64_t size)
{
	return (struct file_attr){ .mode = mode,
		.uid = 1234,
		.gid = 4321,
		.nlink = 1,
		.dev = 77,
		.ino = ino,
		.size = size,
		.atime = 1600000000123456789,
		.mtime = 1500000000987654321,
		.ctime = 1550000000000000000 };
}

static void begin_at(const char *where)
{
	struct err e = { "" };

	snprintf(place, sizeof(place), "%s/tree-test.XXXXXX", where);
	assert_non_null(mkdtemp(place));
	if (tree_open(&tree, place, 1 << 20, 4 << 20, &e) < 0)
		fail_msg("%s", e.text);
	assert_int_equal(strncmp(tree.prefix, place, strlen(place)), 0);
}

static void end(void)
{
	assert_true(tree.bytes <= tree.bytes_max);
	tree_close(&tree);
	tree_close(&tree);
	assert_int_equal(rmdir(place), 0); /* nothing is left there */
}

static struct tree_node *put(const char *path, const struct file_attr *attr)
{
	struct tree_node *node = NULL;

	assert_int_equal(tree_put(&tree, path, attr, "target", 6, &node), 0);
	assert_non_null(node);
	return node;
}

static struct stat stat_of(const char *path)
{
	cleanup_fd int fd = tree_at(&tree, path);
	struct stat st;

	assert_true(fd >= 0);
	assert_int_equal(fstat(fd, &st), 0);
	return st;
}

static bool exists(const char *path)
{
	cleanup_fd int fd = tree_at(&tree, path);

	return fd >= 0;
}

static int open_at(const char *path, int flags)
{
	cleanup_fd int fd = tree_at(&tree, path);

	assert_true(fd >= 0);
	return tree_open_copy(&tree, fd, flags);
}

static void fill(const char *path, const struct file_attr *attr, const char *text)
{
	struct tree_content c;

	assert_int_equal(tree_content_begin(&c, &tree, path, 0), 0);
	assert_int_equal(tree_content_data(&c, 0, text, strlen(text)), 0);
	assert_int_equal(tree_content_end(&c, attr, strlen(text), 9), 0);
}

/* A file with content. */
static struct tree_node *put_text(const char *path, uint64_t ino, const char *text)
{
	struct file_attr attr = attr_of(S_IFREG | 0644, ino, strlen(text));
	struct tree_node *node = put(path, &attr);

	fill(path, &attr, text);
	return node;
}

static void assert_text(int fd, const char *text)
{
	char bytes[256];
	ssize_t n = pread(fd, bytes, sizeof(bytes), 0);

	assert_int_equal(n, strlen(text));
	assert_memory_equal(bytes, text, n);
}

static void assert_copy(const char *path, const char *text)
{
	cleanup_fd int fd = open_at(path, O_RDONLY);

	assert_true(fd >= 0);
	assert_text(fd, text);
}

/* --- the tests; each with a tree of its own --- */

static const struct {
	const char *path;
	bool canonical;
} paths[] = {
	{ "/", true },
	{ "/a", true },
	{ "/a/b.c/..d/...", true },
	{ "/\n\x80\xff", true },
	{ "", false },
	{ "a", false },
	{ "//", false },
	{ "/a/", false },
	{ "/a//b", false },
	{ "/.", false },
	{ "/..", false },
	{ "/a/./b", false },
	{ "/a/../b", false },
	{ "/a/..", false },
};

static void paths_are_judged(void)
{
	struct file_attr attr = attr_of(S_IFREG | 0644, 1, 0);
	char deep[PROTO_FILE_PATH_MAX + 2];

	for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
		bool is = tree_is_canonical(paths[i].path, strlen(paths[i].path));

		if (is != paths[i].canonical)
			fail_msg("'%s'", paths[i].path);
		if (!is)
			assert_int_equal(
				tree_put(&tree, paths[i].path, &attr, "", 0, NULL), -EINVAL);
	}
	assert_false(tree_is_canonical("/a\0b", 4));
	memset(deep, 'x', sizeof(deep));
	for (size_t i = 0; i < sizeof(deep); i += 2)
		deep[i] = '/';
	assert_true(tree_is_canonical(deep, PROTO_FILE_PATH_MAX - 1));
	assert_false(tree_is_canonical(deep, PROTO_FILE_PATH_MAX + 1));
}

static void virtual_paths(void)
{
	char path[PATH_MAX];

	assert_string_equal(tree_virtual(&tree, tree.prefix), "/");
	snprintf(path, sizeof(path), "%s/etc/x", tree.prefix);
	assert_string_equal(tree_virtual(&tree, path), "/etc/x");
	snprintf(path, sizeof(path), "%s2", tree.prefix);
	assert_null(tree_virtual(&tree, path));
	assert_null(tree_virtual(&tree, "/etc"));
}

static void attributes_are_shown(void)
{
	static const struct {
		const char *path;
		uint32_t mode;
		uint64_t size;
	} files[] = {
		{ "/etc/app/config", S_IFREG | 0640, 5000 },
		{ "/etc/app", S_IFDIR | 0750, 0 },
		{ "/etc/link", S_IFLNK | 0777, 6 },
		{ "/etc/app/fifo", S_IFIFO | 0600, 0 },
		{ "/etc/app/socket", S_IFSOCK | 0755, 0 },
		{ "/bin/su", S_IFREG | 04755, 1 },
		{ "/large", S_IFREG | 0400, (uint64_t)1 << 40 },
		{ "/none", S_IFREG, 0 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		struct file_attr attr = attr_of(files[i].mode, i, files[i].size);
		struct tree_node *node = put(files[i].path, &attr);
		struct stat st = stat_of(files[i].path);

		assert_int_equal(st.st_mode, files[i].mode);
		if (!S_ISDIR(files[i].mode))
			assert_int_equal(st.st_size, files[i].size);
		if (tree.privileged) {
			assert_int_equal(st.st_uid, attr.uid);
			assert_int_equal(st.st_gid, attr.gid);
		}
		assert_int_equal(st.st_mtim.tv_sec, 1500000000);
		assert_int_equal(st.st_mtim.tv_nsec, 987654321);
		assert_int_equal(st.st_atim.tv_nsec, 123456789);
		assert_true(st.st_blocks < 16);
		assert_int_equal(node->ino, st.st_ino);
		assert_true(node->seen_ns);
		assert_memory_equal(&node->attr, &attr, sizeof(attr));
	}
}

static void times_before_1970(void)
{
	struct file_attr attr = attr_of(S_IFREG | 0644, 1, 0);
	struct stat st;

	attr.mtime = -1;
	put("/old", &attr);
	st = stat_of("/old");
	assert_int_equal(st.st_mtim.tv_sec, -1);
	assert_int_equal(st.st_mtim.tv_nsec, 999999999);
	attr.atime = attr.mtime = INT64_MIN; /* file systems cut it */
	put("/oldest", &attr);
	attr.atime = attr.mtime = INT64_MAX;
	put("/newest", &attr);
}

static void devices(void)
{
	struct file_attr attr = attr_of(S_IFCHR | 0666, 1, 0);
	struct stat st;
	int fd;

	attr.rdev = makedev(1, 3);
	put("/dev/null", &attr);
	st = stat_of("/dev/null");
	if (S_ISCHR(st.st_mode))
		assert_int_equal(st.st_rdev, attr.rdev);
	else
		assert_true(S_ISREG(st.st_mode) && !st.st_size);
	assert_int_equal(put("/dev/null", &attr)->ino, st.st_ino);
	attr = attr_of(S_IFIFO | 0666, 2, 0);
	put("/fifo", &attr);
	assert_int_equal(open_at("/fifo", O_RDONLY), -ENXIO);
	fd = open_at("/fifo", O_PATH);
	assert_true(fd >= 0);
	close(fd);
}

static void impossible_attributes(void)
{
	struct file_attr bad[] = { attr_of(0644, 1, 0), attr_of(S_IFREG | 0644, 1, UINT64_MAX),
		attr_of(S_IFREG | 0644 | 1 << 20, 1, 0), attr_of(S_IFLNK | S_IFDIR | 0777, 1, 0) };
	struct file_attr link = attr_of(S_IFLNK | 0777, 1, 0);
	static char text[PATH_MAX];

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(tree_put(&tree, "/bad", &bad[i], "x", 1, NULL), -EPROTO);
	assert_int_equal(tree_put(&tree, "/bad", &link, "", 0, NULL), -EPROTO);
	assert_int_equal(tree_put(&tree, "/bad", &link, "a\0b", 3, NULL), -EPROTO);
	memset(text, 'x', sizeof(text));
	assert_int_equal(tree_put(&tree, "/bad", &link, text, sizeof(text), NULL), -EPROTO);
	assert_false(exists("/bad"));
	link = attr_of(S_IFREG | 0644, 1, 0);
	assert_int_equal(tree_put(&tree, "/", &link, "", 0, NULL), -EPROTO);
}

/* A size that the file system does not have: all or nothing. */
static void too_large(void)
{
	struct file_attr attr = attr_of(S_IFREG | 0644, 1, INT64_MAX);
	struct tree_listing l;
	int r = tree_put(&tree, "/d/x", &attr, "", 0, NULL);

	if (r == 0)
		return; /* it has */
	assert_true(r == -EFBIG || r == -ENOSPC || r == -EINVAL);
	assert_false(exists("/d/x"));
	assert_int_equal(tree_list_begin(&l, &tree, "/d"), 0);
	assert_int_equal(tree_list_entry(&l, &attr, "x", 1, "", 0), 0);
	assert_int_equal(tree_list_end(&l), 0);
	assert_true(exists("/d/x"));
	assert_int_equal(tree_put(&tree, "/d/x", &attr, "", 0, NULL), r);
}

static void long_names(void)
{
	struct file_attr attr = attr_of(S_IFREG | 0644, 1, 3);
	char path[PROTO_FILE_PATH_MAX + 1];

	memset(path, '\xfe', sizeof(path));
	for (size_t i = 0; i < sizeof(path); i += NAME_MAX + 1)
		path[i] = '/';
	path[sizeof(path) - 1] = '\0';
	put(path, &attr);
	assert_true(exists(path));
	path[NAME_MAX + 1] = 'x';
	assert_int_equal(tree_put(&tree, path, &attr, "", 0, NULL), -EINVAL);
}

static void same_file_same_copy(void)
{
	struct file_attr attr = attr_of(S_IFREG | 0644, 5, 5);
	struct tree_node *node = put_text("/f", 5, "hello"), *again;
	uint64_t ino = node->ino;

	assert_true(node->has_content);
	assert_int_equal(node->version, 9);
	assert_int_equal(tree.bytes, 5);
	again = put("/f", &attr);
	assert_ptr_equal(again, node);
	assert_int_equal(again->version, 9);
	attr.mode = S_IFREG | 0600; /* and nothing else */
	again = put("/f", &attr);
	assert_int_equal(again->version, 9);
	assert_int_equal(stat_of("/f").st_mode, S_IFREG | 0600);
	attr.size = 50;
	attr.mtime += 1000000000;
	again = put("/f", &attr);
	assert_int_equal(again->ino, ino);
	assert_int_equal(again->version, 0);
	assert_int_equal(again->attr.size, 50);
	assert_int_equal(stat_of("/f").st_size, 5);
	assert_int_equal(stat_of("/f").st_mtim.tv_sec, 1500000000);
	assert_copy("/f", "hello");
}

static void an_unnamed_file_becomes_a_copy(void)
{
	struct file_attr attr = attr_of(S_IFREG | 0640, 5, 0);
	cleanup_fd int fd = openat(tree.root, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	struct tree_node *node;

	assert_int_equal(write(fd, "before", 6), 6);
	assert_int_equal(tree_adopt(&tree, "/none", fd, &node), -ENOENT);
	put("/f", &attr);
	assert_int_equal(tree_adopt(&tree, "/f", fd, &node), 0);
	assert_copy("/f", "before");
	assert_int_equal(stat_of("/f").st_mode, S_IFREG | 0640);
	assert_ptr_equal(tree_node(&tree, fd), node);
	assert_true(node->has_content);
	assert_int_equal(node->attr.ino, 5);
	assert_int_equal(tree.nodes.count, 1);
	assert_ptr_equal(put("/f", &attr), node);
}

static void written_copies_stay(void)
{
	struct file_attr attr = attr_of(S_IFREG | 0600, 5, 500);
	struct tree_node *node = put_text("/f", 5, "hello");
	struct stat was = stat_of("/f");

	attr.mtime += 1000000000;
	node->writeback = (void *)1;
	assert_ptr_equal(put("/f", &attr), node);
	assert_int_equal(stat_of("/f").st_mode, S_IFREG | 0600);
	assert_int_equal(stat_of("/f").st_size, 5);
	assert_int_equal(stat_of("/f").st_mtim.tv_sec, was.st_mtim.tv_sec);
	assert_copy("/f", "hello");
	assert_int_equal(node->version, 0);
	tree_remove(&tree, "/f");
	assert_true(node->gone);
	assert_int_equal(tree.bytes, 0);
	assert_int_equal(tree.nodes.count, 1);
	tree_unwritten(&tree, node);
	assert_int_equal(tree.nodes.count, 0);
}

/* Another file at the path: who has the former one open keeps that. */
static void another_file_another_copy(void)
{
	struct file_attr attr = attr_of(S_IFREG | 0644, 6, 3);
	struct tree_node *node;
	cleanup_fd int fd = -1;

	put_text("/f", 5, "hello");
	fd = open_at("/f", O_RDONLY);
	assert_non_null(tree_node(&tree, fd));
	node = put("/f", &attr);
	assert_false(node->has_content);
	assert_int_equal(tree.bytes, 0);
	assert_null(tree_node(&tree, fd));
	assert_text(fd, "hello");
	assert_int_equal(stat_of("/f").st_size, 3);
}

static void types_change(void)
{
	static const uint32_t modes[] = { S_IFREG | 0644, S_IFDIR | 0755, S_IFLNK | 0777,
		S_IFDIR | 0700, S_IFIFO | 0600, S_IFREG | 0644 };

	for (size_t i = 0; i < ARRAY_SIZE(modes); i++) {
		struct file_attr attr = attr_of(modes[i], 10 + i, 6);
		struct file_attr child = attr_of(S_IFREG | 0644, 3, 0);

		put("/x", &attr);
		assert_int_equal(stat_of("/x").st_mode & S_IFMT, modes[i] & S_IFMT);
		if (S_ISDIR(modes[i])) {
			put("/x/a/b/c", &child);
			put("/x/b", &child);
		}
	}
	assert_int_equal(tree.nodes.count, 1);
}

/* A file where there has to be a directory. */
static void directories_on_the_way(void)
{
	struct file_attr attr = attr_of(S_IFREG | 0644, 1, 0), link = attr_of(S_IFLNK | 0777, 2, 6);
	struct file_attr dir = attr_of(S_IFDIR | 0711, 3, 0);
	uint64_t ino;

	put("/a", &attr);
	put("/a/b", &link);
	put("/a/b/c/d", &attr);
	assert_true(S_ISDIR(stat_of("/a/b").st_mode));
	ino = stat_of("/a/b").st_ino;
	put("/a/b", &dir);
	assert_int_equal(stat_of("/a/b").st_ino, ino);
	assert_int_equal(stat_of("/a/b").st_mode, S_IFDIR | (tree.privileged ? 0711 : 0711));
	assert_true(exists("/a/b/c/d"));
	dir.ino++;
	put("/a/b", &dir);
	assert_false(exists("/a/b/c"));
}

/* Nothing follows a link of the tree's. */
static void links_are_not_followed(void)
{
	struct file_attr link = attr_of(S_IFLNK | 0777, 2, 4), attr = attr_of(S_IFREG | 0644, 1, 0);
	cleanup_fd int fd = -1;
	char text[8];

	assert_int_equal(tree_put(&tree, "/up", &link, "/tmp", 4, NULL), 0);
	fd = tree_at(&tree, "/up");
	assert_int_equal(readlinkat(fd, "", text, sizeof(text)), 4);
	assert_int_equal(tree_at(&tree, "/up/x"), -ELOOP);
	assert_int_equal(tree_put(&tree, "/l0", &link, "/tmp", 4, NULL), 0);
	put("/up/tree-test-escaped", &attr);
	assert_int_equal(access("/tmp/tree-test-escaped", F_OK), -1);
	assert_true(S_ISDIR(stat_of("/up").st_mode));
	close_fd(&fd);
	fd = open_at("/l0", O_PATH | O_NOFOLLOW);
	assert_int_equal(readlinkat(fd, "", text, sizeof(text)), 4);
	assert_int_equal(open_at("/l0", O_RDONLY), -ENXIO);
	/* The same file with another text, as when an inode is used again. */
	assert_int_equal(tree_put(&tree, "/l", &link, "one", 3, NULL), 0);
	link.size = 3;
	assert_int_equal(tree_put(&tree, "/l", &link, "two", 3, NULL), 0);
	close_fd(&fd);
	fd = tree_at(&tree, "/l");
	assert_int_equal(readlinkat(fd, "", text, sizeof(text)), 3);
	assert_memory_equal(text, "two", 3);
}

static void modes_do_not_stop_us(void)
{
	struct file_attr attr = attr_of(S_IFREG, 1, 4);
	struct file_attr dir = attr_of(S_IFDIR | 0500, 2, 0);
	cleanup_fd int fd = -1;

	put("/d", &dir);
	put("/d/secret", &attr);
	fill("/d/secret", &attr, "text");
	assert_int_equal(stat_of("/d/secret").st_mode, S_IFREG);
	fd = open_at("/d/secret", O_RDWR);
	assert_true(fd >= 0);
	assert_text(fd, "text");
	assert_int_equal(stat_of("/d/secret").st_mode, S_IFREG);
	attr.size = 400;
	attr.ino++;
	put("/d/secret", &attr);
	attr.size = 500;
	put("/d/secret", &attr);
	assert_int_equal(stat_of("/d/secret").st_size, 500);
}

static void open_copies_are_seen(void)
{
	struct file_attr dir = attr_of(S_IFDIR | 0755, 2, 0);
	cleanup_fd int path = -1, fd = -1;
	void *map;

	put("/d", &dir);
	put_text("/f", 1, "text");
	path = tree_at(&tree, "/f");
	assert_false(tree_is_open(&tree, path));
	fd = tree_open_copy(&tree, path, O_RDONLY);
	assert_true(tree_is_open(&tree, path));
	map = mmap(NULL, 4, PROT_READ, MAP_SHARED, fd, 0);
	close_fd(&fd);
	assert_true(tree_is_open(&tree, path));
	munmap(map, 4);
	assert_false(tree_is_open(&tree, path));
	fd = tree_open_copy(&tree, path, O_PATH);
	assert_false(tree_is_open(&tree, path));
}

/* Someone executes what is just being asked about: that must not cost us our life. */
static void lease_is_broken(void)
{
	cleanup_fd int path = -1, fd = -1;
	struct pollfd p = { .events = POLLIN };
	int gate[2], status;
	pid_t pid;

	put_text("/f", 1, "text");
	path = tree_at(&tree, "/f");
	fd = tree_open_copy(&tree, path, O_RDONLY);
	assert_false(tree_has_others(fd));
	assert_true(take_lease(fd)); /* as in the midst of it */
	assert_int_equal(pipe2(gate, O_CLOEXEC), 0);
	pid = fork();
	if (pid == 0) {
		close_fd(&fd);
		_exit(open(tree_fd_path(path).text, O_RDONLY | O_NONBLOCK) >= 0);
	}
	close(gate[1]);
	p.fd = gate[0];
	assert_int_equal(poll(&p, 1, 10000), 1); /* it has asked and ended */
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(fcntl(fd, F_SETLEASE, F_UNLCK), 0);
	close(gate[0]);
}

/* --- content --- */

static void content_in_place(void)
{
	struct file_attr attr = attr_of(S_IFREG | 0444, 1, 20);
	struct tree_node *node = put("/f", &attr);
	struct tree_content c;
	uint64_t ino = node->ino;

	assert_int_equal(tree_content_begin(&c, &tree, "/f", 0), 0);
	assert_true(c.beside < 0);
	assert_int_equal(tree_content_data(&c, 2, "cd", 2), 0);
	assert_int_equal(tree_content_data(&c, 0, "ab", 2), 0);
	assert_false(node->has_content);
	assert_int_equal(tree_content_end(&c, &attr, 6, 7), 0);
	assert_int_equal(node->version, 7);
	assert_int_equal(stat_of("/f").st_ino, ino);
	assert_int_equal(stat_of("/f").st_size, 6);
	assert_int_equal(stat_of("/f").st_mtim.tv_sec, 1500000000);
	assert_int_equal(node->held, tree.bytes);
	{
		cleanup_fd int fd = open_at("/f", O_RDONLY);
		char bytes[8];

		assert_int_equal(read(fd, bytes, 8), 6);
		assert_memory_equal(bytes, "abcd\0\0", 6);
	}
	fill("/f", &attr, "short");
	assert_copy("/f", "short");
	assert_int_equal(tree.bytes, 5);
}

static void content_beside(void)
{
	struct file_attr attr = attr_of(S_IFREG | 0644, 1, 5);
	static char hole[9000];
	struct tree_content c;
	cleanup_fd int fd = -1;
	struct stat st;

	put_text("/f", 1, "former");
	fd = open_at("/f", O_RDONLY);
	assert_int_equal(tree_content_begin(&c, &tree, "/f", 0), 0);
	assert_true(c.beside >= 0);
	assert_int_equal(tree_content_data(&c, 0, "n", 1), 0);
	assert_int_equal(tree_content_data(&c, 9000, "w", 1), 0);
	assert_text(fd, "former");
	assert_int_equal(tree_content_end(&c, &attr, 9002, 8), 0);
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_size, 9002);
	memset(hole, 1, sizeof(hole));
	assert_int_equal(pread(fd, hole, 9000, 1), 9000);
	assert_true(hole[0] == 0 && memcmp(hole, hole + 1, 8998) == 0 && hole[8999] == 'w');
	fill("/f", &attr, "x");
	assert_text(fd, "x");
	assert_int_equal(tree.bytes, 1);
}

static void content_from(void)
{
	struct file_attr attr = attr_of(S_IFREG | 0644, 1, 5);
	struct tree_content c;
	cleanup_fd int fd = -1;

	put_text("/f", 1, "0123456789");
	for (int turn = 0; turn < 2; turn++) {
		assert_int_equal(tree_content_begin(&c, &tree, "/f", 5), 0);
		assert_int_equal(tree_content_data(&c, 4, "x", 1), -EPROTO);
		assert_int_equal(tree_content_data(&c, 5, "abc", 3), 0);
		assert_int_equal(tree_content_end(&c, &attr, 8, 8), 0);
		assert_copy("/f", "01234abc");
		assert_int_equal(tree.bytes, 8);
		close_fd(&fd);
		fd = open_at("/f", O_RDWR); /* the second time it is open */
	}
	put("/g", &attr);
	assert_int_equal(tree_content_begin(&c, &tree, "/g", 5), -EINVAL);
}

static void content_is_bounded(void)
{
	static uint8_t bytes[1 << 20];
	struct file_attr attr = attr_of(S_IFREG | 0644, 1, 0);
	struct tree_content c;

	put("/f", &attr);
	assert_int_equal(tree_content_begin(&c, &tree, "/f", 0), 0);
	assert_int_equal(tree_content_data(&c, 0, bytes, sizeof(bytes)), 0);
	assert_int_equal(tree_content_data(&c, sizeof(bytes), "x", 1), -EFBIG);
	tree_content_abort(&c);
	tree_content_abort(&c);
	assert_int_equal(tree.bytes, 0);
	assert_int_equal(stat_of("/f").st_size, 0);
	assert_int_equal(stat_of("/f").st_blocks, 0);

	/* Single bytes, each with a block of its own. */
	assert_int_equal(tree_content_begin(&c, &tree, "/f", 0), 0);
	for (uint64_t i = 1; tree_content_data(&c, i * 8192, "x", 1) == 0; i++)
		assert_true(i < 256);
	tree_content_abort(&c);

	tree.bytes_max = 10;
	assert_int_equal(tree_content_begin(&c, &tree, "/f", 0), 0);
	assert_int_equal(tree_content_data(&c, 0, bytes, 10), 0);
	assert_int_equal(tree_content_data(&c, 10, bytes, 1), -EDQUOT);
	tree_content_abort(&c);
	assert_int_equal(tree.bytes, 0);
}

static void impossible_content(void)
{
	struct file_attr attr = attr_of(S_IFREG | 0644, 1, 3), dir = attr_of(S_IFDIR | 0755, 1, 3);
	struct tree_content c;

	put("/f", &attr);
	assert_int_equal(tree_content_begin(&c, &tree, "/f", 0), 0);
	assert_int_equal(tree_content_data(&c, UINT64_MAX, "x", 1), -EPROTO);
	assert_int_equal(tree_content_data(&c, INT64_MAX, "x", 1), -EPROTO);
	assert_true(tree_content_data(&c, INT64_MAX - 1, "x", 1) <= 0);
	assert_int_equal(tree_content_end(&c, &attr, UINT64_MAX, 1), -EPROTO);
	assert_int_equal(tree.bytes, 0);
	assert_int_equal(stat_of("/f").st_size, 3);
	assert_int_equal(tree_content_begin(&c, &tree, "/f", 0), 0);
	assert_int_equal(tree_content_end(&c, &dir, 0, 1), -EPROTO);
	assert_int_equal(tree_content_begin(&c, &tree, "/none", 0), -ENOENT);
	assert_int_equal(tree_content_begin(&c, &tree, "/", 0), -EINVAL);
	tree_content_abort(&c);
}

/* Two contents for one copy: whoever is complete first has asked last, or at the same time. */
static void contents_at_once(void)
{
	struct file_attr attr = attr_of(S_IFREG | 0644, 1, 3);
	struct tree_content a, b;

	for (int first = 0; first < 2; first++) {
		put("/f", &attr);
		assert_int_equal(tree_content_begin(&a, &tree, "/f", 0), 0);
		assert_int_equal(tree_content_begin(&b, &tree, "/f", 0), 0);
		assert_true(a.beside < 0 && b.beside >= 0);
		assert_int_equal(tree_content_data(&a, 0, "long text", 9), 0);
		assert_int_equal(tree_content_data(&b, 0, "new", 3), 0);
		assert_int_equal(tree_content_end(first ? &a : &b, &attr, first ? 9 : 3, 1), 0);
		assert_copy("/f", first ? "long text" : "new");
		assert_int_equal(tree_content_data(first ? &b : &a, 3, "late", 4), 0);
		assert_int_equal(tree_content_end(first ? &b : &a, &attr, 7, 2), 0);
		assert_copy("/f", first ? "long text" : "new");
		assert_int_equal(tree.bytes, first ? 9 : 3);
		tree_remove(&tree, "/f");
		assert_int_equal(tree.bytes, 0);
	}
}

/* What the guest has written is newer than content that was on its way meanwhile. */
static void content_that_is_older(void)
{
	struct tree_node *node = put_text("/f", 1, "former");
	struct file_attr attr = attr_of(S_IFREG | 0644, 1, 5);
	cleanup_fd int reader = open_at("/f", O_RDONLY);
	struct tree_content c;

	assert_int_equal(tree_content_begin(&c, &tree, "/f", 0), 0);
	assert_int_equal(tree_content_data(&c, 0, "older", 5), 0);
	tree_written(node);
	node->writeback = (void *)1;
	tree_unwritten(&tree, node);
	node = tree_node(&tree, reader);
	assert_non_null(node);
	assert_int_equal(node->writes, tree.writes);
	assert_int_equal(tree_content_end(&c, &attr, 5, 2), 0);
	assert_copy("/f", "former");
	assert_int_equal(node->version, 9);
}

/* Who only adds to a file does not wait for its content: it has its size all the time. */
static void adding_while_content_comes(void)
{
	struct tree_node *node = put_text("/f", 1, "former");
	struct file_attr attr = attr_of(S_IFREG | 0644, 1, 8);
	struct tree_content c;

	put("/f", &attr);
	assert_int_equal(tree_content_begin(&c, &tree, "/f", 0), 0);
	assert_true(c.beside < 0);
	assert_int_equal(stat_of("/f").st_size, 8);
	assert_int_equal(tree_content_data(&c, 0, "what", 4), 0);
	assert_int_equal(stat_of("/f").st_size, 8);
	tree_written(node);
	assert_false(node->filling);
	assert_int_equal(tree_content_data(&c, 4, "ever and more", 13), 0);
	assert_int_equal(stat_of("/f").st_size, 8);
	assert_int_equal(tree_content_end(&c, &attr, 17, 2), -ESTALE);
	assert_false(node->has_content);
	assert_int_equal(stat_of("/f").st_size, 8);
	assert_int_equal(tree.bytes, 0);
}

static void content_of_a_copy_that_goes(void)
{
	struct file_attr attr = attr_of(S_IFREG | 0644, 1, 3),
			 other = attr_of(S_IFREG | 0644, 2, 3);
	struct tree_content c;

	put("/f", &attr);
	assert_int_equal(tree_content_begin(&c, &tree, "/f", 0), 0);
	assert_int_equal(tree_content_data(&c, 0, "abc", 3), 0);
	put("/f", &other);
	assert_int_equal(tree_content_data(&c, 3, "abc", 3), 0);
	assert_int_equal(tree_content_end(&c, &attr, 6, 2), -ESTALE);
	assert_int_equal(tree.bytes, 0);
}

/* A placeholder that is asked about while its content comes. */
static void put_during_content(void)
{
	struct file_attr attr = attr_of(S_IFREG | 0644, 1, 6);
	struct tree_content c;

	put("/f", &attr);
	assert_int_equal(tree_content_begin(&c, &tree, "/f", 0), 0);
	assert_int_equal(tree_content_data(&c, 0, "abcdef", 6), 0);
	attr.size = 2;
	put("/f", &attr);
	attr.size = 6;
	assert_int_equal(tree_content_end(&c, &attr, 6, 2), 0);
	assert_copy("/f", "abcdef");
}

/* What runs cannot be written to. */
static void content_of_a_program(void)
{
	struct file_attr attr = attr_of(S_IFREG | 0755, 1, 0);
	cleanup_fd int source = open("/bin/sleep", O_RDONLY);
	char path[PATH_MAX], bytes[65536];
	struct tree_content c;
	uint64_t at = 0, ino;
	ssize_t n;
	pid_t pid;
	int gate[2];

	put("/prog", &attr);
	ino = stat_of("/prog").st_ino;
	assert_int_equal(tree_content_begin(&c, &tree, "/prog", 0), 0);
	for (; (n = read(source, bytes, sizeof(bytes))) > 0; at += (uint64_t)n)
		assert_int_equal(tree_content_data(&c, at, bytes, (size_t)n), 0);
	assert_int_equal(tree_content_end(&c, &attr, at, 1), 0);
	snprintf(path, sizeof(path), "%s/prog", tree.prefix);
	assert_int_equal(pipe2(gate, O_CLOEXEC), 0);
	pid = fork();
	if (pid == 0) {
		execl(path, "sleep", "60", NULL);
		_exit(1);
	}
	close(gate[1]);
	assert_int_equal(read(gate[0], bytes, 1), 0); /* it has been executed */
	close(gate[0]);
	assert_int_equal(tree_content_begin(&c, &tree, "/prog", 0), 0);
	assert_int_equal(tree_content_data(&c, 0, "new", 3), 0);
	assert_int_equal(tree_content_end(&c, &attr, 3, 2), 0);
	assert_copy("/prog", "new");
	assert_int_not_equal(stat_of("/prog").st_ino, ino);
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(waitpid(pid, &(int){ 0 }, 0), pid);
	assert_int_equal(tree.nodes.count, 1);
}

/* --- lists --- */

static void list(const char *path, const char *names, uint64_t ino)
{
	struct tree_listing l;

	assert_int_equal(tree_list_begin(&l, &tree, path), 0);
	for (const char *p = names; *p; p++) {
		struct file_attr attr = attr_of(S_IFREG | 0644, ino + (uint64_t)*p, 0);

		assert_int_equal(tree_list_entry(&l, &attr, p, 1, "", 0), 0);
	}
	assert_int_equal(tree_list_end(&l), 0);
}

static void listing(void)
{
	struct file_attr dir = attr_of(S_IFDIR | 0755, 1, 0);
	uint64_t ino;

	put("/d", &dir);
	list("/d", "abcde", 100);
	ino = stat_of("/d/c").st_ino;
	assert_true(exists("/d/a") && exists("/d/e"));
	assert_int_equal(stat_of("/d").st_mtim.tv_sec, 1500000000);
	dir.ino = 100 + 'd';
	put("/d/d", &dir); /* is a directory now, with something in it */
	put("/d/d/x", &dir);
	list("/d", "bcz", 100);
	assert_false(exists("/d/a") || exists("/d/d") || exists("/d/e"));
	assert_true(exists("/d/b") && exists("/d/z"));
	assert_int_equal(stat_of("/d/c").st_ino, ino);
	assert_int_equal(stat_of("/d").st_mtim.tv_sec, 1500000000);
	list("/d", "c", 200);
	assert_int_not_equal(tree.nodes.count, 0);
	list("/d", "", 0);
	assert_false(exists("/d/c"));
	assert_int_equal(tree.nodes.count, 1);
	list("/", "", 0);
	assert_int_equal(tree.nodes.count, 0);
}

static void bad_names(void)
{
	static const char *const names[] = { "", ".", "..", "/", "a/b", "/etc", "a/", "../x" };
	struct file_attr dir = attr_of(S_IFDIR | 0755, 1, 0);
	char longest[NAME_MAX + 1];
	struct tree_listing l;

	put("/d", &dir);
	assert_int_equal(tree_list_begin(&l, &tree, "/d"), 0);
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		assert_int_equal(
			tree_list_entry(&l, &dir, names[i], strlen(names[i]), "", 0), -EPROTO);
	assert_int_equal(tree_list_entry(&l, &dir, "a\0b", 3, "", 0), -EPROTO);
	memset(longest, 'n', sizeof(longest));
	assert_int_equal(tree_list_entry(&l, &dir, longest, sizeof(longest), "", 0), -EPROTO);
	assert_int_equal(tree_list_entry(&l, &dir, longest, NAME_MAX, "", 0), 0);
	assert_int_equal(tree_list_entry(&l, &dir, longest, NAME_MAX, "", 0), 0);
	tree_list_abort(&l);
	tree_list_abort(&l);
	assert_int_equal(tree.nodes.count, 2);
}

/* As the agent says it of a directory that may be read but not searched. */
static void half_known_entries(void)
{
	struct file_attr dir = attr_of(S_IFDIR | 0755, 1, 0), file = { .ino = 5 };
	struct file_attr link = { .mode = S_IFLNK, .ino = 6 };
	struct tree_listing l;

	put("/d", &dir);
	assert_int_equal(tree_list_begin(&l, &tree, "/d"), 0);
	assert_int_equal(tree_list_entry(&l, &file, "file", 4, "", 0), 0);
	assert_int_equal(tree_list_entry(&l, &link, "link", 4, "", 0), 0);
	assert_int_equal(tree_list_end(&l), 0);
	assert_true(S_ISREG(stat_of("/d/file").st_mode));
	assert_true(S_ISLNK(stat_of("/d/link").st_mode));
}

static void long_list(void)
{
	struct file_attr dir = attr_of(S_IFDIR | 0755, 1, 0);
	struct tree_listing l;
	char name[16];

	put("/d", &dir);
	for (int turn = 0; turn < 2; turn++) {
		uint64_t start = now_ns();

		assert_int_equal(tree_list_begin(&l, &tree, "/d"), 0);
		for (unsigned i = 0; i < 10000; i++) {
			struct file_attr attr = attr_of(S_IFREG | 0644, 2 + i, i);
			int n = snprintf(name, sizeof(name), "file%u", i * 7919 % 10000);

			assert_int_equal(tree_list_entry(&l, &attr, name, (size_t)n, "", 0), 0);
		}
		assert_int_equal(tree_list_end(&l), 0);
		print_message("# 10,000 entries, %s: %.1f ms\n", turn ? "again" : "new",
			(double)(now_ns() - start) / 1e6);
	}
	assert_int_equal(tree.nodes.count, 10001);
}

/* A directory that is replaced while it is listed. */
static void listing_of_what_goes(void)
{
	struct file_attr dir = attr_of(S_IFDIR | 0755, 1, 0);
	struct tree_listing l;

	put("/d", &dir);
	list("/d", "ab", 100);
	assert_int_equal(tree_list_begin(&l, &tree, "/d"), 0);
	dir.ino = 2;
	put("/d", &dir);
	assert_int_equal(tree_list_entry(&l, &dir, "x", 1, "", 0), -ENOENT);
	tree_list_end(&l);
	assert_int_equal(tree.nodes.count, 1);
}

/* --- several names of one file --- */

static struct file_attr attr_of_links(uint64_t ino, uint32_t nlink)
{
	struct file_attr attr = attr_of(S_IFREG | 0644, ino, 4);

	attr.nlink = nlink;
	return attr;
}

static void assert_no_links(void)
{
	assert_int_equal(tree.linked.count, 0);
	assert_int_equal(tree.more, 0);
	assert_int_equal(unlinkat(tree.base, "links", AT_REMOVEDIR), 0);
	assert_int_equal(mkdirat(tree.base, "links", 0700), 0);
	close_fd(&tree.links);
	tree.links = openat(tree.base, "links", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

static void names_of_one_file(void)
{
	struct file_attr attr = attr_of_links(5, 3);
	struct tree_node *node = put("/a", &attr);
	cleanup_fd int fd = -1;

	assert_true(stat_of("/a").st_nlink > 1);
	fill("/a", &attr, "text");
	assert_ptr_equal(put("/d/b", &attr), node);
	assert_ptr_equal(put("/c", &attr), node);
	assert_int_equal(stat_of("/d/b").st_ino, stat_of("/a").st_ino);
	assert_copy("/c", "text");
	assert_int_equal(node->version, 9);
	fd = open_at("/a", O_RDWR);
	assert_int_equal(pwrite(fd, "next", 4, 0), 4);
	assert_copy("/d/b", "next");
	assert_int_equal(tree.bytes, 4);
	tree_remove(&tree, "/a");
	assert_ptr_equal(tree_node(&tree, fd), node);
	assert_ptr_equal(put("/a", &attr), node);
	tree_rename(&tree, "/a", "/c", false); /* of one name to another */
	assert_copy("/c", "next");
	tree_remove(&tree, "/d"); /* with a name in it */
	assert_copy("/c", "next");
	tree_remove(&tree, "/c");
	assert_null(tree_node(&tree, fd));
	assert_int_equal(tree.nodes.count, 0);
	assert_int_equal(tree.bytes, 0);
	assert_no_links();
}

static void a_name_of_another_file(void)
{
	struct file_attr attr = attr_of_links(5, 2), other = attr_of_links(6, 1);
	struct tree_node *node = put("/a", &attr);

	put("/b", &attr);
	assert_ptr_not_equal(put("/b", &other), node);
	assert_int_not_equal(stat_of("/b").st_ino, stat_of("/a").st_ino);
	attr.nlink = 1; /* is known now */
	put("/a", &attr);
	assert_int_equal(stat_of("/a").st_nlink, 1);
	assert_no_links();
	attr.nlink = 2;
	assert_ptr_equal(put("/a", &attr), node);
	assert_ptr_equal(put("/b", &attr), node);
	other = attr_of(S_IFDIR | 0755, 7, 0);
	put("/a", &other);
	put("/b", &other);
	assert_no_links();
}

/* The second name is found before it is known that the first has got one. */
static void names_come_together(void)
{
	struct file_attr attr = attr_of_links(5, 1);
	struct tree_node *first = put("/a", &attr), *second;
	cleanup_fd int fd = -1;

	attr.nlink = 2;
	second = put("/b", &attr);
	assert_ptr_not_equal(second, first);
	assert_ptr_equal(put("/a", &attr), second);
	assert_int_equal(tree.nodes.count, 1);

	attr = attr_of_links(6, 1);
	first = put("/c", &attr);
	fd = open_at("/c", O_RDONLY); /* it has to be what it is */
	attr.nlink = 2;
	put("/d", &attr);
	assert_ptr_equal(put("/c", &attr), first);
	assert_ptr_equal(put("/d", &attr), first);
	assert_ptr_equal(put("/c", &attr), first);
}

/* As after link(2): the name that was known is told first. */
static void another_name_of_what_is_open(void)
{
	struct file_attr attr = attr_of_links(5, 2);
	struct tree_node *node = put_text("/a", 5, "text");
	cleanup_fd int fd = open_at("/a", O_RDONLY);

	assert_ptr_equal(put("/a", &attr), node);
	assert_ptr_equal(put("/d/b", &attr), node);
	assert_copy("/d/b", "text");
	assert_int_equal(stat_of("/d/b").st_ino, node->ino);
	assert_ptr_equal(tree_node(&tree, fd), node);
	assert_ptr_equal(put("/d", &attr), node); /* what was there is gone */
	assert_copy("/d", "text");
	tree_remove(&tree, "/d");
	put("/a/b", &attr); /* as no target can have it */
	assert_true(S_ISDIR(stat_of("/a").st_mode));
}

/* Names are bounded as copies are. */
static void names_are_counted(void)
{
	struct file_attr attr = attr_of_links(5, 100);

	put("/a", &attr);
	put("/b", &attr);
	assert_int_equal(tree.more, 1);
	tree.more += TREE_COPIES_MAX;
	assert_int_equal(tree_put(&tree, "/c", &attr, "", 0, NULL), -ENOSPC);
	assert_false(exists("/c"));
	tree.more -= TREE_COPIES_MAX;
	put("/c", &attr);
	assert_int_equal(tree.more, 2);
}

static void names_in_a_list(void)
{
	struct file_attr dir = attr_of(S_IFDIR | 0755, 1, 0), attr = attr_of_links(5, 2);
	struct tree_listing l;

	put("/d", &dir);
	for (int turn = 0; turn < 2; turn++) {
		assert_int_equal(tree_list_begin(&l, &tree, "/d"), 0);
		assert_int_equal(tree_list_entry(&l, &attr, "a", 1, "", 0), 0);
		assert_int_equal(tree_list_entry(&l, &attr, "b", 1, "", 0), 0);
		assert_int_equal(tree_list_end(&l), 0);
		assert_int_equal(stat_of("/d/a").st_ino, stat_of("/d/b").st_ino);
		assert_int_equal(tree.nodes.count, 2);
	}
	list("/d", "", 0);
	assert_no_links();
}

/* --- a directory's times --- */

static void assert_time(const char *path, int64_t seconds)
{
	if (stat_of(path).st_mtim.tv_sec != seconds)
		fail_msg("'%s' has another time", path);
}

static void directories_keep_their_times(void)
{
	struct file_attr dir = attr_of(S_IFDIR | 0755, 1, 0), attr = attr_of(S_IFREG | 0644, 2, 0);

	put("/", &dir);
	put("/d", &dir);
	put("/d/new", &attr);
	assert_time("/d", 1500000000);
	attr.ino++;
	put("/d/new", &attr); /* another */
	assert_time("/d", 1500000000);
	dir.ino++;
	put("/d/new", &dir);
	put("/d/on/the/way", &attr);
	put("/d/new/x", &attr);
	assert_time("/d", 1500000000);
	assert_time("/d/new", 1500000000);
	assert_time("/", 1500000000);
	tree_remove(&tree, "/d/new"); /* so it was in the target */
	assert_true(stat_of("/d").st_mtim.tv_sec > 1500000000);
	dir.ino--;
	put("/d", &dir);
	assert_time("/d", 1500000000);
}

/* --- renamed and removed --- */

static void rename_and_remove(void)
{
	struct file_attr dir = attr_of(S_IFDIR | 0755, 1, 0);
	struct tree_node *node;

	node = put_text("/a/f", 2, "text");
	tree_rename(&tree, "/a", "/b/c", false);
	assert_copy("/b/c/f", "text");
	assert_ptr_equal(put_text("/b/c/f", 2, "more"), node);
	tree_rename(&tree, "/b/c/f", "/b/c/f", false);
	assert_copy("/b/c/f", "more");
	put_text("/g", 3, "other");
	tree_rename(&tree, "/g", "/b/c/f", false);
	assert_copy("/b/c/f", "other");
	assert_int_equal(tree.bytes, 5);
	put("/d", &dir);
	put_text("/d/x", 4, "x");
	tree_rename(&tree, "/d", "/b/c", true);
	assert_copy("/d/f", "other");
	assert_copy("/b/c/x", "x");
	tree_rename(&tree, "/none", "/d/f", false); /* what is there now is not known */
	assert_false(exists("/d/f"));
	tree_rename(&tree, "/none", "/b/c", true);
	assert_false(exists("/b/c"));
	tree_remove(&tree, "/none/at/all");
	tree_remove(&tree, "/");
	tree_remove(&tree, "/d");
	tree_remove(&tree, "/b");
	assert_int_equal(tree.bytes, 0);
	assert_int_equal(tree.nodes.count, 0);
}

static void deep_trees_go(void)
{
	struct file_attr attr = attr_of(S_IFREG | 0644, 1, 0);
	char path[PROTO_FILE_PATH_MAX + 1] = "";

	for (int i = 0; i < 3; i++) {
		for (size_t n = 0; n + 2 < sizeof(path); n += 2)
			memcpy(path + n, "/x", 3);
		put(path, &attr);
		tree_rename(&tree, "/x", "/y", false);
		path[sizeof(path) - 200] = '\0';
		memcpy(path, "/y", 2);
		tree_rename(&tree, "/z", path, false); /* deeper than any path */
		tree_rename(&tree, "/y", "/z", false);
	}
	tree_remove(&tree, "/z");
	assert_int_equal(tree.nodes.count, 0);
	put(path, &attr); /* and at the end, with all that is in it */
}

static const struct {
	const char *name;
	void (*fn)(void);
} cases[] = {
#define CASE(fn)                                                                                   \
	{                                                                                          \
#fn, fn                                                                            \
	}
	CASE(paths_are_judged),
	CASE(virtual_paths),
	CASE(attributes_are_shown),
	CASE(times_before_1970),
	CASE(devices),
	CASE(impossible_attributes),
	CASE(too_large),
	CASE(long_names),
	CASE(same_file_same_copy),
	CASE(an_unnamed_file_becomes_a_copy),
	CASE(written_copies_stay),
	CASE(another_file_another_copy),
	CASE(types_change),
	CASE(directories_on_the_way),
	CASE(links_are_not_followed),
	CASE(modes_do_not_stop_us),
	CASE(open_copies_are_seen),
	CASE(lease_is_broken),
	CASE(content_in_place),
	CASE(content_beside),
	CASE(content_from),
	CASE(content_is_bounded),
	CASE(impossible_content),
	CASE(contents_at_once),
	CASE(content_that_is_older),
	CASE(adding_while_content_comes),
	CASE(content_of_a_copy_that_goes),
	CASE(put_during_content),
	CASE(content_of_a_program),
	CASE(listing),
	CASE(bad_names),
	CASE(half_known_entries),
	CASE(long_list),
	CASE(listing_of_what_goes),
	CASE(names_of_one_file),
	CASE(a_name_of_another_file),
	CASE(names_come_together),
	CASE(another_name_of_what_is_open),
	CASE(names_are_counted),
	CASE(names_in_a_list),
	CASE(directories_keep_their_times),
	CASE(rename_and_remove),
	CASE(deep_trees_go),
};

static void run_cases(const char *where)
{
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		print_message("# %s: %s\n", where, cases[i].name);
		begin_at(where);
		cases[i].fn();
		end();
	}
}

/* --- where it lives --- */

static bool has_entry(const char *path)
{
	return access(path, F_OK) == 0;
}

/* What a killed supervisor leaves goes, with links that lead out of it; what one that lives has
 * stays. */
static void test_left_over(void **state)
{
	struct file_attr dir = attr_of(S_IFDIR | 0755, 1, 0), link = attr_of(S_IFLNK | 0777, 2, 4);
	char path[PATH_MAX], stale[128], alive[PATH_MAX];
	struct tree other;
	struct err e;

	(void)state;
	begin_at("/tmp");
	put("/d/e/f", &dir);
	assert_int_equal(tree_put(&tree, "/d/link", &link, place, strlen(place), NULL), 0);
	assert_int_equal(tree_open(&other, place, 1, 1, &e), 0);
	strcpy(alive, tree.prefix);
	snprintf(stale, sizeof(stale), "%s/mirrord-trace-%u/1-stale", place, geteuid());
	snprintf(path, sizeof(path), "cp -a '%.*s' '%s'", (int)(strlen(alive) - 5), alive, stale);
	assert_int_equal(system(path), 0);
	assert_true(has_entry(stale));
	tree_close(&other);
	assert_int_equal(tree_open(&other, place, 1, 1, &e), 0);
	assert_false(has_entry(stale));
	assert_true(has_entry(alive));
	assert_true(exists("/d/e/f"));
	tree_close(&other);
	end();
}

/* The mask is the guest's: who it becomes has to go through the directories all the same. */
static void test_umask(void **state)
{
	struct file_attr attr = attr_of(S_IFREG | 0644, 1, 0);
	mode_t mask = umask(077);

	(void)state;
	begin_at("/tmp");
	put("/d/file", &attr);
	umask(mask);
	assert_int_equal(stat_of("/").st_mode, S_IFDIR | 0755);
	assert_int_equal(stat_of("/d").st_mode, S_IFDIR | 0755);
	assert_int_equal(stat_of("/d/file").st_mode, S_IFREG | 0644);
	end();
}

static void assert_refused(const char *dir, const char *because)
{
	struct tree t;
	struct err e = { "" };

	assert_true(tree_open(&t, dir, 1, 1, &e) < 0);
	if (!strstr(e.text, because) || !strstr(e.text, "--fs-dir"))
		fail_msg("%s", e.text);
	tree_close(&t);
}

static void test_bad_places(void **state)
{
	char dir[] = "/tmp/tree-test.XXXXXX", shared[64];

	(void)state;
	assert_non_null(mkdtemp(dir));
	snprintf(shared, sizeof(shared), "%s/mirrord-trace-%u", dir, geteuid());
	assert_refused("/none/at/all", "No such file");
	assert_refused("/proc/self/status", "Not a directory");
	assert_refused("/proc", "/proc");
	assert_int_equal(symlink("/tmp", shared), 0);
	assert_refused(dir, "Not a directory");
	unlink(shared);
	assert_int_equal(mkdir(shared, 0700), 0);
	assert_int_equal(chmod(shared, 0770), 0);
	assert_refused(dir, "open to others");
	if (geteuid() == 0) {
		assert_int_equal(chmod(shared, 0700), 0);
		assert_int_equal(chown(shared, NOBODY, NOBODY), 0);
		assert_refused(dir, "another user's");
	}
	rmdir(shared);
	rmdir(dir);
}

/* In this order, and not where nothing can be executed, or where root's programs cannot go when
 * they have become other users. */
static void test_usual_places(void **state)
{
	char run[] = "/tmp/tree-test.XXXXXX", tmp[] = "/tmp/tree-test.XXXXXX";
	struct tree t;
	struct err e;

	(void)state;
	assert_non_null(mkdtemp(run));
	assert_non_null(mkdtemp(tmp));
	assert_int_equal(chmod(tmp, 0711), 0);
	setenv("XDG_RUNTIME_DIR", run, 1);
	setenv("TMPDIR", tmp, 1);
	assert_int_equal(tree_open(&t, NULL, 1, 1, &e), 0);
	assert_int_equal(strncmp(t.prefix, t.privileged ? tmp : run, strlen(run)), 0);
	tree_close(&t);
	assert_int_equal(chmod(run, 0711), 0);
	assert_int_equal(tree_open(&t, NULL, 1, 1, &e), 0);
	assert_int_equal(strncmp(t.prefix, run, strlen(run)), 0);
	tree_close(&t);
	setenv("XDG_RUNTIME_DIR", "/none", 1);
	assert_int_equal(tree_open(&t, NULL, 1, 1, &e), 0);
	assert_int_equal(strncmp(t.prefix, tmp, strlen(tmp)), 0);
	tree_close(&t);
	if (mount("none", run, "tmpfs", MS_NOEXEC, NULL) == 0) {
		setenv("XDG_RUNTIME_DIR", run, 1);
		assert_int_equal(tree_open(&t, NULL, 1, 1, &e), 0);
		assert_int_equal(strncmp(t.prefix, tmp, strlen(tmp)), 0);
		tree_close(&t);
		assert_int_equal(tree_open(&t, run, 1, 1, &e), 0); /* as he likes */
		tree_close(&t);
		umount(run);
	}
	unsetenv("XDG_RUNTIME_DIR");
	unsetenv("TMPDIR");
	assert_int_equal(rmdir(run), 0);
	assert_int_equal(rmdir(tmp), 0);
}

/* What is mounted in the tree is left alone, and in the way of nothing else. */
static void test_mounted(void **state)
{
	struct file_attr dir = attr_of(S_IFDIR | 0755, 1, 0), attr = attr_of(S_IFREG | 0644, 1, 0);
	cleanup_fd int fd = -1;
	char path[PATH_MAX];

	(void)state;
	begin_at("/tmp");
	put("/a/b", &dir);
	put("/c/d", &dir);
	snprintf(path, sizeof(path), "%s/a/b", tree.prefix);
	if (mount("none", path, "tmpfs", 0, NULL) == 0) {
		fd = open(path, O_PATH);
		assert_int_equal(tree_put(&tree, "/a/b", &attr, "", 0, NULL), -EBUSY);
		assert_true(tree_put(&tree, "/a/b/c", &attr, "", 0, NULL) < 0);
		tree_remove(&tree, "/a"); /* with the mount, which goes on */
		put("/a", &attr);
		put("/c", &attr);
		assert_int_equal(umount2(tree_fd_path(fd).text, MNT_DETACH), 0);
	}
	end();
}

static void test_on_disk(void **state)
{
	(void)state;
	run_cases("/tmp");
}

static void test_in_memory(void **state)
{
	(void)state;
	run_cases("/dev/shm");
}

static void unprivileged(void)
{
	assert_int_equal(setresgid(NOBODY, NOBODY, NOBODY), 0);
	assert_int_equal(setresuid(NOBODY, NOBODY, NOBODY), 0);
	run_cases("/tmp");
	run_cases("/dev/shm");
}

static void test_unprivileged(void **state)
{
	int status;
	pid_t pid;

	(void)state;
	if (geteuid() != 0)
		return;
	pid = fork();
	if (pid == 0) {
		unprivileged();
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_left_over),
		cmocka_unit_test(test_umask),
		cmocka_unit_test(test_bad_places),
		cmocka_unit_test(test_usual_places),
		cmocka_unit_test(test_mounted),
		cmocka_unit_test(test_on_disk),
		cmocka_unit_test(test_in_memory),
		cmocka_unit_test(test_unprivileged),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
