"""Reads what API servers answer, whatever they answer: so much at most, and text made printable.

A server may be broken or hostile. What it sends must neither fill the memory that the other
clusters' caches live in, nor write lines of its own into logs and statuses.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    import aiohttp

# An object has 1.5 MiB at most in etcd; as JSON it may be some times that.
LONGEST_ANSWER = 16 * 1024 * 1024
LONGEST_LIST = 64 * 1024 * 1024
LONGEST_EVENT = 16 * 1024 * 1024
# What all answers of one server that are being read may have together.
LONGEST_TOGETHER = 128 * 1024 * 1024
LONGEST_TEXT = 500
# The reason of an `ApiError` for an answer that was too long to read.
TOO_LONG = "TooLong"


class ApiError(Exception):
    """An API server refused a request.

    Attributes:
        status: the HTTP status; 0 if there was no usable answer at all.
        reason: the `reason` of the Status object, "" if there was none.
        retry_after: how long the server asks to wait, in seconds.
    """

    def __init__(
        self, status: int, reason: str, message: str, retry_after: float | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason
        self.retry_after = retry_after

    @property
    def not_found(self) -> bool:
        """Whether the object, or its kind, isn't there."""
        return self.status == 404

    @property
    def conflict(self) -> bool:
        """Whether the object was changed in the meantime."""
        return self.status == 409 and self.reason != "AlreadyExists"

    @property
    def exists(self) -> bool:
        """Whether an object of this name is there already."""
        return self.status == 409 and self.reason == "AlreadyExists"

    @property
    def gone(self) -> bool:
        """Whether a resourceVersion is too old to go on from."""
        return self.status == 410 or self.reason == "Expired"


class Allowance:
    """How much of one server's unfinished answers is held.

    Args:
        limit: bytes.
    """

    def __init__(self, limit: int = LONGEST_TOGETHER) -> None:
        self._limit = limit
        self.held = 0

    def take(self, count: int) -> None:
        """Hold so many bytes more; a negative number lets them go.

        Raises:
            ApiError: that would be too many.
        """
        if count > 0 and self.held + count > self._limit:
            raise ApiError(0, TOO_LONG, f"answers of more than {self._limit} bytes at once")
        self.held += count


async def read_capped(
    response: aiohttp.ClientResponse, limit: int, allowance: Allowance | None = None
) -> bytes:
    """Read an answer to its end.

    Raises:
        ApiError: it is longer than the limit, or than what is left of the allowance.
    """
    allowance = allowance or Allowance()
    content = bytearray()
    try:
        async for chunk in response.content.iter_any():
            allowance.take(len(chunk))
            content += chunk
            if len(content) > limit:
                raise ApiError(0, TOO_LONG, f"{response.host} answers more than {limit} bytes")
        return bytes(content)
    finally:
        allowance.take(-len(content))


async def lines(stream: aiohttp.StreamReader, allowance: Allowance) -> AsyncGenerator[bytes]:
    """Give the lines of a watch that aren't empty.

    Raises:
        ApiError: one is longer than an event can be, or than what is left of the allowance.
    """
    # An own buffer: the reader's readline has a limit that an event may exceed.
    buffer, held = bytearray(), 0
    try:
        async for chunk in stream.iter_any():
            start = 0
            buffer += chunk
            while (end := buffer.find(b"\n", start)) >= 0:
                if end > start:
                    yield bytes(buffer[start:end])
                start = end + 1
            del buffer[:start]
            allowance.take(len(buffer) - held)
            held = len(buffer)
            if held > LONGEST_EVENT:
                raise ApiError(
                    0, TOO_LONG, f"an event of a watch is longer than {LONGEST_EVENT} bytes"
                )
    finally:
        allowance.take(-held)


def parse(content: bytes) -> Any:
    """Read JSON; give None for what is none."""
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        return None


def printable(text: object, longest: int = LONGEST_TEXT) -> str:
    r"""Give a server's text on one line, cut where it is too long.

    >>> printable("no\nsuch \x1b[31mthing", 10)
    'no such  ['
    """
    cut = str(text)[:longest]
    return "".join(sign if sign.isprintable() else " " for sign in cut)
