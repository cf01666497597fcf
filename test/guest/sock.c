/* sock: makes the socket calls it is told to, one on each line of standard input, and prints one
 * line with what came of it: the result, the errno, the addresses.
 *
 * The same lines must give the same answers in the target's namespaces and under the supervisor.
 * The clients of the scenarios (test/e2e/scenarios/) are this program too.
 *
 * A socket has a name; "#7" is the descriptor 7 itself, whatever that is. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "orders.h"

#define SOCKETS_MAX   32
#define LINE_MAX_     4096
#define BYTES_MAX     70000 /* more than a datagram can have */
#define DATAGRAMS_MAX 8     /* in one sendmmsg or recvmmsg */
#define TEXT_SHOWN    40    /* bytes; of more the sum is shown */
#define AWAIT_TRIES   10000 /* of a millisecond */

static struct {
	char name[16];
	int fd;
	struct sockaddr_storage source; /* of the last datagram */
	socklen_t source_len;
} sockets[SOCKETS_MAX];

struct symbol {
	const char *name;
	int value;
};

#define S(name) ((struct symbol){ #name, name })
static const struct symbol errors[] = { S(EACCES), S(EADDRINUSE), S(EADDRNOTAVAIL), S(EAFNOSUPPORT),
	S(EAGAIN), S(EALREADY), S(EBADF), S(ECONNABORTED), S(ECONNREFUSED), S(ECONNRESET),
	S(EDESTADDRREQ), S(EFAULT), S(EHOSTUNREACH), S(EINPROGRESS), S(EINTR), S(EINVAL),
	S(EISCONN), S(EMFILE), S(EMSGSIZE), S(ENETUNREACH), S(ENOENT), S(ENOPROTOOPT), S(ENOTCONN),
	S(ENOTSOCK), S(EOPNOTSUPP), S(EPERM), S(EPIPE), S(EPROTONOSUPPORT), S(EPROTOTYPE),
	S(ETIMEDOUT), { 0 } };

static const struct symbol constants[] = { { "inet", AF_INET }, { "inet6", AF_INET6 },
	{ "unix", AF_UNIX }, { "stream", SOCK_STREAM }, { "dgram", SOCK_DGRAM },
	{ "seqpacket", SOCK_SEQPACKET }, { "nonblock", SOCK_NONBLOCK }, { "cloexec", SOCK_CLOEXEC },
	{ "rd", SHUT_RD }, { "wr", SHUT_WR }, { "rdwr", SHUT_RDWR }, { "peek", MSG_PEEK },
	{ "trunc", MSG_TRUNC }, { "dontwait", MSG_DONTWAIT }, { "waitall", MSG_WAITALL },
	{ "waitforone", MSG_WAITFORONE }, { "fastopen", MSG_FASTOPEN }, { 0 } };

/* epoll's bits are poll's. */
static const struct symbol poll_events[] = { S(POLLIN), S(POLLOUT), S(POLLERR), S(POLLHUP),
	S(POLLRDHUP), S(POLLNVAL), { 0 } };

static const struct symbol tcp_states[] = { S(TCP_ESTABLISHED), S(TCP_SYN_SENT), S(TCP_SYN_RECV),
	S(TCP_FIN_WAIT1), S(TCP_FIN_WAIT2), S(TCP_TIME_WAIT), S(TCP_CLOSE), S(TCP_CLOSE_WAIT),
	S(TCP_LAST_ACK), S(TCP_LISTEN), S(TCP_CLOSING), { 0 } };

static const struct {
	const char *name;
	int level, option;
} options[] = {
	{ "reuseaddr", SOL_SOCKET, SO_REUSEADDR },
	{ "reuseport", SOL_SOCKET, SO_REUSEPORT },
	{ "acceptconn", SOL_SOCKET, SO_ACCEPTCONN },
	{ "domain", SOL_SOCKET, SO_DOMAIN },
	{ "type", SOL_SOCKET, SO_TYPE },
	{ "protocol", SOL_SOCKET, SO_PROTOCOL },
	{ "error", SOL_SOCKET, SO_ERROR },
	{ "keepalive", SOL_SOCKET, SO_KEEPALIVE },
	{ "broadcast", SOL_SOCKET, SO_BROADCAST },
	{ "rcvbuf", SOL_SOCKET, SO_RCVBUF },
	{ "v6only", IPPROTO_IPV6, IPV6_V6ONLY },
	{ "nodelay", IPPROTO_TCP, TCP_NODELAY },
	{ "user_timeout", IPPROTO_TCP, TCP_USER_TIMEOUT },
	{ "fastopen_connect", IPPROTO_TCP, TCP_FASTOPEN_CONNECT },
	{ "pktinfo", IPPROTO_IP, IP_PKTINFO },
};

static void fail(const char *what)
{
	printf("sock: cannot understand %s\n", what);
	exit(99);
}

static const char *error_name(int error)
{
	static char number[16];

	for (const struct symbol *s = errors; s->name; s++)
		if (s->value == error)
			return s->name;
	snprintf(number, sizeof(number), "E%d", error);
	return number;
}

