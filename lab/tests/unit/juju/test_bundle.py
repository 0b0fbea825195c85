import base64
import copy
from pathlib import Path
from typing import Any

import pytest
import yaml
from federation_lab.juju import bundle, bundle_apply, bundle_check, lint
from federation_lab.juju.bundle import Bundle
from federation_lab.juju.errors import JujuError

from .world import CONSUMING, OFFERING, World

BASE = """
default-base: ubuntu@24.04/stable
applications:
  provider: {charm: ./provider.charm, num_units: 1, options: {level: 1, title: one}}
  consumer: {charm: ./consumer.charm, num_units: 1}
relations:
- [consumer:api, provider:api]
"""


def load(base: str, *overlays: str, **files: str) -> Bundle:
    texts = {"/b/bundle.yaml": base, **{f"/b/files/{k}": v for k, v in files.items()}}
    paths: list[Path] = []
    for number, overlay in enumerate(overlays):
        texts[f"/o/{number}.yaml"] = overlay
        paths.append(Path(f"/o/{number}.yaml"))
    return bundle.load(Path("/b/bundle.yaml"), paths, lambda path: texts[str(path)].encode())


def refusal(base: str, *overlays: str) -> str:
    try:
        return "\n".join(bundle_check.check(load(base, *overlays)))
    except JujuError as error:
        return error.message


def changed(**changes: Any) -> str:
    """The base with some top keys changed; applications are merged in."""
    document: dict[str, Any] = yaml.safe_load(BASE)
    document["applications"] |= changes.pop("applications", {})
    return yaml.safe_dump(document | changes)


def test_plain_bundle_is_fine() -> None:
    merged = load(BASE)
    assert bundle_check.check(merged) == []
    assert merged.applications["provider"].charm == "/b/provider.charm"
    assert merged.relations == (("consumer:api", "provider:api"),)


def test_overlay_merges_key_by_key() -> None:
    merged = load(BASE, "{applications: {provider: {num_units: 3, options: {level: 5}}}}")
    spec = merged.applications["provider"]
    assert (spec.num_units, spec.options) == (3, {"level": 5, "title": "one"})


def test_empty_options_clear() -> None:
    assert (
        load(BASE, "{applications: {provider: {options: }}}").applications["provider"].options
        == {}
    )
    merged = load(BASE, "{applications: {provider: {options: {title: }}}}")
    assert merged.applications["provider"].options == {"level": 1}


def test_lists_and_machines_are_overwritten() -> None:
    base = changed(
        machines={"0": None, "1": None},
        applications={"provider": {"charm": "./p.charm", "num_units": 2, "to": ["0", "1"]}},
    )
    merged = load(base, "{machines: {'7': }, applications: {provider: {to: ['7']}}}")
    assert merged.applications["provider"].to == ("7",)
    assert list(merged.machines) == ["7"]
    assert bundle_check.check(merged) == []


def test_empty_body_removes_with_relations() -> None:
    merged = load(BASE, "{applications: {consumer: }}")
    assert list(merged.applications) == ["provider"]
    assert merged.relations == ()


def test_relations_append_once() -> None:
    more = "{saas: {far: {url: admin/other.offer}}, relations: [[consumer:api, provider:api], "
    merged = load(BASE, more + "[consumer:api, far:api]]}")
    assert merged.relations == (("consumer:api", "provider:api"), ("consumer:api", "far:api"))
    assert load(BASE, more + "[consumer:api, far:api]]}", "{saas: {far: }}").relations == (
        ("consumer:api", "provider:api"),
    )


def test_further_documents_are_overlays() -> None:
    merged = load(BASE + "---\n{applications: {provider: {offers: {o: {endpoints: [api]}}}}}\n")
    assert merged.applications["provider"].offers[0].endpoints == ("api",)


def test_paths_are_relative_to_the_file_that_names_them() -> None:
    overlay = "{applications: {provider: {charm: ../elsewhere/p.charm}}}"
    assert load(BASE, overlay).applications["provider"].charm == "/elsewhere/p.charm"


def test_included_files() -> None:
    overlay = changed(
        applications={
            "provider": {
                "charm": "./p.charm",
                "options": {"a": "include-file://files/x", "b": "include-base64://files/x"},
            }
        }
    )
    options = load(overlay, x="text").applications["provider"].options
    assert options == {"a": "text", "b": base64.b64encode(b"text").decode()}


