/* Writing back: a guest's writes to a copy, and an agent that does to a file of its own what the
 * link says. The two must become the same, and what was written must come before what was said
 * later. What writeback belongs to are stand-ins. */
#include "tracer/writeback.c"

#include "tracer/writeback_again.c"
#include "tracer/writeback_record.c"
#include "tracer/writeback_sync.c"

#include "tracer/sent.c"

#include <sys/mman.h>
#include <sys/socket.h>

#include "relay.h"
#include "unit.h"

#define FILES_MAX 8
#define LOG_MAX   4096

static struct tracer tracer;
static struct writeback *const wb = &tracer.fs.writeback;
static struct mux *const mux = &tracer.link.mux;
static unsigned lost;

/* --- the agent --- */

static struct {
	int fd;
	struct buf in;
	int files[FILES_MAX]; /* by handle */
	enum msg_type log[LOG_MAX];
	uint32_t ids[LOG_MAX];
	unsigned nlog;
	uint64_t bytes; /* in file_write */
	bool holds;     /* it reads nothing */
} agent;

static struct remote_query *synced[LOG_MAX], *last;
static unsigned nsynced;

static off_t offset_of(int fd, const struct msg *m)
{
	struct stat st;

	if (m->file_write.offset != PROTO_FILE_END)
		return (off_t)m->file_write.offset;
	assert_int_equal(fstat(fd, &st), 0);
	return st.st_size;
}

static void apply(const struct msg *m)
{
	int fd = m->id < FILES_MAX ? agent.files[m->id] : -1;
	const struct span *bytes = &m->file_write.bytes;

	assert_true(agent.nlog < LOG_MAX);
	agent.log[agent.nlog] = m->type;
	agent.ids[agent.nlog++] = m->id;
	switch (m->type) {
	case MSG_file_write:
		assert_true(fd >= 0);
		assert_true(bytes->len > 0);
		assert_int_equal(pwrite(fd, bytes->data, bytes->len, offset_of(fd, m)), bytes->len);
		agent.bytes += bytes->len;
		break;
	case MSG_file_truncate:
		assert_int_equal(ftruncate(fd, (off_t)m->file_truncate.size), 0);
		break;
	case MSG_file_op:
		assert_non_null(last);
		last->ops->found(last, 0, NULL);
		last = NULL;
		break;
	case MSG_file_close:
		close_fd(&agent.files[m->id]);
		break;
	default:
		break;
	}
}

static void agent_reads(void)
{
	struct msg m;
	int n;

	while (!agent.holds) {
		uint8_t *to = buf_reserve(&agent.in, PROTO_FRAME_MAX);
		ssize_t got = recv(agent.fd, to, PROTO_FRAME_MAX, MSG_DONTWAIT);

		if (got <= 0)
			return;
		buf_commit(&agent.in, (size_t)got);
		while (buf_len(&agent.in) && (n = proto_decode(buf_head(&agent.in),
						      buf_len(&agent.in), PROTO_CLIENT, &m)) > 0) {
			apply(&m);
			buf_consume(&agent.in, (size_t)n);
		}
	}
}

/* --- stand-ins --- */

static struct tree_node *nodes[FILES_MAX];
static unsigned nnodes;

int tree_open_copy(const struct tree *t, int path_fd, int flags)
{
	char path[32];
	int fd;

	(void)t;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", path_fd);
	fd = open(path, flags);
	return fd < 0 ? -errno : fd;
}

struct tree_node *tree_node_by_ino(const struct tree *t, uint64_t ino)
{
	(void)t;
	for (unsigned i = 0; i < nnodes; i++) {
		if (nodes[i]->ino == ino)
			return nodes[i];
	}
	return NULL;
}

struct tree_node *tree_node(const struct tree *t, int fd)
{
	struct stat st;

	assert_int_equal(fstat(fd, &st), 0);
	return tree_node_by_ino(t, st.st_ino);
}

struct tree_fd_path tree_fd_path(int fd)
{
	struct tree_fd_path p;

	snprintf(p.text, sizeof(p.text), "/proc/self/fd/%d", fd);
	return p;
}

const char *tree_virtual(const struct tree *t, const char *path)
{
	(void)t;
	return path;
}

int tree_at(const struct tree *t, const char *path)
{
	(void)t;
	return open(path, O_PATH | O_CLOEXEC);
}

static unsigned replaced;

int tree_replace(struct tree *t, const char *path)
{
	(void)t, (void)path;
	replaced++;
	return 0;
}

static struct remote_query *opening; /* the file_open that was asked last */

int remote_open(struct remote *r, struct remote_query *q, uint32_t want, uint32_t mode,
	uint64_t known, uint64_t from, const char *path)
{
	(void)r, (void)mode, (void)path;
	*q = (struct remote_query){ .ops = q->ops, .id = 5 };
	q->msg.type = MSG_file_open;
	q->msg.file_open.want = want;
	q->msg.file_open.known = known;
	q->msg.file_open.from = from;
	opening = q;
	return 0;
}

bool link_may_return(const struct link *l)
{
	(void)l;
	return true;
}

void tree_written(struct tree_node *node)
{
	assert_null(node->writeback);
}

void tree_unwritten(struct tree *t, struct tree_node *node)
{
	(void)t;
	node->writeback = NULL;
}

int remote_op(struct remote *r, struct remote_query *q, enum file_op op, uint32_t flags, uint64_t a,
	uint64_t b, const char *path, const void *second, size_t n)
{
	struct msg m = { .type = MSG_file_op, .file_op.op = (uint8_t)op };

	(void)r, (void)flags, (void)a, (void)b, (void)path, (void)second, (void)n;
	last = q;
	mux_send(mux, &m);
	return 0;
}

int remote_sync(struct remote *r, struct remote_query *q, uint32_t handle)
{
	struct msg m = { .type = MSG_file_sync, .id = handle };

	(void)r;
	synced[nsynced++] = q;
	mux_send(mux, &m);
	return 0;
}

void remote_drop(struct remote_query *q)
{
	for (unsigned i = 0; i < nsynced; i++)
		synced[i] = synced[i] == q ? NULL : synced[i];
}

static int64_t answer;
static bool answered, continued;

void call_return(struct call *c, int64_t value)
{
	(void)c;
	answer = value;
	answered = true;
}

void call_continue(struct call *c)
{
	(void)c;
	continued = true;
}

void call_park(struct call *c, bool interruptible, void (*cancel)(struct call *c), void *data)
{
	assert_false(interruptible);
	c->cancel = cancel;
	c->data = data;
}

/* --- the run --- */

static void link_message(struct mux *m, const struct msg *msg)
{
	(void)m;
	(void)msg;
}

static void link_lost(struct mux *m, int error, const char *why)
{
	(void)m, (void)error, (void)why;
	lost++;
	writeback_link_lost(wb);
}

static void link_before_send(struct mux *m)
{
	(void)m;
	writeback_before_send(wb);
}

static const struct mux_ops link_ops = {
	.message = link_message,
	.lost = link_lost,
	.before_send = link_before_send,
};

static int set_up(void **state)
{
	int fds[2];

	(void)state;
	tracer = (struct tracer){ 0 };
	agent.nlog = lost = nsynced = nnodes = 0;
	agent.bytes = 0;
	agent.holds = answered = continued = false;
	last = NULL;
	for (int i = 0; i < FILES_MAX; i++)
		agent.files[i] = -1;
	buf_init(&agent.in, 4 * PROTO_FRAME_MAX);
	if (loop_init(&tracer.loop) < 0 ||
		socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0)
		return -1;
	agent.fd = fds[1];
	tracer.link.open = tracer.link.hello = true;
	if (mux_init(mux, &tracer.loop, fds[0], PROTO_CLIENT, &link_ops) < 0)
		return -1;
	return writeback_init(wb, &tracer);
}

