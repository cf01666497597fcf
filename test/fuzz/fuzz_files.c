/* What an agent may say about files: its answers go through the mux and remote.c into a tree, as
 * the supervisor's handlers would take them there. Whatever they say, nothing changes outside the
 * tree, nothing stays in its workshop, its accounts are right, and it can be emptied.
 * Input: a byte for each choice that the answers leave, as it comes. */
#include "../../tracer/remote.c"

#include <sys/socket.h>
#include <sys/stat.h>

#include "../../tracer/tree.c"
#include "../../tracer/tree_content.c"
#include "../../tracer/tree_links.c"
#include "../../tracer/tree_list.c"
#include "../../tracer/tree_place.c"

#include "fuzz_dir.h"

#define PLACE     "/dev/shm/fuzz-files"
#define OUTSIDE   PLACE "/outside"
#define BYTES_MAX (1 << 20)
#define TURNS_MAX 64

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerInitialize(int *argc, char ***argv);

static struct tracer tracer;
static struct remote remote;
static struct tree tree;
static int agent;

uint32_t outgoing_channel(struct outgoing *out)
{
	return PROTO_CLIENT_CHANNEL | out->next_channel++;
}

bool link_may_return(const struct link *l)
{
	(void)l;
	return false;
}

/* --- the asker --- */

static struct asker {
	struct remote_query query;
	struct tree_content content;
	struct tree_listing listing;
	struct file_attr attr;
	bool under_way;
} asker;

static void hear_found(struct remote_query *q, int error, const struct remote_found *f)
{
	struct tree_node *node;

	asker.under_way = f && (f->content == FILE_BYTES || f->content == FILE_ENTRIES);
	if (error < 0 || !error != !!f)
		abort();
	if (!f)
		return;
	asker.attr = *f->attr;
	if (q->msg.type == MSG_file_op && q->msg.file_op.op == FILE_OP_RENAME) {
		tree_rename(&tree, f->path, f->more, q->msg.file_op.a);
		return;
	}
	if (q->msg.type == MSG_file_op) {
		tree_put(&tree, f->path, f->attr, NULL, 0, NULL);
		tree_put(&tree, f->more, f->attr, NULL, 0, NULL);
		return;
	}
	if (tree_put(&tree, f->path, f->attr, f->more, f->more_len, &node) < 0)
		return;
	if (f->content == FILE_BYTES)
		tree_content_begin(&asker.content, &tree, f->path, 0);
	if (f->content == FILE_ENTRIES)
		tree_list_begin(&asker.listing, &tree, f->path);
}

static void hear_data(struct remote_query *q, uint64_t offset, const uint8_t *p, size_t n)
{
	(void)q;
	if (asker.content.fd >= 0 && tree_content_data(&asker.content, offset, p, n) < 0)
		tree_content_abort(&asker.content);
}

static void hear_entry(struct remote_query *q, const struct file_attr *attr, const char *name,
	size_t name_len, const char *link, size_t link_len)
{
	(void)q;
	if (asker.listing.dir >= 0)
		tree_list_entry(&asker.listing, attr, name, name_len, link, link_len);
}

static void hear_end(struct remote_query *q, int error, uint64_t size, uint64_t version)
{
	(void)q;
	asker.under_way = false;
	if (asker.content.fd >= 0 && !error)
		tree_content_end(&asker.content, &asker.attr, size, version);
	if (asker.listing.dir >= 0 && !error)
		tree_list_end(&asker.listing);
	tree_content_abort(&asker.content);
	tree_list_abort(&asker.listing);
}

static const struct remote_ops ops = {
	.found = hear_found, .data = hear_data, .entry = hear_entry, .end = hear_end
};

/* --- the agent --- */

static uint8_t byte(struct reader *r)
{
	return (uint8_t)read_uint(r, 1);
}

static uint64_t number(struct reader *r)
{
	static const uint64_t numbers[] = { 0, 1, 5, 4096, 65536, BYTES_MAX, (uint64_t)1 << 40,
		INT64_MAX - 1, INT64_MAX, (uint64_t)1 << 63, UINT64_MAX - 1, UINT64_MAX };
	uint8_t which = byte(r);

	return which < ARRAY_SIZE(numbers) ? numbers[which] : which;
}

