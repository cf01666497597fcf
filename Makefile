# mirrord-trace. `make help` lists the targets; `make V=1` shows the commands.
#
# CC=clang and SANITIZE=address,undefined build beside the plain build, each in a directory of its own.

ifeq ($(origin CC),default)
CC       := gcc
endif
CLANG    ?= clang
BPFTOOL  ?= $(firstword $(wildcard /usr/sbin/bpftool) bpftool)
PREFIX   ?= /usr/local
MUSL_CC  ?= musl-gcc
ARM64_CC ?= aarch64-linux-gnu-gcc
SANITIZE ?=
BUILD    ?= build/$(notdir $(CC))$(if $(SANITIZE),-$(subst $(comma),-,$(SANITIZE)))
comma    := ,

VERSION  := $(shell git describe --always --dirty 2>/dev/null || echo unknown)

WARN     := -Wall -Wextra -Wshadow -Wmissing-prototypes -Wstrict-prototypes -Wformat=2 -Wundef -Wvla
WARN     += $(if $(DEV),-Werror)
CFLAGS   ?= -O2 -g
C        := $(CC) -std=gnu17 -D_GNU_SOURCE -DVERSION='"$(VERSION)"' $(WARN) $(CFLAGS) -MMD -MP \
            -fno-strict-aliasing $(if $(SANITIZE),-fsanitize=$(SANITIZE) -fno-omit-frame-pointer)

Q        := $(if $(V),,@)
say       = $(if $(V),,@printf '  %-7s %s\n' '$(1)' '$(2)')

src       = $(wildcard $(1)/*.c)
obj       = $(patsubst %.c,$(BUILD)/%.o,$(call src,$(1)))
COMMON   := $(call obj,common)
AGENT    := $(filter-out %.bpf.o,$(call obj,agent))
TRACER   := $(filter-out $(BUILD)/tracer/arch_%,$(call obj,tracer)) $(BUILD)/tracer/arch_$(shell uname -m).o
UNIT     := $(patsubst %.c,$(BUILD)/%,$(call src,test/unit))
SKEL     := $(BUILD)/agent/sklookup.skel.h

.PHONY: all
all: $(BUILD)/mirrord-trace $(BUILD)/mirrord-agent build/current

.PHONY: help
help:
	@sed -n 's/^#: //p' $(MAKEFILE_LIST)

#: make                 both programs, in build/current
#: make deps            install the Debian packages that are missing (asks apt for nothing else)
#: make test            everything: unit, end-to-end in each engine, sanitizers, linters, arm64
#: make demo            the main job, shown on real namespaces in under a minute
#: make lint            formatting, cppcheck, clang-tidy, shellcheck, manual pages
#: make unit | e2e      one part of the tests;  make e2e T=PATTERN runs what matches
#: make fuzz            run each fuzz target for FUZZ_SECONDS (default 20)
#: make bench           the trap path against the bare floors, files against plain copies
#: make arm64           compile everything for aarch64
#: make install         to $(DESTDIR)$(PREFIX)
#: make clean

# Includes point down only: common/ sees itself, agent/ and tracer/ see common/.
$(BUILD)/common/%.o: common/%.c
	$(call say,CC,$<)
	$(Q)mkdir -p $(@D)
	$(Q)$(C) -c -o $@ $<

$(BUILD)/agent/%.o: agent/%.c | $(SKEL)
	$(call say,CC,$<)
	$(Q)mkdir -p $(@D)
	$(Q)$(C) -Icommon -I$(BUILD)/agent $(FOREIGN) -c -o $@ $<

$(BUILD)/tracer/%.o: tracer/%.c
	$(call say,CC,$<)
	$(Q)mkdir -p $(@D)
	$(Q)$(C) -Icommon $(FOREIGN) -c -o $@ $<

$(BUILD)/agent/%.bpf.o: agent/%.bpf.c agent/%.h
	$(call say,BPF,$<)
	$(Q)mkdir -p $(@D)
	$(Q)$(CLANG) -O2 -g -Wall -target bpf -idirafter /usr/include/$(shell uname -m)-linux-gnu -c -o $@ $<

$(BUILD)/agent/%.skel.h: $(BUILD)/agent/%.bpf.o
	$(call say,SKEL,$<)
	$(Q)$(BPFTOOL) gen skeleton $< name $* > $@.tmp && mv $@.tmp $@

.SECONDARY: $(SKEL) $(SKEL:.skel.h=.bpf.o)

# The agent runs in images that hold nothing else, so it is static; with a sanitizer it cannot be.
$(BUILD)/mirrord-agent: $(AGENT) $(COMMON)
	$(call say,LINK,$@)
	$(Q)$(C) $(if $(SANITIZE),,-static -s) -o $@ $^ -lbpf -lelf -lz

$(BUILD)/mirrord-trace: $(TRACER) $(COMMON)
	$(call say,LINK,$@)
	$(Q)$(C) -o $@ $^ -lseccomp -lpcre2-8 -lresolv -lxxhash

.PHONY: build/current
build/current: $(BUILD)/mirrord-trace $(BUILD)/mirrord-agent
	$(Q)ln -sfn $(notdir $(BUILD)) $@

# --- tests -------------------------------------------------------------------------------------------

# A unit test includes the file it tests, or links against common/ and the parts of the programs.
$(BUILD)/test/unit/%: test/unit/%.c $(COMMON) | $(SKEL)
	$(call say,TEST,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(C) -I. -Icommon -Itracer -Iagent -I$(BUILD)/agent -I$(BUILD)/test/unit -o $@ $< $(COMMON) $(UNIT_OBJS) -lcmocka -lseccomp -lpcre2-8 -lresolv -lxxhash

# The table of system calls is tested without its handlers, whose names are taken from its header.
$(BUILD)/test/unit/handlers.def: tracer/sysdef.h
	$(Q)mkdir -p $(@D)
	$(Q)sed -nE 's/^void (sys_\w+)\(.*/HANDLER(\1)/p; s/^int64_t (sys_\w+)\(.*/EXIT(\1)/p' $< >$@
$(BUILD)/test/unit/test_filter: $(BUILD)/test/unit/handlers.def

.PHONY: unit
unit: $(UNIT)
	$(Q)test/run-unit $(UNIT)

-include test/test.mk
-include test/fuzz/fuzz.mk
-include test/bench/bench.mk

# --- the rest ----------------------------------------------------------------------------------------

.PHONY: arm64
arm64:
	$(Q)$(MAKE) --no-print-directory CC=$(ARM64_CC) BUILD=build/arm64 FOREIGN='-idirafter /usr/include' \
		objects
.PHONY: objects
objects: $(COMMON) $(AGENT) $(filter-out %/arch_x86_64.o %/arch_aarch64.o,$(TRACER)) $(BUILD)/tracer/arch_$(if $(FOREIGN),aarch64,$(shell uname -m)).o

.PHONY: install
install: all
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/share/man/man1 $(DESTDIR)$(PREFIX)/share/man/man8
	install -m 755 $(BUILD)/mirrord-trace $(BUILD)/mirrord-agent $(DESTDIR)$(PREFIX)/bin
	install -m 644 man/mirrord-trace.1 $(DESTDIR)$(PREFIX)/share/man/man1
	install -m 644 man/mirrord-agent.8 $(DESTDIR)$(PREFIX)/share/man/man8

.PHONY: deps
deps:
	$(Q)test/setup

.PHONY: clean
clean:
	rm -rf build

-include $(wildcard $(BUILD)/*/*.d $(BUILD)/test/*/*.d)
