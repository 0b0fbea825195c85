"""The commands of an operator: cordon, uncordon, force-region, verify."""

from __future__ import annotations

import asyncio
import datetime
import json
import ssl
import time
from collections.abc import Callable
from ipaddress import ip_address
from typing import Any

import aiohttp

from federation_dns import disk, keys, mesh, verify, wire, words
from federation_dns.config import Config, ConfigError, Peer, Peers, read_peers
from federation_dns.core import Override
from federation_dns.verdict import Said

AGENT_SECONDS = 5.0
# A pass over a thousand services, the reading after it included.
SETTLE_SECONDS = 5.0


def speak(
    config: Config,
    region: str,
    change: Callable[[tuple[Override, ...], list[str], float], words.Outcome],
) -> dict[str, Any]:
    """Change what operators say of a region, on this agent.

    Raises:
        ConfigError: there is no such region, or the word would do harm.
    """
    members = read_peers(config.peers, config.region)
    if members.of(region) is None:
        known = ", ".join(sorted(e.region for e in members.entries))
        raise ConfigError(f"there is no region {region}; there are {known}")
    standing = disk.load_overrides(config.state)
    now = time.time()
    regions = [e.region for e in members.entries if e.role == "region"]
    try:
        outcome = change(standing.words(), regions, now)
    except words.RefusedError as error:
        raise ConfigError(str(error)) from error
    if outcome.changed:
        kept = tuple(
            disk.OverrideEntry(region=w.region, verdict=w.said, who=w.who, until=w.until)
            for w in outcome.words
        )
        disk.save_overrides(config.state, disk.replace_regions(standing, kept), now)
    word = next((w for w in outcome.words if w.region == region), None)
    return {
        "region": region,
        "said": None if word is None else word.said,
        "who": None if word is None else word.who,
        "until": None if word is None else _time(word.until),
        "changed": outcome.changed,
        "note": outcome.note,
    }


def say(
    config: Config, region: str, said: Said, who: str, until: float, verdict: dict[str, Any] | None
) -> dict[str, Any]:
    """Put a word over the verdict; `verdict` is the agent's, None if it does not answer."""
    found: dict[str, dict[str, Any]] = {} if verdict is None else verdict.get("regions", {})
    # An operator's earlier word is among the words; here counts what the regions decided.
    withdrawn = [r for r, f in found.items() if f.get("withdrawn") and f.get("word") is None]
    word = Override(region, said, who, until)
    return speak(
        config, region, lambda before, all_, now: words.say(before, word, all_, withdrawn, now)
    )


def clear(config: Config, region: str, only: Said | None = None) -> dict[str, Any]:
    """Take a word back."""
    return speak(config, region, lambda before, _, now: words.clear(before, region, now, only))


def told(outcome: dict[str, Any]) -> str:
    """What a word came to, in a line."""
    if outcome["note"]:
        return str(outcome["note"])
    said = outcome["said"]
    if said is None:
        return f"{outcome['region']}: clear"
    return f"{outcome['region']}: {said}, says {outcome['who']} until {outcome['until']}"


def _time(until: float) -> str:
    return datetime.datetime.fromtimestamp(until, datetime.UTC).isoformat(timespec="seconds")


async def examine(
    config: Config, elsewhere: dict[str, tuple[str, int]], seconds: float
) -> tuple[list[verify.Report], list[str]]:
    """Ask every region's name server, and every agent what it wants.

    In a failover what is wanted moves, is told by a silent agent's 5 s too early, and a server
    follows its agent a moment later. So who differs is asked once more, with its agent.

    Args:
        config: this agent's.
        elsewhere: servers to ask in the place of the mesh entries', by region.
        seconds: for a server, in all; as many again where it differs.

    Raises:
        ConfigError: this region's own agent does not say what should be.
    """
    peers = read_peers(config.peers, config.region)
    regions = [e for e in peers.entries if e.role == "region"]
    agents = [e for e in peers.entries if e.role == "region" or e.region == config.region]
    found = await asyncio.gather(*(_intent(config, e) for e in agents))
    intents = {e.region: intent for e, intent in zip(agents, found, strict=True)}
    own = intents.get(config.region)
    if own is None:
        raise ConfigError("the region's own agent does not say what should be: is it running?")
    should, notes = own
    asking = verify.questions(i[0] for i in intents.values() if i is not None)
    servers = [
        verify.Server(e.region, *elsewhere.get(e.region, (e.nameserver, 53))) for e in regions
    ]
    asked = await verify.ask_all(servers, asking, seconds)
    reports = [
        verify.report(server, should, answers, None if intent is None else intent[0])
        for server, answers in zip(servers, asked, strict=True)
        for intent in [intents[server.region]]
    ]
    if any(r.differs for r in reports):
        await asyncio.sleep(SETTLE_SECONDS)
        reports = await asyncio.gather(
            *(
                _once_more(config, peers, server, first, seconds)
                for server, first in zip(servers, reports, strict=True)
            )
        )
    silent = [
        f"the agent of {region} does not say what it wants"
        for region, intent in intents.items()
        if intent is None
    ]
    return list(reports), [*notes, *silent]


async def _once_more(
    config: Config, peers: Peers, server: verify.Server, first: verify.Report, seconds: float
) -> verify.Report:
    """Ask one region's agent and then its server, with nobody else to wait for."""
    if not first.differs:
        return first
    there, here = (e for e in (peers.of(server.region), peers.of(config.region)) if e is not None)
    own, intent = await asyncio.gather(_intent(config, here), _intent(config, there))
    wanted = own if intent is None else intent
    if wanted is None:
        return first
    asked = await verify.ask(server, [(d.name, d.type) for d in first.differs], seconds)
    second = verify.report(server, wanted[0], asked, None if intent is None else intent[0])
    return verify.confirmed(first, second)


async def _intent(
    config: Config, peer: Peer
) -> tuple[dict[verify.Question, verify.Answer], list[str]] | None:
    try:
        context = keys.client_context("\n".join(peer.certificates), config.certificate, config.key)
        async with asyncio.timeout(AGENT_SECONDS):
            body: Any = json.loads(await mesh.get(f"{peer.url}/v1/zone", context))
        records = {(r["name"], r["type"]): tuple(sorted(r["values"])) for r in body["records"]}
        return records, [str(note) for note in body["notes"]]
    except (
        aiohttp.ClientError,
        wire.WireError,
        OSError,
        TimeoutError,
        ValueError,
        KeyError,
        TypeError,
        ssl.SSLError,
    ):
        return None


def parse_server(text: str) -> tuple[str, tuple[str, int]]:
    """Read `REGION=ADDRESS` or `REGION=ADDRESS:PORT` (an IPv6 address in brackets).

    Raises:
        ConfigError: it is neither.
    """
    region, _, where = text.partition("=")
    address, port = where, "53"
    if where.startswith("["):
        address, _, rest = where[1:].partition("]")
        port = rest.removeprefix(":") or "53"
    elif where.count(":") == 1:
        address, _, port = where.partition(":")
    try:
        return region, (str(ip_address(address)), int(port))
    except ValueError as error:
        raise ConfigError(f"{text!r} is not REGION=ADDRESS or REGION=ADDRESS:PORT") from error
