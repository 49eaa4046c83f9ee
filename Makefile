# make demo: set everything up and step through a small model.   make test: set everything up and run the tests.
# make bench: set everything up and measure what recording costs.   make docs: set everything up and build the site.
# make test-triton: the kernel for accelerators, interpreted and compiled (on Linux; Triton takes 1 GB).
# make test-oldest, make test-newest: the tests with the lowest versions that pyproject.toml declares, and with the newest.
VENV ?= .venv
PYTHON ?= python3
BIN := $(VENV)/bin
export HF_HUB_OFFLINE ?= 1

SETTLED := -m pip install --quiet --disable-pip-version-check

.PHONY: demo test test-all test-triton test-oldest test-newest lint bench docs docs-links clean

demo: $(VENV)/.installed
	@$(BIN)/tftrace demo

test: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -n 2 --dist worksteal

test-all: $(VENV)/.installed-dev $(VENV)/.installed-triton
	$(BIN)/python -m pytest -n 2 --dist worksteal -m ""

test-triton: $(VENV)/.installed-dev $(VENV)/.installed-triton
	$(BIN)/python -m pytest -m "" tests/capture/measure/test_fused.py

test-oldest:
	$(PYTHON) -m venv --clear .venv-oldest
	.venv-oldest/bin/python $(SETTLED) -c constraints-oldest.txt -e '.[dev]'
	.venv-oldest/bin/python -m pytest -n 2 --dist worksteal

test-newest: # but for torch, whose newest may be a build of gigabytes
	$(PYTHON) -m venv --clear .venv-newest
	.venv-newest/bin/python $(SETTLED) $(shell grep ^torch constraints.txt) -e '.[dev]'
	.venv-newest/bin/python -m pytest -n 2 --dist worksteal

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(VENV)/.installed-bench
	$(BIN)/python -m tests.benchmarks --markdown docs/performance.md

docs: $(VENV)/.installed-docs
	$(BIN)/python -m sphinx -W --keep-going -q -b html docs docs/_build
	@echo "The site is in docs/_build/index.html"

docs-links: $(VENV)/.installed-docs
	$(BIN)/python -m sphinx -b linkcheck docs docs/_build/links

clean:
	rm -rf $(VENV) .venv-oldest .venv-newest

$(BIN)/python:
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: $(BIN)/python pyproject.toml constraints.txt hatch_build.py $(wildcard tftrace/*/*.[ch] tftrace/*/*/*.[ch])
	@echo "Setting up $(VENV), once: torch and transformers take a minute or two."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

$(VENV)/.installed-triton: $(VENV)/.installed
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[triton]'
	@touch $@

$(VENV)/.installed-docs: $(VENV)/.installed
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[docs]'
	@touch $@

$(VENV)/.installed-bench: $(VENV)/.installed
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[bench]'
	@touch $@
