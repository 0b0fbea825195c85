"""Unpacks a charm: a program of its own, so that the controller's loop goes on meanwhile.

``python -I -S unpack.py PACKED FOLDER``: only the standard library is imported.
"""

import os
import shutil
import stat
import sys
import zipfile


def unpack(packed: str, folder: str) -> None:
    """Unpacks a charm into a folder that does not exist yet, keeping permissions and links.

    Args:
        packed: The ``.charm`` file.
        folder: The folder; it is there whole or not at all.

    Raises:
        OSError: An entry leads out of the folder, or something cannot be written.
    """
    partial = f"{folder}.{os.getpid()}.partial"
    made: set[str] = set()
    links: list[tuple[str, str]] = []
    compiled: list[str] = []
    with zipfile.ZipFile(packed) as archive:
        for entry in archive.infolist():
            name = entry.filename
            if name.startswith("/") or ".." in name.split("/"):
                raise OSError(f"{name} leads out of the charm")
            target = os.path.join(partial, name)
            place = target.rstrip("/") if entry.is_dir() else os.path.dirname(target)
            if place not in made:
                os.makedirs(place, exist_ok=True)
                made.add(place)
            if entry.is_dir():
                continue
            mode = entry.external_attr >> 16
            if stat.S_ISLNK(mode):
                # Last of all, so that nothing is written through a link.
                links.append((archive.read(entry).decode(), target))
                continue
            with archive.open(entry) as source, open(target, "wb") as file:
                shutil.copyfileobj(source, file, 1 << 20)
            os.chmod(target, stat.S_IMODE(mode) or 0o644)
            if target.endswith(".pyc"):
                compiled.append(target)
    for target in compiled:
        revive(target)
    for text, target in links:
        os.symlink(text, target)
    provide_python(partial)
    put(partial, folder)


def put(partial: str, folder: str) -> None:
    """Gives a whole tree its name, unless another lab was faster."""
    try:
        os.rename(partial, folder)
    except OSError:
        if not os.path.isdir(folder):
            raise
        shutil.rmtree(partial)


def provide_python(folder: str) -> None:
    """Links the interpreter into the charm's environment, as its first dispatch would.

    It could not there: units see the environment, but cannot write to it.
    """
    binaries = os.path.join(folder, "venv", "bin")
    python = os.path.join(binaries, "python")
    if os.path.isdir(os.path.join(folder, "venv")) and not os.path.lexists(python):
        os.makedirs(binaries, exist_ok=True)
        paths = [f"{path}/python3" for path in ("/usr/local/bin", "/usr/bin")]
        # The first is where a machine gets it whose host has it elsewhere.
        os.symlink(next(filter(os.path.exists, reversed(paths)), paths[0]), python)


def revive(compiled: str) -> None:
    """Makes packed byte code valid again.

    It holds for the second in which its source was written, which an archive keeps to two seconds
    only; without this every first hook would compile everything anew.
    """
    folder, name = os.path.split(compiled)
    source = os.path.join(os.path.dirname(folder), name.partition(".")[0] + ".py")
    with open(compiled, "rb") as file:
        head = file.read(16)
    by_time = len(head) == 16 and not int.from_bytes(head[4:8], "little")
    if by_time and os.path.exists(source):
        written = int.from_bytes(head[8:12], "little")
        os.utime(source, (written, written))


def main() -> int:
    """Unpacks the first argument into the second."""
    try:
        unpack(sys.argv[1], sys.argv[2])
    except (OSError, zipfile.BadZipFile) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
