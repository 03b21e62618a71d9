# Barbossa: `make` alone lists what there is. Needs python3 (3.11 or newer) with venv, and make; compiles with cc, if there is one.

PYTHON ?= python3
MINUTES ?= 10
VENV   := .venv
BIN    := $(VENV)/bin
STAMPS := $(VENV)/.stamps
REAPER := barbossad/process/local/barbossa-reaper
BUILT_FROM := pyproject.toml setup.cfg setup.py $(wildcard packaging/*.py barbossad/process/local/native/*) \
  $(if $(wildcard $(REAPER)),,missing)
PIP     = $(BIN)/python -m pip install --quiet --disable-pip-version-check --use-pep517 --config-settings editable_mode=compat

export PIP_ROOT_USER_ACTION := ignore

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: missing help run stop test hunt check static install uninstall bench docs pages clean

help: ## list the targets
	@sed -n 's/^\([a-z][a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 12

run: $(STAMPS)/run ## start a daemon of your own and run a sample workflow on it
	@packaging/run_sample.sh start

stop: ## stop the daemon that `make run` started
	@packaging/run_sample.sh stop

test: $(STAMPS)/dev ## run all tests (the ring in a systemd container needs root)
	$(BIN)/python -m pytest $(PYTEST_ARGS)

hunt: $(STAMPS)/dev ## draw other lots in the tests that draw any, for MINUTES (10), until one fails
	@end=$$(($$(date +%s) + 60 * $(MINUTES))); \
	while $(BIN)/python -m pytest -m by_chance --randomly-seed=default $(PYTEST_ARGS); do \
	  [ $$(date +%s) -lt $$end ] || exit 0; \
	done; exit 1

check: static test ## everything CI runs: lint, types, docs, tests

static: $(STAMPS)/dev ## the part of check that runs nothing: lint, types, docs
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python docs/generate.py --check

install: ## as root: install the daemon, its units and a default configuration on this host
	@packaging/install.sh install

uninstall: ## as root: remove it again; state and configuration stay
	@packaging/install.sh uninstall

bench: $(STAMPS)/dev ## measure the workloads against their floors
	$(BIN)/python -m benchmarks $(BENCH_ARGS)

docs: $(STAMPS)/dev ## write the generated reference pages again
	$(BIN)/python docs/generate.py

pages: $(STAMPS)/dev ## try the commands of the tutorial and the how-to pages, and write what they say now
	$(BIN)/python -m tests.helpers.pages --write docs/tutorial.md docs/howto/*.md

clean: ## remove what the targets above made in this folder
	rm -rf $(VENV) $(REAPER) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# A stamp older than the metadata, or than what is compiled, says that the environment has to be brought up to date; otherwise pip is not even asked.
# They live in the environment, so that they go with it.
$(STAMPS)/venv:
	@$(PYTHON) -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' || \
	  { echo 'Python 3.11 or newer with its venv module is needed (on Debian: apt-get install python3-venv).' >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@mkdir -p $(STAMPS)
	@touch $@

$(STAMPS)/run: $(STAMPS)/venv $(BUILT_FROM)
	$(PIP) --editable .
	@touch $@

$(STAMPS)/dev: $(STAMPS)/venv $(BUILT_FROM)
	$(PIP) --editable '.[dev]'
	@touch $@ $(STAMPS)/run
