"""The controller as a process: a unix socket, one request a connection, JSON both ways."""

import asyncio
import contextlib
import fcntl
import json
import logging
import os
import signal
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from federation_lab.juju import api
from federation_lab.juju.controller import Controller
from federation_lab.juju.errors import ControllerError, JujuError
from federation_lab.juju.provider import Provider

logger = logging.getLogger(__name__)

REQUEST_MOST = 64 * 1024 * 1024


def socket_path(home: Path) -> Path:
    """Where the controller of a lab listens."""
    return home / "run" / "juju.sock"


def hold_lock(home: Path) -> int:
    """Takes the lock that only one controller of a lab can have.

    Raises:
        ControllerError: Another one has it.
    """
    folder = home / "run"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(folder / "juju.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(descriptor)
        raise ControllerError("another controller of this lab is running") from error
    os.ftruncate(descriptor, 0)
    os.write(descriptor, f"{os.getpid()}\n".encode())
    return descriptor


class Server:
    """Answers the command line.

    Args:
        controller: The controller.
    """

    def __init__(self, controller: Controller) -> None:
        self._api = api.Api(controller)

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One request."""
        try:
            line = await reader.readline()
            if not line:
                # Someone only asked whether the controller runs.
                return
            request: dict[str, Any] = json.loads(line)
            answer = await self._answer(request)
            writer.write(json.dumps(answer).encode() + b"\n")
            await writer.drain()
        except (ValueError, ConnectionError) as error:
            logger.warning("request: %s", error)
        finally:
            writer.close()

    async def _answer(self, request: dict[str, Any]) -> dict[str, Any]:
        try:
            method, params = str(request["method"]), dict(request.get("params") or {})
            return {"result": await self._api.call(method, params)}
        except JujuError as error:
            return {"error": {"message": error.message, "code": error.code}}
        except Exception as error:
            # The command line has to hear of a fault of ours; the trace is in the log.
            logger.exception("request %s", request.get("method"))
            return {"error": {"message": f"fault in the lab's controller: {error!r}", "code": ""}}


async def serve(home: Path, provider: Provider) -> None:
    """Runs a lab's controller until it is told to stop."""
    controller = Controller(home / "juju", provider, lambda: datetime.now(UTC))
    path = socket_path(home)
    path.unlink(missing_ok=True)
    server = await asyncio.start_unix_server(Server(controller).handle, path, limit=REQUEST_MOST)
    path.chmod(0o600)
    loop = asyncio.get_running_loop()
    work = asyncio.create_task(controller.run())
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, work.cancel)
    try:
        with contextlib.suppress(asyncio.CancelledError):
            await work
    finally:
        server.close()
        path.unlink(missing_ok=True)


def main(home: Path, provider: Provider) -> int:
    """The controller's process.

    Args:
        home: ``LAB_HOME``.
        provider: What makes machines.

    Returns:
        The exit code.
    """
    # The lab's home is closed (0700); what is made below it for machines has a machine's modes.
    os.umask(0o022)
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr
    )
    try:
        lock = hold_lock(home)
        asyncio.run(serve(home, provider))
        os.close(lock)
    except JujuError as error:
        sys.stderr.write(f"ERROR {error.message}\n")
        return 1
    return 0
