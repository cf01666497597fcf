/* Theory of operation. A question with content or entries to come has a channel, whose id is the
 * handle too; the others are known by a number out of the same counter. All are in one list, in the
 * order in which they were asked, and stay there until they are answered or dropped, so that they
 * can be asked again on a new link.
 *
 * A query belongs to the asker, who may free it in its last call, or drop it in any: what has to be
 * done with it is done before. */
#include "remote.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "tracer.h"
#include "tree.h"
#include "util.h"

static struct mux *mux_of(const struct remote_query *q)
{
	return &q->remote->tracer->link.mux;
}

static bool may_have_link(const struct remote *r)
{
	return r->tracer->link.open && link_may_return(&r->tracer->link);
}

static bool has_channel(const struct remote_query *q)
{
	return q->msg.type == MSG_file_open;
}

/* --- the end of a query --- */

static void forget(struct remote_query *q)
{
	list_del(&q->link);
	htab_del(&q->remote->queries, &q->node);
	channel_close(&q->ch);
	free(q->text);
	q->text = NULL;
}

/* Its last word, when it has gone wrong. */
static void fail(struct remote_query *q, int error)
{
	bool found = q->found;

	forget(q);
	if (found)
		q->ops->end(q, error, 0, 0);
	else
		q->ops->found(q, error, NULL);
}

static void protocol_error(struct remote_query *q, const char *why)
{
	mux_fail(mux_of(q), EPROTO, why);
}

/* The handle would stay open until the session ends. */
static void close_handle(struct remote_query *q)
{
	struct msg m = { .type = MSG_file_close, .id = q->id };

	if (has_channel(q) && q->msg.file_open.want & FILE_WRITE && q->asked && !q->found)
		mux_send(mux_of(q), &m);
}

void remote_drop(struct remote_query *q)
{
	if (!q->text)
		return;
	channel_reset(&q->ch, ECANCELED);
	close_handle(q);
	forget(q);
}

/* --- answers --- */

static int error_of(uint32_t error)
{
	return error <= PROTO_ERRNO_MAX ? (int)error : EPROTO;
}

/* Room for a path and what follows it, each terminated. */
#define ANSWER_TEXT (PROTO_DATA_MAX + 2)

/* Both are copied to text, and f is told; false when the path is none. */
static bool read_answer(
	struct remote_found *f, char text[ANSWER_TEXT], struct span bytes, uint16_t path_len)
{
	const char *p = bytes.data;
	size_t more_len = bytes.len - path_len;

	if (path_len > bytes.len || bytes.len > PROTO_DATA_MAX || !tree_is_canonical(p, path_len))
		return false;
	f->path = text;
	memcpy(text, p, path_len);
	text[path_len] = '\0';
	text += path_len + 1;
	f->more = text;
	f->more_len = more_len;
	memcpy(text, p + path_len, more_len);
	text[more_len] = '\0';
	return true;
}

/* What may follow file_opened depends on what was asked for, and on what was found. */
static bool may_follow(const struct remote_query *q, const struct msg_file_opened *m)
{
	uint32_t want = q->msg.file_open.want;

	switch (m->content) {
	case FILE_NOTHING:
		return true;
	case FILE_UNCHANGED:
		return want & FILE_CONTENT && q->msg.file_open.known;
	case FILE_BYTES:
		return want & FILE_CONTENT && S_ISREG(m->attr.mode);
	case FILE_ENTRIES:
		return want & FILE_LIST && S_ISDIR(m->attr.mode);
	default:
		return false;
	}
}

static void got_opened(struct remote_query *q, const struct msg_file_opened *m)
{
	struct remote_found f = {
		.attr = &m->attr, .version = m->version, .writes = q->writes, .content = m->content
	};
	char text[ANSWER_TEXT];

	if (q->found) {
		protocol_error(q, "the agent opened a file twice");
		return;
	}
	if (m->error) {
		fail(q, error_of(m->error));
		return;
	}
	if (!may_follow(q, m) || !tree_attr_is_possible(&m->attr) ||
		!read_answer(&f, text, m->path, m->path_len)) {
		protocol_error(q, "the agent opened what no file is");
		return;
	}
	q->follows = m->content;
	q->found = true;
	if (q->follows == FILE_NOTHING || q->follows == FILE_UNCHANGED)
		forget(q);
	q->ops->found(q, 0, &f);
}

static void got_data(struct remote_query *q, const struct msg_file_data *m)
{
	uint32_t n = m->bytes.len;

	if (!q->found || q->follows != FILE_BYTES || m->offset < q->msg.file_open.from ||
		m->offset > INT64_MAX - (uint64_t)n) {
		protocol_error(q, "the agent sent bytes where a file has none");
		return;
	}
	channel_consumed(&q->ch, PROTO_MESSAGE_COST(n));
	if (n)
		q->ops->data(q, m->offset, m->bytes.data, n);
}

