# Berth's two commands are `make quickstart` and `make test`; README.md says what they do.

SHELL := /bin/bash
.DEFAULT_GOAL := build

PREFIX  ?= /usr/local
DESTDIR ?=
GO      ?= go
VERSION ?= $(shell cat VERSION)

LDFLAGS  := -s -w -X github.com/berthd/berth/internal/version.Version=$(VERSION)
FUZZTIME ?= 60s

.PHONY: build
build: bin/berth bin/berthd bin/berth-lxc bin/berth-sandbox bin/berth-user bin/berth-bench

# The Go programs are built without a C compiler; berth-lxc is C and alone links liblxc.
bin/berth bin/berthd bin/berth-sandbox bin/berth-user bin/berth-bench: bin/%: FORCE
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o $@ ./cmd/$*

bin/berth-lxc: $(wildcard cmd/berth-lxc/*.[ch]) scripts/berth-lxc.sh
	scripts/berth-lxc.sh $@

.PHONY: FORCE
FORCE:

.PHONY: deps
deps: ; scripts/deps.sh build run

.PHONY: quickstart
quickstart: ; scripts/deps.sh build run image && $(MAKE) --no-print-directory build && scripts/quickstart.sh up

.PHONY: quickstart-down
quickstart-down: ; scripts/quickstart.sh down

.PHONY: test
test: ; scripts/deps.sh build run image test lab && scripts/test.sh

.PHONY: unit race fuzz e2e faults
unit race fuzz e2e faults: build ; FUZZTIME=$(FUZZTIME) scripts/test.sh $@

# A longer storm of kills than the faults have; SEED=n repeats one.
.PHONY: storm
storm: build ; KILLS=$(or $(KILLS),500) $(GO) test -timeout 8h -count 1 -v -run AStormOfKills ./test/faults

# Plausible mistakes, put into a copy of HEAD one at a time: which test notices which. ONLY="name name" tries these.
.PHONY: mutants
mutants: build ; test/mutants/run.sh $(ONLY)

# Tests in a guest whose kernel has what this one lacks; docs/lab.md.
bin/berth-lab: FORCE
	CGO_ENABLED=0 $(GO) build -o $@ ./test/lab/cmd/lab

# LXD's own tests that are known to pass (test/conformance/tests); what it needs: test/conformance/README.md.
.PHONY: conformance
conformance: build ; test/conformance/run.sh $(ONLY)

.PHONY: lab lab-ci lab-all
lab: build bin/berth-lab ; scripts/deps.sh build image lab && test/lab/image/build.sh && bin/berth-lab save && scripts/test.sh lab
lab-ci: build bin/berth-lab ; scripts/deps.sh build image lab && scripts/test.sh lab
lab-all: build bin/berth-lab ; scripts/deps.sh build run image test lab && test/lab/all.sh

.PHONY: bench bench-fs bench-floor bench-trace
bench: build ; scripts/bench.sh
bench-fs: build ; scripts/bench_fs.sh
bench-floor: build ; scripts/bench_floor.sh
bench-trace: build ; scripts/bench_trace.sh

# Units of systemd; a package has its own folder for them, /lib/systemd/system.
UNITDIR ?= /etc/systemd/system
UNITS   := berth.service berth.socket berth-instances.service berth-user.service berth-user.socket

.PHONY: install
install: build
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/libexec/berth
	install -m 0755 bin/berth bin/berthd bin/berth-user $(DESTDIR)$(PREFIX)/bin/
	install -m 0755 bin/berth-lxc bin/berth-sandbox $(DESTDIR)$(PREFIX)/libexec/berth/
	install -d $(DESTDIR)$(UNITDIR)
	for unit in $(UNITS); do sed 's|@PREFIX@|$(PREFIX)|g' packaging/$$unit > $(DESTDIR)$(UNITDIR)/$$unit || exit; done
	install -d $(DESTDIR)$(PREFIX)/share/bash-completion/completions $(DESTDIR)$(PREFIX)/share/zsh/site-functions $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d
	bin/berth completion bash > $(DESTDIR)$(PREFIX)/share/bash-completion/completions/berth
	bin/berth completion zsh > $(DESTDIR)$(PREFIX)/share/zsh/site-functions/_berth
	bin/berth completion fish > $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d/berth.fish
	install -d $(DESTDIR)$(PREFIX)/share/man/man1
	bin/berth manpage $(DESTDIR)$(PREFIX)/share/man/man1
	[ -n "$(DESTDIR)" ] || for group in berth berth-users; do getent group $$group > /dev/null || groupadd --system $$group || exit; done
	[ -n "$(DESTDIR)" ] || [ ! -d /run/systemd/system ] || systemctl daemon-reload

.PHONY: uninstall
uninstall:
	rm -f $(addprefix $(DESTDIR)$(PREFIX)/bin/,berth berthd berth-user)
	rm -rf $(DESTDIR)$(PREFIX)/libexec/berth
	rm -f $(addprefix $(DESTDIR)$(UNITDIR)/,$(UNITS))
	rm -f $(DESTDIR)$(PREFIX)/share/bash-completion/completions/berth $(DESTDIR)$(PREFIX)/share/zsh/site-functions/_berth $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d/berth.fish
	rm -f $(DESTDIR)$(PREFIX)/share/man/man1/berth.1 $(DESTDIR)$(PREFIX)/share/man/man1/berth.*.1
	[ -n "$(DESTDIR)" ] || for group in berth berth-users; do ! getent group $$group > /dev/null || groupdel $$group || exit; done
	[ -n "$(DESTDIR)" ] || [ ! -d /run/systemd/system ] || systemctl daemon-reload

.PHONY: clean
clean: ; rm -rf bin
