"""How long a join takes: by the host charm's action, and by `kubefed join` alone.

    .venv/bin/lab up && .venv/bin/python benchmarks/join.py [ROUNDS]

Each round takes one region out of the standing lab and joins it again, by each way, and measures
until the command ends and until the controller calls the cluster ready. Both find the member's
accounts as kubefed-member made them. The bare command does less: no Juju, no action, no hook.
"""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path

from federation_lab import tools
from federation_lab.paths import paths
from rich.console import Console
from rich.table import Table

REGION = "napoli"
HOST = "catania"
ROUNDS = 5
BIN = Path(sys.executable).parent


def run(*argv: str) -> None:
    """Run a command to its end.

    Raises:
        SystemExit: it failed; the text has its reason.
    """
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=120)
    if done.returncode != 0:
        raise SystemExit(f"`{' '.join(argv)}` failed: {done.stderr.strip()}")


def kubeconfig() -> str:
    """Give the option that names the lab's kubeconfig."""
    return f"--kubeconfig={paths().home / 'kubeconfig'}"


def action(name: str) -> None:
    """Run one of the host charm's actions on the region."""
    run(str(BIN / "lab"), "run", "kubefed-host/leader", name, f"cluster={REGION}", "-m", HOST)


def by_action() -> None:
    """Join as the operator of the charms does."""
    action("join-cluster")


def by_command() -> None:
    """Join as a user of kubefedctl would."""
    contexts = (f"--cluster-context={REGION}", f"--host-cluster-context={HOST}")
    lifetime = "--token-lifetime=1h"
    run(str(BIN / "kubefed"), "join", REGION, kubeconfig(), *contexts, lifetime)


def wait_ready() -> None:
    """Wait until the controller calls the cluster ready."""
    kubectl = str(tools.binaries() / "kubectl")
    what = ("--namespace=kube-federation-system", f"kubefedcluster/{REGION}")
    run(kubectl, kubeconfig(), "wait", "--for=condition=Ready", "--timeout=60s", *what)


def main() -> None:
    """Measure and print the table."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS
    ways = {"kubefed join": by_command, "join-cluster": by_action}
    joined: dict[str, list[float]] = {name: [] for name in ways}
    ready: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, join in ways.items():
            action("unjoin-cluster")
            began = time.monotonic()
            join()
            joined[name].append(time.monotonic() - began)
            wait_ready()
            ready[name].append(time.monotonic() - began)
    load = os.getloadavg()[0]
    machine = f"{os.cpu_count()} cores, {platform.machine()}, load {load:.1f}"
    table = Table(title=f"Joining {REGION}, median (worst) of {rounds}; {machine}")
    for column in ("way", "ended, s", "ready, s", "ready, ratio"):
        table.add_column(column, justify="left" if column == "way" else "right")
    bare = statistics.median(ready["kubefed join"])
    for name in ways:
        ratio = statistics.median(ready[name]) / bare
        table.add_row(name, summary(joined[name]), summary(ready[name]), f"{ratio:.2f}")
    Console(width=99).print(table)


def summary(seconds: list[float]) -> str:
    """Give the median and the worst."""
    return f"{statistics.median(seconds):.2f} ({max(seconds):.2f})"


if __name__ == "__main__":
    main()
