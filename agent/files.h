/* The files of name resolution, as the target sees them. */
#ifndef AGENT_FILES_H
#define AGENT_FILES_H

#include <stddef.h>

#include "proto.h"
#include "target.h"

/* files_read() - the whole file into bytes, at most PROTO_DATA_MAX of them; how many, or -errno:
 * -EACCES for a path that is none of those files, -EFBIG for a longer file. */
int files_read(const struct target *t, struct span path, uint8_t bytes[static PROTO_DATA_MAX]);

#endif
