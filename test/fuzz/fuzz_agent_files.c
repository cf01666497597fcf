/* What a client may say to the agent about files: any of it, in any order, over a root of its own.
 *
 * Whatever it says, nothing beside that root is changed or read, no device is made, no descriptor
 * stays open; and what the agent answers is what PROTOCOL.md says: each question once and in its
 * order, on a channel one beginning and one end, nothing beyond the credit, and all that there is
 * credit for.
 *
 * Input: whom the target is, then a byte for each choice that the messages leave. No more than
 * libFuzzer shows: it cannot write one that fails while the agent is the target's process. */
#include "agent/creds.c"
#include "agent/file.h"
#include "proto.h"

/* Less than the protocol's: that of a small file runs out. And files of now have a version. */
#undef PROTO_FILE_WINDOW
#define PROTO_FILE_WINDOW (32u << 10)
#undef FILE_SETTLED_NS
#define FILE_SETTLED_NS 0

#include "agent/content.c"
#include "agent/file.c"
#include "agent/file_op.c"
#include "agent/file_open.c"
#define find find_handle
#include "agent/handle.c"
#undef find
#include "agent/resolve.c"
#include "agent/target.c"
#include "agent/watch.c"

#include <sys/xattr.h>

#include "fuzz_dir.h"
#include "fuzz_root.h"

#define INPUT_MAX    256
#define FILES_MAX    16
#define OPS_MAX      4096
#define AGAIN        24 /* times; so that queues fill */
#define USER         1000u
#define BIG          (3 * PROTO_FILE_WINDOW)
#define SECRET       "outside"
#define OUTSIDE_TIME 1000000000

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerInitialize(int *argc, char ***argv);

static struct target target;
static struct loop loop;
static struct mux mux; /* the agent's end */
static struct handles handles;
static struct watches watches;
static int fs; /* what the root is in */
static struct stat outside;

/* --- the client, and what it knows --- */

struct known_file {
	bool asked, opened, ended, over;
	bool unsure; /* the id was taken again while answers were on their way */
	uint32_t want;
	uint64_t known;
	enum file_content content;
	uint64_t next;   /* offset */
	uint64_t credit; /* what may still come */
	bool writable;
	uint32_t error; /* that was told last, if no sync was answered since */
};

struct known_watch {
	bool asked, answered, over, unsure;
};

static struct client {
	int fd;
	bool deaf;
	struct known_file files[FILES_MAX + 1]; /* and what has an id that is no client's */
	struct known_watch watches[16];
	unsigned nfiles;
	unsigned ops, ops_done, syncs, syncs_done;
	uint8_t op[OPS_MAX];
	size_t len; /* of what was received and not heard */
	uint8_t in[4 * PROTO_FRAME_MAX];
} client;

static struct known_file *file_of(uint32_t id)
{
	return &client.files[id & PROTO_CLIENT_CHANNEL ? id % FILES_MAX : FILES_MAX];
}

/* --- the root --- */

