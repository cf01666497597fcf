/* What a file without extended attributes says when it is asked for one: ENODATA, or EOPNOTSUPP.
 * That is up to the name, the file's type and its file system, so that one answer is enough for all
 * files of a directory (ls -l asks for three attributes of each). */
#ifndef TRACER_XATTR_LACKS_H
#define TRACER_XATTR_LACKS_H

#include <linux/limits.h>
#include <stdint.h>

#include "proto.h"

/* So many answers are known at once. */
#define XATTR_LACKS_MAX 32

struct xattr_lacks {
	struct xattr_lack {
		uint64_t dev;
		uint32_t type; /* S_IFMT */
		int error;
		char name[XATTR_NAME_MAX + 1];
	} known[XATTR_LACKS_MAX];
	unsigned learned; /* ever: the oldest gives way */
};

/* xattr_lacks_find() - the errno that a file with these attributes says to name; 0: ask. */
int xattr_lacks_find(const struct xattr_lacks *l, const struct file_attr *attr, const char *name);

/* xattr_lacks_learn() - a file with these attributes has said error to name. */
void xattr_lacks_learn(
	struct xattr_lacks *l, const struct file_attr *attr, const char *name, int error);

#endif
