/* Who and where the target is, besides its network: context and environ. */
#ifndef AGENT_CONTEXT_H
#define AGENT_CONTEXT_H

#include "mux.h"
#include "target.h"

/* The longest environment that is sent; what execve(2) takes under the default limit of the stack
 * is a third of it. */
#define ENVIRON_MAX (6u << 20)

void context_send(struct mux *mux, const struct target *t, uint32_t id);
void environ_send(struct mux *mux, const struct target *t, uint32_t id);

#endif
