# Everything a fresh clone needs; each target installs what it lacks.

PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python

.PHONY: install train test lint docs notebook clean

install: $(VENV)/installed

$(VENV)/installed: requirements.txt
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/pip install --quiet --disable-pip-version-check --requirement requirements.txt
	touch $@

train: install
	$(RUN) main.py

test: install
	$(RUN) -m pytest

lint: install
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .

docs: install
	NO_MKDOCS_2_WARNING=1 $(RUN) -m mkdocs build --strict

notebook: install
	$(RUN) -c 'import jupyterlab' 2> /dev/null || $(VENV)/bin/pip install --quiet jupyterlab
	PYTHONPATH=$(CURDIR) $(RUN) -m jupyterlab docs/tour.ipynb

clean:
	rm -rf $(VENV) runs site
