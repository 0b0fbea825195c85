"""The machines of the lab: made, booted, killed, found again.

A machine is its record and disk below LAB_HOME, its network namespace, and the PID namespace whose
PID 1 is on record. Nothing of it needs the process that made it: any later one finds it again.
"""

from __future__ import annotations

import compileall
import contextlib
import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import federation_lab
from federation_lab import tools
from federation_lab.cgroups import Groups
from federation_lab.errors import LabError, UnknownRegionError
from federation_lab.locks import lock
from federation_lab.network import Network
from federation_lab.network import namespaces as network_namespaces
from federation_lab.paths import LAYERED, Paths, check_home, paths
from federation_lab.processes import Proc, in_namespaces, is_alive, members, start_time, wait_until
from federation_lab.records import (
    Record,
    host_boot,
    is_running,
    prepare_disk,
    read_record,
    read_records,
    write_record,
)
from federation_lab.wanplan import FIRST_MACHINE, LAST_MACHINE, NAME, lowest_free

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
BOOT_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 15.0
GONE_TIMEOUT_S = 10.0
# Into the machine's control group first, so that what is run inside freezes with its region.
# Inside, files get the modes that they have under Juju's and systemd's umask, not the lab's own.
_JOIN = 'umask 022; [ -z "$0" ] || echo 0 > "$0/cgroup.procs" || exit 125; exec "$@"'


class Machine:
    """One machine; what changes is read anew from its record."""

    def __init__(self, lab: Paths, record: Record) -> None:
        self._lab = lab
        self._network = Network(lab)
        self._record = record
        self.region = record.region
        self.name = record.name
        self.address = self._network.plan.address(record.index, record.octet)

    def __repr__(self) -> str:
        return f"Machine({self.region}/{self.name}, {self.address})"

    @property
    def directory(self) -> Path:
        """Its record and disk, on the host."""
        return self._lab.machines / self.region / self.name

    @property
    def record(self) -> Record:
        """What is known of it now."""
        with contextlib.suppress(FileNotFoundError):
            self._record = read_record(self.directory / "machine.json")
        return self._record

    @property
    def namespace(self) -> str:
        """Its network namespace's name."""
        return self._network.plan.namespace(self._record.index, self._record.octet)

    @property
    def pid(self) -> int:
        """Its init's PID on the host.

        Raises:
            LabError: it isn't running.
        """
        record = self.record
        if not is_running(record):
            raise LabError(
                f"machine {self.name} in {self.region} isn't running; "
                f"`lab revive {self.region}` boots it"
            )
        return record.pid

    @property
    def alive(self) -> bool:
        """Whether its init runs; a frozen machine is alive."""
        return is_running(self.record)

    @property
    def root(self) -> Path:
        """Its root directory, seen from the host.

        Raises:
            LabError: it isn't running.
        """
        return Path(f"/proc/{self.pid}/root")

    def command(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
    ) -> list[str]:
        """Give the command that runs `argv` inside, to be started from the host.

        The environment inside is `env` and a few settings of the machine's own, nothing of the
        host's. It travels in the argument list, which other processes can read: no secrets.

        Raises:
            LabError: the machine isn't running.
        """
        inside = {"PATH": PATH, "HOME": "/root", "LANG": "C.UTF-8", **(env or {})}
        words = ["nsenter", "--target", str(self.pid)]
        words += ["--mount", "--uts", "--ipc", "--net", "--pid", "--", "/usr/bin/env", "-i"]
        words += ["-C", cwd or "/", *(f"{key}={value}" for key, value in inside.items()), *argv]
        group = Groups(self._lab.prefix).path(self.region, self.name)
        return ["/bin/sh", "-c", _JOIN, str(group or ""), *words]


