/* A struct msghdr of the guest's (sendmsg(2), recvmsg(2)), with the addresses of its parts. */
#ifndef TRACER_GUESTMSG_H
#define TRACER_GUESTMSG_H

#include <limits.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "addr.h"

/* Control messages are read and written up to this many bytes. */
#define GUESTMSG_CONTROL_MAX 4096

struct guestmsg {
	pid_t tid;
	uint64_t at; /* of the struct in the guest; 0: it was made from arguments */
	struct msghdr h;
	struct iovec iov[IOV_MAX];
	size_t niov, len; /* of all pieces together, at most INT_MAX, as the kernel cuts it */
};

/* guestmsg_read() - 0; -EFAULT; -EMSGSIZE and -EINVAL as sendmsg(2) has them. */
int guestmsg_read(struct guestmsg *g, pid_t tid, uint64_t at);

/* guestmsg_any_named() - whether any of the n headers has a name, or room for one: struct mmsghdr's
 * at that address, or one struct msghdr. False also if they cannot be read. */
bool guestmsg_any_named(pid_t tid, uint64_t at, unsigned n);

/* guestmsg_is_named() - it has a name that is not empty: the kernel takes an empty one for none. */
bool guestmsg_is_named(const struct guestmsg *g);

/* guestmsg_one() - one piece without name and control messages. */
void guestmsg_one(struct guestmsg *g, pid_t tid, uint64_t data, uint64_t len);

/* guestmsg_name() - the address that it names, as mem_read_sockaddr() gives it. */
int guestmsg_name(const struct guestmsg *g, struct addr *a);

/* guestmsg_control() - its control messages: how many bytes, or -errno. */
ssize_t guestmsg_control(const struct guestmsg *g, void *to, size_t size);

#endif
