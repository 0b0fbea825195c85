"""Disks that are full, broken, slow or lose their power (reliability.md, rows F41 to F44).

One real agent with its server, and a witness who hears whether it votes on. What is on disk
afterwards is the old or the new, and the agent says what it cannot keep.
"""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

import pytest
from federation_dns import disk, told
from federation_dns.core import Memory

from . import crashes
from .conftest import ZONE, Federation, Region, eventually

pytestmark = pytest.mark.timeout(300)
SOAK = os.environ.get("FEDERATION_SOAK") == "1"
WEB = f"web.shop.svc.{ZONE}"
SPEED = 2.5
WITHDRAW = 5 / SPEED
SOON = 60.0
STRACE = shutil.which("strace")
straced = pytest.mark.skipif(STRACE is None, reason="strace is missing: tools/bootstrap")


@dataclass
class Pair:
    """A region, and the witness that listens to it."""

    region: Region
    witness: Region
    count: int = 0

    def serves(self) -> str:
        """Give the region one more service, and wait for its name."""
        self.count += 1
        name = f"s{self.count}"
        self.region.api.publish(name, self.region.address(self.count))
        full = f"{name}.shop.svc.{ZONE}"
        eventually(lambda: bool(self.region.ask(full)), SOON, f"{name} is answered")
        return full

    def notes(self) -> str:
        return "; ".join(self.region.verdict()["notes"])

    def remembers(self) -> Memory:
        """What a next life would read; raises DiskError."""
        return disk.load_memory(self.region.state, self.region.name, ZONE, 0.0, time.time())

    def start(self, *through: str) -> None:
        before = self.region.through
        self.region.through = (*before, *through)
        try:
            self.region.start_agent()
        finally:
            self.region.through = before

    def silence(self, seconds: float) -> float:
        """The longest for which the witness did not hear the region."""
        ends = time.monotonic() + seconds
        longest = 0.0
        while time.monotonic() < ends:
            heard = self.witness.verdict()["regions"][self.region.name]["heard_s"]
            longest = max(longest, heard)
            time.sleep(0.05)
        return longest


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Generator[Pair]:
    folder = tmp_path_factory.mktemp("disks")
    region = Region("catania", folder / "catania", 1)
    witness = Region("napoli", folder / "napoli", 2, role="witness")
    try:
        Federation({r.name: r for r in (region, witness)}).peers()
        region.api.start()
        region.start_named()
        for each in (region, witness):
            each.write_config(SPEED)
        region.state.mkdir()
        region.api.publish("web", region.address())
        region.start_agent()
        witness.start_agent()
        yield Pair(region, witness)
    finally:
        for each in (region, witness):
            each.stop()
        if hasattr(region.api, "_thread"):
            region.api.stop()


@pytest.fixture
def standing(pair: Pair) -> Generator[Pair]:
    """With an agent started anew, so that no test leaves it a fault."""
    pair.region.kill_agent()
    pair.start()
    eventually(lambda: pair.region.ask(WEB) == [pair.region.address()], 60, "it answers")
    yield pair
    assert pair.region.ask(WEB) == [pair.region.address()]


def fill(folder: Path, *, nodes: bool) -> list[Path]:
    """Take all room, or all inodes; returns what takes them."""
    taken: list[Path] = []
    for number in range(10_000):
        path = folder / f"others-{number}"
        try:
            with path.open("wb", buffering=0) as file:
                taken.append(path)
                while not nodes:
                    file.write(bytes(512))
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            if nodes or path.stat().st_size == 0:
                return taken
    raise AssertionError("it was never full")


@pytest.mark.parametrize(("option", "nodes"), [("size=256k", False), ("nr_inodes=24", True)])
def test_a_full_disk_stops_nothing_and_is_said(pair: Pair, option: str, nodes: bool) -> None:
    """F41: what was remembered stays whole, a restart goes, and room is enough to mend it."""
    if os.geteuid() != 0:
        pytest.skip("a file system needs root")
    region = pair.region
    region.kill_agent()
    kept = {p.name: p.read_bytes() for p in region.state.iterdir()}
    mount = ["mount", "-t", "tmpfs", "-o", option, "tmpfs", str(region.state)]
    if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("no tmpfs may be mounted here")
    try:
        for name, data in kept.items():
            (region.state / name).write_bytes(data)
        pair.start()
        pair.serves()
        eventually(lambda: "cannot be written" not in pair.notes(), SOON, "no trouble")
        taken = fill(region.state, nodes=nodes)
        pair.serves()
        said = f"{region.state} cannot be written (No space left on device)"
        eventually(lambda: said in pair.notes(), SOON, "it is said")
        assert "make room" in pair.notes()
        assert said in told.said(region.verdict())
        pair.remembers()
        assert not list(region.state.glob(".*")), "nothing half written lies about"
        region.kill_agent()
        pair.start()
        pair.serves()
        eventually(lambda: said in pair.notes(), SOON, "it is said again")
        assert pair.silence(WITHDRAW) < WITHDRAW
        for path in taken:
            path.unlink()
        took = eventually(lambda: "cannot be written" not in pair.notes(), SOON, "written again")
        assert took < 10.0 or not SOAK
        names = {name for name, _ in pair.remembers().records}
        assert f"s{pair.count}.shop.svc.{ZONE}" in names
        assert disk.next_incarnation(region.state, 0.0) > region_incarnation(region)
    finally:
        region.kill_agent()
        subprocess.run(["umount", str(region.state)], check=True)
        pair.start()
    eventually(lambda: region.ask(WEB) == [region.address()], 60, "it answers")


