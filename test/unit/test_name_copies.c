/* The files of name resolution in a real tree: what of them need not be asked, what is told to
 * names, and the one that is made. The agent is a stand-in. */
#include "unit.h"

#include "tracer/dns.c"
#include "tracer/name_copies.c"
#include "tracer/resolvconf.c"
#include "tracer/tree.c"
#include "tracer/tree_content.c"
#include "tracer/tree_links.c"
#include "tracer/tree_list.c"
#include "tracer/tree_place.c"

static struct config cfg;
static struct tracer tracer;
static struct tree *tree = &tracer.fs.tree;
static struct name_copies *copies = &tracer.fs.names;
static char place[64];
static unsigned asked, dropped;
static char hosts[64], resolv_conf[64]; /* what names were told last */
static size_t resolv_conf_len;

/* --- stand-ins --- */

void fetch_init(struct fetch *f, struct fs *fs, void (*done)(struct fetch *f, int error))
{
	f->fs = fs;
	f->done = done;
	f->copy = -1;
}

int fetch_start(struct fetch *f, uint32_t want, __attribute__((unused)) uint32_t mode,
	__attribute__((unused)) uint64_t from, __attribute__((unused)) const char *path)
{
	if (tracer.link.mux.lost)
		return -EIO;
	f->want = want;
	asked++;
	return 0;
}

void fetch_drop(struct fetch *f)
{
	fetch_release(f);
	dropped++;
}

void fetch_release(struct fetch *f)
{
	close_fd(&f->copy);
	free(f->path);
	f->path = NULL;
}

void names_resolv_conf(__attribute__((unused)) struct names *n, const char *text, size_t len)
{
	snprintf(resolv_conf, sizeof(resolv_conf), "%.*s", (int)len, text);
	resolv_conf_len = len;
}

void names_hosts(__attribute__((unused)) struct names *n, const char *text, size_t len)
{
	snprintf(hosts, sizeof(hosts), "%.*s", (int)len, text);
}

/* --- a run --- */

static void start(void)
{
	struct err e = { "" };

	tracer = (struct tracer){ .cfg = &cfg, .fs.tracer = &tracer };
	tracer.link.open = tracer.link.hello = true;
	asked = dropped = 0;
	strcpy(hosts, "none");
	strcpy(resolv_conf, "none");
	strcpy(place, "/tmp/name-copies-test.XXXXXX");
	assert_non_null(mkdtemp(place));
	if (tree_open(tree, place, 1 << 20, 4 << 20, &e) < 0)
		fail_msg("%s", e.text);
	assert_int_equal(name_copies_start(copies, &tracer.fs), 0);
}

static void end(void)
{
	name_copies_done(copies);
	tree_close(tree);
	assert_int_equal(rmdir(place), 0);
}

static struct file_attr attr_of(uint64_t ino, const char *text)
{
	return (struct file_attr){
		.mode = S_IFREG | 0644, .nlink = 1, .dev = 77, .ino = ino, .size = strlen(text)
	};
}

/* The agent says what is at the path. */
static void put(const char *path, uint64_t ino, const char *text)
{
	struct file_attr attr = attr_of(ino, text);

	assert_int_equal(tree_put(tree, path, &attr, NULL, 0, NULL), 0);
}

static void fill(const char *path, uint64_t ino, const char *text, uint64_t version)
{
	struct file_attr attr = attr_of(ino, text);
	struct tree_content c;

	put(path, ino, text);
	assert_int_equal(tree_content_begin(&c, tree, path, 0), 0);
	assert_int_equal(tree_content_data(&c, 0, text, strlen(text)), 0);
	assert_int_equal(tree_content_end(&c, &attr, strlen(text), version), 0);
}

/* An open of the file has fetched it from there. */
static void fetched_from(struct name_copy *f, const char *canonical)
{
	struct fetch fetch = { .path = (char *)canonical, .copy = tree_at(tree, canonical) };

	assert_true(fetch.copy >= 0);
	name_copy_fetched(f, &fetch, 0);
	close(fetch.copy);
}

static void make_old(struct name_copy *f)
{
	f->asked_ns -= NAMES_FRESH_MS * UINT64_C(1000000);
}

static bool is_there(const struct name_copy *f, bool content)
{
	cleanup_fd int fd = name_copy_at(f, content);

	return fd >= 0;
}

