/* Files that a client opens, reads and writes, beneath a root made for it. */
#include "agent/content.c"
#include "agent/creds.c"
#include "agent/file.c"
#include "agent/file_open.c"
#include "agent/handle.c"
#include "agent/resolve.c"
#include "agent/target.c"

#include <sys/mount.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

#include "agent_client.h"
#include "agent_target.h"

static struct target target = TARGET_NONE;
static struct handles handles;
static int result;

static void message(struct mux *m, const struct msg *msg)
{
	if (msg->type == MSG_file_open)
		result = file_open(&loop, m, &target, &handles, msg);
	else
		handle_message(&handles, msg);
}

static void begin(void)
{
	client_begin(message);
	handles_init(&handles, &mux, &target);
	result = 0;
}

static void end(void)
{
	handles_done(&handles);
	client_end();
}

static int set_up(void **state)
{
	int r = dir_begin(state);

	target.root = openat(dir, ".", O_PATH | O_CLOEXEC);
	return r || mkdirat(dir, "d", 0755) < 0 || symlinkat("f", dir, "link") < 0 ||
	       symlinkat("made", dir, "dangling") < 0 || mkfifoat(dir, "fifo", 0666) < 0 ||
	       mknodat(dir, "device", S_IFCHR | 0666, makedev(1, 3)) < 0 ||
	       mknodat(dir, "socket", S_IFSOCK | 0666, 0) < 0;
}

static int tear_down(void **state)
{
	target_close(&target);
	return dir_end(state);
}

/* As if nobody had touched the file for a while: versions want that. */
static void settle(const char *name)
{
	struct stat st;

	assert_int_equal(fstatat(dir, name, &st, 0), 0);
	while (!is_settled(&st))
		unit_run(&loop, 5);
}

static struct msg open_msg(uint32_t id, uint32_t want, const char *path)
{
	return (struct msg){
		.type = MSG_file_open,
		.id = PROTO_CLIENT_CHANNEL | id,
		.file_open = { .want = want, .mode = 0640, .path = span_of(path) },
	};
}

static void ask(uint32_t want, const char *path)
{
	say(open_msg(1, want, path));
}

/* Give back what was heard; the channel may be over. */
static void give_credit(void)
{
	struct msg m = {
		.type = MSG_credit, .id = PROTO_CLIENT_CHANNEL | 1, .credit.bytes = credit
	};

	if (!credit)
		return;
	credit = 0;
	say(m);
}

/* --- what may be opened --- */

