"""Hashes bit for bit those of KubeFed v0.10.0, and when an update is sent."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kubefed.api import CLUSTER_ROLE, DEPLOYMENT, NAMESPACE, FederatedType
from kubefed.controller import gojson, versions
from kubefed.controller.versions import Recorded


def test_the_published_hashes() -> None:
    # Recorded by KubeFed v0.10.0 itself.
    assert versions.overrides_hash({"spec": {}}) == "2979b7538b527abe06492021841caf47"
    template = {"data": {"foo": "bar"}}
    assert (
        versions.template_hash({"spec": {"template": template}})
        == "4682012eb72f035cfe2b227efe7ca8c8"
    )
    assert versions.template_hash({"spec": {}}) == ""


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1, "1"),
        (1.0, "1"),
        (0.1, "0.1"),
        (-2.5, "-2.5"),
        (-0.0, "-0"),
        (1e20, "100000000000000000000"),
        (1e21, "1e+21"),
        (1.5e300, "1.5e+300"),
        (1e-6, "0.000001"),
        (1e-7, "1e-7"),
        (1.25e-9, "1.25e-9"),
        (2**63 - 1, "9223372036854775807"),
        (2**63, "9223372036854776000"),
        (2**70, "1.1805916207174113e+21"),
        (True, "true"),
        (None, "null"),
        ("<a & b>", '"\\u003ca \\u0026 b\\u003e"'),
        ("\u2028\u2029\x7fé", '"\\u2028\\u2029\x7fé"'),
        ('"\\\n\r\t\b\f\x01', '"' + r"\"\\\n\r\t\u0008\u000c\u0001" + '"'),
        ("\ud800", '"\ufffd"'),
        ({"b": [], "a": {}}, '{"a":{},"b":[]}'),
    ],
)
def test_go_writes_json_so(value: Any, text: str) -> None:
    assert gojson.encode(value) == text + "\n"


numbers = st.floats(allow_nan=False, allow_infinity=False) | st.integers()
documents = st.recursive(
    st.none() | st.booleans() | numbers | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(documents)
def test_what_is_written_reads_back_as_the_same(value: Any) -> None:
    read = json.loads(gojson.encode(value))
    assert gojson.floats(read) == gojson.floats(value)


def test_fields_of_an_override_keep_gos_order_and_floats() -> None:
    change = {"value": 9007199254740993, "path": "/spec/replicas", "op": "add"}
    item = {"clusterOverrides": [change, {"path": "/x", "value": None}], "clusterName": "b"}
    expected = (
        '{"overrides":[{"clusterName":"b","clusterOverrides":['
        '{"op":"add","path":"/spec/replicas","value":9007199254740992},{"path":"/x"}]},'
        '{"clusterName":"a"}]}\n'
    )
    spec = {"overrides": [item, {"clusterName": "a", "clusterOverrides": []}]}
    import hashlib

    digest = hashlib.md5(expected.encode(), usedforsecurity=False).hexdigest()
    assert versions.overrides_hash({"spec": spec}) == digest


def obj(generation: int = 0, version: str = "7", **meta: Any) -> dict[str, Any]:
    number = {"generation": generation} if generation else {}
    return {"metadata": {"name": "web", "resourceVersion": version, **number, **meta}}


def test_the_version_is_the_generation_if_there_is_one() -> None:
    assert versions.version_of(obj(3)) == "gen:3"
    assert versions.version_of(obj()) == "rv:7"


@pytest.mark.parametrize(
    ("desired", "current", "recorded", "needed"),
    [
        (obj(), obj(), "", True),
        (obj(), obj(), "rv:7", False),
        (obj(), obj(), "rv:6", True),
        (obj(), obj(2), "gen:2", False),
        (obj(), obj(3), "gen:2", True),
        (obj(labels={"a": "b"}), obj(2), "gen:2", True),
        (obj(annotations={"a": "b"}), obj(2), "gen:2", True),
        (obj(labels={}), obj(2), "gen:2", False),
        # A kind without a generation shows a change of metadata by its version.
        (obj(labels={"a": "b"}), obj(), "rv:7", False),
    ],
)
def test_when_an_update_is_sent(desired: Any, current: Any, recorded: str, needed: bool) -> None:
    assert versions.needs_update(desired, current, recorded) is needed


def test_the_record_of_a_deployment() -> None:
    kind = FederatedType.of(DEPLOYMENT)
    federated = {"metadata": {"namespace": "shop", "name": "web", "uid": "u"}}
    record = versions.record(federated, kind.federated, kind.target)
    assert record["kind"] == "PropagatedVersion"
    assert record["metadata"]["name"] == "deployment-web"
    assert record["metadata"]["namespace"] == "shop"
    assert record["metadata"]["ownerReferences"] == [
        {
            "apiVersion": "types.kubefed.io/v1beta1",
            "kind": "FederatedDeployment",
            "name": "web",
            "uid": "u",
        }
    ]


def test_which_kind_records() -> None:
    assert versions.record_kind(FederatedType.of(CLUSTER_ROLE).federated).kind == (
        "ClusterPropagatedVersion"
    )
    assert versions.record_kind(FederatedType.of(NAMESPACE).federated).kind == "PropagatedVersion"


def test_a_record_reads_back_and_is_sorted() -> None:
    recorded = Recorded("t", "o", {"b": "gen:1", "a": "rv:2"})
    status = versions.record_status(recorded)
    assert [item["clusterName"] for item in status["clusterVersions"]] == ["a", "b"]
    assert versions.parse_record({"status": status}) == recorded
    assert recorded.valid_for("t", "o") == recorded.clusters
    assert recorded.valid_for("t", "x") == {}
    assert versions.parse_record({}) == Recorded()
