/* Theory of operation. A process has its files beneath its root, and no symbolic link leads out of
 * it. A network namespace that has a name may have files of its own in /etc/netns/NAME, which
 * `ip netns exec` mounts over those in /etc (ip-netns(8)); what is not there is this machine's. */
#include "files.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "resolve.h"
#include "util.h"

#define ETC "/etc/"

static const char *const allowed[] = {
	ETC "resolv.conf",
	ETC "hosts",
	ETC "host.conf",
	ETC "nsswitch.conf",
	ETC "hostname",
};

/* The path as a string of ours; NULL: it is not one of them. */
static const char *find_allowed(struct span path)
{
	for (size_t i = 0; i < ARRAY_SIZE(allowed); i++) {
		if (strlen(allowed[i]) == path.len && !memcmp(allowed[i], path.data, path.len))
			return allowed[i];
	}
	return NULL;
}

/* What is at the path, not opened yet; the fd or -errno. */
static int find_file(const struct target *t, const char *path)
{
	int fd = t->etc < 0 ? -1 : openat(t->etc, path + strlen(ETC), O_PATH | O_CLOEXEC);

	return fd < 0 ? resolve_open(t, path, O_PATH, 0) : fd;
}

/* To open is to act where it is a fifo or a device: the target may have put one there. */
static int open_file(const struct target *t, const char *path)
{
	cleanup_fd int place = find_file(t, path);
	char name[32];
	struct stat st;
	int fd;

	if (place < 0)
		return place;
	if (fstat(place, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -EACCES;
	snprintf(name, sizeof(name), "/proc/self/fd/%d", place);
	fd = open(name, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	return fd < 0 ? -errno : fd;
}

/* Up to n bytes; how many, or -errno. */
static ssize_t read_full(int fd, uint8_t *p, size_t n)
{
	size_t done = 0;
	ssize_t r = 1;

	while (done < n && r) {
		r = read(fd, p + done, n - done);
		if (r < 0 && errno != EINTR)
			return -errno;
		if (r > 0)
			done += (size_t)r;
	}
	return (ssize_t)done;
}

int files_read(const struct target *t, struct span path, uint8_t bytes[static PROTO_DATA_MAX])
{
	const char *known = find_allowed(path);
	cleanup_fd int fd = known ? open_file(t, known) : -EACCES;
	uint8_t more;
	ssize_t n, left;

	/* A descriptor of ours that is missing is not what the guest has run out of. */
	if (fd < 0)
		return fd == -EMFILE || fd == -ENFILE ? -EIO : fd;
	n = read_full(fd, bytes, PROTO_DATA_MAX);
	left = n == PROTO_DATA_MAX ? read_full(fd, &more, 1) : 0;
	if (n < 0 || left < 0)
		return (int)MIN(n, left);
	return left ? -EFBIG : (int)n;
}
