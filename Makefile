# Two commands set everything up on a fresh machine: `make run` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
BUDGET ?= 8ms
OUT ?= runs/first

.PHONY: run test install lint types test-gpu docs clean

run: $(STAMP)
	@$(BIN)/nascli doctor
	@$(BIN)/nascli search --constraint latency=$(BUDGET) --out $(OUT)

test: $(STAMP) lint types
	$(BIN)/python -m pytest

lint: $(STAMP)
	$(BIN)/ruff check nascli tests benchmarks examples
	$(BIN)/ruff format --check nascli tests benchmarks examples

types: $(STAMP)
	$(BIN)/mypy

test-gpu: $(STAMP)
	$(BIN)/python -m pytest -m gpu

docs: $(STAMP)
	$(BIN)/mkdocs build --strict

install: $(STAMP)

$(STAMP): pyproject.toml
	test -d $(VENV) || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[cpu,search,docs,dev]'
	touch $(STAMP)

clean:
	rm -rf $(VENV) build dist site .pytest_cache .mypy_cache .ruff_cache