static void make_file(const char *name, const char *text, size_t n, off_t at, mode_t mode)
{
	cleanup_fd int fd = openat(target.root, name, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

	check(fd >= 0 && pwrite(fd, text, n, at) == (ssize_t)n && fchmod(fd, mode) == 0, name);
}

static void set_xattr(int dir, const char *name, const char *attr, const void *value, size_t n)
{
	cleanup_fd int fd = openat(dir, name, O_RDONLY | O_CLOEXEC);

	check(fsetxattr(fd, attr, value, n, 0) == 0, attr);
}

/* It is old, and was never read: so each use of it shows in its times. */
static void make_outside(void)
{
	static const struct timespec times[2] = { { 1, 0 }, { OUTSIDE_TIME, 0 } };
	cleanup_fd int fd = openat(fs, "outside", O_WRONLY | O_CLOEXEC);

	check(write(fd, SECRET, strlen(SECRET)) == (ssize_t)strlen(SECRET), "outside");
	set_xattr(fs, "outside", "user.x", "y", 1);
	check(futimens(fd, times) == 0 && fstat(fd, &outside) == 0, "outside");
}

static void make_files(void)
{
	static const struct {
		const char *name;
		mode_t mode;
	} dirs[] = { { "my", 0700 }, { "listed", 0744 }, { "their", 0700 } };
	static const struct {
		const char *name;
		uid_t uid;
	} owned[] = { { "mine", USER }, { "my", USER }, { "their", USER + 1 },
		{ "their/f", USER + 1 } };
	static char big[BIG], value[60000];

	fs = make_fs();
	target.root = make_root(fs);
	make_outside();
	memset(big, 'b', sizeof(big));
	make_file("big", big, sizeof(big), 0, 0666);
	make_file("sparse", "begin", 5, 0, 0644);
	make_file("sparse", "middle", 6, 1 << 20, 0644);
	make_file("hole", "end", 3, (off_t)1 << 40, 0644);
	make_file("setid", "#!", 2, 0, 06777);
	make_file("mine", "mine", 4, 0, 0600);
	for (size_t i = 0; i < ARRAY_SIZE(dirs); i++)
		check(mkdirat(target.root, dirs[i].name, dirs[i].mode) == 0, dirs[i].name);
	make_file("my/f", "f", 1, 0, 0644);
	make_file("listed/f", "f", 1, 0, 0644);
	make_file("their/f", "f", 1, 0, 0600);
	set_xattr(target.root, "big", "user.big", value, sizeof(value));
	for (size_t i = 0; i < ARRAY_SIZE(owned) && geteuid() == 0; i++)
		check(fchownat(target.root, owned[i].name, owned[i].uid, owned[i].uid, 0) == 0,
			owned[i].name);
}

/* --- what the client says --- */

static uint8_t byte(struct reader *r)
{
	return (uint8_t)read_uint(r, 1);
}

static uint64_t number(struct reader *r)
{
	static const uint64_t numbers[] = { 0, 1, 5, 4096, 65536, BIG, 1 << 20, (uint64_t)1 << 40,
		INT64_MAX - 1, INT64_MAX, FILE_TIME_NOW, FILE_TIME_OMIT, UINT32_MAX, UINT64_MAX,
		07777, S_IFREG | 0644, S_IFIFO | 0600, S_IFSOCK | 0600, S_IFCHR | 0666,
		S_IFBLK | 0666, S_IFDIR | 0755, USER };
	uint8_t which = byte(r);

	return which < 240 ? numbers[which % ARRAY_SIZE(numbers)] : which % 8u;
}

/* A known path, mostly one of the first, so that messages meet; or one of tokens, or one that is
 * too long. */
static size_t put_text(struct reader *r, char *to, size_t max)
{
	static const char *const texts[] = { "/f", "/new", "/d", "/d/f", "/big", "/my/f", "/d/new",
		"/mine", "/", "/d/e", "/sparse", "/hole", "/setid", "/my", "/listed", "/listed/f",
		"/their", "/their/f", "/fifo", "/closed", "/closed/f", "/d/e/new", "/abs", "/out",
		"/d/out", "/dangling", "/d/../f", "/my/new", "", "/../outside", "f" };
	uint8_t which = byte(r);
	size_t n = 0;

	if (which < 128)
		return (size_t)sprintf(to, "%s", texts[which % 8u]);
	if (which < 240)
		return (size_t)sprintf(to, "%s", texts[which % ARRAY_SIZE(texts)]);
	if (which == 255) {
		memset(to, byte(r), max);
		to[0] = '/';
		return max;
	}
	to[n++] = '/';
	for (unsigned i = 0; i < which % 16u && n + 16 < max; i++) {
		uint8_t c = byte(r);

		if (c < ARRAY_SIZE(tokens))
			n += (size_t)sprintf(to + n, "%s", tokens[c]);
		else
			to[n++] = (char)c;
	}
	return n;
}

static char said_text[2 * PROTO_FILE_PATH_MAX + 1];

static struct span path(struct reader *r)
{
	return (struct span){ said_text, (uint32_t)put_text(r, said_text, PROTO_FILE_PATH_MAX) };
}

static struct span bytes(struct reader *r)
{
	static uint8_t some[PROTO_DATA_MAX];
	uint8_t n = byte(r);

	return (struct span){ some, n == 255 ? PROTO_DATA_MAX : n };
}

/* Of a file that was opened lately, or another; seldom an id that no client has. */
static uint32_t file_id(struct reader *r)
{
	uint8_t which = byte(r);
	unsigned n = which < 192 ? client.nfiles - 1 - which % 4u : which;

	return which == 255 ? which : PROTO_CLIENT_CHANNEL | n % FILES_MAX;
}

/* What clients want, or anything. */
static uint32_t wants(struct reader *r)
{
	static const uint32_t usual[] = { FILE_READ | FILE_CONTENT, FILE_READ | FILE_LIST,
		FILE_READ | FILE_WRITE | FILE_CONTENT, FILE_WRITE | FILE_CREATE | FILE_CONTENT,
		FILE_WRITE | FILE_CREATE | FILE_EXCL, FILE_WRITE | FILE_APPEND,
		FILE_READ | FILE_WRITE | FILE_TRUNC, FILE_PATH, FILE_PATH | FILE_NOFOLLOW,
		FILE_READ | FILE_CONTENT | FILE_NOFOLLOW, FILE_READ | FILE_DIRECTORY | FILE_LIST,
		FILE_EXEC | FILE_CONTENT, FILE_PATH | FILE_MODIFY,
		FILE_READ | FILE_CONTENT | FILE_BENEATH, FILE_READ | FILE_LIST | FILE_IN_ROOT };
	uint8_t which = byte(r);

	return which < ARRAY_SIZE(usual) ? usual[which] : (uint32_t)read_uint(r, 3) & FILE_WANT_ALL;
}

static struct msg say_open(struct reader *r)
{
	uint32_t want = wants(r);
	struct msg m = {
		.type = MSG_file_open,
		.id = PROTO_CLIENT_CHANNEL | client.nfiles % FILES_MAX,
		.file_open = { .want = want, .mode = (uint32_t)number(r), .from = number(r) },
	};
	struct known_file *f;

	m.file_open.path = path(r);
	if (want & (FILE_BENEATH | FILE_IN_ROOT))
		m.file_open.base = 1 + byte(r) % 4u;
	if (byte(r) == 255)
		m.id = file_id(r);
	f = file_of(m.id);
	m.file_open.known = file_of(m.id - 1 - byte(r) % 2u)->known;
	*f = (struct known_file){ .asked = true,
		.unsure = client.deaf && f->asked,
		.want = want,
		.known = m.file_open.known,
		.next = m.file_open.from,
		.credit = PROTO_FILE_WINDOW,
		.writable = f->writable,
		.error = f->error };
	client.nfiles++;
	return m;
}

static struct msg say_write(struct reader *r)
{
	return (struct msg){ .type = MSG_file_write,
		.id = file_id(r),
		.file_write = { .offset = number(r), .bytes = bytes(r) } };
}

static struct msg say_truncate(struct reader *r)
{
	return (struct msg){
		.type = MSG_file_truncate, .id = file_id(r), .file_truncate.size = number(r)
	};
}

static struct msg say_sync(struct reader *r)
{
	return (struct msg){
		.type = MSG_file_sync, .id = file_id(r), .file_sync.request = client.syncs++
	};
}

static struct msg say_close(struct reader *r)
{
	return (struct msg){ .type = MSG_file_close, .id = file_id(r) };
}

static uint8_t any_op(struct reader *r)
{
	uint8_t which = byte(r);

	return which == 255 ? which : 1 + which % (FILE_OP_MAX - 1);
}

/* What follows the path; seldom what makes no sense. */
static size_t put_second(struct reader *r, uint8_t op, char *to)
{
	static const char *const texts[] = { "user.big", "user.a", "user.b", "trusted.a",
		"security.capability", "system.posix_acl_access", "", "d/../f" };
	enum second kind = op < FILE_OP_MAX ? op_rows[op].second : SECOND_NONE;
	uint8_t which = byte(r);
	size_t n;

	if (which == 255 || kind == SECOND_PATH)
		return put_text(r, to, PROTO_FILE_PATH_MAX);
	if (kind == SECOND_NONE)
		return 0;
	n = (size_t)sprintf(to, "%s", texts[which % ARRAY_SIZE(texts)]);
	return kind == SECOND_VALUE ? n + 1 + (size_t)sprintf(to + n + 1, "value") : n;
}

static struct msg say_op(struct reader *r)
{
	struct msg m = { .type = MSG_file_op,
		.id = client.ops,
		.file_op = { .op = any_op(r),
			.flags = byte(r) & 1 ? FILE_NOFOLLOW : 0,
			.a = number(r),
			.b = number(r) } };
	size_t n = path(r).len;

	m.file_op.path_len = (uint16_t)n;
	n += put_second(r, m.file_op.op, said_text + n);
	m.file_op.path = (struct span){ said_text, (uint32_t)n };
	client.op[client.ops++ % OPS_MAX] = m.file_op.op;
	return m;
}

static struct msg say_watch(struct reader *r)
{
	struct msg m = { .type = MSG_file_watch, .id = byte(r) % ARRAY_SIZE(client.watches) };
	struct known_watch *w = &client.watches[m.id];

	m.file_watch.path = path(r);
	*w = (struct known_watch){ .asked = true, .unsure = client.deaf && w->asked };
	return m;
}

static struct msg say_unwatch(struct reader *r)
{
	struct msg m = { .type = MSG_file_unwatch, .id = byte(r) % ARRAY_SIZE(client.watches) };

	client.watches[m.id].over = !client.deaf;
	client.watches[m.id].unsure = client.deaf;
	return m;
}

/* All that has come, or some number. */
static struct msg say_credit(struct reader *r)
{
	struct msg m = { .type = MSG_credit, .id = file_id(r) };
	struct known_file *f = file_of(m.id);
	uint8_t how = byte(r);

	m.credit.bytes = how >= 240 || f->credit > PROTO_FILE_WINDOW
				 ? (uint32_t)how * 64
				 : PROTO_FILE_WINDOW - (uint32_t)f->credit;
	f->credit += m.credit.bytes;
	return m;
}

static struct msg say_eof(struct reader *r)
{
	return (struct msg){ .type = MSG_eof, .id = file_id(r) };
}

static struct msg say_reset(struct reader *r)
{
	struct msg m = { .type = MSG_reset, .id = file_id(r), .reset.error = byte(r) };
	struct known_file *f = file_of(m.id);

	f->over = true;
	f->unsure |= client.deaf;
	return m;
}

static struct msg say_data(struct reader *r)
{
	return (struct msg){ .type = MSG_data, .id = file_id(r), .data.bytes = bytes(r) };
}

static struct msg any_message(struct reader *r)
{
	static struct msg (*const rows[])(struct reader * r) = { say_open, say_open, say_open,
		say_op, say_op, say_op, say_op, say_op, say_write, say_write, say_truncate,
		say_sync, say_close, say_watch, say_unwatch, say_credit, say_eof, say_reset,
		say_data };

	return rows[byte(r) % ARRAY_SIZE(rows)](r);
}

/* --- what it hears --- */

static bool is_error(uint32_t error)
{
	return error && error <= PROTO_ERRNO_MAX;
}

static void check_path(struct span text, size_t at, size_t n)
{
	char name[PATH_MAX];

	require(at + n <= text.len && n < sizeof(name));
	memcpy(name, (const char *)text.data + at, n);
	name[n] = '\0';
	require(strlen(name) == n && is_canonical(name));
}

static void check_attr(const struct file_attr *a)
{
	require(a->ino != outside.st_ino && !S_ISCHR(a->mode) && !S_ISBLK(a->mode));
}

static void check_opened(const struct known_file *f, const struct msg_file_opened *m)
{
	uint32_t type = m->attr.mode & S_IFMT;

	require(!m->error && m->content < FILE_CONTENT_MAX);
	check_attr(&m->attr);
	check_path(m->path, 0, m->path_len);
	require(m->path_len == m->path.len || type == S_IFLNK);
	require(f->want & FILE_PATH || type == S_IFREG || type == S_IFDIR);
	require(!(f->want & FILE_DIRECTORY) || type == S_IFDIR);
	require(m->content != FILE_BYTES || (type == S_IFREG && f->want & FILE_CONTENT));
	require(m->content != FILE_ENTRIES || (type == S_IFDIR && f->want & FILE_LIST));
	require(m->content != FILE_UNCHANGED || (m->version && m->version == f->known));
}

static void hear_opened(struct known_file *f, const struct msg *m)
{
	require(!f->opened);
	f->opened = true;
	f->error = 0;
	f->writable = false;
	if (m->file_opened.error) {
		require(is_error(m->file_opened.error) && !m->file_opened.content);
		return;
	}
	check_opened(f, &m->file_opened);
	f->content = m->file_opened.content;
	f->known = m->file_opened.version;
	f->writable = f->want & FILE_WRITE && !(f->want & FILE_PATH);
}

static void take_credit(struct known_file *f, enum file_content content, uint32_t cost)
{
	require(f->opened && !f->ended && f->content == content && f->credit >= cost);
	f->credit -= cost;
}

static void hear_data(struct known_file *f, const struct msg *m)
{
	struct span s = m->file_data.bytes;

	take_credit(f, FILE_BYTES, PROTO_MESSAGE_COST(s.len));
	require(s.len && m->file_data.offset >= f->next);
	require(s.len != strlen(SECRET) || memcmp(s.data, SECRET, s.len) != 0);
	f->next = m->file_data.offset + s.len;
}

static void hear_entry(struct known_file *f, const struct msg *m)
{
	const struct msg_file_entry *e = &m->file_entry;

	take_credit(f, FILE_ENTRIES, PROTO_MESSAGE_COST(e->name.len));
	check_attr(&e->attr);
	require(e->name_len && e->name_len <= e->name.len &&
		!memchr(e->name.data, '/', e->name_len) &&
		!memchr(e->name.data, '\0', e->name_len));
	require(e->name_len == e->name.len || S_ISLNK(e->attr.mode));
}

static void hear_end(struct known_file *f, const struct msg *m)
{
	take_credit(f, f->content, 0);
	require(f->content == FILE_BYTES || f->content == FILE_ENTRIES);
	require(!m->file_end.error || is_error(m->file_end.error));
	f->ended = true;
}

static void hear_eof(struct known_file *f, __attribute__((unused)) const struct msg *m)
{
	require(f->opened &&
		(f->ended || f->content == FILE_NOTHING || f->content == FILE_UNCHANGED));
	f->over = true;
}

static void hear_failed(struct known_file *f, const struct msg *m)
{
	require(f->writable && !f->error && is_error(m->file_failed.error));
	f->error = m->file_failed.error;
}

static void hear_synced(struct known_file *f, const struct msg *m)
{
	require(m->file_synced.request == client.syncs_done++);
	require(f->unsure || !f->error || m->file_synced.error == f->error ||
		m->file_synced.error == EBADF);
	check_attr(&m->file_synced.attr);
	f->error = 0;
}

static void hear_done(const struct msg *m)
{
	const struct msg_file_done *d = &m->file_done;
	uint8_t op = client.op[client.ops_done % OPS_MAX];

	require(m->id == client.ops_done++);
	require(!d->error || is_error(d->error));
	if (d->error)
		return;
	check_attr(&d->attr);
	check_path(d->path, 0, d->path_len);
	if (op == FILE_OP_RENAME || op == FILE_OP_LINK)
		check_path(d->path, d->path_len, d->path.len - d->path_len);
}

static void hear_changed(const struct msg *m)
{
	const struct msg_file_changed *c = &m->file_changed;
	struct known_watch *w = &client.watches[m->id % ARRAY_SIZE(client.watches)];

	require(w->asked && m->id < ARRAY_SIZE(client.watches));
	require(!memchr(c->name.data, '/', c->name.len));
	if (w->unsure)
		return;
	require(!w->over && (w->answered ? c->events && !c->error : !c->events));
	w->answered = true;
	w->over = c->error || c->events & FILE_EVENT_GONE;
}

static void hear(const struct msg *m)
{
	static const struct {
		enum msg_type type;
		void (*hear)(struct known_file *f, const struct msg *m);
		bool any_time; /* not of the channel, but of the file */
	} rows[] = {
		{ MSG_file_opened, hear_opened, false },
		{ MSG_file_data, hear_data, false },
		{ MSG_file_entry, hear_entry, false },
		{ MSG_file_end, hear_end, false },
		{ MSG_eof, hear_eof, false },
		{ MSG_file_failed, hear_failed, true },
		{ MSG_file_synced, hear_synced, true },
	};

	if (m->type == MSG_file_done || m->type == MSG_file_changed) {
		(m->type == MSG_file_done ? hear_done : hear_changed)(m);
		return;
	}
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct known_file *f = file_of(m->id);

		if (rows[i].type != m->type)
			continue;
		require(rows[i].any_time || f->unsure || (f->asked && !f->over));
		if (!f->unsure || m->type == MSG_file_synced)
			rows[i].hear(f, m);
		return;
	}
	abort(); /* nothing else is sent about files */
}

