# Everything a clone needs; each target installs what it lacks. `make help` lists the targets.

PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
# A process for each core; the tests of a file share one, and so what they set up.
PARALLEL := -n auto --dist loadfile --no-loadscope-reorder

.PHONY: help install train test test-fast lint docs bench notebook clean

help:  ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## */\t/' | expand -t 12

install: $(VENV)/installed  ## the environment .venv, with the versions of requirements.txt and the command air-jax

$(VENV)/installed: requirements.txt
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/pip install --quiet --disable-pip-version-check --requirement requirements.txt
	$(VENV)/bin/pip install --quiet --disable-pip-version-check --no-deps --editable .
	touch $@

train: install  ## trains on the embedded digits until they are counted, about a minute
	$(RUN) main.py --config=quick

test: install  ## all tests
	$(RUN) -m pytest $(PARALLEL)

test-fast: install  ## the tests that take little time
	$(RUN) -m pytest $(PARALLEL) -m "not slow"

lint: install  ## formatting, style and types
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

docs: install  ## the documentation as a site, in site/
	NO_MKDOCS_2_WARNING=1 $(VENV)/bin/mkdocs build --strict

bench: install  ## the benchmarks that fit in ten minutes, into docs/benchmarks.json
	$(RUN) -m benchmarks.bench

notebook: install  ## the tour of the library in a browser
	$(VENV)/bin/pip install --quiet --disable-pip-version-check notebook
	$(VENV)/bin/jupyter notebook docs/tour.ipynb

clean:  ## removes the environment, runs and built files
	rm -rf $(VENV) runs site build dist *.egg-info
