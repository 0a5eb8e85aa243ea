# `make` lists what can be made.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export HF_HUB_OFFLINE ?= 1
export PREFECT_SERVER_ANALYTICS_ENABLED := false
export DO_NOT_TRACK := 1

.DEFAULT_GOAL := help
.PHONY: help install demo test check acceptance clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(VENV)/installed ## .venv with everything pinned in constraints.txt

$(VENV)/installed: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev,distill]"
	touch $@

demo: install ## the main job, offline, on the built-in miniatures: a dataset in out/demo and its report
	$(BIN)/limbeck run recipes/storybook-edits.toml --out out/demo

test: install ## the test suite, offline
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile

check: install ## what CI runs, and style
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(MAKE) test

acceptance: install ## the longer proofs: kills, servers, the demo
	$(BIN)/python -m pytest tests/acceptance -m acceptance --timeout=3600

clean: ## forget builds and caches, keep .venv
	rm -rf out .pytest_cache .ruff_cache build dist *.egg-info
