"""What each connection to an API server costs."""

from __future__ import annotations

from asyncio.sslproto import SSLProtocol

import pytest
from kubefed.controller.client import TLS_BUFFER, Client, Connection


async def test_a_connection_keeps_a_small_buffer(monkeypatch: pytest.MonkeyPatch) -> None:
    # Fails where asyncio has no such setting any more; the setting is put back after the test.
    monkeypatch.setattr(SSLProtocol, "max_size", 256 * 1024)
    client = Client("member", Connection("https://127.0.0.1:1", check_name=False))
    with pytest.raises(OSError, match="127"):
        await client.text("/healthz", timeout_s=1)
    await client.close()
    assert SSLProtocol.max_size == TLS_BUFFER <= 64 * 1024
