# Two commands: `make demo` runs the whole product on this machine, `make test` checks it.
# Both set up .venv on first use and work without a network afterwards.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
CASE ?= finance medical ecommerce
# Test processes at once, one CPU thread each.
TEST_PROCESSES ?= 2

.PHONY: help setup demo test lint docs support clean
.DEFAULT_GOAL := help

help:
	@echo "make demo [CASE=finance]   scaffold, train, evaluate and report on the embedded tiny model"
	@echo "make test                  lint, types and tests"

setup: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11) and 'casekit needs Python 3.11 or newer')"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[dev]"
	@touch $@

# Every case runs to its report, also after one that fails; the exit code is the last failure's.
demo: setup
	@status=0; \
	for case in $(CASE); do \
	  echo; echo "== $$case"; \
	  rm -rf build/demo/$$case && \
	  $(BIN)/casekit new build/demo/$$case --recipe $$case --defaults --quiet && \
	  $(BIN)/casekit run --project build/demo/$$case || status=$$?; \
	  case $$status in 75|130) exit $$status;; esac; \
	done; \
	echo; $(BIN)/casekit reports $(CASE:%=build/demo/%) && exit $$status

test: setup lint
	OMP_NUM_THREADS=1 $(BIN)/pytest -n $(TEST_PROCESSES) --dist worksteal

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: setup
	$(BIN)/python -m kit.config.reference > docs/reference/configuration.md
	$(BIN)/casekit config --schema > template/conf/schema.json
	$(BIN)/python -m kit.report.contract
	$(BIN)/python -m kit.report.schema_page > docs/reference/report-json.md

# Trains every stage with every method, a few steps each, and writes the support page from what it found;
# PART is an expression of pytest's -k for some of them, such as PART="grpo or is_refused_with".
PART ?= test
support: setup
	CASEKIT_RECORD_SUPPORT=docs/reference/support.json OMP_NUM_THREADS=1 $(BIN)/pytest -q \
	  tests/train/test_train_support.py -k "(trains or refused or two_processes) and ($(PART))"
	$(BIN)/python -m kit.config.support_page docs/reference/support.json > docs/reference/support.md

clean:
	rm -rf build .mypy_cache .pytest_cache .ruff_cache