static void an_open_has_the_kernels_errno(void **state)
{
	enum { R = FILE_READ, W = FILE_WRITE, C = FILE_CREATE, C0 = FILE_CONTENT };
	static const struct {
		uint32_t want;
		const char *path, *hears, *name;
	} cases[] = {
		{ R | C0, "/f", "opened(0,2) data(0,5) end(0,5) eof ", "/f" },
		{ R | C0, "/d/../link", "opened(0,2) data(0,5) end(0,5) eof ", "/f" },
		{ C0, "/f", "opened(0,2) data(0,5) end(0,5) eof ", "/f" },
		{ R, "/f", "opened(0,0) eof ", "/f" },
		{ R | FILE_NOFOLLOW, "/link", "opened(ELOOP,0) eof ", NULL },
		{ FILE_PATH | FILE_NOFOLLOW | C0, "/link", "opened(0,0) eof ", "/link" },
		{ R | FILE_DIRECTORY, "/f", "opened(ENOTDIR,0) eof ", NULL },
		{ R, "/f/", "opened(ENOTDIR,0) eof ", NULL },
		{ R, "/no", "opened(ENOENT,0) eof ", NULL },
		{ R, "", "opened(ENOENT,0) eof ", NULL },
		{ R, "/no/x", "opened(ENOENT,0) eof ", NULL },
		{ R | C0, "/d", "opened(0,0) eof ", "/d" },
		{ W, "/d", "opened(EISDIR,0) eof ", NULL },
		{ R | C, "/d", "opened(EISDIR,0) eof ", NULL },
		{ R | W | C, "/new/", "opened(EISDIR,0) eof ", NULL },
		{ W | C, "/f/", "opened(EISDIR,0) eof ", NULL },
		{ W | C, "/f/x", "opened(ENOTDIR,0) eof ", NULL },
		{ W | C, "/fifo/", "opened(EISDIR,0) eof ", NULL },
		{ R | C | FILE_EXCL, "/f", "opened(EEXIST,0) eof ", NULL },
		{ R | C | FILE_EXCL, "/fifo", "opened(EEXIST,0) eof ", NULL },
		{ R | C | FILE_EXCL, "/dangling", "opened(EEXIST,0) eof ", NULL },
		{ R | C | FILE_NOFOLLOW, "/dangling", "opened(ELOOP,0) eof ", NULL },
		{ R | C | C0, "/new", "opened(0,2) end(0,0) eof ", "/new" },
		{ R | C, "/dangling", "opened(0,0) eof ", "/made" },
		{ R, "/fifo", "opened(ENXIO,0) eof ", NULL },
		{ W, "/fifo", "opened(ENXIO,0) eof ", NULL },
		{ R | C, "/fifo", "opened(ENXIO,0) eof ", NULL },
		{ R, "/device", "opened(ENXIO,0) eof ", NULL },
		{ R, "/socket", "opened(ENXIO,0) eof ", NULL },
		{ FILE_PATH, "/fifo", "opened(0,0) eof ", "/fifo" },
		{ FILE_EXEC, "/f", "opened(EACCES,0) eof ", NULL },
		{ FILE_EXEC | C0, "/x", "opened(0,2) data(0,1) end(0,1) eof ", "/x" },
		{ FILE_EXEC, "/d", "opened(EACCES,0) eof ", NULL },
		{ FILE_PATH | FILE_DIRECTORY | FILE_MODIFY, "/d", "opened(0,0) eof ", "/d" },
	};

	(void)state;
	dir_file("f", "hello", 0, 0, 0644);
	dir_file("x", "x", 0, 0, 0755);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		begin();
		ask(cases[i].want, cases[i].path);
		await(cases[i].hears);
		assert_int_equal(result, 0);
		if (cases[i].name)
			assert_string_equal(said, cases[i].name);
		assert_int_equal(mux.channels.count, 0);
		end();
	}
}

static void a_created_file_has_the_mode_that_was_said(void **state)
{
	(void)state;
	begin();
	ask(FILE_WRITE | FILE_CREATE | FILE_EXCL, "/created");
	await("opened(0,0) eof ");
	assert_int_equal(last[MSG_file_opened].file_opened.attr.mode, S_IFREG | 0640);
	end();
}

static void what_no_client_sends_is_refused(void **state)
{
	static const struct msg cases[] = {
		{ .type = MSG_file_open, .id = 1, .file_open.path = { "/f", 2 } },
		{ .type = MSG_file_open, .id = CHANNEL, .file_open.path = { "f", 1 } },
		{ .type = MSG_file_open, .id = CHANNEL, .file_open.path = { "/\0f", 3 } },
		{ .type = MSG_file_open,
			.id = CHANNEL,
			.file_open = { .want = FILE_WANT_ALL + 1, .path = { "/f", 2 } } },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		begin();
		say(cases[i]);
		unit_run(&loop, 1);
		assert_int_equal(result, -EPROTO);
		end();
	}
}

/* --- content --- */

