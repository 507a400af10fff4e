# Everything that is run by hand or by CI. `make` lists it.

SHELL       := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS   += --no-print-directory

VERSION       ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LINT_VERSION  := v2.12.0
PROTOC_GEN_GO := v1.36.11

TOOLS := $(CURDIR)/.tools
LINT  := $(TOOLS)/golangci-lint-$(LINT_VERSION)
# Each checkout has its own: a finding is kept with the path of the checkout where it was made, and judged
# by the lines that stand there now.
LINT_CACHE := $(TOOLS)/lint-cache
PROTOC_PLUGIN := $(TOOLS)/protoc-gen-go-$(PROTOC_GEN_GO)
PROTOS := proto/archive/archive.proto proto/status/status.proto

# How often the counted tests (kills, cuts, corruptions) repeat: make test N=1000
ifdef N
export TIDEMARK_N := $(N)
endif

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: build
build: ## bin/tidemark
	CGO_ENABLED=0 go build -trimpath -ldflags '-s -w -X main.version=$(VERSION)' -o bin/tidemark ./cmd/tidemark

# A tier holds the ones before it; .ci/must-run says what of each must run. RUN=TestX PACKAGES=./restore chooses.
SUITE = go run ./integration/suite $(if $(filter command line,$(origin RUN)),-run '$(RUN)') $(if $(PACKAGES),-packages '$(PACKAGES)')

.PHONY: test
test: ## the tests, on one MariaDB and one MySQL, side by side; N=1000 repeats the counted ones more often
	$(SUITE) scenario

.PHONY: test-all
test-all: ## the tests on all versions of servers and all kinds of storage
	$(SUITE) matrix

.PHONY: test-short
test-short: ## the tests that need no server
	$(SUITE) unit

# The tests that depend on chance; docs/reliability.md has what they found.
RUN ?= TestKill|TestTargets|TestLedger|TestRelaySpace|TestResume.*|TestFailover|TestNothingLost|TestCrash|TestCrashRetention|TestFaults|TestKillPrimary|TestFailpoints|TestDamages|TestFaultyStorage|TestTakeOver
.PHONY: campaign
campaign: deps servers ## the counted tests at length: make campaign N=20, or one of them: RUN=TestKill
	go test ./archiver ./internal/expire ./integration/archive ./integration/restoring ./integration/failover ./integration/stress ./integration/verifying -run '^($(RUN))$$' -count=1 -v -timeout 24h

.PHONY: race
race: ## the tests that need no server, with the race detector
	CGO_ENABLED=1 go test -race -count=1 -short -timeout 15m $$(go list ./... | grep -v '^tidemark/integration')

.PHONY: mutate
mutate: deps servers emulators ## break the program in one place at a time, and see that a test notices: ONLY=ack-before-sync SERVERS=false
	go run ./integration/mutate -only "$(ONLY)" -servers=$(or $(SERVERS),true)

.PHONY: vet
vet: ## format, go vet, and the rules of the tree
	@unformatted=$$(gofmt -l .); [ -z "$$unformatted" ] || { echo "gofmt would change:"; echo "$$unformatted"; exit 1; }
	go vet ./...
	go vet -tags failpoints ./internal/failpoint
	go test . -count=1

.PHONY: lint
lint: lint-tool ## golangci-lint, as .golangci.yml says
	GOLANGCI_LINT_CACHE=$(LINT_CACHE) GOPROXY=off $(LINT) run ./...

.PHONY: lint-tool
lint-tool: $(LINT)

.PHONY: demo
demo: deps ## archive a server, damage it, restore it to a second before
	go run ./integration/demo

.PHONY: storages
storages: deps emulators ## the demo and the tests of restores on all kinds of storage, encrypted and not: ONLY=s3 RUN=TestTargets N=2
	go run ./integration/storages -only "$(ONLY)" $(if $(filter command line,$(origin RUN)),-run "$(RUN)") $(if $(filter command line,$(origin N)),-n $(N))

