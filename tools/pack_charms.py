"""Pack the charms: `python tools/pack_charms.py [--only NAME]`.

charmcraft cannot reach outside a charm's folder, so each charm is packed from a copy into which
the wheels of the tree's packages were built. What was packed is kept in the cache under a hash of
all its inputs, so that a second run copies a file.

charmcraft refuses to pack on a system that isn't the charm's base. The charms carry no program of
the base, only Python modules, so it is shown Ubuntu's os-release in a mount namespace of its own.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib

ROOT = pathlib.Path(__file__).resolve().parents[1]
LOCK = ROOT / "requirements" / "charmcraft.txt"
# Distribution modules that charmcraft imports and PyPI doesn't have.
APT_MODULES = ("apt", "apt_pkg", "apt_inst", "aptsources")
PYTHON = "/usr/bin/python3"
PACK_SECONDS = 900
# Of a packed charm: each region's controller fetches it anew with each revision.
MOST_BYTES = 60_000_000
# Of `charmcraft analyse`: the linter is content, or has nothing to look at. (Attributes are no
# findings: it looks for ops where an older plugin put it.)
FINE = {"ok", "nonapplicable", "ignored"}
OS_RELEASE = (
    'NAME="Ubuntu"\nID=ubuntu\nID_LIKE=debian\nVERSION_ID="24.04"\nVERSION_CODENAME=noble\n'
)
BUILT = {"wheels", "build", "parts", "prime", "stage", "overlay", "__pycache__", ".pytest_cache"}


class PackError(Exception):
    """A charm could not be packed; the text says which and why."""


def main() -> int:
    """Pack every charm of pyproject.toml, or the one named, and say how long each took."""
    parser = argparse.ArgumentParser(description="Pack the charms.")
    parser.add_argument("--only", metavar="NAME", help="pack only this charm")
    arguments = parser.parse_args()
    charms = declared_charms(ROOT)
    if arguments.only:
        charms = {path: wheels for path, wheels in charms.items() if path.name == arguments.only}
        if not charms:
            say(f"error: no charm is called {arguments.only}; see [tool.federation.charms]")
            return 1
    try:
        for charm, packages in charms.items():
            started = time.monotonic()
            how = pack(charm, packages, cache_directory())
            say(f"{charm.name}: {how} in {time.monotonic() - started:.1f} s")
    except PackError as error:
        say(f"error: {error}")
        return 1
    return 0


def declared_charms(root: pathlib.Path) -> dict[pathlib.Path, list[pathlib.Path]]:
    """Give each charm's folder and the folders of the packages that it carries."""
    settings = tomllib.loads((root / "pyproject.toml").read_text())
    declared: dict[str, list[str]] = settings["tool"]["federation"]["charms"]
    return {root / charm: [root / each for each in wheels] for charm, wheels in declared.items()}


def pack(charm: pathlib.Path, packages: list[pathlib.Path], cache: pathlib.Path) -> str:
    """Put ``<name>_amd64.charm`` into the charm's folder.

    Returns:
        "packed", or "taken from the cache" when nothing that goes into it has changed.

    Raises:
        PackError: charmcraft or a wheel's build failed.
    """
    if not (charm / "charmcraft.yaml").exists():
        raise PackError(f"{charm.relative_to(ROOT)} has no charmcraft.yaml")
    target = charm / f"{charm.name}_amd64.charm"
    kept = cache / "charms" / f"{charm.name}-{inputs_hash(charm, packages)}.charm"
    found = kept.exists()
    if not found:
        kept.parent.mkdir(parents=True, exist_ok=True)
        charmcraft = charmcraft_environment(cache)
        with tempfile.TemporaryDirectory(prefix="pack-", dir=cache) as scratch:
            built = build(charm, packages, charmcraft, pathlib.Path(scratch))
            built.replace(kept)
    shutil.copyfile(kept, target)
    return "taken from the cache" if found else "packed"


def inputs_hash(charm: pathlib.Path, packages: list[pathlib.Path]) -> str:
    """Hash everything that the packed file is made from: names, modes and contents."""
    digest = hashlib.sha256(LOCK.read_bytes() + pathlib.Path(__file__).read_bytes())
    digest.update(subprocess.run([PYTHON, "--version"], capture_output=True, check=True).stdout)
    for folder in [charm, *packages]:
        for path in sorted(sources(folder)):
            name = path.relative_to(ROOT).as_posix()
            digest.update(f"{name} {os.access(path, os.X_OK)}\0".encode())
            digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:24]


def sources(folder: pathlib.Path) -> list[pathlib.Path]:
    """List a folder's files, without what builds and tests leave or need."""
    return [
        path
        for path in folder.rglob("*")
        if path.is_file()
        and path.suffix not in {".charm", ".pyc"}
        and not (BUILT | {"tests", "charms"}) & set(path.relative_to(folder).parts)
    ]


