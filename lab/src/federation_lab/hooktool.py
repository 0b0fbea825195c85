"""The hook tools in one program, built from lab/tools/hooktool: it starts at once."""

from __future__ import annotations

import functools
import hashlib
import os
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

from federation_lab import tools
from federation_lab.errors import LabError
from federation_lab.golang import go_environment
from federation_lab.paths import paths

SOURCES = ("go.mod", "main.go")
FLAGS = ("-trimpath", "-ldflags", "-s -w")
BUILD_SECONDS = 300.0


@functools.cache
def program() -> Path | None:
    """Give the program, or None where it isn't built; hooks then use the one in Python."""
    try:
        target = _target()
    except LabError:
        return None
    return target if os.access(target, os.X_OK) else None


def build(find_go: Callable[[], Path]) -> Path:
    """Build it, unless it is there; give its path.

    Args:
        find_go: gives the compiler, if one is needed.

    Raises:
        LabError: the compiler refused; the text has its last words.
    """
    target = _target()
    if os.access(target, os.X_OK):
        return target
    go = find_go()
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        made = Path(folder) / target.name
        done = subprocess.run(
            [str(go), "build", *FLAGS, "-o", str(made), "."],
            cwd=tools.sources() / "hooktool",
            env=go_environment(go),
            capture_output=True,
            text=True,
            check=False,
            timeout=BUILD_SECONDS,
        )
        if done.returncode != 0:
            raise LabError(f"`go build` of hooktool failed:\n{done.stderr.strip()[-800:]}")
        made.replace(target)
    return target


def _target() -> Path:
    digest = hashlib.sha256(repr(FLAGS).encode())
    for name in SOURCES:
        digest.update((tools.sources() / "hooktool" / name).read_bytes())
    return paths().cache / "hooktool" / digest.hexdigest()[:16] / "hooktool"