static struct span text(struct reader *r)
{
	static const char *const paths[] = { "/", "/a", "/a/b", "/a/b/c/d", "/c", "/..", "/../x",
		"/a/../../x", "/a//b", "/a/", "a", "", ".", "..", "/dev/shm/fuzz-files/outside",
		"../../../outside", "b", "c", "/a/c", "/\xff\n" };
	static char own[PROTO_FILE_PATH_MAX];
	uint8_t which = byte(r);
	size_t n = 0;

	if (which < ARRAY_SIZE(paths))
		return span_of(paths[which]);
	if (which == 255) { /* long */
		memset(own, byte(r), sizeof(own));
		own[0] = '/';
		return (struct span){ own, sizeof(own) };
	}
	for (; n < which % 8u; n++)
		own[n] = (char)byte(r);
	return (struct span){ own, (uint32_t)n };
}

static struct file_attr attr(struct reader *r)
{
	static const uint32_t types[] = { S_IFREG, S_IFREG, S_IFDIR, S_IFDIR, S_IFLNK, S_IFIFO,
		S_IFSOCK, S_IFBLK, 0, S_IFMT };
	uint8_t flags = byte(r), which = byte(r);
	struct file_attr a = { .mode = types[flags % ARRAY_SIZE(types)] | (flags & 0777u),
		.dev = 1,
		.ino = which % 4u,
		.nlink = 1 + which / 128u };

	if (flags & 128) {
		a.size = number(r);
		a.mtime = (int64_t)number(r);
		a.uid = (uint32_t)number(r);
	}
	return a;
}

/* A name or a path, and what follows. */
static struct span two(struct reader *r, uint16_t *len)
{
	static char both[2 * PROTO_FILE_PATH_MAX];
	struct span first = text(r), second;

	memcpy(both, first.data, first.len);
	*len = (uint16_t)(first.len + (byte(r) == 255));
	second = text(r);
	memcpy(both + first.len, second.data, second.len);
	return (struct span){ both, first.len + second.len };
}

static uint32_t error(struct reader *r)
{
	uint8_t which = byte(r);

	return which < 240 ? 0 : which == 255 ? UINT32_MAX : which;
}

static struct msg answer(struct reader *r)
{
	static const enum msg_type types[] = { MSG_file_opened, MSG_file_opened, MSG_file_data,
		MSG_file_data, MSG_file_entry, MSG_file_entry, MSG_file_end, MSG_file_done,
		MSG_file_done, MSG_file_synced, MSG_eof, MSG_reset, MSG_file_failed };
	static uint8_t bytes[PROTO_DATA_MAX];
	struct msg m = { .type = types[byte(r) % ARRAY_SIZE(types)], .id = asker.query.id };

	switch (m.type) {
	case MSG_file_opened:
		m.file_opened.error = error(r);
		m.file_opened.content = byte(r) % (FILE_CONTENT_MAX + 1);
		m.file_opened.attr = attr(r);
		m.file_opened.path = two(r, &m.file_opened.path_len);
		break;
	case MSG_file_data:
		m.file_data.offset = number(r);
		m.file_data.bytes = (struct span){ bytes, (uint32_t)byte(r) * 257 };
		break;
	case MSG_file_entry:
		m.file_entry.attr = attr(r);
		m.file_entry.name = two(r, &m.file_entry.name_len);
		break;
	case MSG_file_end:
		m.file_end.error = error(r);
		m.file_end.size = number(r);
		break;
	case MSG_file_done:
		m.file_done.error = error(r);
		m.file_done.attr = attr(r);
		m.file_done.path = two(r, &m.file_done.path_len);
		break;
	case MSG_file_synced:
		m.file_synced.request = m.id;
		break;
	default:
		break;
	}
	return m;
}

/* --- a link for each input --- */

static void message(struct mux *mux, const struct msg *m)
{
	(void)mux;
	if (m->type == MSG_file_done || m->type == MSG_file_synced)
		remote_message(&remote, m);
}

static void lost(struct mux *mux, int error_, const char *why)
{
	(void)mux;
	if (error_ < 0 || !why)
		abort();
	remote_link_lost(&remote);
}

static const struct mux_ops mux_ops = { .message = message, .lost = lost };

