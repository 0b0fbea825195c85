"""The words by which the regions are deployed; needs no controller, nor pytest-operator."""

from __future__ import annotations

from pathlib import Path

import pytest
from deploying import (
    CHARMS,
    HOST,
    MEMBER,
    ROOT,
    Wishes,
    add_model,
    deploy,
    lacks,
    overlays,
    part,
    relate,
)

FOUND = '{"controllers": {"federation": {}}, "current-controller": "federation"}'


@pytest.mark.parametrize("features", ["", "ha", "openstack, ha,cos"])
def test_every_overlay_is_there_and_features_come_first(features: str):
    wishes = Wishes.of({"FEDERATION_OVERLAYS": features})
    for region in (HOST, MEMBER):
        found = overlays(region, wishes)
        assert [path for path in found if not path.is_file()] == []
        assert found[-1] == ROOT / f"overlays/regions/{region}.yaml"
        assert [path.stem for path in found[:-2]] == features.replace(",", " ").split()


def test_the_words():
    wishes = Wishes.of({"FEDERATION_CLOUD": "openstack/{region}", "FEDERATION_SECONDS": "60"})
    assert add_model(MEMBER, wishes) == [
        "add-model",
        "--no-switch",
        "palermo",
        "openstack/palermo",
    ]
    assert add_model(HOST, Wishes()) == ["add-model", "--no-switch", "catania"]
    words = deploy(HOST, wishes)
    assert words[:4] == ["deploy", "--model", "catania", "--trust"]
    assert words.count("--overlay") == 2
    assert Path(words[4]).is_file()
    assert relate()[-1] == [
        "integrate",
        "--model",
        "catania",
        "kubefed-host:members",
        "palermo-member",
    ]
    assert wishes.seconds == 60
    # Who offers is the last that is told, as docs/deploy.md has it.
    assert [words[0] for words in part()] == ["remove-relation", "remove-saas"] * 2


def refuse() -> str:
    raise OSError("not logged in")


@pytest.mark.parametrize(
    ("program", "answer", "reason"),
    [
        (None, FOUND, "there is no program juju"),
        ("juju", "nonsense", "juju names no controllers"),
        ("juju", None, "juju names no controllers: not logged in"),
        ("juju", '{"controllers": {}}', "no controller is logged in to"),
        ("juju", FOUND, "not packed: kubefed-host, kubefed-member, federation-dns; make charms"),
    ],
)
def test_what_is_missing_is_named(
    tmp_path: Path, program: str | None, answer: str | None, reason: str
):
    said = refuse if answer is None else lambda: answer
    assert lacks(lambda _: program, said, tmp_path).startswith(reason)


def test_with_a_controller_and_packed_charms_it_is_run(tmp_path: Path):
    for name in CHARMS:
        (tmp_path / "charms" / name).mkdir(parents=True)
        (tmp_path / "charms" / name / f"{name}_amd64.charm").touch()
    assert lacks(lambda name: name, lambda: FOUND, tmp_path) == ""
