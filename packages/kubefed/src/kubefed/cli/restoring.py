"""backup, restore."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kubefed import errors
from kubefed.cli import common
from kubefed.cli.common import warn
from kubefed.cli.host import Host, verb

if TYPE_CHECKING:
    from kubefed.backup import Restored, Taken

_SHOWN = 20

KeyFile = Annotated[
    Path | None,
    typer.Option("--key-file", help="File with the key, or - for standard input."),
]


@verb(changes=False)
def backup(
    host: Host,
    file: Annotated[
        Path | None,
        typer.Argument(metavar="FILE", help="The file to make, or - for standard output."),
    ] = None,
    key_file: KeyFile = None,
    new_key: Annotated[
        Path | None,
        typer.Option("--new-key", metavar="FILE", help="Make a key, and no backup unless named."),
    ] = None,
) -> None:
    """Write the federation, with its memberships, into one encrypted file."""
    # Only here: the other verbs needn't wait for what it imports.
    from kubefed import backup as backups

    if new_key:
        common.write_private(new_key, _line(backups.key_text(os.urandom(backups.KEY_BYTES))))
        if file is None:
            host.answer(
                f"A key is in {new_key}; keep it where the backups are not.", key_file=str(new_key)
            )
            return
    key = _key(key_file or new_key)
    if file is None:
        raise errors.UsageError("give a FILE for the backup, or - for standard output")
    if str(file) != "-" and file.exists():
        raise errors.UsageError(f"{file} is there already, and no file is written over")
    taken = backups.take(host.api, namespace=host.namespace, key=key)
    if str(file) == "-":
        typer.get_binary_stream("stdout").write(taken.data)
    else:
        common.write_private(file, taken.data)
    _warn_of_changes(taken)
    if str(file) != "-":
        _tell_of(host, file, taken)


@verb
def restore(
    host: Host,
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="The backup, or - for standard input.")
    ],
    key_file: KeyFile = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace what differs in the host.")
    ] = False,
    rejoin: Annotated[
        bool,
        typer.Option(
            "--rejoin/--no-rejoin",
            help="Whether the host becomes the member that the former host was.",
        ),
    ] = True,
) -> None:
    """Put a federation back into a host cluster; what is in the members isn't touched.

    No controller acts meanwhile: the restore holds their Lease. Safe to repeat. What the host has
    and the backup hasn't stays.
    """
    from kubefed import backup as backups

    if str(file) == "-" and str(key_file) == "-":
        raise errors.UsageError("both the backup and its key can't come from standard input")
    key = _key(key_file)
    wish = backups.Wish(
        namespace=host.namespace,
        overwrite=overwrite,
        rejoin=rejoin,
        host_name=_account_name(host),
        dry_run=host.dry_run,
    )
    restored = backups.restore(host.api, common.read_bytes(file), key, wish, tell=warn)
    _warn_of_rest(restored)
    done = "would be made" if host.dry_run else "were made"
    count = sum(restored.created.values())
    changed = len(restored.changed)
    moment = restored.made_at or "an unknown time"
    host.answer(
        f"The federation of {moment} is restored: {count} objects {done}, {changed} replaced."
        if not host.dry_run
        else f"The federation of {moment} can be restored: {count} objects {done}, {changed} "
        "replaced.",
        made_at=restored.made_at,
        created=restored.created,
        changed=restored.changed,
        not_in_backup=restored.beyond,
        rejoined=restored.rejoined,
        members=restored.members,
    )


def _key(path: Path | None) -> bytes:
    from kubefed import backup as backups

    if path is None:
        raise errors.UsageError(
            "give the key by --key-file (- for standard input); kubefed backup --new-key FILE "
            "makes one"
        )
    return backups.read_key(common.read_bytes(path).decode("ascii", "replace"))


def _line(text: str) -> bytes:
    return f"{text}\n".encode()


def _tell_of(host: Host, file: Path, taken: Taken) -> None:
    count = sum(taken.objects.values())
    host.answer(
        f"{count} objects and {len(taken.clusters)} members are in {file}, as they were at "
        f"{taken.made_at}; the key {taken.key_id} opens it.",
        file=str(file),
        bytes=len(taken.data),
        sha256=hashlib.sha256(taken.data).hexdigest(),
        key_id=taken.key_id,
        made_at=taken.made_at,
        resource_version=taken.resource_version,
        objects=taken.objects,
        clusters=taken.clusters,
        changed_since=taken.changed,
    )


def _warn_of_changes(taken: Taken) -> None:
    if taken.changed:
        _warn_all(f"written since {taken.made_at}, so not in the backup:", taken.changed)


def _warn_of_rest(restored: Restored) -> None:
    if restored.beyond:
        _warn_all("in the host and not in the backup; it stays:", restored.beyond)
    for name, trouble in sorted(restored.members.items()):
        if trouble:
            warn(f"{name} doesn't let the federation in: {trouble}")


def _warn_all(heading: str, lines: tuple[str, ...]) -> None:
    more = len(lines) - _SHOWN
    shown = [*lines[:_SHOWN], *([f"and {more} more"] if more > 0 else [])]
    warn("\n  ".join([heading, *shown]))


def _account_name(host: Host) -> str:
    """Give the host's name for its account in itself; "" where it can't be part of one."""
    name = host.context or str(host.entry().get("name") or "")
    return "" if any(each in name for each in ":/") else name
