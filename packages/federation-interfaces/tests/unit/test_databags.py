import json
from datetime import UTC, datetime
from typing import Any, Self

import pytest
from federation_interfaces import (
    DatabagError,
    FederatedKind,
    HostAppData,
    MemberAppData,
    MeshEntry,
    MeshHubAppData,
    MeshMemberAppData,
    RegionHealthUnitData,
)
from federation_interfaces.databag import Databag, config_error
from federation_interfaces.testing import CERTIFICATES
from pydantic import BaseModel, ValidationError, model_validator

PEM, OTHER, _ = CERTIFICATES
SECRET = "secret://11111111-2222-4333-8444-555555555555/cvpq9fkvmmfc7ee6ccng"
KEY = "-----BEGIN PRIVATE KEY-----\nAA==\n-----END PRIVATE KEY-----"
GARBAGE = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----"

MEMBER = MemberAppData(
    region="palermo",
    api_endpoint="https://api.palermo.example:6443",
    ca_certificate=PEM,
    kubernetes_version="v1.35.4",
    labels={"region": "palermo", "topology.example/zone": "a"},
    token_secret_id=SECRET,
    token_expires_at=datetime(2026, 11, 1, 12, tzinfo=UTC),
)
ENTRY: dict[str, Any] = {
    "region": "palermo",
    "url": "https://10.210.2.12:8443",
    "certificate": PEM,
    "nameserver": "10.210.2.12",
    "address_ranges": ["10.210.2.0/24", "2001:db8::/64"],
}
ALL = [
    MEMBER,
    HostAppData(
        host_cluster="catania",
        namespace="kube-federation-system",
        kinds=[FederatedKind(group="apps", version="v1", kind="Deployment", plural="deployments")],
        joined=True,
    ),
    RegionHealthUnitData(url="https://10.210.1.12:8443", certificate=PEM),
    MeshMemberAppData(entry=MeshEntry(**ENTRY)),
    MeshHubAppData(entries=[MeshEntry(**ENTRY)]),
]


@pytest.mark.parametrize("data", ALL, ids=lambda data: type(data).__name__)
class TestEverySide:
    def test_what_is_written_is_read(self, data: Databag):
        bag: dict[str, str] = {}
        assert data.dump(bag)
        assert type(data).load(bag) == data

    def test_every_value_is_json(self, data: Databag):
        bag: dict[str, str] = {}
        _ = data.dump(bag)
        assert {key for key, value in bag.items() if json.loads(value) is None} == set()

    def test_writing_again_changes_nothing(self, data: Databag):
        bag: dict[str, str] = {}
        _ = data.dump(bag)
        assert not data.dump(bag)

    def test_an_empty_databag_is_read(self, data: Databag):
        assert type(data).load({}) == type(data)()

    def test_unknown_keys_are_left_alone(self, data: Databag):
        bag = {"ingress-address": "10.0.0.1", "later": "{not json"}
        _ = type(data).load(bag)
        _ = data.dump(bag)
        assert bag["later"] == "{not json"

    def test_what_is_taken_back_is_removed(self, data: Databag):
        bag = {"later": "1"}
        _ = data.dump(bag)
        assert type(data)().dump(bag)
        assert bag == {"later": "1"}

    def test_what_is_no_json_is_refused(self, data: Databag):
        name = next(iter(type(data).model_fields))
        with pytest.raises(DatabagError, match=f"{name}: not JSON"):
            _ = type(data).load({name: "{"})


def refused(side: type[Databag], **values: Any) -> str:
    with pytest.raises(DatabagError) as caught:
        _ = side.load({key: json.dumps(value) for key, value in values.items()})
    return str(caught.value)


