# Everything a user does. `make help` lists it; values are set as in `make run DATASET=derma seed=1`.
# book/make.py reads the values and does the work: make itself would part them at blanks.

PYTHON ?= $(firstword $(foreach name,python3 python3.14 python3.13 python3.12 python3.11,$(shell \
	command -v $(name) >/dev/null 2>&1 && \
	$(name) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $(name))))
BIN := .venv/bin
BENCH := .venv-bench/bin
CRATE := .venv-archive/bin
DO := $(BIN)/python -m book.make
NO_VALUES = $(if $(filter-out PYTHON=%,$(MAKEOVERRIDES)),$(error make $@ takes no values))
export PYTHONUNBUFFERED = 1
export PYTHONUTF8 = 1

.PHONY: help book run data record verify reproduce weights archive lab notebooks test check lint bench gpu-check clean pdf
.DEFAULT_GOAL := help

help: ## this list
	$(NO_VALUES)@grep -hE '^[a-z-]+:.*##' Makefile | sed -E 's/:.*## /\t/' | expand -t 12

book: $(BIN)/.ready ## phantoms, all notebooks of the protocol demo, the site; FORCE=1: all again
	@$(DO) $@

run: $(BIN)/.ready ## one run and its pages: DATASET=derma CLASSIFIER=resnet50 PROTOCOL=compact NAME=VALUE
	@$(DO) $@

data: $(BIN)/.ready ## npz files of real images out of SOURCE=folder for SIZE=pixels, put under data/
	@$(DO) $@

record: $(BIN)/.ready ## small results of finished runs of PROTOCOL, kept under results/
	@$(DO) $@

verify: $(BIN)/.ready ## all that is kept under results/, and the printed tables, checked; or ARCHIVE=folder
	@$(DO) $@

reproduce: $(BIN)/.ready ## a recorded run again: DATASET=oct CLASSIFIER=resnet50; does each number agree?
	@$(DO) $@

weights: $(BIN)/.ready ## networks of finished runs as safetensors with a card each, in build/weights
	@$(DO) $@

archive: $(CRATE)/.ready ## source, record, notebooks, site and weights as one folder for a DOI: build/archive
	@$(DO) $@

lab: $(BIN)/.ready ## JupyterLab on the text notebooks, beginning with notebooks/explore.md
	@$(DO) $@

notebooks: $(BIN)/.ready ## .ipynb files of the text notebooks, for papermill by hand
	@$(DO) $@

test: $(BIN)/.ready ## the whole test suite
	@$(DO) $@

check: $(BIN)/.ready ## the built site and the explorer in a real browser (needs chromium)
	@$(DO) $@

lint: $(BIN)/.ready ## style and common errors
	$(NO_VALUES)@$(BIN)/python -m ruff check . && $(BIN)/python -m ruff format --check .

bench: $(BENCH)/.ready ## our attack beside the peers', installed in an environment of their own
	$(NO_VALUES)@$(BENCH)/python -m pytest --quiet tests/test_benchmarks.py
	@$(BENCH)/python -m benchmarks.attack

gpu-check: $(BIN)/.ready ## the attack on this machine's NVIDIA GPU: right, and how fast
	$(NO_VALUES)@$(BIN)/python -m benchmarks.gpu_check

clean: ## removes what was made, but neither real images nor runs/ of other protocols nor .venv
	$(NO_VALUES)rm -rf build runs/demo runs/demo+* data/phantoms .snakemake notebooks/*.ipynb

pdf: $(BIN)/.ready ## the narrative and results pages of the built site as build/book.pdf (needs chromium)
	$(NO_VALUES)@$(BIN)/python -m book.pdf

$(BIN)/.ready: requirements.lock pyproject.toml
	@test -n "$(PYTHON)" || { echo "error: Python 3.11 or newer is needed and none was found: \
	install one, or name it with PYTHON=/path/to/python3."; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11) and "error: %s is Python %d.%d, \
	3.11 or newer is needed: name another with PYTHON=/path/to/python3." % (sys.executable, \
	*sys.version_info[:2]))'
	@free=$$(df -Pk . | awk 'NR==2 {print int($$4 / 1048576)}'); test $$free -ge 8 || { \
	echo "error: $$free GB of disk are free here, the environment needs 8: make room."; exit 1; }
	@echo "environment: installing $$(grep -c == requirements.lock) packages into .venv"
	@rm -rf .venv && "$(PYTHON)" -m venv .venv
	@$(BIN)/python -m pip install --quiet --quiet --disable-pip-version-check -r requirements.lock
	@$(BIN)/python -m pip install --quiet --quiet --disable-pip-version-check --no-deps \
	--no-build-isolation -e .
	@touch $@
	@echo "environment: ready"

# Environments beside the project's own, which they reach by a path file: $(call beside,folder,lock).
# Without dependencies: those that are not in requirements.lock are in the lock named.
define beside
@echo "$(1): installing $$(grep -c == $(2)) packages"
@rm -rf $(1) && $(BIN)/python -m venv --without-pip $(1)
@$(BIN)/python -m pip --python $(1)/bin/python install --quiet --quiet \
--disable-pip-version-check --no-deps -r $(2)
@site='import sysconfig; print(sysconfig.get_path("purelib"))'; \
$(BIN)/python -c "$$site" > "$$($(1)/bin/python -c "$$site")/project.pth"
@touch $@
@echo "$(1): ready"
endef

# The peers: torchattacks asks for a requests of 2021, which JupyterLab cannot take, and imports it
# nowhere.
$(BENCH)/.ready: $(BIN)/.ready benchmarks/requirements.lock
	$(call beside,.venv-bench,benchmarks/requirements.lock)

# What writes and checks RO-Crate metadata.
$(CRATE)/.ready: $(BIN)/.ready book/requirements.lock
	$(call beside,.venv-archive,book/requirements.lock)
