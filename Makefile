# Everything that a developer types. `make help` lists it.
# The first use of a command builds the environment that it needs from pinned constraints; later uses start at once.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

# The oldest Python that serves, then newer ones; the shell decides, so that a broken shim is passed over.
ifndef PYTHON
PYTHON := $(shell for p in python3.11 python3.12 python3.13 python3; do \
	if $$p -c 'import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null; \
	then echo $$p; break; fi; done)
endif

# One environment for Roadworthy itself, one that has the agent frameworks, too, one with what benchmarks compare with.
CORE := .venv
FRAMEWORKS := .venv-frameworks
BENCH := .venv-bench
BIN := $(CORE)/bin
FBIN := $(FRAMEWORKS)/bin
BBIN := $(BENCH)/bin
QUIET_PIP := --quiet --quiet --disable-pip-version-check --no-input --no-deps

# `make demo FRAMEWORK=langgraph` (or autogen, crewai, openai-agents, pydantic-ai, agent-framework) drives the same desk through that framework.
FRAMEWORK ?= plain
DEMO_ENV := $(if $(filter plain,$(FRAMEWORK)),$(CORE),$(FRAMEWORKS))

.PHONY: help demo test check bench bench-peers check-bench others docs test-frameworks check-frameworks real-model format constraints clean nightly

help: ## List the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-17s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(DEMO_ENV)/.installed ## Watch a support agent pass and fail its road test (FRAMEWORK=plain|langgraph|autogen|crewai|openai-agents|pydantic-ai|agent-framework)
	@$(DEMO_ENV)/bin/roadworthy demo $(if $(filter plain,$(FRAMEWORK)),,--framework $(FRAMEWORK))
	@echo "The command is $(DEMO_ENV)/bin/roadworthy; 'source $(DEMO_ENV)/bin/activate' puts it on your PATH."

test: $(CORE)/.installed ## Run the tests that need no agent framework
	@$(BIN)/python -m pytest $(ARGS)

check: $(CORE)/.installed ## Lint, format, types, floors, docstrings and documentation site
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-cache
	$(BIN)/interrogate src
	$(BIN)/pyright
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet --site-dir site

nightly: $(CORE)/.installed ## Kill jobs and writers at random moments and fail their disk (ROADWORTHY_KILLS=N)
	@ROADWORTHY_KILLS=$${ROADWORTHY_KILLS:-200} $(BIN)/python -m pytest tests/gate/test_kill.py
	@ROADWORTHY_KILLS=$${ROADWORTHY_KILLS:-50} $(BIN)/python -m pytest tests/ledger/test_disasters.py

bench: $(CORE)/.installed ## Run every benchmark; fails when one cannot run
	@$(BIN)/python bench/run.py

bench-peers: $(BENCH)/.installed ## Run the benchmarks that need other worlds and peers (AgentDojo, other gates)
	@$(BBIN)/python bench/run.py --peers

real-model: $(FRAMEWORKS)/.installed ## Play the desk with a real model, gate off and on (ROADWORTHY_MODEL_BASE_URL, ROADWORTHY_MODEL; ARGS=--help)
	@PYTHONPATH=bench $(FBIN)/python -W ignore -m real_model $(ARGS)

check-bench: $(BENCH)/.installed ## Types of what imports AgentDojo
	$(BIN)/pyright -p pyright.bench.json

others: $(FRAMEWORKS)/.installed ## Fetch other people's agents and play what goes wrong with them, with the gate off and on
	@$(FBIN)/python bench/others/fetch.py
	@$(FBIN)/python bench/others/run.py $(ARGS)

docs: $(CORE)/.installed ## Write the help pages anew and build the documentation into site/
	$(BIN)/python tools/help_pages.py
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --site-dir site

test-frameworks: $(FRAMEWORKS)/.installed ## Run the tests of what needs an agent framework
	@$(FBIN)/python -m pytest -m frameworks $(ARGS)

check-frameworks: $(FRAMEWORKS)/.installed ## Types of what imports an agent framework
	$(FBIN)/pyright -p pyright.frameworks.json

format: $(CORE)/.installed ## Format and mend what can be mended
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

constraints: $(CORE)/.installed ## Pin again, to the newest versions that fit together (UPGRADE= keeps what stands)
	$(BIN)/uv pip compile pyproject.toml --extra test --extra postgres --extra parquet --extra otel --extra dev --extra docs $(COMPILE) -o constraints/core.txt
	$(BIN)/uv pip compile pyproject.toml --extra all --extra dev --extra dev-frameworks $(COMPILE) -o constraints/frameworks.txt
	$(BIN)/uv pip compile pyproject.toml bench/requirements.in $(COMPILE) -o constraints/bench.txt

UPGRADE ?= --upgrade
COMPILE := --universal --python-version 3.11 --no-emit-index-url --no-header --no-annotate --quiet $(UPGRADE)

clean: ## Remove the environments and everything that was built
	rm -rf $(CORE) $(FRAMEWORKS) $(BENCH) site build dist .pytest_cache .ruff_cache .hypothesis .import_linter_cache

# An environment is up to date when its stamp is newer than the pins and the project's own metadata.
%/.installed: pyproject.toml
	@if [ -z "$(PYTHON)" ]; then \
		echo "Roadworthy needs Python 3.11, 3.12 or 3.13 with venv, and none was found on the PATH." >&2; \
		echo "Install one (Debian: apt-get install python3.11 python3.11-venv), or name it: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)" >&2; \
		exit 1; fi
	@echo "Installing into $(@D) from $(filter constraints/%,$^) ..."
	@$(PYTHON) -m venv $(@D)
	@$(@D)/bin/python -m pip install $(QUIET_PIP) -r $(filter constraints/%,$^)
	@$(@D)/bin/python -m pip install $(QUIET_PIP) --no-build-isolation --editable .
	@touch $@

$(CORE)/.installed: constraints/core.txt
$(FRAMEWORKS)/.installed: constraints/frameworks.txt
$(BENCH)/.installed: constraints/bench.txt
