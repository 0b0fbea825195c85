"""`lab overview|kubeconfig|shell|drill`: looking at the standing lab, and rehearsing a loss."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml
from rich.console import Console
from rich.live import Live
from rich.table import Table

from federation_lab import tools
from federation_lab.commands import calls, regions
from federation_lab.observe import access, overview
from federation_lab.observe.drill import RegionLoss
from federation_lab.paths import paths

app = typer.Typer()
drills = typer.Typer(help="Rehearse a failure and print what happened when.", no_args_is_help=True)
app.add_typer(drills, name="drill")

WATCH_SECONDS = 2.0
PIPE_COLUMNS = 160
SAYING = Console(stderr=True, highlight=False, soft_wrap=True)


class Format(StrEnum):
    """How a command answers."""

    TABLE = "table"
    JSON = "json"


Formatted = Annotated[Format, typer.Option("--format", help="How to answer.")]


@app.command("overview")
def show_overview(
    output: Formatted = Format.TABLE,
    watch: Annotated[bool, typer.Option("--watch", help="Keep it live until Ctrl-C.")] = False,
) -> None:
    """Show all regions in one table: units, clusters, federated objects, DNS answers."""
    federation = access.load(paths().home)
    if output is Format.JSON:
        typer.echo(json.dumps(take(federation), indent=1))
        return
    console = wide_console()
    if not watch:
        console.print(overview.render(take(federation)))
        return
    with Live(overview.render(take(federation)), console=console, screen=True) as live:
        while True:
            time.sleep(WATCH_SECONDS)
            live.update(overview.render(take(federation)))


@app.command()
def kubeconfig(
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write it to this file (mode 0600).")
    ] = None,
) -> None:
    """Print one kubeconfig with a context for each region, named as the region."""
    text = yaml.safe_dump(access.load(paths().home).kubeconfig(), sort_keys=False)
    if output is None:
        typer.echo(text, nl=False)
        return
    output.touch(mode=0o600)
    output.chmod(0o600)
    output.write_text(text)
    typer.echo(output)


@app.command()
def shell() -> None:
    """Open a shell where `juju` is the lab and `kubectl` knows every region."""
    home = paths().home
    access.load(home)
    folder = home / "shell"
    folder.mkdir(exist_ok=True)
    for name, target in (
        ("juju", Path(sys.argv[0]).resolve()),
        ("lab", Path(sys.argv[0]).resolve()),
        ("kubefed", Path(sys.executable).with_name("kubefed")),
        ("kubectl", tools.binaries() / "kubectl"),
    ):
        link = folder / name
        link.unlink(missing_ok=True)
        link.symlink_to(target)
    environment = {
        **os.environ,
        "PATH": f"{folder}:{os.environ.get('PATH', '')}",
        "KUBECONFIG": str(home / "kubeconfig"),
    }
    program = os.environ.get("SHELL") or "/bin/sh"
    SAYING.print("juju is the lab; kubectl's contexts are the regions; `exit` leaves")
    raise typer.Exit(subprocess.run([program], env=environment, check=False).returncode)


@drills.command("region-loss")
def region_loss(
    region: Annotated[str, typer.Argument(help="The region to lose.")],
    output: Formatted = Format.TABLE,
) -> None:
    """Kill a region while clients ask through DNS, revive it, and print the timeline.

    Exits with 0 only if the state after the revival is the state before.
    """
    result = run_region_loss(region)
    if output is Format.JSON:
        typer.echo(json.dumps(result, indent=1))
    else:
        wide_console().print(timeline_table(result))
    if not result["ok"]:
        raise typer.Exit(1)


def run_region_loss(region: str) -> dict[str, Any]:
    """Run one drill, saying each step on standard error."""
    started = time.monotonic()

    def say(text: str) -> None:
        SAYING.print(f"[dim]{time.monotonic() - started:6.1f} s[/]  {text}")

    federation = access.load(paths().home)
    return asyncio.run(RegionLoss(federation, region, regions.Regions(), say).run())


def timeline_table(result: dict[str, Any]) -> Table:
    """Draw a drill's result for a person."""
    table = Table(title=f"Loss of {result['region']}", title_justify="left")
    table.add_column("what")
    table.add_column("seconds after the loss", justify="right")
    table.add_row("detected by a majority", _seconds(result["detected_s"]))
    for server, seconds in result["dns_out_s"].items():
        table.add_row(f"out of DNS at {server}", _seconds(seconds))
    table.add_row("all replicas ready again", _seconds(result["replicas_back_s"]))
    table.add_row("as before, after the revival", _seconds(result["recovered_s"]))
    requests = result["requests"]
    table.add_row(
        "requests sent / failed / failed after DNS",
        f"{requests['sent']} / {requests['failed']} / {requests['failed_after_dns']}",
    )
    if result["federation_api"] != "reachable":
        table.add_row(result["federation_api"], "")
    for line in result["different"]:
        table.add_row(f"[red]{line}[/]", "")
    return table


def take(federation: access.Federation) -> dict[str, Any]:
    """Gather the overview once."""
    names = [region.name for region in federation.regions]
    present = set(calls.models())
    juju = calls.statuses([name for name in names if name in present])
    return asyncio.run(overview.gather(federation, regions.Regions().alive(names), juju))


def wide_console() -> Console:
    """Give a console whose tables aren't cut when nobody watches (a pipe, a log)."""
    return Console() if sys.stdout.isatty() else Console(width=PIPE_COLUMNS)


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"
