/* Copies that are kept up to date while the guest has them open or watches them (inotify(7)): the
 * agent says that the target's file has changed, and its content, or a directory's entries, are
 * fetched again. The guest sees that in its descriptors, and hears it from inotify. */
#ifndef TRACER_FS_WATCH_H
#define TRACER_FS_WATCH_H

#include <stdbool.h>

#include "htab.h"
#include "list.h"

struct fs;
struct msg;

/* No more copies than this, and than a quarter of RLIMIT_NOFILE, as each takes a descriptor of
 * ours. The one that was opened longest ago is let go; of those that the guest watches only if
 * there is no other, and with one line on stderr. */
#define FS_WATCHES_MAX 1024

/* Of a file this large that has grown only what is new is fetched. Its next open asks for all, if
 * it was not merely added to. */
#define FS_WATCH_TAIL_MIN (256u << 10)

struct fs_watches {
	struct fs *fs;
	struct htab by_id, by_ino; /* of the copy */
	struct list by_age;
	unsigned n, max;
	bool said; /* that there are too many */
};

void fs_watches_init(struct fs_watches *w, struct fs *fs);
void fs_watches_done(struct fs_watches *w);

/* fs_watch() - the guest opens the copy of a regular file, or watches a copy (lasting); copy is its
 * O_PATH descriptor, path its canonical one. Nothing is done with --no-fs-watch, unless lasting. */
void fs_watch(struct fs_watches *w, int copy, const char *path, bool lasting);

/* fs_watch_message() - file_changed. */
void fs_watch_message(struct fs_watches *w, const struct msg *m);

void fs_watch_link_lost(struct fs_watches *w);
void fs_watch_link_back(struct fs_watches *w);

#endif
