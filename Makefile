# Each target works alone on a fresh clone with Python 3.11 or newer, pip and make.

PYTHON ?= python3
BIN := .venv/bin
# Where pip finds torch, to pick another build of it (CPU or a CUDA version); empty: where it finds the rest.
TORCH_INDEX_URL ?=
# Test processes at once: one a core, four at most.
TEST_PROCESSES ?= auto

.DEFAULT_GOAL := help
.PHONY: help setup demo serve test faults chaos fuzz browser generated check bench lock

help: ## List the commands
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-9s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

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

test: setup ## Run every test but those of the five targets below
	$(BIN)/pytest -n $(TEST_PROCESSES) --maxprocesses 4 --dist loadfile -rs \
	  --ignore tests/faults --ignore tests/chaos --ignore tests/fuzz --ignore tests/browser \
	  --ignore tests/generated

faults: setup ## Kill, stop, fill and cut real processes, and see that nothing is lost
	$(BIN)/pytest tests/faults -rs

chaos: setup ## Strike at random at a service at work, on either database, and look what is lost
	TEST_EXAMPLES=100 $(BIN)/pytest tests/store/test_queue_model.py
	$(BIN)/pytest tests/chaos -s

fuzz: setup ## Make up requests, files and specs, and see that each is answered as documented
	$(BIN)/pytest -n $(TEST_PROCESSES) --maxprocesses 4 tests/fuzz

browser: setup ## Use the dashboard in Chromium
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[dev,browser]'
	$(BIN)/pytest tests/browser -rs

generated: setup ## Have a public generator build a client from /openapi.json, and use it
	$(BIN)/python -m venv .venv/generator
	.venv/generator/bin/python -m pip install --quiet -r tests/generated/requirements.txt
	$(BIN)/pytest tests/generated -rs

check: setup ## Lint, check formatting, types and import rules
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache --no-logo

bench: setup ## Measure engine, sweeps, latency and recording in one table, then quality and an upload of 1 GB
	$(BIN)/python -m benchmarks
	$(BIN)/python -m benchmarks.quality
	$(BIN)/python -m benchmarks.upload

lock: setup ## Renew the lock files of the image, after constraints.txt has changed
	$(BIN)/python tools/lock.py
