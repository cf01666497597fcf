/* Write the corpus that the fuzzer of names begins with: seeds_dns DIRECTORY. */
#include <err.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <unistd.h>

#include "util.h" /* before a MIN of the system's */

#include "sample_dns.h"

static const char *const texts[] = {
	"",
	"nameserver 10.96.0.10\nsearch shop.svc.cluster.local svc.cluster.local\noptions ndots:5\n",
	"127.0.0.1 localhost # us\n::1 ip6-localhost\n10.1.2.3\tdb db.example.com\n",
	"passwd: files\nhosts: files mdns4_minimal [NOTFOUND=return] dns\n",
};

int main(int argc, char **argv)
{
	uint8_t seed[2048];

	if (argc != 2 || chdir(argv[1]) < 0)
		errx(2, "usage: seeds_dns DIRECTORY");
	for (size_t i = 0; i < ARRAY_SIZE(samples_dns); i++) {
		const char *text = texts[i % ARRAY_SIZE(texts)];
		size_t n = (strlen(text) + 1) / 2;
		char name[32];
		int fd;

		memset(seed, '\n', 1 + n * 2);
		memcpy(seed + 1, text, strlen(text));
		seed[0] = (uint8_t)n;
		n = 1 + n * 2 + sample_dns(&samples_dns[i], seed + 1 + n * 2);
		snprintf(name, sizeof(name), "seed-%zu", i);
		fd = open(name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
		if (fd < 0 || write(fd, seed, n) != (ssize_t)n)
			err(1, "%s", name);
		close(fd);
	}
	return 0;
}
