# `make` lists the targets. Each makes .venv and installs what it needs; PYTHON chooses the interpreter.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
DEMO := demo-runs

.DEFAULT_GOAL := help
.PHONY: help demo test check bench test-gpu lowest

help:  ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*##/\t/' | expand -t 12

demo: $(STAMP)  ## the whole pipeline on the embedded world: elicit, distil six strategies, one table (RESUME=1 keeps what is done)
	@test -n "$(RESUME)" || rm -rf $(DEMO)
	$(BIN)/cotdistill ablate --config examples/demo.yaml --out $(DEMO) > $(DEMO).jsonl

test: $(STAMP)  ## the whole test suite
	$(BIN)/python -m pytest -n 2 --dist loadscope --no-loadscope-reorder

check: $(STAMP)  ## ruff, mypy, and the rooms' layers
	$(BIN)/ruff check cotdistill tests examples
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(STAMP)  ## the benchmarks, against the peers that are installed (NAME=training for one)
	$(BIN)/python -m tests.benchmarks $(NAME)

test-gpu: $(STAMP)  ## the tests that need a CUDA device
	$(BIN)/python -m pytest -m gpu

lowest: $(STAMP)  ## the command line with the oldest versions of everything that pyproject.toml allows
	.ci/lowest

$(STAMP): pyproject.toml tests/constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade pip
	$(BIN)/pip install --quiet -c tests/constraints.txt torch
	$(BIN)/pip install --quiet -c tests/constraints.txt -e '.[dev]'
	touch $@
