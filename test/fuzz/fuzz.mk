# Every test/fuzz/fuzz_*.c is a target. It includes the .c files it needs of the programs; common/ is
# there as an archive. What a run finds and the corpus it grew stay in build/fuzz.

FUZZ_SECONDS ?= 20

FUZZ_DIR  := build/fuzz
FUZZ      := $(patsubst test/fuzz/%.c,$(FUZZ_DIR)/%,$(wildcard test/fuzz/fuzz_*.c))
FUZZ_C     = $(CLANG) -std=gnu17 -D_GNU_SOURCE -DVERSION='"fuzz"' $(WARN) -O1 -g -MMD -MP \
             -fno-strict-aliasing -fno-omit-frame-pointer -fno-sanitize-recover=all \
             -I. -Icommon -Itracer -Iagent -Itest/unit
FUZZ_OBJS := $(patsubst common/%.c,$(FUZZ_DIR)/common/%.o,$(wildcard common/*.c))

.PHONY: fuzz
fuzz: $(FUZZ:%=%.run)

$(FUZZ_DIR)/common/%.o: common/%.c
	$(call say,CC,$< (fuzz))
	$(Q)mkdir -p $(@D)
	$(Q)$(FUZZ_C) -fsanitize=fuzzer-no-link,address,undefined -c -o $@ $<

$(FUZZ_DIR)/common.a: $(FUZZ_OBJS)
	$(Q)rm -f $@ && ar rcs $@ $^

$(FUZZ_DIR)/fuzz_%: test/fuzz/fuzz_%.c $(FUZZ_DIR)/common.a
	$(call say,FUZZ,$@)
	$(Q)$(FUZZ_C) -fsanitize=fuzzer,address,undefined -o $@ $< $(FUZZ_DIR)/common.a $(FUZZ_LIBS)

$(FUZZ_DIR)/fuzz_dns: FUZZ_LIBS := -lpcre2-8 -lresolv
$(FUZZ_DIR)/fuzz_context: FUZZ_LIBS := -lpcre2-8

# Several messages from the first input on. libFuzzer watches the memory from a thread, and each
# change of ids is one of all threads.
$(FUZZ_DIR)/fuzz_agent_files.run: FUZZ_FLAGS := -max_len=256 -len_control=0 \
		-rss_limit_mb=0 -malloc_limit_mb=2048
$(FUZZ_DIR)/fuzz_context.run: FUZZ_FLAGS := -max_len=4096

$(FUZZ_DIR)/seeds $(FUZZ_DIR)/seeds_dns $(FUZZ_DIR)/seeds_agent_files: $(FUZZ_DIR)/%: test/fuzz/%.c $(FUZZ_DIR)/common.a
	$(Q)$(FUZZ_C) -fsanitize=address,undefined -o $@ $< $(FUZZ_DIR)/common.a

# A corpus to begin with, where there is one: that of the link's messages, and those of their own.
$(FUZZ_DIR)/seed-proto $(FUZZ_DIR)/seed-mux: $(FUZZ_DIR)/seeds
	$(Q)mkdir -p $@
	$(Q)$< $@

$(FUZZ_DIR)/seed-dns $(FUZZ_DIR)/seed-agent_files: $(FUZZ_DIR)/seed-%: $(FUZZ_DIR)/seeds_%
	$(Q)mkdir -p $@
	$(Q)$< $@

$(FUZZ_DIR)/fuzz_proto.run: $(FUZZ_DIR)/seed-proto
$(FUZZ_DIR)/fuzz_mux.run: $(FUZZ_DIR)/seed-mux
$(FUZZ_DIR)/fuzz_dns.run: $(FUZZ_DIR)/seed-dns
$(FUZZ_DIR)/fuzz_agent_files.run: $(FUZZ_DIR)/seed-agent_files

.PHONY: $(FUZZ:%=%.run)
$(FUZZ:%=%.run): $(FUZZ_DIR)/fuzz_%.run: $(FUZZ_DIR)/fuzz_%
	$(Q)mkdir -p $(FUZZ_DIR)/corpus-$*
	$(Q)$< -max_total_time=$(FUZZ_SECONDS) -max_len=65536 -timeout=10 -rss_limit_mb=2048 \
		-artifact_prefix=$(FUZZ_DIR)/$*- -print_final_stats=1 $(FUZZ_FLAGS) \
		$(FUZZ_DIR)/corpus-$* $$(ls -d $(FUZZ_DIR)/seed-$* 2>/dev/null) >$<.log 2>&1 || \
		{ tail -60 $<.log; exit 1; }
	$(Q)sed -n 's/^stat::number_of_executed_units: */fuzz_$*: no failure, runs: /p' $<.log

-include $(wildcard $(FUZZ_DIR)/*.d $(FUZZ_DIR)/common/*.d)
