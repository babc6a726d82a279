# Everything here needs Python 3.11 or newer (with pip) and make; `make install` brings the rest.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Extras of setup.cfg that are installed; a build machine adds `ci`.
EXTRAS ?= dev
comma := ,
INSTALLED := $(VENV)/.installed$(if $(filter-out dev,$(EXTRAS)),-$(subst $(comma),-,$(EXTRAS)))

# TensorFlow's start-up messages are of no use in a test log or a demo.
export TF_CPP_MIN_LOG_LEVEL ?= 3

# One process a core; the tests of a file stay together, for what they share.
PARALLEL := --numprocesses auto --dist loadfile

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help install demo notebook notebooks test test-fast test-slow test-nightly check lint doctest docs dist format clean

help:  ## Show this list
	@sed -n 's/^\([a-z-]*\):.*## /\1|/p' $(MAKEFILE_LIST) | awk -F'|' '{printf "make %-12s %s\n", $$1, $$2}'

install: $(INSTALLED)  ## Prepare .venv with kerasrec and its tools

# The stamp is written last, so an interrupted installation is taken up again, and nothing needs
# the network once it is there.
$(INSTALLED): setup.cfg pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info; v >= (3, 11) or sys.exit("kerasrec needs Python 3.11 or newer; $(PYTHON) is %d.%d. Try: make install PYTHON=python3.11" % v[:2])'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --disable-pip-version-check --editable ".[$(EXTRAS)]"
	@touch $@

demo: install  ## Real data to a verified, servable model
	$(BIN)/kerasrec demo

# JupyterLab is for people; tests and rendering do without.
notebook: install  ## Open the notebooks in JupyterLab
	@$(BIN)/python -c 'import jupyterlab' 2>/dev/null || $(BIN)/python -m pip install --disable-pip-version-check jupyterlab
	$(BIN)/jupyter lab notebooks

notebooks: install  ## Execute the notebooks, half an hour, into docs/notebooks
	$(BIN)/python notebooks/render.py

test: test-fast test-slow  ## All tests but the nightly ones

test-fast: install  ## Tests of some seconds at most
	$(BIN)/python -m pytest -m "not slow and not nightly" $(PARALLEL)

test-slow: install  ## The long ones: real trainings, fresh processes
	$(BIN)/python -m pytest -m "slow and not nightly" $(PARALLEL)

test-nightly: install  ## What is long and rarely breaks
	$(BIN)/python -m pytest -m nightly $(PARALLEL)

check: lint doctest docs test  ## Style, types, examples in the docstrings, documentation, tests

lint: install  ## Style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

doctest: install  ## Examples in the docstrings
	$(BIN)/python -m pytest --doctest-modules --durations=0 kerasrec

docs: install  ## Build the documentation to build/site, warnings as errors
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict
	@echo "Open build/site/index.html; with search: $(BIN)/python -m http.server --directory build/site"

# From the environment, not from the index: what builds is what `make install` has brought.
dist: install  ## Build a wheel and a source distribution to dist
	rm -rf dist
	$(BIN)/python -m build --no-isolation

format: install  ## Rewrite the sources in the project's style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:  ## Remove the environment and what the tools left behind
	rm -rf $(VENV) build dist runs served *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
