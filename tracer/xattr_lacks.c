#include "xattr_lacks.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

/* For a user's attributes the file has to be readable first (xattr(7)), each by itself. */
static bool is_alike(const struct file_attr *attr, const char *name)
{
	return attr->flags & FILE_NO_XATTRS && strncmp(name, "user.", 5) != 0;
}

int xattr_lacks_find(const struct xattr_lacks *l, const struct file_attr *attr, const char *name)
{
	if (!is_alike(attr, name))
		return 0;
	for (unsigned i = 0; i < XATTR_LACKS_MAX; i++) {
		const struct xattr_lack *k = &l->known[i];

		if (k->error && k->dev == attr->dev && k->type == (attr->mode & S_IFMT) &&
			strcmp(k->name, name) == 0)
			return k->error;
	}
	return 0;
}

void xattr_lacks_learn(
	struct xattr_lacks *l, const struct file_attr *attr, const char *name, int error)
{
	struct xattr_lack *k = &l->known[l->learned % XATTR_LACKS_MAX];

	if (!is_alike(attr, name) || (error != ENODATA && error != EOPNOTSUPP) ||
		xattr_lacks_find(l, attr, name))
		return;
	l->learned++;
	k->dev = attr->dev;
	k->type = attr->mode & S_IFMT;
	k->error = error;
	snprintf(k->name, sizeof(k->name), "%s", name);
}
