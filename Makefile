# One short command per chore; .ci/run calls the same ones.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
SUDO := $(if $(filter-out 0,$(shell id -u)),sudo -n)

.PHONY: help sweep test browser pictures check format install lock clean

help:  ## List the chores
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/'

sweep: $(READY)  ## Install what is missing and run the quickstart sweep on generated data
	$(BIN)/python -m shapeft_tune sweep search_spaces/quickstart.yaml

test: $(READY) browser  ## Install what is missing and run the whole test suite
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder $(ARGS)

# Without a browser the tests of pages are left out, and say so: no failure here may fail `make test`.
browser:  ## Install Chromium for the tests of pages, where apt-get and the right to use it are there
	@command -v chromium || command -v google-chrome || test -n "$$SHAPEFT_CHROMIUM" || \
	{ $(SUDO) apt-get update -qq && $(SUDO) apt-get install -y -qq --no-install-recommends chromium fonts-dejavu-core; } || \
	echo "No browser was installed: install Chromium yourself, or set SHAPEFT_CHROMIUM to one"

pictures: $(READY) browser  ## Make the README's pictures from the quickstart in runs/
	$(BIN)/python -m tests.ui.pictures

check: $(READY)  ## Format, lint, types, and the direction of imports
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -q tests/test_layers.py

format: $(READY)  ## Rewrite the code in the project's format
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

install: $(READY)  ## Create .venv from the lock file

# The stamp is newer than both files when nothing is to be done.
$(READY): requirements-dev.lock pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	$(BIN)/uv pip sync --quiet --python $(BIN)/python --require-hashes requirements-dev.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --editable .
	touch $(READY)

# The environment for development first: the smaller one then has the same versions.
lock: $(READY)  ## Resolve the dependencies anew
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
		--group dev pyproject.toml --output-file requirements-dev.lock
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
		--constraints requirements-dev.lock pyproject.toml --output-file requirements.lock

clean:  ## Remove the environment and caches; results in runs/ stay
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .hypothesis
