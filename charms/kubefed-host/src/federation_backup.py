"""Backups of the federation on the unit: made, kept, and put back; no ops in here."""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from federation_interfaces.access import Access
from federation_interfaces.cluster import api_client
from federation_interfaces.files import make_directory
from kubefed_host import HostError, Settings

if TYPE_CHECKING:
    from kubefed.backup import Restored

SUFFIX = ".backup"
# The key in the Juju secret.
KEY = "key"


@dataclass(frozen=True)
class Kept:
    """A backup on the unit.

    Attributes:
        path: its file.
        sha256: its checksum.
        facts: what is in it, as an action's result.
        removed: the names of the older ones that went.
    """

    path: Path
    sha256: str
    facts: Mapping[str, object]
    removed: tuple[str, ...]


def make(access: Access, settings: Settings, key: str, directory: Path, *, keep: int) -> Kept:
    """Back the federation up into a new file that root alone reads.

    Args:
        access: the host cluster, by the admin's account.
        settings: the charm's configuration.
        key: the key, in base64.
        directory: where the backups are.
        keep: how many of them to keep, the new one included.

    Raises:
        HostError: nothing was written; the text says why.
    """
    from kubefed import backup
    from kubefed.errors import KubefedError

    api = api_client(access.address, access.admin_token)
    try:
        taken = backup.take(api, namespace=settings.namespace, key=backup.read_key(key))
    except KubefedError as error:
        raise HostError(str(error)) from error
    finally:
        api.close()
    digest = hashlib.sha256(taken.data).hexdigest()
    moment = taken.made_at.replace(":", "").partition("+")[0]
    path = directory / f"federation-{moment}Z-{digest[:8]}{SUFFIX}"
    try:
        make_directory(directory, mode=0o700)
        _write(path, taken.data)
        removed = _prune(directory, keep)
    except OSError as error:
        raise HostError(f"{path} cannot be written: {error}") from error
    facts: dict[str, object] = {
        "made-at": taken.made_at,
        "objects": sum(taken.objects.values()),
        "clusters": " ".join(taken.clusters),
        "bytes": len(taken.data),
        "key-id": taken.key_id,
        "changed-since": json.dumps(list(taken.changed)),
    }
    return Kept(path, digest, facts, removed)


def put_back(
    access: Access, settings: Settings, key: str, path: Path, *, overwrite: bool
) -> "Restored":
    """Put the federation of a backup back into the host cluster.

    The host's own membership is left as it was: its kubefed-member makes the account, and the
    relation brings the token.

    Raises:
        HostError: the text says why, and whether anything was written.
    """
    from kubefed import backup
    from kubefed.errors import KubefedError

    try:
        data = path.read_bytes()
    except OSError as error:
        raise HostError(f"{path} cannot be read on this unit: {error.strerror}") from error
    wish = backup.Wish(namespace=settings.namespace, overwrite=overwrite, rejoin=False)
    api = api_client(access.address, access.admin_token)
    try:
        return backup.restore(api, data, backup.read_key(key), wish)
    except KubefedError as error:
        raise HostError(str(error)) from error
    finally:
        api.close()


def _write(path: Path, data: bytes) -> None:
    temporary = path.with_name(f".{path.name}.new")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        _ = file.write(data)
        file.flush()
        os.fsync(file.fileno())
    _ = temporary.replace(path)


def _prune(directory: Path, keep: int) -> tuple[str, ...]:
    """Delete all but the newest; their names sort as they were made."""
    found = sorted(directory.glob(f"federation-*{SUFFIX}"))
    gone = found[: max(0, len(found) - keep)]
    for path in gone:
        path.unlink()
    return tuple(path.name for path in gone)