static void got_entry(struct remote_query *q, const struct msg_file_entry *m)
{
	const char *name = m->name.data;
	size_t link_len = m->name.len - m->name_len;

	if (!q->found || q->follows != FILE_ENTRIES || m->name_len > m->name.len ||
		!tree_is_component(name, m->name_len)) {
		protocol_error(q, "the agent sent an entry where there is none");
		return;
	}
	channel_consumed(&q->ch, PROTO_MESSAGE_COST(m->name.len));
	q->ops->entry(q, &m->attr, name, m->name_len, name + m->name_len, link_len);
}

static void got_end(struct remote_query *q, const struct msg_file_end *m)
{
	if (!q->found || m->size > INT64_MAX) {
		protocol_error(q, "the agent ended what it had not begun");
		return;
	}
	forget(q);
	q->ops->end(q, error_of(m->error), m->size, m->version);
}

static void got_done(struct remote_query *q, const struct msg_file_done *m)
{
	struct remote_found f = { .attr = &m->attr,
		.version = m->version,
		.writes = q->writes,
		.content = FILE_NOTHING };
	char text[ANSWER_TEXT];
	bool is_pair = q->msg.file_op.op == FILE_OP_RENAME || q->msg.file_op.op == FILE_OP_LINK;

	if (m->error) {
		fail(q, error_of(m->error));
		return;
	}
	if (!read_answer(&f, text, m->path, m->path_len) ||
		(is_pair && !tree_is_canonical(f.more, f.more_len))) {
		protocol_error(q, "the agent named a path that is none");
		return;
	}
	forget(q);
	q->ops->found(q, 0, &f);
}

static void got_synced(struct remote_query *q, const struct msg_file_synced *m)
{
	struct remote_found f = { .attr = &m->attr,
		.version = m->version,
		.writes = q->writes,
		.path = "",
		.more = "",
		.content = FILE_NOTHING };

	forget(q);
	q->ops->found(q, error_of(m->error), m->error ? NULL : &f);
}

/* --- the channel --- */

static struct remote_query *query_of(struct channel *c)
{
	return container_of(c, struct remote_query, ch);
}

static void channel_message(struct channel *c, const struct msg *m)
{
	struct remote_query *q = query_of(c);

	switch (m->type) {
	case MSG_file_opened:
		got_opened(q, &m->file_opened);
		break;
	case MSG_file_data:
		got_data(q, &m->file_data);
		break;
	case MSG_file_entry:
		got_entry(q, &m->file_entry);
		break;
	case MSG_file_end:
		got_end(q, &m->file_end);
		break;
	default:
		protocol_error(q, "the agent sent a message that is not about files");
	}
}

static void channel_data(struct channel *c, const uint8_t *p, size_t n)
{
	(void)p;
	(void)n;
	protocol_error(query_of(c), "the agent sent a stream for a file");
}

static void channel_end(struct channel *c)
{
	protocol_error(query_of(c), "the agent did not say how a file ends");
}

static void channel_writable(struct channel *c)
{
	(void)c; /* nothing is sent */
}

/* Whether it may be asked a second time. */
static bool is_repeatable(const struct remote_query *q)
{
	switch (q->msg.type) {
	case MSG_file_open:
		return !q->found && !(q->msg.file_open.want & FILE_EXCL);
	case MSG_file_op:
		return q->msg.file_op.op < FILE_OP_MKDIR;
	default:
		return false;
	}
}

static bool may_wait(const struct remote_query *q)
{
	return may_have_link(q->remote) && (!q->asked || is_repeatable(q));
}

static void channel_was_reset(struct channel *c, int error)
{
	struct remote_query *q = query_of(c);

	if (error == ENOTCONN && may_wait(q))
		return; /* remote_link_back() or remote_link_lost() goes on */
	fail(q, error && error != ENOTCONN ? error : EIO);
}

static const struct channel_ops channel_ops = {
	.data = channel_data,
	.eof = channel_end,
	.reset = channel_was_reset,
	.writable = channel_writable,
	.message = channel_message,
};

bool remote_message(struct remote *r, const struct msg *m)
{
	bool is_sync = m->type == MSG_file_synced;
	struct hnode *n = htab_find(&r->queries, is_sync ? m->file_synced.request : m->id);
	struct remote_query *q = n ? container_of(n, struct remote_query, node) : NULL;

	if (!q)
		return false;
	if (q->msg.type != (is_sync ? MSG_file_sync : MSG_file_op))
		protocol_error(q, "the agent answered another question");
	else if (is_sync)
		got_synced(q, &m->file_synced);
	else
		got_done(q, &m->file_done);
	return true;
}

/* --- questions --- */

