#include "name_files.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "resolvconf.h"
#include "tracer.h"
#include "trap.h"
#include "util.h"

static const char *const paths[] = {
	[NAME_FILE_RESOLV_CONF] = "/etc/resolv.conf",
	[NAME_FILE_HOSTS] = "/etc/hosts",
	[NAME_FILE_HOST_CONF] = "/etc/host.conf",
	[NAME_FILE_NSSWITCH_CONF] = "/etc/nsswitch.conf",
};

_Static_assert(ARRAY_SIZE(paths) == NAME_FILE_MAX, "a path for each file");

/* An open that asks for anything but the content for reading is this machine's affair: with
 * O_NOFOLLOW it is about the file at that place, be it a link. */
#define NOT_FOR_READING                                                                            \
	(O_WRONLY | O_RDWR | O_PATH | O_DIRECTORY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_TMPFILE)

/* A parked open. */
struct opening {
	struct list link;
	struct call *call;
	int flags;
};

/* --- versions --- */

static int make_memfd(const char *path, const void *text, size_t len)
{
	cleanup_fd int fd = memfd_create(path, MFD_CLOEXEC | MFD_ALLOW_SEALING);

	if (fd < 0 || fchmod(fd, 0644) < 0)
		return -errno;
	for (size_t at = 0; at < len;) {
		ssize_t n = write(fd, (const char *)text + at, len - at);

		if (n < 0)
			return -errno;
		at += (size_t)n;
	}
	if (fcntl(fd, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) < 0)
		return -errno;
	return take_fd(&fd);
}

/* text becomes the file's. 0 or -errno. */
static int set_text(struct name_file *f, const char *path, char **text, size_t len)
{
	int fd = make_memfd(path, *text, len);

	if (fd < 0)
		return fd;
	close_fd(&f->fd);
	f->fd = fd;
	free(f->text);
	f->text = *text;
	f->len = len;
	*text = NULL;
	return 0;
}

static void forget_text(struct name_file *f)
{
	free(f->text);
	f->text = NULL;
	f->len = 0;
}

/* A version came: len bytes at p. The same text again stays the same file, with its times. */
static void got_text(struct name_files *nf, enum name_file_id id, const void *p, size_t len)
{
	struct name_file *f = &nf->file[id];
	cleanup_free char *text = NULL;

	f->error = 0;
	if (f->text && f->len == len && memcmp(f->text, p, len) == 0)
		return;
	text = malloc(len + 1);
	if (!text) {
		f->error = ENOMEM;
		return;
	}
	memcpy(text, p, len);
	text[len] = '\0';
	f->error = -set_text(f, paths[id], &text, len);
	if (!f->error)
		nf->changed(nf, id);
}

static void got_error(struct name_files *nf, enum name_file_id id, int error)
{
	struct name_file *f = &nf->file[id];

	f->error = error;
	if (!f->text)
		return;
	forget_text(f);
	nf->changed(nf, id);
}

/* --- asking --- */

static bool link_is_up(const struct tracer *tr)
{
	return tr->link.open && !tr->link.mux.lost;
}

