#include "redirect.h"

#include <errno.h>
#include <string.h>

#include "feature.h"
#include "util.h"

#define BACKLOG 4096 /* the kernel lowers it to net.core.somaxconn */

int redirect_listen(const struct addr *ip)
{
	cleanup_fd int fd = socket(
		ip->sa.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_TCP);
	int off = 0, on = 1;

	/* What is accepted here sits on the target's port, and inherits this. Without it the
	 * target's own server could not bind its port again, not even with SO_REUSEADDR, until they
	 * all are gone. */
	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0)
		return -errno;
	if (ip->sa.sa_family == AF_INET6 &&
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off)) < 0)
		return -errno;
	if (bind(fd, &ip->sa, addr_len(ip)) < 0 || listen(fd, BACKLOG) < 0)
		return -errno;
	return take_fd(&fd);
}

static int try_open(
	const struct redirect_ops *ops, struct redirect **r, int *listener, struct err *e)
{
	int error;

	if (feature_disabled(ops->name))
		return err_set(e, -EOPNOTSUPP, "MIRRORD_TRACE_DISABLE forbids it");
	error = ops->open(r, listener, e);
	if (error < 0)
		log_dbg("%s: %s", ops->name, e->text);
	return error;
}

int redirect_open(
	const struct redirect_ops **ops, struct redirect **r, int *listener, struct err *e)
{
	static const struct redirect_ops *const ways[] = { &redirect_sklookup, &redirect_nft };
	struct err why[ARRAY_SIZE(ways)];
	int error = 0;

	for (size_t i = 0; i < ARRAY_SIZE(ways); i++) {
		error = try_open(ways[i], r, listener, &why[i]);
		if (error == 0) {
			*ops = ways[i];
			return 0;
		}
	}
	return err_set(e, error, "the port cannot be stolen. %s: %.200s. %s: %.200s.",
		ways[0]->name, why[0].text, ways[1]->name, why[1].text);
}