@pytest.mark.parametrize(
    ("documents", "words"),
    [
        (["applications: {}"], "at least one application must be specified"),
        (["applications: {a: }"], 'base application "a" has no body'),
        (["applications: {a: {charm: ./a, offers: {}}}"], "can only appear in an overlay section"),
        (["applications: {a: {charm: ''}}"], "empty charm path"),
        (["applications: {A_b: {charm: ./a}}"], 'invalid application name "A_b"'),
        (["services: {a: {charm: ./a}}"], "use applications"),
        (["[1, 2]"], "no mapping"),
        (["a: ["], "cannot unmarshal bundle contents"),
        (["applications: {a: {charm: ./a, num_units: -1}}"], "negative number of units"),
        (["applications: {a: {charm: ./a, num_units: x}}"], "expected a whole number"),
        (["applications: {a: {charm: a, revision: 3}}"], "requires a channel"),
        (["applications: {a: {charm: ./a, base: windows}}"], "declares an invalid base"),
        (["applications: {a: {charm: ./a, constraints: gpu=1}}"], 'unknown constraint "gpu"'),
        (["applications: {a: {charm: ./a, constraints: mem=lots}}"], 'bad "mem" constraint'),
        (["applications: {a: {charm: ./a, num_units: 1, to: ['0', '0']}}"], "too many units"),
        (["applications: {a: {charm: ./a, num_units: 1, to: ['0']}}"], "machine not defined"),
        (["applications: {a: {charm: ./a, num_units: 1, to: [b/0]}}"], "application not defined"),
        (["applications: {a: {charm: ./a, num_units: 1, to: ['?']}}"], "invalid placement syntax"),
        (
            ["applications: {a: {charm: ./a, num_units: 1, to: [b/1]}, b: {charm: ./b}}"],
            "specifies a unit greater than the 0 unit(s)",
        ),
        ([changed(machines={"0": None})], 'machine "0" is not referred to'),
        ([changed(machines={"x": None})], 'invalid machine id "x"'),
        ([changed(relations=[["consumer:api"]])], "has 1 endpoint(s), not 2"),
        ([changed(relations=[["consumer:api", "none:api"]])], "not defined in this bundle"),
        ([changed(relations=[["consumer:api", "consumer:b"]])], "to itself"),
        ([changed(relations=[["Consumer", "provider"]])], "invalid endpoint syntax"),
        (
            [
                changed(
                    relations=[["consumer:api", "provider:api"], ["provider:api", "consumer:api"]]
                )
            ],
            "defined more than once",
        ),
        ([changed(saas={"provider": {"url": "admin/m.o"}})], "share the same name"),
        ([changed(saas={"far": {"url": "nonsense"}})], "not valid"),
        ([changed(saas={"far": {}})], "has no url"),
        (
            [BASE, "{applications: {provider: {offers: {o: {endpoints: [provider:api]}}}}}"],
            "must be its name alone",
        ),
        ([BASE, "{applications: {provider: {offers: {o: }}}}"], "names no endpoints"),
        (
            [BASE, "{applications: {provider: {offers: {o: {endpoints: [api], acl: {u: own}}}}}}"],
            "no offer access",
        ),
        ([BASE, "{applications: {other: {num_units: 1}}}"], "empty charm path"),
    ],
)
def test_refusals(documents: list[str], words: str) -> None:
    assert words in refusal(*documents)


def test_unknown_fields_are_told() -> None:
    merged = load(changed(applications={"provider": {"charm": "./p", "unit": 1}}, extra=1))
    assert len(merged.warnings) == 2


def world_with(text: str, *overlays: str) -> tuple[World, list[str]]:
    world = World()
    return world, apply(world, text, *overlays)


def apply(world: World, text: str, *overlays: str) -> list[str]:
    charms = {"provider": OFFERING, "consumer": CONSUMING}
    return bundle_apply.apply(world.state, world.here, load(text, *overlays), charms, world.now)


def test_second_deployment_changes_nothing() -> None:
    world, done = world_with(BASE)
    assert len(done) == 5
    before = copy.deepcopy(world.state)
    assert apply(world, BASE) == []
    assert world.state == before


def test_changed_bundle_changes_only_that() -> None:
    world, _ = world_with(BASE)
    done = apply(world, BASE, "{applications: {provider: {num_units: 2, options: {level: 4}}}}")
    assert done == [
        "set application options for provider",
        "add unit provider/1 to machine 2",
    ]
    assert world.here.applications["provider"].config["level"] == 4


def test_offers_are_made_once() -> None:
    offer = "{applications: {provider: {offers: {o: {endpoints: [api], acl: {a: consume}}}}}}"
    world, done = world_with(BASE, offer)
    assert done[-1] == "create offer o using provider:api"
    assert world.here.offers["o"].acl["a"] == "consume"
    assert apply(world, BASE, offer) == []


def test_placement() -> None:
    base = """
machines: {"0": }
applications:
  provider: {charm: ./p, num_units: 2, to: ["0", new]}
  consumer: {charm: ./c, num_units: 2, to: [provider/0, "lxd:0"]}
"""
    world, _ = world_with(base)
    units = {u.name: u.machine for a in world.here.applications.values() for u in a.units.values()}
    assert units == {
        "provider/0": "0", "provider/1": "1", "consumer/0": "0", "consumer/1": "0/lxd/0",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("overlay", "words"),
    [
        ("{applications: {provider: {options: {nix: 1}}}}", 'unknown option "nix"'),
        ("{applications: {provider: {options: {level: high}}}}", "expected int"),
        ("{relations: [[consumer:none, provider:api]]}", 'does not define relation "none"'),
        ("{relations: [[consumer:api, provider:friends]]}", "mismatched interface"),
        (
            "{applications: {provider: {offers: {o: {endpoints: [none]}}}}}",
            'does not define relation "none"',
        ),
        ("{applications: {provider: {resources: {r: ./x}}}}", 'has no resource "r"'),
        ("{saas: {far: {url: admin/far.o}}}", "not found"),
    ],
)
def test_refusals_with_charms(overlay: str, words: str) -> None:
    with pytest.raises(JujuError, match=words.replace("?", ".")):
        world_with(BASE, overlay)


def test_lint_tells_what_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "bundle.yaml"
    path.write_text(BASE)
    assert lint.main([str(path)]) == 0
    overlay = tmp_path / "overlay.yaml"
    overlay.write_text("{applications: {provider: {unit: 2}}, saas: {consumer: {url: admin/a.b}}}")
    assert lint.main([str(path), str(overlay)]) == 1
    told = capsys.readouterr().err
    assert 'unrecognized field "unit"' in told
    assert "share the same name" in told
    assert lint.main([]) == 2