/* What log_err() wrote while fn ran. */
static const char *said(void (*fn)(void *), void *data)
{
	static char text[4096];
	int fds[2], saved = dup(2);
	ssize_t n;

	assert_int_equal(pipe2(fds, O_NONBLOCK | O_CLOEXEC), 0);
	dup2(fds[1], 2);
	fn(data);
	dup2(saved, 2);
	close(saved);
	n = read(fds[0], text, sizeof(text) - 1);
	text[n > 0 ? n : 0] = '\0';
	close(fds[0]);
	close(fds[1]);
	return text;
}

static void end_run(void *data)
{
	(void)data;
	writeback_done(wb);
}

static int tear_down(void **state)
{
	(void)state;
	mux_done(mux);
	tracer.link.open = false;
	said(end_run, NULL);
	loop_done(&tracer.loop);
	close_fd(&agent.fd);
	buf_done(&agent.in);
	for (int i = 0; i < FILES_MAX; i++)
		close_fd(&agent.files[i]);
	for (unsigned i = 0; i < nnodes; i++)
		free(nodes[i]);
	return 0;
}

/* A turn of both. */
static void turn(void)
{
	unit_run(&tracer.loop, 0);
	agent_reads();
}

#define turn_until(condition)                                                                      \
	do {                                                                                       \
		uint64_t until_ = now_ns() + 20000000000u;                                         \
		while (!(condition)) {                                                             \
			if (now_ns() > until_)                                                     \
				fail_msg("still not: %s", #condition);                             \
			unit_run(&tracer.loop, 1);                                                 \
			agent_reads();                                                             \
		}                                                                                  \
	} while (0)

/* A file of the target and its copy. */
struct file {
	int copy;   /* O_PATH */
	int theirs; /* the target's, for a look at it */
	int fd;     /* the guest's */
	char name[2][32];
	struct tree_node *node;
};

static int make_file(char name[static 32], const void *p, size_t n)
{
	int fd;

	strcpy(name, "/tmp/writeback.XXXXXX");
	fd = mkostemp(name, O_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, p, n), n);
	return fd;
}

static void file_make(struct file *f, const void *p, size_t n)
{
	struct stat st;
	int fd = make_file(f->name[0], p, n);

	close(fd);
	f->copy = open(f->name[0], O_PATH | O_CLOEXEC);
	f->theirs = make_file(f->name[1], p, n);
	f->fd = -1;
	f->node = calloc(1, sizeof(*f->node));
	assert_int_equal(fstat(f->copy, &st), 0);
	f->node->ino = st.st_ino;
	f->node->attr = (struct file_attr){ .dev = 7, .ino = st.st_ino };
	tracer.fs.tree.dev = st.st_dev;
	f->node->version = 1;
	nodes[nnodes++] = f->node;
}

/* The way of an open: the agent's handle, then the guest's descriptor. */
static int open_again(struct file *f, uint32_t handle, int flags)
{
	uint32_t want = FILE_WRITE;
	char path[32];

	want |= flags & O_APPEND ? FILE_APPEND : 0;
	want |= flags & O_TRUNC ? FILE_TRUNC : 0;
	want |= (flags & O_ACCMODE) == O_RDWR ? FILE_READ : 0;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", f->theirs);
	agent.files[handle] = open(path, O_RDWR | O_CLOEXEC | (flags & O_TRUNC));
	assert_true(agent.files[handle] >= 0);
	if (flags & O_TRUNC)
		assert_int_equal(truncate(f->name[0], 0), 0);
	assert_int_equal(writeback_opened(wb, f->node, f->copy, "/target/file", handle, want), 0);
	return open(f->name[0], (flags & ~O_TRUNC) | O_CLOEXEC);
}

static void file_open(struct file *f, uint32_t handle, int flags)
{
	f->fd = open_again(f, handle, flags);
	assert_true(f->fd >= 0);
}

/* One that the guest has open as the agent's first. */
static void file_begin(struct file *f, const void *p, size_t n, int flags)
{
	file_make(f, p, n);
	file_open(f, 1, flags);
}

static void file_gone(struct file *f)
{
	close_fd(&f->fd);
	close_fd(&f->copy);
	close_fd(&f->theirs);
	unlink(f->name[0]);
	unlink(f->name[1]);
}

static bool is_same_file(const struct file *f)
{
	static uint8_t a[1 << 20], b[1 << 20];
	cleanup_fd int fd = open(f->name[0], O_RDONLY | O_CLOEXEC);
	struct stat mine, theirs;

	assert_int_equal(fstat(fd, &mine), 0);
	assert_int_equal(fstat(f->theirs, &theirs), 0);
	if (mine.st_size != theirs.st_size)
		return false;
	for (off_t at = 0; at < mine.st_size; at += (off_t)sizeof(a)) {
		ssize_t n = pread(fd, a, sizeof(a), at);

		assert_int_equal(pread(f->theirs, b, sizeof(b), at), n);
		if (memcmp(a, b, (size_t)n) != 0)
			return false;
	}
	return true;
}

static void guest_writes(const struct file *f, const void *p, size_t n)
{
	assert_int_equal(write(f->fd, p, n), n);
}

/* Something else that the guest says. */
static void guest_says(uint32_t id)
{
	struct msg m = { .type = MSG_unsubscribe, .id = id };

	mux_send(mux, &m);
}

static unsigned count_of(enum msg_type type)
{
	unsigned n = 0;

	for (unsigned i = 0; i < agent.nlog; i++)
		n += agent.log[i] == type;
	return n;
}

/* When the guest's n-th word is heard, the target's file is as the guest has it. */
static void heard_in_time(const struct file *f, uint32_t n)
{
	guest_says(n);
	turn_until(count_of(MSG_unsubscribe) == n);
	assert_true(is_same_file(f));
}

static void forget_log(void)
{
	agent.nlog = 0;
	agent.bytes = 0;
}

/* --- order --- */

static void what_was_written_comes_before_what_is_said(void **state)
{
	struct file f;

	(void)state;
	file_begin(&f, "", 0, O_WRONLY);
	for (uint32_t i = 0; i < 50; i++) {
		guest_writes(&f, &i, sizeof(i));
		guest_says(i);
	}
	turn_until(count_of(MSG_unsubscribe) == 50);
	/* The first message is behind all writes that it could be behind. */
	assert_int_equal(agent.log[0], MSG_file_write);
	assert_true(is_same_file(&f));
	file_gone(&f);
}

static void relay_over(struct relay *r, int error)
{
	(void)r;
	(void)error;
}

/* The same by the way of a relay: the guest writes to a file, then to a socket. At each byte that
 * the agent gets, the file must have been written up to there. */
