# Two commands do all the set-up, each by itself:
#   make fst     the whole plan in a lab of two sites on loopback (no root, no service, no compiler)
#   make test    lint, types and all tests (as root on Debian it installs the real peers first)

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
APT_LINE := apt-get install -y git make python3-venv
SITE ?= fixtures/sites/two-site.toml

.DEFAULT_GOAL := help
.PHONY: help fst test lint types peers clean

help:
	@sed -n '2,3p' Makefile | cut -c5-

# The venv module can be there without ensurepip (Debian splits it off), so that is what is tried.
$(VENV)/made: 
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed; $(PYTHON) is $$($(PYTHON) -V 2>&1). Try make PYTHON=python3.12" >&2; exit 2; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
	  { echo "Missing: the Python venv module. As root: $(APT_LINE)" >&2; exit 2; }
	@command -v git >/dev/null || { echo "Missing: git. As root: $(APT_LINE)" >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/installed: $(VENV)/made pyproject.toml
	$(BIN)/python -m pip install --quiet --editable .
	@touch $@

$(VENV)/installed-test: $(VENV)/made pyproject.toml
	$(BIN)/python -m pip install --quiet --editable '.[test]'
	@touch $@ $(VENV)/installed

fst: $(VENV)/installed
	@$(BIN)/fst run --site $(SITE); code=$$?; \
	if [ $$code = 3 ]; then echo "Some boxes are OTHER: not all can be judged on this machine; the words beside each say why."; exit 0; fi; \
	exit $$code

# Real peers come from Debian, by root only; elsewhere their tests skip and name what is missing.
peers:
	@if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  wanted=$$(sed 's/#.*//' packages.debian); missing=; \
	  for package in $$wanted; do \
	    dpkg-query -W -f='$${Status}' $$package 2>/dev/null | grep -q 'ok installed' || missing="$$missing $$package"; \
	  done; \
	  if [ -n "$$missing" ]; then tools/install-peers $$missing; fi; \
	else echo "not root on Debian: tests with real peers will skip"; fi

lint: $(VENV)/installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: $(VENV)/installed-test
	$(BIN)/mypy

test: peers lint types
	$(BIN)/python -m pytest

clean:
	rm -rf $(VENV) build dist

# All that an installation without the network needs, for this Python and processor: docs/offline.md
.PHONY: wheelhouse
wheelhouse: $(VENV)/installed
	tools/make-wheelhouse $(BIN)/python dist

# hasync, pgsync and ngpsync in one file that a bare Python 3.11 runs: docs/warm-standby.md
.PHONY: hasync.pyz
hasync.pyz:
	@$(PYTHON) tools/make-hasync-pyz dist/hasync.pyz

# What CI takes a seeded sample of, whole: hours.
.PHONY: soak
soak: peers $(VENV)/installed-test
	HASYNC_SOAK=$(KILLS) $(BIN)/python -m pytest tests/fault --ignore tests/fault/test_killed_runs.py
	FST_SOAK=1 $(BIN)/python -m pytest tests/fault/test_killed_runs.py
	ENUM_SOAK=1 $(BIN)/python -m pytest tests/mutants/test_judge_false_alarms.py tests/mutants/test_judge_mutants.py
	PROBE_SOAK=1 $(BIN)/python -m pytest tests/property/test_capture_fuzz.py tests/property/test_media_streams.py
KILLS ?= 2000

# docs/fault-table.md from a real run of the faults, as root: some ten minutes.
.PHONY: fault-table
fault-table: peers $(VENV)/installed-test
	$(BIN)/python tools/make-fault-table
