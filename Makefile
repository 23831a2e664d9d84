# gourd: a container runtime. `make help` tells what can be made.

# There is one way to build: static, without cgo. The tag leaves out of the
# command line library what only generates its documentation (it saves 0.3 ms at
# every start).
export CGO_ENABLED = 0
GO          ?= go
TAGS        := urfave_cli_no_docs
BUILD_FLAGS := -trimpath -tags $(TAGS)
STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2

# The architectures that must build; the tests run on the machine's own.
ARCHES := amd64 arm64 riscv64

# How long each fuzz target runs.
FUZZTIME ?= 20000x

# How many runs the benchmark makes of each case, and of which cases (all: the slow
# ones too; go run ./tests/bench -help lists them).
N     ?= 20
CASES ?=

# One script of tests/integration alone: make script SCRIPT=kill RUNTIME=runc,
# or in another way: WAY=userns, WAY=rootless
SCRIPT  ?= .
WAY     ?= root
RUNTIME ?= $(CURDIR)/bin/gourd

# Where make install puts things: below DESTDIR, for those who make packages of
# it. zsh of Debian has /usr/share/zsh/vendor-completions for PREFIX=/usr.
PREFIX  ?= /usr/local
DESTDIR ?=
BINDIR  ?= $(PREFIX)/bin
MANDIR  ?= $(PREFIX)/share/man
BASHDIR ?= $(PREFIX)/share/bash-completion/completions
ZSHDIR  ?= $(if $(filter /usr,$(PREFIX)),$(PREFIX)/share/zsh/vendor-completions,$(PREFIX)/share/zsh/site-functions)
FISHDIR ?= $(PREFIX)/share/fish/vendor_completions.d

# Suites that drive the built binary, as root; all other packages are unit tests.
SUITES := ./tests/integration ./tests/engines

.DEFAULT_GOAL := help
.PHONY: help build man install uninstall demo test test-unit test-libseccomp test-fuzz test-mutations bench bench-seccomp test-integration test-prepare bench-prepare test-engines test-conformance test-oracle test-vm test-vm-full test-kubernetes test-host script lint cross deps clean

help: ## this text
	@echo 'gourd, a container runtime. What can be made:'
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo
	@echo 'Most need root: containers do. Tests look at $$GOURD_RUNTIME, or bin/gourd.'

build: ## bin/gourd, the static binary, and its companion bin/gourd-prepare
	$(GO) build $(BUILD_FLAGS) -ldflags '-s -w' -o bin/gourd .
	$(GO) build $(BUILD_FLAGS) -ldflags '-s -w' -o bin/gourd-prepare ./cmd/gourd-prepare

man: build ## bin/man, the manual pages
	bin/gourd help --man bin/man

# As "sudo make install" has no Go in its PATH, what was built is taken as it is.
install: bin/gourd bin/gourd-prepare ## gourd, its companion, manual pages and completions: make install [PREFIX=/usr/local] [DESTDIR=]
	install -d $(addprefix $(DESTDIR),$(BINDIR) $(MANDIR)/man8 $(BASHDIR) $(ZSHDIR) $(FISHDIR))
	install -m 755 bin/gourd bin/gourd-prepare $(DESTDIR)$(BINDIR)
	bin/gourd help --man $(DESTDIR)$(MANDIR)/man8
	bin/gourd completion bash >$(DESTDIR)$(BASHDIR)/gourd
	bin/gourd completion zsh >$(DESTDIR)$(ZSHDIR)/_gourd
	bin/gourd completion fish >$(DESTDIR)$(FISHDIR)/gourd.fish
	chmod 644 $(DESTDIR)$(MANDIR)/man8/gourd.8 $(DESTDIR)$(MANDIR)/man8/gourd-*.8 $(DESTDIR)$(BASHDIR)/gourd $(DESTDIR)$(ZSHDIR)/_gourd $(DESTDIR)$(FISHDIR)/gourd.fish

bin/gourd bin/gourd-prepare:
	$(MAKE) build

uninstall: ## remove what make install put there, with the same PREFIX and DESTDIR
	rm -f $(addprefix $(DESTDIR),$(BINDIR)/gourd $(BINDIR)/gourd-prepare $(MANDIR)/man8/gourd.8 $(MANDIR)/man8/gourd-*.8 \
		$(BASHDIR)/gourd $(ZSHDIR)/_gourd $(FISHDIR)/gourd.fish)

demo: build ## build, then run a first container, which says what it sees
	@dir=$$(mktemp -d) && trap 'rm -rf "$$dir"' EXIT && \
	bin/gourd spec --hello --bundle "$$dir/hello" && \
	bin/gourd --root "$$dir/state" run --bundle "$$dir/hello" hello

test: deps build lint test-unit test-libseccomp test-fuzz test-integration test-prepare test-engines test-conformance ## everything: install what the tests need, then run them all

test-unit: build ## the tests of the packages, and the attacks of tests/security; more of them as root
	$(GO) test -tags $(TAGS) $$($(GO) list -tags $(TAGS) ./... | grep -v -E '/tests/(integration|engines|prepare|conformance)$$')