static void what_was_written_comes_before_a_relays_bytes(void **state)
{
	struct relay relay = { 0 };
	struct file f;
	int fds[2];

	(void)state;
	assert_int_equal(
		socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
	file_begin(&f, "", 0, O_WRONLY);
	assert_int_equal(relay_start(&relay, &tracer.loop, mux, 1, fds[0], false, relay_over), 0);
	for (unsigned i = 1; i <= 200; i++) {
		forget_log();
		guest_writes(&f, "line\n", 5);
		assert_int_equal(write(fds[1], "x", 1), 1);
		/* Past the pace, or not. */
		if (i % 7 == 0)
			unit_run(&tracer.loop, 1);
		turn_until(count_of(MSG_data));
		for (unsigned k = 0; agent.log[k] != MSG_data; k++)
			assert_int_equal(agent.log[k], MSG_file_write);
		assert_int_equal(agent.bytes, 5);
		assert_true(is_same_file(&f));
	}
	relay_abort(&relay, 0);
	close(fds[1]);
	file_gone(&f);
}

/* A gigabyte is not copied into the queue; what is said waits behind it. */
static void a_large_change_is_sent_as_there_is_room(void **state)
{
	struct file f;

	(void)state;
	file_begin(&f, "", 0, O_WRONLY);
	for (unsigned i = 0; i < 64; i++) {
		static uint8_t mib[1 << 20];

		memset(mib, (int)i + 1, sizeof(mib));
		guest_writes(&f, mib, sizeof(mib));
	}
	agent.holds = true;
	guest_says(7);
	for (int i = 0; i < 10; i++)
		turn();
	assert_true(mux->out.tail - mux->out.head <= MUX_OUT_HIGH);
	agent.holds = false;
	turn_until(count_of(MSG_unsubscribe));
	assert_int_equal(agent.log[agent.nlog - 1], MSG_unsubscribe);
	assert_true(is_same_file(&f));
	assert_int_equal(agent.bytes, 64 << 20);
	file_gone(&f);
}

/* While a pass over the file waits or is under way, other changes come. */
static void changes_during_a_pass_are_not_missed(void **state)
{
	static uint8_t mib[1 << 20];
	struct file f;

	(void)state;
	memset(mib, 1, sizeof(mib));
	file_begin(&f, "", 0, O_WRONLY);
	for (unsigned i = 0; i < 3; i++)
		guest_writes(&f, mib, sizeof(mib));
	agent.holds = true;
	guest_says(1);
	for (int i = 0; i < 5; i++)
		turn(); /* it has begun */
	for (uint32_t i = 2; i < 6; i++) {
		assert_int_equal(pwrite(f.fd, &i, sizeof(i), i * 10), sizeof(i));
		guest_says(i);
	}
	agent.holds = false;
	turn_until(count_of(MSG_unsubscribe) == 5);
	assert_true(is_same_file(&f));
	file_gone(&f);
}

/* --- what is sent --- */

static void log_of_lines(struct file *f, unsigned lines)
{
	for (unsigned i = 0; i < lines; i++) {
		guest_writes(f, "0123456789\n", 11);
		guest_says(i);
		turn();
	}
	turn_until(is_same_file(f));
	assert_int_equal(agent.bytes, 11 * lines);
}

/* Not block by block, of which each line would send one. */
static void of_a_log_lines_are_sent(void **state)
{
	struct file f;

	(void)state;
	file_begin(&f, "", 0, O_WRONLY);
	log_of_lines(&f, 1000);
	file_gone(&f);
}

static void an_append_handle_gets_what_was_added(void **state)
{
	char line[64];
	struct file f;
	ssize_t n;

	(void)state;
	file_begin(&f, "before\n", 7, O_WRONLY | O_APPEND);
	log_of_lines(&f, 500);
	/* Others append to the target's file as well. */
	assert_int_equal(pwrite(f.theirs, "theirs\n", 7, 7 + 500 * 11), 7);
	guest_writes(&f, "ours\n", 5);
	guest_says(1);
	turn();
	turn_until(agent.bytes == 500 * 11 + 5);
	n = pread(f.theirs, line, sizeof(line), 7 + 500 * 11);
	assert_int_equal(n, 12);
	assert_memory_equal(line, "theirs\nours\n", 12);
	file_gone(&f);
}

/* By a mapping, or when O_APPEND was taken away (fcntl(2)). */
static void what_is_changed_in_place_of_an_appended_file_is_sent(void **state)
{
	char is[64] = "";
	struct file f;
	char *map;

	(void)state;
	file_make(&f, "0123456789", 10);
	file_open(&f, 1, O_RDWR | O_APPEND);
	guest_writes(&f, "ab", 2);
	turn_until(is_same_file(&f));
	assert_int_equal(fcntl(f.fd, F_SETFL, 0), 0);
	assert_int_equal(pwrite(f.fd, "X", 1, 3), 1);
	assert_int_equal(fcntl(f.fd, F_SETFL, O_APPEND), 0);
	guest_writes(&f, "cd", 2);
	turn_until(is_same_file(&f));
	map = mmap(NULL, 10, PROT_READ | PROT_WRITE, MAP_SHARED, f.fd, 0);
	assert_ptr_not_equal(map, MAP_FAILED);
	map[5] = 'Y';
	munmap(map, 10);
	writeback_process_ends(wb);
	turn_until(is_same_file(&f));
	/* And what others have added stays. */
	assert_int_equal(pwrite(f.theirs, "theirs", 6, 14), 6);
	guest_writes(&f, "ours", 4);
	close_fd(&f.fd);
	turn_until(!f.node->writeback);
	assert_int_equal(pread(f.theirs, is, sizeof(is) - 1, 0), 24);
	assert_string_equal(is, "012X4Y6789abcdtheirsours");
	file_gone(&f);
}

static void an_appended_hole_is_sent_as_zeros(void **state)
{
	struct file f;

	(void)state;
	file_make(&f, "x", 1);
	file_open(&f, 1, O_RDWR | O_APPEND);
	assert_int_equal(ftruncate(f.fd, 3 * SENT_BLOCK), 0);
	guest_writes(&f, "end", 3);
	turn_until(is_same_file(&f));
	file_gone(&f);
}

static void a_file_opened_for_appending_and_otherwise(void **state)
{
	struct file f;
	int plain;

	(void)state;
	file_begin(&f, "0123456789", 10, O_WRONLY | O_APPEND);
	guest_writes(&f, "ab", 2);
	plain = open_again(&f, 2, O_RDWR);
	assert_int_equal(pwrite(plain, "X", 1, 3), 1);
	guest_writes(&f, "cd", 2);
	guest_says(1);
	turn_until(is_same_file(&f));
	assert_int_equal(count_of(MSG_file_close), 1);
	close(plain);
	turn_until(count_of(MSG_unsubscribe));
	close_fd(&f.fd);
	turn_until(count_of(MSG_file_close) == 2);
	assert_null(f.node->writeback);
	file_gone(&f);
}

/* A pass is under way then. */
static void a_file_opened_otherwise_while_it_is_sent(void **state)
{
	static uint8_t mib[1 << 20];
	struct file f;
	int plain;

	(void)state;
	file_begin(&f, "0123456789", 10, O_WRONLY | O_APPEND);
	for (int i = 0; i < 16; i++) {
		memset(mib, 'a' + i, sizeof(mib));
		guest_writes(&f, mib, sizeof(mib));
	}
	agent.holds = true;
	guest_says(1);
	for (int i = 0; i < 10; i++)
		turn();
	assert_true(f.node->writeback->pass[0].begun);
	plain = open_again(&f, 2, O_RDWR);
	assert_int_equal(pwrite(plain, "X", 1, 3), 1);
	assert_int_equal(pwrite(plain, "Y", 1, 15 << 20), 1);
	agent.holds = false;
	turn_until(is_same_file(&f));
	close(plain);
	close_fd(&f.fd);
	turn_until(count_of(MSG_file_close) == 2);
	assert_true(is_same_file(&f));
	file_gone(&f);
}

/* ftruncate(2), and more is written than there was. */
static void an_appended_file_is_cut(void **state)
{
	static const uint64_t sizes[] = { 0, 3, 11, 13, 40 };
	int result = 1;
	struct file f;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		file_make(&f, "first line\n", 11);
		file_open(&f, 1, O_WRONLY | O_APPEND);
		guest_writes(&f, "and more", 8);
		if (i % 2)
			turn_until(agent.bytes == 8);
		assert_true(writeback_truncate(wb, f.fd, sizes[i], &result));
		assert_int_equal(result, 0);
		guest_writes(&f, "this is more than was cut off", 29);
		close_fd(&f.fd);
		turn_until(count_of(MSG_file_close) == 1);
		assert_true(is_same_file(&f));
		file_gone(&f);
		f.node->ino = 0; /* another file may get it */
		forget_log();
	}
	file_make(&f, "", 0);
	assert_false(writeback_truncate(wb, f.copy, 0, &result));
	file_open(&f, 1, O_WRONLY);
	assert_false(writeback_truncate(wb, f.fd, 0, &result));
	close_fd(&f.fd);
	file_open(&f, 2, O_WRONLY);
	file_gone(&f);
}

