/* The messages of the link as structs, and their form on the wire (PROTOCOL.md). */
#ifndef COMMON_PROTO_H
#define COMMON_PROTO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "addr.h"
#include "buf.h"

#define PROTO_MAGIC   0x6d747263u /* "mtrc" */
#define PROTO_VERSION 3

/* A frame is a header of 12 bytes (length of the body, message, three zero bytes, id) and a body.
 */
#define PROTO_HEADER    12
#define PROTO_DATA_MAX  65536
#define PROTO_BODY_MAX  (PROTO_DATA_MAX + 256)
#define PROTO_FRAME_MAX (PROTO_HEADER + PROTO_BODY_MAX)

/* The longest datagram: what UDP over IPv6 carries without a jumbogram (RFC 768, RFC 8200). */
#define PROTO_DATAGRAM_MAX 65527

/* The path of a unix socket, or its abstract name with the leading zero byte (unix(7)). */
#define PROTO_PATH_MAX 108

/* The path of a file; PATH_MAX of Linux without its zero byte. */
#define PROTO_FILE_PATH_MAX 4095

/* The offset of a file_write to the end that the file has by then (O_APPEND). */
#define PROTO_FILE_END UINT64_MAX

/* Channels that the client opens have this bit in their id, those of the agent do not. */
#define PROTO_CLIENT_CHANNEL 0x80000000u

/* What a datagram or a packet of n bytes costs of a channel's credit: an empty one is not free. */
#define PROTO_MESSAGE_COST(n) ((uint32_t)(n) + 64)

/* The largest errno; a greater number from the peer is taken for EPROTO. */
#define PROTO_ERRNO_MAX 4095

/* The bytes of a target's addresses in its hello. */
#define PROTO_ADDRESSES_MAX 4096

/* What a channel may send before the first credit arrives. */
#define PROTO_WINDOW (1u << 20)

/* The same from the agent where a file's content comes from: neither side keeps what is under way,
 * so that this is the room on the link alone. 50 ms there and back are 1 GB/s: there is no way
 * between that is faster, and it is the way's own buffers that bound what is on it. */
#define PROTO_FILE_WINDOW (64u << 20)

enum proto_side {
	PROTO_CLIENT, /* the supervisor */
	PROTO_AGENT,
};

/* The values of subscribe's and udp_open's mode. */
enum incoming_mode {
	INCOMING_OFF, /* never in subscribe */
	INCOMING_MIRROR,
	INCOMING_STEAL,
	INCOMING_MODE_MAX,
};

/* The values of connect's kind. */
enum connect_kind {
	CONNECT_TCP = 1,
	CONNECT_UNIX_STREAM,
	CONNECT_UNIX_SEQPACKET,
	CONNECT_KIND_MAX,
};

/* The bits of file_open's want. Flags of open(2) have other values on other architectures. */
enum file_want {
	FILE_READ = 1 << 0,      /* opened for reading: the right to is asked for */
	FILE_WRITE = 1 << 1,     /* for writing: the agent keeps it open until file_close */
	FILE_APPEND = 1 << 2,    /* O_APPEND, as far as the kernel asks for it at the open */
	FILE_CREATE = 1 << 3,    /* O_CREAT, with mode as it stays after the umask */
	FILE_EXCL = 1 << 4,      /* O_EXCL */
	FILE_TRUNC = 1 << 5,     /* O_TRUNC */
	FILE_DIRECTORY = 1 << 6, /* O_DIRECTORY */
	FILE_NOFOLLOW = 1 << 7,  /* O_NOFOLLOW */
	FILE_PATH = 1 << 8,      /* O_PATH: no right is asked for, and nothing is opened */
	FILE_CONTENT = 1 << 9,   /* a regular file's content, unless its version is `known` */
	FILE_LIST = 1 << 10,     /* a directory's entries */
	FILE_EXEC = 1 << 11,     /* the right to execute it, or to enter it, is asked for */
	/* Of openat2(2): what follows the first `base` bytes of path, a directory, is resolved from
	 * there. */
	FILE_BENEATH = 1 << 12,     /* RESOLVE_BENEATH */
	FILE_IN_ROOT = 1 << 13,     /* RESOLVE_IN_ROOT */
	FILE_NO_SYMLINKS = 1 << 14, /* RESOLVE_NO_SYMLINKS */
	FILE_NO_XDEV = 1 << 15,     /* RESOLVE_NO_XDEV */
	FILE_MODIFY = 1 << 16,      /* the right to write to it is asked for, also with FILE_PATH */
	FILE_WANT_ALL = (1 << 17) - 1,
};

/* file_opened's content: what follows on the channel, up to a file_end. */
enum file_content {
	FILE_NOTHING,   /* not even the end */
	FILE_UNCHANGED, /* nor here: it is what the client knows */
	FILE_BYTES,     /* file_data, from `from`; what is in none of them is zero */
	FILE_ENTRIES,   /* file_entry */
	FILE_CONTENT_MAX,
};

