"""What a disk may hold after a loss of power: rebuilt from the system calls that a program made.

A file's bytes are safe after fsync of the file, its name after fsync of its folder. Until then
each may have come to the disk or not, in any order: bytes in part, or as zeros.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

TRACE = "openat,creat,write,pwrite64,fsync,fdatasync,rename,renameat,renameat2,unlink,ftruncate"
Disk = Mapping[str, bytes]
"""File names and their bytes."""


@dataclass(frozen=True)
class Call:
    """One system call on the folder: `what` is create, write, sync, rename, remove or folder.

    `end` is none: there the program was killed, and another goes on.
    """

    what: str
    name: str = ""
    to: str = ""
    data: bytes = b""


def traced(log: Path) -> tuple[str, ...]:
    """What a program is started through, so that its calls come into a log."""
    options = ("-D", "-f", "--seccomp-bpf", "-qq", "-y", "-xx", "-s", "1000000")
    return ("strace", *options, "-e", f"trace={TRACE}", "-e", "signal=none", "-o", str(log))


_CALL = re.compile(r"^\d+ +(\w+)\((.*)\) += (-?\d+)")
_TEXT = re.compile(r'"((?:\\x[0-9a-f]{2})*)"')
_FILE = re.compile(r"^\d+<((?:\\x[0-9a-f]{2})*)>")


def calls(log: Path, folder: Path) -> list[Call]:
    """The calls that touched the folder's files, in order; those that failed changed nothing."""
    lines = _whole(log.read_text().splitlines())
    found = [_call(match, folder) for line in lines if (match := _CALL.match(line))]
    return [call for call in found if call is not None]


def _whole(lines: list[str]) -> Iterator[str]:
    """Put together what another thread's call cut in two: it counts when it has ended."""
    begun: dict[str, str] = {}
    for line in lines:
        number, _, rest = line.partition(" ")
        if line.endswith("<unfinished ...>"):
            begun[number] = rest.strip().removesuffix("<unfinished ...>")
        elif "resumed>" in rest:
            yield f"{number} {begun.pop(number)}{rest.partition('resumed>')[2]}"
        else:
            yield line


def _plain(text: str) -> bytes:
    return bytes.fromhex(text.replace("\\x", ""))


def _call(match: re.Match[str], folder: Path) -> Call | None:
    act, text, result = match.groups()
    if result.startswith("-"):
        return None
    paths = [Path(_plain(t).decode(errors="replace")) for t in _TEXT.findall(text)]
    opened = _FILE.match(text)
    file = Path(_plain(opened[1]).decode()) if opened else None
    if act in ("fsync", "fdatasync") and file is not None:
        if file == folder:
            return Call("folder")
        return Call("sync", file.name) if file.parent == folder else None
    if act in ("write", "pwrite64") and file is not None and file.parent == folder:
        data = _plain(_TEXT.findall(text)[0])
        assert len(data) == int(result), "a write in part is not modelled"
        return Call("write", file.name, data=data)
    if not paths or paths[-1].parent != folder:
        return None
    if act.startswith("rename"):
        return Call("rename", paths[0].name, paths[-1].name)
    if act == "unlink":
        return Call("remove", paths[0].name)
    if "O_CREAT" in text:
        return Call("create", paths[0].name)
    assert not {"O_WRONLY", "O_RDWR", "O_TRUNC"} & set(re.findall(r"O_\w+", text)), text
    return None


@dataclass
class _Inode:
    safe: bytes = b""
    late: bytes = b""

    def may_hold(self) -> set[bytes]:
        """Of what was written since the last fsync: nothing, half, zeros in its place, or all."""
        half = self.late[: len(self.late) // 2]
        rests = (b"", half, bytes(len(self.late)), self.late)
        return {self.safe + rest for rest in rests}


@dataclass
class _Machine:
    """Names and bytes: what the running program sees, and what is sure to be on the disk."""

    now: dict[str, _Inode] = field(default_factory=dict[str, _Inode])
    safe: dict[str, _Inode] = field(default_factory=dict[str, _Inode])
    late: list[tuple[Call, _Inode]] = field(default_factory=list[tuple[Call, _Inode]])

    def do(self, call: Call) -> None:
        if call.what == "create":
            self.now[call.name] = _Inode()
            self.late.append((call, self.now[call.name]))
        elif call.what == "write":
            self.now[call.name].late += call.data
        elif call.what == "sync":
            inode = self.now[call.name]
            inode.safe, inode.late = inode.safe + inode.late, b""
        elif call.what == "folder":
            self.safe, self.late = dict(self.now), []
        elif call.what != "end":
            inode = self.now.pop(call.name)
            if call.what == "rename":
                self.now[call.to] = inode
            self.late.append((call, inode))

    def may_be(self) -> Iterator[Disk]:
        """Every disk that a loss of power may leave now."""
        for kept in itertools.product((False, True), repeat=len(self.late)):
            names = dict(self.safe)
            for (call, inode), here in zip(self.late, kept, strict=True):
                if not here:
                    continue
                if call.what == "create":
                    names[call.name] = inode
                    continue
                names.pop(call.name, None)
                if call.what == "rename":
                    names[call.to] = inode
            order = sorted(names)
            for held in itertools.product(*(sorted(names[n].may_hold()) for n in order)):
                yield dict(zip(order, held, strict=True))


def after_each(done: list[Call]) -> Iterator[tuple[int, Disk]]:
    """Every disk after each number of calls, each but once."""
    machine = _Machine()
    for count in range(len(done) + 1):
        seen: set[tuple[tuple[str, bytes], ...]] = set()
        for disk in machine.may_be():
            key = tuple(sorted(disk.items()))
            if key not in seen:
                seen.add(key)
                yield count, disk
        if count < len(done):
            machine.do(done[count])