static void content_that_is_known_is_not_sent(void **state)
{
	struct msg m = open_msg(1, FILE_READ | FILE_CONTENT, "/f");

	(void)state;
	begin();
	dir_file("f", "hello", 0, 0, 0644);
	say(m);
	await("opened(0,2) data(0,5) end(0,5) eof ");
	assert_int_equal(last[MSG_file_opened].file_opened.version, 0); /* just written */
	settle("f");
	say(m);
	await("opened(0,2) data(0,5) end(0,5) eof ");
	m.file_open.known = last[MSG_file_opened].file_opened.version;
	assert_int_not_equal(m.file_open.known, 0);
	assert_true(last[MSG_file_end].file_end.version == m.file_open.known);
	say(m);
	await("opened(0,1) eof ");
	dir_file("f", "hallo", 0, 0, 0644);
	settle("f");
	say(m);
	await("opened(0,2) data(0,5) end(0,5) eof ");
	assert_true(last[MSG_file_opened].file_opened.version != m.file_open.known);
	end();
}

static void what_is_known_up_to_an_offset_is_not_sent(void **state)
{
	struct msg m = open_msg(1, FILE_READ | FILE_CONTENT, "/f");

	(void)state;
	begin();
	dir_file("f", "0123456789", 0, 0, 0644);
	m.file_open.from = 7;
	say(m);
	await("opened(0,2) data(7,3) end(0,10) eof ");
	assert_memory_equal(bytes, "789", 3);
	m.file_open.from = 10;
	say(m);
	await("opened(0,2) end(0,10) eof ");
	m.file_open.from = 1000;
	say(m);
	await("opened(0,2) end(0,10) eof ");
	m.file_open.from = UINT64_MAX;
	say(m);
	await("opened(0,2) end(EINVAL,0) eof ");
	end();
}

/* A file larger than the window comes as the client takes it, and nothing is kept meanwhile. */
static void a_large_file_comes_with_credit(void **state)
{
	static uint8_t chunk[1 << 16];
	const size_t size = PROTO_FILE_WINDOW + (4u << 20);
	cleanup_fd int fd = openat(dir, "large", O_RDWR | O_CREAT | O_CLOEXEC, 0644);
	uint64_t random = 7, sum = 0, got = 0;
	size_t total = 0;

	(void)state;
	begin();
	for (size_t n = 0; n < size; n += sizeof(chunk)) {
		for (size_t i = 0; i < sizeof(chunk); i++)
			sum += chunk[i] = (uint8_t)unit_random(&random);
		assert_int_equal(write(fd, chunk, sizeof(chunk)), sizeof(chunk));
	}
	ask(FILE_READ | FILE_CONTENT, "/large");
	run_until(&loop, hear() && credit > PROTO_FILE_WINDOW - CONTENT_ROOM_MIN);
	unit_run(&loop, 5);
	hear();
	assert_true(nbytes < PROTO_FILE_WINDOW);
	assert_int_equal(buf_len(&mux.out), 0);
	while (!strstr(heard, "eof")) {
		for (size_t i = 0; i < nbytes; i++)
			got += bytes[i];
		total += nbytes;
		nbytes = 0;
		heard[0] = '\0';
		give_credit();
		unit_run(&loop, 1);
		hear();
	}
	assert_non_null(strstr(heard, "end(0,71303168) eof "));
	total += nbytes;
	for (size_t i = 0; i < nbytes; i++)
		got += bytes[i];
	assert_int_equal(total, size);
	assert_true(got == sum);
	end();
}

static void holes_cost_nothing(void **state)
{
	cleanup_fd int fd = openat(dir, "sparse", O_RDWR | O_CREAT | O_CLOEXEC, 0644);

	(void)state;
	begin();
	assert_int_equal(ftruncate(fd, 1ll << 40), 0);
	assert_int_equal(pwrite(fd, "x", 1, 1ll << 30), 1);
	ask(FILE_READ | FILE_CONTENT, "/sparse");
	while (!strstr(hear(), "eof")) {
		give_credit();
		unit_run(&loop, 1);
	}
	assert_non_null(strstr(heard, "data(1073741824,"));
	assert_non_null(strstr(heard, "end(0,1099511627776) eof "));
	assert_true(nbytes < (1u << 17));
	end();
}

