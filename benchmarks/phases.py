"""Where the time of `lab up` goes: its phases, and the charms' hooks.

    .venv/bin/lab up && .venv/bin/python benchmarks/phases.py

Reads what the standing lab wrote while it was made. The baseline, measured in the same run, is a
bare control plane (etcd and API server) started on loopback until it is ready.
"""

from __future__ import annotations

import collections
import json
import os
import platform
import tempfile
import time
from pathlib import Path
from typing import Any

from federation_lab import tools
from federation_lab.cluster.loopback import running
from federation_lab.paths import paths
from rich.console import Console
from rich.table import Table

PACKAGE_INSTALLATION = "install"


def baseline_seconds() -> float:
    """Start a bare control plane and give how long it took to be ready."""
    started = time.monotonic()
    with (
        tempfile.TemporaryDirectory() as folder,
        running("baseline", Path(folder), tools.binaries()),
    ):
        return time.monotonic() - started


def phases_table(phases: dict[str, float], baseline: float) -> Table:
    """Draw the phases, each beside the baseline."""
    table = Table(title=f"lab up, {platform.machine()}, {os.cpu_count()} cores")
    for column in ("phase", "seconds", f"ratio to a bare control plane ({baseline:.1f} s)"):
        table.add_column(column)
    rows = [*phases.items(), ("all", sum(phases.values()))]
    for name, seconds in rows:
        table.add_row(name, f"{seconds:.1f}", f"{seconds / baseline:.1f}")
    return table


def hooks_table(hooks: list[dict[str, Any]]) -> Table:
    """Draw the hooks of each charm: how many, the median and the longest."""
    by_charm: dict[tuple[str, bool], list[float]] = collections.defaultdict(list)
    for hook in hooks:
        charm = hook["unit"].partition("/")[0]
        by_charm[charm, hook["hook"] == PACKAGE_INSTALLATION].append(hook["seconds"])
    table = Table(title="hooks")
    for column in ("charm", "which", "runs", "median s", "longest s"):
        table.add_column(column)
    for (charm, install), seconds in sorted(by_charm.items()):
        ordered = sorted(seconds)
        which = "install" if install else "all others"
        median = ordered[len(ordered) // 2]
        table.add_row(charm, which, str(len(ordered)), f"{median:.2f}", f"{ordered[-1]:.2f}")
    return table


def main() -> None:
    """Print both tables."""
    home = paths().home
    phases = json.loads((home / "phases.json").read_text())
    lines = (home / "juju" / "hooks.jsonl").read_text().splitlines()
    console = Console(width=120)
    console.print(phases_table(phases, baseline_seconds()))
    console.print(hooks_table([json.loads(line) for line in lines]))


if __name__ == "__main__":
    main()
