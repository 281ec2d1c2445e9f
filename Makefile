# All commands. `make help` lists them; set values as in `make run DATASET=derma seed=1`.
# book/make.py reads the values and does the work: make itself would split them at blanks.

PYTHON ?= $(firstword $(foreach name,python3 python3.14 python3.13 python3.12 python3.11,$(shell \
	command -v $(name) >/dev/null 2>&1 && \
	$(name) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $(name))))
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --quiet --disable-pip-version-check --no-deps
BENCH := .venv-bench/bin
CRATE := .venv-archive/bin
DO := $(BIN)/python -m book.make
NO_VALUES = $(if $(filter-out PYTHON=%,$(MAKEOVERRIDES)),$(error make $@ takes no values))
export PYTHONUNBUFFERED = 1
export PYTHONUTF8 = 1

.PHONY: help book run data record verify reproduce weights archive lab notebooks test check lint bench gpu-check clean pdf
.DEFAULT_GOAL := help

help: ## list these commands
	$(NO_VALUES)@grep -hE '^[a-z-]+:.*##' Makefile | sed -E 's/:.*## /\t/' | expand -t 12

book: $(BIN)/.ready ## make phantoms, run all notebooks of the demo, build the site; FORCE=1: run all again
	@$(DO) $@

run: $(BIN)/.ready ## run notebooks and build their pages: DATASET=derma CLASSIFIER=resnet50 PROTOCOL=compact NAME=VALUE
	@$(DO) $@

data: $(BIN)/.ready ## make npz files of real images from SOURCE=folder at SIZE=pixels, under data/
	@$(DO) $@

record: $(BIN)/.ready ## copy the small results of finished runs of PROTOCOL to results/
	@$(DO) $@

verify: $(BIN)/.ready ## check the results and the printed tables under results/, or an archive: ARCHIVE=folder
	@$(DO) $@

reproduce: $(BIN)/.ready ## make a recorded run again and compare each number: DATASET=oct CLASSIFIER=resnet50
	@$(DO) $@

weights: $(BIN)/.ready ## export the networks of finished runs as safetensors with a card each, to build/weights
	@$(DO) $@

archive: $(CRATE)/.ready ## put source, record, notebooks, site and weights into one folder for a DOI, build/archive
	@$(DO) $@

lab: $(BIN)/.ready ## open JupyterLab with the explorer, notebooks/explore.md
	@$(DO) $@

notebooks: $(BIN)/.ready ## write the notebooks as .ipynb, for use with papermill
	@$(DO) $@

test: $(BIN)/.ready ## run the test suite
	@$(DO) $@

check: $(BIN)/.ready ## test the built site and the explorer in a real browser (needs chromium)
	@$(DO) $@

lint: $(BIN)/.ready ## check style and common errors
	$(NO_VALUES)@$(BIN)/python -m ruff check . && $(BIN)/python -m ruff format --check .

bench: $(BENCH)/.ready ## compare the speed of our attack with other programs, in an environment of their own
	$(NO_VALUES)@$(BENCH)/python -m pytest --quiet tests/test_benchmarks.py
	@$(BENCH)/python -m benchmarks.attack
	@$(BENCH)/python -m benchmarks.scaling

gpu-check: $(BIN)/.ready ## test correctness and speed of the attack on this machine's NVIDIA GPU
	$(NO_VALUES)@$(BIN)/python -m benchmarks.gpu_check

clean: ## delete the demo, its phantoms and build/ (also exported weights and archives)
	$(NO_VALUES)rm -rf build runs/demo runs/demo+* data/phantoms .snakemake notebooks/*.ipynb

pdf: $(BIN)/.ready ## print the narrative and results pages of the built site to build/book.pdf (needs chromium)
	$(NO_VALUES)@$(BIN)/python -m book.pdf

# Three pips at once, because one alone leaves the second core idle; the lock is complete.
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
	@awk '{print > ("$(BIN)/part-" (/^nvidia|^torch=|^triton/ ? 0 : 1 + NR % 2))}' requirements.lock
	@printf '%s\n' 0 1 2 | xargs -P 3 -I{} $(PIP) -r $(BIN)/part-{}
	@$(PIP) --no-build-isolation -e .
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
