/* The files of name resolution that the guest reads: the target's resolv.conf, hosts and host.conf,
 * and this machine's nsswitch.conf that asks nobody but them and the name server.
 *
 * Each version of a file is a sealed memfd; every open gets a description of its own, so that
 * offsets are apart. What the agent said is believed for NAMES_FRESH_MS; an open after that asks
 * again and is parked until the answer is there, however many opens one question answers. */
#ifndef TRACER_NAME_FILES_H
#define TRACER_NAME_FILES_H

#include <stdbool.h>

#include "list.h"
#include "proto.h"

#define NAMES_FRESH_MS 1000

struct call;
struct tracer;

enum name_file_id {
	NAME_FILE_RESOLV_CONF,
	NAME_FILE_HOSTS,
	NAME_FILE_HOST_CONF,
	NAME_FILE_NSSWITCH_CONF,
	NAME_FILE_MAX,
};

struct name_file {
	char *text; /* NULL: not there */
	size_t len;
	int fd;    /* of a memfd with that text; -1 before the first */
	int error; /* errno of an open, or 0 */
	uint64_t answered_ns;
	bool asked;          /* the answer is on its way */
	struct list waiting; /* opens */
};

struct name_files {
	struct tracer *tracer;
	struct name_file file[NAME_FILE_MAX];
	/* The text of a file is another one, or is gone. */
	void (*changed)(struct name_files *nf, enum name_file_id id);
};

void name_files_init(struct name_files *nf, struct tracer *tr,
	void (*changed)(struct name_files *nf, enum name_file_id id));
void name_files_done(struct name_files *nf);

/* name_files_start() - ask for all of them; the link is open. */
void name_files_start(struct name_files *nf);

/* name_files_message() - file_content of the agent. */
void name_files_message(struct name_files *nf, const struct msg *m);

/* name_files_link_lost() - who waits gets the version at hand, or EIO. */
void name_files_link_lost(struct name_files *nf);

/* name_files_open() - as names_open(). */
bool name_files_open(struct name_files *nf, struct call *c, const char *path, int flags);

#endif
