"""Programs built once from the pins in lab/tools: the lab's, and upstream's for the tests.

The checksums are go.sum's; the result is named after the pins, so that it is built again when one
changes and never otherwise. `python -m federation_lab.tools` builds what the lab needs:
Kubernetes, etcd and kwok; with `--tests` also KubeFed v0.10.0, unless no module proxy serves it.
"""

from __future__ import annotations

import argparse
import collections
import dataclasses
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
from federation_lab.golang import ENVIRONMENT, as_numbers, find_go, go_environment, go_needed
from federation_lab.locks import lock
from federation_lab.paths import paths


@dataclasses.dataclass(frozen=True)
class ProgramSet:
    """Programs that are built together.

    Attributes:
        folder: where they lie in the cache, a directory for each state of the pins.
        modules: the folders of lab/tools that they are built from; the quick ones first, so that
            what is wrong with the network or the disk shows early.
        programs: what must come out.
        reason: what a person is told before it begins.
        renamed: what the compiler calls otherwise.
    """

    folder: str
    modules: tuple[str, ...]
    programs: tuple[str, ...]
    reason: str
    renamed: tuple[tuple[str, str], ...] = ()


LAB = ProgramSet(
    "bin",
    ("etcd", "kwok", "kubernetes"),
    (
        "etcd",
        "etcdctl",
        "kube-apiserver",
        "kube-controller-manager",
        "kube-scheduler",
        "kubectl",
        "kwok",
    ),
    "Kubernetes is built once from source, about 9 minutes on 2 cores; later starts take seconds.",
    (("server", "etcd"),),
)
UPSTREAM = ProgramSet(
    "upstream",
    ("kubefed",),
    ("kubefedctl", "controller-manager"),
    "KubeFed v0.10.0 is built once for the tests, about 2 minutes on 2 cores.",
)
FLAGS = ("-trimpath",)
WAIT_S = 3600.0
DOWNLOAD_S = 600.0


class ToolsMissing(LabError):  # noqa: N818  # named by the contract
    """Programs that the lab needs aren't there."""


class NotServed(LabError):  # noqa: N818  # says what it is
    """Sources can't be had from where Go looks for them."""


