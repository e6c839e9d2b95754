# Each target does all of its own set-up; `make` alone says what there is.
PYTHON ?= python3.11
VENV := .venv
STAMP := $(VENV)/.installed
STAMP_TEST := $(VENV)/.installed-test
STAMP_DOCS := $(VENV)/.installed-docs
BIN := $(VENV)/bin
INSTALL_LOCKED := $(BIN)/python -m pip install --require-hashes --no-deps
COMPILE := uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
  --no-annotate --no-header --quiet
BUT = $$(sed -n 's/^\([a-z0-9.-]*\)==.*/--no-emit-package \1/p' $(1))
SLOW ?= 0
FUZZ_INPUTS ?= 100

.PHONY: help setup demo lint lint-sql test test-all coverage pythons docs picture sbom audit bench \
  bench-quick bench-lock format lock clean
help:  ## Say what each target does.
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(STAMP)  ## Leave a working .venv/bin/recon, from dependencies locked by hash.

$(STAMP): requirements.txt pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(INSTALL_LOCKED) -r requirements.txt
	$(BIN)/python -m pip install --no-deps --no-build-isolation --editable .
	touch $@

$(STAMP_TEST): $(STAMP) requirements-test.txt
	$(INSTALL_LOCKED) -r requirements-test.txt
	touch $@

demo: $(STAMP)  ## Play the story of btc-quantum against loopback venues, nothing to configure.
	$(BIN)/recon demo

lint: $(STAMP_TEST)  ## Format check, lint, types, import contracts, spelling, locks: as before each commit.
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/codespell
	$(BIN)/python -m supply_chain.locked

lint-sql: $(STAMP_TEST)  ## Parse and lint every query: 40 CPU seconds, on all cores.
	$(BIN)/sqlfluff lint --processes 0 sql

test: lint  ## make lint, then the tests.
	$(BIN)/python -m compileall -q recon connectors tests  # for the many processes that tests start
	RECON_FUZZ_INPUTS=$(FUZZ_INPUTS) $(BIN)/pytest --slow $(SLOW)

test-all:  ## The same with every slow test, and thousands of inputs for each fuzzer: hours.
	$(MAKE) test SLOW=1 FUZZ_INPUTS=3000

coverage: $(STAMP_TEST)  ## Run the tests and show which branches they take; pages in build/coverage/.
	RECON_FUZZ_INPUTS=$(FUZZ_INPUTS) $(BIN)/pytest --slow $(SLOW) --cov --cov-report=term --cov-report=html

pythons: $(STAMP_TEST)  ## Install and try recon with each Python of this machine, 3.11 to 3.14.
	$(BIN)/pytest -n 0 -rA --slow 1 tests/project/test_pythons.py

docs: $(STAMP_DOCS)  ## Build the documentation into dist/docs: a warning is an error.
	$(BIN)/python -m sphinx -b html -E -W --keep-going -q docs dist/docs

$(STAMP_DOCS): requirements-docs.txt $(STAMP_TEST)
	$(INSTALL_LOCKED) -r requirements-docs.txt
	touch $@

picture: $(STAMP)  ## Renew the picture of the demo in the README, from a real run.
	$(BIN)/recon demo | $(BIN)/python -m docs._generate.demo_picture docs/images/demo.svg

sbom: $(STAMP_TEST)  ## Write the bill of materials (CycloneDX) to dist/recon.cdx.json.
	$(BIN)/python -m supply_chain.sbom dist/recon.cdx.json

audit: $(STAMP_TEST)  ## Look for known vulnerabilities of locked packages, where a database is reachable.
	$(BIN)/python -m supply_chain.audit

bench: $(STAMP)  ## Measure every promise of speed, in less than 15 minutes; write benchmarks/results/.
	$(BIN)/python -m benchmarks

bench-quick: $(STAMP)  ## The same over fewer fills, in less than 2 minutes, only shown.
	$(BIN)/python -m benchmarks --quick

bench-lock:  ## Renew what the peers' environments are made of (needs uv), with hashes.
	for peer in beancount nautilus vectorbt sqlite; do \
	  $(COMPILE) benchmarks/peers/$$peer.in -o benchmarks/peers/$$peer.txt || exit 1; \
	done

format: $(STAMP_TEST)  ## Write the code the way the format check wants it.
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lock:  ## Renew the locks of users, tests, docs and ib_insync (needs uv): hashes, no registry.
	$(COMPILE) pyproject.toml --all-extras --group build -o requirements.txt
	$(COMPILE) pyproject.toml --all-extras --group build --group test -c requirements.txt \
	  $(call BUT,requirements.txt) -o requirements-test.txt
	$(COMPILE) tests/ib_insync.in -c requirements.txt -c requirements-test.txt -o tests/ib_insync.txt
	$(COMPILE) --group docs -c requirements.txt -c requirements-test.txt \
	  $(call BUT,requirements.txt requirements-test.txt) -o requirements-docs.txt

clean:  ## Remove the environment and what tools leave behind; never a state folder.
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .coverage*
