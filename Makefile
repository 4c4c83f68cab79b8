VENV := .venv
PY := $(VENV)/bin/python
STAMP := $(VENV)/.installed

.PHONY: install demo test histories interfaces adapters faults lint types imports check lowest bench lock sbom licences audit \
	pin-images docs picture clean

install: $(STAMP)
	@echo "Ready: $(VENV)/bin/vtsync --help"

demo: $(STAMP)
	@$(VENV)/bin/vtsync demo

# Tests of whole fleets of processes, and sweeps over all that may happen: they take minutes.
FLEETS := tests/faults tests/fleet/test_processes.py tests/fleet/test_canaries.py tests/broker/test_poison.py \
	tests/broker/test_shared_broker.py tests/limits/test_fleet_limits.py tests/store/test_poolers.py \
	tests/contacts/test_wrong_answers.py tests/contacts/test_lost_ids.py tests/cli/test_output.py tests/cli/test_nonsense.py \
	tests/cli/test_width.py \
	tests/messages/test_delivery_wire.py tests/deliveries/test_crash.py tests/monitoring/test_liveness.py \
	tests/runtime/test_reload.py tests/fleet/test_private_files.py tests/doctor/test_redis_permissions.py

# What people and other programs use: commands, HTTP API and pages, deployment files, documented examples.
INTERFACES := tests/cli tests/web tests/deploy tests/testing

# Long histories in one process: a stop before each commit, random histories against the plan, erasures, migrations.
HISTORIES := tests/contacts/test_interruptions.py tests/contacts/test_remote_list.py tests/contacts/test_plan.py \
	tests/people/test_forget.py tests/store/test_migrations.py tests/inbox/test_ambiguous.py tests/inbox/test_echo_choice.py \
	tests/contacts/test_belonging.py tests/messages/test_outbox_machine.py tests/rehearsal tests/upkeep/test_restore.py \
	tests/store/test_encryption.py tests/store/test_encrypted_life.py

ELSEWHERE := tests/adapters tests/bench $(HISTORIES) $(INTERFACES) $(FLEETS)
test: $(STAMP)
	@$(PY) -m pytest -n 4 --dist worksteal tests $(ELSEWHERE:%=--ignore %)

histories: $(STAMP)
	@$(PY) -m pytest -n 4 --dist worksteal $(HISTORIES)

interfaces: $(STAMP)
	@$(PY) -m pytest -n 4 --dist worksteal $(INTERFACES) $(FLEETS:%=--ignore %)

# Each adapter against its stand-in and the conformance kit, the proof that the kit catches mistakes, and the benchmarks.
adapters: $(STAMP)
	@$(PY) -m pytest -n 4 --dist worksteal tests/adapters tests/bench

# Kills, outages and hostile data against whole fleets, for minutes.
faults: $(STAMP)
	@$(PY) -m pytest -n 4 --dist worksteal $(FLEETS)

# The documentation as pages in build/docs, with every link checked. It has an environment of its own.
DOCS := build/docs-venv
docs: $(DOCS)/.installed
	@NO_MKDOCS_2_WARNING=1 $(DOCS)/bin/mkdocs build --quiet
	@echo "Open build/docs/index.html."

$(DOCS)/.installed: requirements-docs.lock
	@test -x $(DOCS)/bin/python || python3 -m venv $(DOCS)
	@$(DOCS)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-docs.lock
	@touch $@

# The picture of the README. Needs Chromium and chromedriver.
picture: $(STAMP)
	@$(PY) .ci/picture.py

lint: $(STAMP)
	@$(VENV)/bin/ruff check . && $(VENV)/bin/ruff format --check .

types: $(STAMP)
	@$(VENV)/bin/mypy

imports: $(STAMP)
	@$(VENV)/bin/lint-imports

check: lint types imports test histories interfaces adapters faults

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
	@uv pip compile docs/_site/requirements.in --quiet --universal --python-version 3.11 --generate-hashes \
		--no-emit-index-url --no-emit-find-links --no-header --no-annotate -o requirements-docs.lock
	@$(LOCK) --extra dev --extra otel --extra sentry --extra xlsx --extra mysql --extra apprise -o requirements-dev.lock

# The lowest versions that pyproject.toml admits, in an environment of their own, and the tests that wait for nobody.
# Needs a package index with old releases, so CI does not run it: run it when a bound or a library's use changes.
LOWEST := build/lowest
lowest:
	@rm -rf $(LOWEST) && python3 -m venv $(LOWEST)
	@python3 .ci/lowest.py > $(LOWEST)/constraints.txt
	@$(LOWEST)/bin/pip install --quiet --disable-pip-version-check --constraint $(LOWEST)/constraints.txt \
		--editable '.[build,dev,otel,sentry,xlsx,mysql]'
	@$(LOWEST)/bin/python -m pytest -n 4 --dist worksteal tests/config tests/core tests/policy tests/triggers tests/carriers \
		tests/web tests/virtualtext tests/cli tests/limits tests/monitoring tests/contacts

# The software bill of materials of the standard image, and of the one with extras (CycloneDX).
sbom:
	@mkdir -p build
	@python3 .ci/sbom.py requirements.lock > build/sbom.cdx.json
	@python3 .ci/sbom.py requirements-otel-sentry.lock > build/sbom-otel-sentry.cdx.json
	@ls build/sbom*.json

# The licences of the packages of the images. Fails if one of them is not in the list of .ci/licences.py.
licences: $(STAMP)
	@$(PY) .ci/licences.py requirements.lock requirements-otel-sentry.lock

# Compares the locked packages with the known vulnerabilities. Needs the network; see SECURITY.md for when to run it.
AUDIT := build/audit
audit:
	@test -x $(AUDIT)/bin/pip-audit || { python3 -m venv $(AUDIT) && $(AUDIT)/bin/pip install --quiet pip-audit; }
	@$(AUDIT)/bin/pip-audit --require-hashes --disable-pip --requirement requirements-otel-sentry.lock

pin-images:
	@sh .ci/pin-images.sh

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache build *.egg-info
