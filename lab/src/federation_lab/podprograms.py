"""Programs of the host that pods run as: `lab up --image IMAGE=COMMAND`.

The wishes are kept in LAB_HOME, as a file in the form of images.yaml, and come again with each
`lab up`. A program that a pod would not find at its place is copied to where all machines show it.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
import re
import shlex
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from federation_lab.cluster.kubelet.images import normal
from federation_lab.errors import LabError
from federation_lab.machine.boot import IMAGES
from federation_lab.paths import Paths
from federation_lab.run import write_atomically

# Of the host's directories those that are in a machine and in a pod just as they are here.
SHARED = ("/usr", "/bin", "/sbin", "/lib", "/opt", "/srv")
_IMAGE = re.compile(r"[a-z0-9][^\s=]*")


@dataclasses.dataclass(frozen=True)
class Wish:
    """What is to run for an image.

    Attributes:
        image: its full name.
        words: the command; none: what ran before.
    """

    image: str
    words: tuple[str, ...]


def parse(text: str) -> Wish:
    """Read ``IMAGE=COMMAND``; ``IMAGE=`` takes a wish back.

    Raises:
        LabError: it is neither.
    """
    image, sign, command = text.partition("=")
    if not sign or not _IMAGE.fullmatch(image):
        raise LabError(
            f"--image {text!r}: expected IMAGE=COMMAND, such as "
            "registry.example.org/team/web=/usr/local/bin/web"
        )
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise LabError(f"--image {image}: {command!r} is no command: {error}") from error
    return Wish(normal(image), tuple(words))


def keep(lab: Paths, wishes: Iterable[Wish]) -> None:
    """Add wishes to those that are kept, with copies of their programs.

    Raises:
        LabError: a program isn't there, or can't be run; none is kept then.
    """
    entries = _read(lab)
    for wish in wishes:
        if wish.words:
            program = place(lab, wish)
            entries[wish.image] = {"command": [program, *wish.words[1:]], "program": True}
        else:
            entries.pop(wish.image, None)
    if not entries and not _file(lab).exists():
        return
    write_atomically(_file(lab), yaml.safe_dump({"images": entries}, sort_keys=True))
    used = {Path(entry["command"][0]).name for entry in entries.values()}
    for copy in lab.images.glob("*"):
        if copy.name not in used:
            copy.unlink()


def kept(lab: Paths) -> dict[str, dict[str, Any]]:
    """Give the entries that are kept, by image.

    Raises:
        LabError: a program of theirs has gone.
    """
    entries = _read(lab)
    for image, entry in entries.items():
        inside = Path(entry["command"][0])
        copied = inside.is_relative_to(IMAGES)
        program = lab.images / inside.name if copied else inside
        if not os.access(program, os.X_OK):
            raise LabError(
                f"{program}, which runs for {image}, is not there any more; give --image "
                f"{image}=COMMAND anew, or --image {image}= to take it back"
            )
    return entries


def overlay(lab: Paths) -> Path | None:
    """Write the overlay by which each region's node learns the wishes; None: there never were any.

    Raises:
        LabError: a program of theirs has gone.
    """
    if not _file(lab).exists():
        return None
    entries = kept(lab)
    text = yaml.safe_dump({"images": entries}, sort_keys=True) if entries else ""
    body = {"applications": {"kubernetes-control-plane": {"options": {"images": text}}}}
    path = lab.home / "images-overlay.yaml"
    path.write_text(yaml.safe_dump(body, sort_keys=True))
    return path


def place(lab: Paths, wish: Wish) -> str:
    """Give the path of a wish's program in a pod, where it is copied to if need be.

    Raises:
        LabError: it isn't there, or can't be run.
    """
    name = wish.words[0]
    found = Path(name).absolute() if "/" in name else Path(shutil.which(name) or "")
    if "/" not in name and not found.name:
        raise LabError(f"--image {wish.image}: no directory of PATH has a program {name!r}")
    if not found.is_file():
        raise LabError(f"--image {wish.image}: there is no file {found}")
    if not os.access(found, os.X_OK):
        raise LabError(f"--image {wish.image}: {found} can't be run; `chmod +x {found}` allows it")
    if any(found.is_relative_to(top) for top in SHARED):
        return str(found)
    content = found.read_bytes()
    # Named after its content: what runs keeps its file, and a changed program is another command.
    copy = lab.images / f"{hashlib.sha256(content).hexdigest()[:12]}-{found.name}"
    lab.images.mkdir(parents=True, exist_ok=True)
    if not copy.exists():
        part = copy.with_name(f".{copy.name}")
        part.write_bytes(content)
        part.chmod(0o755)
        part.replace(copy)
    return f"{IMAGES}/{copy.name}"


def _file(lab: Paths) -> Path:
    return lab.home / "images.yaml"


def _read(lab: Paths) -> dict[str, dict[str, Any]]:
    file = _file(lab)
    return yaml.safe_load(file.read_text())["images"] if file.exists() else {}
