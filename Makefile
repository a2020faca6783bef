# Every target sets up what it needs; a second run works offline.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
DEV    := $(VENV)/.installed-dev

.PHONY: run test sdk check gen protocol docs bench bench-peers differential tamper clean fuzz audit faults soak elections
.DEFAULT_GOAL := run

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "mas needs Python 3.11 or newer; try: make PYTHON=python3.12 run"; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); echo "The venv module is missing. On Debian and Ubuntu: sudo apt-get install python3-venv"; exit 1; }

$(STAMP): pyproject.toml | $(BIN)/python
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	@touch $@

$(DEV): $(STAMP)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check $$($(BIN)/python -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["dependency-groups"]["dev"])')
	@touch $@

run: $(STAMP)  ## start the sample system: server, gateway and the agents of agents.d/
	@$(BIN)/mas up

COUNT ?= 10000
WORKERS ?= 3
test: $(DEV)   ## run all tests against real servers; they wait a lot, so WORKERS processes share them
	@$(BIN)/python -m pytest -q --numprocesses $(WORKERS) --dist loadfile --no-loadscope-reorder --max-worker-restart 0; \
	  code=$$?; \
	  test $$code -eq 1 || exit $$code; \
	  echo; echo "What failed beside others is run a second time, alone; what fails again has failed."; \
	  $(BIN)/python -m pytest -q -rpfE --maxfail 5 --last-failed --last-failed-no-failures none && \
	  echo "These were run twice: each failed beside others and passed alone."

check: $(DEV)  ## format, lint, types, floors, generated files
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/python -m mas_cli.generated_files --check

gen: $(DEV)    ## write generated files: completions, reference pages, pictures of the dashboard
	@$(BIN)/python -m mas_cli.generated_files

SDK := $(addprefix tests/integration/test_,$(addsuffix .py,agents_* topics tasks consensus leaders signatures encrypted_messages delegation \
  delivery_modes supervisor routing expiry priorities schedule retry_policies told_progress rehearsal))
sdk: $(DEV)    ## run the tests of the SDK once more, its agents behind a server of agents
	@MAS_TEST_OVER_GRPC=1 $(BIN)/python -m pytest -q --numprocesses $(WORKERS) --dist loadfile $(SDK)

protocol: $(DEV)  ## write the code of mas_core/protocol/*.proto, with the oldest compiler whose code is supported
	@test -d $(VENV)-protocol || $(BIN)/python -m venv $(VENV)-protocol
	@$(VENV)-protocol/bin/pip install --quiet --disable-pip-version-check 'grpcio-tools==1.76.0'
	@$(VENV)-protocol/bin/python -m grpc_tools.protoc -I . --python_out=. --pyi_out=. mas_core/protocol/*.proto

docs: $(DEV)   ## build the site of docs/ into site/; a broken link fails
	@$(BIN)/python -m zensical build --strict

bench: $(DEV)  ## measure against baselines and peers in the same run
	@$(BIN)/python -m benchmarks $(BENCH)

bench-peers: $(DEV)  ## install what is compared with, each in .venv-peers
	@$(BIN)/python -m benchmarks.peers

differential: $(DEV)  ## compare the access rules with a brute-force model on 1,000,000 random cases
	@$(BIN)/python tests/support/access_model.py --cases 1000000

elections: $(DEV)  ## compare ranked votes with two libraries of others on COUNT random elections
	@test -d $(VENV)-elections || $(BIN)/python -m venv $(VENV)-elections
	@$(VENV)-elections/bin/pip install --quiet --disable-pip-version-check msgspec python-ulid 'pref_voting>=1.18,<2' 'pyrankvote>=2.0.6,<3'
	@PYTHONPATH=. $(VENV)-elections/bin/python tests/support/elections.py --count $(COUNT)

tamper: $(DEV) ## spoil a log of 100,000 records in 10,000 ways, and verify each
	@$(BIN)/python tests/support/tampering.py $(TAMPER)

fuzz: SECONDS ?= 60
fuzz: $(DEV)   ## feed every parser for SECONDS each; guided by coverage where atheris is installed
	@$(BIN)/python tests/fuzz/run.py --seconds $(SECONDS)

faults: $(DEV) ## break what can break, as often as docs/reliability.md says: ROW=r1 RUNS=50 SEED=7, or everything
	@$(BIN)/python -m tests.faults $(foreach row,$(ROW),--row $(row)) $(if $(RUNS),--runs $(RUNS)) $(if $(SEED),--seed $(SEED))

soak: SECONDS ?= 1800
soak: $(DEV)   ## run at half load for SECONDS with a fault of any kind every ten seconds
	@$(BIN)/python -m tests.faults --row r21 --seconds $(SECONDS) $(if $(SEED),--seed $(SEED))

audit: $(DEV)  ## look for known vulnerabilities in what is installed; needs the network
	@$(BIN)/python -m venv $(VENV)-audit && $(VENV)-audit/bin/pip install --quiet --disable-pip-version-check pip-audit
	@$(VENV)-audit/bin/pip-audit --progress-spinner off --path "$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')"

clean:
	rm -rf $(VENV) $(VENV)-audit $(VENV)-elections .venv-peers .mas .cache site
