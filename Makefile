# Needs Python 3.11 or later, make and pip; everything else goes into .venv.
#   make demo    train, score and report on the built-in dataset
#   make test    run the tests, and print the line coverage
#   make check   lint, formatting, types, direction of imports, generated pages, documentation site
#   make bench   measure speed against straightforward formulations
#   make docs    write the generated pages of docs/ and build the documentation site in site/
#   make backbones  train every backbone small on synthetic: the scores in docs/backbones.csv (an hour on two cores)
#   make scores  train what the README's tables of scores show (an hour on two cores; FIELDS=folder for real ones)
#   make clean   remove .venv and what tools left behind

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PYTEST ?= -n 2 --dist worksteal

# Not --quiet: it hides warnings from the strict mode of MkDocs, which then never fails.
MKDOCS := NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs

# Line coverage is measured where Python has sys.monitoring (3.12 and later): there it takes 7 % of the time, in 3.11 40 %.
# COVERAGE=1 measures it in any case, COVERAGE=0 in none.
SYSMON    = $(shell $(BIN)/python -c 'import sys; print(int(hasattr(sys, "monitoring")))')
COVERAGE ?= $(SYSMON)

.DEFAULT_GOAL := help
.PHONY: help demo test check bench docs backbones scores clean

help:
	@sed -n '2,10s/^#   //p' Makefile

# The stamps are what pip has installed; they age when pyproject.toml changes.
$(VENV)/made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "cropzoo needs Python 3.11 or later; $(PYTHON) is $$($(PYTHON) --version 2>&1);" \
	    "run: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	@touch $@

$(VENV)/installed: $(VENV)/made pyproject.toml
	$(BIN)/python -m pip install --quiet --editable .
	@touch $@

$(VENV)/installed-dev: $(VENV)/made pyproject.toml
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	@touch $@ $(VENV)/installed

demo: $(VENV)/installed
	$(BIN)/cropzoo train --backbone tsvit --pretrain cscl --name demo --overwrite

# One thread a worker: two workers with two threads each get in each other's way on two cores.
test: $(VENV)/installed-dev
	$(if $(filter 1,$(SYSMON)),COVERAGE_CORE=sysmon) OMP_NUM_THREADS=1 \
	  $(BIN)/python -m pytest $(PYTEST) $(if $(filter 1,$(COVERAGE)),--cov --cov-report=)
	@$(if $(filter 1,$(COVERAGE)),echo "line coverage: $$($(BIN)/coverage report --format=total) %", \
	  echo "line coverage: not measured; make test COVERAGE=1 measures it")

check: $(VENV)/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest --quiet tests/test_layers.py tests/docs/test_backbones.py tests/docs/test_experiments.py tests/docs/test_weights.py
	$(MKDOCS) build

bench: $(VENV)/installed-dev
	@for script in $(sort $(filter-out benchmarks/measure.py benchmarks/scores.py benchmarks/backbone_scores.py benchmarks/straightforward%,$(wildcard benchmarks/*.py))); do \
	  echo "== $$script"; $(BIN)/python $$script || exit 1; done

scores: $(VENV)/installed
	$(BIN)/python benchmarks/scores.py --out runs/scores $(if $(FIELDS),--root $(FIELDS))

docs: $(VENV)/installed-dev
	$(BIN)/python docs/make_backbones.py
	$(BIN)/python docs/make_experiments.py
	$(BIN)/python docs/make_weights.py
	$(MKDOCS) build

backbones: $(VENV)/installed
	$(BIN)/python benchmarks/backbone_scores.py --out runs/backbones

clean:
	rm -rf $(VENV) build dist site htmlcov .coverage .pytest_cache .mypy_cache .ruff_cache
	find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +
