/* What changes in the target's files, told as it happens: one inotify(7) per session. */
#ifndef AGENT_WATCH_H
#define AGENT_WATCH_H

#include "htab.h"
#include "mux.h"
#include "target.h"

#define WATCHES_MAX 8192

struct watches {
	struct loop *loop;
	struct mux *mux;
	const struct target *target;
	struct watch inotify; /* fd -1: nothing was watched so far */
	struct timer again;   /* the link had no room */
	struct htab by_id;    /* of struct file_watch */
	struct htab by_wd;    /* the same; several may watch one file */
	struct list pending;  /* with something to tell */
};

void watches_init(struct watches *w, struct loop *loop, struct mux *mux, const struct target *t);
void watches_done(struct watches *w);

/* watch_message() - file_watch, which is answered with a file_changed without events, or
 * file_unwatch. 0, or -EPROTO when no honest client sends it. */
int watch_message(struct watches *w, const struct msg *m);

#endif
