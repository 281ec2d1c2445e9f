# Everything a user does. `make help` lists it; values are set as in `make run DATASET=derma seed=1`.

PYTHON ?= $(firstword $(foreach name,python3 python3.14 python3.13 python3.12 python3.11,$(shell \
	command -v $(name) >/dev/null 2>&1 && \
	$(name) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $(name))))
JOBS ?= all
SOURCE ?= ../shared/data
SIZE ?= 64
BIN := .venv/bin
BENCH := .venv-bench/bin
# What the user set on the command line, less what make itself uses, goes to the parameters.
SETTINGS := $(filter-out PYTHON=% JOBS=% SOURCE=% SIZE=% FORCE=%,$(MAKEOVERRIDES))
export T0 := $(shell date +%s)
export PYTHONUNBUFFERED = 1
export PATH := $(CURDIR)/$(BIN):$(PATH)
# Each step says its own line; what Snakemake itself has to say goes to a log.
SNAKELOG := build/logs/snakemake.log
SNAKEMAKE = mkdir -p $(dir $(SNAKELOG)) && $(BIN)/snakemake --cores $(JOBS) --nolock \
	--rerun-incomplete $(if $(FORCE),--forceall) --quiet host progress reason rules 2> $(SNAKELOG)
FAILED = { grep -E "Error|Exception" $(SNAKELOG) | head -n 5; \
	echo "error: not everything ran, log $(SNAKELOG); what has finished is kept."; exit 1; }

.PHONY: help book run data record verify lab notebooks test check lint bench gpu-check clean
.DEFAULT_GOAL := help

help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

book: $(BIN)/.ready ## phantoms, all notebooks of the protocol demo, the site; FORCE=1: all again
	@$(BIN)/python -m lib.params $(SETTINGS) > /dev/null
	@$(SNAKEMAKE) $(if $(SETTINGS),--config $(SETTINGS)) || $(FAILED)
	@$(BIN)/python -m book.build

run: $(BIN)/.ready ## one run and its pages: DATASET=derma CLASSIFIER=resnet50 PROTOCOL=compact NAME=VALUE
	@$(BIN)/python -m lib.params $(SETTINGS) > /dev/null
	@$(SNAKEMAKE) $(if $(SETTINGS),--config $(SETTINGS)) || $(FAILED)
	@$(BIN)/python -m book.build

data: $(BIN)/.ready ## npz files of real images out of SOURCE=folder for SIZE=pixels, put under data/
	@$(BIN)/python -m lib.data.rebuild --source $(SOURCE) --root data --size $(SIZE)

record: $(BIN)/.ready ## small results of finished runs of PROTOCOL, kept under results/
	@$(BIN)/python -m lib.evidence record $(SETTINGS)
	@$(BIN)/python -m book.summaries record $(SETTINGS)

verify: $(BIN)/.ready ## all that is kept under results/, and the printed tables, checked
	@$(BIN)/python -m lib.evidence verify
	@$(BIN)/python -m book.summaries verify

# .jupyter/ makes a click on a text notebook open it as a notebook.
lab: $(BIN)/.ready ## JupyterLab on the text notebooks, beginning with notebooks/explore.md
	@JUPYTER_CONFIG_PATH="$(CURDIR)/.jupyter:$$JUPYTER_CONFIG_PATH" \
	$(BIN)/jupyter lab --notebook-dir . notebooks/explore.md

notebooks: $(BIN)/.ready ## .ipynb files of the text notebooks, for papermill by hand
	@$(SNAKEMAKE) -- notebooks || $(FAILED)

test: $(BIN)/.ready ## the whole test suite
	@$(BIN)/python -m pytest -n 2 --dist loadfile

check: $(BIN)/.ready ## the built site and the explorer in a real browser (needs chromium)
	@$(BIN)/python -m pytest -n 2 --dist loadfile tests/test_site_pages.py tests/test_lab.py

lint: $(BIN)/.ready ## style and common errors
	@$(BIN)/ruff check . && $(BIN)/ruff format --check .

bench: $(BENCH)/.ready ## our attack beside the peers', installed in an environment of their own
	@$(BENCH)/python -m pytest --quiet tests/test_benchmarks.py
	@$(BENCH)/python -m benchmarks.attack

gpu-check: $(BIN)/.ready ## the attack on this machine's NVIDIA GPU: right, and how fast
	@$(BIN)/python -m benchmarks.gpu_check

clean: ## removes what was made, but neither real images nor runs/ of other protocols nor .venv
	rm -rf build runs/demo runs/demo+* data/phantoms .snakemake notebooks/*.ipynb

$(BIN)/.ready: requirements.lock pyproject.toml
	@test -n "$(PYTHON)" || { echo "error: Python 3.11 or newer is needed and none was found: \
	install one, or name it with PYTHON=/path/to/python3."; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "error: %s is Python %d.%d, \
	3.11 or newer is needed: name another with PYTHON=/path/to/python3." % (sys.executable, \
	*sys.version_info[:2]))'
	@free=$$(df -Pk . | awk 'NR==2 {print int($$4 / 1048576)}'); test $$free -ge 8 || { \
	echo "error: $$free GB of disk are free here, the environment needs 8: make room."; exit 1; }
	@sh book/say.sh "environment: installing $$(grep -c == requirements.lock) packages into .venv"
	@rm -rf .venv && $(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --quiet --disable-pip-version-check -r requirements.lock
	@$(BIN)/python -m pip install --quiet --quiet --disable-pip-version-check --no-deps \
	--no-build-isolation -e .
	@touch $@
	@sh book/say.sh "environment: ready"

# The peers alone are installed here; all else is the project's own environment, reached by a path
# file. Without dependencies, as torchattacks asks for a requests of 2021, which JupyterLab cannot
# take, and imports it nowhere; what else the two need is in requirements.lock.
$(BENCH)/.ready: $(BIN)/.ready benchmarks/requirements.lock
	@sh book/say.sh "peers: installing $$(grep -c == benchmarks/requirements.lock) packages into .venv-bench"
	@rm -rf .venv-bench && $(BIN)/python -m venv --without-pip .venv-bench
	@$(BIN)/python -m pip --python $(BENCH)/python install --quiet --quiet \
	--disable-pip-version-check --no-deps -r benchmarks/requirements.lock
	@site='import sysconfig; print(sysconfig.get_path("purelib"))'; \
	$(BIN)/python -c "$$site" > "$$($(BENCH)/python -c "$$site")/project.pth"
	@touch $@
	@sh book/say.sh "peers: ready"
