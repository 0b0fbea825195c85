"""Control groups, where the machine has them: to freeze a region and to find all its processes."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

MOUNTS = Path("/proc/self/mounts")
FREEZE_WAIT_S = 5.0


def hierarchy(mounts: str) -> tuple[str, str]:
    """Choose the hierarchy: ("v2", mount point), ("v1", freezer's mount point) or ("", "")."""
    found: dict[str, str] = {}
    for line in mounts.splitlines():
        _, point, kind, options = line.split()[:4]
        # Containers often show them read-only.
        if "rw" not in options.split(","):
            continue
        if kind == "cgroup2":
            found.setdefault("v2", point)
        elif kind == "cgroup" and "freezer" in options.split(","):
            found.setdefault("v1", point)
    for version in ("v2", "v1"):
        if version in found:
            return version, found[version]
    return "", ""


class Groups:
    """The lab's control groups: `<prefix>/<region>/<machine>`."""

    def __init__(self, prefix: str, mounts: str | None = None) -> None:
        text = MOUNTS.read_text() if mounts is None else mounts
        self.version, point = hierarchy(text)
        self.root = Path(point) / prefix if point else None

    def make(self, region: str, machine: str) -> Path | None:
        """Make a machine's group; None where the kernel has none, or they are read-only."""
        if self.root is None:
            return None
        path = self.root / region / machine
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError:
            return None
        return path

    def path(self, region: str, machine: str) -> Path | None:
        """Give a machine's group if it is there."""
        path = self.root / region / machine if self.root else None
        return path if path is not None and path.is_dir() else None

    def processes(self) -> set[int]:
        """List all processes of the lab, whatever region they are of."""
        found: set[int] = set()
        if self.root is not None and self.root.is_dir():
            for file in self.root.rglob("cgroup.procs"):
                with contextlib.suppress(OSError):
                    found.update(int(line) for line in file.read_text().split())
        return found

    def freeze(self, region: str, *, frozen: bool) -> bool:
        """Freeze or thaw a region's processes, all at once; False where this cannot be done."""
        path = self.root / region if self.root else None
        if path is None or not path.is_dir():
            return False
        if self.version == "v2":
            (path / "cgroup.freeze").write_text("1" if frozen else "0")
        else:
            (path / "freezer.state").write_text("FROZEN" if frozen else "THAWED")
        end = time.monotonic() + FREEZE_WAIT_S
        while self.is_frozen(region) != frozen and time.monotonic() < end:
            time.sleep(0.01)
        return self.is_frozen(region) == frozen

    def is_frozen(self, region: str) -> bool:
        """Say whether a region stands still."""
        path = self.root / region if self.root else None
        if path is None or not path.is_dir():
            return False
        if self.version == "v2":
            return "frozen 1" in (path / "cgroup.events").read_text()
        return (path / "freezer.state").read_text().strip() == "FROZEN"

    def kill(self, region: str, machine: str) -> None:
        """Kill a machine's processes all at once, frozen ones too, where the kernel can."""
        path = self.path(region, machine)
        if path is not None and (path / "cgroup.kill").exists():
            (path / "cgroup.kill").write_text("1")
        elif path is not None:
            # The killed are dead as soon as they are thawed.
            self.freeze(region, frozen=False)

    def remove(self, region: str | None = None, machine: str | None = None) -> None:
        """Take the groups below away; such as hold processes stay."""
        path = self.root
        if path is None:
            return
        for part in (region, machine):
            path = path / part if part else path
        if path.is_dir():
            for folder in sorted(path.rglob("*/"), reverse=True):
                with contextlib.suppress(OSError):
                    folder.rmdir()
            with contextlib.suppress(OSError):
                path.rmdir()
