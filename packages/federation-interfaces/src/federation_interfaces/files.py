"""Writing the workload's files: at once, with their mode from the start, only if changed."""

import grp
import os
import pwd
from pathlib import Path


def write_file(
    path: Path, text: str, *, mode: int = 0o600, user: str = "", group: str = ""
) -> bool:
    """Bring a file to this content, mode and owner.

    Args:
        path: the file; its directory is made (0755) if it is not there.
        text: its content.
        mode: its permissions, from its first moment on.
        user: its owner; empty: whoever runs this.
        group: its group; empty: the owner's.

    Returns:
        True if the content changed.
    """
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    if path.exists() and path.read_text() == text:
        path.chmod(mode)
        hand_over(path, user=user, group=group)
        return False
    temporary = path.with_name(f".{path.name}.new")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "w") as file:
        os.fchmod(descriptor, mode)  # the umask may have taken bits away
        _ = file.write(text)
    hand_over(temporary, user=user, group=group)
    _ = temporary.replace(path)
    return True


def make_directory(path: Path, *, mode: int, user: str = "", group: str = "") -> None:
    """Bring a directory to this mode and owner."""
    path.mkdir(mode=mode, parents=True, exist_ok=True)
    path.chmod(mode)
    hand_over(path, user=user, group=group)


def hand_over(path: Path, *, user: str = "", group: str = "") -> None:
    """Give a file to a user and a group (empty: the user's own)."""
    if not user and not group:
        return
    owner = pwd.getpwnam(user) if user else None
    uid = owner.pw_uid if owner else -1
    gid = _group(group) if group else (owner.pw_gid if owner else -1)
    os.chown(path, uid, gid)


def _group(name: str) -> int:
    return grp.getgrnam(name).gr_gid