/* One block of many was changed. */
static void a_block_that_is_the_same_is_not_sent(void **state)
{
	static uint8_t bytes[3 << 20];
	struct file f;

	(void)state;
	memset(bytes, 'x', sizeof(bytes));
	file_begin(&f, bytes, sizeof(bytes), O_RDWR);
	assert_int_equal(pwrite(f.fd, "changed", 7, 1 << 20), 7);
	heard_in_time(&f, 1);
	assert_int_equal(agent.bytes, SENT_BLOCK);
	file_gone(&f);
}

static void an_opened_file_that_is_not_changed_sends_nothing(void **state)
{
	struct file f;

	(void)state;
	file_begin(&f, "content", 7, O_RDWR);
	guest_says(1);
	close_fd(&f.fd);
	turn_until(count_of(MSG_file_close));
	assert_int_equal(agent.bytes, 0);
	assert_int_equal(agent.nlog, 2);
	assert_true(is_same_file(&f));
	file_gone(&f);
}

/* A hole takes neither time nor messages. */
static void holes_are_skipped(void **state)
{
	uint64_t begin = now_ns();
	struct file f;

	(void)state;
	file_begin(&f, "begin", 5, O_RDWR);
	assert_int_equal(pwrite(f.fd, "end", 3, (off_t)10 << 30), 3);
	assert_int_equal(ftruncate(f.fd, (off_t)20 << 30), 0);
	guest_says(1);
	close_fd(&f.fd);
	turn_until(count_of(MSG_file_close));
	assert_true(agent.bytes <= 3 * SENT_BLOCK);
	assert_int_equal(lseek(f.theirs, 0, SEEK_END), (off_t)20 << 30);
	assert_true(now_ns() - begin < 3000000000u);
	file_gone(&f);
}

static void a_file_too_large_for_hashes_is_said_to_fail(void **state)
{
	struct file f;

	(void)state;
	file_begin(&f, "begin", 5, O_RDWR);
	assert_int_equal(ftruncate(f.fd, (off_t)SENT_FILE_MAX + 1), 0);
	guest_says(1);
	turn_until(count_of(MSG_unsubscribe));
	assert_true(wb->failed);
	file_gone(&f);
}

/* Cutting and growing again between two looks. */
static void a_file_is_cut_and_written_anew(void **state)
{
	struct file f;

	(void)state;
	file_begin(&f, "some content of before", 22, O_WRONLY);
	assert_int_equal(ftruncate(f.fd, 3), 0);
	heard_in_time(&f, 1);
	assert_int_equal(ftruncate(f.fd, 0), 0);
	assert_int_equal(pwrite(f.fd, "12345", 5, 20), 5);
	heard_in_time(&f, 2);
	file_gone(&f);
}

/* Another open of the guest has cut the file in the target; the same content is written again. */
static void an_open_that_cuts_begins_anew(void **state)
{
	struct file f;
	int other;

	(void)state;
	file_begin(&f, "", 0, O_WRONLY);
	guest_writes(&f, "content", 7);
	guest_says(1);
	turn_until(count_of(MSG_unsubscribe) == 1);
	other = open_again(&f, 2, O_WRONLY | O_TRUNC);
	assert_int_equal(write(other, "content", 7), 7);
	heard_in_time(&f, 2);
	close(other);
	file_gone(&f);
}

/* --- large files --- */

/* It was written to before it got its name in the target. */
static void what_is_new_to_the_target_is_sent(void **state)
{
	struct file f;

	(void)state;
	file_make(&f, "written before", 14);
	assert_int_equal(ftruncate(f.theirs, 0), 0);
	agent.files[1] = dup(f.theirs);
	assert_int_equal(writeback_opened(wb, f.node, f.copy, "/target/file", 1,
				 FILE_READ | FILE_WRITE | FILE_TRUNC),
		0);
	turn_until(is_same_file(&f));
	turn_until(count_of(MSG_file_close) == 1);
	file_gone(&f);
}

static void grow(const struct file *f, unsigned mib)
{
	static uint8_t bytes[1 << 20];

	for (unsigned i = 0; i < mib; i++) {
		memset(bytes, (int)i + 1, sizeof(bytes));
		guest_writes(f, bytes, sizeof(bytes));
	}
}

/* Of a large file that grew, what was added is sent before what is said, and the rest later. */
static void of_a_large_file_additions_come_first(void **state)
{
	struct file f;

	(void)state;
	file_begin(&f, "", 0, O_WRONLY);
	grow(&f, 8);
	heard_in_time(&f, 1);
	assert_int_equal(pwrite(f.fd, "header", 6, 0), 6);
	guest_writes(&f, "tail", 4);
	forget_log();
	guest_says(2);
	turn_until(count_of(MSG_unsubscribe) == 1);
	assert_int_equal(agent.bytes, 4);
	turn_until(is_same_file(&f)); /* within a second or so */
	assert_int_equal(agent.bytes, 4 + SENT_BLOCK);
	file_gone(&f);
}

/* One that did not grow was changed in place, and that comes before what is said. */
static void of_a_large_file_changes_in_place_come_first(void **state)
{
	struct file f;

	(void)state;
	file_begin(&f, "", 0, O_WRONLY);
	grow(&f, 8);
	guest_says(1);
	turn_until(count_of(MSG_unsubscribe) == 1);
	for (uint32_t i = 2; i < 30; i++) {
		assert_int_equal(pwrite(f.fd, &i, sizeof(i), i * 100000), sizeof(i));
		if (i % 3 == 0)
			unit_run(&tracer.loop, 1); /* it was looked at already */
		forget_log();
		guest_says(i);
		turn_until(count_of(MSG_unsubscribe) == 1);
		assert_true(is_same_file(&f));
	}
	file_gone(&f);
}

/* --- any change --- */