.PHONY: bench-stream
bench-stream: deps ## archiving against mariadb-binlog --raw; ENCRYPT=1 encrypted too
	go run ./integration/bench stream $(if $(ENCRYPT),-encrypt)

.PHONY: bench-restore
bench-restore: deps servers ## applying the log against mariadb-binlog | mariadb, and by hand; SERVER=mysql-9.7 for another, BALLAST=1024 for a base of so many MiB
	go run ./integration/bench restore -server "$(SERVER)" -ballast $(or $(BALLAST),0)

.PHONY: bench-base
bench-base: deps ## base backups and their unpacking against mariadb-backup | zstd and its reverse; SIZE=2048 MiB of data
	go run ./integration/bench base -size $(or $(SIZE),2048)

.PHONY: bench-commit
bench-commit: deps servers ## commits that wait for the spool against commits that do not; SERVER=mysql-9.7 for another
	go run ./integration/bench commit -server "$(SERVER)"

MIN ?= 10
.PHONY: bench-soak
bench-soak: deps ## memory, goroutines and descriptors at full speed, for MIN=10 minutes
	go run ./integration/bench soak -time $(MIN)m

.PHONY: bench-catalog
bench-catalog: ## listing, planning from and checking an archive of 100,000 segments; SEGMENTS=20000 for another
	go run ./integration/bench catalog $(if $(SEGMENTS),-segments $(SEGMENTS))

.PHONY: build-cost
build-cost: ## what each dependency costs in time of a cold build and in the program's size
	go run ./integration/buildcost

.PHONY: proto
proto: $(PROTOC_PLUGIN) ## generate the Go code of the messages
	protoc --plugin=protoc-gen-go=$(PROTOC_PLUGIN) --go_out=. --go_opt=paths=source_relative $(PROTOS)

# Another protoc writes another version in the head of the file; that is no difference.
.PHONY: proto-check
proto-check: ## the generated code is that of the messages
	@if ! command -v protoc >/dev/null; then echo "proto-check: not run, there is no protoc"; exit 0; fi; \
	$(MAKE) $(PROTOC_PLUGIN); \
	out=$$(mktemp -d); trap 'rm -rf "$$out"' EXIT; \
	protoc --plugin=protoc-gen-go=$(PROTOC_PLUGIN) --go_out="$$out" --go_opt=paths=source_relative $(PROTOS); \
	for proto in $(PROTOS); do \
		diff -u -I '^// .*protoc ' "$${proto%.proto}.pb.go" "$$out/$${proto%.proto}.pb.go" || \
			{ echo "proto-check: $$proto has changed: run make proto"; exit 1; }; \
	done; \
	echo "proto-check: ok"

.PHONY: clean
clean: ## remove what was built
	rm -rf bin .tools

.PHONY: deps
deps: # the server and tools of this system
	scripts/install-deps.sh

# In CI none may be missing; elsewhere the tests of a version that cannot be had are skipped.
.PHONY: servers
servers: # further versions of servers, in prefixes of their own, and plugins of the system's
	scripts/install-servers.sh $(if $(TIDEMARK_MUST_RUN),,--best-effort)
	scripts/install-plugins.sh $(if $(TIDEMARK_MUST_RUN),,--best-effort)

.PHONY: emulators
emulators: # what the storage drivers are tested against, in directories of their own
	scripts/install-emulators.sh $(if $(TIDEMARK_MUST_RUN),,--best-effort)

$(LINT):
	GOBIN=$(TOOLS) CGO_ENABLED=0 go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(LINT_VERSION)
	mv $(TOOLS)/golangci-lint $@

$(PROTOC_PLUGIN):
	GOBIN=$(TOOLS) CGO_ENABLED=0 go install google.golang.org/protobuf/cmd/protoc-gen-go@$(PROTOC_GEN_GO)
	mv $(TOOLS)/protoc-gen-go $@
