#include "fs_watch.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "fetch.h"
#include "log.h"
#include "outgoing.h"
#include "tracer.h"
#include "util.h"

struct fs_watched {
	struct hnode id_node, ino_node;
	struct list link;
	struct fs_watches *all;
	uint32_t id;
	int copy; /* O_PATH: the inode stays ours */
	char *path;
	bool lasting;  /* the guest watches it: there is no telling until when */
	bool fetching; /* and what it finds is not the last word, if */
	bool again;
	char moved[NAME_MAX + 1]; /* the entry that came by rename(2), or "" */
	struct fetch fetch;
	struct deferred release;
};

/* --- the agent's side --- */

static void tell(struct fs_watches *w, const struct msg *m)
{
	mux_send(&w->fs->tracer->link.mux, m);
}

/* ctime: what happened since then is news; 0: the caller looks by himself. */
static void watch_there(struct fs_watched *e, int64_t ctime)
{
	const struct msg m = {
		.type = MSG_file_watch,
		.id = e->id,
		.file_watch = { .ctime = (uint64_t)ctime, .path = span_of(e->path) },
	};

	tell(e->all, &m);
}

static void unwatch_there(struct fs_watched *e)
{
	const struct msg m = { .type = MSG_file_unwatch, .id = e->id };

	tell(e->all, &m);
}

static void refreshed(struct fetch *f, int error);

/* --- the table --- */

static void watched_free(struct deferred *d)
{
	struct fs_watched *e = container_of(d, struct fs_watched, release);

	free(e->path);
	free(e);
}

static void forget(struct fs_watched *e)
{
	struct fs_watches *w = e->all;

	if (e->fetching)
		fetch_drop(&e->fetch);
	fetch_release(&e->fetch);
	htab_del(&w->by_id, &e->id_node);
	htab_del(&w->by_ino, &e->ino_node);
	list_del(&e->link);
	w->n--;
	close_fd(&e->copy);
	loop_defer(&w->fs->tracer->loop, &e->release);
}

static void let_go(struct fs_watched *e)
{
	unwatch_there(e);
	forget(e);
}

static struct fs_watched *watched_new(
	struct fs_watches *w, int copy, uint64_t ino, const char *path)
{
	struct fs_watched *e = calloc(1, sizeof(*e));

	if (!e)
		return NULL;
	e->all = w;
	e->id = outgoing_channel(&w->fs->tracer->outgoing);
	e->copy = fcntl(copy, F_DUPFD_CLOEXEC, 0);
	e->path = strdup(path);
	fetch_init(&e->fetch, w->fs, refreshed);
	deferred_init(&e->release, watched_free);
	if (e->copy < 0 || !e->path || htab_add(&w->by_id, &e->id_node, e->id) < 0 ||
		htab_add(&w->by_ino, &e->ino_node, ino) < 0) {
		htab_del(&w->by_id, &e->id_node);
		close_fd(&e->copy);
		watched_free(&e->release);
		return NULL;
	}
	list_init(&e->link);
	list_append(&w->by_age, &e->link);
	w->n++;
	return e;
}

/* The guest is not told of changes that it counts on: that is said, once. */
static void say_unwatched(struct fs_watched *e, const char *why)
{
	if (!e->lasting || e->all->said)
		return;
	e->all->said = true;
	log_err("changes of '%s' of the target, and maybe of others, are not noticed: %s", e->path,
		why);
}

/* Which one is let go: it is likelier that a file was closed than that a watch has ended. */
static struct fs_watched *most_dispensable(const struct fs_watches *w)
{
	list_for_each (pos, &w->by_age) {
		struct fs_watched *e = list_entry(pos, struct fs_watched, link);

		if (!e->lasting)
			return e;
	}
	return list_entry(w->by_age.next, struct fs_watched, link);
}

static void make_room(struct fs_watches *w)
{
	struct fs_watched *e;

	if (w->n < w->max)
		return;
	e = most_dispensable(w);
	say_unwatched(e, "the program watches too many (ulimit -H -n is a bound)");
	let_go(e);
}

void fs_watch(struct fs_watches *w, int copy, const char *path, bool lasting)
{
	const struct tree_node *file = tree_node(&w->fs->tree, copy);
	struct fs_watched *e;
	struct hnode *node;
	struct stat st;

	if ((!w->fs->tracer->cfg->fs_watch && !lasting) || fstat(copy, &st) < 0)
		return;
	node = htab_find(&w->by_ino, st.st_ino);
	if (node) {
		e = container_of(node, struct fs_watched, ino_node);
		list_del(&e->link);
		list_append(&w->by_age, &e->link);
		e->lasting |= lasting;
		return;
	}
	make_room(w);
	e = watched_new(w, copy, st.st_ino, path);
	if (!e)
		return;
	e->lasting = lasting;
	watch_there(e, file && !lasting ? file->attr.ctime : 0);
}

