"""Single questions to a region, each bounded, each answered with None when nothing came back."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import aiohttp
import dns.asyncquery
import dns.exception
import dns.message
import dns.rcode
import dns.rdatatype

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from federation_lab.observe.access import Region

SECONDS = 2.0


@contextlib.asynccontextmanager
async def http_session() -> AsyncGenerator[aiohttp.ClientSession]:
    """Open a session without redirects or proxies of the environment, for `kube` and `agent`."""
    timeout = aiohttp.ClientTimeout(total=SECONDS)
    async with aiohttp.ClientSession(timeout=timeout, trust_env=False) as session:
        yield session


async def kube(session: aiohttp.ClientSession, region: Region, path: str) -> Any | None:
    """GET a path of the region's API server; None when it doesn't answer with 200."""
    headers = {"Authorization": f"Bearer {region.token}"}
    return await _get_json(session, region.api_endpoint + path, region.api_context(), headers)


async def agent(session: aiohttp.ClientSession, region: Region, path: str) -> Any | None:
    """GET a path of the region's DNS agent; None when it doesn't answer with 200."""
    if not region.agent_certificate:
        return None
    url = f"https://{region.nameserver}:{region.agent_port}{path}"
    return await _get_json(session, url, region.agent_context(), {})


async def addresses(region: Region, name: str, *, seconds: float = SECONDS) -> list[str] | None:
    """Ask the region's name server for a name's A and AAAA records.

    Returns:
        The addresses, sorted; an empty list when the name has none; None when no answer came.
    """
    found: set[str] = set()
    for kind in (dns.rdatatype.A, dns.rdatatype.AAAA):
        query = dns.message.make_query(name, kind)
        try:
            answer = await dns.asyncquery.udp(
                query, region.nameserver, timeout=seconds, port=region.dns_port
            )
        except (dns.exception.DNSException, OSError):
            return None
        if answer.rcode() not in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN):
            return None
        for record_set in answer.answer:
            if record_set.rdtype == kind:
                found.update(record.to_text() for record in record_set)
    return sorted(found)


async def _get_json(
    session: aiohttp.ClientSession, url: str, context: Any, headers: dict[str, str]
) -> Any | None:
    try:
        async with session.get(
            url, ssl=context, headers=headers, allow_redirects=False
        ) as response:
            return await response.json() if response.status == 200 else None
    except (TimeoutError, aiohttp.ClientError, OSError, ValueError):
        return None
