/* What is said of a file of the target's. */
#ifndef AGENT_FILE_H
#define AGENT_FILE_H

#include <sys/stat.h>

#include "creds.h"
#include "proto.h"

/* A file that was changed within so long may change again without its times telling: the kernel
 * takes them from a clock that stands still for up to a tick, of 10 ms at most. */
#define FILE_SETTLED_NS 20000000

/* file_attr_of() - with the ids as the target knows them. */
struct file_attr file_attr_of(const struct creds *c, const struct stat *st);

/* file_flags(), file_flags_at() - enum file_flag of what is open at fd, and of an entry of a
 * directory, never of what a link names; as the target's process, which may not see all. */
uint64_t file_flags(int fd);
uint64_t file_flags_at(int dir, const char *name);

/* file_version() - a number for what the file holds, from what stat(2) said of fd at the time:
 * equal ones mean equal content. 0, which equals nothing: the content may change, or has just been
 * changed, without a trace. */
uint64_t file_version(int fd, const struct stat *st);

/* file_error() - what of -errno the client is told: a descriptor or memory of ours that is missing
 * is not what the guest has run out of. Positive. */
int file_error(int r);

#endif
