# Poterne: everything a person or a machine does with this tree. `make` lists it.
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
SHELL := /bin/bash
MAKEFLAGS += --no-print-directory

PYTHON := .venv/bin/python
PLUGINS := $(wildcard plugins/*)
# One stamp for each state of what decides the environment: the lock, and what is installed editable.
STAMP := .stamps/$(shell cat requirements-dev.lock pyproject.toml plugins/*/pyproject.toml | sha256sum | cut -c1-16).ready
ARGS ?=
JOBS ?= 2
PORT ?= 8000

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' Makefile

.PHONY: setup
setup: $(STAMP) ## make .venv with everything, and .venv/bin/idp
	@:
ifeq ($(wildcard .venv/bin/idp),)
.PHONY: $(STAMP)
endif
$(STAMP):
	@.ci/setup $@

.PHONY: run
run: setup ## run the provider on loopback with what is configured
	@.venv/bin/idp serve

.PHONY: demo demo-stop demo-reset
demo: ## run a demonstration office on http://localhost:8000 (PORT= moves it)
	@.ci/system demo
	@$(MAKE) setup
	@PORT=$(PORT) $(PYTHON) docs/examples/demo.py start
demo-stop: setup ## end the demonstration office
	@PORT=$(PORT) $(PYTHON) docs/examples/demo.py stop
demo-reset: setup ## empty the demonstration office
	@PORT=$(PORT) $(PYTHON) docs/examples/demo.py reset

.PHONY: test test-fast
test: ## run the whole suite: both databases, real tokens, a real browser (ARGS= for pytest)
	@.ci/system test
	@$(MAKE) setup
	@$(PYTHON) -m pytest -n $(JOBS) --dist loadgroup $(ARGS)
test-fast: setup ## run the tests of the modules that decide, a minute at most (ARGS= for pytest)
	@$(PYTHON) -m pytest tests/unit tests/test_architecture.py -n $(JOBS) --dist loadgroup $(ARGS)

.PHONY: bench
bench: ## say how to measure a running provider
	@echo "Start a provider (make run), add a client (idp client add) and an account (idp account add),"
	@echo "then drive authorize, token and UserInfo with a load generator of your own; compare one core with one core."

.PHONY: lint
lint: setup ## check style, format and floors
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check .
	@.venv/bin/lint-imports --no-logo

# Each plugin is checked by itself: the folders of their tests have the same name.
.PHONY: types
types: setup ## check types, strictly
	@.venv/bin/mypy idp conftest.py tests
	@for plugin in $(PLUGINS); do .venv/bin/mypy --cache-dir .mypy_cache/$${plugin##*/} $$plugin || exit; done

.PHONY: docs
docs: setup ## write the reference pages anew from the settings and rules that they describe
	@$(PYTHON) docs/reference/write.py

.PHONY: lock
lock: setup ## resolve the dependencies anew where a pyproject.toml changed (ARGS=--upgrade for the newest of all)
	@for name in requirements requirements-dev; do \
	  .venv/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	    --no-header --no-annotate --no-emit-package poterne-idp $(ARGS) -o $$name.lock \
	    $$([ $$name = requirements ] || echo --group dev) pyproject.toml plugins/*/pyproject.toml || exit; \
	done

.PHONY: trace
trace: setup ## print the table requirement -> tests, and what has none
	@$(PYTHON) tests/trace_requirements.py

.PHONY: clean
clean: ## remove what make made; data in var stays
	@rm -rf .venv .stamps .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis dist var/test-failures
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
