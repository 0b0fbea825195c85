# Each target is a tox environment; tox.ini says what it does. `make help` lists them.
TOX := .boot/bin/tox

.DEFAULT_GOAL := help
.PHONY: help lab test lab-down format lint types unit functional integration bundle soak seeded charms tools clean

help:  ## what there is
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

lab: $(TOX)  ## three regions, the federation, an application, one region lost and still answering
	$(TOX) run -q -e lab

lab-down: $(TOX)  ## take the lab away
	$(TOX) run -q -e lab -- down

test: $(TOX)  ## lint, types, unit, charm and functional tests (what CI runs)
	$(TOX) run -e test

format lint types unit functional integration bundle soak seeded charms tools: $(TOX)
	$(TOX) run -e $@

format:       ## put the code into its form
lint:         ## ruff, codespell, import contracts, bundle and overlays, clouds, Terraform
types:        ## basedpyright, strict
unit:         ## unit and charm tests
functional:   ## tests with real API servers, BIND and the lab
integration:  ## jubilant tests: against the lab, or FEDERATION_JUJU=juju against a controller
bundle:       ## the bundle on a real controller, by pytest-operator; skipped where there is none
soak:         ## the functional tests with the night's counts: hours
seeded:       ## can the tests fail? each seeded bug must be noticed (docs/testing.md)
charms:       ## pack the charms with charmcraft
tools:        ## build Kubernetes, etcd and kwok into the cache

clean:  ## remove what was built in the checkout (not the cache)
	rm -rf .boot .tox .venv charms/*/*.charm lab/charms/*/*.charm

$(TOX): requirements/tox.txt tools/bootstrap
	tools/bootstrap
	@touch $(TOX)
