# The trap path beside the bare floors, and files beside plain copies. ROUNDS and MS (of each run) make
# it longer or shorter; bench-calls and bench-files are its parts.

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

.PHONY: bench bench-calls bench-files
bench: bench-calls bench-files

BENCH_ARGS = --rounds $(ROUNDS) --ms $(MS) --programs $(BENCH_DIR) --trace build/current/mirrord-trace
bench-calls: $(BENCH) all
	$(Q)test/bench/run.py $(BENCH_ARGS)
bench-files: $(BENCH) all $(BUILD)/test/guest/glibc/delay
	$(Q)test/bench/files.py $(BENCH_ARGS)

-include $(wildcard $(BENCH_DIR)/*.d)