def region_incarnation(region: Region) -> int:
    """What the agent said of itself last."""
    return int(region.log().rpartition("incarnation ")[2].partition(",")[0])


@straced
def test_a_disk_that_takes_five_seconds_delays_no_vote(standing: Pair) -> None:
    """F43: nor an answer; but for a start, which waits until its number is on disk."""
    region = standing.region
    region.kill_agent()
    # Counted by thread: the number's two are over when the memory's begin.
    slow = "inject=fsync:delay_enter=5000000:when=3+"
    standing.start("strace", "-D", "-f", "--seccomp-bpf", "-qq", "-o", "/dev/null", "-e", slow)
    eventually(lambda: region.name in str(region.log()), 60, "it runs")
    standing.serves()
    began = time.monotonic()
    while time.monotonic() - began < (30 if SOAK else 6):
        asked = time.monotonic()
        standing.serves()
        assert time.monotonic() - asked < 5.0
        assert standing.silence(0.5) < WITHDRAW
    region.kill_agent()
    standing.remembers()


_WRITE = """
import sys
from pathlib import Path
from federation_dns import disk
from federation_dns.core import Memory
try:
    disk.write(Path(sys.argv[1]), b"new" * 100)
except OSError as error:
    sys.exit(error.errno)
"""
# Each system call of a write to the n-th; `None`: what it does before may be any number of them.
_BROKEN = [
    ("openat", "create"),
    ("write", "write"),
    ("fsync", "sync"),
    ("rename", "rename"),
    ("openat", "look"),
    ("fsync", "folder"),
]


def _numbers(log: Path, folder: Path) -> dict[str, int]:
    """The how manyth of its kind each call of a write is."""
    counts: dict[str, int] = {}
    found: dict[str, int] = {}
    here = "".join(f"\\x{byte:02x}" for byte in str(folder).encode())
    for line in log.read_text().splitlines():
        name = line.partition(" ")[2].strip().partition("(")[0]
        counts[name] = counts.get(name, 0) + 1
        if here not in line or name not in ("openat", "write", "fsync", "rename"):
            continue
        if name == "openat":
            what = "create" if "O_CREAT" in line else "look"
        elif name == "fsync":
            what = "folder" if "sync" in found else "sync"
        else:
            what = name
        found.setdefault(what, counts[name])
    return found


@straced
def test_each_call_of_a_write_may_fail(tmp_path: Path) -> None:
    """F42: the old file stays, or the new one has come; nothing else lies there."""
    script, log = tmp_path / "script.py", tmp_path / "log"
    script.write_text(_WRITE)
    folder = tmp_path / "state"
    folder.mkdir()
    path = folder / "file"
    program = [sys.executable, str(script), str(path)]
    subprocess.run([*crashes.traced(log), *program], check=True, timeout=60)
    eventually(lambda: set(_numbers(log, folder)) >= {w for _, w in _BROKEN}, 10, "traced whole")
    numbers = _numbers(log, folder)
    for call, what in _BROKEN:
        path.write_bytes(b"old")
        fault = f"inject={call}:error=EIO:when={numbers[what]}"
        done = subprocess.run(
            ["strace", "--seccomp-bpf", "-f", "-qq", "-o", "/dev/null", "-e", fault, *program],
            check=False,
            timeout=60,
        )
        assert done.returncode == errno.EIO, what
        late = what in ("look", "folder")  # its name may not be safe, but its bytes are
        assert path.read_bytes() == (b"new" * 100 if late else b"old"), what
        assert [p.name for p in folder.iterdir()] == ["file"], what


