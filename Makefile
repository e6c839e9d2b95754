# Each target does all of its own set-up; `make` alone says what there is.
PYTHON ?= python3.11
VENV := .venv
STAMP := $(VENV)/.installed
DOCS_STAMP := $(VENV)/.installed-docs
BIN := $(VENV)/bin
SLOW ?= 0
FUZZ_INPUTS ?= 100

.PHONY: help setup demo test test-all docs picture sbom audit bench bench-quick bench-lock format \
  lock clean
help:  ## Say what each target does.
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(STAMP)  ## Leave a working .venv/bin/recon, from dependencies locked by hash.

$(STAMP): requirements.txt pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --require-hashes --no-deps -r requirements.txt
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	touch $@

demo: $(STAMP)  ## Play the story of btc-quantum against loopback venues, nothing to configure.
	$(BIN)/recon demo

test: $(STAMP)  ## Format check, lint, types, import contracts, tests: what CI runs.
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m compileall -q recon connectors tests  # for the many processes that tests start
	RECON_FUZZ_INPUTS=$(FUZZ_INPUTS) $(BIN)/pytest --slow $(SLOW)

test-all: $(STAMP)  ## The same with every slow test, and thousands of inputs for each fuzzer: hours.
	$(MAKE) test SLOW=1 FUZZ_INPUTS=3000

docs: $(DOCS_STAMP)  ## Build the documentation into dist/docs: a warning is an error.
	$(BIN)/python -m sphinx -b html -E -W --keep-going -q docs dist/docs

$(DOCS_STAMP): requirements-docs.txt $(STAMP)
	$(BIN)/python -m pip install --quiet --require-hashes --no-deps -r requirements-docs.txt
	touch $@

picture: $(STAMP)  ## Renew the picture of the demo in the README, from a real run.
	$(BIN)/recon demo | $(BIN)/python -m docs._generate.demo_picture docs/images/demo.svg

sbom: $(STAMP)  ## Write the bill of materials (CycloneDX) to dist/recon.cdx.json.
	$(BIN)/python -m supply_chain.sbom dist/recon.cdx.json

audit: $(STAMP)  ## Look for known vulnerabilities of locked packages, where a database is reachable.
	$(BIN)/python -m supply_chain.audit

bench: $(STAMP)  ## Measure every promise of speed, in less than 15 minutes; write benchmarks/results/.
	$(BIN)/python -m benchmarks

bench-quick: $(STAMP)  ## The same over fewer fills, in less than 2 minutes, only shown.
	$(BIN)/python -m benchmarks --quick

bench-lock:  ## Renew what the peers' environments are made of (needs uv), with hashes.
	for peer in beancount nautilus vectorbt sqlite; do \
	  uv pip compile benchmarks/peers/$$peer.in --universal --python-version 3.11 \
	    --generate-hashes --no-emit-index-url --no-annotate --no-header --quiet \
	    -o benchmarks/peers/$$peer.txt || exit 1; \
	done

format: $(STAMP)  ## Write the code the way the format check wants it.
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lock:  ## Renew the locks of the project, of tests and of docs (needs uv): hashes, no registry.
	uv pip compile pyproject.toml --all-extras --group dev --universal --python-version 3.11 \
	  --generate-hashes --no-emit-index-url --no-annotate --no-header --quiet -o requirements.txt
	uv pip compile tests/ib_insync.in -c requirements.txt --universal --python-version 3.11 \
	  --generate-hashes --no-emit-index-url --no-annotate --no-header --quiet \
	  -o tests/ib_insync.txt
	uv pip compile --group docs -c requirements.txt --universal --python-version 3.11 \
	  --generate-hashes --no-emit-index-url --no-annotate --no-header --quiet \
	  -o requirements-docs.txt

clean:  ## Remove the environment and what tools leave behind; never a state folder.
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
