from typing import Any

import pytest
from federation_lab.errors import UnknownRegionError
from federation_lab.observe import overview
from federation_lab.observe.access import Federation, Region
from federation_lab.observe.overview import RegionFacts

CATANIA = Region("catania", True, "https://10.210.1.10:6443", "PEM", "secret", "10.210.1.13")
PALERMO = Region("palermo", False, "https://10.210.2.10:6443", "PEM", "secret", "10.210.2.12")
FEDERATION = Federation(zone="federation.example", regions=(CATANIA, PALERMO))
SILENT = RegionFacts(None, None, None)


def cluster(name: str, status: str) -> dict[str, Any]:
    conditions = [{"type": "Ready", "status": status}]
    return {"metadata": {"name": name}, "status": {"conditions": conditions}}


def rows(
    alive: dict[str, bool],
    clusters: list[dict[str, Any]] | None,
    facts: dict[str, RegionFacts] | None = None,
) -> dict[str, dict[str, Any]]:
    facts = facts or {"catania": SILENT, "palermo": SILENT}
    found = overview.region_rows(FEDERATION, alive, clusters, facts)
    return {row["name"]: row for row in found}


def test_the_hosts_clusters_say_who_is_joined_and_ready():
    found = rows(
        {"catania": True, "palermo": True},
        [cluster("catania", "True"), cluster("palermo", "False")],
    )

    assert (found["catania"]["joined"], found["catania"]["ready"]) == (True, True)
    assert (found["palermo"]["joined"], found["palermo"]["ready"]) == (True, False)


def test_without_the_hosts_api_the_verdict_says_it():
    verdict = {
        "quorum": True,
        "regions": {"catania": {"verdict": "lost"}, "palermo": {"verdict": "healthy"}},
    }
    facts = {"catania": SILENT, "palermo": RegionFacts([], [], verdict)}

    found = rows({"palermo": True}, None, facts)

    assert (found["catania"]["alive"], found["catania"]["ready"]) == (False, False)
    assert (found["palermo"]["joined"], found["palermo"]["ready"]) == (True, True)


def test_no_token_shows_in_a_regions_text():
    assert "secret" not in repr(FEDERATION)


def test_an_unknown_region_is_refused_with_those_there_are():
    with pytest.raises(UnknownRegionError, match=r"napoli.*catania, palermo"):
        FEDERATION.region("napoli")


def test_services_are_named_once_though_every_region_has_them():
    service = {"metadata": {"namespace": "demo", "name": "web"}, "spec": {"type": "LoadBalancer"}}
    internal = {"metadata": {"namespace": "demo", "name": "api"}, "spec": {"type": "ClusterIP"}}
    facts = RegionFacts([], [service, internal], None)

    assert overview.service_names({"catania": facts, "palermo": facts}) == [("demo", "web")]


def test_kubeconfig_has_a_context_for_each_region_and_the_hosts_is_current():
    kubeconfig = FEDERATION.kubeconfig()

    assert [c["name"] for c in kubeconfig["contexts"]] == ["catania", "palermo"]
    assert kubeconfig["current-context"] == "catania"
