"""What the bundle says stands: every unit active, every endpoint related."""

from __future__ import annotations

import jubilant

from tests.integration.federation import CHARMS, Federation

Endpoints = dict[str, dict[str, set[str]]]


def related(status: jubilant.Status) -> Endpoints:
    """Give each charm's endpoints with what they are related to; peers aside."""
    return {
        app: {
            endpoint: {each.related_app.partition("-remote")[0] for each in relations}
            for endpoint, relations in status.apps[app].relations.items()
            if endpoint != "replicas"
        }
        for app in CHARMS
        if app in status.apps
    }


def anonymous(endpoints: Endpoints) -> Endpoints:
    """Write `remote` for an application of another model: its name there is Juju's choice."""
    return {
        app: {
            endpoint: {"remote" if name.startswith("remote-") else name for name in names}
            for endpoint, names in found.items()
        }
        for app, found in endpoints.items()
    }


def test_every_unit_is_active_and_says_what_it_does(federation: Federation):
    names = " ".join(sorted(federation.regions))
    for region in federation.regions:
        status = federation.model(region).status()
        assert jubilant.all_active(status)
        said = {app: status.apps[app].app_status.message for app in CHARMS if app in status.apps}
        expected = {
            "kubefed-member": f"member of {federation.host_region}",
            "federation-dns": f"serving {federation.zone()}; {len(federation.regions)} regions",
        }
        if region == federation.host_region:
            expected["kubefed-host"] = f"{len(federation.regions)} clusters joined: {names}"
        assert said == expected


def test_the_hosts_endpoints_are_related_as_the_bundle_says(federation: Federation):
    members = {f"{region}-member" for region in federation.regions[1:]}
    assert anonymous(related(federation.host.status())) == {
        "kubefed-host": {
            "kube-control": {"kubernetes-control-plane"},
            "members": {"kubefed-member", *members},
            "region-health": {"federation-dns"},
        },
        "kubefed-member": {
            "kube-control": {"kubernetes-control-plane"},
            "federation": {"kubefed-host"},
        },
        "federation-dns": {
            "kube-control": {"kubernetes-control-plane"},
            "mesh-hub": {"remote"},
            "region-health": {"kubefed-host"},
        },
    }


def test_each_members_endpoints_are_related_as_the_overlay_says(federation: Federation):
    for region in federation.regions[1:]:
        assert anonymous(related(federation.model(region).status())) == {
            "kubefed-member": {
                "kube-control": {"kubernetes-control-plane"},
                "federation": {"remote"},
            },
            "federation-dns": {
                "kube-control": {"kubernetes-control-plane"},
                "mesh": {"federation-mesh"},
            },
        }


def test_every_offer_is_used(federation: Federation):
    for region in federation.regions[1:]:
        offers = federation.model(region).status().offers
        assert {name: list(offer.endpoints) for name, offer in offers.items()} == {
            f"{region}-member": ["federation"]
        }
        assert offers[f"{region}-member"].active_connected_count == 1
    hub = federation.host.status().offers["federation-mesh"]
    assert list(hub.endpoints) == ["mesh-hub"]
    assert hub.active_connected_count == len(federation.regions) - 1