/* "a|b" or a number; an empty or missing word is 0. */
static int flags_of(const char *word)
{
	char copy[64], *save = NULL;
	int value = 0;

	snprintf(copy, sizeof(copy), "%s", word ? word : "");
	for (char *w = strtok_r(copy, "|", &save); w; w = strtok_r(NULL, "|", &save)) {
		const struct symbol *s = constants;

		while (s->name && strcmp(s->name, w) != 0)
			s++;
		value |= s->name ? s->value : (int)strtol(w, NULL, 0);
	}
	return value;
}

static int *slot_of(const char *name, bool make)
{
	int empty = -1;

	for (int i = 0; i < SOCKETS_MAX; i++) {
		if (!sockets[i].name[0] && empty < 0)
			empty = i;
		else if (strcmp(sockets[i].name, name) == 0)
			return &sockets[i].fd;
	}
	if (!make || empty < 0)
		fail(name);
	snprintf(sockets[empty].name, sizeof(sockets[empty].name), "%s", name);
	sockets[empty].fd = -1;
	return &sockets[empty].fd;
}

/* reply goes to the last source. A socket without a name has none. */
static void note_source(const char *name, const void *source, socklen_t len)
{
	for (int i = 0; i < SOCKETS_MAX; i++)
		if (strcmp(sockets[i].name, name) == 0 && len <= sizeof(sockets[i].source)) {
			memcpy(&sockets[i].source, source, len);
			sockets[i].source_len = len;
		}
}

static int fd_of(const char *name)
{
	return name[0] == '#' ? atoi(name + 1) : *slot_of(name, false);
}

static void forget(const char *name)
{
	for (int i = 0; i < SOCKETS_MAX; i++)
		if (strcmp(sockets[i].name, name) == 0)
			sockets[i].name[0] = 0;
}

/* "10.0.0.1:80", "[::1]:80", "/path", "abstract:name", "unspec"; "null" and "bad" are pointers to
 * nothing. */
static struct sockaddr *address_of(const char *text, struct sockaddr_storage *ss, socklen_t *len)
{
	struct sockaddr_in *in = (void *)ss;
	struct sockaddr_in6 *in6 = (void *)ss;
	struct sockaddr_un *un = (void *)ss;
	char host[64] = "";
	int port = 0;

	memset(ss, 0, sizeof(*ss));
	*len = sizeof(*in);
	if (strcmp(text, "null") == 0)
		return NULL;
	if (strcmp(text, "bad") == 0)
		return (void *)8;
	if (strcmp(text, "unspec") == 0)
		return (void *)ss;
	if (text[0] == '/') {
		un->sun_family = AF_UNIX;
		snprintf(un->sun_path, sizeof(un->sun_path), "%s", text);
		*len = sizeof(*un);
	} else if (strncmp(text, "abstract:", 9) == 0) {
		un->sun_family = AF_UNIX;
		snprintf(un->sun_path + 1, sizeof(un->sun_path) - 1, "%s", text + 9);
		*len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + strlen(text + 9));
	} else if (sscanf(text, "[%63[^]]]:%d", host, &port) == 2) {
		in6->sin6_family = AF_INET6;
		in6->sin6_port = htons((uint16_t)port);
		if (inet_pton(AF_INET6, host, &in6->sin6_addr) != 1)
			fail(text);
		*len = sizeof(*in6);
	} else if (sscanf(text, "%63[^:]:%d", host, &port) == 2) {
		in->sin_family = AF_INET;
		in->sin_port = htons((uint16_t)port);
		if (inet_pton(AF_INET, host, &in->sin_addr) != 1)
			fail(text);
	} else {
		fail(text);
	}
	return (void *)ss;
}

/* What the kernel wrote, of which only min(len, room) bytes can be believed. */
static void print_address(const struct sockaddr_storage *ss, socklen_t len, socklen_t room)
{
	const struct sockaddr_in *in = (const void *)ss;
	const struct sockaddr_in6 *in6 = (const void *)ss;
	const struct sockaddr_un *un = (const void *)ss;
	const unsigned char *raw = (const void *)ss;
	char host[INET6_ADDRSTRLEN];

	if (room < len) {
		for (socklen_t i = 0; i < room; i++)
			printf("%s%02x", i ? "" : " cut ", raw[i]);
		/* A write beyond the guest's buffer would be seen here. */
		for (socklen_t i = room; i < sizeof(*ss); i++)
			if (raw[i] != 0xee) {
				printf(" OVERRUN");
				break;
			}
	} else if (len >= sizeof(*in) && ss->ss_family == AF_INET) {
		inet_ntop(AF_INET, &in->sin_addr, host, sizeof(host));
		printf(" %s:%d", host, ntohs(in->sin_port));
	} else if (len >= sizeof(*in6) && ss->ss_family == AF_INET6) {
		inet_ntop(AF_INET6, &in6->sin6_addr, host, sizeof(host));
		printf(" [%s]:%d", host, ntohs(in6->sin6_port));
		if (in6->sin6_flowinfo || in6->sin6_scope_id)
			printf(" flow %x scope %u", in6->sin6_flowinfo, in6->sin6_scope_id);
	} else if (ss->ss_family == AF_UNIX) {
		int n = (int)(len - offsetof(struct sockaddr_un, sun_path));

		printf(" unix %.*s", n, un->sun_path);
		if (n && !un->sun_path[0])
			printf("@%.*s", n - 1, un->sun_path + 1);
	}
	printf(" len %u", (unsigned)len);
}

