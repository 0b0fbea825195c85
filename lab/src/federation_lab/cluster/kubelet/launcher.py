"""Turns a process into a container: its own file system, few rights, then the command.

Runs alone (``python -I -S launcher.py <in> <out>``) inside the pod's namespaces, so it imports
nothing of the package. Both are descriptors; the first holds a JSON description:

    argv, env, directory, uid, gid, groups,
    files     directory with hosts, hostname and resolv.conf of the pod
    mounts    [{source, target, readonly}]

The file system is a tmpfs whose top directories are the machine's, read-only; /etc is put
together anew, /var /run /tmp /dev /proc are the container's own.
"""

from __future__ import annotations

import ctypes
import json
import os
import platform
import stat
import sys

MS_RDONLY, MS_REMOUNT, MS_BIND, MS_REC, MS_PRIVATE = 1, 32, 4096, 16384, 1 << 18
MS_NOSUID, MS_NODEV, MS_NOEXEC = 2, 4, 8
MNT_DETACH = 2
CLONE_NEWNS = 0x20000
PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS = 24, 38
PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}
# What container runtimes leave to root in a container: chown dac_override fowner fsetid kill
# setgid setuid setpcap net_bind_service net_raw sys_chroot mknod audit_write setfcap.
CAPABILITIES = {0, 1, 3, 4, 5, 6, 7, 8, 10, 13, 18, 27, 29, 31}
OWN = {"proc", "sys", "dev", "run", "tmp", "var", "etc", "lost+found"}
# Not for containers: what the pod has files of its own for, and the machine's secrets.
HIDDEN = {"hosts", "hostname", "resolv.conf", "shadow", "shadow-", "gshadow", "gshadow-"}
DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
STAGE = "/tmp"  # noqa: S108 (a mount point in a mount namespace of its own)
CANNOT_START = 128
# What the second descriptor says before the command takes over; anything else is why it can't.
STARTED = b"+"

_libc = ctypes.CDLL(None, use_errno=True)


def mount(source: str, target: str, kind: str | None, flags: int, options: str = "") -> None:
    """Do what the system call of that name does."""
    arguments = [
        None if text is None else os.fsencode(text) for text in (source, target, kind, options)
    ]
    if _libc.mount(*arguments[:3], ctypes.c_ulong(flags), arguments[3] or None):
        number = ctypes.get_errno()
        raise OSError(number, f"mount {source}: {os.strerror(number)}", target)


def bind(source: str, target: str, *, readonly: bool) -> None:
    """Show a file or directory at a second place, which is made if it isn't there."""
    if os.path.isdir(source):
        os.makedirs(target, exist_ok=True)
    elif not os.path.lexists(target):
        os.makedirs(os.path.dirname(target), exist_ok=True)
        os.close(os.open(target, os.O_CREAT | os.O_WRONLY, 0o644))
    mount(source, target, None, MS_BIND | MS_REC)
    if readonly:
        kept = _flags(target)
        mount("none", target, None, MS_BIND | MS_REMOUNT | MS_RDONLY | kept)


def _flags(path: str) -> int:
    # A remount must repeat what the mount below already forbids.
    found = os.statvfs(path).f_flag
    pairs = ((os.ST_NOSUID, MS_NOSUID), (os.ST_NODEV, MS_NODEV), (os.ST_NOEXEC, MS_NOEXEC))
    return sum(flag for known, flag in pairs if found & known)


def spread(source: str, target: str, skip: set[str], *, readonly: bool) -> None:
    """Make ``target`` a tmpfs with ``source``'s entries in it, so that more can be added."""
    os.makedirs(target, exist_ok=True)
    mode = stat.S_IMODE(os.stat(source).st_mode)
    entries = [entry for entry in os.scandir(source) if entry.name not in skip]
    links = {e.name: os.readlink(e.path) for e in entries if e.is_symlink()}
    # Opened before the tmpfs hides them, as source and target may be one directory.
    handles = {
        e.name: os.open(e.path, os.O_PATH)
        for e in entries
        if e.is_dir(follow_symlinks=False) or e.is_file(follow_symlinks=False)
    }
    mount("tmpfs", target, "tmpfs", MS_NOSUID | MS_NODEV, f"mode={mode:o}")
    for name, link in links.items():
        os.symlink(link, f"{target}/{name}")
    for name, handle in handles.items():
        bind(f"/proc/self/fd/{handle}", f"{target}/{name}", readonly=readonly)
        os.close(handle)


