"""Each rule of the offline checks has a bundle, a store or a tree here that it refuses."""

from pathlib import Path

import pytest
import yaml
from federation_lab.juju import lint, lint_all

CHARM = """
name: {name}
subordinate: {subordinate}
requires: {{up: {{interface: line, limit: {limit}, scope: {scope}}}}}
provides: {{down: line}}
"""
BUNDLE = """
applications:
  one: {charm: ./one/one_amd64.charm, num_units: 1}
  two: {charm: two, channel: 1/stable, num_units: 1}
relations:
- [one:up, two:down]
"""
STORE = "two: {provides: {down: line}, options: {level: string}}\n"


def tree(
    folder: Path,
    *,
    bundle: str = BUNDLE,
    store: str = STORE,
    overlay: str = "{}",
    subordinate: bool = False,
    limit: int = 1,
    scope: str = "global",
) -> list[str]:
    """A bundle in a folder, and what the lint says of it."""
    (folder / "one").mkdir()
    text = CHARM.format(name="one", subordinate=subordinate, limit=limit, scope=scope)
    (folder / "one/charmcraft.yaml").write_text(text)
    (folder / "bundle.yaml").write_text(bundle)
    (folder / "overlay.yaml").write_text(overlay)
    if store:
        (folder / "charmhub.yaml").write_text(store)
    return lint.check(folder / "bundle.yaml", [folder / "overlay.yaml"])


def test_a_sound_bundle_passes_with_a_store_and_without(tmp_path: Path):
    for name, store in (("with", STORE), ("without", "")):
        (tmp_path / name).mkdir()
        assert tree(tmp_path / name, store=store) == []


def test_a_charm_of_charmhub_is_to_be_described(tmp_path: Path):
    (problem,) = tree(tmp_path, store="three: {}\n")
    assert 'charm "two" is not in charmhub.yaml' in problem


@pytest.mark.parametrize("channel", ["stable", '""'])
def test_a_channel_is_pinned_with_its_track(tmp_path: Path, channel: str):
    (problem,) = tree(tmp_path, bundle=BUNDLE.replace("1/stable", channel))
    assert "pin a channel" in problem


def test_endpoints_and_options_of_the_store_are_checked(tmp_path: Path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    (problem,) = tree(tmp_path / "a", store="two: {provides: {aside: line}}\n")
    assert 'does not define relation "down"' in problem
    overlay = "applications: {two: {options: {height: '1'}}}"
    (problem,) = tree(tmp_path / "b", overlay=overlay)
    assert 'unknown option "height"' in problem


def test_a_store_that_is_no_mapping_is_named(tmp_path: Path):
    (problem,) = tree(tmp_path, store="- two\n")
    assert "no mapping of charms" in problem


def test_a_limit_holds(tmp_path: Path):
    more = (
        "applications: {three: {charm: two, channel: 1/stable}}\nrelations: [[one:up, three:down]]"
    )
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    (problem,) = tree(tmp_path / "a", overlay=more)
    assert problem == 'endpoint "one:up" is in 2 relations; its limit is 1'
    assert tree(tmp_path / "b", overlay=more, limit=2) == []


def test_a_subordinate_has_no_units_of_its_own(tmp_path: Path):
    (problem,) = tree(tmp_path, subordinate=True, scope="container")
    assert "is a subordinate: no units" in problem


def test_a_subordinate_needs_an_application_to_be_beside(tmp_path: Path):
    bundle = BUNDLE.replace("one_amd64.charm, num_units: 1", "one_amd64.charm")
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    (problem,) = tree(tmp_path / "a", bundle=bundle, subordinate=True)
    assert "beside no application" in problem
    assert tree(tmp_path / "b", bundle=bundle, subordinate=True, scope="container") == []


def test_container_scope_does_not_cross_models(tmp_path: Path):
    overlay = "saas: {far: {url: admin/far.line}}\nrelations: [[one:up, far:down]]"
    found = tree(tmp_path, overlay=overlay, scope="container", limit=2)
    assert found == ['SAAS "far" is related to an endpoint of scope container']


# The whole tree


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A small tree that passes."""
    for folder in ("bundles/one", "overlays/regions", "clouds"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "bundles/one/charmcraft.yaml").write_text(
        CHARM.format(name="one", subordinate=False, limit=1, scope="global")
    )
    (tmp_path / "bundles/federation.yaml").write_text(BUNDLE)
    (tmp_path / "bundles/charmhub.yaml").write_text(STORE)
    for name in ("host-region", "member-region", "ha", "openstack", "regions/roma"):
        (tmp_path / "overlays" / f"{name}.yaml").write_text("{}")
    cloud = {"type": "openstack", "auth-types": ["userpass"]}
    regions = {"roma": {"endpoint": "https://keystone.example:5000/v3"}}
    text = yaml.safe_dump({"clouds": {"openstack": cloud | {"regions": regions}}})
    (tmp_path / "clouds/openstack.yaml").write_text(text)
    return tmp_path


def test_a_sound_tree_passes(root: Path, capsys: pytest.CaptureFixture[str]):
    assert lint_all.main([str(root)]) == 0
    assert capsys.readouterr().err == ""


def test_every_selection_of_features_is_combined_with_both_roles(root: Path):
    (root / "overlays/lab.yaml").write_text("{}")
    sets = [" ".join(names) for names in lint_all.overlay_sets(root)]
    assert len(sets) == len(set(sets)) == 4 * 2 + 2 * 2
    assert "openstack ha member-region regions/roma" in sets
    assert "ha host-region regions/roma lab" in sets
    assert not any("openstack" in each and each.endswith("lab") for each in sets)


def test_a_feature_that_is_added_to_another_goes_with_it_only(root: Path):
    for name in ("cos", "tracing"):
        (root / f"overlays/{name}.yaml").write_text("{}")
    traced = [names for names in lint_all.overlay_sets(root) if "tracing" in names]
    assert ["cos", "tracing", "host-region", "regions/roma"] in traced
    assert all(names[names.index("tracing") - 1] == "cos" for names in traced)


def test_what_breaks_one_combination_only_is_told_once_with_the_smallest(
    root: Path, capsys: pytest.CaptureFixture[str]
):
    (root / "overlays/ha.yaml").write_text("applications: {gone: {num_units: 2}}")
    assert lint_all.main([str(root)]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("bundles/federation.yaml with ha host-region regions/roma: ")


def test_an_overlay_that_nothing_combines_is_named(root: Path):
    (root / "overlays/new.yaml").write_text("{}")
    (problem,) = lint_all.check(root)
    assert problem.startswith("overlays/new.yaml: in no combination")


def test_a_region_without_a_cloud_is_named(root: Path):
    (root / "overlays/regions/bari.yaml").write_text("{}")
    assert lint_all.check(root) == ["clouds: no cloud has the region bari"]


def test_a_wrong_cloud_is_told_with_its_file(root: Path):
    (root / "clouds/maas.yaml").write_text("clouds: {maas: {type: maas, auth-types: [oauth1]}}")
    (problem,) = lint_all.check(root)
    assert problem.startswith("clouds/maas.yaml: clouds.maas: ")