class TestMember:
    @pytest.mark.parametrize("name", ["Palermo", "1a", "a-", "", "a" * 41, "a.b", "è"])
    def test_region(self, name: str):
        assert "a region's name is" in refused(MemberAppData, region=name)

    @pytest.mark.parametrize(
        ("url", "why"),
        [
            ("http://x:1", "https://"),
            ("x:6443", "https://"),
            ("https://", "https://"),
            ("https://user:word@x", "nothing but"),
            ("https://x?y", "nothing but"),
            ("https://x#y", "nothing but"),
            ("https://x:70000", "range"),
        ],
    )
    def test_api_endpoint(self, url: str, why: str):
        assert why in refused(MemberAppData, api_endpoint=url)

    @pytest.mark.parametrize(
        ("pem", "why"),
        [
            ("", "must be PEM"),
            ("x" + PEM, "must be PEM"),
            (PEM + KEY, "private key"),
            (GARBAGE, "no certificate"),
        ],
    )
    def test_ca_certificate(self, pem: str, why: str):
        text = refused(MemberAppData, ca_certificate=pem)
        assert why in text
        assert "AA==" not in text

    def test_several_ca_certificates(self):
        assert MemberAppData(ca_certificate=PEM + OTHER).ca_certificate == PEM + OTHER

    @pytest.mark.parametrize(
        ("labels", "why"),
        [
            ({"a b": "c"}, "no label key"),
            ({"/a": "c"}, "no label key"),
            ({"A_/a": "c"}, "no label key"),
            ({"a": "c d"}, "no label value"),
            ({"a": "x" * 64}, "no label value"),
        ],
    )
    def test_labels(self, labels: dict[str, str], why: str):
        assert why in refused(MemberAppData, labels=labels)

    @pytest.mark.parametrize("secret", ["secret:cvpq9fkvmmfc7ee6ccng", "secret://x/y", "token"])
    def test_a_secret_without_its_model(self, secret: str):
        assert "secret://<model uuid>" in refused(MemberAppData, token_secret_id=secret)

    def test_an_end_without_a_time_zone(self):
        assert "timezone" in refused(MemberAppData, token_expires_at="2026-11-01T12:00:00")

    def test_what_is_missing(self):
        assert MEMBER.missing == []
        assert MemberAppData(region="palermo").missing == [
            "api_endpoint",
            "ca_certificate",
            "token_secret_id",
        ]


class TestHost:
    @pytest.mark.parametrize(
        "changed",
        [
            {"group": "Apps"},
            {"version": "1"},
            {"kind": "deployment"},
            {"plural": "Deployments"},
            {"namespaced": "sometimes"},
        ],
    )
    def test_kinds(self, changed: dict[str, str]):
        kind = {"group": "apps", "version": "v1", "kind": "Deployment", "plural": "deployments"}
        assert f"kinds.0.{next(iter(changed))}" in refused(HostAppData, kinds=[kind | changed])

    def test_names(self):
        assert "namespace" in refused(HostAppData, namespace="kube_system")
        assert "host_cluster" in refused(HostAppData, host_cluster="-")
        assert "joined" in refused(HostAppData, joined="perhaps")


class TestMesh:
    @pytest.mark.parametrize(
        ("changed", "why"),
        [
            ({"region": "X"}, "a region's name"),
            ({"role": "king"}, "entry.role"),
            ({"url": "https://x/path"}, "no path"),
            ({"certificate": PEM + OTHER}, "exactly one"),
            ({"certificate": GARBAGE}, "no certificate"),
            ({"nameserver": "ns.example"}, "entry.nameserver"),
            ({"address_ranges": ["10.0.0.1/8"]}, "address range"),
            ({"address_ranges": ["10.0.0.0/24"] * 101}, "at most 100"),
            ({"role": "witness"}, "a witness has no address ranges"),
        ],
    )
    def test_entry(self, changed: dict[str, Any], why: str):
        assert why in refused(MeshMemberAppData, entry=ENTRY | changed)

    def test_a_missing_field_of_an_entry(self):
        assert "entry.url" in refused(MeshMemberAppData, entry={"region": "palermo"})

    def test_one_entry_a_region(self):
        assert "more than one entry for palermo" in refused(MeshHubAppData, entries=[ENTRY, ENTRY])

    def test_not_too_many(self):
        entries = [ENTRY | {"region": f"r{number}"} for number in range(65)]
        assert "at most 64" in refused(MeshHubAppData, entries=entries)

    def test_a_later_charms_fields_are_ignored(self):
        bag = {"entry": json.dumps(ENTRY | {"later": 1})}
        assert MeshMemberAppData.load(bag).entry == MeshEntry(**ENTRY)


def test_region_health():
    assert "url" in refused(RegionHealthUnitData, url="https://x/v1")
    assert "exactly one" in refused(RegionHealthUnitData, certificate="")


def test_models_are_frozen():
    with pytest.raises(ValidationError):
        MEMBER.region = "napoli"  # pyright: ignore[reportAttributeAccessIssue]


def test_a_refused_configuration_names_options_as_juju_does():
    class Settings(BaseModel):
        token_lifetime: int

        @model_validator(mode="after")
        def _never(self) -> Self:
            raise ValueError("one and the other must differ")

    with pytest.raises(ValidationError) as one:
        _ = Settings.model_validate({"token_lifetime": "soon"})
    assert config_error(one.value).startswith("token-lifetime: Input should be a valid integer")
    with pytest.raises(ValidationError) as both:
        _ = Settings(token_lifetime=3)
    assert config_error(both.value) == "one and the other must differ"
    assert config_error(ValueError("no name")) == "no name"
