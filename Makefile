# The entrance for people: `make run`, `make test`. Everything lives in this folder; nothing outside it is touched.
PYTHON ?= python3
PORT ?= 8000
BIN := .venv/bin
MANAGE := $(BIN)/python manage.py
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

help:  ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## */\t/' | expand -t 12

run: .venv/run  ## everything: database, migrations, demo data, web and worker; prints the URL
	@$(MANAGE) up

test: .venv/dev  ## the whole suite on a throw-away PostgreSQL (ARGS="-k name" narrows it)
	@$(BIN)/python -m pytest -n auto --dist worksteal $(ARGS)

check: .venv/dev  ## format, lint, types, migrations, deploy checks, templates
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(MANAGE) makemigrations --check --dry-run
	DEBUG=false SECRET_KEY=$$(head -c 60 /dev/urandom | base64 -w0) ALLOWED_HOSTS=parley.example.org TRUSTED_PROXIES=1 \
		DATABASE_URL=postgresql://db.example.org/parley \
		$(MANAGE) check --deploy --fail-level WARNING
	git ls-files '*.html' | xargs -r $(BIN)/djade --target-version 5.2 --check

format: .venv/dev  ## rewrite the sources in the house style
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

migrate: .venv/run  ## bring the database up to date, and nothing else
	@$(MANAGE) migrate

password: .venv/run  ## a new password for the staff login
	@$(MANAGE) password

chat: .venv/run  ## talk to the demo interviewer in the terminal
	@$(MANAGE) bot --channel console

bench: .venv/dev .venv-bench/peers  ## measure against peers and raw limits (ARGS="append --quick" narrows it)
	@$(BIN)/python -m benchmarks $(ARGS)

chaos: .venv/dev  ## the long crash and soak runs (SEED=7 throws other dice)
	@PARLEY_LONG=1 PARLEY_SEED=$(or $(SEED),1) $(BIN)/python -m pytest -m long -s $(ARGS)

messages: .venv/dev  ## bring the Russian catalogue up to date and compile it
	@$(MANAGE) messages

lock: .venv/uv  ## compile the locks from requirements*.in
	$(BIN)/uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header -q \
		--override requirements-overrides.txt requirements.in -o requirements.txt
	$(BIN)/uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header -q \
		requirements-mtproto.in -c requirements.txt -o requirements-mtproto.txt
	$(BIN)/uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header -q \
		--override requirements-overrides.txt requirements-dev.in -c requirements.txt -o requirements-dev.txt
	$(BIN)/uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header -q \
		requirements-bench.in -o requirements-bench.txt

install: .venv/run  ## the environment only

clean:  ## remove the environment and caches; data in var/ stays
	rm -rf .venv .venv-bench .mypy_cache .ruff_cache .pytest_cache .hypothesis staticfiles

# --- the environment: each stamp is written only after its step went through, so a broken install starts over ---
.venv/uv: requirements-uv.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
		{ echo "Parley needs Python 3.11 or newer; '$(PYTHON)' is not. Try: make $(MAKECMDGOALS) PYTHON=python3.12"; exit 1; }
	@$(PYTHON) -m venv .venv || \
		{ echo "Python has no venv module here. On Debian or Ubuntu: apt install python3-venv"; exit 1; }
	@$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements-uv.txt
	@touch $@

.venv/run: .venv/uv requirements.txt
	@$(BIN)/uv pip install -q --python $(BIN)/python --no-deps --require-hashes -r requirements.txt
	@touch $@

.venv/dev: .venv/uv requirements-dev.txt
	@$(BIN)/uv pip install -q --compile-bytecode --python $(BIN)/python --no-deps --require-hashes -r requirements-dev.txt
	@touch $@ .venv/run

.venv-bench/peers: .venv/uv requirements-bench.txt
	@$(PYTHON) -m venv .venv-bench
	@$(BIN)/uv pip install -q --python .venv-bench/bin/python --no-deps --require-hashes -r requirements-bench.txt
	@touch $@

.PHONY: help run test check format messages migrate password chat bench chaos lock install clean
