# Every target makes what it needs: on a machine with Python 3.11+ and make, nothing else is to be installed first.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
SEEDS  ?= 1000
MINUTES ?= 10
PIP    := $(BIN)/python -m pip install --quiet --disable-pip-version-check
# The requirements of one of pyproject.toml's dependency groups, a line each; older pips cannot read them.
group   = $(BIN)/python -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["dependency-groups"]["$(1)"], sep="\n")'

.DEFAULT_GOAL := help
.PHONY: help demo test check format docs soak mutants fuzz bench bench-discovery clean

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(STAMP): pyproject.toml
	@echo "preparing $(VENV) (once; about a minute)" >&2
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "p2praft needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) --version). Try: make PYTHON=python3.12" >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(call group,dev) | xargs -d '\n' $(PIP) --editable '.[cli,http,lan,metrics]'
	@$(PIP) --editable '.[fast]' || echo "no qh3 for this machine; aioquic serves" >&2
	@touch $@

demo: $(STAMP) ## five real processes find each other, elect, replicate, lose their leader, lose nothing
	@$(BIN)/p2praft demo

# The suite starts some hundred processes: none but the first shall have to compile the sources.
test: $(STAMP) ## run the whole test suite
	@env -u PYTHONDONTWRITEBYTECODE $(BIN)/python -m pytest -q -n 4 --dist loadfile

check: $(STAMP) ## formatting, lint, strict types
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy

format: $(STAMP) ## rewrite the code in the project's format
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

$(VENV)/.docs-installed: $(STAMP)
	@$(call group,docs) | xargs -d '\n' $(PIP)
	@touch $@

docs: $(VENV)/.docs-installed ## build the documentation site into dist/site, strictly
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

soak: $(STAMP) ## simulate SEEDS=1000 whole clusters, on all cores
	@$(BIN)/python -m tests.simulation --seeds $(SEEDS)

mutants: $(STAMP) ## weaken one rule of the engine at a time: the tests must notice
	@$(BIN)/python -m tests.mutants

fuzz: $(STAMP) ## look for inputs that break a decoder or an engine, guided by coverage, for MINUTES=10 in all
	@$(call group,fuzz) | xargs -d '\n' $(PIP) || { echo "the fuzzer atheris has no wheel for this machine and Python (3.0 has them for Linux on x86-64, Python 3.11 to 3.14); make test drives the same targets by hypothesis" >&2; exit 1; }
	@$(BIN)/python -m tests.fuzz --minutes $(MINUTES)

bench: $(STAMP) ## measure commits (PySyncObj beside us) and fail-over on this machine
	@$(BIN)/python -m benchmarks

bench-discovery: $(STAMP) ## measure discovery at 10, 100 and 1000 simulated nodes and 20 real ones (some minutes)
	@$(BIN)/python -m benchmarks.discovery

clean: ## remove the virtual environment and caches
	rm -rf $(VENV) .bench .fuzz .mypy_cache .ruff_cache .pytest_cache .hypothesis dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
