/* What the files of writeback share: writeback.c (what has changed is sent), writeback_record.c
 * (what became of it), writeback_sync.c (who waits for that), and writeback_again.c (a new link).
 */
#ifndef TRACER_WRITEBACK_PARTS_H
#define TRACER_WRITEBACK_PARTS_H

#include "mux.h"
#include "sent.h"
#include "tracer.h"

/* What was written to, by the handle; it outlives the file, whose failure may be told later. */
struct record {
	struct list link;
	uint32_t handle;
	bool is_open;
	int error; /* errno: the target's file is not what the guest wrote */
	char path[];
};

struct pass {
	struct mux_source source;
	struct writeback_file *file;
	struct sent_pass pass;
	bool begun;
	bool all; /* over the whole file */
};

/* Whether it is to be compared as a whole. */
enum owed {
	OWED_NOTHING,
	OWED_PERHAPS, /* before due_ns */
	OWED_SURELY,  /* that, or before the next message, whichever is first */
};

/* Of the agent's handle. */
enum handle_state {
	HANDLE_OPEN,
	HANDLE_AWAY, /* the link is lost, or the file is being opened again: nothing is sent */
	HANDLE_GONE, /* for good: what is written stays here */
};

struct writeback_file {
	struct list link;
	struct list changed;
	struct hnode node; /* by wd */
	struct writeback *wb;
	struct tree_node *copy_node;
	int copy; /* O_PATH */
	int wd;
	struct record *record;
	struct sent sent;
	struct pass pass[2];
	enum handle_state state;
	struct again *again; /* it is being opened again, or NULL */
	bool behind;         /* a pass over it has not come to its end */
	bool mappable;       /* somebody has it open for both, and may have mapped it */
	bool touched;        /* events came that it was not looked at for */
	bool closing;        /* it may be the last who closed it */
	enum owed owed;
	uint64_t due_ns;
	uint64_t size;   /* when it was looked at */
	uint64_t base;   /* when it was opened to be added to, or cut since then: the target's bytes
			    end there */
	uint64_t placed; /* wb->passes, of its last one */
};

static inline struct mux *mux_of(const struct writeback *w)
{
	return &w->tracer->link.mux;
}

static inline struct loop *loop_of(const struct writeback *w)
{
	return &w->tracer->loop;
}

/* --- writeback.c --- */

/* writeback_drain() - take what inotify has queued. False: nothing has happened. */
bool writeback_drain(struct writeback *w);

/* writeback_pass() - a pass over the file gets its place on the link; all: over the whole of it.
 * writeback_stop_passes() - those that are under way end, or begin anew. */
void writeback_pass(struct writeback_file *f, bool all);
void writeback_stop_passes(struct writeback_file *f);

/* writeback_has_unsent() - the copy is newer than the target's file: what the agent says about its
 * size, times and content is old. */
bool writeback_has_unsent(struct writeback_file *f);

/* writeback_file_of() - of the copy behind a descriptor; NULL: it is not written to. */
struct writeback_file *writeback_file_of(const struct writeback *w, int fd);

/* writeback_file_free() - the file leaves; what it has sent keeps its record. */
void writeback_file_free(struct writeback_file *f);

void writeback_close_handle(struct writeback *w, uint32_t handle);

/* --- writeback_record.c --- */

struct record *writeback_record_new(struct writeback *w, const char *path, uint32_t handle);

/* writeback_failed() - error: errno. It is said, of each record once. */
void writeback_failed(struct writeback *w, struct record *r, int error);

/* writeback_records_done() - what failed is said once more. */
void writeback_records_done(struct writeback *w);

/* --- writeback_again.c --- */

/* writeback_open_again() - a file whose handle is away, on the link that there is, or the next. */
void writeback_open_again(struct writeback_file *f);

/* writeback_again_drop() - it need not be. Idempotent. */
void writeback_again_drop(struct writeback_file *f);

/* writeback_file_lost() - its handle will not be opened again. */
void writeback_file_lost(struct writeback_file *f);

#endif