/* --- changes --- */

static void refresh(struct fs_watched *e);

static bool is_absent(uint32_t error)
{
	return error == ENOENT || error == ENOTDIR;
}

/* Where it is gone, its copy goes: who watches it hears that. */
static void refreshed(struct fetch *f, int error)
{
	struct fs_watched *e = container_of(f, struct fs_watched, fetch);
	struct tree *tree = &e->all->fs->tree;

	e->fetching = false;
	tree->epoch++;
	if (is_absent((uint32_t)error)) {
		tree_remove(tree, e->path);
		let_go(e);
	} else if (e->again) {
		refresh(e);
	}
}

static bool is_of_interest(const struct fs_watched *e)
{
	return e->lasting || tree_is_open(&e->all->fs->tree, e->copy);
}

static void refresh(struct fs_watched *e)
{
	struct fs *fs = e->all->fs;
	const struct tree_node *node = tree_node(&fs->tree, e->copy);
	uint64_t from = 0;
	struct stat st;

	e->again = false;
	if (!node || !is_of_interest(e)) {
		let_go(e);
		return;
	}
	if (node->writeback)
		return; /* the guest's own changes are on their way: what the target has is older */
	/* The size that was told last may be one that the content has not got yet. */
	if (S_ISREG(node->attr.mode) && node->has_content && fstat(e->copy, &st) == 0 &&
		st.st_size >= FS_WATCH_TAIL_MIN)
		from = (uint64_t)st.st_size;
	fetch_release(&e->fetch);
	e->fetch.watched = e->lasting;
	e->fetch.moved = e->moved;
	e->fetching = fetch_start(&e->fetch,
			      S_ISDIR(node->attr.mode) ? FILE_READ | FILE_LIST
						       : FILE_READ | FILE_CONTENT,
			      0, from, e->path) == 0;
}

/* Gone before it could be watched; or it is as fresh as its last open. */
static void cannot_watch(struct fs_watched *e, uint32_t error)
{
	if (is_absent(error))
		tree_remove(&e->all->fs->tree, e->path);
	else
		say_unwatched(e, error == ENOSPC ? "the bound is its fs.inotify.max_user_watches"
						 : strerror((int)error));
	forget(e);
}

static void note_moved(struct fs_watched *e, const struct msg_file_changed *m)
{
	if (m->events & FILE_EVENT_MOVED && m->name.len < sizeof(e->moved)) {
		memcpy(e->moved, m->name.data, m->name.len);
		e->moved[m->name.len] = '\0';
	}
}

void fs_watch_message(struct fs_watches *w, const struct msg *m)
{
	struct hnode *node = htab_find(&w->by_id, m->id);
	struct fs_watched *e = node ? container_of(node, struct fs_watched, id_node) : NULL;

	if (!e)
		return;
	note_moved(e, &m->file_changed);
	if (m->file_changed.error)
		cannot_watch(e, m->file_changed.error);
	else if (!m->file_changed.events)
		return; /* it is watched from now on */
	else if (e->fetching)
		e->again = true;
	else
		refresh(e);
}

/* --- the link --- */

void fs_watch_link_lost(struct fs_watches *w)
{
	list_for_each (pos, &w->by_age) {
		struct fs_watched *e = list_entry(pos, struct fs_watched, link);

		if (e->fetching)
			fetch_drop(&e->fetch);
		e->fetching = false;
	}
}

void fs_watch_link_back(struct fs_watches *w)
{
	list_for_each_safe (pos, &w->by_age) {
		struct fs_watched *e = list_entry(pos, struct fs_watched, link);

		watch_there(e, 0);
		if (e->fetching)
			e->again = true; /* it is asked again already */
		else
			refresh(e);
	}
}

void fs_watches_init(struct fs_watches *w, struct fs *fs)
{
	struct rlimit files = { 0 };

	getrlimit(RLIMIT_NOFILE, &files);
	*w = (struct fs_watches){ .fs = fs };
	w->max = (unsigned)MIN((rlim_t)FS_WATCHES_MAX, 1 + files.rlim_max / 4);
	list_init(&w->by_age);
}

void fs_watches_done(struct fs_watches *w)
{
	while (w->n)
		forget(list_entry(w->by_age.next, struct fs_watched, link));
	htab_done(&w->by_id);
	htab_done(&w->by_ino);
}
