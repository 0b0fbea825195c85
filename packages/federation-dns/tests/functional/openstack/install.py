"""Keystone and Designate from PyPI in a virtual environment of their own, in the lab's cache.

Made once from requirements/openstack.txt (hashes checked) and named after it. By hand:
`python packages/federation-dns/tests/functional/openstack/install.py`.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

from federation_lab.locks import lock
from federation_lab.paths import paths

LOCK = Path(__file__).parents[5] / "requirements" / "openstack.txt"
INSTALL_S = 900.0


class Unreachable(Exception):  # noqa: N818 - why the tests are skipped
    """The packages cannot be had here."""


def environment() -> Path:
    """The virtual environment, made if it is not there.

    Raises:
        Unreachable: pip cannot get the packages.
    """
    digest = hashlib.sha256(LOCK.read_bytes() + sys.version.encode()).hexdigest()[:16]
    target = paths().cache / "openstack" / digest
    whole = target / "whole"
    if whole.exists():
        return target
    with lock(target.with_suffix(".lock"), timeout_s=INSTALL_S):
        if not whole.exists():
            # Left half made by somebody who was stopped.
            shutil.rmtree(target, ignore_errors=True)
            _make(target)
            whole.touch()
    return target


def _make(target: Path) -> None:
    base = f"{sys.base_prefix}/bin/python3"
    _run([base, "-m", "venv", str(target)])
    pip = [str(target / "bin" / "python"), "-m", "pip", "install", "--quiet"]
    _run([*pip, "--disable-pip-version-check", "--require-hashes", "-r", str(LOCK)])


def _run(argv: list[str]) -> None:
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=INSTALL_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Unreachable(f"{argv[0]}: {error}") from error
    if done.returncode:
        raise Unreachable(f"Keystone and Designate cannot be installed: {done.stderr[-500:]}")


if __name__ == "__main__":
    from template import template  # pyright: ignore[reportImplicitRelativeImport]

    sys.stdout.write(f"{template(environment())}\n")
