# make run    the service on http://localhost:8000; fetches the model `base` the first time
# make test   every test
# make check  lint, types and the fast tests, a few minutes
# make slow   the other tests: with a model, a cluster, a browser, real weights
# make manifests         copy whisper-rayservice.yaml to where kustomize needs it
# make verify-manifests  Dockerfile and manifests against what will judge them, and what nodes they take
# make verify-image BASE=...  build the image with buildah, run it, transcribe with it
# make lock   write locks/ anew from requirements.txt, asked of the package index
# make audit  known weaknesses of what is locked, asked of the internet
# make client  put whisper_client.html together from web/
# make settings  write the rows of docs/settings.md anew from settings.py
# make clean  remove what these made

PYTHON ?= python3
VENV   ?= .venv
# The default model: make run MODEL=small
MODEL  ?= base
# Extra arguments for pip, for example another index for torch's CPU build.
PIP_ARGS ?=
# Extra arguments for pytest: make test T="tests/policy -k overlap"
T ?=
# Processes that share the fast tests; 0 runs them in one.
J ?= 2
# Tests that need a model, a cluster, a browser, a GPU or real weights.
SLOW := model or ray or browser or gpu or real
# --where-reachable: make audit passes, and says so, where the database cannot be reached.
AUDIT_ARGS ?=

BIN := $(VENV)/bin
# Of two things at once whole lines are printed, by makes that can.
BY_LINES := $(if $(filter output-sync,$(.FEATURES)),-Oline)
PIP := $(BIN)/pip install --quiet --disable-pip-version-check $(PIP_ARGS)

.DEFAULT_GOAL := help
.PHONY: help run test check lint types fast slow format manifests verify-manifests verify-image lock audit client settings clean

help:
	@sed -n 's/^# make/make/p' Makefile

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed, this is " + sys.version.split()[0] + "; try make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/installed: requirements.txt | $(BIN)/python
	@echo "Installing what the service needs (a few minutes, once) ..."
	$(PIP) -r requirements.txt
	@touch $@

$(VENV)/installed-dev: requirements-dev.txt $(VENV)/installed
	@echo "Installing what the tests need ..."
	$(PIP) -r requirements-dev.txt
	@touch $@

run: $(VENV)/installed
	WHISPER_DEFAULT_MODEL=$(MODEL) $(BIN)/python -m main

test: $(VENV)/installed-dev
ifneq ($(strip $(T)),)
	$(BIN)/python -m pytest $(T)
else
	@$(MAKE) --no-print-directory fast
	@$(MAKE) --no-print-directory slow
endif

fast: $(VENV)/installed-dev
	$(BIN)/python -m pytest -n $(J) --dist worksteal -m "not ($(SLOW))"

slow: $(VENV)/installed-dev
	$(BIN)/python -m pytest -m "$(SLOW)"

check: lint
	@$(MAKE) --no-print-directory -j $(if $(filter 0 1,$(J)),1,2) types fast

lint: $(VENV)/installed-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(VENV)/installed-dev
	$(BIN)/mypy

format: $(VENV)/installed-dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

manifests:
	cp whisper-rayservice.yaml deploy/base/rayservice.yaml

# Says what it skips: kubectl or kustomize renders the overlays, promtool reads the alert rules.
verify-manifests: $(VENV)/installed-dev
	$(BIN)/hadolint Dockerfile
	$(BIN)/python -m pytest -rs tests/deploy
	@if (command -v kubectl || command -v kustomize) > /dev/null; then $(BIN)/python -m tests.deploy.sums; fi

verify-image:
	BASE="$(BASE)" TORCH="$(TORCH)" PIP_ARGS="$(PIP_ARGS)" deploy/verify_image.sh

lock: $(BIN)/python
	$(PIP) uv==0.13.9
	$(BIN)/python -m tools.lock

audit: $(BIN)/python
	$(PIP) pip-audit==2.10.1
	$(BIN)/python -m tools.audit $(AUDIT_ARGS)

client:
	$(PYTHON) -m tools.build_client

settings: $(VENV)/installed
	$(BIN)/python -m tools.settings_table

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