/* The version of a file that changes while it is read is of neither state. */
static void a_file_that_changes_meanwhile_has_no_version(void **state)
{
	cleanup_fd int fd = openat(dir, "large", O_RDWR | O_CLOEXEC);

	(void)state;
	begin();
	settle("large");
	ask(FILE_READ | FILE_CONTENT, "/large");
	run_until(&loop, nbytes > 0 || (hear(), 0));
	assert_int_not_equal(last[MSG_file_opened].file_opened.version, 0);
	assert_int_equal(pwrite(fd, "changed", 7, 0), 7);
	settle("large");
	while (!strstr(heard, "eof")) {
		nbytes = 0;
		heard[0] = '\0';
		give_credit();
		unit_run(&loop, 1);
		hear();
	}
	assert_int_equal(last[MSG_file_end].file_end.version, 0);
	end();
}

static void a_file_without_a_size_is_read_to_its_end(void **state)
{
	const struct target none = TARGET_NONE;
	struct target kept = target;

	(void)state;
	begin();
	target = none;
	ask(FILE_READ | FILE_CONTENT, "/proc/version");
	run_until(&loop, strstr(hear(), "eof"));
	assert_true(nbytes > 20 && last[MSG_file_end].file_end.size == nbytes);
	assert_int_equal(last[MSG_file_end].file_end.version, 0);
	assert_memory_equal(bytes, "Linux version", 13);
	nbytes = 0;
	heard[0] = '\0';
	ask(FILE_READ | FILE_CONTENT, "/sys/kernel/uevent_seqnum"); /* it says it has 4096 */
	run_until(&loop, strstr(hear(), "eof"));
	assert_true(nbytes > 0 && last[MSG_file_end].file_end.size == nbytes);
	target = kept;
	end();
}

static void a_client_that_resets_is_sent_no_more(void **state)
{
	(void)state;
	begin();
	ask(FILE_READ | FILE_CONTENT, "/large");
	run_until(&loop, nbytes > 0 || (hear(), 0));
	say((struct msg){ .type = MSG_reset, .id = PROTO_CLIENT_CHANNEL | 1 });
	run_until(&loop, mux.channels.count == 0);
	assert_null(strstr(hear(), "eof"));
	end();
}

/* --- directories --- */

static void a_directory_is_listed_with_credit(void **state)
{
	enum { N = 12000 };
	cleanup_fd int d = -1;

	(void)state;
	begin();
	assert_int_equal(mkdirat(dir, "many", 0755), 0);
	d = openat(dir, "many", O_PATH | O_CLOEXEC);
	for (int i = 0; i < N; i++) {
		char name[100];

		snprintf(name, sizeof(name), "a-name-that-is-not-too-short-%060d", i);
		assert_int_equal(mknodat(d, name, S_IFREG | 0600, 0), 0);
	}
	ask(FILE_READ | FILE_LIST, "/many");
	while (!strstr(hear(), "eof")) {
		give_credit();
		unit_run(&loop, 1);
	}
	assert_int_equal(nentries, N);
	assert_non_null(strstr(heard, "opened(0,3) end(0,0) eof "));
	end();
}

static void an_entry_has_attributes_and_a_links_text(void **state)
{
	(void)state;
	begin();
	assert_int_equal(symlinkat("\377 target", dir, "d/l\nink"), 0);
	ask(FILE_READ | FILE_LIST, "/d");
	await("opened(0,3) end(0,0) eof ");
	assert_int_equal(nentries, 1);
	assert_true(S_ISLNK(last[MSG_file_entry].file_entry.attr.mode));
	assert_int_equal(last[MSG_file_entry].file_entry.attr.flags, FILE_NO_XATTRS);
	assert_string_equal(said, "l\nink");
	assert_string_equal(said_more, "\377 target");
	end();
}

