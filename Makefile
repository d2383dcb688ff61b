# The commands that people and scripts rely on; `make help` lists them. Written for GNU Make 3.81, which macOS ships.

VENV := .venv
BIN := $(VENV)/bin
# A Python that pyproject.toml admits and that can make an environment; `make PYTHON=/path/to/python sweep` names another.
PYTHON ?= $(shell for python in python3 python3.13 python3.12 python3.11; do \
	"$$python" -c 'import ensurepip, sys, venv; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null \
	&& command -v "$$python" && break; done)
# The build backend is held to the same pins as what it builds.
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --build-constraint constraints.txt
# A report of pip as pins. CUDA libraries exist on Linux alone; a local build such as +cpu is left for each machine to choose.
PINS := import json, sys; \
	names = {p["metadata"]["name"]: p["metadata"]["version"].split("+")[0] for p in json.load(sys.stdin)["install"]}; \
	names.pop("sweeproute"); \
	mark = lambda name: " ; sys_platform == \"linux\"" if name.startswith(("nvidia", "cuda", "triton")) else ""; \
	print(*(f"{name}=={names[name]}{mark(name)}" for name in sorted(names, key=str.lower)), sep="\n")

.DEFAULT_GOAL := help
.PHONY: help sweep test lint format faults bench constraints clean

help: ## list these commands
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-14s%s\n", $$1, $$2 }' Makefile

sweep: $(VENV)/.runtime ## sweep XGBoost's search space on the embedded data
	$(BIN)/python train.py -m model=xgboost

test: $(VENV)/.dev ## run the test suite
	$(BIN)/python -m pytest -n 3 --dist loadfile

lint: $(VENV)/.dev ## check style, format and types
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

format: $(VENV)/.dev ## rewrite the code in the project's format
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

faults: $(VENV)/.dev ## run every fault of a far machine 20 times under a grid and under a search, and print tables (Linux, root; it takes hours)
	$(BIN)/python tests/faults.py
	$(BIN)/python tests/faults.py --search

bench: $(VENV)/.dev ## measure the figures that the README states (the closed lid takes 10 min, kills and starts at once 30)
	@set -e; for script in benchmarks/[!_]*.py; do echo "$$script"; $(BIN)/python "$$script"; done

constraints: $(VENV)/.pip ## resolve pyproject.toml anew and rewrite the pins
	$(BIN)/python -m pip install --quiet --dry-run --ignore-installed --report $(VENV)/report.json pip --editable . --group dev
	sed -n '/^#/p' constraints.txt > $(VENV)/constraints.txt
	$(BIN)/python -c '$(PINS)' < $(VENV)/report.json >> $(VENV)/constraints.txt
	mv $(VENV)/constraints.txt constraints.txt

clean: ## remove the environment and caches, never results
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis

# Each stamp is written last, so that an interrupted install is completed by the next command.
$(VENV)/.pip: constraints.txt
	@test -n "$(PYTHON)" || { echo "sweeproute needs Python 3.11, 3.12 or 3.13 with its venv module, and none is on the PATH; install one (Debian: apt-get install python3-venv; macOS: brew install python@3.13) or name it: make PYTHON=/path/to/python $(MAKECMDGOALS)" >&2; exit 1; }
	@$(BIN)/python -m pip --version > /dev/null 2>&1 || "$(PYTHON)" -m venv --clear $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt pip
	@touch $@

$(VENV)/.runtime: $(VENV)/.pip pyproject.toml
	@echo "Installing the pinned packages into $(VENV); the first time takes some minutes."
	$(INSTALL) --editable .
	@touch $@

$(VENV)/.dev: $(VENV)/.runtime
	$(INSTALL) --group dev
	@touch $@