/* Spans point to the query's own text. */
static int ask(struct remote_query *q)
{
	if (has_channel(q)) {
		int r = channel_open(&q->ch, mux_of(q), q->id, &channel_ops);

		if (r < 0)
			return r;
		channel_widen(&q->ch, PROTO_FILE_WINDOW);
	}
	q->writes = q->remote->tracer->fs.tree.writes;
	q->asked = true;
	mux_send(mux_of(q), &q->msg);
	return 0;
}

static struct span keep_text(struct remote_query *q, const char *path, const void *second, size_t n)
{
	size_t len = strlen(path);

	q->text = malloc(len + n + 1);
	if (!q->text)
		return (struct span){ 0 };
	memcpy(q->text, path, len);
	if (n)
		memcpy(q->text + len, second, n);
	return (struct span){ q->text, (uint32_t)(len + n) };
}

/* Sent, or kept for the next link. */
static int start(struct remote *r, struct remote_query *q, uint32_t id)
{
	int error = 0;

	q->remote = r;
	q->id = id;
	list_init(&q->link);
	if (!q->text)
		return -ENOMEM;
	if (!link_is_up(&r->tracer->link) && !may_have_link(r))
		error = -EIO;
	if (error == 0 && !has_channel(q))
		error = htab_add(&r->queries, &q->node, id);
	list_append(&r->all, &q->link);
	if (error == 0 && link_is_up(&r->tracer->link))
		error = ask(q);
	if (error < 0)
		forget(q);
	return error;
}

static void query_init(struct remote_query *q, enum msg_type type, uint32_t id)
{
	*q = (struct remote_query){
		.ops = q->ops, .base = q->base, .msg = { .type = type, .id = id }
	};
}

int remote_open(struct remote *r, struct remote_query *q, uint32_t want, uint32_t mode,
	uint64_t known, uint64_t from, const char *path)
{
	uint32_t id = outgoing_channel(&r->tracer->outgoing);

	query_init(q, MSG_file_open, id);
	if (strlen(path) > PROTO_FILE_PATH_MAX)
		return -ENAMETOOLONG;
	q->msg.file_open = (struct msg_file_open){ .base = q->base,
		.want = want,
		.mode = mode,
		.known = known,
		.from = from,
		.path = keep_text(q, path, NULL, 0) };
	return start(r, q, id);
}

int remote_op(struct remote *r, struct remote_query *q, enum file_op op, uint32_t flags, uint64_t a,
	uint64_t b, const char *path, const void *second, size_t n)
{
	uint32_t id = outgoing_channel(&r->tracer->outgoing);
	size_t len = strlen(path);

	query_init(q, MSG_file_op, id);
	if (len > PROTO_FILE_PATH_MAX)
		return -ENAMETOOLONG;
	if (n > PROTO_DATA_MAX - len)
		return -E2BIG;
	q->msg.file_op = (struct msg_file_op){ .op = (uint8_t)op,
		.flags = flags,
		.a = a,
		.b = b,
		.path_len = (uint16_t)len,
		.path = keep_text(q, path, second, n) };
	return start(r, q, id);
}

int remote_sync(struct remote *r, struct remote_query *q, uint32_t handle)
{
	uint32_t id = outgoing_channel(&r->tracer->outgoing);

	query_init(q, MSG_file_sync, handle);
	if (!link_is_up(&r->tracer->link))
		return -EIO; /* and the handle is gone */
	keep_text(q, "", NULL, 0);
	q->msg.file_sync.request = id;
	return start(r, q, id);
}

/* --- the link --- */

void remote_init(struct remote *r, struct tracer *tr)
{
	*r = (struct remote){ .tracer = tr };
	list_init(&r->all);
}

/* For each query of now; one may drop others. */
static void take_all(struct remote *r, struct list *now)
{
	struct list *pos;

	list_init(now);
	while ((pos = list_shift(&r->all)))
		list_append(now, pos);
}

void remote_link_lost(struct remote *r)
{
	struct list now, *pos;

	take_all(r, &now);
	while ((pos = list_shift(&now)))
		fail(list_entry(pos, struct remote_query, link), EIO);
}

static void ask_again(struct remote *r, struct remote_query *q)
{
	int error = may_wait(q) ? 0 : -EIO;

	list_append(&r->all, &q->link);
	q->asked = false;
	if (error == 0)
		error = ask(q);
	if (error < 0)
		fail(q, -error);
}

void remote_link_back(struct remote *r)
{
	struct list now, *pos;

	take_all(r, &now);
	while ((pos = list_shift(&now)))
		ask_again(r, list_entry(pos, struct remote_query, link));
}

void remote_done(struct remote *r)
{
	struct list *pos;

	while ((pos = list_shift(&r->all)))
		remote_drop(list_entry(pos, struct remote_query, link));
	htab_done(&r->queries);
}