static void set_up(void)
{
	int fds[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds) < 0 ||
		loop_init(&tracer.loop) < 0 ||
		mux_init(&tracer.link.mux, &tracer.loop, fds[0], PROTO_CLIENT, &mux_ops) < 0)
		abort();
	agent = fds[1];
	tracer.link.open = tracer.link.hello = true;
	remote_init(&remote, &tracer);
	asker.query.ops = &ops;
	asker.content = TREE_CONTENT_NONE;
	asker.listing = TREE_LISTING_NONE;
}

static void stop(struct timer *t)
{
	(void)t;
	tracer.loop.stop = true;
}

static void turn(void)
{
	static uint8_t said[65536];
	struct timer now;

	timer_init(&now, stop);
	loop_timer(&tracer.loop, &now, 0);
	tracer.loop.stop = false;
	if (loop_run(&tracer.loop) < 0)
		abort();
	while (read(agent, said, sizeof(said)) > 0)
		;
}

static void ask_something(uint8_t how)
{
	struct remote_query *q = &asker.query;
	enum file_op op = how & 8 ? FILE_OP_LINK : FILE_OP_RENAME;
	int r = how % 4 == 3 ? remote_op(&remote, q, op, 0, how & 4, 0, "/a", "/b", 2)
			     : remote_open(&remote, q, FILE_READ | FILE_CONTENT | FILE_LIST, 0, how,
				       0, "/a");

	if (r < 0)
		abort();
}

static void say(const struct msg *m)
{
	struct buf b;

	buf_init(&b, PROTO_FRAME_MAX);
	if (proto_encode(&b, m) == 0 &&
		send(agent, buf_head(&b), buf_len(&b), MSG_NOSIGNAL) != (ssize_t)buf_len(&b) &&
		!tracer.link.mux.lost)
		abort();
	buf_done(&b);
	turn();
}

static void tear_down(void)
{
	remote_done(&remote);
	tree_content_abort(&asker.content);
	tree_list_abort(&asker.listing);
	mux_done(&tracer.link.mux);
	loop_done(&tracer.loop);
	close(agent);
}

/* --- what has to be so --- */

static void check_outside(void)
{
	cleanup_fd int place = open(PLACE, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct stat st;

	if (stat(OUTSIDE, &st) < 0 || st.st_size != 7 || st.st_mode != (S_IFREG | 0600))
		abort();
	if (count_entries(place) != 2 || count_entries(tree.base) != 3 || count_entries(tree.work))
		abort();
}

static void check_accounts(void)
{
	uint64_t held = 0, more = 0, linked = 0;

	htab_for_each (n, &tree.nodes) {
		const struct tree_node *node = container_of(n, struct tree_node, node);

		held += node->held;
		more += node->more;
		linked += node->linked;
	}
	if (held != tree.bytes || held > BYTES_MAX || more != tree.more ||
		linked != tree.linked.count || linked != count_entries(tree.links))
		abort();
}

static void check_empty(void)
{
	struct tree_listing l;

	if (tree_list_begin(&l, &tree, "/") < 0)
		abort();
	tree_list_end(&l);
	if (count_entries(tree.root) || tree.bytes || tree.more || tree.linked.count ||
		tree.nodes.count > 1)
		abort();
}

static void close_tree(void)
{
	tree_close(&tree);
	unlink(OUTSIDE);
	rmdir(PLACE);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	cleanup_fd int fd = -1;
	struct err e;

	(void)argc;
	(void)argv;
	mkdir(PLACE, 0700);
	fd = open(OUTSIDE, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (write(fd, "outside", 7) != 7 || tree_open(&tree, PLACE, BYTES_MAX, BYTES_MAX, &e) < 0)
		abort();
	atexit(close_tree);
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data_, size_t size)
{
	struct reader r = { data_, data_ + size, false };

	set_up();
	for (unsigned i = 0; i < TURNS_MAX && !r.bad && !tracer.link.mux.lost; i++) {
		struct msg m;

		if (list_empty(&remote.all))
			ask_something(byte(&r));
		m = answer(&r);
		say(&m);
	}
	tear_down();
	check_accounts();
	check_outside();
	check_empty();
	return 0;
}
