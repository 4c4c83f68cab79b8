VENV := .venv
PY := $(VENV)/bin/python
STAMP := $(VENV)/.installed

.PHONY: install demo test adapters faults lint types imports check bench lock clean

install: $(STAMP)
	@echo "Ready: $(VENV)/bin/vtsync --help"

demo: $(STAMP)
	@$(VENV)/bin/vtsync demo

# Tests of whole fleets of processes: they take minutes.
FLEETS := tests/faults tests/fleet/test_processes.py tests/broker/test_poison.py

test: $(STAMP)
	@$(PY) -m pytest -n 4 --dist worksteal tests --ignore tests/adapters --ignore tests/bench $(FLEETS:%=--ignore %)

# Each adapter against its stand-in and the conformance kit, the proof that the kit catches mistakes, and the benchmarks.
adapters: $(STAMP)
	@$(PY) -m pytest -n 4 --dist worksteal tests/adapters tests/bench

# Kills, outages and hostile data against whole fleets, for minutes.
faults: $(STAMP)
	@$(PY) -m pytest -n 4 --dist worksteal $(FLEETS)

lint: $(STAMP)
	@$(VENV)/bin/ruff check . && $(VENV)/bin/ruff format --check .

types: $(STAMP)
	@$(VENV)/bin/mypy

imports: $(STAMP)
	@$(VENV)/bin/lint-imports

check: lint types imports test adapters faults

# On a machine that does nothing else; see docs/performance.md.
bench: $(STAMP)
	@$(PY) bench/all.py $(ARGS)

# One environment from the locked, hashed list; the stamp makes a second run start at once.
$(STAMP): requirements-dev.lock pyproject.toml
	@python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed; this is $$(python3 --version)."; exit 1; }
	@echo "Setting up $(VENV) (once, about half a minute) ..."
	@test -x $(PY) || python3 -m venv $(VENV)
	@$(PY) -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	@$(PY) -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $(STAMP)

# For maintainers: writes the lock files again from pyproject.toml (needs uv).
LOCK := uv pip compile pyproject.toml --quiet --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-emit-find-links --no-header --no-annotate --extra build
lock:
	@$(LOCK) -o requirements.lock
	@$(LOCK) --extra otel --extra sentry -o requirements-otel-sentry.lock
	@$(LOCK) --extra dev --extra otel --extra sentry --extra xlsx --extra mysql -o requirements-dev.lock

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache build *.egg-info
