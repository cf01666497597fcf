/* httpd: the smallest web server: one thread, one connection at a time, IPv4 and IPv6.
 *
 *   httpd PORT */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static void serve(int fd, const struct sockaddr_in6 *peer)
{
	char request[4096], reply[512], body[128], host[INET6_ADDRSTRLEN];
	size_t got = 0;
	ssize_t n;

	inet_ntop(AF_INET6, &peer->sin6_addr, host, sizeof(host));
	do {
		n = recv(fd, request + got, sizeof(request) - 1 - got, 0);
		if (n <= 0)
			return;
		got += (size_t)n;
		request[got] = 0;
	} while (!strstr(request, "\r\n\r\n") && got < sizeof(request) - 1);
	printf("%.*s from %s\n", (int)strcspn(request, "\r"), request, host);
	n = snprintf(body, sizeof(body), "httpd, the guest; you are %s\n", host);
	n = snprintf(reply, sizeof(reply), "HTTP/1.0 200 OK\r\nContent-Length: %d\r\n\r\n%s",
		(int)n, body);
	send(fd, reply, (size_t)n, MSG_NOSIGNAL);
}

int main(int argc, char **argv)
{
	struct sockaddr_in6 in6 = { .sin6_family = AF_INET6 };
	int listener = socket(AF_INET6, SOCK_STREAM, 0), one = 1, fd;
	socklen_t len;

	setvbuf(stdout, NULL, _IOLBF, 0);
	in6.sin6_port = htons((uint16_t)(argc > 1 ? atoi(argv[1]) : 8080));
	setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(listener, (void *)&in6, sizeof(in6)) < 0 || listen(listener, 64) < 0) {
		perror("httpd: listen");
		return 1;
	}
	printf("ready\n");
	for (;;) {
		len = sizeof(in6);
		fd = accept(listener, (void *)&in6, &len);
		if (fd < 0) {
			perror("httpd: accept");
			return 1;
		}
		serve(fd, &in6);
		close(fd);
	}
}
