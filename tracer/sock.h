/* A socket of the guest as we know it, by its cookie: the address it asked for and the one it has.
 *
 * The kernel owns descriptors; a socket may have many, in many processes, and no call tells when
 * the last one closes. So nothing here holds a descriptor of the guest: whether a listener still
 * exists is asked of the kernel (sock_diag(7)). */
#ifndef TRACER_SOCK_H
#define TRACER_SOCK_H

#include "addr.h"
#include "diag.h"
#include "htab.h"
#include "list.h"
#include "loop.h"

/* Sockets that were bound and never listened are forgotten beyond this many, oldest first. */
#define SOCK_BOUND_MAX 4096

/* Connections accepted for a caller that went away, kept for the next one. */
#define SOCK_STASH_MAX 64

/* How often listeners are looked for that were closed without any event that we see. */
#define SOCK_CHECK_MS 100

struct tracer;

enum sock_state {
	SOCK_BOUND,       /* bind succeeded; listen may follow */
	SOCK_SUBSCRIBING, /* a listen waits for the agent, or several do */
	SOCK_LISTENING,   /* listens here; when remote, the target's connections come too */
	SOCK_STATE_MAX,
};

struct sock {
	struct hnode node; /* by cookie */
	struct list link;  /* of its state: bound, or listening */
	uint64_t cookie;
	enum sock_state state;
	struct addr asked; /* what the guest bound, with the port it shall see */
	struct addr real;  /* what it has */
	bool any_port;     /* the guest left the port to the kernel */
	bool only_v6;      /* IPV6_V6ONLY, when it began to listen */
	bool remote;       /* subscribed at the agent */

	unsigned room;                 /* free places in the accept queue, at least; 0: ask */
	struct list waiting, starting; /* connections for the guest (incoming.c) */

	int stash[SOCK_STASH_MAX];
	unsigned stashed;
	struct addr poke; /* our own connection that makes a stash visible, port 0: none */
};

struct sock_table {
	struct tracer *tracer;
	struct htab by_cookie;
	struct list bound, listening;
	unsigned nbound;
	struct diag diag;
	bool asked_kernel;
	bool tells_of_bound; /* sock_diag knows sockets that are only bound */
	struct timer check;
	struct deferred check_now;
};

void sock_table_init(struct sock_table *t, struct tracer *tr);
void sock_table_done(struct sock_table *t);

/* sock_cookie() - SO_COOKIE of a descriptor, 0 when it is no socket. */
uint64_t sock_cookie(int fd);

/* sock_connect_now() - connect(2) without waiting, whatever the flags that fd shares with the
 * guest. 0 or -errno. */
int sock_connect_now(int fd, const struct addr *to);

/* sock_end_connect() - a TCP socket that connect(2) has begun to connect is as new, as when
 * connect(2) itself tells that it has failed. The error that it had, or 0. */
int sock_end_connect(int fd);

/* sock_take_error() - SO_ERROR, which is none afterwards. */
int sock_take_error(int fd);

/* sock_is_nonblocking() - O_NONBLOCK. */
bool sock_is_nonblocking(int fd);

/* sock_is_fresh() - a TCP socket that neither listens nor is connected or connecting. */
bool sock_is_fresh(int fd);

/* sock_is_connected() - it has a peer, of whatever family. */
bool sock_is_connected(int fd);

/* sock_family() - SO_DOMAIN. sock_unix_type() - SO_TYPE of a unix socket, else 0. sock_has_device()
 * - it is bound to a device of this machine (SO_BINDTODEVICE). */
sa_family_t sock_family(int fd);
int sock_unix_type(int fd);
bool sock_has_device(int fd);

/* sock_only_v6() - IPV6_V6ONLY of an IPv6 socket. */
bool sock_only_v6(int fd);

/* sock_timeout_ms() - SO_RCVTIMEO or SO_SNDTIMEO in milliseconds, rounded up; 0: none. */
unsigned sock_timeout_ms(int fd, int option);

/* sock_protocol() - SO_PROTOCOL of an internet socket of our own network namespace, or 0. */
int sock_protocol(int fd);

/* sock_find() - what is known of the socket behind fd, or NULL. */
struct sock *sock_find(const struct sock_table *t, int fd);

/* sock_bind() - bind fd, a duplicate of the guest's, as the guest asked: the same port if it is
 * free, EADDRINUSE if the guest itself has it, another port if somebody else has. 0 or -errno of
 * bind(2). */
int sock_bind(struct sock_table *t, int fd, const struct addr *asked);

/* sock_bind_near() - bind(2) with that port, at the address or, when it is the target's and not
 * ours, at loopback. 0 or -errno. */
int sock_bind_near(const struct sock_table *t, int fd, const struct addr *a, uint16_t port);

/* sock_overlap() - two sockets bound there (and to one port) would be in each other's way. */
bool sock_overlap(const struct addr *a, const struct addr *b);

/* sock_say_moved() - one line: the guest's socket is elsewhere here. why: -errno of bind(2).
 * list: the option with which ss(8) lists such sockets. */
void sock_say_moved(const struct addr *asked, const struct addr *real, int why, const char *list);

/* sock_listens() - listen(2) was done: it is kept track of from now on. */
void sock_listens(struct sock_table *t, struct sock *s, int fd);

/* sock_adopt() - a socket listens that was not bound as the target's: it is one of this machine's,
 * and the guest's own. */
void sock_adopt(struct sock_table *t, int fd);

/* sock_listening() - the guest's listening socket that takes connections to that address, as the
 * guest believes it, or NULL. */
struct sock *sock_listening(struct sock_table *t, const struct addr *to);

/* sock_of_real_port() - the guest's socket that was given this port instead of the one it asked
 * for. */
struct sock *sock_of_real_port(const struct sock_table *t, uint16_t port);

/* sock_set_state() - the only place where a state changes. */
void sock_set_state(struct sock_table *t, struct sock *s, enum sock_state state);

/* sock_reaches() - the address by which we reach the listener from here. */
struct addr sock_reaches(const struct sock *s, sa_family_t client);

/* sock_stash() - keep an accepted connection for the next accept; takes fd. */
void sock_stash(struct sock *s, int fd);

/* sock_unstash() - a kept connection of the listener, or of another that shares its port; -1: none.
 */
int sock_unstash(struct sock_table *t, struct sock *s);

/* sock_is_poke() - the accepted connection is our own, made to have the guest look for a stash. */
bool sock_is_poke(struct sock_table *t, const struct sock *s, const struct addr *peer);

/* sock_refused() - a connection to a listener, at the address that sock_reaches() gave, was
 * refused: it is gone. */
void sock_refused(struct sock_table *t, const struct addr *at);

/* sock_check_soon() - at this turn's end, see which listeners still exist. */
void sock_check_soon(struct sock_table *t);

#endif