static void print_result(long result)
{
	if (result < 0)
		printf("-1 %s", error_name(errno));
	else
		printf("%ld", result);
}

static void do_socket(char **w)
{
	int fd = socket(flags_of(w[2]), flags_of(w[3]), flags_of(w[4]));

	print_result(fd);
	*slot_of(w[1], true) = fd;
}

static void do_bind(char **w)
{
	struct sockaddr_storage ss;
	socklen_t len;
	struct sockaddr *sa = address_of(w[2], &ss, &len);

	print_result(bind(fd_of(w[1]), sa, w[3] ? (socklen_t)atoi(w[3]) : len));
}

/* connect NAME ADDRESS [LENGTH] */
static void do_connect(char **w)
{
	struct sockaddr_storage ss;
	socklen_t len;
	struct sockaddr *sa = address_of(w[2], &ss, &len);

	print_result(connect(fd_of(w[1]), sa, w[3] ? (socklen_t)atoi(w[3]) : len));
}

/* dial NAME ADDRESS: as a program with an event loop does it. Whether an error is the call's or
 * comes later is not told. */
static void do_dial(char **w)
{
	struct sockaddr_storage ss;
	socklen_t len;
	struct sockaddr *sa = address_of(w[2], &ss, &len);
	struct pollfd pfd = { .fd = fd_of(w[1]), .events = POLLOUT };
	int result = connect(pfd.fd, sa, len), error = 0;

	if (result < 0 && errno == EINPROGRESS && poll(&pfd, 1, -1) == 1) {
		len = sizeof(error);
		getsockopt(pfd.fd, SOL_SOCKET, SO_ERROR, &error, &len);
		result = error ? -1 : 0;
		errno = error;
	}
	print_result(result);
}

static void do_listen(char **w)
{
	print_result(listen(fd_of(w[1]), w[2] ? atoi(w[2]) : 16));
}

/* Where the kernel shall put an address: the word is nothing, "null", "bad", "badlen", a length. */
struct place {
	struct sockaddr_storage ss;
	socklen_t room, len;
	struct sockaddr *sa;
	socklen_t *lenp;
};

static void place_init(struct place *p, const char *word)
{
	memset(&p->ss, 0xee, sizeof(p->ss));
	p->len = sizeof(p->ss);
	p->sa = (void *)&p->ss;
	p->lenp = &p->len;
	if (!word)
		;
	else if (strcmp(word, "null") == 0)
		p->sa = NULL, p->lenp = NULL;
	else if (strcmp(word, "bad") == 0)
		p->sa = (void *)8;
	else if (strcmp(word, "badlen") == 0)
		p->lenp = (void *)8;
	else
		p->len = (socklen_t)strtol(word, NULL, 0);
	p->room = p->len < sizeof(p->ss) ? p->len : sizeof(p->ss);
}

static void place_print(const struct place *p, long result)
{
	print_result(result);
	if (result >= 0 && p->sa == (void *)&p->ss && p->lenp == &p->len)
		print_address(&p->ss, p->len, p->room);
}

/* accept LISTENER NAME [WHERE]      accept4 LISTENER NAME FLAGS [WHERE] */
static void do_accept(char **w)
{
	bool four = strcmp(w[0], "accept4") == 0;
	struct place p;
	int fd;

	place_init(&p, four ? w[4] : w[3]);
	fd = four ? accept4(fd_of(w[1]), p.sa, p.lenp, flags_of(w[3]))
		  : accept(fd_of(w[1]), p.sa, p.lenp);
	place_print(&p, fd);
	if (fd >= 0)
		*slot_of(w[2], true) = fd;
}

static void do_getname(char **w)
{
	struct place p;

	place_init(&p, w[2]);
	place_print(&p, w[0][3] == 's' ? getsockname(fd_of(w[1]), p.sa, p.lenp)
				       : getpeername(fd_of(w[1]), p.sa, p.lenp));
}

/* port NAME: only the number, for the client's use. */
static void do_port(char **w)
{
	struct sockaddr_in6 in6 = { 0 };
	socklen_t len = sizeof(in6);

	getsockname(fd_of(w[1]), (void *)&in6, &len);
	printf("%d", ntohs(in6.sin6_port));
}

static void do_close(char **w)
{
	print_result(close(fd_of(w[1])));
	forget(w[1]);
}