def test_a_call_that_another_threads_cut_in_two_is_one(tmp_path: Path) -> None:
    """As strace writes it: the second half is short, and padded."""

    def told(text: str) -> str:
        return "".join(f"\\x{byte:02x}" for byte in text.encode())

    file = f"13<{told('/s/.m')}>"
    log = tmp_path / "log"
    log.write_text(
        f'84 openat(AT_FDCWD<{told("/w")}>, "{told("/s/.m")}", O_CREAT, 0600 <unfinished ...>\n'
        f'76 write(2<{told("/log")}>, "{told("hey")}", 3) = 3\n'
        f"84 <... openat resumed>)             = {file}\n"
        f'84 write({file}, "{told("new")}", 3) = 3\n'
        f"84 fsync({file})                  = 0\n"
    )
    assert crashes.calls(log, Path("/s")) == [
        crashes.Call("create", ".m"),
        crashes.Call("write", ".m", data=b"new"),
        crashes.Call("sync", ".m"),
    ]


@pytest.fixture(scope="module")
def life(pair: Pair, tmp_path_factory: pytest.TempPathFactory) -> tuple[list[crashes.Call], str]:
    """What an agent's disk saw in a whole life and the begin of the next one."""
    log = tmp_path_factory.mktemp("trace") / "log"
    region = pair.region
    region.kill_agent()
    for path in region.state.iterdir():
        path.unlink()
    done: list[crashes.Call] = []
    for number in range(2):
        part = log.with_name(f"log{number}")
        pair.start(*crashes.traced(part))
        for _ in range(3):
            pair.serves()
        time.sleep(3 / SPEED)
        region.kill_agent()
        time.sleep(0.5)  # strace writes its last lines
        done += [*crashes.calls(part, region.state), crashes.Call("end")]
    pair.start()
    return done, region.name


def wrong(done: list[crashes.Call], region: str, folder: Path) -> list[str]:
    """Which disks that a loss of power may leave are neither the old nor the new."""
    found: list[str] = []
    whole: dict[str, bytes] = {}  # what each temporary file held when it was complete
    versions: dict[str, list[tuple[int, int, bytes]]] = {}
    for at, call in enumerate(done):
        if call.what == "write":
            whole[call.name] = whole.get(call.name, b"") + call.data
        elif call.what == "rename":
            versions.setdefault(call.to, []).append((at, _promised(done, at), whole[call.name]))
    for count, state in crashes.after_each(done):
        for name, all_of_it in versions.items():
            sure = max((i for i, v in enumerate(all_of_it) if v[1] <= count), default=-1)
            may = [v[2] for v in all_of_it[max(sure, 0) :] if v[0] < count]
            if name in state and state[name] in may:
                continue
            if name not in state and sure < 0:
                continue
            found.append(f"after {count} calls {name} is neither the old nor the new")
        found += _unread(state, region, folder, count)
    return found


def _promised(done: list[crashes.Call], at: int) -> int:
    """From which call on what was renamed is safe: when the program goes on to another file.

    One that was killed before goes on with nothing; the folder's next fsync makes it safe.
    """
    for number in range(at, len(done)):
        if done[number].what == "create":
            return number
        if done[number].what == "end":
            break
    rest = (i + 1 for i in range(at, len(done)) if done[i].what == "folder")
    return next(rest, len(done) + 1)


def _unread(state: crashes.Disk, region: str, folder: Path, count: int) -> list[str]:
    """Whether the agent's own reader takes it."""
    for path in folder.iterdir():
        path.unlink()
    for name, data in state.items():
        (folder / name).write_bytes(data)
    try:
        disk.load_memory(folder, region, ZONE, 0.0, 0.0)
        disk.next_incarnation(folder, 0.0)
        disk.tidy(folder)
    except disk.DiskError as error:
        return [f"after {count} calls: {error}"]
    left = [path.name for path in folder.iterdir() if path.name.startswith(".")]
    return [f"after {count} calls {left} lie about"] if left else []


@straced
def test_a_loss_of_power_leaves_the_old_or_the_new(
    life: tuple[list[crashes.Call], str], tmp_path: Path
) -> None:
    """F44: after each call, whatever of the unsynced has come to the disk."""
    done, region = life
    assert sum(call.what == "rename" for call in done) >= 6
    states = list(crashes.after_each(done))
    assert len(states) > 10 * sum(call.what == "rename" for call in done)
    assert wrong(done, region, tmp_path) == []


@straced
@pytest.mark.parametrize("left_out", ["sync", "folder"])
def test_the_oracle_sees_a_missing_fsync(
    life: tuple[list[crashes.Call], str], tmp_path: Path, left_out: str
) -> None:
    """The same calls without one kind of fsync: a disk that is wrong is found."""
    done, region = life
    assert wrong([call for call in done if call.what != left_out][:13], region, tmp_path)
