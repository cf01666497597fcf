# What is built for the tests, and the targets that run them.

DYNAMIC := $(patsubst test/guest/%.c,$(BUILD)/test/guest/glibc/%,$(wildcard test/guest/*.c))
STATIC  := $(patsubst test/guest/%.c,$(BUILD)/test/guest/musl/%,$(wildcard test/guest/*.c))
DEMO    := $(BUILD)/test/guest/demo-server
GO      := $(patsubst test/guest/%/main.go,$(BUILD)/test/guest/%,$(wildcard test/guest/*/main.go))
JAVA    := $(patsubst test/guest/%.java,$(BUILD)/test/guest/%.class,$(wildcard test/guest/*.java))
GUESTS  := $(DYNAMIC) $(STATIC) $(GO) $(JAVA)

# The guests are never sanitized and always by the same compilers: it is not they that are tested.
GUEST_CFLAGS := -std=gnu17 -D_GNU_SOURCE $(WARN) -O2 -pthread

$(DYNAMIC) $(STATIC): $(wildcard test/guest/*.h)

$(BUILD)/test/guest/glibc/%: test/guest/%.c
	$(call say,GUEST,$@)
	$(Q)mkdir -p $(@D)
	$(Q)gcc $(GUEST_CFLAGS) -o $@ $<

$(BUILD)/test/guest/musl/%: test/guest/%.c
	$(call say,GUEST,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(MUSL_CC) -static $(GUEST_CFLAGS) -o $@ $<

# A file, not a module: it needs the standard library only, and no network.
$(GO): $(BUILD)/test/guest/%: test/guest/%/main.go
	$(call say,GO,$@)
	$(Q)mkdir -p $(@D)
	$(Q)HOME=$${HOME:-/root} CGO_ENABLED=0 GO111MODULE=off GOTOOLCHAIN=local go build -o $@ $<

$(JAVA): $(BUILD)/test/guest/%.class: test/guest/%.java
	$(call say,JAVA,$@)
	$(Q)javac -d $(@D) $<

.PHONY: guests
guests: $(GUESTS)

# make e2e T=oracle ENGINE=ptrace
.PHONY: e2e
e2e: all guests
	$(Q)BUILD=$(BUILD) test/run-e2e $(T)

.PHONY: demo
demo: all $(DEMO)
	$(Q)BUILD=$(BUILD) test/demo

# Each check is one counted test; see there.
.PHONY: lint
lint:
	$(Q)test/run-lint

.PHONY: test
test:
	$(Q)test/run-all
