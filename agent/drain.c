#include "drain.h"

static void out_of_patience(struct timer *t)
{
	container_of(t, struct drain, patience)->loop->stop = true;
}

void drain_init(struct drain *d, struct loop *loop)
{
	*d = (struct drain){ .loop = loop };
	timer_init(&d->patience, out_of_patience);
}

void drain_done(struct drain *d)
{
	timer_cancel(&d->patience);
}

static void stop_if_idle(struct drain *d)
{
	if (d->leaving && !d->live)
		d->loop->stop = true;
}

void drain_enter(struct drain *d)
{
	d->live++;
}

void drain_exit(struct drain *d)
{
	d->live--;
	stop_if_idle(d);
}

void drain_leave(struct drain *d)
{
	d->leaving = true;
	loop_timer(d->loop, &d->patience, DRAIN_MS);
	stop_if_idle(d);
}
