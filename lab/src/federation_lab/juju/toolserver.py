"""Answers the hook tools of all units: a socket in each unit's machine, one call a connection."""

import asyncio
import contextlib
import functools
import logging
import os
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from federation_lab.juju import execclient, toolclient, tools
from federation_lab.juju.hookcontext import HookContext
from federation_lab.juju.provider import Machine, inside

logger = logging.getLogger(__name__)

_FRAME_MOST = 16 * 1024 * 1024

Execute = Callable[[str], Coroutine[Any, Any, tools.Answer]]
"""Runs a command in a new hook context of the unit whose socket it is, for juju-exec."""


class ToolServer:
    """The sockets, and the contexts of the hooks that run now.

    Args:
        status_set: Called when a status was set, which holds at once.
    """

    def __init__(self, status_set: Callable[[], None]) -> None:
        self.contexts: dict[str, HookContext] = {}
        self._status_set = status_set
        self._sockets: dict[str, tuple[asyncio.AbstractServer, tuple[int, int]]] = {}

    def close(self, machine: str = "") -> None:
        """Closes the sockets of a machine, or all."""
        for key in [k for k in self._sockets if not machine or k.startswith(f"{machine}:")]:
            self._sockets.pop(key)[0].close()

    async def listen(self, machine: Machine, name: str, path: str, execute: Execute) -> None:
        """Sees to it that hook tools of one unit reach the controller at a path of the machine.

        Args:
            machine: The machine.
            name: Its name.
            path: The socket's path inside.
            execute: For juju-exec, which comes by the same way.
        """
        target = inside(machine, path)
        key = f"{name}:{path}"
        held = self._sockets.get(key)
        with contextlib.suppress(OSError):
            status = target.stat()
            if held and held[1] == (status.st_dev, status.st_ino):
                return
        if held:
            held[0].close()
        await asyncio.to_thread(_make_way, target)
        # A machine's root is a long path and a socket's address a short one.
        folder = await asyncio.to_thread(os.open, target.parent, os.O_PATH | os.O_DIRECTORY)
        try:
            address = f"/proc/self/fd/{folder}/{target.name}"
            answer = functools.partial(self._tool, execute)
            server = await asyncio.start_unix_server(answer, address)
        finally:
            os.close(folder)
        target.chmod(0o600)
        status = target.stat()
        self._sockets[key] = (server, (status.st_dev, status.st_ino))

    async def _tool(
        self, execute: Execute, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        try:
            parts = await _frames(reader)
            if parts[0] == b"" and parts[2:3] == [execclient.TOOL.encode()]:
                command = parts[3].decode("utf-8", "replace")
                answer = await _while_asked(execute(command), reader)
            else:
                answer = self._call(parts)
            writer.write(
                toolclient.frames(
                    [str(answer.code).encode(), answer.out.encode(), answer.err.encode()]
                )
            )
            await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError, ValueError, IndexError) as error:
            logger.warning("hook tool: %s", error)
        finally:
            writer.close()

    def _call(self, parts: list[bytes]) -> tools.Answer:
        context = self.contexts.get(parts[0].decode())
        if context is None:
            return tools.Answer(1, "", "ERROR the hook of this context has ended\n")
        count = int(parts[1])
        tool, *arguments = [p.decode("utf-8", "replace") for p in parts[2 : 2 + count]]
        rest = [p.decode("utf-8", "replace") for p in parts[2 + count :]]
        files = dict(zip(rest[::2], rest[1::2], strict=True))
        answer = tools.run(context, tool, arguments, files)
        if tool == "status-set":
            self._status_set()
        return answer


def _make_way(target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)


async def _while_asked(
    work: Coroutine[Any, Any, tools.Answer], reader: asyncio.StreamReader
) -> tools.Answer:
    """Works as long as whoever asked is there.

    Raises:
        ConnectionError: He went away.
    """
    working = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(reader.read(1))
    try:
        await asyncio.wait({working, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise ConnectionError("juju-exec did not wait for the end")
        return working.result()
    finally:
        working.cancel()
        gone.cancel()


async def _frames(reader: asyncio.StreamReader) -> list[bytes]:
    """One message of a hook tool.

    Raises:
        ValueError: It is longer than any hook tool's.
    """

    async def number() -> int:
        return int.from_bytes(await reader.readexactly(4), "big")

    parts: list[bytes] = []
    left = _FRAME_MOST
    for _ in range(await number()):
        size = await number()
        left -= size
        if left < 0:
            raise ValueError("a message too long")
        parts.append(await reader.readexactly(size))
    return parts
