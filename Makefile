# One command per habit; CONTRIBUTING.md says more.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: run test lint format constraints clean

run: $(VENV)/run  ## environment, install, migrate, load, serve on http://localhost:8080
	@$(BIN)/database-migration
	@$(BIN)/database-load
	@exec $(BIN)/order-food

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "orderfood needs Python 3.11 or newer; say which with make PYTHON=...")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/run: setup.cfg pyproject.toml constraints.txt | $(VENV)/bin/python
	$(INSTALL) --editable .
	@touch $@

$(VENV)/test: setup.cfg pyproject.toml constraints.txt | $(VENV)/bin/python
	$(INSTALL) --editable '.[test,lint,tox]'
	@touch $@ $(VENV)/run
