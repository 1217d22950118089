# make run: a proxy in seconds; make test: everything that tests need, then the tests. `make` alone prints this list.
PYTHON ?= python3
VENV ?= .venv
PY = $(VENV)/bin/python
ARGS ?=
TESTS ?= tests
# Processes that run tests; auto: two more than there are cores (tests/schedule.py); 0: this one alone (for --pdb, or to read along).
JOBS ?= auto
CLAUDE_CODE ?= 2.1.332
# The oldest versions that setup.cfg allows, as pip wants them.
OLDEST = $(sort $(shell sed -n 's/^    \(aiohttp\|aiohappyeyeballs\|orjson\|PyYAML\|redis\)>=\([0-9.]*\).*/\1==\2/p' setup.cfg))
FAST = -m "not real and not claude"
# Where aiohttp and orjson are used most.
OLDEST_TESTS ?= tests/http1 tests/messages tests/proxy tests/upstream/test_client.py tests/upstream/test_body.py
MAKEFLAGS += --no-print-directory
# The tests start hundreds of processes. Without compiled files each of them compiles a2py again.
test test-real test-uvloop test-claude test-oldest cov: export PYTHONDONTWRITEBYTECODE =

help: ## this list
	@grep -E '^[a-z-]+:.*##' Makefile | sed 's/:.*##/\t/' | expand -t 14

$(VENV)/.run: setup.cfg pyproject.toml
	@test -x $(PY) || { echo "making $(VENV) …"; $(PYTHON) -m venv $(VENV); }
	@echo "installing a2py and what it needs into $(VENV) (only this time, some 10 s) …"
	@$(PY) -m pip install -q --disable-pip-version-check -e . && touch $@

$(VENV)/.test: setup.cfg pyproject.toml
	@test -x $(PY) || { echo "making $(VENV) …"; $(PYTHON) -m venv $(VENV); }
	@echo "installing a2py and what its tests need into $(VENV) (only this time, half a minute) …"
	@$(PY) -m pip install -q --disable-pip-version-check -e '.[test,check]' && touch $@ $(VENV)/.run

run: $(VENV)/.run ## start the proxy on 127.0.0.1:4000 (ARGS="--config litellm_config.yaml --port 4000")
	@exec $(PY) -m a2py $(ARGS)

test: $(VENV)/.test ## install what the tests need and run them, on all cores (ARGS="-k sse", JOBS=0)
	@$(PY) -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder $(FAST) $(TESTS) $(ARGS)

test-real: $(VENV)/.test $(VENV)/.uvloop ## install nginx, HAProxy, systemd, Redis, Claude Code … and test with them, then on uvloop (ARGS="--seconds 600")
	@CLAUDE_CODE=$(CLAUDE_CODE) $(PY) -m tests.real $(ARGS)

test-uvloop: $(VENV)/.test $(VENV)/.uvloop ## the tests of upstream connections and of the relay, on uvloop
	@$(PY) -m tests.real --uvloop $(ARGS)

$(VENV)/.uvloop: $(VENV)/.test
	@$(PY) -m pip install -q --disable-pip-version-check 'uvloop>=0.21' && touch $@

test-claude: $(VENV)/.test ## scenarios with the real Claude Code CLI (A2PY_CLAUDE, claude in PATH, or installed by npm)
	@claude="$${A2PY_CLAUDE:-$$(command -v claude)}"; \
	if [ -z "$$claude" ] && ! [ -d .venv-claude/node_modules ]; then \
		npm install --prefix .venv-claude --silent --no-audit --no-fund @anthropic-ai/claude-code@$(CLAUDE_CODE); fi; \
	A2PY_CLAUDE="$$claude" $(PY) -m pytest -m claude tests $(ARGS)

.venv-oldest/.done: setup.cfg
	@test -x .venv-oldest/bin/python || $(PYTHON) -m venv .venv-oldest
	@.venv-oldest/bin/python -m pip install -q --disable-pip-version-check $(OLDEST) pytest pytest-aiohttp pytest-xdist pytest-cov hypothesis h11 anthropic openai -e ".[redis]" && touch $@

test-oldest: .venv-oldest/.done ## the fast part of the tests with the oldest aiohttp, orjson, PyYAML and redis that setup.cfg allows
	@.venv-oldest/bin/python -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder $(FAST) $(OLDEST_TESTS) $(ARGS)

goldens: $(VENV)/.test ## rewrite the checked blocks of tests/goldens/*.md (then read git diff)
	@A2PY_GOLDENS=write $(PY) -m pytest tests/goldens/test_goldens.py $(ARGS)

mutate: $(VENV)/.test ## switch off quirk fields and rule branches one by one: a golden must notice each (ARGS="openai/media.py")
	@$(PY) -m tests.mutate $(ARGS)

digest: $(VENV)/.test ## write a digest of all upstream requests, or compare with it (ARGS=/tmp/requests.digest, before and after a change)
	@$(PY) -m tests.digest $(ARGS)

.venv-fuzz/.done: setup.cfg
	@test -x .venv-fuzz/bin/python || $(PYTHON) -m venv .venv-fuzz
	@.venv-fuzz/bin/python -m pip install -q --disable-pip-version-check atheris pytest hypothesis anthropic h11 -e . && touch $@

fuzz: .venv-fuzz/.done ## coverage-guided fuzzing, a minute for each target (ARGS="--seconds 600", ARGS="http -runs=100000")
	@.venv-fuzz/bin/python -m tests.fuzz $(or $(ARGS),--seconds 60)

check: $(VENV)/.test ## format, lint, types
	@$(PY) -m ruff format --check a2py tests bench tools
	@$(PY) -m ruff check a2py tests bench tools
	@$(PY) -m mypy

cov: $(VENV)/.test ## branch coverage
	@$(PY) -m pytest $(FAST) $(TESTS) --cov --cov-report=term $(ARGS)

bench: ## measure beside nginx and others, some 15 minutes; writes bench/RESULTS.md (ARGS="--quick --systems a2py,nginx": only prints)
	@$(PYTHON) -m bench.systems install a2py a2py-uvloop
	@$(PYTHON) -m bench.run $(ARGS)
	@test -n "$(ARGS)" || $(PYTHON) -m bench.report

bench-peers: ## install what `make bench` compares with, into .venv-bench/ (nginx and HAProxy: Debian's packages, as root)
	@$(PYTHON) -m bench.systems install

dist: $(VENV)/.run ## wheel and sdist into dist/
	@$(PY) -m pip install -q build && $(PY) -m build

pyz: $(VENV)/.run ## one file for CPython 3.10 to 3.14 on Linux, dist/a2py.pyz (ARGS="--uvloop --python 3.11")
	@$(PY) -m tools.pyz $(ARGS)

test-dist: $(VENV)/.test ## build the wheel and the single file, and run them on the Pythons that are here (pipx, uvx where installed)
	@rm -rf dist && $(PY) -m pip wheel -q --no-deps --wheel-dir dist . && $(PY) -m tools.pyz
	@A2PY_DIST=dist $(PY) -m pytest tests/packaging/test_pyz.py tests/packaging/test_containers.py $(ARGS)

release: $(VENV)/.test ## check, set VERSION=1.2.3, build wheel, sdist and pyz, say what to push; pushes nothing
	@$(PY) -m tools.release $(VERSION)

clean: ## remove what was built
	rm -rf build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .coverage htmlcov

.PHONY: help run test test-real test-uvloop test-claude test-oldest goldens mutate digest fuzz check cov bench bench-peers dist pyz test-dist release clean
