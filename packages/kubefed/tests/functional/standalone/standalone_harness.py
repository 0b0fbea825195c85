"""Commands as a user types them, and a controller that runs beside them."""

from __future__ import annotations

import contextlib
import subprocess
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from pathlib import Path

from kubefed import clients
from kubefed.clients import Resources

ROOT = Path(__file__).parents[5]
# A command that does its work, the slowest being `join`, which waits for a policy to take hold.
COMMAND_SECONDS = 60.0


def shell(
    line: str | Sequence[str], environment: Mapping[str, str], *, status: int = 0
) -> subprocess.CompletedProcess[str]:
    """Run a command; a string is a line for the shell."""
    result = subprocess.run(
        line,
        shell=isinstance(line, str),
        cwd=ROOT,
        env=dict(environment),
        capture_output=True,
        text=True,
        timeout=COMMAND_SECONDS,
        check=False,
    )
    assert result.returncode == status, (line, result.stdout, result.stderr)
    return result


@contextlib.contextmanager
def controller(
    line: str, environment: Mapping[str, str], log: Path, status: int | None = 0
) -> Generator[None]:
    """A controller as long as the block lasts; it ends with a status when it is told to."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            ["/bin/sh", "-c", f"exec {line}"],
            cwd=ROOT,
            env=dict(environment),
            stdout=output,
            stderr=output,
        )
    try:
        yield
        assert process.poll() is None, log.read_text()
        process.terminate()
        assert process.wait(timeout=20) == status or status is None, log.read_text()
    finally:
        if process.poll() is None:
            process.kill()
            process.wait(timeout=10)


def eventually(
    done: Callable[[], object], seconds: float, what: str, log: Path | None = None
) -> None:
    deadline = time.monotonic() + seconds
    while not done():
        if time.monotonic() >= deadline:
            tail = log.read_text()[-4000:] if log else ""
            raise AssertionError(f"{what}: not within {seconds:g} s\n{tail}")
        time.sleep(0.2)


def objects(kubeconfig: Path, context: str) -> Resources:
    return Resources(clients.from_kubeconfig(kubeconfig, context))