static void an_entry_says_whether_it_has_attributes(void **state)
{
	char path[100];

	(void)state;
	begin();
	assert_int_equal(mkdirat(dir, "marked", 0755), 0);
	dir_file("marked/f", "x", 0, 0, 0644);
	snprintf(path, sizeof(path), "%s/marked/f", dir_path);
	assert_int_equal(setxattr(path, "trusted.a", "v", 1, 0), 0);
	ask(FILE_READ | FILE_LIST, "/marked");
	await("opened(0,3) end(0,0) eof ");
	assert_string_equal(said, "f");
	assert_int_equal(last[MSG_file_opened].file_opened.attr.flags, FILE_NO_XATTRS);
	assert_int_equal(last[MSG_file_entry].file_entry.attr.flags, 0);
	end();
}

/* --- writing --- */

static void handle_say(struct msg m)
{
	m.id = PROTO_CLIENT_CHANNEL | 1;
	say(m);
}

static struct msg write_msg(uint64_t offset, const char *s)
{
	return (struct msg){ .type = MSG_file_write,
		.file_write = { .offset = offset, .bytes = span_of(s) } };
}

static struct msg sync_msg(uint32_t request)
{
	return (struct msg){ .type = MSG_file_sync, .file_sync.request = request };
}

static void assert_content(const char *name, const char *content)
{
	cleanup_fd int fd = openat(dir, name, O_RDONLY | O_CLOEXEC);
	char is[100] = "";

	assert_true(read(fd, is, sizeof(is) - 1) >= 0);
	assert_string_equal(is, content);
}

static void writes_are_done_in_order(void **state)
{
	(void)state;
	begin();
	dir_file("f", "hello", 0, 0, 0644);
	ask(FILE_WRITE | FILE_CONTENT, "/f");
	await("opened(0,2) data(0,5) end(0,5) eof ");
	handle_say(write_msg(5, " world"));
	handle_say(write_msg(0, "J"));
	handle_say((struct msg){ .type = MSG_file_truncate, .file_truncate.size = 8 });
	handle_say(sync_msg(77));
	await("synced(77,0) ");
	assert_int_equal(last[MSG_file_synced].file_synced.attr.size, 8);
	assert_content("f", "Jello wo");
	handle_say((struct msg){ .type = MSG_file_close });
	handle_say(write_msg(0, "late"));
	handle_say((struct msg){ .type = MSG_file_close });
	handle_say(sync_msg(78));
	await("synced(78,EBADF) ");
	assert_int_equal(handles.table.count, 0);
	assert_content("f", "Jello wo");
	end();
}

static void appends_go_to_the_end_of_the_time(void **state)
{
	(void)state;
	begin();
	dir_file("f", "1", 0, 0, 0644);
	ask(FILE_WRITE | FILE_APPEND, "/f");
	await("opened(0,0) eof ");
	dir_file("f", "123", 0, 0, 0644);
	handle_say(write_msg(PROTO_FILE_END, "4"));
	handle_say(write_msg(1, "X"));
	handle_say(write_msg(PROTO_FILE_END, "5"));
	handle_say(sync_msg(1));
	await("synced(1,0) ");
	assert_content("f", "1X345");
	end();
}

static void a_write_that_fails_is_told_once_and_by_the_next_sync(void **state)
{
	char place[80];

	(void)state;
	begin();
	assert_int_equal(mkdirat(dir, "full", 0755), 0);
	snprintf(place, sizeof(place), "%s/full", dir_path);
	assert_int_equal(mount("none", place, "tmpfs", 0, "size=8k"), 0);
	ask(FILE_WRITE | FILE_CREATE, "/full/f");
	await("opened(0,0) eof ");
	handle_say(write_msg(8192, "no room"));
	handle_say(write_msg(4096, "a page"));
	handle_say(write_msg(12288, "no room"));
	handle_say(write_msg(16384, "no room"));
	await("failed(ENOSPC) ");
	handle_say(sync_msg(1));
	handle_say(sync_msg(2));
	await("synced(1,ENOSPC) synced(2,0) ");
	handle_say((struct msg){ .type = MSG_file_truncate, .file_truncate.size = UINT64_MAX });
	await("failed(EINVAL) ");
	end();
	assert_int_equal(umount(place), 0);
}