static void change_somehow(const struct file *f, uint64_t *seed)
{
	static uint8_t bytes[200000];
	struct stat st;
	off_t at;
	size_t n;

	assert_int_equal(fstat(f->fd, &st), 0);
	at = (off_t)(unit_random(seed) % ((uint64_t)st.st_size + 70000));
	n = unit_random(seed) % (unit_random(seed) % 2 ? sizeof(bytes) : 20);
	memset(bytes, unit_random(seed) % 3 ? (int)(unit_random(seed) % 256) : 0, n);
	switch (unit_random(seed) % 8) {
	case 0:
		assert_int_equal(ftruncate(f->fd, at), 0);
		break;
	case 1:
		fallocate(f->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, at, (off_t)n + 1);
		break;
	case 2:
	case 3:
		at = st.st_size;
		/* fallthrough */
	default:
		assert_int_equal(pwrite(f->fd, bytes, n, at), n);
	}
}

static void any_changes_arrive(void **state)
{
	uint64_t seed = 88172645463325252u;
	struct file f;

	(void)state;
	for (int run = 0; run < 20; run++) {
		nnodes = 0;
		file_make(&f, "0123456789", run % 2 ? 10 : 0);
		file_open(&f, 1, O_RDWR);
		for (int i = 0; i < 60; i++) {
			for (uint64_t k = unit_random(&seed) % 4 + 1; k; k--)
				change_somehow(&f, &seed);
			agent.holds = unit_random(&seed) % 3 == 0;
			guest_says(1);
			turn();
			forget_log();
			if (unit_random(&seed) % 4)
				continue;
			agent.holds = false;
			guest_says(2);
			turn_until(agent.nlog && agent.ids[agent.nlog - 1] == 2);
			assert_true(
				size_of(f.node->writeback) > WRITEBACK_EXACT || is_same_file(&f));
			forget_log();
		}
		agent.holds = false;
		close_fd(&f.fd);
		turn_until(count_of(MSG_file_close));
		assert_true(is_same_file(&f));
		assert_null(f.node->writeback);
		free(f.node);
		forget_log();
		file_gone(&f);
	}
	nnodes = 0;
}

/* --- what the target changes --- */

static void target_writes(const struct file *f, const char *text, off_t at)
{
	assert_int_equal(pwrite(f->theirs, text, strlen(text), at), strlen(text));
}

static int take(struct file *f, uint64_t mark)
{
	struct stat st;

	assert_int_equal(fstat(f->theirs, &st), 0);
	return writeback_take(f->node, f->theirs, (uint64_t)st.st_size, mark);
}

/* Three blocks that the guest has open for writing, and has written to. */
static void file_written(struct file *f)
{
	uint8_t *bytes = calloc(3, SENT_BLOCK);

	assert_non_null(bytes);
	memset(bytes, 'x', 3 * SENT_BLOCK);
	file_make(f, bytes, 3 * SENT_BLOCK);
	free(bytes);
	f->node->has_content = true;
	file_open(f, 1, O_RDWR);
	guest_writes(f, "guest", 5);
	turn_until(is_same_file(f) && !writeback_has_unsent(f->node->writeback));
	forget_log();
}

static void what_the_target_changed_is_taken(void **state)
{
	struct file f;

	(void)state;
	file_written(&f);
	target_writes(&f, "target", 100);
	target_writes(&f, "target", 2 * SENT_BLOCK);
	target_writes(&f, "longer", 3 * SENT_BLOCK);
	assert_int_equal(take(&f, writeback_mark(wb)), 1);
	assert_true(is_same_file(&f));
	assert_int_equal(ftruncate(f.theirs, SENT_BLOCK + 10), 0);
	turn_until(!writeback_has_unsent(f.node->writeback));
	assert_int_equal(take(&f, writeback_mark(wb)), 1);
	assert_true(is_same_file(&f));
	turn_until(!writeback_has_unsent(f.node->writeback));
	assert_int_equal(agent.bytes, 0); /* it is nothing new to the target */
	assert_int_equal(pwrite(f.fd, "guest", 5, 200), 5);
	turn_until(is_same_file(&f));
	file_gone(&f);
}

static void what_the_guest_wrote_meanwhile_stays(void **state)
{
	uint64_t mark;
	struct file f;

	(void)state;
	file_written(&f);
	target_writes(&f, "target", 2 * SENT_BLOCK);
	mark = writeback_mark(wb);
	guest_writes(&f, "more", 4);
	assert_int_equal(take(&f, mark), 0); /* it is not sent yet */
	agent.holds = true;
	turn();
	assert_int_equal(take(&f, mark), 0); /* or after the question */
	agent.holds = false;
	turn_until(count_of(MSG_file_write) == 1);
	assert_int_equal(take(&f, writeback_mark(wb)), 1);
	assert_true(is_same_file(&f));
	file_gone(&f);
}

/* Stores raise no event: it is the blocks that tell. */
static void what_the_guest_stored_meanwhile_stays(void **state)
{
	struct file f;
	char *map;

	(void)state;
	file_written(&f);
	map = mmap(NULL, 3 * SENT_BLOCK, PROT_READ | PROT_WRITE, MAP_SHARED, f.fd, 0);
	assert_ptr_not_equal(map, MAP_FAILED);
	memcpy(map + 50, "stored", 6);
	target_writes(&f, "target", 50);
	target_writes(&f, "target", 2 * SENT_BLOCK);
	assert_int_equal(take(&f, writeback_mark(wb)), 1);
	assert_memory_equal(map + 50, "stored", 6);
	assert_memory_equal(map + 2 * SENT_BLOCK, "target", 6);
	munmap(map, 3 * SENT_BLOCK);
	writeback_process_ends(wb);
	turn_until(is_same_file(&f));
	file_gone(&f);
}

/* Who only adds to a file has a hole before that. */
static void a_copy_that_is_added_to_gets_its_content(void **state)
{
	struct file f;

	(void)state;
	file_make(&f, "first\n", 6);
	assert_int_equal(truncate(f.name[0], 0), 0);
	assert_int_equal(truncate(f.name[0], 6), 0);
	file_open(&f, 1, O_WRONLY | O_APPEND);
	guest_writes(&f, "second\n", 7);
	assert_int_equal(take(&f, writeback_mark(wb)), 0);
	turn_until(is_same_file(&f));
	f.node->has_content = true;
	assert_int_equal(pwrite(agent.files[1], "target\n", 7, 13), 7);
	turn_until(!writeback_has_unsent(f.node->writeback));
	assert_int_equal(take(&f, writeback_mark(wb)), 1);
	guest_writes(&f, "third\n", 6);
	turn_until(is_same_file(&f));
	file_gone(&f);
}

/* What the target had before the guest cut the file is gone, also where the guest has added to it
 * since then. */
static void what_was_cut_off_a_copy_does_not_come_back(void **state)
{
	static const char *const ways[] = { "ftruncate", "O_TRUNC" };
	char former[32];
	int content = make_file(former, "0123456789", 10);

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(ways); i++) {
		int result = 0, other = -1;
		uint64_t mark;
		struct file f;

		file_make(&f, "0123456789", 10);
		file_open(&f, 1, O_WRONLY | O_APPEND);
		mark = writeback_mark(wb);
		if (i == 0)
			assert_true(writeback_truncate(wb, f.fd, 0, &result));
		else
			other = open_again(&f, 2, O_WRONLY | O_APPEND | O_TRUNC);
		guest_writes(&f, "new", 3);
		assert_int_equal(writeback_take(f.node, content, 10, mark), 0);
		turn_until(!writeback_has_unsent(f.node->writeback));
		if (!is_same_file(&f))
			fail_msg("%s: the files differ", ways[i]);
		assert_int_equal(lseek(f.theirs, 0, SEEK_END), 3);
		close_fd(&other);
		file_gone(&f);
		f.node->ino = 0;
		forget_log();
	}
	close(content);
	unlink(former);
}

