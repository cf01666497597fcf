# The trap path beside the bare floors. ROUNDS and MS (of each run) make it longer or shorter.

ROUNDS    ?= 7
MS        ?= 300

BENCH_DIR := build/bench
BENCH     := $(patsubst test/bench/%.c,$(BENCH_DIR)/%,$(wildcard test/bench/*.c))

$(BENCH_DIR)/%: test/bench/%.c
	$(call say,BENCH,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(C) -o $@ $< -lseccomp -pthread

.PHONY: bench-programs
bench-programs: $(BENCH)

.PHONY: bench
bench: $(BENCH) all
	$(Q)test/bench/run.py --rounds $(ROUNDS) --ms $(MS) --programs $(BENCH_DIR) --trace build/current/mirrord-trace

-include $(wildcard $(BENCH_DIR)/*.d)
