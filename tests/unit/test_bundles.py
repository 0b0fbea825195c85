"""The bundle and its overlays in every combination that the documents name, by Juju's rules."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from federation_lab.juju import bundle as bundles
from federation_lab.juju import bundle_check
from federation_lab.juju.bundle import Bundle
from federation_lab.juju.charm import Charm, parse

ROOT = Path(__file__).parents[2]
REGIONS = sorted(path.stem for path in (ROOT / "overlays/regions").glob("*.yaml"))
OURS = {"kubefed-host", "kubefed-member", "federation-dns"}
KUBERNETES = {
    "calico",
    "containerd",
    "easyrsa",
    "etcd",
    "kubeapi-load-balancer",
    "kubernetes-control-plane",
    "kubernetes-worker",
}


def deployed(region: str, *, host: bool, lab: bool) -> Bundle:
    role = "host-region" if host else "member-region"
    overlays = [f"{role}.yaml", f"regions/{region}.yaml", *(["lab.yaml"] if lab else [])]
    files = [ROOT / "overlays" / name for name in overlays]
    return bundles.load(ROOT / "bundles/federation.yaml", files)


def charms(names: set[str]) -> dict[str, Charm]:
    found: dict[str, Charm] = {}
    for name in names:
        folder = ROOT / ("charms" if name in OURS else "lab/charms") / name
        text = (folder / "charmcraft.yaml").read_text()
        whole: dict[str, Any] = yaml.safe_load(text)
        files = {"metadata.yaml": text, "config.yaml": yaml.safe_dump(whole.get("config") or {})}
        found[name] = parse(files, path=name, sha256="")
    return found


@pytest.mark.parametrize("lab", [False, True])
@pytest.mark.parametrize("host", [False, True])
@pytest.mark.parametrize("region", REGIONS)
def test_juju_would_take_it(region: str, *, host: bool, lab: bool):
    bundle = deployed(region, host=host, lab=lab)
    ours = OURS if host else OURS - {"kubefed-host"}
    assert bundle.applications.keys() == ours | (
        {"kubernetes-control-plane"} if lab else KUBERNETES
    )
    known = charms(ours | ({"kubernetes-control-plane"} if lab else set[str]()))
    assert bundle_check.check(bundle, known) == []
    assert bundle.warnings == ()


@pytest.mark.parametrize("region", REGIONS)
def test_each_region_offers_its_member_under_its_own_name(region: str):
    bundle = deployed(region, host=False, lab=False)
    (offer,) = bundle.applications["kubefed-member"].offers
    assert (offer.name, offer.endpoints) == (f"{region}-member", ("federation",))
    assert bundle.applications["kubefed-member"].options["region"] == region
    assert bundle.applications["federation-dns"].options["region"] == region


def test_the_host_offers_the_mesh_and_the_others_consume_it():
    host = deployed("catania", host=True, lab=False)
    (offer,) = host.applications["federation-dns"].offers
    assert (offer.name, offer.endpoints) == ("federation-mesh", ("mesh-hub",))
    member = deployed("palermo", host=False, lab=False)
    assert member.saas == {"federation-mesh": "admin/catania.federation-mesh"}
    assert ("federation-dns:mesh", "federation-mesh:mesh-hub") in member.relations
    assert member.applications["federation-dns"].offers == ()


def test_everything_of_kubernetes_comes_from_one_channel():
    bundle = deployed("catania", host=True, lab=False)
    channels = {bundle.applications[name].channel for name in KUBERNETES}
    assert channels == {"1.35/stable"}


@pytest.mark.parametrize("region", REGIONS)
def test_a_region_file_serves_as_the_pattern_of_new_ones(region: str):
    """The lab makes a further region's overlay from one of these by replacing the name."""
    text = (ROOT / "overlays/regions" / f"{region}.yaml").read_text()
    made = yaml.safe_load(text.replace(region, "roma"))
    assert list(made["applications"]["kubefed-member"]["offers"]) == ["roma-member"]
    assert "charm" not in made["applications"]["kubefed-member"]


OVERLAYS = ROOT / "overlays"


def loaded(*names: str) -> Bundle:
    return bundles.load(
        ROOT / "bundles/federation.yaml", [OVERLAYS / f"{name}.yaml" for name in names]
    )


def test_on_openstack_the_integrator_is_trusted_and_octavia_serves_the_api():
    bundle = loaded("openstack", "host-region", "regions/catania")
    assert bundle.applications["openstack-integrator"].trust
    assert "kubeapi-load-balancer" not in bundle.applications
    lb = "kubernetes-control-plane:loadbalancer-external"
    assert [pair for pair in bundle.relations if lb in pair] == [
        (lb, "openstack-integrator:lb-consumers")
    ]
    channels = {bundle.applications[name].channel for name in bundle.applications.keys() - OURS}
    assert channels == {"1.35/stable"}


def test_ha_is_three_control_planes_and_two_hosts_and_no_host_in_a_member():
    host = loaded("ha", "host-region", "regions/catania")
    assert host.applications["kubernetes-control-plane"].num_units == 3
    assert host.applications["kubefed-host"].num_units == 2
    assert "kubefed-host" not in loaded("ha", "member-region", "regions/palermo").applications


def test_upstream_controls_the_hosts_federation_and_a_member_has_none():
    host = loaded("upstream", "host-region", "regions/catania")
    assert host.applications["kubefed-host"].options == {"control-plane": "upstream"}
    member = loaded("upstream", "member-region", "regions/palermo")
    assert "kubefed-host" not in member.applications


@pytest.mark.parametrize("feature", ["ha", "cos", "tracing", "upstream"])
def test_a_feature_after_the_member_role_is_refused_and_not_half_applied(feature: str):
    bundle = loaded("member-region", "regions/palermo", feature)
    assert any("kubefed-host" in problem for problem in bundle_check.check(bundle))


def test_a_witness_is_the_same_charm_alone():
    bundle = bundles.load(ROOT / "bundles/federation.yaml", [ROOT / "overlays/witness.yaml"])
    assert bundle.applications.keys() == {"federation-dns"}
    assert bundle.applications["federation-dns"].options["role"] == "witness"
    assert bundle.relations == (("federation-dns:mesh", "federation-mesh:mesh-hub"),)
    assert bundle_check.check(bundle, charms({"federation-dns"})) == []
    assert bundle.warnings == ()
