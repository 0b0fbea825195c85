"""The command `federation-dns`."""

from __future__ import annotations

import asyncio
import dataclasses
import datetime
import functools
import json
import logging
import re
import sys
import time
from enum import StrEnum
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any

import typer

from federation_dns import disk
from federation_dns.config import Config, ConfigError, Provider, read_config, read_peers
from federation_dns.verdict import Said as Spoken

app = typer.Typer(
    help="The DNS agent of one region of a Kubernetes federation.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

DEFAULT = Path("/etc/federation-dns/config.yaml")
ConfigFile = Annotated[Path, typer.Option("--config", help="The agent's configuration.")]


class Format(StrEnum):
    """How to print."""

    TABLE = "table"
    JSON = "json"


class Said(StrEnum):
    """What an operator may say of a region; `clear` takes the word back."""

    HEALTHY = "healthy"
    LOST = "lost"
    CORDONED = "cordoned"
    CLEAR = "clear"


OutputFormat = Annotated[Format, typer.Option("--format", help="How to print.")]


@app.command()
def agent(
    config: ConfigFile = DEFAULT,
    verbose: Annotated[bool, typer.Option(help="Log everything.")] = False,
) -> None:
    """Run the agent until SIGTERM."""
    from federation_dns.agent import Agent

    logging.basicConfig(
        level=logging.DEBUG if verbose else logging.INFO,
        format="%(levelname).1s %(name)s: %(message)s",
        stream=sys.stderr,
    )
    found = _config(config)

    async def run() -> None:
        try:
            running = Agent(found)
            await running.start()
        except OSError as error:  # a key that isn't there, a port that is taken
            raise ConfigError(f"the agent cannot start with {config}: {error}") from error
        await running.run()

    asyncio.run(run())


@app.command()
def check(config: ConfigFile = DEFAULT) -> None:
    """Check the configuration, peers.json, keys, kubeconfig and memory, and say what is wrong."""
    from federation_dns import keys
    from federation_dns.kube import read_kubeconfig

    found = _config(config)
    peers = read_peers(found.peers, found.region)
    try:
        keys.server_context(found.certificate, found.key, [e.certificate for e in peers.entries])
        own = found.certificate.read_text(encoding="ascii")
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"{found.certificate} and {found.key} are no usable certificate and key"
        ) from error
    entry = peers.of(found.region)
    if entry is None or entry.certificate.strip() != own.strip():
        raise ConfigError(f"{found.peers} names another certificate than {found.certificate}")
    if found.kubeconfig is not None:
        read_kubeconfig(found.kubeconfig)
    if found.provider is not None:
        _check_secret(found.provider)
    if found.state.exists():
        disk.load_memory(found.state, found.region, found.zone, time.monotonic(), time.time())
        disk.load_overrides(found.state)
    _print(f"{config} is right: region {found.region}, {len(peers.entries)} members")


def _check_secret(provider: Provider) -> None:
    from federation_dns.providers.cloud import read_cloud
    from federation_dns.providers.rfc2136 import read_key

    if provider.type == "designate":
        read_cloud(provider.cloud_file, provider.cloud)
    else:
        read_key(provider.key_file, provider.key_name)


@app.command()
def verdict(config: ConfigFile = DEFAULT, output: OutputFormat = Format.TABLE) -> None:
    """Show what this region's agent holds of every region, and why."""
    body = _get(config, "verdict")
    if output is Format.JSON:
        _print(json.dumps(body, indent=2))
        return
    rows = [("REGION", "VERDICT", "DNS", "REPLICAS", "SINCE", "WHY")]
    for name, region in body["regions"].items():
        rows.append(
            (
                name,
                region["verdict"],
                "withdrawn" if region["withdrawn"] else "in",
                "evicted" if region["evicted"] else "placed",
                f"{region['since_s']:.0f}s",
                region["explain"],
            )
        )
    _table(rows)
    if body.get("services"):
        rows = [("SERVICE", "REGION", "ADDRESS", "DNS", "WHY")]
        for s in body["services"]:
            stands = "withdrawn" if s["withdrawn"] else "in"
            rows.append((s["service"], s["region"], s["address"], stands, s["explain"]))
        _print("")
        _table(rows)
    for line in (body["explain"], *body.get("returning", {}).values(), *body["notes"]):
        _print(line)


