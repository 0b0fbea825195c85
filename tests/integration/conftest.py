"""The federation that these tests drive: the lab's, or a real controller's (see README.md)."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import REGIONS, ROOT, Lab
from tests.integration.federation import Federation

JUJU = os.environ.get("FEDERATION_JUJU", "")

if JUJU:

    @pytest.fixture(scope="session")
    def federation() -> Federation:
        """Give the federation of a real controller, deployed where it is not yet."""
        found = _of_controller()
        found.settle()
        return found

else:

    @pytest.fixture(scope="session")
    def federation(lab: Lab) -> Federation:
        """Give the lab's federation, every unit active."""
        overlays = (ROOT / "overlays" / "lab.yaml",)
        found = Federation(str(lab.program), REGIONS, overlays=overlays, cloud="lab/{region}")
        found.settle()
        return found


def _of_controller() -> Federation:
    regions = tuple(os.environ.get("FEDERATION_MODELS", ",".join(REGIONS)).split(","))
    overlays = os.environ.get("FEDERATION_OVERLAYS", "")
    found = Federation(
        JUJU,
        regions,
        overlays=tuple(Path(path) for path in overlays.split(",") if path),
        cloud=os.environ.get("FEDERATION_CLOUD", ""),
        seconds=float(os.environ.get("FEDERATION_SECONDS", "3600")),
    )
    for region in regions:
        if not found.model(region).status().apps:
            found.deploy(region, ROOT / "overlays" / "regions" / f"{region}.yaml")
            if region != found.host_region:
                found.relate(region)
    return found


@pytest.fixture(scope="session")
def overlay_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], Path]:
    """Give what writes a new region's overlay, made from an existing one."""
    folder = tmp_path_factory.mktemp("overlays")

    def write(region: str, like: str) -> Path:
        text = (ROOT / "overlays" / "regions" / f"{like}.yaml").read_text()
        path = folder / f"{region}.yaml"
        _ = path.write_text(text.replace(like, region))
        return path

    return write
