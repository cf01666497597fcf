#include "mem.h"

#include <errno.h>
#include <string.h>

#include "util.h"

static int moved(ssize_t done, size_t n)
{
	if (done == (ssize_t)n)
		return 0;
	return done < 0 && errno == ESRCH ? -ESRCH : -EFAULT;
}

int mem_read(pid_t tid, uint64_t from, void *to, size_t n)
{
	struct iovec local = { to, n }, remote = { (void *)(uintptr_t)from, n };

	return moved(process_vm_readv(tid, &local, 1, &remote, 1, 0), n);
}

int mem_write(pid_t tid, uint64_t to, const void *from, size_t n)
{
	struct iovec local = { (void *)(uintptr_t)from, n }, remote = { (void *)(uintptr_t)to, n };

	return moved(process_vm_writev(tid, &local, 1, &remote, 1, 0), n);
}

int mem_gather(pid_t tid, const struct iovec *from, size_t count, void *to, size_t n)
{
	struct iovec local = { to, n };

	return n ? moved(process_vm_readv(tid, &local, 1, from, count, 0), n) : 0;
}

int mem_scatter(pid_t tid, const struct iovec *to, size_t count, const void *from, size_t n)
{
	struct iovec local = { (void *)(uintptr_t)from, n };

	return n ? moved(process_vm_writev(tid, &local, 1, to, count, 0), n) : 0;
}

/* No page is smaller. */
#define PAGE_MIN 4096

/* Most strings are shorter. */
#define STRING_FIRST 128

int mem_read_string(pid_t tid, uint64_t from, char *to, size_t size)
{
	size_t at = 0;

	/* What lies behind the string's end may be in a page that is not there. */
	while (at < size) {
		size_t n = MIN(size - at, PAGE_MIN - (size_t)((from + at) % PAGE_MIN));
		char *end;
		int r;

		n = at ? n : MIN(n, (size_t)STRING_FIRST);
		r = mem_read(tid, from + at, to + at, n);
		if (r < 0)
			return r;
		end = memchr(to + at, '\0', n);
		if (end)
			return (int)(end - to);
		at += n;
	}
	to[size - 1] = '\0';
	return -ENAMETOOLONG;
}

int mem_read_sockaddr(pid_t tid, uint64_t from, uint64_t len, struct addr *a)
{
	struct sockaddr_storage ss;
	int r;

	if ((int)len < 0 || (int)len > (int)sizeof(ss))
		return -EINVAL;
	r = mem_read(tid, from, &ss, (size_t)(int)len);
	return r < 0 ? r : addr_from_sockaddr(a, &ss, (size_t)(int)len);
}

int mem_write_value(pid_t tid, uint64_t to, uint64_t lenp, int value)
{
	int room, r = mem_read(tid, lenp, &room, sizeof(room));

	if (r < 0)
		return r;
	if (room < 0)
		return -EINVAL;
	room = MIN(room, (int)sizeof(value));
	r = mem_write(tid, to, &value, (size_t)room);
	return r < 0 ? r : mem_write(tid, lenp, &room, sizeof(room));
}

int mem_write_name(pid_t tid, uint64_t to, uint64_t lenp, const void *name, socklen_t len)
{
	int whole = (int)len, room;
	int r = mem_read(tid, lenp, &room, sizeof(room));

	if (r < 0)
		return r;
	if (room < 0)
		return -EINVAL;
	r = mem_write(tid, to, name, (size_t)MIN(room, whole));
	return r < 0 ? r : mem_write(tid, lenp, &whole, sizeof(whole));
}

int mem_write_sockaddr(pid_t tid, uint64_t to, uint64_t lenp, const struct addr *a)
{
	return mem_write_name(tid, to, lenp, a, addr_len(a));
}