/* All that has come; less than a frame of it is kept. */
static bool hear_all(void)
{
	ssize_t n = recv(
		client.fd, client.in + client.len, sizeof(client.in) - client.len, MSG_DONTWAIT);
	size_t at = 0;
	struct msg m;
	int len;

	if (n <= 0)
		return false;
	client.len += (size_t)n;
	for (; at < client.len; at += (size_t)len) {
		len = proto_decode(client.in + at, client.len - at, PROTO_AGENT, &m);
		require(len >= 0);
		if (len == 0)
			break;
		hear(&m);
	}
	client.len -= at;
	memmove(client.in, client.in + at, client.len);
	return true;
}

/* --- the agent --- */

static int got_open(const struct msg *m)
{
	return file_open(&loop, &mux, &target, &handles, m);
}

static int got_op(const struct msg *m)
{
	return file_op(&mux, &target, m);
}

static int got_handle(const struct msg *m)
{
	handle_message(&handles, m);
	return 0;
}

static int got_watch_message(const struct msg *m)
{
	return watch_message(&watches, m);
}

/* As in session.c. */
static void message(struct mux *link, const struct msg *m)
{
	static const struct {
		enum msg_type type;
		int (*handle)(const struct msg *m);
	} rows[] = {
		{ MSG_file_open, got_open },
		{ MSG_file_write, got_handle },
		{ MSG_file_truncate, got_handle },
		{ MSG_file_sync, got_handle },
		{ MSG_file_close, got_handle },
		{ MSG_file_op, got_op },
		{ MSG_file_watch, got_watch_message },
		{ MSG_file_unwatch, got_watch_message },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		if (rows[i].type == m->type && rows[i].handle(m) < 0)
			mux_fail(link, EPROTO, "refused");
	}
}

