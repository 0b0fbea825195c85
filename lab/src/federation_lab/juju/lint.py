"""``python -m federation_lab.juju.lint BUNDLE [OVERLAY ...]``: a bundle checked offline.

What Juju would refuse, and fields that it would ignore, are told one a line; exit code 1 if there
is any. Options and endpoints are checked too where a local charm's source, or the charm itself, is
there; the source goes first, since what is packed may be of yesterday. Of Charmhub's charms the
endpoints are known from ``charmhub.yaml`` beside the bundle, if there is one.
"""

import functools
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from federation_lab.juju import bundle, bundle_check, charm
from federation_lab.juju.bundle import ApplicationSpec, Bundle
from federation_lab.juju.charm import Charm
from federation_lab.juju.errors import JujuError

CHARMHUB = "charmhub.yaml"


def check(path: Path, overlays: list[Path]) -> list[str]:
    """Everything that is wrong with a bundle and its overlays.

    Args:
        path: The bundle.
        overlays: Its overlays, in their order.
    """
    try:
        merged = bundle.load(path, overlays)
        store = charmhub(path.with_name(CHARMHUB))
        known = known_charms(merged, store)
    except JujuError as error:
        return [error.message]
    found = [*merged.warnings, *bundle_check.check(merged, known)]
    if store is not None:
        found += [p for spec in merged.applications.values() for p in _from_store(spec, store)]
    return found


def known_charms(merged: Bundle, store: Mapping[str, Charm] | None) -> dict[str, Charm]:
    """The charms by application, as far as they are there to be asked.

    Args:
        merged: The bundle.
        store: What is known of Charmhub's charms.

    Raises:
        JujuError: A charm cannot be read.
    """
    found: dict[str, Charm] = {}
    for name, spec in merged.applications.items():
        metadata = metadata_of(Path(spec.charm)) if spec.local else (store or {}).get(spec.charm)
        if metadata is not None:
            found[name] = metadata
    return found


def charmhub(path: Path) -> dict[str, Charm] | None:
    """What is known of Charmhub's charms; None without such a file.

    Raises:
        JujuError: The file is no mapping of charms.
    """
    if not path.is_file():
        return None
    return _of_store(path.read_text(), str(path))


# Every combination of overlays asks for the same charms, and YAML takes its time.
@functools.lru_cache(maxsize=8)
def _of_store(text: str, path: str) -> dict[str, Charm]:
    whole: object = yaml.safe_load(text)
    if not isinstance(whole, dict):
        raise JujuError(f"{path}: no mapping of charms")
    charms: dict[str, Any] = whole
    found: dict[str, Charm] = {}
    for name, body in charms.items():
        options = {key: {"type": kind} for key, kind in (body.get("options") or {}).items()}
        parts = {
            "metadata.yaml": yaml.safe_dump({"name": name, **body}),
            "config.yaml": yaml.safe_dump({"options": options}),
        }
        found[name] = charm.parse(parts, path=path, sha256="")
    return found


def metadata_of(packed: Path) -> Charm | None:
    """A local charm's metadata: of its source, else as it is packed; None where neither is.

    Raises:
        JujuError: It is no charm.
    """
    source = packed.with_name("charmcraft.yaml")
    if not source.is_file():
        return charm.read(packed) if packed.is_file() else None
    return _of_source(source.read_text(), str(source))


@functools.lru_cache(maxsize=64)
def _of_source(text: str, path: str) -> Charm:
    whole: dict[str, Any] = yaml.safe_load(text)
    parts = {"metadata.yaml": text, "config.yaml": yaml.safe_dump(whole.get("config") or {})}
    return charm.parse(parts, path=path, sha256="")


def _from_store(spec: ApplicationSpec, store: Mapping[str, Charm]) -> list[str]:
    if spec.local or not spec.charm:
        return []
    found: list[str] = []
    if spec.charm not in store:
        found.append(
            f'application "{spec.name}": charm "{spec.charm}" is not in {CHARMHUB}; '
            "add its endpoints there"
        )
    if "/" not in spec.channel:
        found.append(
            f'application "{spec.name}": pin a channel with its track, such as 1.35/stable '
            f'(it has "{spec.channel}")'
        )
    return found


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
