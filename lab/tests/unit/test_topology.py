from pathlib import Path
from typing import Any

import pytest
from federation_lab import topology
from federation_lab.errors import LabError


def test_regions_are_read_in_order_and_the_first_is_the_hosts():
    assert topology.parse_regions("catania, palermo,napoli") == ("catania", "palermo", "napoli")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "names no region"),
        ("a,b,a", "names a twice"),
        ("Catania", "'Catania' can't be a region's name"),
        ("1st", "'1st' can't be"),
        ("x" * 41, "40 at most"),
        (",".join(f"r{i}" for i in range(31)), "names 31 regions; at most 30"),
    ],
)
def test_a_wrong_list_is_refused_with_the_reason(text: str, reason: str):
    with pytest.raises(LabError, match=reason):
        topology.parse_regions(text)


def test_a_member_is_deployed_with_the_members_overlay_and_its_own(tmp_path: Path):
    files = topology.Files(root=tmp_path / "checkout", generated=tmp_path / "made")

    add, deploy = topology.deploy_commands("enna", host=False, files=files)

    assert add == ["add-model", "enna", "lab/enna"]
    assert deploy == [
        "deploy",
        f"{tmp_path}/checkout/bundles/federation.yaml",
        f"--overlay={tmp_path}/checkout/overlays/member-region.yaml",
        f"--overlay={tmp_path}/made/enna.yaml",
        f"--overlay={tmp_path}/checkout/overlays/lab.yaml",
        "-m",
        "enna",
    ]


def test_programs_for_images_come_as_the_last_overlay(tmp_path: Path):
    images = tmp_path / "images-overlay.yaml"
    files = topology.Files(root=tmp_path, generated=tmp_path / "made", images=images)

    assert files.overlays("enna", host=True)[-1] == images


def test_a_member_is_joined_by_consume_and_integrate():
    assert topology.join_commands("palermo", "catania") == [
        ["consume", "admin/palermo.palermo-member", "-m", "catania"],
        ["integrate", "kubefed-host:members", "palermo-member:federation", "-m", "catania"],
    ]


def status(workload: str, agent: str) -> dict[str, Any]:
    unit = {
        "workload-status": {"current": workload, "message": "no token"},
        "juju-status": {"current": agent},
    }
    application = {"units": {"kubefed-member/0": unit}}
    return {"model": {"name": "palermo"}, "applications": {"kubefed-member": application}}


def test_nothing_is_waited_for_when_units_are_active_and_idle():
    assert topology.waiting([status("active", "idle")]) == []


def test_a_blocked_or_busy_unit_is_waited_for_and_says_why():
    assert topology.waiting([status("blocked", "idle")]) == [
        "palermo: kubefed-member/0 blocked no token"
    ]
    assert topology.waiting([status("active", "executing")]) != []
