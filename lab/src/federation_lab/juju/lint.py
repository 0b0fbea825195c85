"""``python -m federation_lab.juju.lint BUNDLE [OVERLAY ...]``: a bundle checked offline.

What Juju would refuse, and fields that it would ignore, are told one a line; exit code 1 if there
is any. Options and endpoints are checked too where a local charm's source, or the charm itself, is
there; the source goes first, since what is packed may be of yesterday.
"""

import sys
from pathlib import Path
from typing import Any

import yaml

from federation_lab.juju import bundle, bundle_check, charm
from federation_lab.juju.charm import Charm
from federation_lab.juju.errors import JujuError


def check(path: Path, overlays: list[Path]) -> list[str]:
    """Everything that is wrong with a bundle and its overlays.

    Args:
        path: The bundle.
        overlays: Its overlays, in their order.
    """
    try:
        merged = bundle.load(path, overlays)
        known = {
            name: found
            for name, spec in merged.applications.items()
            if spec.local and (found := _metadata(Path(spec.charm))) is not None
        }
    except JujuError as error:
        return [error.message]
    return [*merged.warnings, *bundle_check.check(merged, known)]


def _metadata(packed: Path) -> Charm | None:
    source = packed.with_name("charmcraft.yaml")
    if not source.is_file():
        return charm.read(packed) if packed.is_file() else None
    text = source.read_text()
    whole: dict[str, Any] = yaml.safe_load(text)
    parts = {"metadata.yaml": text, "config.yaml": yaml.safe_dump(whole.get("config") or {})}
    return charm.parse(parts, path=str(source), sha256="")


def main(argv: list[str]) -> int:
    """Checks one bundle.

    Args:
        argv: The bundle and its overlays.

    Returns:
        0 if nothing is wrong, 1 if something is, 2 without a bundle.
    """
    if not argv:
        sys.stderr.write("usage: python -m federation_lab.juju.lint BUNDLE [OVERLAY ...]\n")
        return 2
    found = check(Path(argv[0]), [Path(overlay) for overlay in argv[1:]])
    for problem in found:
        sys.stderr.write(f"{argv[0]}: {problem}\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