class Machines:
    """All machines of one lab."""

    def __init__(self, home: Path | Paths | None = None) -> None:
        if isinstance(home, Paths):
            self.lab = home
        else:
            found = paths()
            self.lab = found if home is None else dataclasses.replace(found, home=Path(home))
        self.network = Network(self.lab)
        self.groups = Groups(self.lab.prefix)

    def list(self, region: str | None = None) -> list[Machine]:
        """List the machines, of one region or of all, in the order of their addresses.

        Raises:
            UnknownRegionError: there is no such region.
        """
        if region is not None and region not in self.network.regions:
            raise UnknownRegionError(region, list(self.network.regions))
        records = sorted(read_records(self.lab), key=lambda record: (record.index, record.octet))
        return [Machine(self.lab, r) for r in records if region in (None, r.region)]

    def get(self, region: str, name: str) -> Machine:
        """Give a machine.

        Raises:
            UnknownRegionError: there is no such region.
            LabError: the region has no such machine.
        """
        for machine in (found := self.list(region)):
            if machine.name == name:
                return machine
        names = ", ".join(machine.name for machine in found) or "none"
        raise LabError(f"region {region} has no machine {name!r}; it has: {names}")

    def create(self, region: str, name: str) -> Machine:
        """Give a machine that runs; it is made where it is missing and booted where it is down.

        Raises:
            LabError: a bad name, or the machine doesn't boot; the text says why.
        """
        check_home(self.lab.home)
        if not NAME.fullmatch(name):
            raise LabError(f"{name!r} cannot be a machine's name: small letters, digits, hyphens")
        index = self.network.ensure_region(region)
        with lock(self.lab.home / "machines.lock"):
            machine = self._find(region, name)
            if machine is None:
                taken = (m.record.octet for m in self.list(region))
                octet = lowest_free(taken, FIRST_MACHINE, LAST_MACHINE, f"machines in {region}")
                record = Record(region, name, index, octet)
                prepare_disk(self.lab, record, self.network.plan)
                write_record(self.lab, record)
                machine = Machine(self.lab, record)
        self.start(machine)
        return machine

    def start(self, machine: Machine) -> None:
        """Boot a machine with its disk; does nothing to one that runs.

        Raises:
            LabError: it doesn't boot; the text says why.
        """
        with lock(machine.directory / "lock"):
            if machine.alive:
                return
            record = machine.record
            self.network.ensure_region(record.region)
            # Left by a boot that was interrupted before its record was written.
            self._end(in_namespaces({machine.namespace}))
            namespace = self.network.attach(record.index, record.octet)
            pid = self._boot(machine, namespace)
            write_record(
                self.lab,
                dataclasses.replace(
                    record, pid=pid, started=start_time(pid), boot=host_boot(), wanted=True
                ),
            )

    def stop(self, machine: Machine) -> None:
        """Shut a machine down: its services are stopped, then it is gone."""
        with lock(machine.directory / "lock"):
            record = machine.record
            write_record(self.lab, dataclasses.replace(record, wanted=False))
            if is_running(record):
                os.kill(record.pid, signal.SIGTERM)
                wait_until(lambda: not is_running(record), STOP_TIMEOUT_S)
            self._kill(machine)

    def kill(self, machine: Machine) -> None:
        """End a machine as a power cut does: silent on the network, then dead, all at once."""
        with lock(machine.directory / "lock"):
            self._kill(machine)

    def destroy(self, machine: Machine) -> None:
        """Take a machine and its disk away."""
        self.kill(machine)
        self.groups.remove(machine.region, machine.name)
        _remove(machine.directory)
        with contextlib.suppress(OSError):
            machine.directory.parent.rmdir()

    def destroy_region(self, region: str) -> None:
        """Take a region with all its machines away."""
        for machine in self.list(region):
            self.destroy(machine)
        self.groups.remove(region)
        self.network.remove_region(region)

    def destroy_all(self) -> None:
        """Take everything of this lab away, from whatever state a crash left it in."""
        prefix = self.lab.prefix
        for region in self._regions_on_disk():
            self.groups.freeze(region, frozen=False)
        self._end([Proc(pid) for pid in self.groups.processes()])
        self._end(in_namespaces(set(network_namespaces(prefix))))
        self.network.remove()
        self.groups.remove()
        _remove(self.lab.machines)

    # --- regions ---

    def kill_region(self, region: str) -> None:
        """End every process of a region at once; it falls silent first, so nobody is told."""
        machines = self.list(region)
        self.network.isolate(region)
        for machine in machines:
            self.kill(machine)
        # A frozen region that is dead isn't frozen any more.
        self.groups.freeze(region, frozen=False)

    def revive_region(self, region: str) -> None:
        """Boot a region's machines, with the disks that they had."""
        machines = self.list(region)
        self.network.ensure_region(region)
        self.groups.freeze(region, frozen=False)
        self.network.rejoin(region)
        for machine in machines:
            if machine.record.wanted:
                self.start(machine)

    def freeze_region(self, region: str) -> None:
        """Let a region's processes stand still; its kernel still answers pings."""
        machines = self.list(region)
        if self.groups.freeze(region, frozen=True):
            return
        # Without control groups: once more for those that were forked meanwhile.
        for machine in [*machines, *machines]:
            _signal_all(machine, signal.SIGSTOP)
        # A process stops when it is next scheduled, which a busy host may put off.
        wait_until(lambda: self.is_frozen(region), GONE_TIMEOUT_S)

    def thaw_region(self, region: str) -> None:
        """Let a frozen region go on."""
        machines = self.list(region)
        if self.groups.freeze(region, frozen=False):
            return
        for machine in machines:
            _signal_all(machine, signal.SIGCONT)

    def is_frozen(self, region: str) -> bool:
        """Say whether a region stands still."""
        return self.groups.is_frozen(region) or any(
            Proc(machine.pid).state == "T" for machine in self.list(region) if machine.alive
        )

    # --- inside ---

    def _find(self, region: str, name: str) -> Machine | None:
        return next((m for m in self.list(region) if m.name == name), None)

    def _regions_on_disk(self) -> Iterator[str]:
        if self.groups.root is not None and self.groups.root.is_dir():
            yield from (path.name for path in self.groups.root.iterdir() if path.is_dir())

    def _boot(self, machine: Machine, namespace: str) -> int:
        source = Path(federation_lab.__file__).resolve().parent
        group = self.groups.make(machine.region, machine.name)
        spec = {
            "name": machine.name,
            "namespace": f"/run/netns/{namespace}",
            "cgroup": str(group) if group else "",
            "disk": str(machine.directory / "disk"),
            "layers": list(LAYERED),
            "programs": _programs(),
            "charms": str(self.lab.trees),
            "images": str(self.lab.images),
            "library": str(source.parent),
            "python": os.path.realpath(sys.executable),
            "expose": _needed(source),
        }
        self.lab.trees.mkdir(parents=True, exist_ok=True)
        self.lab.images.mkdir(exist_ok=True)
        # For the services and pods of all users, whatever the umask is.
        self.lab.images.chmod(0o755)
        # Inside, the library is read-only: what isn't compiled now is compiled at each systemctl.
        compileall.compile_dir(source / "machine", quiet=2)
        argv = [str(spec["python"]), "-I", "-S", str(source / "machine" / "boot.py")]
        try:
            done = subprocess.run(
                argv, input=json.dumps(spec), text=True, capture_output=True,
                timeout=BOOT_TIMEOUT_S, check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired as error:
            self._end(in_namespaces({namespace}))
            raise LabError(
                f"machine {machine.name} didn't boot within {BOOT_TIMEOUT_S:g} s; see "
                f"{machine.directory}/disk/init.log"
            ) from error
        if done.returncode != 0:
            raise LabError(f"machine {machine.name} doesn't boot: {done.stderr.strip()}")
        return int(done.stdout)

    def _kill(self, machine: Machine) -> None:
        record = machine.record
        # First the cable: dying processes would say goodbye with resets.
        self.network.unplug(record.index, record.octet)
        if is_running(record):
            targets = members(record.pid)
            os.kill(record.pid, signal.SIGKILL)
            self.groups.kill(machine.region, machine.name)
            self._end(targets)
        self._end(in_namespaces({machine.namespace}))
        self.network.detach(record.index, record.octet)
        write_record(self.lab, dataclasses.replace(machine.record, pid=0, started=0))

    def _end(self, processes: list[Proc]) -> None:
        """Kill processes and wait until they are gone.

        Raises:
            LabError: one stays.
        """
        for process in processes:
            process.send(signal.SIGKILL)
        if not wait_until(lambda: not any(map(is_alive, processes)), GONE_TIMEOUT_S):
            left = ", ".join(str(p.pid) for p in processes if is_alive(p))
            raise LabError(f"processes {left} don't die; look at /proc/PID/stack of them")


def _signal_all(machine: Machine, number: int) -> None:
    if machine.alive:
        for process in members(machine.pid):
            process.send(number)


def _needed(source: Path) -> list[str]:
    """List what must stay visible inside: the interpreter, its packages, the checkout."""
    found = {Path(sys.base_prefix).resolve(), Path(sys.prefix).resolve()}
    checkout = source.parents[2]
    if (checkout / "lab" / "tools").is_dir():
        found.add(checkout)
    # One below another is visible with it.
    return sorted(str(path) for path in found if not found & set(path.parents))


def _programs() -> str:
    try:
        return str(tools.binaries())
    except tools.ToolsMissing:
        # A machine is of use without them, and its next boot shows them.
        return ""


def _remove(directory: Path) -> None:
    """Remove a directory.

    Raises:
        LabError: something is put into it at the same time, such as by a `lab up` that goes on.
    """
    if not directory.exists():
        return
    try:
        shutil.rmtree(directory)
    except OSError as error:
        raise LabError(
            f"{directory} can't be removed ({error.strerror}); end the other command of this lab "
            "that is still running, then try again"
        ) from error
