# Everything needs only Python 3.11+ and make; what else is needed is installed into .venv and .tools.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip --disable-pip-version-check --quiet
QUIX   := .tools/quix
JOBS   ?= 2

.DEFAULT_GOAL := help
.PHONY: help run test check format typecheck simulate bench chart e2e clean

help: ## show this
	@awk -F ':.*## ' '/^[a-z0-9]+:.*## / {printf "  \033[1mmake %-10s\033[0m %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: $(VENV)/.run ## start everything with a simulated campaign, until Ctrl-C
	@exec $(BIN)/callbreaker demo

test: $(VENV)/.dev ## run every test: real Kafka, real processes, real Chromium; JOBS=2 at a time
	@scripts/ensure-chromium.sh
	@$(BIN)/python -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder $(PYTEST_ARGS)

e2e: $(VENV)/.dev ## run only the tests that start the service as a process
	@$(BIN)/python -m pytest -m end_to_end $(PYTEST_ARGS)

simulate: $(VENV)/.dev ## worlds that crash, sleep and repeat: SEEDS=5000 START=0; TRACE=1 shows each step
	@$(BIN)/python -m tests.simulation --seeds $(or $(SEEDS),5000) --start $(or $(START),0) $(if $(TRACE),--trace)

check: $(VENV)/.dev ## lint, types and the arrows between the parts
	@$(BIN)/ruff format --check --quiet . || { echo "make format would change files"; exit 1; }
	@$(BIN)/ruff check --quiet .
	@$(BIN)/mypy --no-error-summary
	@$(BIN)/lint-imports | tail -n 1

format: $(VENV)/.dev ## put the code into its form
	@$(BIN)/ruff check --quiet --fix . ; $(BIN)/ruff format --quiet .

typecheck: $(VENV)/.dev ## types only
	@$(BIN)/mypy

bench: $(VENV)/.dev $(QUIX)/.ready ## measure, each figure against its own yardstick in the same run
	@$(BIN)/python -m compileall -q consumer handlers benchmarks # as where it is installed
	@$(BIN)/python -m benchmarks $(BENCH_ARGS)

chart: $(VENV)/.dev ## lint the helm chart and check what it renders (needs Go)
	@scripts/chart.sh

clean: ## remove what the other targets made
	@rm -rf $(VENV) .tools .callbreaker build *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed: make PYTHON=python3.12 …"; exit 1; }
	@echo "· making the environment in $(VENV)"
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.run: $(VENV)/bin/python pyproject.toml constraints.txt
	@echo "· installing packages"
	@$(PIP) install -c constraints.txt -e .
	@$(BIN)/python -m compileall -q consumer handlers
	@echo "· getting Apache Kafka"
	@$(BIN)/python -c 'import asyncio; from consumer.kafka.embedded import prepare; asyncio.run(prepare())'
	@touch $@

$(VENV)/.dev: $(VENV)/.run
	@echo "· installing what tests and checks need"
	@$(PIP) install -c constraints.txt -e '.[dev]'
	@touch $@

# Of its own: what we are compared with needs an older pydantic than we do.
$(QUIX)/.ready: $(BIN)/python benchmarks/constraints.txt
	@echo "· installing what the benchmarks compare with"
	@$(PYTHON) -m venv $(QUIX)
	@$(QUIX)/bin/python -m pip --disable-pip-version-check --quiet install -c benchmarks/constraints.txt quixstreams
	@touch $@
