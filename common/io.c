#include "io.h"

#include <errno.h>
#include <unistd.h>

int io_write_at(int fd, const void *p, size_t n, uint64_t offset)
{
	for (size_t done = 0; done < n;) {
		ssize_t r = pwrite(fd, (const char *)p + done, n - done, (off_t)(offset + done));

		if (r < 0 && errno != EINTR)
			return -errno;
		if (r == 0)
			return -EIO;
		if (r > 0)
			done += (size_t)r;
	}
	return 0;
}

ssize_t io_read_at(int fd, void *p, size_t n, uint64_t offset)
{
	size_t done = 0;

	while (done < n) {
		ssize_t r = pread(fd, (char *)p + done, n - done, (off_t)(offset + done));

		if (r < 0 && errno != EINTR)
			return -errno;
		if (r == 0)
			break;
		if (r > 0)
			done += (size_t)r;
	}
	return (ssize_t)done;
}
