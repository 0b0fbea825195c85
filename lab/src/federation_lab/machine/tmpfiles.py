"""The part of tmpfiles.d that services count on at boot: directories below /run."""

from __future__ import annotations

import contextlib
import grp
import os
import pwd

DIRECTORIES = ("/usr/lib/tmpfiles.d", "/run/tmpfiles.d", "/etc/tmpfiles.d")


def entries(text: str) -> list[tuple[str, int, str, str]]:
    """Read path, mode, user and group of the directories below /run that a file asks for."""
    found: list[tuple[str, int, str, str]] = []
    for line in text.splitlines():
        words = line.split()
        if len(words) < 2 or words[0].rstrip("!=+") not in ("d", "D"):
            continue
        path = words[1].replace("/var/run/", "/run/")
        if not path.startswith("/run/") or "%" in path or ".." in path:
            continue
        mode, user, group = (*words[2:5], "-", "-", "-")[:3]
        digits = mode.lstrip("~:")
        found.append((path, int(digits, 8) if digits.isdigit() else 0o755, user, group))
    return found


def apply(directories: tuple[str, ...]) -> None:
    """Make what the files ask for; one of a later directory replaces its namesake."""
    files: dict[str, str] = {}
    for directory in directories:
        with contextlib.suppress(OSError):
            files.update({n: os.path.join(directory, n) for n in os.listdir(directory)})
    for name in sorted(files):
        with contextlib.suppress(OSError), open(files[name], encoding="utf-8") as file:
            for path, mode, user, group in entries(file.read()):
                _make(path, mode, user, group)


def _make(path: str, mode: int, user: str, group: str) -> None:
    # A user that isn't there belongs to a service that isn't there.
    with contextlib.suppress(OSError, KeyError):
        owner = -1 if user == "-" else pwd.getpwnam(user).pw_uid
        owner_group = -1 if group == "-" else grp.getgrnam(group).gr_gid
        os.makedirs(path, exist_ok=True)
        os.chmod(path, mode)
        os.chown(path, owner, owner_group)
