# One command per habit; CONTRIBUTING.md says more.
SHELL := bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
DEFINITIONS := setup.cfg pyproject.toml constraints.txt
# where version managers keep interpreters that are not on PATH
INTERPRETERS := $(subst $() ,:,$(wildcard $(HOME)/.pyenv/versions/3.1[123].*/bin))

.PHONY: run observe check test test-cluster fuzz bench bench-overhead growth soak chaos schemas map screenshots release lint javascript go format constraints clean

run: $(VENV)/run
	@$(BIN)/database-migration && $(BIN)/database-load
	@echo 'the shop: http://localhost:'"$${PORT:-8080}"' · the kitchen: http://localhost:'"$${PORT:-8080}"'/kitchen, with the staff key apikitchen'
	@exec $(BIN)/order-food

# the same with a real Jaeger and Prometheus beside it, where their programs are on the PATH
observe: $(VENV)/run
	@exec $(BIN)/python -m rig.observe

# what observability costs: CPU per request with and without
bench-overhead: $(VENV)/test
	$(BIN)/python -m benchmarks.overhead $(OPTIONS)

# in under a minute what catches most: style, types, the import rule, rules, and storage in memory and SQLite, without the
# tests of files of millions of lines
SLOW := tests/unit/test_codes.py tests/contract/test_large_catalogue.py
check: export ORDERFOOD_TEST_BACKENDS = memory,sqlite
check: $(VENV)/test
	@$(BIN)/ruff check --quiet
	@$(BIN)/ruff format --quiet --check
	@$(BIN)/mypy --no-error-summary
	@$(BIN)/python -m pytest -q -r f tests/unit tests/contract tests/house -k 'not every_program' $(SLOW:%=--ignore=%)

# all tests on this interpreter; on the others what an interpreter could change, without Postgres; with TESTS=… those tests on this one
AGAIN := tests/unit tests/contract tests/jobs tests/api/test_orders.py tests/api/test_protocol.py
test: $(VENV)/test
ifdef TESTS
	$(BIN)/python -m pytest $(TESTS)
else
	@export PATH="$$PATH:$(INTERPRETERS)"; \
	this=$$($(BIN)/python -c 'import sys; print("3.%d" % sys.version_info[1])'); \
	$(BIN)/tox run -e "py$${this/./}" || exit 1; \
	for other in 3.11 3.12 3.13; do \
		if [ "$$other" = "$$this" ]; then continue; \
		elif "python$$other" --version >/dev/null 2>&1; then \
			ORDERFOOD_TEST_AGAIN=1 $(BIN)/tox run -e "py$${other/./}" -- $(AGAIN) -k 'not postgres' || exit 1; \
		else echo "left out: Python $$other is not on this machine"; fi; \
	done
endif

# deploys to the cluster that kubectl knows, in a namespace of its own, and takes it away again
test-cluster: $(VENV)/test
	$(BIN)/python -m pytest --numprocesses 0 --exitfirst tests/cluster

# a hundred thousand generated requests against the OpenAPI document, and a quarter of an hour of bytes on bare sockets
fuzz: $(VENV)/test
	ORDERFOOD_FUZZ_SECONDS=900 ORDERFOOD_FUZZ_EXAMPLES=800 ORDERFOOD_FUZZ_SEEDS=4 $(BIN)/python -m pytest tests/fuzz -s --dist=load

# side by side with what a user would else have; writes docs/benchmarks.md. With PYTHON=… the services run by that one, in
# an environment that virtualenv makes of it beside .venv
CHOSEN = $(if $(filter file,$(origin PYTHON)),,--python $(PYTHON))
bench: $(VENV)/test
	$(BIN)/python -m benchmarks.bench $(CHOSEN) $(OPTIONS)
	$(BIN)/python -m benchmarks.overhead
	$(BIN)/python -m benchmarks.event_log

# what grows with the number of orders: ten million of them on Postgres; writes a table into docs/scaling.md
growth: $(VENV)/test
	$(BIN)/python -m benchmarks.growth $(OPTIONS)

# ten minutes of mixed load: no error, flat memory
soak: $(VENV)/test
	$(BIN)/python -m benchmarks.soak $(OPTIONS)

# ten minutes in which processes are killed, stopped and misled: nothing that was acknowledged is lost; writes docs/reliability.md
chaos: $(VENV)/test
	$(BIN)/python -m chaos --report $(OPTIONS)

# exact, for another TypeScript finds other faults; 7 is a native program and checks everything in a fifth of a second
TYPESCRIPT := typescript@7.0.2
TSC := $(VENV)/$(TYPESCRIPT)/node_modules/.bin/tsc

lint: $(VENV)/test javascript go
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/hadolint Dockerfile tests/cluster/*Dockerfile
	$(BIN)/shellcheck *.sh scripts/*.sh tests/cluster/*.sh .ci/*

# the types of the pages' JavaScript, which stand in its comments; jsconfig.json says how strictly, to editors, too
javascript:
	@export PATH="$$PATH:$(CURDIR)/$(BIN)"; \
	for program in node npm; do \
		if ! command -v $$program >/dev/null; then \
			echo "left out: $$program is not on this machine, so the JavaScript is not checked"; exit 0; \
		fi; \
	done; \
	[ -x $(TSC) ] || npm install --loglevel error --no-audit --no-fund --prefix $(VENV)/$(TYPESCRIPT) $(TYPESCRIPT) || exit 1; \
	echo 'tsc --project jsconfig.json'; $(TSC) --project jsconfig.json

# the Go service that make bench compares with
go: export GOFLAGS = -buildvcs=false
go:
	@command -v go >/dev/null || { echo 'left out: go is not on this machine, so the Go service is not checked'; exit 0; }; \
	cd benchmarks/go_service; \
	go mod download || { echo 'left out: go cannot get the modules of the Go service, so it is not checked'; exit 0; }; \
	go vet . && test -z "$$(gofmt -l . | tee /dev/stderr)"

format: $(VENV)/test
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

# the charts' values.schema.json, and the tables of values in their READMEs
schemas: $(BIN)/python
	$(BIN)/python chart/shared/schema.py
	$(BIN)/python chart/shared/readme.py

# dist/: source distribution, wheel, charts, SBOM and sums, reproducibly, and the three images
release: $(VENV)/test
	$(BIN)/python -m rig.release $(OPTIONS)

# the picture of the house in CONTRIBUTING.md
map: $(VENV)/test
	$(BIN)/python -m rig.map

# the README's pictures of the pages
screenshots: $(VENV)/test
	ORDERFOOD_SCREENSHOTS=1 $(BIN)/python -m pytest --numprocesses 0 tests/browser/test_screenshots.py

# what was just tested, so that an install a year from now gets the same
constraints: $(VENV)/test
	$(BIN)/python -m pip freeze --exclude-editable --exclude pip --exclude setuptools > constraints.txt

clean:
	rm -rf $(VENV) .tox build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache

# Debian's python3 is one that make bench can measure with, and cannot make an environment without python3-venv
MAKER = $(if $(filter bench,$(MAKECMDGOALS)),$(shell $(PYTHON) -c 'import ensurepip' 2>/dev/null && echo $(PYTHON) || echo python3),$(PYTHON))
$(BIN)/python:
	@$(MAKER) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "orderfood needs Python 3.11 or newer: make PYTHON=python3.12 …")'
	$(MAKER) -m venv $(VENV)

$(VENV)/run: $(DEFINITIONS) | $(BIN)/python
	$(INSTALL) --editable .
	@touch $@

$(VENV)/test: $(DEFINITIONS) | $(BIN)/python
	$(INSTALL) --editable '.[test,lint,bench,tox]'
	@touch $@ $(VENV)/run
