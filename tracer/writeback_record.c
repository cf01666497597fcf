/* What became of the files that were written to. The agent tells of a failure when it has happened,
 * which may be after the guest has closed the file. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "log.h"
#include "writeback_parts.h"

static void say_failed(const struct record *r)
{
	const char *how = "is not", *why = strerror(r->error);

	if (r->error == ENOTCONN) {
		how = "may not be";
		why = "the link was lost before the agent had confirmed it";
	} else if (r->error == ESTALE) {
		how = "may not be";
		why = "on the new link it was not as it had been left";
	}
	log_err("'%s' of the target %s what the program wrote: %s", r->path, how, why);
}

void writeback_failed(struct writeback *w, struct record *r, int error)
{
	if (r->error)
		return;
	r->error = error;
	w->failed = true;
	say_failed(r);
}

static struct record *record_find(const struct writeback *w, uint32_t handle)
{
	list_for_each (l, &w->records) {
		struct record *r = list_entry(l, struct record, link);

		if (r->handle == handle)
			return r;
	}
	return NULL;
}

/* The oldest that is not needed any more; one of a failure stays if another can go. */
static void record_trim(struct writeback *w)
{
	struct record *gone = NULL;

	if (w->nrecords < WRITEBACK_RECORDS_MAX)
		return;
	list_for_each (l, &w->records) {
		struct record *r = list_entry(l, struct record, link);

		if (!r->is_open && (!gone || (gone->error && !r->error)))
			gone = r;
	}
	if (!gone)
		return; /* each is of an open file, and those have a bound of their own */
	list_del(&gone->link);
	w->nrecords--;
	free(gone);
}

struct record *writeback_record_new(struct writeback *w, const char *path, uint32_t handle)
{
	struct record *r = malloc(sizeof(*r) + strlen(path) + 1);

	if (!r)
		return NULL;
	record_trim(w);
	*r = (struct record){ .handle = handle, .is_open = true };
	strcpy(r->path, path);
	list_append(&w->records, &r->link);
	w->nrecords++;
	return r;
}

void writeback_message(struct writeback *w, const struct msg *m)
{
	struct record *r = record_find(w, m->id);
	uint32_t error = m->file_failed.error;

	if (r)
		writeback_failed(w, r, error && error <= PROTO_ERRNO_MAX ? (int)error : EPROTO);
}

void writeback_records_done(struct writeback *w)
{
	struct list *l;

	list_for_each (pos, &w->records) {
		const struct record *r = list_entry(pos, struct record, link);

		if (r->error)
			say_failed(r);
	}
	while ((l = list_shift(&w->records)))
		free(list_entry(l, struct record, link));
}
