#include "filter.h"

#include <errno.h>
#include <seccomp.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "arch.h"
#include "sysdef.h"
#include "util.h"

static void release_filter(scmp_filter_ctx *ctx)
{
	if (*ctx)
		seccomp_release(*ctx);
}

#define cleanup_filter __attribute__((cleanup(release_filter)))

static int add_row(scmp_filter_ctx ctx, const struct sysdef *d, uint32_t trap)
{
	uint32_t action = d->fixed_errno ? SCMP_ACT_ERRNO(d->fixed_errno) : trap;
	struct scmp_arg_cmp only[SYSDEF_ONLY_MAX];
	unsigned n = 0;

	for (; n < SYSDEF_ONLY_MAX && d->only[n].compare != _SCMP_CMP_MIN; n++) {
		const struct sysdef_only *o = &d->only[n];
		bool masked = o->compare == SCMP_CMP_MASKED_EQ;

		only[n] = SCMP_CMP64(
			o->arg, o->compare, masked ? UINT32_MAX : o->with, masked ? o->with : 0);
	}
	return seccomp_rule_add_array(ctx, action, d->nr, n, only);
}

static int add_rows(scmp_filter_ctx ctx, const struct config *cfg, bool notify)
{
	for (size_t i = 0; i < sysdefs_len; i++) {
		uint32_t trap = notify ? SCMP_ACT_NOTIFY : SCMP_ACT_TRACE(i);
		int r = 0;

		if (sysdef_is_on(&sysdefs[i], cfg))
			r = add_row(ctx, &sysdefs[i], trap);
		if (r < 0)
			return r;
	}
	return 0;
}

/* A filter without rules for one architecture. */
static int new_filter(scmp_filter_ctx *ctx, uint32_t token)
{
	int r;

	*ctx = seccomp_init(SCMP_ACT_ALLOW);
	if (!*ctx)
		return -ENOMEM;
	r = seccomp_attr_set(*ctx, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_ERRNO(ENOSYS));
	if (r == 0 && token != arch.scmp)
		r = seccomp_arch_remove(*ctx, arch.scmp);
	if (r == 0 && token != arch.scmp)
		r = seccomp_arch_add(*ctx, token);
	return r;
}

static int export_filter(scmp_filter_ctx ctx, struct sock_fprog *program)
{
	cleanup_fd int fd = memfd_create("filter", MFD_CLOEXEC);
	cleanup_free struct sock_filter *insns = NULL;
	struct stat st;
	int r;

	if (fd < 0)
		return -errno;
	r = seccomp_export_bpf(ctx, fd);
	if (r < 0)
		return r;
	if (fstat(fd, &st) < 0)
		return -errno;
	insns = malloc((size_t)st.st_size);
	if (!insns)
		return -ENOMEM;
	if (pread(fd, insns, (size_t)st.st_size, 0) != st.st_size)
		return -EIO;
	program->len = (unsigned short)((size_t)st.st_size / sizeof(*insns));
	program->filter = insns;
	insns = NULL;
	return 0;
}

int filter_build(const struct config *cfg, bool notify, struct sock_fprog *program)
{
	cleanup_filter scmp_filter_ctx ctx = NULL, as_is = NULL;
	int r = new_filter(&ctx, arch.scmp);

	if (r == 0)
		r = add_rows(ctx, cfg, notify);
	if (r == 0)
		r = new_filter(&as_is, arch.scmp32);
	if (r == 0) {
		r = seccomp_merge(ctx, as_is);
		if (r == 0)
			as_is = NULL; /* it belongs to ctx now */
	}
	return r < 0 ? r : export_filter(ctx, program);
}