static void taken_text(const struct name_copy *f, const char *path, const char *text)
{
	struct fetch fetch = { .copy = -1 };
	cleanup_fd int fd = -1;
	char got[64] = "";

	assert_true(name_copy_take(f, &fetch));
	assert_string_equal(fetch.path, path);
	assert_true(S_ISREG(fetch.attr.mode));
	fd = tree_open_copy(tree, fetch.copy, O_RDONLY);
	assert_true(read(fd, got, sizeof(got) - 1) >= 0);
	assert_string_equal(got, text);
	fetch_release(&fetch);
}

/* --- the tests --- */

static void the_table_of_paths(void **state)
{
	(void)state;
	start();
	assert_ptr_equal(name_copies_find(copies, "/etc/hosts"), &copies->file[NAME_COPY_HOSTS]);
	assert_non_null(name_copies_find(copies, "/etc/resolv.conf"));
	assert_non_null(name_copies_find(copies, "/etc/host.conf"));
	assert_null(name_copies_find(copies, "/etc/nsswitch.conf"));
	assert_null(name_copies_find(copies, "/etc/passwd"));
	end();
	assert_null(name_copies_find(copies, "/etc/hosts")); /* not in use */
}

static void two_are_asked_for_at_the_start_and_again(void **state)
{
	struct name_copy *f = &copies->file[NAME_COPY_HOSTS];

	(void)state;
	start();
	assert_int_equal(asked, 2);
	name_copies_ask(copies); /* they are on their way */
	assert_int_equal(asked, 2);
	fill("/etc/hosts", 1, "one", 5);
	f->fetch.path = strdup("/etc/hosts");
	f->fetch.copy = tree_at(tree, "/etc/hosts");
	f->fetch.done(&f->fetch, 0);
	assert_string_equal(hosts, "one");
	assert_null(f->fetch.path);
	name_copies_ask(copies);
	assert_int_equal(asked, 3);
	end();
	assert_int_equal(dropped, 2);
}

static void a_copy_is_fresh_for_a_time(void **state)
{
	struct name_copy *f = &copies->file[NAME_COPY_RESOLV_CONF];

	(void)state;
	start();
	assert_false(is_there(f, false));
	fill("/run/resolv.conf", 1, "one", 5);
	fetched_from(f, "/run/resolv.conf");
	taken_text(f, "/run/resolv.conf", "one");
	make_old(f);
	assert_false(is_there(f, false));
	assert_false(is_there(f, true));
	fetched_from(f, "/run/resolv.conf");
	assert_true(is_there(f, true));
	tree_remove(tree, "/run/resolv.conf");
	assert_false(is_there(f, false));
	end();
}

/* What stat(2) has seen must be what an open after it finds. */
static void content_is_not_older_than_what_was_told_since(void **state)
{
	struct name_copy *f = &copies->file[NAME_COPY_HOSTS];

	(void)state;
	start();
	fill("/etc/hosts", 1, "one", 5);
	fetched_from(f, "/etc/hosts");
	put("/etc/hosts", 1, "one");
	name_copy_told(f, "/etc/hosts");
	assert_true(is_there(f, true)); /* the same */
	put("/etc/hosts", 1, "three");
	name_copy_told(f, "/etc/hosts");
	assert_true(is_there(f, false));
	assert_false(is_there(f, true));
	fill("/etc/hosts", 1, "three", 0); /* changed just now: it may change again unseen */
	fetched_from(f, "/etc/hosts");
	assert_true(is_there(f, true));
	put("/etc/hosts", 1, "three");
	name_copy_told(f, "/etc/hosts");
	assert_false(is_there(f, true));
	put("/etc/hosts", 2, "three"); /* another file */
	assert_false(is_there(f, false));
	put("/run/hosts", 3, "three"); /* at another place */
	name_copy_told(f, "/run/hosts");
	assert_false(is_there(f, false));
	end();
}

static void names_are_told_what_is_new(void **state)
{
	struct name_copy *f = &copies->file[NAME_COPY_HOSTS];

	(void)state;
	start();
	fill("/etc/hosts", 1, "one", 5);
	fetched_from(f, "/etc/hosts");
	assert_string_equal(hosts, "one");
	strcpy(hosts, "none");
	fetched_from(f, "/etc/hosts"); /* the same content */
	assert_string_equal(hosts, "none");
	fill("/etc/hosts", 1, "two", 6);
	fetched_from(f, "/etc/hosts");
	assert_string_equal(hosts, "two");
	name_copy_fetched(f, NULL, EIO);
	assert_string_equal(hosts, "two");
	name_copy_fetched(f, NULL, ENOENT);
	assert_string_equal(hosts, "");
	assert_false(is_there(f, false));
	fetched_from(f, "/etc/hosts"); /* it is back */
	assert_string_equal(hosts, "two");
	assert_string_equal(resolv_conf, "none");
	end();
}

