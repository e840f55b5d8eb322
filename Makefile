# `make demo` and `make test` set everything up on a fresh Debian or Ubuntu machine, as root.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV ?= .venv
PREFIX ?= /usr/local
DESTDIR ?=
SYSCONFDIR ?= /etc
# The interpreter that runs the installed command; the same minor version as PYTHON.
NODE_PYTHON ?= /usr/bin/python3
# What is installed: this checkout, or a wheel of it.
PACKAGE ?= .
PYTEST_ARGS ?=
# How many tests run side by side: twice as many as there are processors, since half of their time they wait.
TEST_PROCESSES ?= $(shell expr 2 \* $$(nproc))

# The test runs start the command some thousand times: compiled once, even where the caller forbids it.
unexport PYTHONDONTWRITEBYTECODE

bin := $(VENV)/bin
ready := $(VENV)/.ready
# Below lib/livelayer, not it: with PREFIX=/usr that is where a vendor keeps the configuration.
libdir := $(PREFIX)/lib/livelayer/python
units := $(notdir $(wildcard systemd/*.service systemd/*.path systemd/*.timer))
pytest = $(bin)/python -m pytest --dist=loadgroup --numprocesses
packages = $(shell awk '!/^\#/ && ($(1)) {print $$1}' system-packages.txt)
man_pages := $(patsubst docs/%.md,build/man/%,$(wildcard docs/*.[578].md))

.PHONY: help
help: ## Show the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "%-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: demo
demo: packages-demo $(ready) ## Show the main job: plan, apply, run, update, remove (root; touches nothing outside a namespace)
	@$(bin)/python -m demo

.PHONY: check
check: $(ready) ## Lint, and run the tests that start no program: a minute and a half
	@$(MAKE) --no-print-directory lint
	$(pytest) auto -m 'not commands and not system' $(PYTEST_ARGS)

.PHONY: test
test: packages-test $(ready) man ## Run all tests, system tests included (root)
	$(pytest) $(TEST_PROCESSES) $(PYTEST_ARGS)

.PHONY: test-long
test-long: packages-test $(ready) man ## The same, with every fault at every instant: many hours (root)
	LIVELAYER_LONG=1 $(pytest) $(TEST_PROCESSES) $(PYTEST_ARGS)

.PHONY: lint
lint: $(ready) ## Run the linters, the type checker and the architecture contracts
	@$(MAKE) --no-print-directory --jobs --output-sync=target ruff types contracts

.PHONY: ruff
ruff: $(ready)
	$(bin)/ruff check .
	$(bin)/ruff format --check .

.PHONY: types
types: $(ready)
	$(bin)/mypy

.PHONY: contracts
contracts: $(ready)
	$(bin)/lint-imports

.PHONY: bench
bench: packages-bench $(ready) ## Run the benchmarks; each prints the ratio to its peer
	$(bin)/python -m bench

.PHONY: schema
schema: $(ready) ## Write config/extensions.schema.json anew from the model
	$(bin)/livelayer schema > config/extensions.schema.json

.PHONY: lock
lock: $(ready) ## Write requirements.lock anew: the versions CI uses
	$(bin)/uv pip compile --quiet --universal --python-version 3.11 --group dev --no-annotate --no-header \
	  pyproject.toml --output-file requirements.lock

.PHONY: packages-demo
packages-demo:
	@$(call apt_install,$(call packages,$$2 == "run" || $$2 == "install"))

.PHONY: packages-test
packages-test:
	@$(call apt_install,$(call packages,$$2 != "bench"))

.PHONY: packages-bench
packages-bench:
	@$(call apt_install,$(call packages,1))

# Nothing is asked of the network when all packages are there.
define apt_install
missing=(); for name in $(1); do \
  dpkg-query -W -f '$${Status}' "$$name" 2>/dev/null | grep -q '^install ok' || missing+=("$$name"); done; \
if [ "$${#missing[@]}" -gt 0 ]; then \
  echo "installing $${missing[*]}"; export DEBIAN_FRONTEND=noninteractive; \
  apt-get -qq update && apt-get -qq install --no-install-recommends "$${missing[@]}" >/dev/null; fi
endef

$(ready): pyproject.toml requirements.lock
	$(PYTHON) -m venv $(VENV)
	$(bin)/python -m pip install --quiet "$$(grep ^uv== requirements.lock)"
	$(bin)/uv pip install --quiet --compile-bytecode --python $(bin)/python --no-deps --requirement requirements.lock --editable .
	touch $@

.PHONY: wheel
wheel: $(ready) ## Build the wheel into dist/
	$(bin)/python -m build --wheel --outdir dist . >/dev/null
	@ls dist/*.whl

.PHONY: man
man: $(man_pages)

build/man/%: docs/%.md
	@mkdir -p $(@D)
	@if command -v go-md2man >/dev/null; then go-md2man -in $< -out $@; \
	else echo "go-md2man is not installed: no man page $(@F)"; fi

.PHONY: install
install: writable $(man_pages) build/livelayer ## Install command, units and default configuration (DESTDIR, PREFIX)
	rm -rf $(DESTDIR)$(libdir)
	$(PYTHON) -m venv --clear build/venv
	build/venv/bin/python -m pip install --quiet --target $(DESTDIR)$(libdir) $(PACKAGE)
	rm -rf $(DESTDIR)$(libdir)/bin
	install -D -m 755 build/livelayer $(DESTDIR)$(PREFIX)/bin/livelayer
	mkdir -p build/units
	for unit in $(units); do \
	  sed 's|@bindir@|$(PREFIX)/bin|' "systemd/$$unit" > "build/units/$$unit"; \
	  install -D -m 644 "build/units/$$unit" "$(DESTDIR)$(PREFIX)/lib/systemd/system/$$unit"; done
	for service in $(filter %.service,$(units)); do \
	  install -D -m 644 systemd/hardening.conf \
	    "$(DESTDIR)$(PREFIX)/lib/systemd/system/$$service.d/10-hardening.conf"; done
	install -D -m 644 systemd/livelayer.tmpfiles $(DESTDIR)$(PREFIX)/lib/tmpfiles.d/livelayer.conf
	install -D -m 644 systemd/50-livelayer.preset $(DESTDIR)$(PREFIX)/lib/systemd/system-preset/50-livelayer.preset
	install -D -m 644 config/extensions.schema.json $(DESTDIR)$(PREFIX)/share/livelayer/extensions.schema.json
	for page in $(notdir $(wildcard $(man_pages))); do \
	  install -D -m 644 "build/man/$$page" "$(DESTDIR)$(PREFIX)/share/man/man$${page##*.}/$$page"; done
	install -d -m 755 $(DESTDIR)$(SYSCONFDIR)/livelayer/extensions.d
	test -e $(DESTDIR)$(SYSCONFDIR)/livelayer/extensions.yaml \
	  || install -m 644 config/extensions.yaml $(DESTDIR)$(SYSCONFDIR)/livelayer/extensions.yaml
	@echo "installed; start it with:"
	@echo "  systemd-tmpfiles --create livelayer.conf"
	@echo "  systemctl daemon-reload"
	@echo "  systemctl enable --now livelayer-boot.service livelayer-activate.service livelayer-online.service livelayer.path livelayer.timer"

# -I: neither the caller's environment nor its directory decides what root runs. -S and the rest: nor does an extension, by modules
# beside or before those of the OS (a zipped library comes first), or of other systems that the standard library asks for.
.PHONY: build/livelayer
build/livelayer:
	@mkdir -p build
	@test "$$($(PYTHON) -c 'import sys; print(sys.version_info[:2])')" = \
	  "$$($(NODE_PYTHON) -c 'import sys; print(sys.version_info[:2])')" \
	  || { echo "PYTHON and NODE_PYTHON must have the same minor version" >&2; exit 1; }
	printf '%s\n' '#!$(NODE_PYTHON) -IS' 'import sys' \
	  'sys.path[:] = ["$(libdir)", *(it for it in sys.path if not it.endswith(".zip"))]' \
	  'sys.modules.update(dict.fromkeys(("nt", "msvcrt", "_winapi", "winreg", "org")))' \
	  'from reconciler.cli import main' 'main()' > $@

# While extensions are merged onto /usr it is read-only, /usr/local with it.
.PHONY: writable
writable:
	@mkdir -p $(DESTDIR)$(PREFIX) 2>/dev/null && test -w $(DESTDIR)$(PREFIX) || { \
	  echo "$(DESTDIR)$(PREFIX) is read-only; if extensions are merged: systemd-sysext unmerge" >&2; exit 1; }

.PHONY: uninstall
uninstall: writable ## Remove what install put in place; configuration, store and placed extensions stay
	if [ -z "$(DESTDIR)" ] && [ -d /run/systemd/system ]; then systemctl disable --now $(units) || true; fi
	rm -rf $(DESTDIR)$(libdir) $(DESTDIR)$(PREFIX)/share/livelayer
	rmdir --ignore-fail-on-non-empty $(dir $(DESTDIR)$(libdir))
	rm -f $(DESTDIR)$(PREFIX)/bin/livelayer $(DESTDIR)$(PREFIX)/lib/tmpfiles.d/livelayer.conf
	rm -f $(DESTDIR)$(PREFIX)/lib/systemd/system-preset/50-livelayer.preset
	for unit in $(units); do rm -rf "$(DESTDIR)$(PREFIX)/lib/systemd/system/$$unit"{,.d/10-hardening.conf}; done
	rmdir $(DESTDIR)$(PREFIX)/lib/systemd/system/livelayer*.service.d 2>/dev/null || true
	for page in $(notdir $(man_pages)); do rm -f "$(DESTDIR)$(PREFIX)/share/man/man$${page##*.}/$$page"; done

.PHONY: clean
clean: ## Remove what was built
	rm -rf build dist $(VENV)
