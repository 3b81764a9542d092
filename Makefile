# `make demo` and `make test` need Python 3.10 to 3.13, pip and make; everything else goes into $(VENV).
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
DEMO_ARGS ?=
TEST_ARGS ?=

.PHONY: demo test test-slow lint install clean

demo: $(VENV)/.installed-pictures
	$(BIN)/python tools/demo.py $(DEMO_ARGS)

test: $(VENV)/.installed-tests
	$(BIN)/python -m pytest $(TEST_ARGS)

test-slow: $(VENV)/.installed-tests
	$(BIN)/python -m pytest -m slow -rs $(TEST_ARGS)

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/codespell
	$(BIN)/mypy
	PYTHONPATH=. $(BIN)/lint-imports
	$(BIN)/python -m compileall -q vlm_dense projects configs tools

install: $(VENV)/.installed-pictures

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))' || \
	  { echo 'vlm_dense needs Python 3.10 to 3.13; name one with: make PYTHON=/path/to/python3.11'; exit 1; }
	$(PYTHON) -m venv $(VENV)

# The stamps make a second call cheap: pip runs again only when a list of requirements changed.
$(VENV)/.installed-pictures: $(BIN)/python setup.py requirements/runtime.txt requirements/pictures.txt requirements/pictures-nodeps.txt
	$(BIN)/python -m pip install --disable-pip-version-check -q -e '.[pictures]'
	$(BIN)/python -m pip install --disable-pip-version-check -q --no-deps -r requirements/pictures-nodeps.txt
	@touch $@

$(VENV)/.installed-tests: $(VENV)/.installed-pictures requirements/tests.txt
	$(BIN)/python -m pip install --disable-pip-version-check -q -r requirements/tests.txt
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed-tests requirements/dev.txt
	$(BIN)/python -m pip install --disable-pip-version-check -q -r requirements/dev.txt
	@touch $@

clean:
	rm -rf $(VENV) build *.egg-info