static void do_reset(char **w)
{
	struct linger linger = { .l_onoff = 1 };

	setsockopt(fd_of(w[1]), SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
	do_close(w);
}

static void do_shutdown(char **w)
{
	print_result(shutdown(fd_of(w[1]), flags_of(w[2])));
}

static void do_send(char **w)
{
	print_result(send(fd_of(w[1]), w[2], strlen(w[2]), MSG_NOSIGNAL));
}

/* recv NAME N: waits for N bytes, the end, or an error. */
static void do_recv(char **w)
{
	char bytes[1024] = "";
	size_t want = w[2] ? (size_t)atoi(w[2]) : sizeof(bytes) - 1, got = 0;
	ssize_t n = 1;

	while (got < want && (n = recv(fd_of(w[1]), bytes + got, want - got, 0)) > 0)
		got += (size_t)n;
	printf("\"%s\"", bytes);
	if (n == 0)
		printf(" end");
	else if (n < 0)
		printf(" %s", error_name(errno));
}

/* Bytes by a word: "text", or "=N" for N bytes of a pattern that depends on N. */
static size_t bytes_of(const char *word, uint8_t *bytes)
{
	size_t n = word[0] == '=' ? (size_t)atoi(word + 1) : strlen(word);

	if (n > BYTES_MAX)
		fail(word);
	if (word[0] != '=')
		memcpy(bytes, word, n);
	for (size_t i = 0; word[0] == '=' && i < n; i++)
		bytes[i] = (uint8_t)((n * 31 + i * 7 + (i >> 8)) & 0xff);
	return n;
}

static uint32_t sum_add(uint32_t sum, const uint8_t *bytes, size_t n)
{
	for (size_t i = 0; i < n; i++)
		sum = sum * 31 + bytes[i];
	return sum;
}

static void print_bytes(const uint8_t *bytes, size_t n)
{
	bool text = n <= TEXT_SHOWN;

	for (size_t i = 0; text && i < n; i++)
		text = bytes[i] >= 0x20 && bytes[i] < 0x7f;
	if (text)
		printf(" \"%.*s\"", (int)n, (const char *)bytes);
	else
		printf(" sum %08x", sum_add(0, bytes, n));
}

/* sendto NAME BYTES [ADDRESS [FLAGS [LENGTH]]] */
static void do_sendto(char **w)
{
	static uint8_t bytes[BYTES_MAX];
	struct sockaddr_storage ss;
	socklen_t len = 0;
	struct sockaddr *sa = w[3] && strcmp(w[3], "-") ? address_of(w[3], &ss, &len) : NULL;
	size_t n = bytes_of(w[2], bytes);

	if (w[3] && w[4] && w[5])
		len = (socklen_t)atoi(w[5]);
	print_result(sendto(
		fd_of(w[1]), bytes, n, MSG_NOSIGNAL | flags_of(w[3] ? w[4] : NULL), sa, len));
}

/* recvfrom NAME [ROOM [FLAGS [WHERE]]] */
static void do_recvfrom(char **w)
{
	static uint8_t bytes[BYTES_MAX];
	size_t room = w[2] ? (size_t)atoi(w[2]) : sizeof(bytes);
	int flags = w[2] ? flags_of(w[3]) : 0;
	struct place p;
	ssize_t n;

	place_init(&p, w[2] && w[3] ? w[4] : NULL);
	n = recvfrom(fd_of(w[1]), bytes, room, flags, p.sa, p.lenp);
	place_print(&p, n);
	if (n >= 0)
		print_bytes(bytes, (size_t)n < room ? (size_t)n : room);
	if (n >= 0 && p.lenp == &p.len)
		note_source(w[1], &p.ss, p.len);
}

/* reply NAME BYTES: to whom the last datagram came from, as this socket has heard it. */
static void do_reply(char **w)
{
	static uint8_t bytes[BYTES_MAX];
	size_t n = bytes_of(w[2], bytes);

	for (int i = 0; i < SOCKETS_MAX; i++)
		if (strcmp(sockets[i].name, w[1]) == 0)
			print_result(sendto(sockets[i].fd, bytes, n, MSG_NOSIGNAL,
				(void *)&sockets[i].source, sockets[i].source_len));
}

/* Bytes in three pieces, the second of them empty. */
static void iov_init(struct iovec iov[3], uint8_t *bytes, size_t n)
{
	iov[0] = (struct iovec){ .iov_base = bytes, .iov_len = n / 3 };
	iov[1] = (struct iovec){ .iov_base = NULL, .iov_len = 0 };
	iov[2] = (struct iovec){ .iov_base = bytes + n / 3, .iov_len = n - n / 3 };
}

/* sendmsg NAME BYTES [ADDRESS [FLAGS]] */
static void do_sendmsg(char **w)
{
	static uint8_t bytes[BYTES_MAX];
	struct sockaddr_storage ss;
	struct iovec iov[3];
	struct msghdr msg = { .msg_iov = iov, .msg_iovlen = 3 };

	iov_init(iov, bytes, bytes_of(w[2], bytes));
	if (w[3] && strcmp(w[3], "-") != 0)
		msg.msg_name = address_of(w[3], &ss, &msg.msg_namelen);
	print_result(sendmsg(fd_of(w[1]), &msg, MSG_NOSIGNAL | flags_of(w[3] ? w[4] : NULL)));
}

static void print_message(const struct msghdr *msg, size_t n, size_t room, const uint8_t *bytes)
{
	print_address(msg->msg_name, msg->msg_namelen, sizeof(struct sockaddr_storage));
	print_bytes(bytes, n < room ? n : room);
	printf("%s%s", msg->msg_flags & MSG_TRUNC ? " trunc" : "",
		msg->msg_flags & MSG_CTRUNC ? " ctrunc" : "");
	if (msg->msg_controllen)
		printf(" control %zu", (size_t)msg->msg_controllen);
}

/* recvmsg NAME [ROOM [FLAGS]] */
static void do_recvmsg(char **w)
{
	static uint8_t bytes[BYTES_MAX];
	size_t room = w[2] ? (size_t)atoi(w[2]) : sizeof(bytes);
	struct sockaddr_storage ss;
	char control[256];
	struct iovec iov[3];
	struct msghdr msg = { .msg_iov = iov,
		.msg_iovlen = 3,
		.msg_name = &ss,
		.msg_namelen = sizeof(ss),
		.msg_control = control,
		.msg_controllen = sizeof(control) };
	ssize_t n;

	iov_init(iov, bytes, room);
	n = recvmsg(fd_of(w[1]), &msg, w[2] ? flags_of(w[3]) : 0);
	print_result(n);
	if (n < 0)
		return;
	print_message(&msg, (size_t)n, room, bytes);
	note_source(w[1], &ss, msg.msg_namelen);
}

struct datagrams {
	struct mmsghdr hdr[DATAGRAMS_MAX];
	struct iovec iov[DATAGRAMS_MAX][3];
	struct sockaddr_storage ss[DATAGRAMS_MAX];
	uint8_t bytes[DATAGRAMS_MAX][BYTES_MAX];
};

/* sendmmsg NAME BYTES ADDRESS BYTES ADDRESS …; the address "-" is none. */
static void do_sendmmsg(char **w)
{
	static struct datagrams d;
	struct msghdr *msg;
	int fd = fd_of(w[1]), sent;
	unsigned n = 0;

	memset(d.hdr, 0, sizeof(d.hdr));
	for (w += 2; n < DATAGRAMS_MAX && w[0] && w[1]; w += 2, n++) {
		msg = &d.hdr[n].msg_hdr;
		iov_init(d.iov[n], d.bytes[n], bytes_of(w[0], d.bytes[n]));
		msg->msg_iov = d.iov[n];
		msg->msg_iovlen = 3;
		if (strcmp(w[1], "-") != 0)
			msg->msg_name = address_of(w[1], &d.ss[n], &msg->msg_namelen);
	}
	sent = sendmmsg(fd, d.hdr, n, MSG_NOSIGNAL);
	print_result(sent);
	for (int i = 0; i < sent; i++)
		printf(" %u", d.hdr[i].msg_len);
}

/* recvmmsg NAME COUNT [FLAGS [MS]] */
static void do_recvmmsg(char **w)
{
	static struct datagrams d;
	int count = atoi(w[2]), ms = w[3] && w[4] ? atoi(w[4]) : 0, got;
	struct timespec ts = { .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L };

	if (count > DATAGRAMS_MAX)
		fail(w[2]);
	memset(d.hdr, 0, sizeof(d.hdr));
	for (int i = 0; i < count; i++) {
		iov_init(d.iov[i], d.bytes[i], BYTES_MAX);
		d.hdr[i].msg_hdr = (struct msghdr){ .msg_iov = d.iov[i],
			.msg_iovlen = 3,
			.msg_name = &d.ss[i],
			.msg_namelen = sizeof(d.ss[i]) };
	}
	got = recvmmsg(fd_of(w[1]), d.hdr, (unsigned)count, flags_of(w[3]), ms ? &ts : NULL);
	print_result(got);
	for (int i = 0; i < got; i++) {
		printf(" | %u", d.hdr[i].msg_len);
		print_message(&d.hdr[i].msg_hdr, d.hdr[i].msg_len, BYTES_MAX, d.bytes[i]);
	}
}

/* fill NAME N: sends N bytes of a stream, all of them.      drain NAME N: the bytes' sum. */
static void do_fill(char **w)
{
	static uint8_t bytes[BYTES_MAX];
	size_t left = (size_t)atol(w[2]);
	ssize_t n = 0;

	bytes_of("=70000", bytes);
	for (; left > 0; left -= (size_t)n) {
		n = send(fd_of(w[1]), bytes, left < BYTES_MAX ? left : BYTES_MAX, MSG_NOSIGNAL);
		if (n < 0)
			break;
	}
	print_result(n < 0 ? -1 : 0);
}

static void do_drain(char **w)
{
	static uint8_t bytes[BYTES_MAX];
	size_t want = (size_t)atol(w[2]), got = 0;
	uint32_t sum = 0;
	ssize_t n = 1;

	while (got < want && (n = recv(fd_of(w[1]), bytes,
				      want - got < BYTES_MAX ? want - got : BYTES_MAX, 0)) > 0) {
		sum = sum_add(sum, bytes, (size_t)n);
		got += (size_t)n;
	}
	printf("%zu sum %08x", got, sum);
	if (n < 0)
		printf(" %s", error_name(errno));
}

static void do_option(char **w)
{
	size_t i = 0;
	int value = w[3] ? atoi(w[3]) : 0;
	socklen_t len = sizeof(value);

	while (i < sizeof(options) / sizeof(options[0]) && strcmp(options[i].name, w[2]) != 0)
		i++;
	if (i == sizeof(options) / sizeof(options[0]))
		fail(w[2]);
	if (w[3]) {
		print_result(setsockopt(
			fd_of(w[1]), options[i].level, options[i].option, &value, sizeof(value)));
		return;
	}
	print_result(getsockopt(fd_of(w[1]), options[i].level, options[i].option, &value, &len));
	printf(" value %s", strcmp(w[2], "error") == 0 && value ? error_name(value) : "");
	if (strcmp(w[2], "error") != 0 || !value)
		printf("%d", value);
}

/* timeout NAME MS: of receiving and accepting.      sndtimeout NAME MS: of sending and connecting.
 */
static void do_timeout(char **w)
{
	int ms = atoi(w[2]), option = w[0][0] == 's' ? SO_SNDTIMEO : SO_RCVTIMEO;
	struct timeval tv = { .tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000 };

	print_result(setsockopt(fd_of(w[1]), SOL_SOCKET, option, &tv, sizeof(tv)));
}

static void do_nonblock(char **w)
{
	int fl = fcntl(fd_of(w[1]), F_GETFL);

	print_result(fcntl(fd_of(w[1]), F_SETFL, atoi(w[2]) ? fl | O_NONBLOCK : fl & ~O_NONBLOCK));
}

static void do_flags(char **w)
{
	int fl = fcntl(fd_of(w[1]), F_GETFL), fd = fcntl(fd_of(w[1]), F_GETFD);

	if (fl < 0) {
		print_result(fl);
		return;
	}
	printf("%s%s%s", fl & O_NONBLOCK ? "nonblock " : "", fd & FD_CLOEXEC ? "cloexec " : "",
		(fl & O_ACCMODE) == O_RDWR ? "rdwr" : "");
}

static void print_events(int events)
{
	for (const struct symbol *s = poll_events; s->name; s++)
		if (events & s->value)
			printf(" %s", s->name + 4);
}

static int events_of(const char *word)
{
	int events = 0;

	for (const struct symbol *s = poll_events; s->name; s++)
		if (strstr(word, s->name + 4))
			events |= s->value;
	return events;
}

/* poll NAME IN,OUT,… MS */
static void do_poll(char **w)
{
	struct pollfd pfd = { .fd = fd_of(w[1]), .events = (short)events_of(w[2]) };

	print_result(poll(&pfd, 1, atoi(w[3])));
	print_events(pfd.revents);
}

/* pollall NAME IN,OUT,…: until all of them are there, in whatever order they came. */
static void do_pollall(char **w)
{
	int wanted = events_of(w[2]);
	struct pollfd pfd = { .fd = fd_of(w[1]), .events = (short)wanted };

	for (int i = 0; i < AWAIT_TRIES && (pfd.revents & wanted) != wanted; i++) {
		if (i)
			poll(NULL, 0, 1);
		poll(&pfd, 1, 1000);
	}
	printf("1");
	print_events(pfd.revents);
}

/* epoll NAME MS: is it readable? */
static void do_epoll(char **w)
{
	struct epoll_event ev = { .events = EPOLLIN | EPOLLRDHUP };
	int epfd = epoll_create1(EPOLL_CLOEXEC);

	epoll_ctl(epfd, EPOLL_CTL_ADD, fd_of(w[1]), &ev);
	ev.events = 0;
	print_result(epoll_wait(epfd, &ev, 1, atoi(w[2])));
	print_events((int)ev.events);
	close(epfd);
}

/* watch EPOLL NAME IN,OUT,…,ET: makes the epoll when there is none by that name. */
static void do_watch(char **w)
{
	int *epfd = slot_of(w[1], true), fd = fd_of(w[2]);
	struct epoll_event ev = { .events = (uint32_t)events_of(w[3]) };

	if (*epfd < 0)
		*epfd = epoll_create1(EPOLL_CLOEXEC);
	if (strstr(w[3], "ET"))
		ev.events |= EPOLLET;
	snprintf((char *)&ev.data, sizeof(ev.data), "%s", w[2]);
	print_result(epoll_ctl(*epfd, EPOLL_CTL_ADD, fd, &ev));
}

static int by_name(const void *a, const void *b)
{
	return strcmp((const char *)&((const struct epoll_event *)a)->data,
		(const char *)&((const struct epoll_event *)b)->data);
}

/* ready EPOLL MS */
static void do_ready(char **w)
{
	struct epoll_event ev[8];
	int n = epoll_wait(fd_of(w[1]), ev, 8, atoi(w[2]));

	print_result(n);
	if (n > 0)
		qsort(ev, (size_t)n, sizeof(ev[0]), by_name);
	for (int i = 0; i < n; i++) {
		printf(" | %s", (const char *)&ev[i].data);
		print_events((int)ev[i].events);
	}
}

/* select NAME MS */
static void do_select(char **w)
{
	int fd = fd_of(w[1]), ms = atoi(w[2]);
	struct timeval tv = { .tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000 };
	fd_set in, out, except;

	FD_ZERO(&in);
	FD_SET(fd, &in);
	out = except = in;
	print_result(select(fd + 1, &in, &out, &except, &tv));
	printf("%s%s%s", FD_ISSET(fd, &in) ? " read" : "", FD_ISSET(fd, &out) ? " write" : "",
		FD_ISSET(fd, &except) ? " except" : "");
}

/* state NAME [TCP_…]: its TCP state, which with a second word is awaited. */
static void do_state(char **w)
{
	const struct symbol *s = tcp_states;
	struct tcp_info info = { 0 };
	socklen_t len = sizeof(info);

	for (int i = 0; i < AWAIT_TRIES; i++) {
		if (getsockopt(fd_of(w[1]), IPPROTO_TCP, TCP_INFO, &info, &len) < 0) {
			print_result(-1);
			return;
		}
		for (s = tcp_states; s->name && s->value != info.tcpi_state;)
			s++;
		if (!w[2] || (s->name && strcmp(s->name, w[2]) == 0))
			break;
		poll(NULL, 0, 1);
	}
	printf("%s", s->name ? s->name : "unknown");
}

/* Connections of this network namespace, in whatever state but TIME_WAIT, to that port. */
static int connections_to(unsigned port)
{
	static const char *const files[] = { "/proc/net/tcp", "/proc/net/tcp6" };
	unsigned remote, state;
	char line[512];
	int n = 0;
	FILE *f;

	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
		f = fopen(files[i], "re");
		while (f && fgets(line, sizeof(line), f))
			n += sscanf(line, " %*d: %*[0-9A-F]:%*x %*[0-9A-F]:%x %x", &remote,
				     &state) == 2 &&
			     remote == port && state != TCP_TIME_WAIT;
		if (f)
			fclose(f);
	}
	return n;
}

