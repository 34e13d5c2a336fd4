# Mirador. `make` lists the targets.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin

.DEFAULT_GOAL := help
.PHONY: help demo run test check format bench screenshots lock tools clean-demo clean

help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Mirador needs Python 3.11 or newer: make PYTHON=python3.12 ...")'
	@$(PYTHON) -m venv $(VENV) || { echo "python3 -m venv failed: on Debian and Ubuntu install the package python3-venv"; exit 1; }

$(VENV)/.ready: requirements.txt | $(BIN)/python
	@echo "Installing the packages of requirements.txt into $(VENV) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	@touch $@

$(VENV)/.ready-dev: requirements-dev.txt $(VENV)/.ready
	@echo "Installing the packages of requirements-dev.txt into $(VENV) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	@touch $@

demo: $(VENV)/.ready ## Bring up the simulated company and open the dashboard on http://localhost:8501
	@exec $(BIN)/python -m demo

run: $(VENV)/.ready ## Start only the dashboard, on your own systems (MIRADOR_* variables)
	@exec $(BIN)/python -m app serve

tools: ## Install what the tests use beside Python (Prometheus, Alertmanager, Chromium), where that can be done
	@bash .ci/tools

test: $(VENV)/.ready-dev tools ## Set up what is missing and run all tests, with coverage
	$(BIN)/python -m pytest -n 2 --dist loadfile --cov --cov-report=term

check: $(VENV)/.ready-dev ## Format check, lint and types; run it before each commit
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: $(VENV)/.ready-dev ## Format the code and mend what the linter can
	$(BIN)/ruff check --fix-only --quiet .
	$(BIN)/ruff format .

bench: $(VENV)/.ready-dev tools ## Whole-page times in Chromium, as ratios to a page of one chart
	$(BIN)/python -m tests.bench

screenshots: $(VENV)/.ready-dev ## The README's pictures, from the dashboard on http://localhost:8501 (or URL=...)
	@$(BIN)/python -m tests.screenshots $(or $(URL),http://localhost:8501) docs/images

lock: $(VENV)/.ready-dev ## Make the requirements files anew from pyproject.toml
	@$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip compile -q --universal --upgrade --no-header --no-annotate --no-emit-index-url pyproject.toml -o requirements.txt
	$(BIN)/uv pip compile -q --universal --no-header --no-annotate --no-emit-index-url -c requirements.txt --group dev pyproject.toml -o requirements-dev.txt
	$(BIN)/uv pip compile -q --universal --upgrade --no-header --no-annotate --no-emit-index-url --group pyproject.toml:bugsink -o requirements-bugsink.txt

clean-demo: ## Remove the simulated company and its data
	@if [ -x $(BIN)/python ]; then $(BIN)/python -m demo --clean; else rm -rf .demo; fi

clean: clean-demo ## Remove the demo and the environment
	@rm -rf $(VENV) .pytest_cache .ruff_cache .mypy_cache .hypothesis .coverage*
