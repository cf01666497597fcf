/* The options: read once, const ever after. config.c holds the one table of them. */
#ifndef TRACER_CONFIG_H
#define TRACER_CONFIG_H

#include <stdbool.h>
#include <stdint.h>

#include "log.h"
#include "proto.h"

enum engine {
	ENGINE_AUTO,   /* notification under ptrace; ptrace alone where the kernel is too old */
	ENGINE_PTRACE, /* stops alone */
	ENGINE_MAX,
};

enum on_link_loss {
	LINK_LOSS_END,       /* the guest is ended */
	LINK_LOSS_FAIL,      /* it goes on without the target */
	LINK_LOSS_RECONNECT, /* what it asks of the target waits for a new link, for a time */
	LINK_LOSS_MAX,
};

enum fs_mode {
	FS_MODE_LOCAL,                /* this machine's files, but those of name resolution */
	FS_MODE_LOCAL_WITH_OVERRIDES, /* and those that the lists name */
	FS_MODE_READ,                 /* the target's are read; what is written is local */
	FS_MODE_WRITE,                /* and written */
	FS_MODE_MAX,
};

/* The values of an option that may be given several times, in the order given; copies. */
struct config_list {
	const char **value;
	unsigned n;
};

struct config {
	const char *target;    /* NULL: none named */
	const char *agent;     /* address of an agent that already runs, or NULL */
	unsigned incoming;     /* enum incoming_mode */
	unsigned engine;       /* enum engine */
	bool outgoing;         /* the guest's connections leave from the target */
	bool dns;              /* names are resolved as in the target; implies outgoing */
	bool ignore_localhost; /* connections to loopback stay on this machine */
	const char
		*outgoing_remote;   /* selectors, comma separated: only these are remote; or NULL */
	const char *outgoing_local; /* these are local; or NULL */
	const char *dns_remote, *dns_local;
	const char *unix_remote; /* regular expression: unix sockets of the target; or NULL */
	unsigned fs_mode;        /* enum fs_mode */
	struct config_list fs_read_write, fs_read_only, fs_local, fs_not_found; /* regexes */
	struct config_list fs_map;         /* REGEX=REPLACEMENT */
	const char *fs_dir;                /* where copies are kept, or NULL */
	uint64_t fs_file_max, fs_tree_max; /* bytes: of one file's copy, of all */
	bool fs_watch;                     /* what the guest has opened is kept up to date */
	bool env;                          /* the target's environment */
	struct config_list env_include, env_exclude, env_unset; /* names with * and ? */
	struct config_list env_set;                             /* NAME=VALUE */
	struct config_list env_map;                             /* REGEX=VALUE */
	const char *env_file;                                   /* or NULL */
	bool hostname;                                          /* uname(2) tells the target's */
	unsigned on_link_loss;                                  /* enum on_link_loss */
	bool verbose;
	char **argv; /* the program and its arguments; points into main's */
};

enum config_result {
	CONFIG_RUN,
	CONFIG_EXIT,  /* --help or --version was answered */
	CONFIG_ERROR, /* e says what is wrong */
};

/* config_parse() - defaults, then the environment, then the arguments. Strings point into argv and
 * the environment, but for those of lists. */
enum config_result config_parse(struct config *c, int argc, char **argv, struct err *e);

/* config_done() - free the lists, also those of a configuration that config_parse() found wrong. */
void config_done(struct config *c);

/* config_right() - what stands behind the = of LEFT=RIGHT, in place, or NULL. LEFT may be a regular
 * expression: its own \=, (?= and (?<= do not end it. */
const char *config_right(const char *pair);

/* config_targetless() - nothing of a target is wanted: no agent, no traffic, no names. */
bool config_targetless(const struct config *c);

#endif
