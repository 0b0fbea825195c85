"""`lab kill|revive|freeze|thaw|cut|heal|exec`: faults, and a look inside."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Annotated

import typer
from rich.console import Console

from federation_lab.errors import LabError
from federation_lab.machines import Machine, Machines

app = typer.Typer(add_completion=False, no_args_is_help=True)

Region = Annotated[str, typer.Argument(help="a region's name", metavar="REGION")]
From = Annotated[str, typer.Argument(help="a region, `host` or `all`", metavar="FROM")]
To = Annotated[str, typer.Argument(help="a region, `host` or `all`", metavar="TO")]
OneOf = Annotated[str, typer.Option("--machine", help="only this machine of it", metavar="NAME")]
OneWay = Annotated[bool, typer.Option("--one-way", help="only what goes from FROM to TO")]


def _say(text: str) -> None:
    Console(soft_wrap=True, highlight=False, markup=False).print(text)


def _do(act: Callable[[], None]) -> None:
    """Act; an error is told on standard error and becomes the exit status."""
    try:
        if os.geteuid() != 0:
            raise LabError("the lab's regions are namespaces, which only root may enter; use sudo")
        act()
    except LabError as error:
        console = Console(stderr=True, soft_wrap=True, highlight=False, markup=False)
        console.print(f"error: {error}")
        raise typer.Exit(1) from error


@app.command()
def kill(region: Region, machine: OneOf = "") -> None:
    """End every process of a region, or one machine of it, as a power cut does; disks stay."""

    def act() -> None:
        machines = Machines()
        if machine:
            machines.kill(machines.get(region, machine))
        else:
            machines.kill_region(region)

    _do(act)
    words = f" --machine {machine}" if machine else ""
    _say(f"{machine or region} is dead; `lab revive {region}{words}` boots it with its disks")


@app.command()
def revive(region: Region, machine: OneOf = "") -> None:
    """Boot a killed region, or one machine, with the disks that it had; enabled services start."""

    def act() -> None:
        machines = Machines()
        if machine:
            machines.start(machines.get(region, machine))
        else:
            machines.revive_region(region)

    _do(act)
    _say(f"{machine or region} is up")


@app.command()
def freeze(region: Region) -> None:
    """Let all processes of a region stand still; it answers pings and nothing else."""
    _do(lambda: Machines().freeze_region(region))
    _say(f"{region} stands still; `lab thaw {region}` lets it go on")


@app.command()
def thaw(region: Region) -> None:
    """Let a frozen region go on."""
    _do(lambda: Machines().thaw_region(region))
    _say(f"{region} goes on")


@app.command()
def cut(source: From, target: To, one_way: OneWay = False) -> None:
    """Drop, silently, what goes between two places of the WAN."""
    _do(lambda: Machines().network.cut(source, target, one_way=one_way))
    _say(f"cut: {source} {'→' if one_way else '↔'} {target}")


@app.command()
def heal(source: From, target: To, one_way: OneWay = False) -> None:
    """Take a cut back; with `all`, every cut of that place."""
    _do(lambda: Machines().network.heal(source, target, one_way=one_way))
    _say(f"healed: {source} {'→' if one_way else '↔'} {target}")


@app.command("exec", context_settings={"ignore_unknown_options": True})
def execute(
    region: Region,
    command: Annotated[list[str], typer.Argument(help="what to run", metavar="COMMAND...")],
    machine: Annotated[str, typer.Option(help="which machine; default: the first")] = "",
) -> None:
    """Run a command in a region, in one of its machines; its exit status is this one's."""

    def act() -> None:
        machines = Machines()
        target = _choose(machines, region, machine)
        if target.alive and machines.is_frozen(region):
            raise LabError(f"{region} is frozen; `lab thaw {region}` lets it go on")
        terminal = os.environ.get("TERM")
        argv = target.command(command, env={"TERM": terminal} if terminal else None)
        os.execvp(argv[0], argv)  # noqa: S606

    _do(act)


def _choose(machines: Machines, region: str, name: str) -> Machine:
    if name:
        return machines.get(region, name)
    found = machines.list(region)
    if not found:
        raise LabError(f"region {region} has no machine; `lab add-unit` or `lab deploy` makes one")
    return found[0]
