"""Starting a unit's processes and finding all of them again."""

from __future__ import annotations

import contextlib
import grp
import os
import pwd
import resource
import signal

from federation_lab.machine import policy, unitfile
from federation_lab.machine.service import DIRECTORIES, Command, Service

CGROUP = "/run/lab/cgroup"
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class SetupError(RuntimeError):
    """A unit cannot be started as its file says."""


class Group:
    """All processes of one unit: its control group, or its process tree where there are none."""

    def __init__(self, name: str, root: str = CGROUP) -> None:
        self.path = os.path.join(root, name.replace("/", "_")) if os.path.isdir(root) else ""
        self.marker = ""

    def make(self) -> None:
        """Make the control group."""
        if self.path:
            os.makedirs(self.path, exist_ok=True)

    def enter(self) -> None:
        """Put this process into it; in the child, before it becomes the service."""
        if self.path:
            descriptor = os.open(os.path.join(self.path, "cgroup.procs"), os.O_WRONLY)
            os.write(descriptor, b"0")
            os.close(descriptor)

    def members(self, main: int | None = None) -> list[int]:
        """List the unit's processes."""
        if not self.path:
            return tree(self.marker, main)
        try:
            with open(os.path.join(self.path, "cgroup.procs")) as file:
                # 0: a process that cannot be seen from here.
                return [int(line) for line in file if line.strip() != "0"]
        except OSError:
            return []

    def remove(self) -> None:
        """Take the empty control group away."""
        if self.path:
            with contextlib.suppress(OSError):
                os.rmdir(self.path)


def tree(marker: str, main: int | None) -> list[int]:
    """Find processes by their environment's mark, and the descendants of these."""
    parents: dict[int, int] = {}
    found: set[int] = {main} if main else set()
    for entry in os.listdir("/proc"):
        if not entry.isdigit() or entry == "1":
            continue
        with contextlib.suppress(OSError, ValueError):
            with open(f"/proc/{entry}/stat") as file:
                fields = file.read().rpartition(")")[2].split()
            if fields[0] == "Z":
                continue
            parents[int(entry)] = int(fields[1])
            with open(f"/proc/{entry}/environ", "rb") as file:
                if marker and f"INVOCATION_ID={marker}".encode() in file.read().split(b"\0"):
                    found.add(int(entry))
    grown = True
    while grown:
        more = {pid for pid, parent in parents.items() if parent in found} - found
        found |= more
        grown = bool(more)
    return sorted(pid for pid in found if pid in parents)


def send(pids: list[int], number: int) -> None:
    """Signal processes that may be gone already."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)


def identity(service: Service) -> tuple[int, int, tuple[int, ...]] | None:
    """Look a unit's user and groups up; None for root as it is.

    Raises:
        SetupError: there is no such user or group.
    """
    if not (service.user or service.group or service.groups):
        return None
    try:
        user = _user(service.user or "root")
        group = _group(service.group) if service.group else user.pw_gid
        groups = set(os.getgrouplist(user.pw_name, group)) if service.user else {group}
        groups |= {_group(name) for name in service.groups}
    except KeyError as error:
        raise SetupError(f"no such user or group: {error}") from error
    return user.pw_uid, group, tuple(sorted(groups))


def _user(name: str) -> pwd.struct_passwd:
    return pwd.getpwuid(int(name)) if name.isdigit() else pwd.getpwnam(name)


def _group(name: str) -> int:
    return int(name) if name.isdigit() else grp.getgrnam(name).gr_gid


def environment(service: Service, extra: dict[str, str]) -> dict[str, str]:
    """Give the environment of a unit's processes.

    Raises:
        SetupError: an EnvironmentFile without `-` is missing.
    """
    found = {"PATH": PATH, "LANG": "C.UTF-8"}
    if service.user:
        with contextlib.suppress(KeyError):
            user = _user(service.user)
            found |= {"USER": user.pw_name, "LOGNAME": user.pw_name, "HOME": user.pw_dir,
                      "SHELL": user.pw_shell or "/bin/sh"}  # fmt: skip
    for key in service.directories:
        base, paths = DIRECTORIES[key], service.directories[key]
        name = key.removesuffix("Directory").upper() + "_DIRECTORY"
        found[name] = ":".join(os.path.join(base, path) for path in paths)
    found |= service.environment
    for path in service.environment_files:
        try:
            with open(path.removeprefix("-"), encoding="utf-8") as file:
                found |= unitfile.environment_file(file.read())
        except OSError as error:
            if not path.startswith("-"):
                raise SetupError(f"EnvironmentFile={path}: {error.strerror}") from error
    for name in service.unset:
        found.pop(name, None)
    return found | extra


def make_directories(service: Service) -> None:
    """Make RuntimeDirectory= and the others, owned by the unit's user."""
    ids = identity(service)
    for key, names in service.directories.items():
        for name in names:
            path = os.path.join(DIRECTORIES[key], name.partition(":")[0])
            os.makedirs(path, exist_ok=True)
            os.chmod(path, service.modes[key])
            if ids is not None and key != "ConfigurationDirectory":
                os.chown(path, ids[0], ids[1])


def argv(service: Service, command: Command, variables: dict[str, str]) -> tuple[str, list[str]]:
    """Give the program to start, and its whole argument list.

    Raises:
        SetupError: the program isn't there.
    """
    words = unitfile.substitute(list(command.words), variables)
    program = _program(words[0])
    if command.name:
        words[0] = command.name
    ids = None if command.privileged else identity(service)
    before = [] if command.privileged else policy.privileges(service, ids)
    return (before[0], [*before, program, *words[1:]]) if before else (program, words)


def _program(name: str) -> str:
    candidates = [name] if "/" in name else [f"{part}/{name}" for part in PATH.split(":")]
    for path in candidates:
        if os.access(path, os.X_OK):
            return path
    raise SetupError(f"Unable to locate executable '{name}'")


def spawn(
    service: Service, group: Group, program: str, words: list[str],
    variables: dict[str, str], outputs: tuple[int, int],
) -> int:  # fmt: skip
    """Start a process of a unit; give its PID.

    Raises:
        OSError: the machine cannot start one more.
    """
    pid = os.fork()
    if pid:
        return pid
    try:
        os.setsid()
        group.enter()
        _become(service, outputs)
        if "MAINPID" not in variables and "LISTEN_PID" in variables:
            variables["LISTEN_PID"] = str(os.getpid())
        os.execve(program, words, variables)  # noqa: S606
    except Exception as error:  # noqa: BLE001  # the child must not return into the manager
        os.write(outputs[1], f"Failed to execute {program}: {error}\n".encode())
    os._exit(203)


def _become(service: Service, outputs: tuple[int, int]) -> None:
    null = os.open(os.devnull, os.O_RDONLY)
    for standard, descriptor in ((0, null), (1, outputs[0]), (2, outputs[1])):
        os.dup2(descriptor, standard)
    for number in (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    os.umask(service.umask)
    if service.nice:
        os.nice(service.nice)
    if service.open_files is not None:
        ceiling = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        soft, hard = (ceiling if n < 0 else n for n in service.open_files)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    _change_directory(service)


def _change_directory(service: Service) -> None:
    path = service.directory
    if path.removeprefix("-") == "~":
        path = pwd.getpwnam(service.user or "root").pw_dir
    try:
        os.chdir(path.removeprefix("-") or "/")
    except OSError:
        if not path.startswith("-"):
            raise
        os.chdir("/")