static void lost(__attribute__((unused)) struct mux *link, int error, const char *why)
{
	require(error >= 0 && why);
}

static const struct mux_ops mux_ops = { .message = message, .lost = lost };

static void nothing(__attribute__((unused)) struct timer *t)
{
}

/* What there is to do now; the watches need not wait for a link that was full. */
static void turn(void)
{
	struct timer now;

	timer_init(&now, nothing);
	loop_timer(&loop, &now, 0);
	if (!list_empty(&watches.again.link))
		loop_timer(&loop, &watches.again, 0);
	require(loop_turn(&loop) == 0);
}

static void settle(void)
{
	do
		turn();
	while (!client.deaf && hear_all());
}

static void say(const struct msg *m)
{
	struct buf b;

	buf_init(&b, PROTO_FRAME_MAX);
	require(proto_encode(&b, m) == 0);
	while (buf_len(&b) && !mux.lost) {
		ssize_t n = send(client.fd, buf_head(&b), buf_len(&b), MSG_NOSIGNAL);

		if (n > 0)
			buf_consume(&b, (size_t)n);
		settle();
	}
	buf_done(&b);
}

/* --- a session for each input --- */

/* Root, one who owns some of the files, and the root of a user namespace. */
static void choose_target(uint8_t who)
{
	static struct id_range range = { 0, USER, 100 };

	target = (struct target)TARGET_NONE;
	if (who % 4 == 0 || geteuid() != 0)
		return;
	target.creds = (struct creds){ .foreign = true, .uid = USER, .gid = USER };
	if (who % 4 == 1) {
		target.creds.mapped = true;
		target.creds.uids = target.creds.gids = (struct id_map){ &range, 1 };
		target.creds.effective = UINT64_MAX;
	}
	creds_adopt(&target.creds);
	check(!target.creds.error, "creds_adopt");
}

