"""What was measured, as a table or as JSON."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import machine
from measure import AT_A_TIME, Baseline, Burst, quantile
from rich.console import Console
from rich.table import Table


@dataclasses.dataclass
class Figures:
    """What a run has measured; None where it wasn't asked to.

    Attributes:
        members: how many entries are registered.
        api_servers: how many API servers these are.
        load: the load average before and after.
        direct: the direct writes of as many objects.
        burst: the federated objects.
        alone: seconds of objects posted alone.
        alone_directly: seconds of objects written alone into every member.
        memory: the controller's before and after, in MiB.
        restart: seconds until in sync, and writes until then and a while after.
        floor: every write that as many objects cost, done without a controller.
        idle: the controller's share of one core.
        profiled: whether the controller ran under a profiler.
    """

    members: int
    api_servers: int
    load: tuple[float, float] = (0.0, 0.0)
    direct: Baseline | None = None
    burst: Burst | None = None
    alone: list[float] = dataclasses.field(default_factory=list[float])
    alone_directly: list[float] = dataclasses.field(default_factory=list[float])
    memory: tuple[float, float] = (0.0, 0.0)
    restart: tuple[float, int] | None = None
    floor: Baseline | None = None
    idle: float | None = None
    profiled: bool = False

    @property
    def title(self) -> str:
        """Say what was done and where."""
        burst = self.burst
        objects = burst.objects if burst else 0
        before, after = self.load
        text = f"{objects} FederatedConfigMaps to {self.members} members"
        if self.members > self.api_servers:
            text += f" (entries of {self.api_servers} API servers)"
        text += f", posted {AT_A_TIME} at a time; {machine.description()}"
        text += f", load {before:.1f} before, {after:.1f} after"
        return text + ("; the controller under a profiler" if self.profiled else "")

    def summary(self) -> dict[str, Any]:
        """Give the figures by name, in seconds, MiB and ratios."""
        found: dict[str, Any] = {
            "members": self.members,
            "api_servers": self.api_servers,
            "load_before": self.load[0],
            "load_after": self.load[1],
            "profiled": self.profiled,
            "memory_before_mib": self.memory[0],
            "memory_after_mib": self.memory[1],
        }
        if self.burst is not None and self.direct is not None:
            burst = self.burst
            found |= {
                "objects": burst.objects,
                "direct_per_second": burst.objects / self.direct.seconds,
                "posted_seconds": burst.posted,
                "everywhere_seconds": burst.everywhere,
                "booked_seconds": burst.booked,
                "objects_per_second": burst.objects / burst.everywhere,
                "ratio_to_direct": self.direct.seconds / burst.everywhere,
                "latency_p50_seconds": quantile(burst.latencies, 0.5),
                "latency_p99_seconds": quantile(burst.latencies, 0.99),
                "cpu_seconds": burst.cpu,
                "direct_cpu_seconds": self.direct.cpu,
            }
        for name, values in (("alone", self.alone), ("alone_direct", self.alone_directly)):
            if values:
                found[f"{name}_times"] = len(values)
                found[f"{name}_median_seconds"] = quantile(values, 0.5)
                found[f"{name}_p99_seconds"] = quantile(values, 0.99)
        if self.restart is not None:
            found["restart_seconds"], found["restart_writes"] = self.restart
        if self.floor is not None and self.burst is not None:
            found["floor_per_second"] = self.burst.objects / self.floor.seconds
            found["floor_cpu_seconds"] = self.floor.cpu
        if self.idle is not None:
            found["idle_share_of_a_core"] = self.idle
        return found


def as_json(figures: Figures) -> str:
    """Give the figures as JSON."""
    return json.dumps(figures.summary(), indent=2)


def show(figures: Figures) -> None:
    """Print the figures as tables."""
    console = Console(width=110)
    table = Table(title=figures.title)
    for column in ("", "federated", "written directly", "ratio"):
        table.add_column(column, justify="right" if column else "left")
    for row in _rows(figures):
        table.add_row(*row)
    console.print(table)
    if figures.burst is not None and figures.direct is not None:
        console.print(_where(figures.burst, figures.direct, figures.floor))


def _rows(figures: Figures) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    found = figures.summary()
    if figures.burst is not None:
        rows += [
            (
                "objects/s",
                f"{found['objects_per_second']:.1f}",
                f"{found['direct_per_second']:.1f}",
                f"{found['ratio_to_direct']:.2f}",
            ),
            *_floor_row(found),
            ("last post answered, s", f"{found['posted_seconds']:.2f}"),
            ("last object everywhere, s", f"{found['everywhere_seconds']:.2f}"),
            ("last status written, s", f"{found['booked_seconds']:.2f}"),
            ("POST answered to last member, p50, s", f"{found['latency_p50_seconds']:.3f}"),
            ("  p99, s", f"{found['latency_p99_seconds']:.3f}"),
        ]
    if figures.alone:
        for label, key in (("median", "median"), ("  p99", "p99")):
            mine = 1000 * found[f"alone_{key}_seconds"]
            base = 1000 * found[f"alone_direct_{key}_seconds"]
            what = f"alone ({len(figures.alone)} times), {label}, ms" if key == "median" else label
            row = (what, f"{mine:.1f}", f"{base:.1f}", f"{mine / base:.2f}")
            rows.append(row)
    before, after = figures.memory
    rows.append(("memory before, after, MiB", f"{before:.0f}, {after:.0f}"))
    if figures.restart is not None:
        seconds, writes = figures.restart
        rows.append(("restart: in sync, s", f"{seconds:.1f}"))
        rows.append(("restart: writes", str(writes)))
    if figures.idle is not None:
        rows.append(("idle: share of a core", f"{100 * figures.idle:.2f} %"))
    return rows


def _floor_row(found: dict[str, Any]) -> list[tuple[str, ...]]:
    if "floor_per_second" not in found:
        return []
    rate, direct = found["floor_per_second"], found["direct_per_second"]
    name = "  the same writes without a controller"
    return [(name, f"{rate:.1f}", f"{direct:.1f}", f"{rate / direct:.2f}")]


def _where(burst: Burst, direct: Baseline, floor: Baseline | None) -> Table:
    table = Table(title="CPU time of an object, until its status is written, ms")
    ways = {"federated": burst.cpu, "written directly": direct.cpu}
    if floor is not None:
        ways["all its writes, no controller"] = floor.cpu
    for column in ("program", *ways):
        table.add_column(column, justify="left" if column == "program" else "right")
    names = sorted(burst.cpu, key=lambda name: -burst.cpu[name])
    rows = {name: [used.get(name, 0.0) for used in ways.values()] for name in names}
    rows["all"] = [sum(used.values()) for used in ways.values()]
    for name, values in rows.items():
        table.add_row(name, *(f"{1000 * value / burst.objects:.1f}" for value in values))
    return table