/* connections PORT N: until there are N of them in this network namespace. */
static void do_connections(char **w)
{
	int n = -1;

	for (int i = 0; i < AWAIT_TRIES && n != atoi(w[2]); i++) {
		if (i)
			poll(NULL, 0, 1);
		n = connections_to((unsigned)atoi(w[1]));
	}
	printf("%d", n);
}

static void do_dup(char **w)
{
	int fd = dup(fd_of(w[1]));

	print_result(fd);
	*slot_of(w[2], true) = fd;
}

/* The rest of the lines are the child's. It keeps the sockets; the parent only waits. */
static void become_child(void)
{
	int status = 0;
	pid_t pid = fork();

	if (pid == 0)
		return;
	for (int fd = 3; fd < 64; fd++)
		close(fd);
	waitpid(pid, &status, 0);
	_exit(WIFEXITED(status) ? WEXITSTATUS(status) : 98);
}

static void do_fork(char **w)
{
	(void)w;
	become_child();
	printf("child");
}

static void run(char **w);

static pid_t async_child;
static FILE *async_answer;

/* async COMMAND: a child, which has the same sockets, does that one call.
 * join: its answer, when it has one. */
static void do_async(char **w)
{
	int pipe_fd[2];

	if (pipe(pipe_fd) < 0 || (async_child = fork()) < 0) {
		print_result(-1);
		return;
	}
	if (async_child == 0) {
		dup2(pipe_fd[1], STDOUT_FILENO);
		run(w + 1);
		fflush(stdout);
		_exit(0);
	}
	close(pipe_fd[1]);
	async_answer = fdopen(pipe_fd[0], "r");
	printf("child");
}

