/* The guest's memory, read and written from outside (process_vm_readv(2)); needs no stop. */
#ifndef TRACER_MEM_H
#define TRACER_MEM_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "addr.h"

/* mem_read(), mem_write() - all n bytes: 0; -EFAULT as a system call would give it; -ESRCH. */
int mem_read(pid_t tid, uint64_t from, void *to, size_t n);
int mem_write(pid_t tid, uint64_t to, const void *from, size_t n);

/* mem_gather(), mem_scatter() - the same for the n bytes that lie behind count pieces, of which
 * there are at least as many. */
int mem_gather(pid_t tid, const struct iovec *from, size_t count, void *to, size_t n);
int mem_scatter(pid_t tid, const struct iovec *to, size_t count, const void *from, size_t n);

/* mem_read_string() - a string of the guest's, cut to size - 1 bytes and terminated: how long it is
 * here; -EFAULT; -ESRCH; -ENAMETOOLONG when it was cut. */
int mem_read_string(pid_t tid, uint64_t from, char *to, size_t size);

/* mem_read_sockaddr() - an internet address argument: 0; -EFAULT; -EAFNOSUPPORT or -EINVAL when it
 * is no whole internet address. */
int mem_read_sockaddr(pid_t tid, uint64_t from, uint64_t len, struct addr *a);

/* mem_write_value() - give back an int as getsockopt(2) does: cut to the length that *lenp says. 0,
 * -EFAULT, -EINVAL. */
int mem_write_value(pid_t tid, uint64_t to, uint64_t lenp, int value);

/* mem_write_sockaddr() - give back an address as accept(2) and getsockname(2) do: cut to the length
 * that *lenp says, and *lenp set to the whole length. 0, -EFAULT, -EINVAL for a negative length. */
int mem_write_sockaddr(pid_t tid, uint64_t to, uint64_t lenp, const struct addr *a);
int mem_write_name(pid_t tid, uint64_t to, uint64_t lenp, const void *name, socklen_t len);

#endif
