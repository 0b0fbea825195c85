"""How the two regions are deployed: the words of `juju`, and what has to be there first. Pure."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping
from pathlib import Path

ROOT = Path(__file__).parents[2]
CHARMS = ("kubefed-host", "kubefed-member", "federation-dns")
HOST, MEMBER = "catania", "palermo"
ROLES = {HOST: "host-region", MEMBER: "member-region"}
SECONDS = 7200.0


@dataclasses.dataclass(frozen=True)
class Wishes:
    """What the environment asks for.

    Attributes:
        cloud: of the models, with `{region}` for the region's name; empty: the controller's.
        features: overlays for both regions.
        seconds: how long to wait for a model at most.
    """

    cloud: str = ""
    features: tuple[str, ...] = ()
    seconds: float = SECONDS

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> Wishes:
        """Read the variables of README.md."""
        features = environment.get("FEDERATION_OVERLAYS", "")
        return cls(
            cloud=environment.get("FEDERATION_CLOUD", ""),
            features=tuple(each.strip() for each in features.split(",") if each.strip()),
            seconds=float(environment.get("FEDERATION_SECONDS", SECONDS)),
        )


def overlays(region: str, wishes: Wishes) -> list[Path]:
    """Give a region's overlays in their order: features, the role, the region."""
    names = [*wishes.features, ROLES[region], f"regions/{region}"]
    return [ROOT / "overlays" / f"{name}.yaml" for name in names]


def add_model(region: str, wishes: Wishes) -> list[str]:
    """Give the words that make a region's model."""
    cloud = [wishes.cloud.format(region=region)] if wishes.cloud else []
    return ["add-model", "--no-switch", region, *cloud]


def deploy(region: str, wishes: Wishes) -> list[str]:
    """Give the words that deploy the bundle into a region's model."""
    words = ["deploy", "--model", region, "--trust", str(ROOT / "bundles/federation.yaml")]
    for path in overlays(region, wishes):
        words += ["--overlay", str(path)]
    return words


def relate() -> list[list[str]]:
    """Give the words by which the host takes the other region in."""
    offer = f"{MEMBER}-member"
    return [
        ["consume", "--model", HOST, f"admin/{MEMBER}.{offer}"],
        ["integrate", "--model", HOST, "kubefed-host:members", offer],
    ]


def part() -> list[list[str]]:
    """Give the words that part the regions, without which neither model can be destroyed."""
    mesh, offer = "federation-mesh", f"{MEMBER}-member"
    return [
        ["remove-relation", "--model", HOST, "kubefed-host", offer],
        ["remove-saas", "--model", HOST, offer],
        ["remove-relation", "--model", MEMBER, "federation-dns", mesh],
        ["remove-saas", "--model", MEMBER, mesh],
    ]


def lacks(
    which: Callable[[str], str | None], controllers: Callable[[], str], root: Path = ROOT
) -> str:
    """Say why nothing can be deployed here; empty: it can.

    Args:
        which: finds a program.
        controllers: gives `juju controllers --format json`; OSError where it fails.
        root: the tree.
    """
    if which("juju") is None:
        return "there is no program juju; snap install juju"
    try:
        current = json.loads(controllers()).get("current-controller")
    except (OSError, ValueError) as error:
        return f"juju names no controllers: {error}"
    if not current:
        return "no controller is logged in to; juju bootstrap, or juju switch"
    packed = [root / "charms" / name / f"{name}_amd64.charm" for name in CHARMS]
    missing = [path.parent.name for path in packed if not path.exists()]
    return f"not packed: {', '.join(missing)}; make charms" if missing else ""
