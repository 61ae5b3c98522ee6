# Everything runs in .venv; nothing is installed anywhere else.
PYTHON ?= python3
BIN := .venv/bin
RUN ?= runs/quickstart

.PHONY: install quickstart test test-all lint format handbook clean

install: .venv/installed

.venv/installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit("lm needs Python 3.11 or newer, found " + sys.version.split()[0] + "; set PYTHON=python3.11" if sys.version_info < (3, 11) else 0)'
	$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[test]'
	touch $@

# Raw text to a model that writes, and a report to look at: about ten minutes on two cores.
quickstart: install
	$(BIN)/lm quickstart --workdir=$(RUN)

# Lint, types and every fast test.
test: lint
	$(BIN)/python -m pytest -n 2 -m "not slow"

test-all: lint
	$(BIN)/python -m pytest -n 2

lint: install
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: install
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# docs/handbook.pdf, its figures drawn from the quickstart run, or from a small one if that was not made.
handbook: install
	$(BIN)/python docs/build.py $(if $(wildcard $(RUN)/manifest.json),--run=$(RUN))

clean:
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache
