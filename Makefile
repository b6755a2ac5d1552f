# Everything a person or CI calls. `make demo` needs Python 3.10 to 3.13, make and a package index; nothing else.

# A suitable Python is often installed beside a `python3` that is too old or too new for Airflow.
SUITS  := import sys; sys.exit("wmigrate needs Python 3.10 to 3.13, this is %d.%d: set PYTHON=" % sys.version_info[:2] if not (3, 10) <= sys.version_info[:2] <= (3, 13) else 0)
PYTHON ?= $(shell for python in python3 python3.13 python3.12 python3.11 python3.10; do $$python -c '$(SUITS)' 2>/dev/null && echo $$python && break; done)
VENV   ?= .venv
ARGS   ?=
JOBS   ?= 2
STRIKES ?= 500
RACES  ?= 200
SEED   ?= 1
BIN    := $(VENV)/bin

.PHONY: help loads bystanders bystanders-short demo test test-system programs lint unit package dev deployment docs timescale postgres cli airflow operating web page bench races faults faults-short e2e e2e-more deployment-e2e test-deployment build test-matrix test-timescale licenses sbom release-notes clean

help:
	@echo "make demo            start PostgreSQL and Airflow, apply the shipped migrations, stay up until Ctrl-C"
	@echo "make demo ARGS=--once   the same, and stop by itself"
	@echo "make demo ARGS=--promotion   three servers, and a request for approval that you answer"
	@echo "make test            every check and test, JOBS=2 parts at a time"
	@echo "make test-system     as root: Debian's packages for the tests that a machine without them skips"
	@echo "make lint            ruff, mypy, import-linter"
	@echo "make unit | postgres | airflow | ... | e2e   one part of the tests; ARGS is handed to pytest"
	@echo "make faults STRIKES=500 SEED=1   kill, cut and cancel runners, and compare with a clean run"
	@echo "make races           200 changes around an approval: what is not what was approved is never applied"
	@echo "make bystanders      every sub-command of ALTER TABLE beside an application that uses the tables"
	@echo "make loads           loads and migrations at random moments: never together; ARGS='--count 300 --seed 1'"
	@echo "make bench           what it costs, beside a plain loop and other tools; ARGS=--check, ARGS=--help"
	@echo "make test-timescale  locks, policies and licences on a native TimescaleDB; as root, or with TIMESCALE_BINDIR"
	@echo "make test-deployment what docker-compose.yaml starts, as processes: with Celery and with LocalExecutor"
	@echo "make build           sdist and wheel, checked"
	@echo "make test-matrix     the wheel on every Python and PostgreSQL found; ARGS='-s lowest', ARGS='-- --full'"
	@echo "make licenses sbom   the licences of what is installed with it, and the list of it as CycloneDX"
	@echo "make release-notes VERSION=1.2.3   what the changelog says of a version"
	@echo "make clean           remove what the above made"

# What the system's Python was upgraded under is made anew.
demo:
	@.demo/venv/bin/python -c 'import pip' 2>/dev/null || rm -rf .demo/venv
	@$(MAKE) --no-print-directory .demo/venv/installed
	@.demo/venv/bin/python -m dev.demo $(ARGS)

$(VENV)/installed: WITH := --group dev
.demo/venv/installed: WITH := $$($(PYTHON) -c 'from dev.server_binaries import find_bindir; find_bindir(embedded=False)' 2>/dev/null || echo --group postgresql)

# Not compiled: Python does that with what is imported, when it is; most of what is installed never is.
$(VENV)/installed .demo/venv/installed: pyproject.toml constraints.txt
	@$(or $(PYTHON),python3) -c '$(SUITS)'
	@$(PYTHON) -m venv $(@D)
	@echo "installing into $(@D) (once; some minutes) ..."
	@$(@D)/bin/python -m pip install --quiet --quiet --upgrade "pip>=25.1"
	@$(@D)/bin/python -m pip install --quiet --quiet --no-compile --constraint constraints.txt --editable . $(WITH)
	@touch $@

# What fails soonest first, then the longest first: in the end no core waits for one long part. Each part is a process of
# its own: the Airflow of one must not meet that of another.
PARTS := lint unit airflow postgres e2e page docs cli web deployment-e2e faults-short operating e2e-more timescale bystanders-short dev package deployment