@app.command()
def zone(config: ConfigFile = DEFAULT, output: OutputFormat = Format.TABLE) -> None:
    """Show the records that this region's agent wants in the zone."""
    body = _get(config, "zone")
    if output is Format.JSON:
        _print(json.dumps(body, indent=2))
        return
    rows = [("NAME", "TTL", "TYPE", "VALUES")]
    rows += [(r["name"], str(r["ttl"]), r["type"], " ".join(r["values"])) for r in body["records"]]
    _table(rows)
    for line in body["notes"]:
        _print(line)


@app.command()
def peers(config: ConfigFile = DEFAULT, output: OutputFormat = Format.TABLE) -> None:
    """Show the mesh's members as this region's agent reaches them."""
    body = _get(config, "peers")
    if output is Format.JSON:
        _print(json.dumps(body, indent=2))
        return
    rows = [("MEMBER", "ROLE", "URL", "LATENCY", "TROUBLE")]
    for name, peer in body["peers"].items():
        latency = peer["latency_s"]
        shown = "-" if latency is None else f"{latency * 1000:.0f}ms"
        rows.append((name, peer["role"], peer["url"], shown, peer["trouble"]))
    _table(rows)


@app.command()
def delegation(config: ConfigFile = DEFAULT, output: OutputFormat = Format.TABLE) -> None:
    """Show what belongs into the parent of each zone: NS, glue and DS."""
    from federation_dns import delegation as parents

    found = _config(config)
    entries = read_peers(found.peers, found.region).entries
    servers = {e.region: e.nameserver for e in entries if e.nameserver}
    own = found.provider
    port = own.port if own is not None and own.type == "rfc2136" else 53
    told = {
        zone: parents.survey(
            zone, servers, found.secondaries, functools.partial(parents.ask, port=port)
        )
        for zone in found.all_zones
    }
    if output is Format.JSON:
        _print(json.dumps({zone: dataclasses.asdict(each) for zone, each in told.items()}))
        return
    for each in told.values():
        for line in (*each.records, *(f"; {note}" for note in each.notes)):
            _print(line)


@app.command()
def keygen(
    region: Annotated[str, typer.Option(help="The region's name.")],
    address: Annotated[str, typer.Option(help="Where the agent listens.")],
    out: Annotated[Path, typer.Option(help="The folder to write agent.key and agent.crt to.")],
) -> None:
    """Make the agent's key and its self-signed certificate."""
    from federation_dns import keys

    now = datetime.datetime.now(datetime.UTC)
    try:
        _print(str(keys.generate(region, address, out, now)))
    except (OSError, ValueError) as error:
        raise ConfigError(str(error)) from error


@app.command("force-region")
def force_region(
    region: str,
    said: Said,
    who: Annotated[str, typer.Option(help="Who says so; it is shown everywhere.")] = "",
    until: Annotated[
        str, typer.Option(help="A time (ISO 8601) or a span (90s, 30m, 2h, 1d).")
    ] = "",
    config: ConfigFile = DEFAULT,
) -> None:
    """Put an operator's word over the verdict, on this agent, until a time.

    The word is this agent's only: nobody can take a region out everywhere by speaking once. Say it
    in every region that shall act on it.
    """
    from federation_dns import operate

    found = _config(config)
    if said is Said.CLEAR:
        _say(operate.clear(found, region), Format.TABLE)
        return
    if not who or not until:
        raise ConfigError("--who and --until are needed: a word without them outlives its reason")
    _say(_spoken(config, found, region, said.value, who, until), Format.TABLE)


@app.command()
def cordon(
    region: str,
    who: Annotated[str, typer.Option(help="Who says so; it is shown everywhere.")],
    until: Annotated[str, typer.Option(help="A time (ISO 8601) or a span (2h).")] = "1h",
    config: ConfigFile = DEFAULT,
    output: OutputFormat = Format.TABLE,
) -> None:
    """Take a region's addresses out of this agent's answers, until a time; replicas stay."""
    found = _config(config)
    _say(_spoken(config, found, region, "cordoned", who, until), output)


@app.command()
def uncordon(
    region: str, config: ConfigFile = DEFAULT, output: OutputFormat = Format.TABLE
) -> None:
    """Let a cordoned region back into this agent's answers."""
    from federation_dns import operate

    _say(operate.clear(_config(config), region, "cordoned"), output)


