"""Which Juju commands make a federation of some regions (pure).

They are the README's production commands, with `lab` in place of `juju`.
"""

from __future__ import annotations

import dataclasses
import re
from typing import TYPE_CHECKING, Any

from federation_lab.errors import LabError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

DEFAULT_REGIONS = ("catania", "palermo", "napoli")
REGION_NAME = re.compile(r"[a-z]([-a-z0-9]{0,38}[a-z0-9])?")
MOST_REGIONS = 30


@dataclasses.dataclass(frozen=True)
class Files:
    """The deployment's files in the checkout.

    Attributes:
        root: the checkout.
        generated: where overlays of regions that have none in the checkout are written.
        further: overlays that come before the role, such as `overlays/ha.yaml`.
        images: the overlay that says which programs pods run as, where there is one.
    """

    root: Path
    generated: Path
    further: tuple[Path, ...] = ()
    images: Path | None = None

    @property
    def bundle(self) -> Path:
        """The bundle of one region."""
        return self.root / "bundles" / "federation.yaml"

    @property
    def examples(self) -> Path:
        """The example application."""
        return self.root / "examples" / "federated" / "application.yaml"

    def region_overlay(self, region: str) -> Path:
        """The overlay with a region's own facts, generated where the checkout has none."""
        kept = self.root / "overlays" / "regions" / f"{region}.yaml"
        return kept if kept.exists() else self.generated / f"{region}.yaml"

    def overlays(self, region: str, *, host: bool) -> list[Path]:
        """The overlays of one region, in the order of the command line."""
        folder = self.root / "overlays"
        role = folder / ("host-region.yaml" if host else "member-region.yaml")
        images = [self.images] if self.images else []
        own = [self.region_overlay(region), folder / "lab.yaml"]
        return [*self.further, role, *own, *images]


def parse_regions(text: str) -> tuple[str, ...]:
    """Read ``--regions a,b,c``; the first is the host's.

    Raises:
        LabError: none, one twice, too many, or a name that isn't a DNS label.
    """
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    if not names:
        raise LabError("--regions names no region; give for example catania,palermo,napoli")
    for name in names:
        if not REGION_NAME.fullmatch(name):
            raise LabError(
                f"{name!r} can't be a region's name: lower-case letters, digits and hyphens, "
                "beginning with a letter, 40 at most"
            )
        if names.count(name) > 1:
            raise LabError(f"--regions names {name} twice")
    if len(names) > MOST_REGIONS:
        raise LabError(f"--regions names {len(names)} regions; at most {MOST_REGIONS} are tried")
    return names


def deploy_commands(region: str, *, host: bool, files: Files) -> list[list[str]]:
    """The commands that make one region's model and deploy the bundle into it."""
    overlays = [f"--overlay={path}" for path in files.overlays(region, host=host)]
    return [
        ["add-model", region, f"lab/{region}"],
        ["deploy", str(files.bundle), *overlays, "-m", region],
    ]


def join_commands(region: str, host: str) -> list[list[str]]:
    """The commands that relate a region's clusters to the host's kubefed-host."""
    offer = f"{region}-member"
    return [
        ["consume", f"admin/{region}.{offer}", "-m", host],
        ["integrate", "kubefed-host:members", f"{offer}:federation", "-m", host],
    ]


def waiting(statuses: Sequence[dict[str, Any]]) -> list[str]:
    """Say which units aren't active and idle yet, and what they say (pure).

    Args:
        statuses: each model's status, as `juju status --format json` gives it.
    """
    found: list[str] = []
    for status in statuses:
        applications = status.get("applications") or {}
        for application in applications.values():
            for name, unit in (application.get("units") or {}).items():
                workload = unit.get("workload-status", {})
                agent = unit.get("juju-status", {})
                if workload.get("current") == "active" and agent.get("current") == "idle":
                    continue
                says = workload.get("message") or agent.get("message") or ""
                where = status["model"]["name"]
                found.append(f"{where}: {name} {workload.get('current')} {says}".strip())
    return found