test-libseccomp: ## the seccomp compiler against libseccomp (the only thing that needs cgo)
	CGO_ENABLED=1 $(GO) test -tags libseccomp,$(TAGS) ./seccomp/...
	CGO_ENABLED=1 $(GO) build -tags libseccomp,$(TAGS) -o /dev/null .

test-fuzz: ## every fuzz target for a moment (make test-fuzz FUZZTIME=10m: in earnest)
	@set -e; out=$$(mktemp); trap 'rm -f "$$out"' EXIT; \
	grep -ro --include='*_test.go' '^func Fuzz[A-Za-z]*' . | sort | while IFS=: read -r file target; do \
		package=$$(dirname "$$file"); target=$${target#func }; echo "$$package $$target"; \
		$(GO) test -tags $(TAGS) -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) "$$package" >"$$out" 2>&1 || \
			{ cat "$$out"; exit 1; }; \
	done

test-mutations: ## each protection taken out, in a copy: its attack's test must fail
	tests/security/mutate
	tests/prepare/mutate

bench: build ## gourd beside every other runtime on PATH: docs/performance.md (make bench N=60 CASES=all)
	$(GO) run -tags $(TAGS) ./tests/bench -n $(N) -cases "$(CASES)" -docs docs

bench-seccomp: ## the figures of seccomp/README.md
	CGO_ENABLED=1 $(GO) test -tags libseccomp,$(TAGS) -run '^$$' -bench . -benchtime 200x ./seccomp

test-integration: build ## real containers: the scripts of tests/integration
	GOURD_RUNTIME=$(CURDIR)/bin/gourd $(GO) test -count=1 -timeout 20m ./tests/integration

test-prepare: build ## gourd prepare: images of umoci, buildah and skopeo; a kill at every step
	GOURD_RUNTIME=$(CURDIR)/bin/gourd $(GO) test -count=1 -timeout 40m ./tests/prepare

bench-prepare: build ## gourd prepare against umoci and podman, for a Debian
	GOURD_RUNTIME=$(CURDIR)/bin/gourd $(GO) test -count=1 -timeout 40m ./tests/prepare -run '^$$' -bench Debian -benchtime 3x

test-engines: build ## dockerd, containerd and Podman with gourd as their runtime; docs/errors.md
	GOURD_RUNTIME=$(CURDIR)/bin/gourd $(GO) test -count=1 -timeout 20m ./tests/engines

test-conformance: build ## the validation programs of runtime-tools, beside runc: docs/results/conformance.md
	GOURD_RUNTIME=$(CURDIR)/bin/gourd $(GO) test -count=1 -timeout 20m -parallel 8 ./tests/conformance

test-oracle: ## the same scripts against Debian's runc: shows a wrong test
	GOURD_RUNTIME=runc $(GO) test -count=1 -timeout 20m $(SUITES)

test-vm: build ## in a virtual machine: what only it can show (cgroup v2 controllers, engines under systemd, SELinux)
	tests/vm/install-deps
	$(GO) run -tags $(TAGS) ./tests/vm --gourd bin/gourd

test-vm-full: build deps ## every script in the virtual machine, in every way, those of SELinux too; the report goes to docs/results
	tests/vm/install-deps
	$(GO) run -tags $(TAGS) ./tests/vm --full --gourd bin/gourd

test-kubernetes: build ## a kubelet in the virtual machine, with gourd as its only runtime (it is built once, in ten minutes)
	tests/vm/install-deps
	$(GO) run -tags $(TAGS) ./tests/vm --scripts kubernetes --minutes 60 --gourd bin/gourd

test-host: build deps ## every script on this host, which must have a pure cgroup v2
	$(GO) run -tags $(TAGS) ./tests/vm --host --gourd bin/gourd

script: ## one integration script: make script SCRIPT=kill [RUNTIME=runc] [WAY=rootless]
	GOURD_TEST_WAY=$(WAY) GOURD_RUNTIME=$(RUNTIME) $(GO) test -count=1 -v ./tests/integration -run 'TestScripts/^$(SCRIPT)$$'

lint: cross ## gofmt, go vet, staticcheck, and a build for every architecture
	@bad=$$(gofmt -l .) && if [ -n "$$bad" ]; then echo "gofmt would change:" $$bad; exit 1; fi
	$(GO) vet -tags $(TAGS) ./...
	cd tests/cri && $(GO) vet . && $(GO) run $(STATICCHECK) .
	$(GO) run $(STATICCHECK) -tags $(TAGS) ./...

cross: ## build for every architecture, without keeping it
	@for a in $(ARCHES); do echo "GOARCH=$$a go build"; GOARCH=$$a $(GO) build $(BUILD_FLAGS) -o /dev/null . && GOARCH=$$a $(GO) build $(BUILD_FLAGS) -o /dev/null ./cmd/gourd-prepare || exit 1; done

deps: ## Debian packages and Go modules that the tests need; a no-op where they are
	tests/install-deps
	tests/debian-rootfs
	$(GO) mod download
	cd tests/cri && $(GO) mod download

clean: ## remove what was built (the Debian of the tests stays in the cache)
	rm -rf bin coverage