@app.command()
def verify(
    server: Annotated[
        list[str] | None,
        typer.Option(help="REGION=ADDRESS[:PORT] to ask in the place of the mesh's entry."),
    ] = None,
    timeout: Annotated[float, typer.Option(help="Seconds for a server.", min=1, max=60)] = 10.0,
    config: ConfigFile = DEFAULT,
    output: OutputFormat = Format.TABLE,
) -> None:
    """Ask every region's name server, and say what differs; exit status 1 if anything does."""
    from federation_dns import operate
    from federation_dns import verify as verifying

    elsewhere = dict(operate.parse_server(text) for text in server or [])
    reports, notes = asyncio.run(operate.examine(_config(config), elsewhere, timeout))
    body = verifying.document(reports, notes)
    if output is Format.JSON:
        _print(json.dumps(body, indent=2))
    else:
        for line in verifying.lines(reports, notes):
            _print(_clean(line))
    if not body["agrees"]:
        raise typer.Exit(1)


@app.command("accept-deletes")
def accept_deletes(
    until: Annotated[str, typer.Option(help="A time (ISO 8601) or a span (90s, 30m).")] = "5m",
    config: ConfigFile = DEFAULT,
) -> None:
    """Let the delete guard pass what it holds back, until a time."""
    found = _config(config)
    now = time.time()
    words = disk.load_overrides(found.state)
    lifted = words.model_copy(update={"accept_deletes_until": _until(until, now)})
    disk.save_overrides(found.state, lifted, now)
    _print("deletes are accepted")


@app.command()
def version() -> None:
    """Show the version."""
    _print(metadata.version("federation-dns"))


def _config(path: Path) -> Config:
    return read_config(path)


def _get(path: Path, what: str) -> dict[str, Any]:
    import aiohttp

    from federation_dns import keys
    from federation_dns.mesh import get
    from federation_dns.wire import WireError

    config = _config(path)
    host = f"[{config.listen.address}]" if ":" in config.listen.address else config.listen.address
    url = f"https://{host}:{config.listen.port}/v1/{what}"
    try:
        own = config.certificate.read_text(encoding="ascii")
        context = keys.client_context(own, config.certificate, config.key)
        body = asyncio.run(get(url, context))
        found: object = json.loads(body)
    except (aiohttp.ClientError, WireError, OSError, TimeoutError, ValueError) as error:
        raise ConfigError(
            f"the agent at {url} does not answer ({str(error) or 'in time'}): is it running?"
        ) from error
    if not isinstance(found, dict):
        raise ConfigError(f"the agent at {url} answers with something else")
    return found


def _spoken(
    path: Path, config: Config, region: str, said: Spoken, who: str, until: str
) -> dict[str, Any]:
    from federation_dns import operate

    try:
        verdict = _get(path, "verdict")
    except ConfigError:
        verdict = None  # the word is for the agent that starts next, then
    return operate.say(config, region, said, who, _until(until, time.time()), verdict)


def _say(outcome: dict[str, Any], output: Format) -> None:
    from federation_dns import operate

    _print(json.dumps(outcome) if output is Format.JSON else operate.told(outcome))


def _until(text: str, now: float) -> float:
    span = re.fullmatch(r"(\d{1,9})([smhd])", text)
    if span:
        return now + int(span[1]) * {"s": 1, "m": 60, "h": 3600, "d": 86400}[span[2]]
    try:
        when = datetime.datetime.fromisoformat(text)
    except ValueError as error:
        raise ConfigError(f"{text!r} is neither a time (ISO 8601) nor a span (30m)") from error
    ends = (when if when.tzinfo else when.replace(tzinfo=datetime.UTC)).timestamp()
    if ends <= now:
        raise ConfigError(f"{text} has passed already")
    return ends


def _table(rows: list[tuple[str, ...]]) -> None:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        cells = [_clean(cell).ljust(width) for cell, width in zip(row, widths, strict=True)]
        _print("  ".join(cells).rstrip())


def _clean(text: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in text)


def _print(text: str) -> None:
    typer.echo(text)


def main() -> None:
    """The entry point; what an operator can mend is said in one line, with exit status 2."""
    try:
        app()
    except (ConfigError, disk.DiskError) as error:
        typer.echo(f"federation-dns: {error}", err=True)
        sys.exit(2)
    except Exception as error:
        from federation_dns.providers import ProviderError

        if not isinstance(error, ProviderError):
            raise
        typer.echo(f"federation-dns: {error}", err=True)
        sys.exit(2)


if __name__ == "__main__":
    main()