/* file_op's op. path is resolved under the target's root; `second` is what follows it. */
enum file_op {
	FILE_OP_STAT = 1,  /* flags: FILE_NOFOLLOW; answered with a link's text */
	FILE_OP_ACCESS,    /* flags: FILE_NOFOLLOW; a: R_OK … of access(2), the effective ids */
	FILE_OP_STATFS,    /* answered with struct file_statfs's fields, each 8 bytes */
	FILE_OP_GETXATTR,  /* flags: FILE_NOFOLLOW; second: the name; answered with the value */
	FILE_OP_LISTXATTR, /* flags: FILE_NOFOLLOW; answered with the names */
	FILE_OP_MKDIR,     /* a: mode */
	FILE_OP_RMDIR,
	FILE_OP_UNLINK,
	FILE_OP_RENAME,   /* second: the new path; a: RENAME_NOREPLACE, _EXCHANGE (renameat2(2)) */
	FILE_OP_LINK,     /* second: the new path; flags: FILE_NOFOLLOW unless AT_SYMLINK_FOLLOW */
	FILE_OP_SYMLINK,  /* second: the text */
	FILE_OP_CHMOD,    /* flags: FILE_NOFOLLOW; a: mode */
	FILE_OP_CHOWN,    /* flags: FILE_NOFOLLOW; a, b: uid, gid; 2^32-1: as it is */
	FILE_OP_UTIMENS,  /* flags: FILE_NOFOLLOW; a, b: ns since 1970, or FILE_TIME_* */
	FILE_OP_TRUNCATE, /* a: size */
	FILE_OP_MKNOD,    /* a: mode with its type: a regular file, a fifo or a socket */
	FILE_OP_SETXATTR, /* flags: FILE_NOFOLLOW; a: flags of setxattr(2); second: name, 0, value
			   */
	FILE_OP_REMOVEXATTR, /* flags: FILE_NOFOLLOW; second: the name */
	FILE_OP_MAX,
};

#define FILE_TIME_NOW  ((uint64_t)1 << 63)
#define FILE_TIME_OMIT (((uint64_t)1 << 63) + 1)

/* file_changed's events; for a directory name is of the entry. Flags of inotify(7) would do, if
 * they were of no kernel. */
enum file_event {
	FILE_EVENT_CONTENT = 1 << 0, /* of the file itself */
	FILE_EVENT_ATTR = 1 << 1,
	FILE_EVENT_ENTRY = 1 << 2, /* an entry came, went, or is another */
	FILE_EVENT_GONE = 1 << 3,  /* what was watched is no more: the watch is over */
	FILE_EVENT_LOST = 1 << 4,  /* more happened than was told */
	FILE_EVENT_MOVED = 1 << 5, /* with ENTRY: the entry came by rename(2) */
};

/* The bits of a file's flags. */
enum file_flag {
	FILE_NO_XATTRS = 1 << 0, /* it has no extended attributes: listxattr(2) names none */
};

/* What stat(2) tells of a file of the target, and flags. Times in ns since 1970. */
struct file_attr {
	uint32_t mode, uid, gid, nlink;
	uint64_t flags;
	uint64_t dev, ino, rdev, size, blocks;
	int64_t atime, mtime, ctime;
};

/* The values of the fields called family. */
enum proto_family {
	PROTO_IPV4 = 4,
	PROTO_IPV6 = 6,
};

/* The numbers on the wire. */
enum msg_type {
#define MSG(name, number, direction, since, fields) MSG_##name = (number),
#include "proto.def"
};

/* Bytes or text inside a frame, or of the sender's: never owned, not terminated. */
struct span {
	const void *data;
	uint32_t len;
};

#define U8(name)         uint8_t name;
#define U16(name)        uint16_t name;
#define U32(name)        uint32_t name;
#define U64(name)        uint64_t name;
#define ADDR(name)       struct addr name;
#define ATTR(name)       struct file_attr name;
#define TEXT(name, max)  struct span name;
#define BYTES(name, max) struct span name;
#define MSG(name, number, direction, since, fields)                                                \
	struct msg_##name {                                                                        \
		fields                                                                             \
	};
#include "proto.def"

struct msg {
	enum msg_type type;
	uint32_t id; /* of the subscription or the channel it is about; else 0 */
	union {
#define MSG(name, number, direction, since, fields) struct msg_##name name;
#include "proto.def"
	};
};

/* span_of() - a C string as a span. */
struct span span_of(const char *s);

/* proto_encode() - append the message as one frame, control characters in a text as '?'. 0;
 * -ENOBUFS when b is full; -EMSGSIZE when a text or the bytes are longer than the table allows. */
int proto_encode(struct buf *b, const struct msg *m);

/* proto_decode() - the first frame of n bytes that came from the other side.
 *
 * Returns its whole length and fills m, whose spans point into p. 0: incomplete, read on. -EPROTO:
 * not a frame that `from` may send; nothing after it can be believed. Nothing is read beyond n. */
int proto_decode(const uint8_t *p, size_t n, enum proto_side from, struct msg *m);

/* proto_put_header() - the PROTO_HEADER bytes of a frame whose body the caller adds himself. */
void proto_put_header(uint8_t *p, enum msg_type type, uint32_t id, uint32_t body);

/* proto_name() - "subscribe", or "?" for a number that is not in the table. */
const char *proto_name(enum msg_type type);

/* proto_print() - the text of a span as a string for people, cut to fit, without anything that a
 * terminal would obey; returns s. */
const char *proto_print(struct span text, char *s, size_t size);

#endif