/* --- barriers --- */

static void answer_sync(unsigned i, int error)
{
	synced[i]->ops->found(synced[i], error, NULL);
}

/* Stores to mapped memory raise no event; whoever asks for them to be on the disk, has them sent
 * first. */
static void a_barrier_compares_mapped_memory(void **state)
{
	struct call c = { .tracer = &tracer };
	struct file f;
	char *p;

	(void)state;
	file_begin(&f, "0123456789", 10, O_RDWR);
	p = mmap(NULL, 10, PROT_READ | PROT_WRITE, MAP_SHARED, f.fd, 0);
	assert_true(p != MAP_FAILED);
	p[4] = 'X';
	assert_true(writeback_sync(wb, &c, f.fd));
	turn_until(count_of(MSG_file_sync));
	assert_int_equal(agent.log[0], MSG_file_write);
	assert_true(is_same_file(&f));
	assert_false(answered);
	answer_sync(0, ENOSPC);
	assert_true(answered);
	assert_int_equal(answer, -ENOSPC);
	/* The mapping outlives the descriptor, and its end is the end of the file. */
	close_fd(&f.fd);
	p[5] = 'Y';
	unit_run(&tracer.loop, 3 * WRITEBACK_PACE_MS);
	assert_non_null(f.node->writeback);
	munmap(p, 10);
	turn_until(count_of(MSG_file_close));
	assert_true(is_same_file(&f));
	file_gone(&f);
}

/* The answer is about what was sent before the question. */
static void a_barrier_does_not_confirm_what_was_sent_after_it(void **state)
{
	struct call c = { .tracer = &tracer };
	struct writeback_file *w;
	struct file f;

	(void)state;
	file_begin(&f, "first\n", 6, O_WRONLY | O_APPEND);
	w = f.node->writeback;
	guest_writes(&f, "second\n", 7);
	for (unsigned i = 0; i < 2; i++) {
		assert_true(writeback_sync(wb, &c, f.fd));
		turn_until(count_of(MSG_file_sync) == i + 1);
		if (i == 0)
			guest_writes(&f, "third\n", 6);
		turn_until(is_same_file(&f) && !writeback_has_unsent(w));
		answer_sync(i, 0);
		assert_int_equal(w->sent.unsure, i == 0);
		assert_int_equal(w->sent.sure, i == 0 ? 6 : 19);
	}
	file_gone(&f);
}

static void a_barrier_for_all(void **state)
{
	struct call c = { .tracer = &tracer };
	struct file f[3];

	(void)state;
	assert_false(writeback_sync(wb, &c, -1));
	for (uint32_t i = 0; i < 3; i++) {
		file_make(&f[i], "", 0);
		file_open(&f[i], i + 1, O_RDWR);
		guest_writes(&f[i], "x", 1);
	}
	assert_true(writeback_sync(wb, &c, -1));
	turn_until(count_of(MSG_file_sync) == 3);
	for (int i = 0; i < 3; i++)
		assert_true(is_same_file(&f[i]));
	answer_sync(0, 0);
	answer_sync(1, 0);
	assert_false(continued);
	answer_sync(2, 0);
	assert_true(continued); /* this machine's files are the kernel's to sync */
	for (int i = 0; i < 3; i++)
		file_gone(&f[i]);
}

static void a_barrier_whose_thread_goes_away(void **state)
{
	struct call c = { .tracer = &tracer };
	struct file f;

	(void)state;
	file_begin(&f, "", 0, O_RDWR);
	assert_true(writeback_sync(wb, &c, f.fd));
	c.cancel(&c);
	turn();
	assert_null(synced[0]);
	assert_false(answered);
	file_gone(&f);
}

static void a_file_that_is_not_written_to_needs_no_barrier(void **state)
{
	struct call c = { .tracer = &tracer };
	struct file f;

	(void)state;
	file_make(&f, "", 0);
	f.fd = open(f.name[0], O_RDONLY | O_CLOEXEC);
	assert_false(writeback_sync(wb, &c, f.fd));
	file_gone(&f);
}

/* --- the end of a file --- */

static void the_last_close_ends_it(void **state)
{
	struct file f;
	int other, reader;

	(void)state;
	file_begin(&f, "", 0, O_WRONLY);
	other = open_again(&f, 2, O_WRONLY);
	reader = open(f.name[0], O_RDONLY | O_CLOEXEC);
	turn_until(count_of(MSG_file_close) == 1); /* one handle is enough */
	close(other);
	unit_run(&tracer.loop, 3 * WRITEBACK_PACE_MS);
	assert_non_null(f.node->writeback);
	guest_writes(&f, "x", 1);
	close_fd(&f.fd);
	turn_until(count_of(MSG_file_close) == 2);
	assert_int_equal(agent.log[agent.nlog - 2], MSG_file_write);
	assert_null(f.node->writeback);
	assert_int_equal(f.node->version, 0);
	assert_true(is_same_file(&f));
	close(reader);
	file_gone(&f);
}

static void a_file_may_be_opened_again_after_its_end(void **state)
{
	struct file f;

	(void)state;
	file_make(&f, "", 0);
	for (uint32_t i = 0; i < 5; i++) {
		file_open(&f, i, O_WRONLY | (i % 2 ? O_TRUNC : 0));
		guest_writes(&f, &i, sizeof(i));
		close_fd(&f.fd);
		turn_until(count_of(MSG_file_close) == i + 1);
		assert_true(is_same_file(&f));
	}
	file_gone(&f);
}

/* More happened than inotify can tell. */
static void an_overflow_compares_all(void **state)
{
	struct inotify_event e = { .wd = -1, .mask = IN_Q_OVERFLOW };
	struct file f;

	(void)state;
	file_begin(&f, "0123456789", 10, O_RDWR);
	inotify_rm_watch(wb->watch.fd, f.node->writeback->wd);
	assert_int_equal(pwrite(f.fd, "x", 1, 5), 1);
	take_event(wb, &e);
	heard_in_time(&f, 1);
	file_gone(&f);
}

static void the_end_of_a_process_compares_what_it_may_have_mapped(void **state)
{
	struct file f;
	char *p;

	(void)state;
	file_begin(&f, "0123456789", 10, O_RDWR);
	p = mmap(NULL, 10, PROT_READ | PROT_WRITE, MAP_SHARED, f.fd, 0);
	assert_true(p != MAP_FAILED);
	p[4] = 'X';
	writeback_process_ends(wb);
	turn_until(is_same_file(&f));
	munmap(p, 10);
	file_gone(&f);
}

/* --- the end of the run, failures --- */

static void the_end_waits_until_the_agent_has_it_all(void **state)
{
	struct file f;

	(void)state;
	file_begin(&f, "", 0, O_RDWR);
	grow(&f, 20);
	agent.holds = true;
	writeback_finish(wb);
	for (int i = 0; i < 20; i++)
		turn();
	assert_true(writeback_is_sending(wb));
	agent.holds = false;
	turn_until(!writeback_is_sending(wb));
	assert_true(is_same_file(&f));
	assert_int_equal(count_of(MSG_file_close), 1);
	assert_int_equal(agent.log[agent.nlog - 1], MSG_file_op);
	file_gone(&f);
}

static void the_end_without_files_does_not_wait(void **state)
{
	(void)state;
	writeback_finish(wb);
	unit_run(&tracer.loop, 0);
	assert_false(writeback_is_sending(wb));
	assert_int_equal(agent.nlog, 0);
}

