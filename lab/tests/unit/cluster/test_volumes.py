import base64
import os
from pathlib import Path
from typing import Any

import pytest
from federation_lab.cluster.kubelet import volumes
from federation_lab.cluster.kubelet.environment import MissingReferenceError
from federation_lab.cluster.kubelet.volumes import UnsupportedVolumeError

POD: dict[str, Any] = {
    "metadata": {"name": "p", "namespace": "demo", "uid": "u", "labels": {"a": "b"}},
    "spec": {
        "containers": [{"name": "c", "resources": {"limits": {"memory": "1Mi"}}}],
        "volumes": [
            {"name": "settings", "configMap": {"name": "c"}},
            {"name": "key", "secret": {"secretName": "s", "defaultMode": 0o400}},
            {
                "name": "account",
                "projected": {
                    "sources": [
                        {"serviceAccountToken": {"path": "token", "expirationSeconds": 3607}},
                        {"configMap": {"name": "ca", "items": [{"key": "ca.crt", "path": "ca"}]}},
                        {"secret": {"name": "s"}},
                        {
                            "downwardAPI": {
                                "items": [
                                    {
                                        "path": "namespace",
                                        "fieldRef": {"fieldPath": "metadata.namespace"},
                                    },
                                    {
                                        "path": "memory",
                                        "resourceFieldRef": {
                                            "containerName": "c",
                                            "resource": "limits.memory",
                                        },
                                    },
                                ]
                            }
                        },
                    ]
                },
            },
            {"name": "scratch", "emptyDir": {}},
        ],
    },
}
OBJECTS: dict[tuple[str, str], Any] = {
    ("ConfigMap", "c"): {"data": {"one": "1"}},
    ("ConfigMap", "ca"): {"data": {"ca.crt": "PEM", "other": ""}},
    ("Secret", "s"): {"data": {"token": base64.b64encode(b"hidden").decode()}},
}


def volume(name: str) -> dict[str, Any]:
    return next(v for v in POD["spec"]["volumes"] if v["name"] == name)


def test_what_a_pod_needs_is_known_before() -> None:
    assert volumes.references(POD) == {("ConfigMap", "c"), ("ConfigMap", "ca"), ("Secret", "s")}
    assert volumes.token_requests(POD) == {("", 3607)}


def test_each_kind_shows_its_files() -> None:
    tokens = {("", 3607): "ey"}
    assert volumes.files(POD, volume("settings"), OBJECTS, {}) == {"one": (b"1", 0o644)}
    assert volumes.files(POD, volume("key"), OBJECTS, {}) == {"token": (b"hidden", 0o400)}
    assert volumes.files(POD, volume("scratch"), OBJECTS, {}) is None
    shown = volumes.files(POD, volume("account"), OBJECTS, tokens)
    assert shown is not None
    assert shown["ca"] == (b"PEM", 0o644)
    assert shown["namespace"] == (b"demo", 0o644)
    assert shown["memory"] == (b"1048576", 0o644)
    # The secret comes after the account's token and has a file of that name too.
    assert shown["token"] == (b"hidden", 0o644)


def test_a_missing_object_is_an_error_unless_optional() -> None:
    one = {"name": "x", "configMap": {"name": "no"}}
    with pytest.raises(MissingReferenceError, match='configmap "no" not found'):
        volumes.files(POD, one, {}, {})
    optional = {"name": "x", "configMap": {"name": "no", "optional": True}}
    assert volumes.files(POD, optional, {}, {}) == {}
    key = {"name": "x", "configMap": {"name": "c", "items": [{"key": "two", "path": "2"}]}}
    with pytest.raises(MissingReferenceError, match="two"):
        volumes.files(POD, key, OBJECTS, {})


def test_other_volumes_are_refused_by_name() -> None:
    claim = {"name": "x", "persistentVolumeClaim": {"claimName": "y"}}
    with pytest.raises(UnsupportedVolumeError, match="persistentVolumeClaim"):
        volumes.files(POD, claim, {}, {})


def test_writing_replaces_all_files_at_once(tmp_path: Path) -> None:
    target = tmp_path / "volume"
    first: volumes.Files = {"a": (b"1", 0o644), "deep/b": (b"2", 0o400)}
    assert volumes.write(target, first)
    assert not volumes.write(target, first)
    assert (target / "a").read_text() == "1"
    assert (target / "deep" / "b").stat().st_mode & 0o777 == 0o400
    before = os.readlink(target / "..data")
    assert volumes.write(target, {"a": (b"3", 0o644)})
    assert os.readlink(target / "..data") != before
    assert (target / "a").read_text() == "3"
    assert sorted(p.name for p in target.iterdir() if not p.name.startswith("..")) == ["a"]
    assert not (target / before).exists()
