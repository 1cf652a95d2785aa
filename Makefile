# People and CI use the same targets. `make` lists them.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.SUFFIXES:
MAKEFLAGS += --no-builtin-rules

VENV := .venv
READY := $(VENV)/.ready
BIN := $(VENV)/bin
ARGS ?=
TESTS ?= tests
# They need an argument (others, pytorch, search), a GPU, an earlier commit, or days (recipes).
NOT_BY_DEFAULT := __init__ common earlier gpu others pytorch recipes search
BENCHMARKS ?= $(filter-out $(NOT_BY_DEFAULT),$(patsubst benchmarks/%.py,%,$(wildcard benchmarks/*.py)))

# DVC runs `python -m stages...`: that python is the environment's.
export PATH := $(CURDIR)/$(BIN):$(PATH)
export DO_NOT_TRACK := 1
# Without bytecode each process would compile the modules of this project; the packages have it (.ci/setup).
unexport VIRTUAL_ENV PYTHONHOME PYTHONDONTWRITEBYTECODE
# TensorFlow's download is large: a slow line needs more than uv's 30 seconds.
export UV_HTTP_TIMEOUT ?= 180

.PHONY: help setup run test test-farm test-newest torture mutants lint bench schema architecture docs licences bill audit archives lock ci ci-check ci-run ci-comment ci-promote clean distclean

help: ## list the targets
	@echo "usage: make TARGET"
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-12s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

setup: $(READY) ## make the Python environment in .venv (again, when the lock has changed)

run: $(READY) ## run the pipeline; digits stand in where MNIST cannot be had; ARGS="--set models.dense.epochs=3"
	@inkflow run --fallback digits $(ARGS)

test: $(READY) ## run the tests; TESTS=tests/stages/params ARGS="-k name" for some of them
	@python -m pytest -n auto -m "not farm" $(TESTS) $(ARGS)

test-farm: $(READY) ## run the long tests: several servers and workers, repeated and larger cases, docs/deploy.md
	@python -m pytest -n 3 -m farm $(TESTS) $(ARGS)

torture: $(READY) ## try every promise by force for more than an hour and write docs/reliability.md; TESTS, ARGS as above
	@mkdir -p .inkflow && rm -f .inkflow/torture.broken.txt && date '+{"began_s": %s}' >.inkflow/torture.jsonl
	@INKFLOW_TORTURE=.inkflow/torture.jsonl python -m pytest -n 3 -o timeout=3600 $(or $(filter-out tests,$(TESTS)),tests/torture) $(ARGS) || failed=1; \
	  python -m tests.torture.document $(if $(filter-out tests,$(TESTS))$(ARGS),,--whole) .inkflow/torture.jsonl; exit $${failed:-0}

mutants: $(READY) ## change single decisions in the code, and look whether a test notices; MODULES="flows/engine/plan" for some
	@mkdir -p .inkflow
	@python -m tests.mutants --write .inkflow/mutants.txt $(MODULES)

test-newest: ## run the tests against the newest DVC and Prefect, in an environment of its own; say what broke
	@.ci/newest $(TESTS) $(ARGS)

lint: $(READY) ## check style, types, generated files and what must not be in the repository
	@ruff check .
	@ruff format --check .
	@mypy stages flows inkflow tests benchmarks examples
	@lint-imports --no-cache --no-logo >$(VENV)/imports.log || { cat $(VENV)/imports.log; exit 1; }
	@python -m stages.params.generate --check
	@python -m tests.architecture.document --check
	@python -m tests.dependencies.document --check
	@python -m tests.torture.document --check
	@.ci/no-addresses

bench: $(READY) ## measure, and write docs/benchmarks.md; BENCHMARKS="engine predict" for some, ARGS="--runs 3" for these
	@mkdir -p .inkflow
	@for program in $(BENCHMARKS); do python -m "benchmarks.$$program" $(ARGS) | tee ".inkflow/bench-$$program.jsonl"; done
	@python -m benchmarks.support.report $(BENCHMARKS:%=.inkflow/bench-%.jsonl)

schema: $(READY) ## write params.schema.json and docs/parameters.md from the schema in stages/params
	@python -m stages.params.generate

architecture: $(READY) ## write the drawing and the tables of docs/architecture.md from the code
	@python -m tests.architecture.document

licences: $(READY) ## write docs/dependencies.md, the licences of the locked packages
	@python -m tests.dependencies.document

bill: $(READY) ## write sbom.cdx.json, a software bill of materials (CycloneDX) of the locked packages
	@python -m tests.dependencies.document --bill sbom.cdx.json

audit: $(READY) ## compare the locked packages with the known vulnerabilities; ADVISORIES=FOLDER without a network
ifdef ADVISORIES
	@python -m tests.dependencies.advisories "$(ADVISORIES)"
else
	@python -m pip_audit --strict --requirement requirements.lock --disable-pip --no-deps --progress-spinner off
endif

archives: $(READY) ## build wheel and source package, install each into an empty environment and run it; needs the network
	@.ci/archives

docs: $(READY) ## build the documentation site into site/; ARGS=serve serves it while you write
	@NO_MKDOCS_2_WARNING=1 python -m mkdocs $(or $(ARGS),build --strict --quiet)

lock: $(READY) ## resolve the dependencies again and write requirements.lock; ARGS=--upgrade for newer ones
	@UV_CUSTOM_COMPILE_COMMAND="make lock" uv pip compile --quiet --universal --generate-hashes \
	  --python-version 3.11 --extra dev $(ARGS) --output-file requirements.lock pyproject.toml

ci: ## what CI does: Debian packages, lint, test, then the check and run lanes; ARGS for the run lane
	@failed=0; outcome=""; \
	lane() { \
	  if "$${@:2}"; then outcome+="$$1: passed"$$'\n'; else outcome+="$$1: failed"$$'\n'; failed=1; fi; \
	}; \
	if [ -z "$${INKFLOW_MIRROR:-}" ] && [ -d ../shared/data ]; then export INKFLOW_MIRROR="$$(cd ../shared/data && pwd)"; fi; \
	lane tests env -u MAKEFLAGS -u ARGS .ci/run; \
	lane check make --no-print-directory ci-check ARGS=; \
	lane run make --no-print-directory ci-run; \
	printf '\n%s' "$$outcome"; exit $$failed

ci-check: $(READY) ## without data or training: do code, dvc.lock and the DVC remote belong together?
	@inkflow ci check $(ARGS)

ci-run: $(READY) ## the pipeline with the DVC remote, where there is one, and the gates; ARGS="--push -- --jobs 2"
	@inkflow ci run $(ARGS)

ci-comment: $(READY) ## the summaries of both lanes as one comment on the job's pull or merge request
	@inkflow ci comment

ci-promote: $(READY) ## after the merge of a branch retrain/...: promote its models; ARGS names the stage, prod without
	@inkflow ci promote $(ARGS)

clean: ## remove what tools leave behind; results, DVC's cache and .venv stay
	@rm -rf .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist *.egg-info
	@find . -path ./$(VENV) -prune -o -path ./.dvc -prune -o -name __pycache__ -type d -print0 | xargs -0 rm -rf

distclean: clean ## clean, and remove .venv and what this machine remembers of runs too
	@rm -rf $(VENV) .inkflow

# An interpreter that is named may be another one than that of .venv: .ci/setup looks.
.PHONY: always
$(READY): requirements.lock pyproject.toml .ci/setup $(if $(PYTHON),always)
	@.ci/setup "$(VENV)"
	@if [ -d .dvc ]; then inkflow plots || true; fi # without it, only the pages of `dvc plots` need a network
	@touch $@
