"""Starting the base system's programs, and writing files whole or not at all."""

from __future__ import annotations

import os
import subprocess
import tempfile
from pathlib import Path

from federation_lab.errors import LabError


def run(
    argv: list[str], *, stdin: str | None = None, check: bool = True, timeout_s: float = 30
) -> subprocess.CompletedProcess[str]:
    """Run a program and wait for it.

    Raises:
        LabError: the program is missing, failed (with `check`), or took longer than `timeout_s`.
    """
    try:
        done = subprocess.run(
            argv,
            input=stdin or "",
            text=True,
            capture_output=True,
            check=False,
            timeout=timeout_s,
        )
    except FileNotFoundError as error:
        raise LabError(
            f"the program {argv[0]!r} is missing; on Debian and Ubuntu: "
            "apt-get install iproute2 nftables util-linux procps"
        ) from error
    except subprocess.TimeoutExpired as error:
        raise LabError(f"`{' '.join(argv)}` didn't end within {timeout_s:g} s") from error
    if check and done.returncode != 0:
        reason = (done.stderr or done.stdout).strip() or f"exit status {done.returncode}"
        raise LabError(f"`{' '.join(argv)}` failed: {reason}")
    return done


def write_atomically(path: Path, text: str, mode: int = 0o600) -> None:
    """Replace a file's content at once; a reader or a crash sees the old or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "w") as file:
            os.fchmod(descriptor, mode)
            file.write(text)
            file.flush()
            os.fsync(descriptor)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