static void set_up(uint8_t who)
{
	int fds[2];

	choose_target(who);
	make_files();
	check(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) == 0 &&
			loop_init(&loop) == 0 &&
			mux_init(&mux, &loop, fds[0], PROTO_AGENT, &mux_ops) == 0,
		"link");
	handles_init(&handles, &mux, &target);
	watches_init(&watches, &loop, &mux, &target);
	memset(&client, 0, offsetof(struct client, in));
	client.fd = fds[1];
}

static void tear_down(void)
{
	mux_done(&mux);
	handles_done(&handles);
	watches_done(&watches);
	loop_done(&loop);
	close_fd(&client.fd);
	close_fd(&target.root);
	close_fd(&fs);
}

/* --- what has to be so --- */

static bool same_time(struct timespec a, struct timespec b)
{
	return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec;
}

static void check_outside(void)
{
	cleanup_fd int fd = openat(fs, "outside", O_RDONLY | O_NOATIME | O_CLOEXEC);
	char text[sizeof(SECRET)] = "", names[64];
	struct stat st;

	require(fd >= 0 && fstat(fd, &st) == 0 && st.st_ino == outside.st_ino);
	require(st.st_mode == outside.st_mode && st.st_nlink == 1 && st.st_uid == outside.st_uid &&
		st.st_gid == outside.st_gid && st.st_size == outside.st_size);
	require(same_time(st.st_atim, outside.st_atim) && same_time(st.st_mtim, outside.st_mtim) &&
		same_time(st.st_ctim, outside.st_ctim));
	require(read(fd, text, sizeof(text)) == (ssize_t)strlen(SECRET) && !strcmp(text, SECRET));
	require(flistxattr(fd, names, sizeof(names)) == sizeof("user.x"));
}