def build_root(files: str, mounts: list[dict[str, object]]) -> None:
    """Put the container's file system together and make it this process's root."""
    mount("none", "/", None, MS_REC | MS_PRIVATE)
    # Sources are opened first: /tmp and others are about to be hidden.
    handles = [os.open(str(item["source"]), os.O_PATH) for item in mounts]
    own_files = os.open(files, os.O_PATH)
    spread("/", STAGE, OWN, readonly=True)
    for name in ("proc", "sys", "dev", "run", "tmp", "var"):
        os.makedirs(f"{STAGE}/{name}", exist_ok=True)
    spread("/etc", f"{STAGE}/etc", HIDDEN, readonly=True)
    bind(f"/proc/self/fd/{own_files}", f"{STAGE}/run/pod", readonly=True)
    for name in ("hosts", "hostname", "resolv.conf"):
        os.symlink(f"/run/pod/{name}", f"{STAGE}/etc/{name}")
    _devices()
    _variable()
    for item, handle in zip(mounts, handles, strict=True):
        place(f"/proc/self/fd/{handle}", str(item["target"]), readonly=bool(item["readonly"]))
    # Last, since the sources are found through the old one.
    os.makedirs(f"{STAGE}/proc", exist_ok=True)
    mount("proc", f"{STAGE}/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC)
    mount("sysfs", f"{STAGE}/sys", "sysfs", MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC)
    enter()


def place(source: str, target: str, *, readonly: bool) -> None:
    """Mount a volume at a path of the container, making the path in what is read-only."""
    inside = resolve(target)
    path = STAGE + inside
    if not os.path.lexists(path):
        parent = os.path.dirname(path)
        while not os.path.isdir(parent):
            parent = os.path.dirname(parent)
        if os.statvfs(parent).f_flag & os.ST_RDONLY:
            spread(parent, parent, set(), readonly=True)
    bind(source, path, readonly=readonly)


def resolve(target: str) -> str:
    """Follow the container's own links (such as /var/run), never out of its root."""
    done = "/"
    parts = [part for part in target.split("/") if part]
    for _ in range(40 + len(parts)):
        if not parts:
            break
        part = parts.pop(0)
        if part == "..":
            done = os.path.dirname(done)
            continue
        here = os.path.join(done, part)
        if os.path.islink(STAGE + here):
            link = os.readlink(STAGE + here)
            parts = [p for p in link.split("/") if p and p != "."] + parts
            done = "/" if link.startswith("/") else done
        else:
            done = here
    return done


def _devices() -> None:
    mount("tmpfs", f"{STAGE}/dev", "tmpfs", MS_NOSUID, "mode=755")
    for name in DEVICES:
        bind(f"/dev/{name}", f"{STAGE}/dev/{name}", readonly=False)
    os.symlink("/proc/self/fd", f"{STAGE}/dev/fd")
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        os.symlink(f"/proc/self/fd/{number}", f"{STAGE}/dev/{name}")
    _open_to_all(f"{STAGE}/dev/shm")  # noqa: S108


def _variable() -> None:
    _open_to_all(f"{STAGE}/tmp")  # noqa: S108
    for name in ("cache", "lib", "log", "spool"):
        os.mkdir(f"{STAGE}/var/{name}")
    _open_to_all(f"{STAGE}/var/tmp")  # noqa: S108
    os.mkdir(f"{STAGE}/run/lock")
    os.symlink("/run", f"{STAGE}/var/run")
    os.symlink("/run/lock", f"{STAGE}/var/lock")


def _open_to_all(path: str) -> None:
    os.makedirs(path, exist_ok=True)
    os.chmod(path, 0o1777)  # noqa: S103 (as every /tmp)


def enter() -> None:
    """Make the staged tree the root and let go of the old one."""
    os.chdir(STAGE)
    number = PIVOT_ROOT[platform.machine()]
    if _libc.syscall(number, b".", b".") or _libc.umount2(b".", MNT_DETACH):
        raise OSError(ctypes.get_errno(), "cannot change the root")
    os.chdir("/")


def give_up_rights(uid: int, gid: int, groups: list[int]) -> None:
    """Keep what a container's process needs, for good."""
    last = int(open("/proc/sys/kernel/cap_last_cap").read())  # noqa: SIM115
    for capability in range(last + 1):
        if capability not in CAPABILITIES:
            _libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)
    os.setgroups(groups)
    os.setgid(gid)
    os.setuid(uid)
    _libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)


def find_program(argv: list[str], path: str) -> str:
    """Give the file to execute.

    Raises:
        FileNotFoundError: there is none.
    """
    if not argv:
        raise FileNotFoundError(2, "neither the image nor the container says what to run")
    name = argv[0]
    folders = [""] if "/" in name else path.split(":")
    for folder in folders:
        candidate = os.path.join(folder, name)
        if os.path.isfile(candidate) and os.access(candidate, os.X_OK):
            return candidate
    raise FileNotFoundError(2, "no such program in the container", name)


def main() -> int:
    """Read the description, become the container."""
    with os.fdopen(int(sys.argv[1])) as file:
        spec = json.load(file)
    report = int(sys.argv[2])
    os.set_inheritable(report, False)
    os.setsid()
    try:
        if _libc.unshare(CLONE_NEWNS):
            raise OSError(ctypes.get_errno(), "cannot unshare the mount namespace")
        build_root(spec["files"], spec["mounts"])
        os.makedirs(spec["directory"], exist_ok=True)
        os.chdir(spec["directory"])
        program = find_program(spec["argv"], spec["env"].get("PATH", os.defpath))
        give_up_rights(spec["uid"], spec["gid"], spec["groups"])
        os.write(report, STARTED)
        os.execve(program, spec["argv"], spec["env"])  # noqa: S606
    except OSError as error:
        os.write(report, str(error).encode())
    return CANNOT_START


if __name__ == "__main__":
    sys.exit(main())