static void tell_failure(void *data)
{
	struct msg m = { .type = MSG_file_failed, .id = 1, .file_failed.error = ENOSPC };

	(void)data;
	writeback_message(wb, &m);
	writeback_message(wb, &m); /* it is said once */
}

static void a_failure_is_said_and_at_the_end_again(void **state)
{
	const char *text;
	struct file f;

	(void)state;
	file_begin(&f, "", 0, O_WRONLY);
	guest_writes(&f, "x", 1);
	close_fd(&f.fd);
	turn_until(count_of(MSG_file_close)); /* the failure comes later */
	text = said(tell_failure, NULL);
	assert_non_null(strstr(text, "/target/file"));
	assert_non_null(strstr(text, strerror(ENOSPC)));
	assert_ptr_equal(strchr(text, '\n'), strrchr(text, '\n'));
	assert_true(wb->failed);
	assert_non_null(strstr(said(end_run, NULL), "/target/file"));
	file_gone(&f);
}

static void lose_link(void *data)
{
	(void)data;
	mux_fail(mux, EIO, "test");
}

static void break_link(void *data)
{
	(void)data;
	writeback_link_broken(wb);
}

static void write_to(void *data)
{
	guest_writes(data, "y", 1);
	writeback_before_send(wb);
}

static void a_lost_link_is_said_of_what_was_not_sent(void **state)
{
	struct call c = { .tracer = &tracer };
	struct file f, g;

	(void)state;
	file_make(&f, "", 0);
	file_make(&g, "", 0);
	file_open(&f, 1, O_WRONLY);
	file_open(&g, 2, O_WRONLY);
	guest_writes(&f, "x", 1);
	assert_non_null(strstr(said(lose_link, NULL), "may not be what the program wrote"));
	assert_int_equal(lost, 1);
	assert_false(f.node->writeback->sent.unsure && g.node->writeback->record->error);
	assert_true(writeback_sync(wb, &c, g.fd));
	assert_int_equal(answer, -EIO);
	assert_non_null(strstr(said(write_to, &g), "may not be what the program wrote"));
	writeback_finish(wb);
	turn_until(!writeback_is_sending(wb));
	assert_null(f.node->writeback);
	assert_null(g.node->writeback);
	assert_int_equal(agent.nlog, 0);
	file_gone(&f);
	file_gone(&g);
}

/* It had its place on the link, and no more. */
static void a_lost_link_is_said_of_what_waited(void **state)
{
	struct file f;

	(void)state;
	file_make(&f, "", 0);
	file_open(&f, 1, O_WRONLY);
	guest_writes(&f, "x", 1);
	writeback_before_send(wb);
	assert_non_null(strstr(said(lose_link, NULL), "may not be what the program wrote"));
	file_gone(&f);
}

static void who_waits_for_all_does_not_hear_of_a_file_that_is_cut_off(void **state)
{
	struct call c = { .tracer = &tracer };
	struct file f;

	(void)state;
	file_make(&f, "", 0);
	file_open(&f, 1, O_WRONLY);
	said(lose_link, NULL);
	assert_true(writeback_sync(wb, &c, -1));
	assert_true(continued);
	file_gone(&f);
}

/* Nobody else can see it. */
static void a_file_without_a_name_stays_here(void **state)
{
	struct file f;

	(void)state;
	file_make(&f, "", 0);
	file_open(&f, 1, O_RDWR);
	guest_writes(&f, "x", 1);
	f.node->gone = true;
	assert_string_equal(said(break_link, NULL), "");
	assert_null(f.node->writeback);
	file_gone(&f);
}

/* --- a new link --- */

#define PIECE ((ssize_t)10007)

/* The agent opens the target's file again, and sends its content in pieces of whatever size. */
static void open_on_new_link(const struct file *f, uint64_t ino)
{
	static uint8_t bytes[1 << 20];
	uint64_t from = opening->msg.file_open.from;
	struct file_attr attr = { .mode = S_IFREG | 0644, .dev = 7, .ino = ino };
	struct remote_found found = { .attr = &attr, .path = "/target/file" };
	ssize_t n = pread(f->theirs, bytes, sizeof(bytes), (off_t)from);
	struct remote_query *q = opening;
	struct stat st;

	agent.files[5] = fcntl(f->theirs, F_DUPFD_CLOEXEC, 0);
	q->found = true;
	if (q->msg.file_open.want & FILE_CONTENT)
		found.content = FILE_BYTES;
	q->ops->found(q, 0, &found);
	if (f->node->writeback->state != HANDLE_AWAY)
		return;
	for (ssize_t at = 0; at < n; at += PIECE)
		q->ops->data(q, from + (uint64_t)at, bytes + at, (size_t)MIN(n - at, PIECE));
	assert_int_equal(fstat(f->theirs, &st), 0);
	q->ops->end(q, 0, (uint64_t)st.st_size, 0);
}

static void open_as_it_was(void *data)
{
	const struct file *f = data;

	open_on_new_link(f, f->node->ino);
}

static const char *new_link_of(struct file *f)
{
	return said(open_as_it_was, f);
}

#define TEXT_SIZE (3 * SENT_BLOCK + 100)

/* What is there on the new link, and whether the guest's file goes on: after the guest has written
 * 'x' up to TEXT_SIZE of which `sure` bytes are known to have arrived. */
static void a_file_goes_on_if_it_is_as_it_was_left(void **state)
{
	static const struct {
		const char *what;
		size_t sure, size; /* the target's */
		off_t at;          /* where it has another byte, or -1 */
		bool goes_on;
	} rows[] = {
		{ "as it was", TEXT_SIZE, TEXT_SIZE, -1, true },
		{ "its end has not arrived", 0, 2 * SENT_BLOCK + 50, -1, true },
		{ "nothing has arrived", 0, 0, -1, true },
		{ "a whole block has not arrived", SENT_BLOCK, 2 * SENT_BLOCK, -1, true },
		{ "it was cut", TEXT_SIZE, TEXT_SIZE - 1, -1, false },
		{ "it was cut to nothing", 1, 0, -1, false },
		{ "it has got more", 0, TEXT_SIZE + 1, -1, false },
		{ "it has got blocks more", 0, TEXT_SIZE + SENT_BLOCK, -1, false },
		{ "it has a hole behind", TEXT_SIZE, TEXT_SIZE + (1 << 18), -1, false },
		{ "its first byte is another", 0, TEXT_SIZE, 0, false },
		{ "a byte in the middle is another", 0, TEXT_SIZE, SENT_BLOCK + 7, false },
		{ "its last byte is another", 0, TEXT_SIZE, TEXT_SIZE - 1, false },
		{ "the last that has arrived is another", 0, SENT_BLOCK + 8, SENT_BLOCK + 7,
			false },
	};
	uint8_t *bytes = malloc(TEXT_SIZE);

	(void)state;
	assert_non_null(bytes);
	memset(bytes, 'x', TEXT_SIZE);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct writeback_file *w;
		const char *text;
		struct file f;

		file_make(&f, "", 0);
		file_open(&f, 1, O_RDWR);
		guest_writes(&f, bytes, TEXT_SIZE);
		turn_until(is_same_file(&f) && !writeback_has_unsent(f.node->writeback));
		w = f.node->writeback;
		w->sent.sure = rows[i].sure;
		w->sent.unsure = rows[i].sure < TEXT_SIZE;
		replaced = 0;
		writeback_link_broken(wb);
		assert_int_equal(pwrite(f.fd, "later", 5, 100), 5);
		assert_int_equal(ftruncate(f.theirs, (off_t)rows[i].size), 0);
		if (rows[i].at >= 0)
			assert_int_equal(pwrite(f.theirs, "?", 1, rows[i].at), 1);
		text = new_link_of(&f);
		if ((w->state == HANDLE_OPEN) != rows[i].goes_on)
			fail_msg("%s: it goes on: %d", rows[i].what, w->state == HANDLE_OPEN);
		assert_int_equal(*text == '\0', rows[i].goes_on);
		assert_int_equal(replaced, !rows[i].goes_on);
		turn_until(!rows[i].goes_on || is_same_file(&f));
		close_fd(&f.fd);
		turn_until(!f.node->writeback);
		file_gone(&f);
		free(f.node);
		nnodes = 0;
		forget_log();
	}
	free(bytes);
}

