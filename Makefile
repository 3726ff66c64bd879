# make demo, make test: each makes .venv and all it needs. As root, missing Debian packages are
# installed; an ordinary user is told which ones are missing.

.DELETE_ON_ERROR:
.PHONY: demo demo-fleet test coverage test-slow fuzz test-examples test-system test-kernel test-packages bench bench-quick bench-attack generated lint types contracts wheel sdist deb release test-release check clean

python := .venv/bin/python
# Nothing below may reach the machine's own firewall: it runs in a network namespace of its own.
inside := unshare --net $(if $(filter 0,$(shell id -u)),,--user --map-root-user)
# Three tests at once on two cores, as they often wait. The workers share neither network nor mounts:
# a test may cover a program that another one runs. PYTEST='--dist no' runs them one by one.
count := $(shell n=$$(($$(nproc) * 3 / 2)); echo $$((n < 12 ? n : 12)))
workers := --dist worksteal --tx '$(count)*popen//python=unshare --net --mount $(python)'
# In CI the tests that failed on a busy machine are tried once more, alone, and the output has both.
again = $(if $(CI),|| { echo "Once more and one by one:"; $(inside) $(1) --dist no --last-failed --last-failed-no-failures none; })

demo: .venv/run
	.venv/bin/treason demo

# As root: an attack on one of three hosts that share their bans by PostgreSQL.
demo-fleet: .venv/dev
	.ci/packages postgresql iproute2 util-linux procps
	PYTHONPATH=tests $(python) -m bench.fleet

test: .venv/dev
	mkdir -p .cache
	$(inside) $(python) -m pytest --basetemp=.cache/pytest $(workers) $(PYTEST) $(call again,$(python) -m pytest)

# The same in nearly twice the time: which lines and branches the tests reach, 95 % at least.
coverage: .venv/dev
	mkdir -p .cache
	.venv/bin/coverage erase
	$(inside) .venv/bin/coverage run -m pytest --basetemp=.cache/pytest $(workers) $(PYTEST)
	.venv/bin/coverage combine --quiet
	$(if $(PYTEST),,.venv/bin/coverage report)

# Minutes: passes and scans killed at random moments, machines in trouble, and a short fuzz.
test-slow: .venv/dev .venv/fuzz
	$(inside) $(python) -m pytest -q -m slow $(workers) $(PYTEST) $(call again,$(python) -m pytest -q -m slow)

# Ten minutes for each parser, an hour and a half for all: FUZZ='line kmsg' chooses.
FUZZ_SECONDS ?= 600
fuzz: .venv/fuzz
	$(python) tests/fuzz --seconds $(FUZZ_SECONDS) $(FUZZ)

# Installs the examples, and follows the how-tos, in empty virtual environments.
test-examples: wheel
	.ci/packages haproxy iproute2 util-linux
	$(python) tests/authors.py dist/*.whl

# As root: boots a real Debian with systemd in a container without network, see tests/system/.
test-system: wheel
	.ci/packages debootstrap systemd-container
	$(python) tests/system/make.py dist/*.whl

# As root: boots Debian's 5.10, 6.1 and 6.12 in qemu, and attacks them. A quarter of an hour without
# KVM; KERNELS='5.10 6.12' chooses.
test-kernel: wheel
	.ci/packages debootstrap e2fsprogs qemu-system-x86
	$(python) tests/system/kernel.py dist/*.whl $(KERNELS)

# As root: the Debian package in fresh Debian 12 and 13: installed, upgraded, removed, purged.
test-packages: deb
	.ci/packages mmdebstrap systemd-container
	unshare --mount $(python) tests/system/packages.py "$$(ls -t dist/*.deb | head -n 1)"

# A quarter of an hour on two cores that have nothing else to do; BENCH='--only passes' chooses.
bench: .venv/bench
	$(python) -m compileall -q reconciler backends sources feeds
	$(python) -m bench.peers.fetch
	$(inside) $(python) -m bench $(BENCH)

# Two minutes: fails when a ratio is far from what it should be.
bench-quick: .venv/dev
	$(python) -m compileall -q reconciler backends sources feeds
	$(inside) $(python) -m bench --quick

# As root, two minutes: a server whose places attackers take, before and after.
bench-attack: .venv/dev
	PYTHONPATH=tests $(inside) $(python) -m bench.attack $(BENCH)

# What is made of the code and committed: manual pages, completion. A test asserts that it is so.
generated: .venv/dev
	$(python) -m release manual
	$(python) -m release completion

lint: .venv/dev
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .

types: .venv/dev
	.venv/bin/mypy
	.venv/bin/mypy examples/treason-haproxy/treason_haproxy examples/treason-pstore/treason_pstore \
		examples/treason-folder/treason_folder
	MYPYPATH=examples/treason-haproxy:examples/treason-haproxy/tests:examples/treason-pstore:examples/treason-folder \
		.venv/bin/mypy examples/treason-haproxy/tests examples/treason-pstore/tests examples/treason-folder/tests

contracts: .venv/dev
	.venv/bin/lint-imports --no-logo

wheel: .venv/dev
	rm -rf build dist
	$(python) -m build --wheel
	$(python) tests/wheel.py dist/*.whl

# sdist and wheel of the last commit, built twice and checked; what is not committed is not in them.
sdist: .venv/release
	.ci/packages git
	$(python) -m release sdist dist

# The Debian package of the last commit, for Debian 12 and 13.
deb: .venv/release
	.ci/packages git debhelper build-essential
	$(python) -m release deb dist

# All of the last commit into dist/, built twice and checked; SHA256SUMS says that all was well.
release: .venv/release
	.ci/packages git debhelper build-essential lintian mandoc
	$(python) -m release build dist

# Installs the wheel with pipx and with uv, as a user does.
test-release: sdist
	.ci/packages iproute2 util-linux nftables libnftables1 man-db
	$(python) tests/installers.py

check: lint types contracts test test-slow bench-quick test-examples

.venv/run: pyproject.toml
	.ci/packages python3-venv iproute2 util-linux nftables libnftables1
	test -x $(python) || python3 -m venv .venv
	$(python) -m pip install --quiet --editable .
	touch $@

.venv/dev: .venv/run
	.ci/packages gcc libc6-dev python3-dev strace patch systemd systemd-journal-remote sqlite3 iptables ipset \
		logrotate bzip2 xz-utils zstd busybox postgresql mandoc zsh fish dpkg-dev
	$(python) -m pip install --quiet --editable '.[dev]'
	touch $@

.venv/fuzz: .venv/dev
	$(python) -m pip install --quiet --editable '.[fuzz]'
	touch $@

.venv/release: .venv/dev
	$(python) -m pip install --quiet --editable '.[release]'
	touch $@

.venv/bench: .venv/dev
	$(python) -m pip install --quiet --editable '.[bench]'
	touch $@

clean:
	rm -rf .venv .cache build dist .coverage* *.egg-info .pytest_cache .mypy_cache .ruff_cache
