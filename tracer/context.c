#include "context.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tracer.h"

static void keep_name(char *name, struct span text)
{
	snprintf(name, CONTEXT_NAME_SIZE, "%.*s", (int)text.len, (const char *)text.data);
}

/* Zero bytes separate them. Those beyond the bound are left out. 0 or -ENOMEM. */
static int keep_mounts(struct context *cx, struct span bytes)
{
	unsigned n = 0;

	cx->mounts = calloc(CONTEXT_MOUNTS_MAX + 1, sizeof(*cx->mounts));
	cx->mounts_text = calloc(1, (size_t)bytes.len + 1);
	if (!cx->mounts || !cx->mounts_text)
		return -ENOMEM;
	memcpy(cx->mounts_text, bytes.data, bytes.len);
	for (size_t at = 0; at < bytes.len && n < CONTEXT_MOUNTS_MAX;) {
		const char *mount = cx->mounts_text + at;

		if (*mount == '/')
			cx->mounts[n++] = mount;
		at += strlen(mount) + 1;
	}
	return 0;
}

static int got_context(struct context *cx, const struct msg_context *m)
{
	cx->awaits_context = false;
	cx->uid = m->uid;
	cx->gid = m->gid;
	cx->has_files = m->has_files;
	keep_name(cx->nodename, m->nodename);
	keep_name(cx->domainname, m->domainname);
	return keep_mounts(cx, m->mounts);
}

static void got_environ(struct context *cx, const struct msg_environ *m)
{
	cx->awaits_environ = m->more && !m->error;
	if (m->error)
		cx->environ_error = m->error <= PROTO_ERRNO_MAX ? (int)m->error : EPROTO;
	else if (buf_put(&cx->environ, m->bytes.data, m->bytes.len) < 0)
		cx->environ_error = E2BIG;
}

/* What was not asked for is left alone. */
void context_message(struct context *cx, const struct msg *m)
{
	struct tracer *tr = container_of(cx, struct tracer, context);

	if (m->type == MSG_context && cx->awaits_context && got_context(cx, &m->context) < 0)
		mux_fail(&tr->link.mux, ENOMEM, "no memory");
	if (m->type == MSG_environ && cx->awaits_environ)
		got_environ(cx, &m->environ);
	cx->complete = !cx->awaits_context && !cx->awaits_environ;
}

/* A namespace has no process whose environment it could be. */
static int check_environ(struct context *cx, struct err *e)
{
	int error = cx->has_files ? cx->environ_error : 0;

	if (cx->environ_error)
		buf_consume(&cx->environ, buf_len(&cx->environ));
	if (!error)
		return 0;
	return err_set(e, -error,
		"the target's environment cannot be read: %s; --no-env goes without it",
		strerror(error));
}

int context_get(struct context *cx, struct tracer *tr, struct err *e)
{
	int r;

	*cx = (struct context){ .awaits_context = true, .awaits_environ = tr->cfg->env };
	buf_init(&cx->environ, CONTEXT_ENVIRON_MAX);
	mux_send(&tr->link.mux, &(struct msg){ .type = MSG_context_get });
	if (cx->awaits_environ)
		mux_send(&tr->link.mux, &(struct msg){ .type = MSG_environ_get });
	r = link_await(&tr->link, &cx->complete, e);
	return r < 0 ? r : check_environ(cx, e);
}

void context_done(struct context *cx)
{
	buf_done(&cx->environ);
	free(cx->mounts);
	free(cx->mounts_text);
	*cx = (struct context){ 0 };
}
