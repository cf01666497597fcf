/* Whether a path is this machine's or the target's: a pure function of the configuration, compiled
 * before the guest starts. The order of its rules is in fs_policy.c and in the manual. */
#ifndef TRACER_FS_POLICY_H
#define TRACER_FS_POLICY_H

#include <stdbool.h>
#include <stddef.h>

#include "config.h"
#include "log.h"

enum fs_where {
	FS_LOCAL,
	FS_REMOTE,
	FS_NOT_FOUND, /* to the guest there is no such file */
};

enum fs_access {
	FS_READS,
	FS_WRITES, /* it opens for writing, or changes what is at the path */
};

struct fs_policy;

/* What the rules need to know besides the configuration. Strings are the caller's and are copied.
 */
struct fs_facts {
	const char *home;          /* or NULL */
	const char *cwd;           /* where the program is started */
	const char *program;       /* its file, absolute, as it was named; or NULL */
	const char *program_file;  /* and without symbolic links; or NULL */
	const char *tmpdir;        /* TMPDIR, or NULL */
	const char *const *mounts; /* the target's own, absolute; ends with NULL */
	bool has_files; /* false: the target is a namespace, whose files are this machine's */
	bool names;     /* names are resolved as in the target: so are the files of that */
};

/* fs_policy_compile() - 0, or -1 with a sentence in e about the option that is wrong; *p is the
 * caller's. */
int fs_policy_compile(struct fs_policy **p, const struct config *cfg, const struct fs_facts *facts,
	struct err *e);
void fs_policy_free(struct fs_policy *p);

/* fs_policy_map() - the path that an absolute, normalised one stands for by --fs-map: true when it
 * is another, which is then in to (size > 4095). */
bool fs_policy_map(const struct fs_policy *p, const char *path, char *to, size_t size);

/* fs_policy_decide() - for an absolute path without empty, "." and ".." components. rule, unless
 * NULL, becomes the words for the rule that decided, which live as long as p. */
enum fs_where fs_policy_decide(
	const struct fs_policy *p, const char *path, enum fs_access access, const char **rule);

/* fs_policy_may_be_remote() - false: every path is local, no call about one needs to be trapped. */
bool fs_policy_may_be_remote(const struct config *cfg);

/* fs_policy_may_write() - something of the target may be written to. */
bool fs_policy_may_write(const struct config *cfg);

#endif
