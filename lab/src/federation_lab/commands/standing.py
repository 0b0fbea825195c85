"""`lab up|down|tour`: the federation from nothing, and back to nothing."""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
import yaml
from rich.console import Console

from federation_lab import podprograms, tools, topology
from federation_lab.commands import calls, look, regions
from federation_lab.errors import LabError
from federation_lab.observe import access, overview, probe
from federation_lab.paths import paths

if TYPE_CHECKING:
    from collections.abc import Callable

app = typer.Typer()

ACTIVE_SECONDS = 420.0
ANSWER_SECONDS = 120.0
PERIOD = 0.5
SAYING = Console(stderr=True, highlight=False, soft_wrap=True)
OVERLAY_HELP = "A further overlay for every region, such as overlays/ha.yaml."
IMAGE_HELP = (
    "IMAGE=COMMAND: run pods of this image as this program of the host, with the arguments, "
    "variables and files that the pod gives it (the account's token among them). IMAGE without "
    "a tag stands for every tag. Kept until `lab down`, or until IMAGE= takes it back."
)


class Steps:
    """Says each step with the time since the start, and keeps how long each took."""

    def __init__(self) -> None:
        self.started = time.monotonic()
        self.took: dict[str, float] = {}
        self._current: tuple[str, float] | None = None

    def begin(self, text: str) -> None:
        """End the step before and begin this one."""
        self.end()
        self._current = (text, time.monotonic())
        SAYING.print(f"[dim]{time.monotonic() - self.started:6.1f} s[/]  {text}")

    def end(self) -> None:
        """End the current step."""
        if self._current is not None:
            text, began = self._current
            self.took[text] = round(time.monotonic() - began, 2)
            self._current = None

    def detail(self, text: str) -> None:
        """Say something of the current step."""
        SAYING.print(f"          [dim]{text}[/]")


@app.command()
def up(
    names: Annotated[
        str, typer.Option("--regions", help="The regions; the first is the host's.")
    ] = ",".join(topology.DEFAULT_REGIONS),
    example: Annotated[
        bool, typer.Option("--example/--no-example", help="Apply the example application.")
    ] = True,
    images: Annotated[list[str] | None, typer.Option("--image", help=IMAGE_HELP)] = None,
    overlay: Annotated[list[Path] | None, typer.Option("--overlay", help=OVERLAY_HELP)] = None,
) -> None:
    """Stand the whole federation up; what stands already is kept."""
    regions_wanted = topology.parse_regions(names)
    further = tuple(path.resolve() for path in overlay or ())
    if missing := [path for path in further if not path.is_file()]:
        raise LabError(f"--overlay: {missing[0]} isn't a file")
    wishes = [podprograms.parse(text) for text in images or ()]
    podprograms.keep(paths(), wishes)
    bring_up(regions_wanted, example=example, further=further)


@app.command()
def down() -> None:
    """Take the lab away: no process, namespace, mount or bridge stays."""
    regions.take_down()
    SAYING.print("the lab is gone; its built programs stay in the cache")


@app.command()
def tour() -> None:
    """Do the main job: federation, application, one region lost and still answering."""
    federation = bring_up(topology.DEFAULT_REGIONS, example=True)
    look.wide_console().print(overview.render(look.take(federation)))
    lost = federation.regions[-1].name
    result = look.run_region_loss(lost)
    look.wide_console().print(look.timeline_table(result))
    typer.echo(NEXT.format(zone=federation.zone, nameserver=federation.host.nameserver))
    if not result["ok"]:
        raise LabError(f"after the loss of {lost} the federation is not as it was; see above")


NEXT = """
The lab stands. Try:

  .venv/bin/lab shell                          a shell with juju, kubectl, kubefed for every region
  dig @{nameserver} web.demo.svc.{zone}
  .venv/bin/lab overview --watch
  .venv/bin/lab drill region-loss palermo      lose another region
  .venv/bin/lab status -m catania              what Juju says
  .venv/bin/lab down                           take it all away
"""


def bring_up(
    names: tuple[str, ...], *, example: bool, further: tuple[Path, ...] = ()
) -> access.Federation:
    """Make the regions, deploy the bundle into each, join them, apply the example.

    Raises:
        LabError: something is missing or a step didn't end in its time; the text says which.
    """
    steps = Steps()
    steps.begin("checking what the lab needs")
    tools.binaries()
    home = paths().home
    files = topology.Files(
        root=checkout(),
        generated=home / "overlays",
        further=further,
        images=podprograms.overlay(paths()),
    )
    host = names[0]
    write_missing_overlays(names, files)
    present = set(calls.models())
    for name in names:
        steps.begin(f"deploying region {name}")
        for command in topology.deploy_commands(name, host=name == host, files=files):
            if command[0] == "add-model" and name in present:
                continue
            steps.detail("juju " + shortened(command, files.root))
            calls.juju(*command)
    for name in names[1:]:
        steps.begin(f"relating {name} to the host {host}")
        for command in topology.join_commands(name, host):
            if not related(command, host):
                steps.detail("juju " + shortened(command, files.root))
                calls.juju(*command)
    steps.begin("waiting until every unit is active")
    wait_active(names, steps)
    steps.begin("collecting how each region is reached")
    federation = learn(names)
    access.save(federation, home)
    if example:
        steps.begin("applying examples/federated/application.yaml to the host")
        apply_example(files.examples, home)
        steps.begin("waiting until the application answers at its DNS name")
        wait_answer(federation)
    steps.end()
    (home / "phases.json").write_text(json.dumps(steps.took, indent=1))
    SAYING.print(f"[bold]the federation stands[/] after {time.monotonic() - steps.started:.1f} s")
    return federation