static void do_join(char **w)
{
	char answer[LINE_MAX_] = "";

	(void)w;
	if (!async_answer || !fgets(answer, sizeof(answer), async_answer))
		fail("join");
	answer[strcspn(answer, "\n")] = 0;
	fclose(async_answer);
	waitpid(async_child, NULL, 0);
	printf("%s", answer);
}

static void do_exec(char **w)
{
	char words[SOCKETS_MAX][40], *argv[SOCKETS_MAX + 2] = { w[0] };
	int n = 1;

	for (int i = 0; i < SOCKETS_MAX; i++)
		if (sockets[i].name[0]) {
			snprintf(words[i], sizeof(words[i]), "%.15s=%d", sockets[i].name,
				sockets[i].fd);
			argv[n++] = words[i];
		}
	execv("/proc/self/exe", argv);
	print_result(-1);
}

/* pass NAME: a child gets the socket by SCM_RIGHTS and goes on with it alone. */
static void do_pass(char **w)
{
	union {
		struct cmsghdr hdr;
		char space[CMSG_SPACE(sizeof(int))];
	} control = { 0 };
	char byte = 0;
	struct iovec iov = { .iov_base = &byte, .iov_len = 1 };
	struct msghdr msg = { .msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control) };
	int pair[2], *slot = slot_of(w[1], false);

	control.hdr.cmsg_level = SOL_SOCKET;
	control.hdr.cmsg_type = SCM_RIGHTS;
	control.hdr.cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(&control.hdr), slot, sizeof(int));
	if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) < 0 || sendmsg(pair[0], &msg, 0) != 1) {
		print_result(-1);
		return;
	}
	close(*slot);
	become_child();
	if (recvmsg(pair[1], &msg, 0) != 1) {
		print_result(-1);
		return;
	}
	memcpy(slot, CMSG_DATA(&control.hdr), sizeof(int));
	close(pair[0]);
	close(pair[1]);
	print_result(*slot);
}

