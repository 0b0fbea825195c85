"""From a process on the host to PID 1 of a machine: namespaces, mounts, then `init`.

Runs as a short program of its own (`python boot.py`, the `Spec` as JSON on standard input), so
that what it loads is gone when init starts. It prints the PID that init has on the host once init
answers, or fails with the reason on standard error and leaves nothing.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import json
import os
import signal
import socket
import sys

# linux/sched.h, linux/mount.h
CLONE_NEWNS, CLONE_NEWUTS, CLONE_NEWIPC = 0x00020000, 0x04000000, 0x08000000
CLONE_NEWPID, CLONE_NEWNET = 0x20000000, 0x40000000
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REMOUNT = 1, 2, 4, 8, 32
MS_BIND, MS_REC, MS_PRIVATE = 4096, 16384, 1 << 18

# Hidden behind something of the machine's own.
HIDDEN = ("/root", "/home", "/tmp", "/run")  # noqa: S108  # the machine's own, not a file of ours
# Those of them that are on its disk.
OWN = ("root", "home")
# Who logs in, as Juju's machines have it; each is root.
LOGIN_HOMES = {"ubuntu": "/home/ubuntu", "root": "/root"}
LIBRARY, PROGRAMS, CHARMS = "/opt/lab/lib", "/opt/lab/bin", "/opt/lab/charms"
IMAGES = "/opt/lab/images"
CGROUP = "/run/lab/cgroup"
STARTED = b"ready"
SHIM = """#!{python} -IS
import sys
sys.path.insert(0, "{library}")
{load}
sys.exit({call})
"""
_MANAGED = "from federation_lab.machine import client", 'client.main("{verb}", sys.argv[1:])'
SHIMS = {
    "systemctl": _MANAGED,
    "journalctl": _MANAGED,
    "juju-exec": (
        "from federation_lab.juju import execclient",
        "execclient.main(sys.argv[1:])",
    ),
    "sudo": ("from federation_lab.machine import sudo", "sudo.main(sys.argv[1:])"),
}
"""Programs of a machine that are the lab's: what to import, and what to call."""

_libc = ctypes.CDLL(None, use_errno=True)


class Spec:
    """What to boot; the attributes are the JSON's keys.

    Attributes:
        name: the host name.
        namespace: path of the network namespace.
        cgroup: directory of the control group for the machine, empty for none.
        disk: directory with upper/ and work/ of each layer, root/ and home/.
        layers: directories of the host of which the machine has a copy.
        programs: directory to show at /opt/lab/bin, empty for none.
        charms: directory to show at /opt/lab/charms.
        images: directory to show at /opt/lab/images.
        library: directory that holds the package federation_lab.
        python: the interpreter.
        expose: directories of the host that stay visible though their parents are hidden.
    """

    def __init__(self, text: str) -> None:
        data = json.loads(text)
        self.name: str = data["name"]
        self.namespace: str = data["namespace"]
        self.cgroup: str = data["cgroup"]
        self.disk: str = data["disk"]
        self.layers: list[str] = data["layers"]
        self.programs: str = data["programs"]
        self.charms: str = data["charms"]
        self.images: str = data["images"]
        self.library: str = data["library"]
        self.python: str = data["python"]
        self.expose: list[str] = data["expose"]


def _call(what: str, result: int) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def _mount(source: str, target: str, kind: str, flags: int = 0, options: str = "") -> None:
    """mount(2), with the target made where it is missing."""
    os.makedirs(target, exist_ok=True)
    arguments = [text.encode() for text in (source, target, kind, options)]
    result = _libc.mount(*arguments[:3], ctypes.c_ulong(flags), arguments[3])
    _call(f"mount {kind or 'bind'} on {target}", result)


def _bind(descriptor: int, target: str, *, read_only: bool) -> None:
    """Show an opened directory at `target`; by descriptor, as its path may be hidden by now."""
    _mount(f"/proc/self/fd/{descriptor}", target, "", MS_BIND | MS_REC)
    if read_only:
        _mount("none", target, "", MS_BIND | MS_REMOUNT | MS_RDONLY)
    os.close(descriptor)


def _open(path: str) -> int:
    return os.open(path, os.O_PATH | os.O_DIRECTORY)


def overlay_options(layer: str, disk: str) -> str:
    """Say how one layer lies over the host's directory."""
    upper = os.path.join(disk, layer.strip("/"))
    return f"lowerdir={layer},upperdir={upper}/upper,workdir={upper}/work"


def is_hidden(path: str) -> bool:
    """Say whether a path of the host is behind something of the machine's own."""
    return any(path == top or path.startswith(top + "/") for top in HIDDEN)


