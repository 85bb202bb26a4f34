# Streamgauge. `make help` lists what there is.
# Needs GNU or BSD make and Python 3.11 or newer; everything else is installed into .venv, from hashes.

VENV ?= .venv
PY := $(VENV)/bin/python
# Modules are compiled when they are first imported: compiling all of them now would take longer than downloading them.
PIP := $(PY) -m pip install --no-input --disable-pip-version-check --require-hashes --progress-bar off --no-compile
MLFLOW_VENV ?= .venv-mlflow
MLFLOW_PIP := $(subst $(VENV)/bin/python,$(MLFLOW_VENV)/bin/python,$(PIP))
UP_FLAGS ?= --demo
FUZZ_S ?= 600
# Tests wait for servers more than they compute: three processes keep two cores busy, each with servers of its own. A file's
# tests stay together, in order, and the long ones, which need a whole system, come first.
TEST_PROCESSES ?= 3
IN_PARALLEL := -n $(TEST_PROCESSES) --dist loadfile --no-loadscope-reorder
# Compiled modules are kept, whatever the shell says: the tests start hundreds of processes.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: help up test proofs fuzz test-fast lint bench train docs-check docs css requirements screenshots clean venv-up venv-dev venv-mlflow
.DEFAULT_GOAL := help

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1 - \2/p' Makefile

up: venv-up ## run everything on this machine until Ctrl-C (without simulated stations: make up UP_FLAGS=--no-demo)
	@exec $(PY) -m embedded up $(UP_FLAGS) --with-parent

test: lint ## linters and types, then every test that needs no container engine
	@$(PY) -m pytest -m "not slow" $(IN_PARALLEL)

proofs: venv-dev ## the long proofs: a hundred power cuts, thousands of damaged files, training to the byte; CI runs them too
	@$(PY) -m pytest -m slow
	@$(PY) -m tests.property.hammer_payloads 1000000

fuzz: venv-dev ## schemathesis against the API's document for ten minutes (FUZZ_S=60 for one)
	@$(PY) -m tests.property.fuzz_api $(FUZZ_S)

test-fast: venv-dev ## unit, contract and property tests: seconds, no servers
	@$(PY) -m pytest -q -m "not slow" tests/unit tests/property tests/contract tests/architecture

lint: venv-dev docs-check ## ruff, formatting, mypy strict, import-linter
	@$(PY) -m ruff check .
	@$(PY) -m ruff format --check .
	@$(PY) -m mypy
	@$(VENV)/bin/lint-imports --no-cache

docs-check: venv-dev ## documentation against code
	@$(PY) -m pytest -q tests/architecture

bench: venv-dev ## benchmarks, as JSON lines on standard output
	@$(PY) -m tests.benchmarks

train: venv-dev ## the default model from recorded data, the same to the byte each time
	@$(PY) -m streamgauge.scoring.train
	@$(PY) -m streamgauge.scoring.calibrating

docs: venv-dev ## the tables of settings and metrics from the code
	@$(PY) -m tests.architecture.write_docs

css: ## the style sheet and vendored scripts from their sources (needs Node; the results are committed)
	@npm ci --no-fund --no-audit
	@npm run css
	@npm run vendor

requirements: venv-dev ## requirements/*.txt anew from requirements/*.in
	@requirements/compile

PICTURES := screenshots flood gateway_page models_page
screenshots: venv-dev ## docs/screenshots anew, by the end-to-end tests that look at pages (needs Chromium)
	@rm -f docs/screenshots/*.png docs/screenshots/*.webp
	@STREAMGAUGE_TEST_SCREENSHOTS=docs/screenshots $(PY) -m pytest -q $(PICTURES:%=tests/e2e/test_%.py)

clean: ## delete what can be made again; data in .streamgauge stays
	@rm -rf $(VENV) $(MLFLOW_VENV) .mypy_cache .ruff_cache .import_linter_cache node_modules .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

# A virtual environment made by the first Python that is new enough. 3.12 and 3.11 come first: for them there is an embedded
# Redis; for newer ones the machine must have one.
$(PY):
	@for python in $$PYTHON python3.12 python3.11 python3 python3.13 python3.14 python; do \
	  if command -v "$$python" >/dev/null 2>&1 && "$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	    echo "Making $(VENV) with $$("$$python" --version) ($$(command -v "$$python"))"; \
	    if "$$python" -m venv --clear $(VENV); then exit 0; fi; \
	    rm -rf $(VENV); \
	    echo; \
	    echo "This Python cannot make virtual environments. On Debian and Ubuntu: sudo apt-get install python3-venv. Then: make $(MAKECMDGOALS)"; \
	    exit 1; \
	  fi; \
	done; \
	echo "Streamgauge needs Python 3.11 or newer and found none. Install it, or name it: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)"; \
	exit 1

# What is installed is remembered as a copy of the list it was installed from: nothing happens while the list stays the same.
venv-up: $(PY)
	@cmp -s requirements/up.txt $(VENV)/up.installed || cmp -s requirements/dev.txt $(VENV)/dev.installed || { \
	  echo "Installing what Streamgauge needs into $(VENV) (the first time: about 150 MB, a minute or two)" >&2; \
	  $(PIP) -r requirements/up.txt >&2 && cp requirements/up.txt $(VENV)/up.installed; }

venv-dev: $(PY)
	@cmp -s requirements/dev.txt $(VENV)/dev.installed || { \
	  echo "Installing what Streamgauge and its tests need into $(VENV)" >&2; \
	  $(PIP) -r requirements/dev.txt >&2 && cp requirements/dev.txt $(VENV)/dev.installed; }

venv-mlflow: $(PY) ## the servers that the MLflow test starts, in a virtual environment of their own (about 700 MB)
	@cmp -s requirements/mlflow-server.txt $(MLFLOW_VENV)/installed || { \
	  echo "Installing an MLflow server for the tests into $(MLFLOW_VENV)" >&2; \
	  $(PY) -m venv --clear $(MLFLOW_VENV) && $(MLFLOW_PIP) -r requirements/mlflow-server.txt >&2 && \
	  cp requirements/mlflow-server.txt $(MLFLOW_VENV)/installed; }