def build(
    charm: pathlib.Path,
    packages: list[pathlib.Path],
    charmcraft: pathlib.Path,
    scratch: pathlib.Path,
) -> pathlib.Path:
    """Pack a copy of the charm with its wheels in a scratch folder, and give the file."""
    copy = scratch / charm.name
    for path in sources(charm):
        destination = copy / path.relative_to(charm)
        destination.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, destination)
    for package in packages:
        run(
            [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", copy / "wheels"],
            cwd=package,
            what=f"the wheel of {package.name}",
        )
    release = scratch / "os-release"
    release.write_text(OS_RELEASE)
    shown = pathlib.Path("/etc/os-release").resolve()
    script = (
        "mount --make-rprivate / && mount --bind "
        f"'{release}' '{shown}' && exec '{charmcraft}' pack --destructive-mode --verbosity brief"
    )
    path = f"{charmcraft.parent}:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin"
    run(
        ["unshare", "--mount", "sh", "-c", script],
        cwd=copy,
        what=f"charmcraft pack of {charm.name}",
        environment={**pip_environment(), "PATH": path, "HOME": str(scratch)},
    )
    packed = sorted(copy.glob("*.charm"))
    if len(packed) != 1:
        raise PackError(f"charmcraft left {len(packed)} files for {charm.name}, not one")
    if charm.is_relative_to(ROOT / "charms"):
        check(packed[0], charmcraft, scratch)
    return packed[0]


def check(packed: pathlib.Path, charmcraft: pathlib.Path, scratch: pathlib.Path) -> None:
    """See that a packed charm keeps to its size, and that charmcraft finds nothing in it.

    Raises:
        PackError: with each finding.
    """
    size = packed.stat().st_size
    if size > MOST_BYTES:
        raise PackError(f"{packed.name} has {size:,} bytes; at most {MOST_BYTES:,} are allowed")
    path = f"{charmcraft.parent}:/usr/sbin:/usr/bin:/sbin:/bin"
    text = run(
        [charmcraft, "analyse", packed, "--format", "json"],
        what=f"charmcraft analyse of {packed.name}",
        environment={"LANG": "C.UTF-8", "PATH": path, "HOME": str(scratch)},
        accept=(0, 2, 3),
    )
    found = [
        f"  {each['name']}: {each['result']}: {each['text']}"
        for each in json.loads(text[text.index("[") :])
        if each["check_type"] == "lint" and each["result"] not in FINE
    ]
    if found:
        findings = "\n".join(found)
        raise PackError(f"charmcraft analyse of {packed.name} found:\n{findings}")


def charmcraft_environment(cache: pathlib.Path) -> pathlib.Path:
    """Give charmcraft's program, installing it into the cache the first time."""
    key = hashlib.sha256(LOCK.read_bytes()).hexdigest()[:16]
    folder = cache / f"charmcraft-{key}"
    program = folder / "bin" / "charmcraft"
    ready = folder / "ready"
    if ready.exists():
        return program
    say("installing charmcraft (once)")
    shutil.rmtree(folder, ignore_errors=True)
    install_debian_packages()
    run([PYTHON, "-m", "venv", folder], what="charmcraft's environment")
    pip = [folder / "bin" / "pip", "install", "--quiet", "--require-hashes", "-r", LOCK]
    run(pip, what="charmcraft", environment={**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1"})
    site = next((folder / "lib").glob("python3*")) / "site-packages"
    for module in APT_MODULES:
        for path in pathlib.Path("/usr/lib/python3/dist-packages").glob(f"{module}*"):
            if path.name.split(".")[0] == module:
                (site / path.name).symlink_to(path)
    ready.touch()
    return program


def install_debian_packages() -> None:
    """Install what charmcraft needs of the distribution, where it is missing."""
    probe = [PYTHON, "-c", "import apt, apt_pkg, ensurepip"]
    if subprocess.run(probe, capture_output=True, check=False).returncode == 0:
        return
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    run(["apt-get", "update", "-q"], what="apt-get update", environment=environment)
    run(
        [
            "apt-get",
            "install",
            "-y",
            "-q",
            "--no-install-recommends",
            "python3-apt",
            "python3-venv",
        ],
        what="apt-get install python3-apt python3-venv",
        environment=environment,
    )


def pip_environment() -> dict[str, str]:
    """Give the parts of the environment that say how packages are fetched."""
    wanted = ("PIP_", "SSL_", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http", "no_proxy")
    kept = {name: value for name, value in os.environ.items() if name.startswith(wanted)}
    return {"LANG": "C.UTF-8", **kept, "PIP_CACHE_DIR": str(cache_directory() / "pip")}


def cache_directory() -> pathlib.Path:
    """Give the cache outside the checkout, shared with the lab."""
    base = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
    cache = pathlib.Path(os.environ.get("LAB_CACHE") or pathlib.Path(base) / "federation-lab")
    cache.mkdir(parents=True, exist_ok=True)
    return cache


def run(
    command: list[str | pathlib.Path],
    *,
    what: str,
    cwd: pathlib.Path | None = None,
    environment: dict[str, str] | None = None,
    accept: tuple[int, ...] = (0,),
) -> str:
    """Run one command, bounded, and give what it wrote.

    Raises:
        PackError: it failed, with the end of what it wrote.
    """
    try:
        done = subprocess.run(
            [str(word) for word in command],
            cwd=cwd,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=PACK_SECONDS,
            check=False,
        )
    except FileNotFoundError as error:
        raise PackError(f"{what}: {error.filename} is not there") from error
    except subprocess.TimeoutExpired as error:
        raise PackError(f"{what} did not end within {PACK_SECONDS} s") from error
    if done.returncode not in accept:
        raise PackError(f"{what} failed ({done.returncode}):\n{done.stdout[-3000:]}")
    return done.stdout


def say(text: str) -> None:
    """Print one line of progress to standard error."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    raise SystemExit(main())
