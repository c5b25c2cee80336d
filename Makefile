# The commands of Patchbench. `make` alone lists them. Needs make 3.81 or newer, a POSIX shell and Python 3.11 or newer.
#
# Everything runs in .venv, which is made on first use and brought up to date when pyproject.toml or constraints.txt
# change. make exits with 2 whatever a command exits with; `.venv/bin/patchbench` has the exit codes that README lists.

.DEFAULT_GOAL := help
SHELL := /bin/sh
PYTHON ?= python3

# What the user gives reaches the shell in environment variables and by its letters: nothing in it is ever executed.
override NAME := $(value NAME)
override SCALE := $(value SCALE)
override SET := $(value SET)
override ARGS := $(value ARGS)
export NAME SCALE SET ARGS PYTHON

VENV_PYTHON := .venv/bin/python
INPUTS := pyproject.toml constraints.txt Makefile
RUN_STAMP := .venv/.installed
DEV_STAMP := .venv/.installed-dev
BENCH_STAMP := .venv/.installed-bench
STUDIES := $(filter-out _%,$(basename $(notdir $(wildcard studies/*.py))))
PIP := PYTHONUNBUFFERED=1 $(VENV_PYTHON) -m pip --disable-pip-version-check --no-input --retries 8 --timeout 60
PYTEST := $(VENV_PYTHON) -m pytest -n auto --dist worksteal
PIP_INSTALL := $(PIP) install --no-compile --progress-bar off -c constraints.txt
# What pip would do by itself on one core, for a minute, all cores do; a file that does not compile is no obstacle.
COMPILE := $(VENV_PYTHON) -m compileall -q -j 0 .venv/lib >/dev/null 2>&1 || :

.PHONY: help study report results studies ui test test-all bench lint numerics constraints named

##: The list that `make help` prints is made of the comments behind `##` below.
study: named $(RUN_STAMP) ## NAME=... [SCALE=...] [SET="key=value ..."] | run or resume a study, then write its report
	@set -f; exec $(VENV_PYTHON) -m harness run $${SCALE:+"--scale=$$SCALE"} -- "$$NAME" $$SET

report: named $(RUN_STAMP) ## NAME=... [SCALE=...] | rebuild a study's report from what is kept
	@exec $(VENV_PYTHON) -m harness report $${SCALE:+"--scale=$$SCALE"} -- "$$NAME"

results: $(RUN_STAMP) ## [NAME=GROUP] [SCALE=...] | run or resume every study, or those of a group: data, architecture, ...
	@exec $(VENV_PYTHON) -m harness run-all $${SCALE:+"--scale=$$SCALE"} $${NAME:+-- "$$NAME"}

studies: $(RUN_STAMP) ## | list the studies
	@exec $(VENV_PYTHON) -m harness list

ui: $(RUN_STAMP) ## | serve the MLflow UI over the results, on this machine only
	@exec $(VENV_PYTHON) -m harness ui

# Threads of one worker's BLAS would wait for the other worker, for most of the tests' time.
test test-all: export OPENBLAS_NUM_THREADS := 1

test: $(DEV_STAMP) ## [ARGS="..."] | run the quick tests, some minutes (ARGS go to pytest)
	@echo 'The tests marked slow are left out; make test-all runs them too.'
	@set -f; exec $(PYTEST) -m 'not slow' $$ARGS

test-all: $(DEV_STAMP) ## [ARGS="..."] | run all tests, slow ones too
	@set -f; exec $(PYTEST) $$ARGS

bench: $(BENCH_STAMP) ## [ARGS="PART ... --quick"] | measure speed beside other libraries, into results/bench
	@set -f; exec $(VENV_PYTHON) -m harness bench $$ARGS

lint: $(DEV_STAMP) ## | ruff, mypy and the layering of the packages
	$(VENV_PYTHON) -m ruff check .
	$(VENV_PYTHON) -m ruff format --check .
	$(VENV_PYTHON) -m mypy
	$(VENV_PYTHON) .venv/bin/lint-imports

numerics: $(DEV_STAMP) ## [ARGS=new] | keep the losses of today's code as the golden ones, after NUMERICS was raised (of new cases alone)
	cd tests/training && OMP_NUM_THREADS=1 ../../$(VENV_PYTHON) golden_losses.py $$ARGS

constraints: ## | renew the versions in constraints.txt
	@$(require_python); rm -rf .venv-new && "$$PYTHON" -m venv .venv-new
	.venv-new/bin/python -m pip install --quiet --editable '.[dev,bench,huggingface]'
	@{ sed -n '/^#/p' constraints.txt; .venv-new/bin/python -m pip freeze --all --exclude-editable --exclude pip | \
	    tr 'A-Z_' 'a-z-' | LC_ALL=C sort | sed -E '/^(cuda|nvidia|triton)/s/$$/ ; platform_system == "Linux"/'; \
	} > constraints.new && mv constraints.new constraints.txt && rm -rf .venv-new

help: ## | this list
	@awk -F ' ## | [|] ' '/^[a-z-]+:.* ## / { sub(/:.*/, "", $$1); sub(/^[|] /, "", $$2); \
	    if (NF == 2) printf "make %-11s  %s\n", $$1, $$2; else printf "make %-11s  %s\n%18s%s\n", $$1, $$3, "", $$2 }' Makefile
	@echo 'Studies: $(STUDIES)'

# A study's name is checked before minutes go into an installation.
named:
	@case "$$NAME" in \
	    '') echo 'Which study? Give its name, e.g. make $(firstword $(filter study report,$(MAKECMDGOALS)) study)' \
	        'NAME=$(firstword $(STUDIES)). Studies: $(STUDIES).' >&2; exit 2;; \
	    *.py) ;; \
	    *) [ -f "studies/$$NAME.py" ] || { \
	        printf "There is no study '%s'. Studies: $(STUDIES); or give the path of a file of your own, NAME=my_study.py.\n" \
	            "$$NAME" >&2; exit 2; };; \
	esac

