/* Redirection by a BPF program at the network namespace's socket lookup. The packets are not
 * changed, so an accepted socket has the addresses that its client used. The program's link, its
 * maps and the listener are file descriptors: nothing of it survives the process. */
#include "redirect.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include <bpf/libbpf.h>

#include "sklookup.h"
#include "sklookup.skel.h"
#include "util.h"

_Static_assert(SKLOOKUP_PORTS_MAX >= REDIRECT_PORTS_MAX, "the map holds all ports");

struct redirect {
	struct sklookup *skel;
	struct bpf_link *link;
};

/* libbpf's complaints are details for -v; what is said to people is decided here. */
__attribute__((format(printf, 2, 0))) static int libbpf_to_dbg(
	enum libbpf_print_level level, const char *fmt, va_list ap)
{
	char line[256];

	if (level == LIBBPF_DEBUG)
		return 0;
	vsnprintf(line, sizeof(line), fmt, ap);
	line[strcspn(line, "\n")] = '\0';
	log_dbg("%s", line);
	return 0;
}

/* The listener is bound to the loopback address in v4-mapped form: it takes redirected connections
 * of both families, and is not to be reached from outside without being redirected. */
static int listen_loopback(void)
{
	struct addr v4 = addr_v4(INADDR_LOOPBACK, 0), mapped = addr_map(&v4, AF_INET6);
	int fd = redirect_listen(&mapped);

	return fd == -EAFNOSUPPORT || fd == -EADDRNOTAVAIL ? redirect_listen(&v4) : fd;
}

static int attach(struct redirect *r, int listener)
{
	cleanup_fd int netns = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	const uint32_t index = 0;
	const uint64_t socket = (uint64_t)listener;

	if (netns < 0)
		return -errno;
	/* libbpf raises RLIMIT_MEMLOCK itself where the kernel still charges maps to it. */
	r->skel = sklookup__open_and_load();
	if (!r->skel)
		return -errno;
	if (bpf_map__update_elem(r->skel->maps.sockets, &index, sizeof(index), &socket,
		    sizeof(socket), BPF_ANY) < 0)
		return -errno;
	r->link = bpf_program__attach_netns(r->skel->progs.steal, netns);
	return r->link ? 0 : -errno;
}

static void sklookup_close(struct redirect *r)
{
	bpf_link__destroy(r->link);
	sklookup__destroy(r->skel);
	free(r);
}

static int explain(int error, struct err *e)
{
	if (error == -EPERM || error == -EACCES)
		return err_set(e, error,
			"may not load a BPF program; CAP_BPF and CAP_NET_ADMIN are needed");
	return err_set(e, error,
		"cannot attach a BPF program to the network namespace: %s (Linux 5.9 is needed)",
		strerror(-error));
}

static int sklookup_open(struct redirect **out, int *listener, struct err *e)
{
	cleanup_fd int fd = listen_loopback();
	struct redirect *r;
	int error;

	if (fd < 0)
		return err_set(e, fd, "cannot listen at the loopback address: %s", strerror(-fd));
	r = calloc(1, sizeof(*r));
	if (!r)
		return err_set(e, -ENOMEM, "no memory");
	libbpf_set_print(libbpf_to_dbg);
	error = attach(r, fd);
	if (error < 0) {
		sklookup_close(r);
		return explain(error, e);
	}
	*out = r;
	*listener = take_fd(&fd);
	return 0;
}

static struct sklookup_port key_of(enum proto_family family, uint16_t port)
{
	return (struct sklookup_port){
		.port = port,
		.family = family == PROTO_IPV6 ? AF_INET6 : AF_INET,
	};
}

static int sklookup_add(struct redirect *r, enum proto_family family, uint16_t port, struct err *e)
{
	struct sklookup_port key = key_of(family, port);
	const uint32_t index = 0;
	int error = bpf_map__update_elem(
		r->skel->maps.ports, &key, sizeof(key), &index, sizeof(index), BPF_ANY);

	return error < 0 ? err_set(e, error, "cannot add port %u: %s", port, strerror(-error)) : 0;
}

static void sklookup_del(struct redirect *r, enum proto_family family, uint16_t port)
{
	struct sklookup_port key = key_of(family, port);

	bpf_map__delete_elem(r->skel->maps.ports, &key, sizeof(key), 0);
}

static int sklookup_add_udp(
	struct redirect *r, enum proto_family family, uint16_t port, int fd, struct err *e)
{
	struct sklookup_port key = key_of(family, port);
	const uint64_t socket = (uint64_t)fd;
	int error = bpf_map__update_elem(
		r->skel->maps.udp, &key, sizeof(key), &socket, sizeof(socket), BPF_ANY);

	return error < 0 ? err_set(e, error, "cannot add UDP port %u: %s", port, strerror(-error))
			 : 0;
}

static void sklookup_del_udp(struct redirect *r, enum proto_family family, uint16_t port)
{
	struct sklookup_port key = key_of(family, port);

	bpf_map__delete_elem(r->skel->maps.udp, &key, sizeof(key), 0);
}

const struct redirect_ops redirect_sklookup = {
	.name = "sk_lookup",
	.open = sklookup_open,
	.close = sklookup_close,
	.add = sklookup_add,
	.del = sklookup_del,
	.add_udp = sklookup_add_udp,
	.del_udp = sklookup_del_udp,
	.destination = addr_of_socket,
};