# Two at a time, on two cores: three end a little sooner, and each test then takes up to twice as long, against its limit.
# Each part's output is printed when it ends.
# What was skipped for want of a program or of rights is told in one table in the end, also when a part failed.
test: $(VENV)/installed programs
	@rm -f .test/skipped
	@SKIPPED_LIST=$(CURDIR)/.test/skipped $(MAKE) --no-print-directory --jobs=$(JOBS) --output-sync=target HAS=programs $(PARTS); \
		code=$$?; $(BIN)/python -m dev.skipped .test/skipped; exit $$code
	@echo "every part passed: $(PARTS)"

# What package indexes give an ordinary user and this machine lacks; dev/programs.py says what.
programs: $(VENV)/installed
	@$(BIN)/python -m dev.programs

test-system:
	@$(PYTHON) -m dev.programs --system

lint: $(VENV)/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# Where `make test` has them, no part waits: make begins what waited for another target after all the others.
timescale cli page e2e: $(filter-out $(HAS),programs)

$(filter-out lint e2e% %e2e faults% bystanders%,$(PARTS)): $(VENV)/installed
	$(BIN)/python -m pytest tests/$@ -m "not e2e" $(ARGS)

faults-short: $(VENV)/installed
	$(BIN)/python -m pytest tests/faults $(ARGS)

bystanders-short: $(VENV)/installed
	$(BIN)/python -m pytest tests/bystanders $(ARGS)

# The long form: what others feel of a migration. docs/bystanders.md.
bystanders: $(VENV)/installed
	PYTHONPATH=.:tests/bystanders $(BIN)/python -m load $(ARGS)

# The long form: loads and migrations at random moments. docs/how-to/guard-loads.md.
loads: $(VENV)/installed
	PYTHONPATH=. $(BIN)/python -m tests.random_loads $(ARGS)

# The long form: somebody changes something around an approval. The short one is a part of `make test`.
races: $(VENV)/installed
	RACES=$(RACES) SEED=$(SEED) $(BIN)/python -m pytest tests/postgres/test_approval_races.py -s $(ARGS)

# Not a part of `make test`: it needs root and mmdebstrap, or TIMESCALE_BINDIR. See dev/timescale_root.py.
test-timescale: $(VENV)/installed
	$(BIN)/python -m dev.timescale_root
	$(BIN)/python -m pytest tests/timescale_native $(ARGS)

# The long form: what is struck, how, and what came of it stands in docs/faults.md.
faults: $(VENV)/installed
	PYTHONPATH=.:tests/faults $(BIN)/python -m harness --strikes $(STRIKES) --seed $(SEED) $(ARGS)

# Not a part of `make test`: it takes long. What is measured stands in docs/benchmarks.md, how in bench/README.md.
bench: $(VENV)/installed
	@$(BIN)/python -m pip install --quiet --constraint constraints.txt --group bench
	$(BIN)/python -m bench $(ARGS)

e2e: $(VENV)/installed
	$(BIN)/python -m pytest tests/e2e $(ARGS)

e2e-more: $(VENV)/installed
	$(BIN)/python -m pytest tests/operating -m e2e $(ARGS)

# The commands of docker-compose.yaml as processes: with Celery, and in the long form with LocalExecutor as well.
deployment-e2e: $(VENV)/installed
	$(BIN)/python -m pytest tests/deployment/test_native.py $(ARGS)

test-deployment: $(VENV)/installed
	$(BIN)/python -m pytest tests/deployment $(ARGS)

build: $(VENV)/installed
	rm -rf dist
	$(BIN)/python -m build
	$(BIN)/twine check --strict dist/*.whl dist/*.tar.gz

# The wheel on every Python and every PostgreSQL found here, by nox. See docs/compatibility.md. Of pyenv, all versions are offered.
test-matrix: build
	PYENV_VERSION="$$(pyenv versions --bare 2>/dev/null | paste -sd:)" $(BIN)/python -m nox $(ARGS)

licenses: $(VENV)/installed
	PYTHONPATH=. $(BIN)/python -m dev.licenses

# What a user gets: the wheel and all it needs in an environment of its own, listed as CycloneDX.
sbom: build
	$(BIN)/python -m venv --clear --without-pip .test/sbom
	$(BIN)/python -m pip --python .test/sbom install --quiet --constraint constraints.txt dist/*.whl
	$(BIN)/cyclonedx-py environment --output-reproducible --spec-version 1.6 --pyproject pyproject.toml \
		--output-file dist/$$(basename dist/*.tar.gz .tar.gz).cdx.json .test/sbom/bin/python

release-notes: $(VENV)/installed
	@PYTHONPATH=. $(BIN)/python -m dev.release_notes $(VERSION)

clean:
	rm -rf .bench .demo .venv .test dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