# --- .venv -----------------------------------------------------------------------------------------------------------

define require_python
"$$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
    echo "Patchbench needs Python 3.11 or newer; '$$PYTHON -V' says: $$("$$PYTHON" -V 2>&1)." \
        "Name another one: make $(MAKECMDGOALS) PYTHON=python3.12" >&2; exit 2; }; \
"$$PYTHON" -c 'import venv, ensurepip' 2>/dev/null || { \
    echo "$$PYTHON has no venv module. On Debian and Ubuntu: sudo apt install python3-venv." \
        "Then give the same command again." >&2; exit 2; }
endef

# $(call install,EXTRAS): a .venv that an interrupted installation left (.unfinished) or that does not start is remade.
define install
@if ! (set -C; echo $$$$ > .venv.pid) 2>/dev/null; then \
    if kill -0 "$$(cat .venv.pid)" 2>/dev/null; then \
        echo "Process $$(cat .venv.pid) is setting up .venv; wait for it. (If it is something else, remove .venv.pid.)" >&2; \
        exit 2; \
    fi; \
    echo $$$$ > .venv.pid; \
fi; \
trap 'rm -f .venv.pid' EXIT; \
if [ -e .venv/.unfinished ] || ! $(VENV_PYTHON) -m pip --version >/dev/null 2>&1; then \
    $(require_python); \
    "$$PYTHON" -m venv --clear .venv || { echo "Could not make .venv; see above." >&2; exit 2; }; \
fi; \
rm -f .venv/.failed && : > .venv/.unfinished; \
( \
    trap 'exit 130' INT TERM; \
    { $(PIP_INSTALL) setuptools && $(PIP_INSTALL) --no-build-isolation --editable '.$(1)'; } || : > .venv/.failed; \
    $(COMPILE); \
    rm -f .venv/.unfinished \
) 2>&1 | tee .venv/install.log | awk ' \
    /^ *(Downloading|Using cached) .*[0-9] [MG]B\)/ { sub(/^ */, "    "); sub(/-[^ ]*whl/, ""); print; fflush() } \
    /^Installing collected packages:.*,/ { print "    installing"; fflush() }'; \
if [ -e .venv/.failed ] || [ -e .venv/.unfinished ]; then \
    tail -n 20 .venv/install.log >&2; \
    echo "The installation failed; all of its output is in .venv/install.log. The same command tries again." >&2; exit 2; \
fi; \
: > $@
endef

$(RUN_STAMP): $(INPUTS) | $(if $(filter study report,$(MAKECMDGOALS)),named)
	@echo "Setting up .venv (once, a few minutes, up to 6.5 GB) ..."
	$(call install,)

$(DEV_STAMP): $(RUN_STAMP)
	@echo "Adding the tools for tests and lint to .venv (once) ..."
	$(call install,[dev])

$(BENCH_STAMP): $(RUN_STAMP)
	@echo "Adding the libraries that the bench compares with to .venv (once) ..."
	$(call install,[bench])