static void a_read_only_file_system_says_so(void **state)
{
	char place[80];

	(void)state;
	begin();
	snprintf(place, sizeof(place), "%s/full", dir_path);
	assert_int_equal(mount("none", place, "tmpfs", 0, NULL), 0);
	dir_file("full/f", "x", 0, 0, 0644);
	assert_int_equal(mount("none", place, NULL, MS_REMOUNT | MS_RDONLY, NULL), 0);
	ask(FILE_WRITE, "/full/f");
	await("opened(EROFS,0) eof ");
	ask(FILE_WRITE | FILE_CREATE, "/full/new");
	await("opened(EROFS,0) eof ");
	ask(FILE_READ | FILE_TRUNC, "/full/f");
	await("opened(EROFS,0) eof ");
	ask(FILE_PATH | FILE_DIRECTORY | FILE_MODIFY, "/full");
	await("opened(EROFS,0) eof ");
	ask(FILE_READ | FILE_CREATE | FILE_CONTENT, "/full/f");
	await("opened(0,2) data(0,1) end(0,1) eof ");
	end();
	assert_int_equal(umount(place), 0);
}

static void handles_are_bounded(void **state)
{
	(void)state;
	begin();
	for (uint32_t i = 1; i <= HANDLES_MAX + 1; i++) {
		heard[0] = '\0';
		say(open_msg(i, FILE_WRITE, "/f"));
		unit_run(&loop, 0);
		if (i <= HANDLES_MAX)
			hear();
	}
	heard[0] = '\0';
	await("opened(EMFILE,0) eof ");
	assert_int_equal(handles.table.count, HANDLES_MAX);
	say(open_msg(1, FILE_WRITE, "/f")); /* an id that is in use */
	unit_run(&loop, 1);
	assert_int_equal(result, -EPROTO);
	end();
}

/* A client that asks and never reads loses its link; the queue does not grow beyond its bound. */
static void who_never_reads_is_given_up(void **state)
{
	struct buf b;
	struct msg m = open_msg(1, FILE_READ | FILE_CONTENT | FILE_CREATE, "/f");

	(void)state;
	begin();
	buf_init(&b, PROTO_FRAME_MAX);
	for (uint32_t i = 1; i <= 1000000 && !client_lost; i++) {
		m.id = PROTO_CLIENT_CHANNEL | i;
		assert_int_equal(proto_encode(&b, &m), 0);
		while (buf_len(&b) && !client_lost) {
			ssize_t n = send(client_fd, buf_head(&b), buf_len(&b), MSG_NOSIGNAL);

			if (n > 0)
				buf_consume(&b, (size_t)n);
			else
				unit_run(&loop, 0);
		}
		assert_true(buf_len(&mux.out) <= MUX_OUT_MAX);
	}
	assert_true(client_lost);
	buf_done(&b);
	end();
}

/* --- as the target's process --- */