def mount_all(spec: Spec) -> None:
    """Give the machine its file system; in its mount and PID namespaces."""
    _call("make / private", _libc.mount(None, b"/", None, ctypes.c_ulong(MS_REC | MS_PRIVATE), 0))
    # Here, since the disk may be one of before it was kept there.
    os.makedirs(spec.disk + LOGIN_HOMES["ubuntu"], exist_ok=True)
    library = _open(spec.library)
    own = {f"/{name}": _open(os.path.join(spec.disk, name)) for name in OWN}
    charms, images = _open(spec.charms), _open(spec.images)
    programs = _open(spec.programs) if spec.programs else None
    cgroup = _open(spec.cgroup) if spec.cgroup else None
    exposed = [(path, _open(path)) for path in spec.expose if is_hidden(path)]
    for layer in spec.layers:
        _mount("overlay", layer, "overlay", 0, overlay_options(layer, spec.disk))
    for path, descriptor in own.items():
        _bind(descriptor, path, read_only=False)
    flags = MS_NOSUID | MS_NODEV
    _mount("tmpfs", "/tmp", "tmpfs", flags, "mode=1777")  # noqa: S108
    _mount("tmpfs", "/run", "tmpfs", flags, "mode=755")
    for path, descriptor in exposed:
        _bind(descriptor, path, read_only=True)
    _bind(library, LIBRARY, read_only=True)
    _bind(charms, CHARMS, read_only=True)
    _bind(images, IMAGES, read_only=True)
    if programs is not None:
        _bind(programs, PROGRAMS, read_only=True)
    if cgroup is not None:
        _bind(cgroup, CGROUP, read_only=False)
    # sysfs shows the network of the namespace that mounts it, proc the processes.
    _mount("sysfs", "/sys", "sysfs", flags | MS_NOEXEC)
    _mount("proc", "/proc", "proc", flags | MS_NOEXEC)


def write_shims(spec: Spec) -> None:
    """Put our programs in the place of the system's, in the machine's layer."""
    for verb, (load, call) in SHIMS.items():
        path = f"/usr/bin/{verb}"
        text = SHIM.format(
            python=spec.python, library=LIBRARY, load=load, call=call.format(verb=verb)
        )
        with contextlib.suppress(OSError), open(path, "rb") as file:
            if file.read(len(text) + 1) == text.encode():
                continue
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        with open(path, "w") as file:
            file.write(text)
        os.chmod(path, 0o755)  # noqa: S103


def provide_python(python: str) -> None:
    """Charms start with `python3`; where the host has it outside the PATH of machines, link it."""
    if not any(os.path.exists(f"{folder}/python3") for folder in ("/usr/local/bin", "/usr/bin")):
        os.symlink(python, "/usr/local/bin/python3")


def become_init(spec: Spec, report: int) -> None:
    """Turn this process, the first of its PID namespace, into the machine's init."""
    os.umask(0o022)
    mount_all(spec)
    write_shims(spec)
    provide_python(spec.python)
    socket.sethostname(spec.name)
    os.chdir("/")
    os.set_inheritable(report, True)
    start = (
        f"import sys; sys.path.insert(0, {LIBRARY!r}); "
        "from federation_lab.machine import init; init.main(int(sys.argv[1]))"
    )
    environment = {"PATH": os.defpath, "LANG": "C.UTF-8"}
    os.execve(spec.python, [spec.python, "-I", "-S", "-c", start, str(report)], environment)  # noqa: S606


def _child(spec: Spec, report: int, error_log: int) -> None:
    try:
        null = os.open(os.devnull, os.O_RDWR)
        for standard, descriptor in ((0, null), (1, error_log), (2, error_log)):
            os.dup2(descriptor, standard)
        become_init(spec, report)
    except Exception as error:  # noqa: BLE001  # the parent tells it, whatever it is
        os.write(report, _explain(error).encode())
    os._exit(1)


def _explain(error: Exception) -> str:
    if isinstance(error, OSError) and error.errno in (errno.EPERM, errno.EACCES):
        return (
            f"{error}: making machines needs root with the right to mount; "
            "run as root, in a container with --privileged"
        )
    if isinstance(error, OSError) and error.errno == errno.EINVAL and "overlay" in str(error):
        return (
            f"{error}: LAB_HOME's file system cannot hold layers; "
            "set LAB_HOME to a directory on ext4, xfs, btrfs or tmpfs"
        )
    return str(error)


def launch(spec: Spec) -> int:
    """Make the namespaces, start init in them, wait until it answers; give its PID on the host.

    Raises:
        RuntimeError: init didn't come up; the text says why.
    """
    os.setsid()
    if spec.cgroup:
        with open(os.path.join(spec.cgroup, "cgroup.procs"), "w") as file:
            file.write("0")
    namespace = os.open(spec.namespace, os.O_RDONLY)
    _call("enter the network namespace", _libc.setns(namespace, CLONE_NEWNET))
    os.close(namespace)
    flags = CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWPID
    _call("unshare", _libc.unshare(flags))
    reader, writer = os.pipe()
    error_log = os.open(
        os.path.join(spec.disk, "init.log"), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600
    )
    pid = os.fork()
    if pid == 0:
        os.close(reader)
        _child(spec, writer, error_log)
    os.close(writer)
    answer = b""
    while chunk := os.read(reader, 4096):
        answer += chunk
    if answer != STARTED:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        raise RuntimeError(answer.decode() or "init ended at once; see init.log")
    return pid


def main() -> int:
    """Boot what standard input asks for."""
    try:
        pid = launch(Spec(sys.stdin.read()))
    except (OSError, RuntimeError) as error:
        text = _explain(error) if isinstance(error, OSError) else str(error)
        sys.stderr.write(text + "\n")
        return 1
    sys.stdout.write(f"{pid}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
