/* All of it, at a place of a file: interrupted and short calls go on. */
#ifndef COMMON_IO_H
#define COMMON_IO_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* io_write_at() - pwrite(2). 0 or -errno; some of it may have been written then. */
int io_write_at(int fd, const void *p, size_t n, uint64_t offset);

/* io_read_at() - pread(2). How much there is up to n, or -errno. */
ssize_t io_read_at(int fd, void *p, size_t n, uint64_t offset);

#endif
