# Two commands matter: `make reproduce` and `make test`. Each works as the first one on a fresh machine.
PYTHON ?= python3
VENV ?= .venv
LOCK ?= requirements.lock
BIN := $(VENV)/bin
READY := $(VENV)/.ready
NOTEBOOKS := $(sort $(wildcard notebooks/[0-9]*.ipynb))
JOBS ?= 2
EXPLORE_PORT ?= 8866
STUDY_PORT ?= 8867
DATA ?= data/train
BUNDLE ?= runs/gpu-bundle
MINUTES ?= 9
# notebooks/voila.json binds to the loopback only and leaves out what is for readers of the notebook. Threads that wait without spinning
# keep a page quick while the next one is made ready.
VOILA := OMP_WAIT_POLICY=passive ../$(BIN)/voila --no-browser --Voila.port_retries=0
# JOBS files of tests, or notebooks, at a time, each on one core; conftest.py has their order
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n $(JOBS) --dist loadfile --no-loadscope-reorder
NBVAL := --nbval --nbval-sanitize-with tests/nbval.cfg --nbval-current-env --nbval-cell-timeout=300

.PHONY: help setup reproduce quick scores results figures test test-all test-lowest claims lab explore study browser notebooks site site-check address measures lint lock gpu gpu-bundle
.DEFAULT_GOAL := help

help:  ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

setup: $(READY)  ## virtual environment in .venv, with the versions of requirements.lock (LOCK= for the newest)

$(READY): pyproject.toml $(LOCK)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install $(if $(LOCK),-c $(LOCK)) -e '.[test,site]'
	@touch $@

reproduce: $(READY)  ## measure, compare with the committed scores, run all notebooks, draw; all in build/ (ALL=1: all data available)
	$(BIN)/e2ent2 reproduce $(if $(QUICK),--quick) $(if $(ALL),--all-data)

quick: $(READY)  ## tables and figures in build/ from the stored scores, nothing measured; every table says so
	$(BIN)/e2ent2 reproduce --quick

scores: $(READY)  ## measure the committed scores again, on all data sets available; those that are up to date stay
	$(BIN)/e2ent2 evaluate --models all --data all

results: $(READY)  ## write RESULTS.md, the tables in README.md and MODEL_CARD.md, from the committed scores and cards
	$(BIN)/e2ent2 report --renew

figures: $(READY)  ## draw the committed figures/ again, from the committed scores
	$(BIN)/e2ent2 reproduce --quick
	cp build/figures/*.png build/figures/*.pdf figures/

test: $(READY) lint  ## unit tests, and every notebook once (nbval; strict for the table notebooks)
	$(PYTEST) $(NBVAL) tests $(NOTEBOOKS)

test-all: $(READY)  ## the slow suites: kills, fuzzing, a whole reproduction, the explorers and the website in a browser
	$(BIN)/python -m pytest -m slow

test-lowest:  ## the unit tests with the lowest versions that pyproject.toml allows, in .venv-lowest
	$(PYTHON) -m venv .venv-lowest
	.venv-lowest/bin/python -m pip install -c requirements-lowest.txt -e '.[test]'
	.venv-lowest/bin/python -m pytest

measures: $(READY)  ## how thin the project is: each measure's limit, and what it is today
	$(BIN)/python benchmarks/measures.py

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

claims: $(READY)  ## the paper's claims, each with its verdict, from the stored scores
	$(BIN)/e2ent2 claims

lab: $(READY)  ## JupyterLab in notebooks/
	$(BIN)/jupyter lab --ip=127.0.0.1 notebooks

explore: $(READY)  ## the explorers as a page without code, and the user study on a page of its own (Ctrl-C ends both)
	@echo "explorers: http://localhost:$(EXPLORE_PORT)   user study: http://localhost:$(STUDY_PORT)   (each page needs about 20 s)"
	@cd notebooks && { $(VOILA) --port=$(STUDY_PORT) 13_user_study.ipynb & study=$$!; trap "kill $$study" EXIT; \
	  $(VOILA) --port=$(EXPLORE_PORT) 12_explore.ipynb; }

study: $(READY)  ## the user study alone, for participants; answers go to data/study
	@echo "user study: http://localhost:$(STUDY_PORT)"
	@cd notebooks && $(VOILA) --port=$(STUDY_PORT) 13_user_study.ipynb

browser: $(READY)  ## a browser for tests/test_browser.py, if there is none: Debian's chromium as root, else Playwright's
	@for name in chromium chromium-browser google-chrome chrome; do command -v $$name && exit 0; done; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get > /dev/null; then \
	  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium fonts-dejavu-core; \
	else $(BIN)/playwright install chromium; fi

notebooks: $(READY)  ## execute all notebooks in place and normalise their outputs, before a commit
	$(BIN)/python -m e2ent2lib.report.reproduce $(NOTEBOOKS)

site: $(READY)  ## the website, in build/site/html, from the stored outputs; nothing is executed or fetched
	$(BIN)/python -m sphinx -M html . build/site -c site -q -E -W --keep-going

site-check: $(READY)  ## build the website and look at every page of it in a browser (part of `make test-all`)
	$(BIN)/python -m pytest -q -m slow tests/test_site.py

address: $(READY)  ## write the public address of pyproject.toml into README.md and the notebooks (Binder, Colab)
	$(BIN)/python site/address.py

gpu-bundle: $(READY)  ## all that `make gpu` needs, in one folder of at most 60 MB (DATA= the photographs)
	$(BIN)/python -m benchmarks.gpu --make-bundle $(DATA) --bundle $(BUNDLE)

gpu:  ## with CUDA, from source and your own PYTHON: tests, what match and swap cost, trainings (MINUTES=, HOURS=)
	$(PYTHON) -m benchmarks.gpu --bundle $(BUNDLE) --checks --minutes $(MINUTES) $(if $(HOURS),--hours $(HOURS)) $(GPU_OPTIONS)

lock: $(READY)  ## write the installed versions to requirements.lock
	$(BIN)/python -m pip freeze --exclude-editable > requirements.lock