def checkout() -> Path:
    """Give the checkout that this command was installed from.

    Raises:
        LabError: it was installed without one.
    """
    root = Path(__file__).resolve().parents[4]
    if not (root / "bundles" / "federation.yaml").exists():
        raise LabError(
            "the lab deploys from a checkout and finds none; use .venv/bin/lab of `make lab`"
        )
    return root


def write_missing_overlays(names: tuple[str, ...], files: topology.Files) -> None:
    """Write an overlay for each region that has none in the checkout."""
    files.generated.mkdir(parents=True, exist_ok=True)
    template = files.root / "overlays" / "regions" / f"{topology.DEFAULT_REGIONS[1]}.yaml"
    for name in names:
        path = files.region_overlay(name)
        if path.is_relative_to(files.generated):
            path.write_text(template.read_text().replace(topology.DEFAULT_REGIONS[1], name))


def related(command: list[str], host: str) -> bool:
    """Say whether the host's model has the offer, or the relation, that a command would make."""
    status = calls.juju_json("status", "-m", host)
    if command[0] == "consume":
        return command[1].partition(".")[2] in (status.get("application-endpoints") or {})
    host_application = status["applications"].get("kubefed-host", {})
    relations = host_application.get("relations", {}).get("members", [])
    wanted = command[2].partition(":")[0]
    return any(each.get("related-application") == wanted for each in relations)


def wait_active(names: tuple[str, ...], steps: Steps) -> None:
    """Wait until every unit of every model is active and idle, saying what is waited for.

    Raises:
        LabError: not within `ACTIVE_SECONDS`; the text names the units and what they say.
    """
    said = 0

    def active() -> list[str]:
        nonlocal said
        left = topology.waiting(calls.statuses(names))
        if len(left) != said:
            steps.detail(f"{len(left)} units to go" + (f"; {left[0]}" if left else ""))
            said = len(left)
        return left

    wait(active, ACTIVE_SECONDS)


def wait(left: Callable[[], list[str]], seconds: float) -> None:
    """Wait until nothing is left.

    Raises:
        LabError: not within ``seconds``; the text has what is left.
    """
    deadline = time.monotonic() + seconds
    while remaining := left():
        if time.monotonic() > deadline:
            text = "\n  ".join(remaining)
            raise LabError(f"not ready after {seconds:g} s:\n  {text}\n`lab overview` shows more")
        time.sleep(PERIOD)


def learn(names: tuple[str, ...]) -> access.Federation:
    """Ask each model how its region is reached."""
    found: list[access.Region] = []
    for name in names:
        result = calls.juju_json(
            "run", "kubernetes-control-plane/leader", "get-kubeconfig", "-m", name
        )
        action = next(iter(result.values()))
        unit = next(iter(units(name, "federation-dns").values()))
        certificate = calls.juju(
            "exec", "-m", name, "--unit", "federation-dns/leader", "--",
            "cat /etc/federation-dns/agent.crt",
        )  # fmt: skip
        found.append(
            access.region_from_kubeconfig(
                name,
                yaml.safe_load(action["results"]["kubeconfig"]),
                host=name == names[0],
                nameserver=unit["public-address"],
                agent_certificate=certificate,
            )
        )
    zone = calls.juju("config", "federation-dns", "zone", "-m", names[0]).strip()
    return access.Federation(zone=zone, regions=tuple(found))


def units(model: str, application: str) -> dict[str, Any]:
    """Give the units of an application, as in `juju status`."""
    status = calls.juju_json("status", "-m", model)
    return status["applications"][application]["units"]


def apply_example(manifest: Path, home: Path) -> None:
    """Apply the example's manifest to the host, as its user would."""
    command = [
        str(tools.binaries() / "kubectl"),
        f"--kubeconfig={home / 'kubeconfig'}",
        "apply",
        "--filename",
        str(manifest),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    if done.returncode != 0:
        raise LabError(f"kubectl apply of the example failed: {done.stderr.strip()}")


def wait_answer(federation: access.Federation) -> None:
    """Wait until every region's server gives an address of every region, and the name answers."""
    import asyncio

    import httpx

    name = f"web.demo.svc.{federation.zone}"

    def left() -> list[str]:
        missing: list[str] = []
        for region in federation.regions:
            found = asyncio.run(probe.addresses(region, name))
            if found is None or len(found) < len(federation.regions):
                missing.append(f"{region.name}'s server answers {found} for {name}")
                continue
            for address in found:
                try:
                    httpx.get(f"http://{address}/", timeout=2).raise_for_status()
                except httpx.HTTPError as error:
                    missing.append(f"{address} does not answer: {error}")
        return missing

    wait(left, ANSWER_SECONDS)


def shortened(command: list[str], root: Path) -> str:
    """Write a command with paths of the checkout made relative, as a reader would type it."""
    return " ".join(command).replace(f"{root}/", "./")
