"""``python -m federation_lab.juju.lint_all [ROOT]``: all that a region is deployed from, offline.

The bundle with its overlays in every combination that makes sense, the clouds, and Terraform's
modules, which have to deploy the same. One line a problem, with what it is a problem of; exit code
1 if there is any.
"""

import sys
from collections.abc import Iterator, Sequence
from itertools import combinations
from pathlib import Path

from federation_lab.juju import lint, lint_clouds, lint_terraform, lint_topology

FEATURES = ("openstack", "ha", "designate", "cos", "tracing", "upstream")
"""Overlays that go together in any selection, in this order, before the region's role."""
ROLES = ("host-region", "member-region")
WITNESS = "witness"
"""A model of its own: with no role, region or feature."""
TERRAFORM_FEATURES = ("openstack", "ha", "designate", "cos", "tracing", "upstream")
"""Those that ``terraform/region`` has a variable for."""
NEEDS = {"tracing": "cos"}
"""Features that are added to another one only."""
LAB = "lab"
LAB_FEATURES = ("ha", "upstream")
"""Those that the lab can be given too; the others need clouds and charms that it has not."""


def overlay_sets(root: Path) -> Iterator[list[str]]:
    """Every combination of overlays, by their names below ``overlays/``.

    Regions differ by nothing but their names, so all of them are combined with no feature, and
    one with each selection.

    Args:
        root: The tree.
    """
    there = {path.stem for path in (root / "overlays").glob("*.yaml")}
    features = [name for name in FEATURES if name in there]
    regions = sorted(path.stem for path in (root / "overlays/regions").glob("*.yaml"))
    if WITNESS in there:
        yield [WITNESS]
    for chosen in _selections(features):
        for role in ROLES:
            for region in regions if not chosen else regions[:1]:
                names = [*chosen, role, f"regions/{region}"]
                yield names
                if LAB in there and set(chosen) <= set(LAB_FEATURES):
                    yield [*names, LAB]


def _selections(features: Sequence[str]) -> Iterator[tuple[str, ...]]:
    for size in range(len(features) + 1):
        for chosen in combinations(features, size):
            if all(NEEDS.get(name, name) in chosen for name in chosen):
                yield chosen


def check_overlays(root: Path) -> list[str]:
    """Everything that is wrong with the bundle, with any of its overlays.

    Args:
        root: The tree.
    """
    known = {*FEATURES, *ROLES, WITNESS, LAB}
    found = [
        f"overlays/{path.name}: in no combination that is checked; name it in lint_all.py"
        for path in sorted((root / "overlays").glob("*.yaml"))
        if path.stem not in known
    ]
    bundle = root / "bundles/federation.yaml"
    told: set[str] = set()
    for names in overlay_sets(root):
        for problem in lint.check(bundle, [root / "overlays" / f"{name}.yaml" for name in names]):
            # The smallest combination that has it comes first; the others say nothing new.
            if problem not in told:
                told.add(problem)
                found.append(f"bundles/federation.yaml with {' '.join(names)}: {problem}")
    return found


def check_clouds(root: Path) -> list[str]:
    """Everything that is wrong with the clouds.

    Args:
        root: The tree.
    """
    found: list[str] = []
    named: set[str] = set()
    for path in sorted((root / "clouds").glob("*.yaml")):
        problems = lint_clouds.check(path)
        found += [f"clouds/{path.name}: {problem}" for problem in problems]
        if not problems:
            named |= {
                region
                for cloud in lint_clouds.load(path.read_text()).clouds.values()
                for region in cloud.regions
            }
    regions = {path.stem for path in (root / "overlays/regions").glob("*.yaml")}
    if not found:
        found += [f"clouds: no cloud has the region {name}" for name in sorted(regions - named)]
    return found


def check_terraform(root: Path) -> list[str]:
    """Everything that is wrong with Terraform's modules; nothing where there are none.

    Args:
        root: The tree.
    """
    modules: dict[str, lint_terraform.Module] = {}
    found: list[str] = []
    for folder in sorted(each for each in (root / "terraform").glob("*") if each.is_dir()):
        try:
            modules[folder.name] = lint_terraform.read(folder)
        except ValueError as error:
            found.append(f"terraform/{folder.name}: {error}")
    by_path = {module.path: module for module in modules.values()}
    for name, module in modules.items():
        found += [f"terraform/{name}: {each}" for each in lint_terraform.check(module, by_path)]
    if not modules or found:
        return found  # what is compared below can be relied on
    for name in lint_topology.OURS:
        problems = lint_topology.check_charm(root, modules[name], name)
        found += [f"terraform/{name}: {each}" for each in problems]
    crossing = [*lint_topology.check_crossing(root, modules)]
    crossing += lint_topology.check_witness(root, modules)
    found += [f"terraform/federation: {each}" for each in crossing]
    return found + list(_topologies(root, modules))


def _topologies(root: Path, modules: dict[str, lint_terraform.Module]) -> Iterator[str]:
    told: set[str] = set()
    there = [n for n in TERRAFORM_FEATURES if (root / "overlays" / f"{n}.yaml").is_file()]
    for chosen in _selections(there):
        for host in (True, False):
            bundled = lint_topology.load_bundle(root, chosen, host=host)
            made = lint_topology.of_terraform(modules, chosen, host=host)
            for problem in lint_topology.differences(lint_topology.of_bundle(bundled), made):
                if problem not in told:
                    told.add(problem)
                    shown = " ".join([*chosen, ROLES[0] if host else ROLES[1]])
                    yield f"terraform/region with {shown}: {problem}"


def check(root: Path) -> list[str]:
    """Everything that is wrong with what a region is deployed from.

    Args:
        root: The tree.
    """
    return [*check_overlays(root), *check_clouds(root), *check_terraform(root)]


def main(argv: list[str]) -> int:
    """Checks a tree.

    Args:
        argv: Its root, else the current directory.

    Returns:
        0 if nothing is wrong, 1 if something is.
    """
    found = check(Path(argv[0]) if argv else Path())
    for problem in found:
        sys.stderr.write(f"{problem}\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
