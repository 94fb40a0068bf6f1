# Copyright: (c) 2026, the encompass.images authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
.PHONY: help venv test lint types unit sanity units contract smoke-newest integration race crash faults burnin bench demo demo-clean clean

STEP = .venv/bin/python -m tests.tools.steps

help:            ## show this list
	@sed -n 's/^\([a-z-]*\):[^#]*## /\1\t/p' Makefile | expand -t 16

venv:            ## install the Debian packages and .venv
	@sh tests/tools/set_up.sh

test: venv       ## run every check and test; an hour on two cores
	@$(STEP)

lint types unit sanity units contract smoke-newest integration: venv  ## run one step of make test
	@$(STEP) $@

race: venv       ## race controllers for the same things, ROUNDS=1000 times each, and take over from TAKEOVERS=20 of them
	@sh tests/tools/as_root.sh env ROUNDS="$(ROUNDS)" TAKEOVERS="$(TAKEOVERS)" SEED="$(SEED)" .venv/bin/python -m tests.trials.race

crash: venv      ## kill each operation at each of its steps, for hours; OPERATION=deploy,update EVERY=5 FIRST=9 ONLY=vir ROUNDS=3 SEED=7 narrow it
	@sh tests/tools/as_root.sh env OPERATION="$(OPERATION)" EVERY="$(EVERY)" FIRST="$(FIRST)" ONLY="$(ONLY)" ROUNDS="$(ROUNDS)" SEED="$(SEED)" \
		.venv/bin/python -m tests.trials.crash
	@[ -n "$(OPERATION)" ] || CRASHES=100 .venv/bin/pytest -q tests/contract/test_database_crashes.py

faults: venv     ## fail every single write of every operation; half an hour
	@FAULTS=all .venv/bin/pytest -q tests/contract/test_faults.py

burnin: venv     ## have eight controllers work at random for MINUTES=10
	@sh tests/tools/as_root.sh env MINUTES="$(MINUTES)" SEED="$(SEED)" .venv/bin/python -m tests.trials.burnin

bench: venv      ## measure against the raw tools
	@sh tests/tools/as_root.sh .venv/bin/python -m tests.tools.bench

demo: venv       ## build a web server master, deploy three servers, leave them running
	@.venv/bin/python -m tests.tools.demo

demo-clean: venv ## remove all that make demo made
	@.venv/bin/python -m tests.tools.demo clean

clean:           ## remove what tests and builds left in the checkout, .venv excepted
	@sh tests/tools/as_root.sh sh tests/tools/clean.sh
