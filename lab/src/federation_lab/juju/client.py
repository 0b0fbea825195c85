"""The command line's way to the controller: finds it, starts it, asks it."""

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from federation_lab.juju.errors import ControllerError, JujuError, NotFoundError

_START_S = 20.0


def home() -> Path:
    """The lab's home, by the rules of ``federation_lab.paths``."""
    from federation_lab.paths import paths

    return paths().home


def _connect(path: Path) -> socket.socket | None:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    # LAB_HOME may be a longer path than a socket's address can hold.
    try:
        folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
    except FileNotFoundError:
        return None
    try:
        connection.connect(f"/proc/self/fd/{folder}/{path.name}")
    except (FileNotFoundError, ConnectionRefusedError):
        connection.close()
        return None
    finally:
        os.close(folder)
    return connection


def running(lab: Path) -> bool:
    """Whether the lab's controller answers."""
    connection = _connect(lab / "run" / "juju.sock")
    if connection is None:
        return False
    connection.close()
    return True


def start(lab: Path) -> None:
    """Starts the lab's controller, if it does not run, and waits until it answers.

    Raises:
        ControllerError: It ended or did not answer in time; the text has its last words.
    """
    (lab / "juju").mkdir(mode=0o700, parents=True, exist_ok=True)
    log = lab / "juju" / "controller.log"
    with log.open("ab") as file:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "federation_lab.juju.daemon", str(lab)],
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            cwd="/",
            start_new_session=True,
        )
    deadline = time.monotonic() + _START_S
    while time.monotonic() < deadline:
        if running(lab):
            return
        code = process.poll()
        # Another call may have started one in the same moment: ours ends, that one answers.
        if code is not None and not _someone_holds(lab):
            words = log.read_text(errors="replace").strip().splitlines()
            reason = words[-1] if words else f"exit status {code}"
            raise ControllerError(f"the lab's controller did not start: {reason} (see {log})")
        time.sleep(0.05)
    raise ControllerError(f"the lab's controller did not answer within {_START_S:g} s (see {log})")


def _someone_holds(lab: Path) -> bool:
    import fcntl

    try:
        with (lab / "run" / "juju.lock").open("r+") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except FileNotFoundError:
        return False
    return False


def stop(lab: Path, timeout_s: float = 15.0) -> bool:
    """Ends the lab's controller; machines and their workloads stay.

    Returns:
        Whether one was running.

    Raises:
        ControllerError: It did not end in time.
    """
    import signal

    lock = lab / "run" / "juju.lock"
    if not _someone_holds(lab):
        return False
    pid = int(lock.read_text().strip() or 0)
    os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if not _someone_holds(lab):
            return True
        time.sleep(0.05)
    raise ControllerError(f"the lab's controller (process {pid}) did not end in {timeout_s:g} s")


def call(method: str, *, wait_s: float = 120.0, **params: Any) -> Any:
    """Asks the controller, starting it if need be.

    Args:
        method: What to do.
        wait_s: How long to wait for the answer.
        **params: The method's parameters.

    Returns:
        The answer.

    Raises:
        JujuError: It was refused, or the controller cannot be reached.
    """
    lab = home()
    connection = _connect(lab / "run" / "juju.sock")
    if connection is None:
        start(lab)
        connection = _connect(lab / "run" / "juju.sock")
    if connection is None:
        raise ControllerError("the lab's controller went away; try again")
    connection.settimeout(wait_s)
    with connection, connection.makefile("rwb") as file:
        try:
            file.write(json.dumps({"method": method, "params": params}).encode() + b"\n")
            file.flush()
            line = file.readline()
        except TimeoutError as error:
            raise ControllerError(f"timed out waiting for the controller ({method})") from error
    if not line:
        raise ControllerError(f"the controller went away ({lab / 'juju' / 'controller.log'})")
    answer: dict[str, Any] = json.loads(line)
    error = answer.get("error")
    if error:
        kind = NotFoundError if error["code"] == "not found" else None
        raise kind(error["message"]) if kind else JujuError(error["message"], error["code"])
    return answer.get("result")