static volatile sig_atomic_t alarms;

static void on_alarm(int sig)
{
	(void)sig;
	alarms = alarms + 1;
}

/* alarm MS once|every restart|interrupt     alarm off: were there any? */
static void do_alarm(char **w)
{
	struct sigaction sa = { .sa_handler = on_alarm };
	struct itimerval it = { 0 };

	if (strcmp(w[1], "off") == 0) {
		setitimer(ITIMER_REAL, &it, NULL);
		printf("%s", alarms ? "some" : "none");
		alarms = 0;
		return;
	}
	sa.sa_flags = strcmp(w[3], "restart") == 0 ? SA_RESTART : 0;
	sigaction(SIGALRM, &sa, NULL);
	it.it_value.tv_usec = atoi(w[1]) * 1000;
	if (strcmp(w[2], "every") == 0)
		it.it_interval = it.it_value;
	print_result(setitimer(ITIMER_REAL, &it, NULL));
}

/* sleep MS */
static void do_sleep(char **w)
{
	print_result(poll(NULL, 0, atoi(w[1])));
}

static void do_exit(char **w)
{
	printf("bye\n");
	exit(w[1] ? atoi(w[1]) : 0);
}

static const struct command commands[] = {
	{ "socket", 4, do_socket },
	{ "bind", 3, do_bind },
	{ "connect", 3, do_connect },
	{ "dial", 3, do_dial },
	{ "listen", 2, do_listen },
	{ "accept", 3, do_accept },
	{ "accept4", 4, do_accept },
	{ "getsockname", 2, do_getname },
	{ "getpeername", 2, do_getname },
	{ "port", 2, do_port },
	{ "close", 2, do_close },
	{ "reset", 2, do_reset },
	{ "shutdown", 3, do_shutdown },
	{ "send", 3, do_send },
	{ "recv", 2, do_recv },
	{ "sendto", 3, do_sendto },
	{ "recvfrom", 2, do_recvfrom },
	{ "reply", 3, do_reply },
	{ "sendmsg", 3, do_sendmsg },
	{ "recvmsg", 2, do_recvmsg },
	{ "sendmmsg", 4, do_sendmmsg },
	{ "recvmmsg", 3, do_recvmmsg },
	{ "fill", 3, do_fill },
	{ "drain", 3, do_drain },
	{ "option", 3, do_option },
	{ "timeout", 3, do_timeout },
	{ "sndtimeout", 3, do_timeout },
	{ "nonblock", 3, do_nonblock },
	{ "flags", 2, do_flags },
	{ "poll", 4, do_poll },
	{ "pollall", 3, do_pollall },
	{ "epoll", 3, do_epoll },
	{ "watch", 4, do_watch },
	{ "ready", 3, do_ready },
	{ "select", 3, do_select },
	{ "state", 2, do_state },
	{ "connections", 3, do_connections },
	{ "dup", 3, do_dup },
	{ "fork", 1, do_fork },
	{ "async", 2, do_async },
	{ "join", 1, do_join },
	{ "exec", 1, do_exec },
	{ "pass", 2, do_pass },
	{ "alarm", 2, do_alarm },
	{ "sleep", 2, do_sleep },
	{ "exit", 1, do_exit },
};

static void run(char **w)
{
	if (!run_command(commands, sizeof(commands) / sizeof(commands[0]), w))
		fail(w[0] ? w[0] : "an empty line");
	printf("\n");
}

static void do_line(char *line)
{
	char *w[ORDER_WORDS_MAX + 1];

	split_line(line, w);
	run(w);
}

int main(int argc, char **argv)
{
	char line[LINE_MAX_];

	setvbuf(stdout, NULL, _IOLBF, 0);
	for (int i = 1; i < argc; i++) {
		char *value = strchr(argv[i], '=');

		if (!value)
			fail(argv[i]);
		*value = 0;
		*slot_of(argv[i], true) = atoi(value + 1);
	}
	if (strcmp(argv[0], "exec") == 0)
		printf("new program\n");
	while (read_line(line, sizeof(line)))
		do_line(line);
	return 0;
}
