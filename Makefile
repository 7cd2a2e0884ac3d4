# One environment, .venv: the packages of the hashed lock first, then this project on top, built by tools of the same lock.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.ONESHELL:
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
PIP := $(PY) -m pip --disable-pip-version-check --quiet --no-input
# The seed fixes the order of the tests; generated examples are fixed by tests/support/profile.py.
PYTEST := $(PY) -m pytest -p no:cacheprovider --randomly-seed=20261124
# Two at a time, on any machine: more would disturb the tests that measure time.
BOTH := -n 3 --dist worksteal
FILES := adapters scheduler alembic tests bench cli.py worker.py
GATED := scheduler/domain scheduler/services scheduler/publishing adapters

.PHONY: help demo run test test-long check format-check lint types imports migrations simulation coverage postgresql bench fix lock clean

help:  ## List what make can do.
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(VENV)/.runtime  ## Watch Karvenia's ministry publish on the practice network; ONCE=1 ends by itself.
	@$(PY) -m cli demo $(if $(ONCE),--once)

run: $(VENV)/.runtime  ## Start an installation of your own, empty the first time.
	@$(PY) -m cli up --init-if-empty

test: $(VENV)/.dev  ## Run every test with fixed seeds; needs no server and no network.
	@$(PYTEST) -q $(BOTH) -m "not long"

test-long: $(VENV)/.dev  ## Run the tests that take minutes: kills in a loop, many generated examples.
	@$(PYTEST) -v -m long --hypothesis-profile=long

check: format-check lint types imports migrations simulation coverage postgresql  ## Do what CI does: format, lint, types, layers, migrations, tests, coverage.

format-check: $(VENV)/.dev
	@$(PY) -m ruff format --check $(FILES)

lint: $(VENV)/.dev
	@$(PY) -m ruff check $(FILES)

types: $(VENV)/.dev
	@$(PY) -m mypy -p adapters -p scheduler -p bench -m cli -m worker

imports: $(VENV)/.dev
	@$(PY) -c 'from importlinter.cli import lint_imports_command; lint_imports_command()'

migrations: $(VENV)/.dev  ## Build an empty database by migrations and compare it with the tables in code.
	@folder=$$(mktemp -d); trap 'rm -rf "$$folder"' EXIT; export CHANCERY_DATA_DIR=$$folder
	unset CHANCERY_DATABASE_URL
	$(PY) -m alembic upgrade head
	$(PY) -m alembic check

# Apart from the coverage: a tracer would double what the runs cost, and they say nothing of it.
simulation: $(VENV)/.dev  ## Walk through the grid of faults and the missing rules on a virtual clock.
	@$(PYTEST) -q $(BOTH) -m "not long" tests/simulation

# On PostgreSQL the same lines run once more: a tracer would only double what that costs.
coverage: $(VENV)/.dev
	@$(PYTEST) -q $(BOTH) -m "not long" -k "not postgresql" --ignore=tests/simulation --cov --cov-report=
	for part in $(GATED); do
		$(PY) -m coverage report --include="$$part/*" --fail-under=95
	done

postgresql: $(VENV)/.dev
	@$(PYTEST) -q $(BOTH) -m "not long" -k postgresql --ignore=tests/simulation

bench: $(VENV)/.dev  ## Print the measurements, one line of JSON each.
	@$(PY) -m bench

fix: $(VENV)/.dev  ## Format the code, repair what the linter can, and write the generated tables of the documents.
	@$(PY) -m ruff check --fix $(FILES)
	$(PY) -m ruff format $(FILES)
	$(PY) -m tests.support.tables

lock:  ## Compile both locks from pyproject.toml, with releases at least a week old; needs uv.
	@week_ago=$$($(PYTHON) -c 'from datetime import date, timedelta; print(date.today() - timedelta(days=7))')
	compile="uv pip compile --quiet --upgrade --universal --python-version 3.11 --exclude-newer $$week_ago --generate-hashes
		--no-emit-index-url --no-emit-find-links --no-header --no-annotate --no-strip-extras --extra embedded pyproject.toml"
	$$compile --group build -o requirements.lock
	$$compile --group dev -c requirements.lock -o requirements-dev.lock

clean:  ## Remove the environment, caches and built files; installations are not touched.
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .coverage dist

# --clear: an environment that was interrupted half-way starts again.
$(VENV)/.made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
		echo "Chancery needs Python 3.11 or newer. Name one: make PYTHON=/path/to/python3" >&2; exit 1; }
	$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || {
		echo "One package is missing: apt-get install python3-venv" >&2; exit 1; }
	echo "Making the environment in $(VENV)"
	$(PYTHON) -m venv --clear $(VENV)
	touch $@

$(VENV)/.runtime: requirements.lock | $(VENV)/.made
	@echo "Installing requirements.lock (a minute or two, once)"
	$(PIP) install --require-hashes -r requirements.lock
	$(PIP) install --no-deps --no-build-isolation -e .
	touch $@

# The developer's lock holds all of the other one, in the same versions.
$(VENV)/.dev: requirements-dev.lock requirements.lock | $(VENV)/.made
	@echo "Installing requirements-dev.lock (a minute or two, once)"
	$(PIP) install --require-hashes -r requirements-dev.lock
	$(PIP) install --no-deps --no-build-isolation -e .
	touch $(VENV)/.runtime $@
