#include "ring.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "util.h"

#define BLOCK_SIZE (1u << 20)
#define BLOCKS     32

/* A block that is not full is handed over after this: the delay of a mirrored request. */
#define BLOCK_TIMEOUT_MS 10

/* The kernel only wants to know that frames divide blocks: V3 packs packets of any size. */
#define FRAME_SIZE 2048

static int set_up(int fd, const struct sock_filter *f, size_t n)
{
	const struct sock_fprog prog = { .len = (unsigned short)n, .filter = (void *)f };
	const struct sockaddr_ll all = { .sll_family = AF_PACKET,
		.sll_protocol = htons(ETH_P_ALL) };
	const struct tpacket_req3 req = {
		.tp_block_size = BLOCK_SIZE,
		.tp_block_nr = BLOCKS,
		.tp_frame_size = FRAME_SIZE,
		.tp_frame_nr = BLOCK_SIZE / FRAME_SIZE * BLOCKS,
		.tp_retire_blk_tov = BLOCK_TIMEOUT_MS,
	};
	const int version = TPACKET_V3;

	if (setsockopt(fd, SOL_PACKET, PACKET_VERSION, &version, sizeof(version)) < 0 ||
		setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &prog, sizeof(prog)) < 0 ||
		setsockopt(fd, SOL_PACKET, PACKET_RX_RING, &req, sizeof(req)) < 0 ||
		bind(fd, (const struct sockaddr *)&all, sizeof(all)) < 0)
		return -errno;
	return 0;
}

int ring_open(struct ring *r, const struct sock_filter *f, size_t n, struct err *e)
{
	/* Protocol 0 receives nothing yet: no packet comes before the filter. */
	cleanup_fd int fd = socket(AF_PACKET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	void *blocks;
	int error;

	if (fd < 0 && errno == EPERM)
		return err_set(e, -EPERM, "may not capture packets; CAP_NET_RAW is needed");
	error = fd < 0 ? -errno : set_up(fd, f, n);
	if (error < 0)
		return err_set(e, error, "cannot capture packets: %s", strerror(-error));
	blocks = mmap(NULL, (size_t)BLOCK_SIZE * BLOCKS, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (blocks == MAP_FAILED)
		return err_set(e, -errno, "cannot map the packet ring: %s", strerror(errno));
	*r = (struct ring){ .fd = take_fd(&fd), .blocks = blocks };
	return 0;
}

void ring_close(struct ring *r)
{
	if (r->fd < 0)
		return;
	munmap(r->blocks, (size_t)BLOCK_SIZE * BLOCKS);
	close_fd(&r->fd);
}

int ring_filter(struct ring *r, const struct sock_filter *f, size_t n)
{
	const struct sock_fprog prog = { .len = (unsigned short)n, .filter = (void *)f };

	if (setsockopt(r->fd, SOL_SOCKET, SO_ATTACH_FILTER, &prog, sizeof(prog)) < 0)
		return -errno;
	return 0;
}

static struct ring_packet describe(const struct tpacket3_hdr *h)
{
	const struct sockaddr_ll *from =
		(const void *)((const uint8_t *)h + TPACKET_ALIGN(sizeof(*h)));

	return (struct ring_packet){
		.data = (const uint8_t *)h + h->tp_net,
		.captured = h->tp_snaplen,
		.wire = h->tp_len,
		.outgoing = from->sll_pkttype == PACKET_OUTGOING,
		.summed = h->tp_status & (TP_STATUS_CSUMNOTREADY | TP_STATUS_CSUM_VALID),
	};
}

void ring_read(struct ring *r, void (*packet)(void *arg, const struct ring_packet *k), void *arg)
{
	struct tpacket_block_desc *b = (void *)(r->blocks + (size_t)r->next * BLOCK_SIZE);
	struct tpacket_hdr_v1 *bh = &b->hdr.bh1;
	const uint8_t *p = (const uint8_t *)b + bh->offset_to_first_pkt;

	if (!(__atomic_load_n(&bh->block_status, __ATOMIC_ACQUIRE) & TP_STATUS_USER))
		return;
	for (uint32_t i = 0; i < bh->num_pkts; i++) {
		const struct tpacket3_hdr *h = (const void *)p;
		struct ring_packet k = describe(h);

		packet(arg, &k);
		p += h->tp_next_offset;
	}
	__atomic_store_n(&bh->block_status, TP_STATUS_KERNEL, __ATOMIC_RELEASE);
	r->next = (r->next + 1) % BLOCKS;
}

unsigned ring_drops(struct ring *r)
{
	struct tpacket_stats_v3 stats = { 0 };
	socklen_t len = sizeof(stats);

	/* Reading resets the counters. */
	getsockopt(r->fd, SOL_PACKET, PACKET_STATISTICS, &stats, &len);
	return stats.tp_drops;
}
