"""``python -m federation_lab.juju.lint BUNDLE [OVERLAY ...]``: a bundle checked offline.

What Juju would refuse, and fields that it would ignore, are told one a line; exit code 1 if there
is any. Options and endpoints are checked too where the charms are there, packed.
"""

import sys
from pathlib import Path

from federation_lab.juju import bundle, bundle_check, charm
from federation_lab.juju.errors import JujuError


def check(path: Path, overlays: list[Path]) -> list[str]:
    """Everything that is wrong with a bundle and its overlays.

    Args:
        path: The bundle.
        overlays: Its overlays, in their order.
    """
    try:
        merged = bundle.load(path, overlays)
        packed = {
            name: charm.read(Path(spec.charm))
            for name, spec in merged.applications.items()
            if spec.local and Path(spec.charm).is_file()
        }
    except JujuError as error:
        return [error.message]
    return [*merged.warnings, *bundle_check.check(merged, packed)]


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
