"""Two regions on Charmed Kubernetes, deployed from the bundle; see README.md."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import deploying
import pytest
from deploying import HOST, MEMBER, Wishes


@pytest.fixture(scope="module")
async def deployed(
    ops_test: Any, wishes: Wishes, request: pytest.FixtureRequest
) -> AsyncIterator[dict[str, Any]]:
    """Both models, every unit active, and the second region joined."""
    models: dict[str, Any] = {}
    for region in (HOST, MEMBER):
        await juju(ops_test, *deploying.add_model(region, wishes))
        # Ours, so it is destroyed at the end, unless --keep-models is given.
        models[region] = await ops_test.track_model(
            region, model_name=region, use_existing=True, keep=False
        )
        await juju(ops_test, *deploying.deploy(region, wishes))
    for words in deploying.relate():
        await juju(ops_test, *words)
    for model in models.values():
        await settled(model, wishes)
    yield models
    if not request.config.getoption("--keep-models"):
        for words in deploying.part():
            await juju(ops_test, *words)


async def juju(ops_test: Any, *words: str) -> str:
    """Run one command; a failure is the test's, with its reason."""
    code, out, err = await ops_test.juju(*words)
    if code != 0:
        pytest.fail(f"`juju {' '.join(words)}` ended with {code}:\n{out}{err}", pytrace=False)
    return out


async def settled(model: Any, wishes: Wishes) -> None:
    """Wait until nothing of a model works any more and all of it is well."""
    await model.wait_for_idle(
        status="active", timeout=wishes.seconds, idle_period=60, raise_on_error=False
    )


async def run(model: Any, application: str, action: str, **params: Any) -> dict[str, Any]:
    """Run an action on the leader and give its results."""
    for unit in model.applications[application].units:
        if await unit.is_leader_from_status():
            done = await (await unit.run_action(action, **params)).wait()
            assert done.status == "completed", f"{action}: {done.status} {done.results}"
            return done.results
    raise AssertionError(f"{application} has no leader")


async def test_both_clusters_are_in_the_federation_and_ready(deployed: dict[str, Any]):
    found = await run(deployed[HOST], "kubefed-host", "list-clusters")
    clusters = {each["name"]: each["ready"] for each in json.loads(found["clusters"])}
    assert clusters == {HOST: True, MEMBER: True}


async def test_joining_again_changes_nothing(deployed: dict[str, Any]):
    found = await run(deployed[HOST], "kubefed-host", "join-cluster", cluster=MEMBER)
    assert (found["cluster"], found["state"]) == (MEMBER, "already joined")


async def test_the_agents_know_each_other_and_serve_the_same(deployed: dict[str, Any]):
    for region in (HOST, MEMBER):
        found = await run(deployed[region], "federation-dns", "verify")
        assert found["agrees"] == "true", found


async def test_a_second_deploy_is_none(ops_test: Any, deployed: dict[str, Any], wishes: Wishes):
    before = {name: len(app.units) for name, app in deployed[HOST].applications.items()}
    await juju(ops_test, *deploying.deploy(HOST, wishes))
    await settled(deployed[HOST], wishes)
    after = {name: len(app.units) for name, app in deployed[HOST].applications.items()}
    assert after == before