def binaries() -> Path:
    """Give the directory with the lab's programs: LAB_BIN, or what was built.

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


def upstream() -> Path:
    """Give the directory with KubeFed's own programs, for tests.

    Raises:
        ToolsMissing: they aren't there; the text says why and the mend.
    """
    directory = built_directory(UPSTREAM)
    if not missing(directory, UPSTREAM):
        return directory
    why = _why_absent(directory)
    raise ToolsMissing(
        why.read_text().strip()
        if why.is_file()
        else "KubeFed's own programs are not built; `python -m federation_lab.tools --tests` does"
    )


def missing(directory: Path, which: ProgramSet = LAB) -> list[str]:
    """List the programs that a directory lacks."""
    return [name for name in which.programs if not os.access(directory / name, os.X_OK)]


def built_directory(which: ProgramSet = LAB) -> Path:
    """Give the directory in the cache for the present pins, whether it is there or not."""
    return paths().cache / which.folder / key(source_files(sources(), which), which)


def _why_absent(directory: Path) -> Path:
    """Give the file that says why programs could not be built."""
    return directory.with_name(f"{directory.name}.absent")


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
            + ", ".join(LAB.programs)
        )
    return directory


def source_files(directory: Path, which: ProgramSet = LAB) -> list[tuple[str, bytes]]:
    """Read all files that decide what is built."""
    names = ("go.mod", "go.sum")
    files = [directory / module / name for module in which.modules for name in names]
    return [(str(file.relative_to(directory)), file.read_bytes()) for file in files]


def key(files: Iterable[tuple[str, bytes]], which: ProgramSet = LAB) -> str:
    """Name a build after everything that decides its outcome."""
    renamed = sorted(old for old, _ in which.renamed)
    digest = hashlib.sha256(repr((FLAGS, ENVIRONMENT, renamed)).encode())
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


def linker_flags(module: str, go_mod: str) -> str:
    """Give -ldflags; Kubernetes is told its version, which it puts into its answers."""
    if module != "kubernetes":
        return "-s -w"
    version = version_of("k8s.io/kubernetes", go_mod)
    major, minor, _ = as_numbers(version)
    values = {"gitVersion": version, "gitMajor": str(major), "gitMinor": str(minor)}
    told = (f"-X k8s.io/component-base/version.{name}={text}" for name, text in values.items())
    return " ".join(["-s", "-w", *told])


def build(console: Console | None = None, which: ProgramSet = LAB) -> Path:
    """Build what isn't built; give the directory.

    Raises:
        NotServed: a source can't be had.
        LabError: a build fails; the text has the compiler's last words.
    """
    console = console or Console(stderr=True)
    target = built_directory(which)
    if not missing(target, which):
        return target
    target.parent.mkdir(parents=True, exist_ok=True)

    def tell() -> None:
        console.print("Another process builds the same programs; waiting for it.")

    with lock(target.parent / "build.lock", timeout_s=WAIT_S, waiting=tell):
        if not missing(target, which):
            return target
        for leftover in target.parent.glob(".building-*"):
            shutil.rmtree(leftover)
        console.print(which.reason)
        temporary = Path(tempfile.mkdtemp(prefix=".building-", dir=target.parent))
        try:
            _build_all(temporary, console, which)
            # mkdtemp's directory is for its owner alone; services of other users run these.
            temporary.chmod(0o755)
            shutil.rmtree(target, ignore_errors=True)
            temporary.rename(target)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    return target


def build_upstream(console: Console) -> Path | None:
    """Build KubeFed's own programs; without their sources say so, and the tests are skipped.

    Returns:
        The directory, or None where no module proxy serves the sources.

    Raises:
        LabError: the build fails.
    """
    target = built_directory(UPSTREAM)
    why = _why_absent(target)
    try:
        directory = build(console, UPSTREAM)
    except NotServed as error:
        console.print(
            f"{error}; the tests with KubeFed's own programs are skipped", soft_wrap=True
        )
        why.write_text(f"{error}\n")
        return None
    why.unlink(missing_ok=True)
    return directory


def _build_all(directory: Path, console: Console, which: ProgramSet) -> None:
    tools = sources()
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        go = find_go(_go_pinned(), console)
        for number, module in enumerate(which.modules, 1):
            title = f"building {module} ({number} of {len(which.modules)})"
            task = progress.add_task(title, total=1)

            def show(text: str, task: object = task, title: str = title) -> None:
                progress.update(task, description=f"{title}: {text}")  # type: ignore[arg-type]

            flags = linker_flags(module, (tools / module / "go.mod").read_text())
            show("sources")
            _fetch(go, tools / module)
            _build(go, tools / module, directory, flags, show)
            progress.update(task, completed=1, description=f"built {module}")
    for old, new in which.renamed:
        (directory / old).rename(directory / new)
    if absent := missing(directory, which):
        raise LabError(f"the build gave no {', '.join(absent)}; lab/tools and its names disagree")


def _go_pinned() -> tuple[int, ...]:
    return go_needed(file.read_text() for file in sources().glob("*/go.mod"))


def _fetch(go: Path, module: Path) -> None:
    """Have all sources of a module's programs, so that what fails after is the compiler's."""
    argv = [str(go), "list", "-deps", "-f", "{{.ImportPath}}", "tool"]
    try:
        done = subprocess.run(
            argv, cwd=module, env=go_environment(go), capture_output=True, text=True, check=False,
            timeout=DOWNLOAD_S,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise NotServed(f"the sources of {module.name} did not come in {DOWNLOAD_S:g} s") from None
    if done.returncode == 0:
        return
    words = done.stderr.strip()
    # Sources that aren't what go.sum says are never just missing.
    if "SECURITY ERROR" in words or "checksum mismatch" in words:
        raise LabError(f"the sources of {module.name} are not the pinned ones:\n{words[-800:]}")
    last = " ".join(line.strip() for line in words.splitlines()[:2])
    raise NotServed(f"the sources of {module.name} can't be had: {last[:300]}")


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


def main() -> int:
    """Build, and print the directory; for `make tools`."""
    from federation_lab import hooktool  # it builds by this module's means

    parser = argparse.ArgumentParser(description="Build the lab's programs.")
    parser.add_argument("--tests", action="store_true", help="also KubeFed's own, for the tests")
    arguments = parser.parse_args()
    console = Console(stderr=True)
    try:
        directory = build(console)
        hooktool.build(lambda: find_go(_go_pinned(), console))
        if arguments.tests:
            build_upstream(console)
    except LabError as error:
        console.print(f"[red]{error}", markup=True)
        return 1
    Console(highlight=False).print(str(directory), soft_wrap=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
