# Two commands: `make lab` opens the tutorial, `make test` tests it. Each sets up what it needs, once.

PYTHON ?= python3
BIN := .venv/bin
FIRST := $(firstword $(sort $(wildcard notebooks/0[1-9]_*.ipynb)))
ROOT := $(if $(filter 0,$(shell id -u)),--allow-root)
# make setup TORCH=cpu: torch without CUDA, a gigabyte where Linux otherwise gets five (any backend that uv knows)
BACKEND := $(if $(TORCH),--torch-backend $(TORCH))
# in this order: what each regime's contenders choose from, then the runs of those chosen
SWEEPS := slides algorithms mnist1d selection selection-lean frontier headline ablation ablation-lenet300100 \
  ablation-mlp1d first-layer atlas $(foreach family,noise fashion few classes length memory structure,$(family)-tuning $(family))

# some containers set it: every start of Python then compiles torch's modules anew, which takes seconds
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help setup develop lab demo test notebooks measure figures slides book results timings requirements

help: ## say what there is
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.venv/bin/uv:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "Python 3.11 or newer is needed; name one with 'make PYTHON=python3.12 ...'" >&2; exit 1; }
	$(PYTHON) -m venv .venv \
	  || { echo "This Python has no venv module; on Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv

# what a reader needs, and what the tests need on top
.venv/.reader: EXTRAS := bench,notebooks,studies
.venv/.developer: EXTRAS := test
.venv/.reader .venv/.developer: pyproject.toml requirements.txt | .venv/bin/uv
	$(BIN)/uv pip install --python $(BIN)/python $(BACKEND) --constraint requirements.txt --editable '.[$(EXTRAS)]'
	@touch $@

setup: .venv/.reader ## install what the notebooks need into .venv, and fetch MNIST
	@$(BIN)/python -m dst_tutorial data

develop: setup .venv/.developer ## and what the tests need

lab: setup ## open JupyterLab on the first notebook (LAB="--no-browser" adds options)
	$(BIN)/jupyter lab $(ROOT) --ServerApp.root_dir="$(CURDIR)" $(LAB) $(FIRST)

demo: setup ## serve the explorers alone, on http://127.0.0.1:8866
	cd demo && JUPYTER_PATH=$(CURDIR)/demo $(CURDIR)/$(BIN)/voila explorers.ipynb $(VOILA)

test: develop ## lint, unit and property tests, all notebooks in demo mode, the browser test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	OMP_NUM_THREADS=1 TQDM_DISABLE=1 DST_TUTORIAL_MODE=demo $(BIN)/pytest --numprocesses 2 --dist loadfile \
	  --no-loadscope-reorder --nbval-lax --nbval-current-env --nbval-cell-timeout 300 tests notebooks demo

notebooks: develop ## run all notebooks and keep their outputs (MODE=demo|class|full, class by default)
	$(BIN)/python notebooks/build.py --run --mode $(or $(MODE),class)

measure: develop ## print time and peak memory of each notebook in demo mode
	$(BIN)/python notebooks/build.py --measure

figures: develop ## draw the slides' figures and tables, and write the claims ledger, from the recorded results
	$(BIN)/python -m dst_tutorial figures
	$(BIN)/python -m dst_tutorial claims
	$(BIN)/python notebooks/build.py

slides: develop ## build the deck, slides/dst.pdf, from the recorded results
	$(BIN)/python slides/build_slides.py

book: develop ## build the book, book/built/html: the notebooks with their outputs as a site that needs no network
	$(BIN)/python book/build_book.py

results: develop ## do the recorded runs that are missing (most of a day on two cores for all: notebooks/README.md)
	$(BIN)/python -m dst_tutorial sweep forms
	for name in $(SWEEPS); do $(BIN)/python -m dst_tutorial sweep $$name --workers 2 || exit 1; done

timings: develop ## time all that the notebooks show anew, on this machine (two hours; nothing else should run)
	$(BIN)/python -m dst_tutorial bench all --record
	$(BIN)/python -m dst_tutorial break-even --threads 1 --record
	$(BIN)/python -m dst_tutorial scaling --threads 1 --record

requirements: .venv/bin/uv ## compile requirements.txt anew
	$(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --no-header --no-annotate \
	  --extra test pyproject.toml --output-file requirements.txt