static void a_long_file_is_understood_in_part(void **state)
{
	static char text[NAMES_TEXT_MAX / 2 + 1];
	struct name_copy *f = &copies->file[NAME_COPY_RESOLV_CONF];
	struct file_attr attr = attr_of(1, "");
	struct tree_content c;

	(void)state;
	start();
	tree->file_max = 4 * NAMES_TEXT_MAX;
	memset(text, 'x', sizeof(text) - 1);
	put("/etc/resolv.conf", 1, "");
	assert_int_equal(tree_content_begin(&c, tree, "/etc/resolv.conf", 0), 0);
	for (size_t i = 0; i < 3; i++)
		assert_int_equal(
			tree_content_data(&c, i * (sizeof(text) - 1), text, sizeof(text) - 1), 0);
	attr.size = 3 * (sizeof(text) - 1);
	assert_int_equal(tree_content_end(&c, &attr, attr.size, 1), 0);
	fetched_from(f, "/etc/resolv.conf");
	assert_int_equal(resolv_conf_len, NAMES_TEXT_MAX);
	end();
}

static void without_a_link_what_is_at_hand_will_do(void **state)
{
	struct name_copy *f = &copies->file[NAME_COPY_HOSTS];

	(void)state;
	start();
	fill("/etc/hosts", 1, "one", 5);
	fetched_from(f, "/etc/hosts");
	put("/etc/hosts", 1, "three");
	make_old(f);
	assert_false(is_there(f, true));
	tracer.link.mux.lost = true;
	assert_true(is_there(f, true));
	assert_false(is_there(&copies->file[NAME_COPY_HOST_CONF], true));
	end();
}

static void made_text(const char *want)
{
	char path[PATH_MAX], *own, *made;
	cleanup_fd int fd = open(NSSWITCH, O_RDONLY), copy = -1;
	size_t len, made_len;

	assert_int_equal(name_copies_made(copies, NSSWITCH), 1);
	tree_kernel_path(tree, NSSWITCH, path);
	own = read_text(fd, &len);
	made = nsswitch_make(own, &len);
	free(own);
	copy = open(path, O_RDONLY);
	own = read_text(copy, &made_len);
	assert_int_equal(made_len, len);
	assert_memory_equal(own, made, len);
	assert_non_null(memmem(own, len, want, strlen(want)));
	free(own);
	free(made);
}

static void nsswitch_is_made_and_stays(void **state)
{
	char path[PATH_MAX];
	struct stat a, b;

	(void)state;
	start();
	assert_int_equal(name_copies_made(copies, "/etc/hosts"), 0);
	made_text("\nhosts: files dns\n");
	tree_kernel_path(tree, NSSWITCH, path);
	assert_int_equal(stat(path, &a), 0);
	made_text("\nhosts: files dns\n");
	assert_int_equal(stat(path, &b), 0);
	assert_int_equal(a.st_ino, b.st_ino);
	assert_int_equal(a.st_mode & ALLPERMS, 0644);
	fill(NSSWITCH, 9, "the target's", 5); /* by another way */
	made_text("\nhosts: files dns\n");
	tree_remove(tree, NSSWITCH);
	made_text("\nhosts: files dns\n");
	tree->bytes_max = tree->bytes;
	tree_remove(tree, NSSWITCH);
	tree->bytes_max = 0;
	assert_int_equal(name_copies_made(copies, NSSWITCH), -EDQUOT);
	tree->bytes_max = 4 << 20;
	made_text("\nhosts: files dns\n");
	end();
	assert_int_equal(name_copies_made(copies, NSSWITCH), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_table_of_paths),
		cmocka_unit_test(two_are_asked_for_at_the_start_and_again),
		cmocka_unit_test(a_copy_is_fresh_for_a_time),
		cmocka_unit_test(content_is_not_older_than_what_was_told_since),
		cmocka_unit_test(names_are_told_what_is_new),
		cmocka_unit_test(a_long_file_is_understood_in_part),
		cmocka_unit_test(without_a_link_what_is_at_hand_will_do),
		cmocka_unit_test(nsswitch_is_made_and_stays),
	};

	return cmocka_run_group_tests_name("name copies", tests, NULL, NULL);
}