static void as_child(const struct who *w, void (*fn)(void))
{
	pid_t who = target_begin(w), pid = fork();
	int status;

	assert_true(pid >= 0);
	if (pid == 0) {
		target_close(&target);
		target_use(&target, who);
		begin();
		fn();
		end();
		target_close(&target);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	target_end(who);
	assert_int_equal(status, 0);
}

static void use_as_user(void)
{
	ask(FILE_READ, "/roots");
	await("opened(EACCES,0) eof ");
	ask(FILE_CONTENT, "/roots"); /* no right was asked for, so nothing is refused */
	await("opened(0,0) eof ");
	ask(FILE_WRITE | FILE_CONTENT, "/log"); /* not to be read, but written */
	await("opened(0,0) eof ");
	handle_say(write_msg(0, "x"));
	handle_say(sync_msg(1));
	await("synced(1,0) ");
	handle_say((struct msg){ .type = MSG_file_close });
	ask(FILE_READ | FILE_WRITE, "/log");
	await("opened(EACCES,0) eof ");
	ask(FILE_WRITE | FILE_CREATE, "/public/mine");
	await("opened(0,0) eof ");
	assert_int_equal(last[MSG_file_opened].file_opened.attr.uid, 1234);
	assert_int_equal(last[MSG_file_opened].file_opened.attr.gid, 1235);
	handle_say((struct msg){ .type = MSG_file_close });
	ask(FILE_READ | FILE_LIST, "/unsearchable");
	await("opened(0,3) end(0,0) eof ");
	assert_int_equal(last[MSG_file_entry].file_entry.attr.mode, S_IFREG);
	ask(FILE_READ | FILE_LIST, "/secret");
	await("opened(EACCES,0) eof ");
	ask(FILE_PATH | FILE_DIRECTORY | FILE_EXEC, "/secret");
	await("opened(0,0) eof ");
	ask(FILE_PATH | FILE_DIRECTORY | FILE_EXEC | FILE_MODIFY, "/secret");
	await("opened(EACCES,0) eof ");
}

static void the_rights_are_the_targets(void **state)
{
	const struct who user = { .uid = 1234, .gid = 1235, .root = dir_path };

	(void)state;
	dir_file("roots", "", 0, 0, 0600);
	dir_file("log", "", 0, 0, 0622);
	mkdirat(dir, "public", 01777);
	mkdirat(dir, "unsearchable", 0777);
	mkdirat(dir, "secret", 0711);
	dir_file("unsearchable/f", "", 0, 0, 0600);
	fchmodat(dir, "unsearchable", 0744, 0);
	as_child(&user, use_as_user);
}

/* Who could write to our memory would be us, and not the target. */
static void the_agent_is_no_file(void **state)
{
	int root = target.root;

	(void)state;
	target.root = open("/", O_PATH | O_CLOEXEC);
	begin();
	ask(FILE_READ | FILE_WRITE, "/proc/self/mem");
	await("opened(EACCES,0) eof ");
	ask(FILE_READ | FILE_WRITE | FILE_CREATE, "/proc/self/mem");
	await("opened(EACCES,0) eof ");
	ask(FILE_CONTENT, "/proc/self/environ");
	await("opened(EACCES,0) eof ");
	end();
	close(target.root);
	target.root = root;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_open_has_the_kernels_errno),
		cmocka_unit_test(a_created_file_has_the_mode_that_was_said),
		cmocka_unit_test(what_no_client_sends_is_refused),
		cmocka_unit_test(content_that_is_known_is_not_sent),
		cmocka_unit_test(what_is_known_up_to_an_offset_is_not_sent),
		cmocka_unit_test(a_large_file_comes_with_credit),
		cmocka_unit_test(holes_cost_nothing),
		cmocka_unit_test(a_file_that_changes_meanwhile_has_no_version),
		cmocka_unit_test(a_file_without_a_size_is_read_to_its_end),
		cmocka_unit_test(a_client_that_resets_is_sent_no_more),
		cmocka_unit_test(a_directory_is_listed_with_credit),
		cmocka_unit_test(an_entry_has_attributes_and_a_links_text),
		cmocka_unit_test(an_entry_says_whether_it_has_attributes),
		cmocka_unit_test(writes_are_done_in_order),
		cmocka_unit_test(appends_go_to_the_end_of_the_time),
		cmocka_unit_test(a_write_that_fails_is_told_once_and_by_the_next_sync),
		cmocka_unit_test(a_read_only_file_system_says_so),
		cmocka_unit_test(handles_are_bounded),
		cmocka_unit_test(who_never_reads_is_given_up),
		cmocka_unit_test(the_rights_are_the_targets),
		cmocka_unit_test(the_agent_is_no_file),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
