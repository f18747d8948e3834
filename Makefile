# Everything runs in .venv, which is made on first use and kept; it is brought up to date when pyproject.toml changes.
#
#   make demo                 the main job on this machine, with images made from two photographs
#   make demo IMAGES=photos   the same with your own images
#   make test | check | docs | format | build

PYTHON ?= $(shell command -v python3.11 || command -v python3.12 || command -v python3 || command -v python)
BIN := .venv/bin

OUT := demo-output
IMAGES ?=
TASK ?= cls
DEVICE ?= this
BUDGET ?= 2ms
DEMO_IMAGES = $(or $(IMAGES),$(OUT)/images)
DEMO_SEARCH = search --images "$(DEMO_IMAGES)" --task $(TASK) --device $(DEVICE) --budget $(BUDGET) -o "$(OUT)/package" --overwrite

.PHONY: demo test check format build docs vega

demo: .venv/.installed
	$(if $(IMAGES),,$(BIN)/python -m zoo.demo "$(DEMO_IMAGES)")
	$(BIN)/python -m zoo $(DEMO_SEARCH)
	@echo "$(OUT)/package/report.html  open it in a browser"

test: .venv/.installed
	$(BIN)/python -m pytest $(or $(ARGS),-n auto)

check: .venv/.installed
	$(BIN)/python -m ruff check
	$(BIN)/python -m ruff format --check
	$(BIN)/python -m mypy

format: .venv/.installed
	$(BIN)/python -m ruff check --fix
	$(BIN)/python -m ruff format

build: .venv/.installed
	$(BIN)/python -m pip wheel --no-deps --wheel-dir dist .

docs: .venv/.installed
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build

# The library that draws the pages of `zoo report`, in one file; done by hand when there is a new version.
vega: .venv/.installed
	$(BIN)/python -m pip install --disable-pip-version-check -q vl-convert-python
	$(BIN)/python -c 'import vl_convert as v; print(v.javascript_bundle().replace("</script", "<\\/script").replace("<!--", "<\\!--"))' > zoo/report/vega.js

.venv/.installed: pyproject.toml
	@test -x $(BIN)/python || "$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11) and "found Python %d.%d; needed is 3.11 or newer: make PYTHON=/path/to/python3.11" % sys.version_info[:2])'
	test -x $(BIN)/python || "$(PYTHON)" -m venv .venv
	@$(BIN)/python -c 'import pip' 2>/dev/null || $(BIN)/python -m ensurepip
	$(BIN)/python -m pip install --disable-pip-version-check -e '.[dev]' --config-settings editable_mode=compat
	@touch $@
