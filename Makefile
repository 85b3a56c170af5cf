# Everything a fresh clone needs; each target installs what it lacks.

PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python

.PHONY: install train test lint clean

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

clean:
	rm -rf $(VENV) runs