static void check_no_devices(int at)
{
	DIR *d = fdopendir(openat(at, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
	const struct dirent *e;

	require(d);
	while ((e = readdir(d))) {
		cleanup_fd int below = -1;

		require(e->d_type != DT_CHR && e->d_type != DT_BLK);
		if (e->d_type != DT_DIR || !strcmp(e->d_name, ".") || !strcmp(e->d_name, ".."))
			continue;
		below = openat(dirfd(d), e->d_name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
		check_no_devices(below);
	}
	closedir(d);
}

/* Every question has its answer, and content goes on as long as there is credit. */
static void check_answered(void)
{
	require(client.ops == client.ops_done && client.syncs == client.syncs_done);
	for (size_t i = 0; i < ARRAY_SIZE(client.files); i++) {
		const struct known_file *f = &client.files[i];

		require(!f->asked || f->unsure || f->over ||
			(f->opened && f->credit < CONTENT_ROOM_MIN));
	}
	for (size_t i = 0; i < ARRAY_SIZE(client.watches); i++) {
		const struct known_watch *w = &client.watches[i];

		require(!w->asked || w->unsure || w->over || w->answered);
	}
}

static unsigned count_descriptors(void)
{
	cleanup_fd int fds = open("/proc/self/fd", O_PATH | O_DIRECTORY | O_CLOEXEC);

	return count_entries(fds);
}

int LLVMFuzzerInitialize(__attribute__((unused)) int *argc, __attribute__((unused)) char ***argv)
{
	umask(0);
	protect_machine();
	return 0;
}

/* A message, or a few like it, or whether the client goes on listening. */
static void act(struct reader *r)
{
	const struct reader begin = *r;
	uint8_t how = byte(r);

	if (how >= 248) {
		client.deaf = how & 1;
		settle();
		return;
	}
	for (int times = how >= 240 ? AGAIN : 1; times && !mux.lost; times--) {
		struct msg m;

		*r = (struct reader){ begin.p + 1, begin.end, false };
		m = any_message(r);
		say(&m);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct reader r = { data, data + size, false };
	unsigned descriptors = count_descriptors();

	if (size > INPUT_MAX)
		return -1;
	set_up(byte(&r));
	while (r.p < r.end && !r.bad && !mux.lost)
		act(&r);
	client.deaf = false;
	settle();
	if (!mux.lost)
		check_answered();
	check_outside();
	require(count_entries(fs) == 2);
	check_no_devices(target.root);
	tear_down();
	require(count_descriptors() == descriptors);
	return 0;
}
