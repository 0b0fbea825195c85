"""How fast the embedded controller propagates, and what it costs.

    .venv/bin/python benchmarks/propagation [--objects N] [--members N] [--restart] [--idle S]

Runs three control planes on loopback, one of them also the host, and `kubefed controller` as a
process of its own. The baseline, measured in the same run with the same client and as many at a
time, is the direct write of the same objects into the same API servers: one half before the
federated objects and one half after, since the machine's load changes.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
import tempfile
from pathlib import Path

import machine
from federation import NAMES, Controller, Federation, controller, standing
from measure import Baseline, Bench, bench, idle_share, in_sync, limit
from report import Figures, as_json, show

ALONE = 30
WARM_UP = 20
# After a restart is in sync, how long it must go on writing nothing.
QUIET_SECONDS = 10.0


def options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--objects", type=int, default=300, help="how many (default 300)")
    parser.add_argument(
        "--alone", type=int, default=ALONE, help=f"objects posted alone (default {ALONE})"
    )
    parser.add_argument(
        "--members",
        type=int,
        default=len(NAMES),
        help="members; those beyond three are further entries of the same API servers, where "
        "each finds the object made by another and has to adopt it, so that they cost more than "
        "real ones (default 3)",
    )
    parser.add_argument(
        "--restart",
        action="store_true",
        help="restart the controller with all objects in place: seconds and writes",
    )
    parser.add_argument(
        "--floor",
        action="store_true",
        help="also do every write that the objects cost, in the host too, with no controller",
    )
    parser.add_argument(
        "--idle", type=float, default=0.0, metavar="SECONDS", help="measure its CPU share at rest"
    )
    parser.add_argument(
        "--profile", type=Path, help="run it under cProfile, which slows it, and write this file"
    )
    parser.add_argument("--format", choices=("table", "json"), default="table")
    return parser.parse_args()


async def measure(
    wanted: argparse.Namespace, federation: Federation, run: Controller, figures: Figures
) -> None:
    """Measure what the first run of the controller shows."""
    objects: int = wanted.objects
    async with bench(federation) as work:
        async with asyncio.timeout(limit(0)):
            await work.create_space()
        async with asyncio.timeout(limit(WARM_UP * figures.members)):
            # Connections and caches, of the API servers too, are made once.
            await work.post_all([f"warm-{number}" for number in range(WARM_UP)])
        figures.memory = (machine.resident_mb(run.pid), 0.0)
        await _burst(work, objects, figures)
        async with asyncio.timeout(limit(8 * wanted.alone)):
            # In turns, as the load changes.
            for part in range(0, wanted.alone, 5):
                names = [f"{number}" for number in range(part, min(part + 5, wanted.alone))]
                figures.alone += await work.one_by_one([f"alone-{name}" for name in names])
                figures.alone_directly += await work.one_by_one_directly(
                    [f"direct-alone-{name}" for name in names]
                )
        figures.alone.sort()
        figures.alone_directly.sort()
        figures.memory = (figures.memory[0], machine.resident_mb(run.pid))
    if wanted.idle:
        figures.idle = await idle_share(run.pid, wanted.idle)


async def _burst(work: Bench, objects: int, figures: Figures) -> None:
    direct = [f"direct-{number}" for number in range(objects)]
    half = objects // 2
    async with asyncio.timeout(limit(objects)):
        first = await work.write_directly(direct[:half])
    async with asyncio.timeout(limit(objects * figures.members // figures.api_servers)):
        figures.burst = await work.post_all([f"federated-{number}" for number in range(objects)])
    async with asyncio.timeout(limit(objects)):
        figures.direct = first + await work.write_directly(direct[half:])


async def floor(federation: Federation, objects: int) -> Baseline:
    """Do all writes of as many objects, while no controller runs."""
    async with bench(federation) as work, asyncio.timeout(limit(objects)):
        return await work.write_all([f"floor-{number}" for number in range(objects)])


async def restart(federation: Federation, objects: int) -> tuple[float, int]:
    """Start the controller again with all in place; give seconds until in sync, and writes."""
    async with bench(federation) as work:
        before = await work.writes()
        with controller(federation) as run:
            async with asyncio.timeout(limit(objects)):
                seconds = await in_sync(run, objects)
            await asyncio.sleep(QUIET_SECONDS)
            return seconds, await work.writes() - before


def main() -> None:
    """Measure and print."""
    wanted = options()
    # What was started is ended, also when this is told to end.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    before = machine.load()
    with (
        tempfile.TemporaryDirectory(prefix="propagation-") as folder,
        standing(Path(folder), wanted.members) as federation,
    ):
        figures = Figures(
            members=wanted.members,
            api_servers=len(federation.planes),
            profiled=wanted.profile is not None,
        )
        with controller(federation, wanted.profile) as run:
            run.wait_ready(wanted.members)
            asyncio.run(measure(wanted, federation, run, figures))
        if wanted.restart:
            objects = WARM_UP + wanted.objects + wanted.alone
            figures.restart = asyncio.run(restart(federation, objects))
        if wanted.floor:
            figures.floor = asyncio.run(floor(federation, wanted.objects))
    figures.load = (before, machine.load())
    if wanted.format == "json":
        sys.stdout.write(as_json(figures) + "\n")
    else:
        show(figures)


if __name__ == "__main__":
    main()
