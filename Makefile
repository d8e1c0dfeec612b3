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
	$(BIN)/python -m pytest -n 2 --dist loadfile

lint: $(STAMP)
	$(BIN)/ruff check nascli tests benchmarks examples
	$(BIN)/ruff format --check nascli tests benchmarks examples

types: $(STAMP)
	$(BIN)/mypy

# An environment of its own: onnxruntime and onnxruntime-gpu share a folder. Fails where no test ran.
test-gpu:
	test -d .venv-gpu || $(PYTHON) -m venv .venv-gpu
	.venv-gpu/bin/python -m pip install --quiet --editable '.[gpu,tensorrt,search,dev]'
	.venv-gpu/bin/python -m pytest -m gpu -rs --junit-xml=.venv-gpu/report.xml
	.venv-gpu/bin/python -c "import xml.etree.ElementTree as E; s = E.parse('.venv-gpu/report.xml').getroot().find('testsuite').attrib; assert int(s['tests']) > int(s['skipped']), 'every test was skipped: no card, or its packages are missing'"

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