/* nsswitch.conf is made here; without a file of this machine it is that one line. */
static void make_nsswitch(struct name_files *nf)
{
	struct name_file *f = &nf->file[NAME_FILE_NSSWITCH_CONF];
	char own[PROTO_DATA_MAX];
	cleanup_fd int fd = open(paths[NAME_FILE_NSSWITCH_CONF], O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? 0 : read(fd, own, sizeof(own));
	size_t len = n < 0 ? 0 : (size_t)n;
	cleanup_free char *made = nsswitch_make(own, &len);

	f->answered_ns = now_ns();
	if (made)
		got_text(nf, NAME_FILE_NSSWITCH_CONF, made, len);
	else
		f->error = ENOMEM;
}

/* The request's id is the file's number, from 1. */
static void ask(struct name_files *nf, enum name_file_id id)
{
	struct msg m = {
		.type = MSG_read_file, .id = id + 1, .read_file.path = span_of(paths[id])
	};

	if (id == NAME_FILE_NSSWITCH_CONF) {
		make_nsswitch(nf);
		return;
	}
	if (nf->file[id].asked || !link_is_up(nf->tracer))
		return;
	nf->file[id].asked = true;
	mux_send(&nf->tracer->link.mux, &m);
}

static bool is_fresh(const struct name_file *f)
{
	return f->answered_ns && now_ns() - f->answered_ns < NAMES_FRESH_MS * UINT64_C(1000000);
}

/* --- opening --- */

static void install(struct call *c, const struct name_file *f, int flags)
{
	char path[32];
	int fd;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", f->fd);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		call_return(c, -errno);
	else
		call_open(c, fd, NULL, (unsigned)flags);
}

static void serve(struct call *c, const struct name_file *f, int flags)
{
	call_note(c, "remote");
	if (f->error)
		call_return(c, -f->error);
	else if (f->fd < 0)
		call_return(c, -EIO);
	else
		install(c, f, flags);
}

static void opening_cancel(struct call *c)
{
	struct opening *o = c->data;

	list_del(&o->link);
	free(o);
}

static void park(struct call *c, struct name_file *f, int flags)
{
	struct opening *o = calloc(1, sizeof(*o));

	if (!o) {
		call_return(c, -ENOMEM);
		return;
	}
	*o = (struct opening){ .call = c, .flags = flags };
	list_append(&f->waiting, &o->link);
	call_park(c, false, opening_cancel, o);
}

/* Who begins to wait meanwhile, waits for the next answer. */
static void serve_waiting(struct name_file *f)
{
	struct list now, *first;

	list_init(&now);
	while ((first = list_shift(&f->waiting)))
		list_append(&now, first);
	while ((first = list_shift(&now))) {
		struct opening o = *list_entry(first, struct opening, link);

		free(list_entry(first, struct opening, link));
		o.call->cancel = NULL;
		serve(o.call, f, o.flags);
	}
}

bool name_files_open(struct name_files *nf, struct call *c, const char *path, int flags)
{
	struct name_file *f;
	unsigned id = 0;

	while (id < NAME_FILE_MAX && strcmp(path, paths[id]) != 0)
		id++;
	if (id == NAME_FILE_MAX || flags & NOT_FOR_READING)
		return false;
	f = &nf->file[id];
	if (!is_fresh(f))
		ask(nf, id);
	if (f->asked)
		park(c, f, flags);
	else
		serve(c, f, flags);
	return true;
}

/* --- the link --- */

void name_files_start(struct name_files *nf)
{
	for (enum name_file_id id = 0; id < NAME_FILE_MAX; id++)
		ask(nf, id);
}

void name_files_message(struct name_files *nf, const struct msg *m)
{
	const struct msg_file_content *content = &m->file_content;
	enum name_file_id id = m->id - 1;
	struct name_file *f;

	if (m->id < 1 || m->id > NAME_FILE_MAX || !nf->file[id].asked)
		return;
	f = &nf->file[id];
	f->asked = false;
	f->answered_ns = now_ns();
	if (content->error)
		got_error(nf, id, content->error <= PROTO_ERRNO_MAX ? (int)content->error : EPROTO);
	else
		got_text(nf, id, content->bytes.data, content->bytes.len);
	serve_waiting(f);
}

void name_files_link_lost(struct name_files *nf)
{
	for (unsigned id = 0; id < NAME_FILE_MAX; id++) {
		nf->file[id].asked = false;
		serve_waiting(&nf->file[id]);
	}
}

void name_files_init(struct name_files *nf, struct tracer *tr,
	void (*changed)(struct name_files *nf, enum name_file_id id))
{
	*nf = (struct name_files){ .tracer = tr, .changed = changed };
	for (unsigned id = 0; id < NAME_FILE_MAX; id++) {
		nf->file[id].fd = -1;
		list_init(&nf->file[id].waiting);
	}
}

void name_files_done(struct name_files *nf)
{
	for (unsigned id = 0; id < NAME_FILE_MAX; id++) {
		struct name_file *f = &nf->file[id];
		struct list *l;

		while ((l = list_shift(&f->waiting)))
			free(list_entry(l, struct opening, link));
		close_fd(&f->fd);
		forget_text(f);
	}
}
