"""Each rule for clouds has a definition here that it refuses."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from federation_lab.juju import lint_clouds

KEYSTONE = "https://keystone.example:5000/v3"
OPENSTACK: dict[str, Any] = {
    "type": "openstack",
    "auth-types": ["userpass"],
    "regions": {"roma": {"endpoint": KEYSTONE}},
}
MAAS: dict[str, Any] = {
    "type": "maas",
    "auth-types": ["oauth1"],
    "endpoint": "https://maas.example:5443/MAAS",
}


def problems(folder: Path, cloud: dict[str, Any]) -> str:
    path = folder / "cloud.yaml"
    path.write_text(yaml.safe_dump({"clouds": {"c": cloud}}))
    return "\n".join(lint_clouds.check(path))


@pytest.mark.parametrize(
    "cloud",
    [
        OPENSTACK,
        MAAS,
        OPENSTACK | {"endpoint": KEYSTONE, "regions": {"roma": None}},
        OPENSTACK | {"region-config": {"roma": {"network": "n"}}, "skip-tls-verify": False},
    ],
)
def test_sound_clouds_pass(tmp_path: Path, cloud: dict[str, Any]):
    assert problems(tmp_path, cloud) == ""


@pytest.mark.parametrize(
    ("cloud", "said"),
    [
        (OPENSTACK | {"type": "ec2"}, "'maas' or 'openstack'"),
        (OPENSTACK | {"auth-types": ["oauth1"]}, "no auth-types oauth1"),
        (MAAS | {"auth-types": ["userpass"]}, "no auth-types userpass"),
        (OPENSTACK | {"auth-types": []}, "at least 1 item"),
        (OPENSTACK | {"regions": {}}, "names its regions"),
        (OPENSTACK | {"regions": {"roma": {}}}, "no endpoint for roma"),
        (OPENSTACK | {"regions": {"roma": {"address": KEYSTONE}}}, "address"),
        (OPENSTACK | {"region-config": {"bari": {}}}, "region-config of no region: bari"),
        (OPENSTACK | {"skip-tls-verify": True}, "skip-tls-verify"),
        (OPENSTACK | {"ca-certificates": ["x"]}, "no PEM certificate"),
        (OPENSTACK | {"password": "x"}, "password"),
        (MAAS | {"endpoint": "http://maas.example:5240/MAAS"}, "https://"),
        (MAAS | {"endpoint": "https://me@maas.example/MAAS"}, "without a user"),
        (MAAS | {"endpoint": ""}, "https://"),
        (MAAS | {"regions": {"roma": {}}}, "no regions"),
        ({"type": "maas", "auth-types": ["oauth1"]}, "has an endpoint"),
    ],
)
def test_each_rule_refuses(tmp_path: Path, cloud: dict[str, Any], said: str):
    assert said in problems(tmp_path, cloud)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: [", "no YAML"),
        ("clouds: {}", "at least 1 item"),
        ("a: 1", "clouds"),
        ("- 1", "the file"),
    ],
)
def test_what_is_no_file_of_clouds_is_named(tmp_path: Path, text: str, said: str):
    path = tmp_path / "cloud.yaml"
    path.write_text(text)
    assert said in "\n".join(lint_clouds.check(path))


def test_a_file_that_is_not_there_is_named(tmp_path: Path):
    (problem,) = lint_clouds.check(tmp_path / "none.yaml")
    assert "none.yaml" in problem
