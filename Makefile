# Each target works alone on a fresh clone with Python 3.11 or newer, pip and make.

PYTHON ?= python3
BIN := .venv/bin
# Where pip finds torch, to pick another build of it (CPU or a CUDA version); empty: where it finds the rest.
TORCH_INDEX_URL ?=
# Test processes at once: one a core, four at most. Threads of their matrix products would only wait for each other.
TEST_PROCESSES ?= auto
PYTEST := OPENBLAS_NUM_THREADS=1 $(BIN)/pytest -n $(TEST_PROCESSES) --maxprocesses 4 --dist loadfile
# Every suite starts many processes, which need not compile the modules once more.
export PYTHONDONTWRITEBYTECODE :=
# Suites with targets of their own.
SUITES := faults chaos fuzz browser generated cluster
# What `make faults` runs.
FAULTS ?= tests/faults
# Histories of the queue that `make chaos` compares with a model of it.
QUEUE_EXAMPLES ?= 100
# What `make test-fast` runs, but for tests that are marked as slow or need Postgres.
FAST := tests/spec tests/data tests/training tests/store tests/api/test_jobs.py tests/api/test_sweeps.py \
  tests/api/test_plan.py tests/domain tests/stopping

.DEFAULT_GOAL := help
.PHONY: help setup demo serve test-fast test e2e examples faults chaos fuzz browser generated cluster check bench lock

help: ## List the commands, with the time that each takes on two cores
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-9s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

setup: .venv/installed ## Install everything into .venv

.venv/installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "bestepoch needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) --version 2>&1)." \
	       "Name another one: make setup PYTHON=python3.12" >&2; exit 1; }
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear .venv
	@echo "Installing into .venv; the first time takes minutes."
ifneq ($(strip $(TORCH_INDEX_URL)),)
	$(BIN)/python -m pip install --quiet -c constraints.txt --no-deps --index-url $(TORCH_INDEX_URL) torch
endif
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[dev]'
	@touch $@

demo: setup ## Train on a small table, from upload to download
	$(BIN)/python -m examples.demo

serve: setup ## Start the API and a worker
	$(BIN)/bestepoch serve

test-fast: setup ## Run the quick tests of the core while you work, on SQLite alone (under 1 minute)
	$(PYTEST) -m "not slow and not e2e" -k "not postgres" $(FAST)

test: setup ## Run every test but those of the targets below (4 minutes)
	$(PYTEST) -rs -m "not e2e" $(SUITES:%=--ignore tests/%)

# Files in their order: the default begins those of one long test last, when the other processes have nothing left.
e2e: setup ## Run whole services, child processes, documents, exports, other tests on Postgres, long tests (19 minutes)
	$(PYTEST) --no-loadscope-reorder -rs -m e2e $(SUITES:%=--ignore tests/%)

examples: setup ## Run the tests that take long with all of their examples and cases
	TEST_ALL_EXAMPLES=1 $(PYTEST) --dist load -m sampled

faults: setup ## Kill, stop, fill and cut real processes, and see that nothing is lost (13 minutes)
	$(BIN)/pytest $(FAULTS) -rs

chaos: setup ## Strike at random at a service at work, on either database, and look what is lost (5 minutes)
	TEST_EXAMPLES=$(QUEUE_EXAMPLES) $(PYTEST) --dist load tests/store/test_queue_model.py
	$(BIN)/pytest tests/chaos -s

fuzz: setup ## Make up requests, files and specs, and see that each is answered as documented (3 minutes)
	$(PYTEST) --dist load tests/fuzz

browser: .venv/installed-browser ## Use the dashboard in Chromium (6 minutes)
	$(BIN)/pytest tests/browser -rs

.venv/installed-browser: .venv/installed
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[dev,browser]'
	@touch $@

generated: setup ## Have a public generator build a client from /openapi.json, and use it (half a minute)
	$(BIN)/python -m venv .venv/generator
	.venv/generator/bin/python -m pip install --quiet -r tests/generated/requirements.txt
	$(BIN)/pytest tests/generated -rs

cluster: .venv/installed-cluster ## Use an S3 server, a cluster of Ray and the manifests of Kubernetes (5 minutes)
	$(BIN)/pytest tests/cluster -rs

.venv/installed-cluster: .venv/installed tests/cluster/requirements.txt
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[dev,cluster]'
	$(BIN)/python -m venv .venv/cluster
	.venv/cluster/bin/python -m pip install --quiet -r tests/cluster/requirements.txt
	@touch $@

check: setup ## Lint, check formatting, types and import rules (half a minute)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache --no-logo

bench: setup ## Measure engine, sweeps, latency and recording in one table, then an upload of 1 GB
	$(BIN)/python -m benchmarks
	$(BIN)/python -m benchmarks.upload

lock: setup ## Renew the lock files of the image, after constraints.txt has changed
	$(BIN)/python tools/lock.py
