/* resolve [-4|-6] NAME...: what getaddrinfo(3) says of each name, a line for each, addresses
 * sorted.
 *
 * It must print the same in the target and under the supervisor, with each libc. */
#include <arpa/inet.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define ADDRESSES_MAX 256

static char texts[ADDRESSES_MAX][INET6_ADDRSTRLEN];

static int compare(const void *a, const void *b)
{
	return strcmp(a, b);
}

static void resolve(const char *name, int family)
{
	struct addrinfo hints = { .ai_family = family, .ai_socktype = SOCK_STREAM }, *list;
	int r = getaddrinfo(name, NULL, &hints, &list);
	size_t n = 0;

	printf("%s:", name);
	if (r != 0) {
		printf(" %s\n", gai_strerror(r));
		return;
	}
	for (struct addrinfo *ai = list; ai && n < ADDRESSES_MAX; ai = ai->ai_next)
		getnameinfo(ai->ai_addr, ai->ai_addrlen, texts[n++], sizeof(texts[0]), NULL, 0,
			NI_NUMERICHOST);
	qsort(texts, n, sizeof(texts[0]), compare);
	for (size_t i = 0; i < n; i++)
		printf(" %s", texts[i]);
	puts("");
	freeaddrinfo(list);
}

int main(int argc, char **argv)
{
	int family = AF_UNSPEC;

	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "-4") == 0)
			family = AF_INET;
		else if (strcmp(argv[i], "-6") == 0)
			family = AF_INET6;
		else
			resolve(argv[i], family);
	}
	return 0;
}
