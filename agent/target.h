/* Whose network namespace the agent works in: found by name, entered once; and its files. */
#ifndef AGENT_TARGET_H
#define AGENT_TARGET_H

#include <stdint.h>

#include "log.h"

struct target {
	int netns; /* -1 once it has been entered */
	int root;  /* O_PATH; -1 when the target is a namespace, which has no files: this machine's
		    */
	int etc;   /* /etc/netns/NAME, which stands before this machine's /etc; -1: there is none */
	uint64_t netns_dev, netns_ino;
	char boot_id[64];
	char about[256]; /* for people: "pid 123 (nginx)", printable */
};

/* target_find() - find what spec names ("pid:N", "container:ID", "netns:PATH") and hold on to its
 * network namespace. 0, or -errno with a sentence in e. */
int target_find(struct target *t, const char *spec, struct err *e);

void target_close(struct target *t);

/* target_enter() - move the process, which must have one thread, into the namespace, and learn the
 * namespace's identity. 0, or -errno with a sentence in e. */
int target_enter(struct target *t, struct err *e);

/* target_openat() - open an absolute path beneath the target's root, whatever symbolic links there
 * are (openat2(2), Linux 5.6); this machine's file when the target has no root. The fd, which is
 * the caller's, or -errno. */
int target_openat(const struct target *t, const char *path, int flags);

#endif