/* Of what is added to, what others have added to it does not matter; but what of ours was on its
 * way must be known. */
static void a_file_that_is_added_to_goes_on(void **state)
{
	static const struct {
		bool unsure;
		const char *theirs, *then;
	} rows[] = {
		{ false, "first\nsecond\n", "first\nsecond\nthird\n" },
		{ false, "first\nsecond\ntheirs\n", "first\nsecond\ntheirs\nthird\n" },
		{ false, "", "third\n" },
		{ true, "first\nsecond\n", "first\nsecond\nthird\n" },
		{ true, "first\nsec", "first\nsecond\nthird\n" },
		{ true, "first\n", "first\nsecond\nthird\n" },
		{ true, "first\ntheirs\n", "first\ntheirs\n" },
		{ true, "", "" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		char is[64] = "";
		struct file f;

		file_make(&f, "first\n", 6);
		file_open(&f, 1, O_WRONLY | O_APPEND);
		guest_writes(&f, "second\n", 7);
		turn_until(is_same_file(&f) && !writeback_has_unsent(f.node->writeback));
		if (!rows[i].unsure)
			sent_sure(&f.node->writeback->sent);
		writeback_link_broken(wb);
		guest_writes(&f, "third\n", 6);
		assert_int_equal(ftruncate(f.theirs, 0), 0);
		assert_int_equal(pwrite(f.theirs, rows[i].theirs, strlen(rows[i].theirs), 0),
			strlen(rows[i].theirs));
		new_link_of(&f);
		close_fd(&f.fd);
		turn_until(!f.node->writeback);
		assert_true(pread(f.theirs, is, sizeof(is) - 1, 0) >= 0);
		assert_string_equal(is, rows[i].then);
		file_gone(&f);
		free(f.node);
		nnodes = 0;
		forget_log();
	}
}

static void another_file_of_that_name_is_left_alone(void **state)
{
	struct file f;

	(void)state;
	file_make(&f, "text", 4);
	file_open(&f, 1, O_RDWR);
	writeback_link_broken(wb);
	guest_writes(&f, "mine", 4);
	open_on_new_link(&f, f.node->ino + 1);
	assert_int_equal(f.node->writeback->state, HANDLE_GONE);
	turn_until(count_of(MSG_file_close) == 1);
	close_fd(&f.fd);
	turn_until(!f.node->writeback);
	assert_int_equal(count_of(MSG_file_write), 0);
	file_gone(&f);
}

/* The guest's open has its own answer, which may come first. */
static void an_open_that_cuts_while_the_link_was_away(void **state)
{
	struct file f;
	int other;

	(void)state;
	file_make(&f, "text", 4);
	file_open(&f, 1, O_WRONLY);
	guest_writes(&f, "more than", 9);
	turn_until(is_same_file(&f));
	writeback_link_broken(wb);
	other = open_again(&f, 2, O_WRONLY | O_TRUNC);
	assert_int_equal(write(other, "new", 3), 3);
	new_link_of(&f);
	assert_int_equal(f.node->writeback->state, HANDLE_OPEN);
	turn_until(is_same_file(&f));
	close(other);
	file_gone(&f);
}

static void records_are_bounded(void **state)
{
	struct file f;

	(void)state;
	file_make(&f, "", 0);
	for (unsigned i = 0; i < WRITEBACK_RECORDS_MAX + 10; i++) {
		file_open(&f, 1, O_WRONLY);
		close_fd(&f.fd);
		if (i == 0)
			said(tell_failure, NULL);
		forget_log();
		writeback_before_send(wb); /* or it would wait for the pace */
		turn_until(!f.node->writeback && agent.nlog);
	}
	assert_true(wb->nrecords <= WRITEBACK_RECORDS_MAX);
	assert_non_null(strstr(said(end_run, NULL), "/target/file")); /* the failure is kept */
	file_gone(&f);
}

int main(void)
{
#define test(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)
	static const struct CMUnitTest tests[] = {
		test(what_was_written_comes_before_what_is_said),
		test(what_was_written_comes_before_a_relays_bytes),
		test(a_large_change_is_sent_as_there_is_room),
		test(changes_during_a_pass_are_not_missed),
		test(of_a_log_lines_are_sent),
		test(an_append_handle_gets_what_was_added),
		test(what_is_changed_in_place_of_an_appended_file_is_sent),
		test(an_appended_hole_is_sent_as_zeros),
		test(a_file_opened_for_appending_and_otherwise),
		test(a_file_opened_otherwise_while_it_is_sent),
		test(an_appended_file_is_cut),
		test(a_block_that_is_the_same_is_not_sent),
		test(an_opened_file_that_is_not_changed_sends_nothing),
		test(holes_are_skipped),
		test(a_file_too_large_for_hashes_is_said_to_fail),
		test(a_file_is_cut_and_written_anew),
		test(an_open_that_cuts_begins_anew),
		test(what_is_new_to_the_target_is_sent),
		test(of_a_large_file_additions_come_first),
		test(of_a_large_file_changes_in_place_come_first),
		test(any_changes_arrive),
		test(what_the_target_changed_is_taken),
		test(what_the_guest_wrote_meanwhile_stays),
		test(what_the_guest_stored_meanwhile_stays),
		test(a_copy_that_is_added_to_gets_its_content),
		test(what_was_cut_off_a_copy_does_not_come_back),
		test(a_barrier_compares_mapped_memory),
		test(a_barrier_does_not_confirm_what_was_sent_after_it),
		test(a_barrier_for_all),
		test(a_barrier_whose_thread_goes_away),
		test(a_file_that_is_not_written_to_needs_no_barrier),
		test(the_last_close_ends_it),
		test(a_file_may_be_opened_again_after_its_end),
		test(an_overflow_compares_all),
		test(the_end_of_a_process_compares_what_it_may_have_mapped),
		test(the_end_waits_until_the_agent_has_it_all),
		test(the_end_without_files_does_not_wait),
		test(a_failure_is_said_and_at_the_end_again),
		test(a_lost_link_is_said_of_what_was_not_sent),
		test(a_lost_link_is_said_of_what_waited),
		test(who_waits_for_all_does_not_hear_of_a_file_that_is_cut_off),
		test(a_file_without_a_name_stays_here),
		test(a_file_goes_on_if_it_is_as_it_was_left),
		test(a_file_that_is_added_to_goes_on),
		test(another_file_of_that_name_is_left_alone),
		test(an_open_that_cuts_while_the_link_was_away),
		test(records_are_bounded),
	};

	log_init("test", false);
	return cmocka_run_group_tests_name("writeback", tests, NULL, NULL);
}
