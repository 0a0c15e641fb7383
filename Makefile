# Every target sets itself up in .venv; nothing outside this folder is needed but Python 3.11+, make and git.
.DEFAULT_GOAL := help
SHELL := /bin/bash
VENV := .venv/bin
INPUTS := pyproject.toml constraints.txt scripts/setup tests/js/package.json

.venv/.ready-bench: $(INPUTS)
	@scripts/setup bench

.PHONY: help demo test check bench clean format

help: ## show this list
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

.venv/.ready-run: $(INPUTS)
	@scripts/setup run

.venv/.ready-dev: $(INPUTS)
	@scripts/setup dev

demo: .venv/.ready-run ## five simulated nodes behind a gateway, and what happens to them
	@$(VENV)/nodegate demo

# With PYTHONDONTWRITEBYTECODE set, each of the many processes of the tests would compile nodegate anew.
test: .venv/.ready-dev ## all tests
	@PYTHONDONTWRITEBYTECODE= $(VENV)/pytest -n 3 --dist worksteal $(ARGS)

check: .venv/.ready-dev ## types, style, import law
	@$(VENV)/ruff format --check .
	@$(VENV)/ruff check .
	@$(VENV)/mypy
	@$(VENV)/lint-imports --no-logo

format: .venv/.ready-dev ## put the code into its form
	@$(VENV)/ruff format .
	@$(VENV)/ruff check --fix .

bench: .venv/.ready-bench ## figures, as a table and in bench/results/
	@$(VENV)/python -m bench $(ARGS)

clean: ## remove everything that these targets made
	@rm -rf .venv .cache build dist tests/js/node_modules .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
