"""What a thousand services cost federation-dns: time, memory, bytes, CPU.

    sudo .venv/bin/python benchmarks/answers.py [SERVICES]

Three agents and servers (BIND) on loopback, in a network namespace of their own where one listener
answers for every service's address, so that the probes are as many as in three regions. Measured:
the pure functions for 2 to 30 regions; a region's loss rewritten in a real server; agents at rest;
the loss of a region as clients see it.
"""

from __future__ import annotations

import importlib.util
import itertools
import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from federation_dns import passes
from federation_dns import plan as plans
from federation_dns import zone as zones
from federation_dns.plan import Rules, View
from federation_dns.providers.rfc2136 import Rfc2136
from federation_dns.verdict import Ballot, Holds, Role, judge
from federation_dns.zone import RegionState, RegionView, Service, Zone
from rich.console import Console
from rich.table import Table

TESTS = Path(__file__).parents[1] / "packages/federation-dns/tests/functional/conftest.py"
NAMES = ("catania", "napoli", "palermo")
PORT = 8080
ROUNDS = 5
REST_S = 30.0
HEADERS = 52  # IPv4, TCP and its timestamps


def load() -> Any:
    """The functional tests' regions: an agent, a server and an API server each."""
    spec = importlib.util.spec_from_file_location("functional", TESTS)
    if spec is None or spec.loader is None:
        raise SystemExit(f"{TESTS} cannot be loaded")
    module = importlib.util.module_from_spec(spec)
    sys.modules["functional"] = module
    spec.loader.exec_module(module)
    return module


def view(number: int, services: int, *, out: bool) -> RegionView:
    """A region with so many services."""
    found = tuple(
        Service("shop", f"s{i}", (f"10.{number}.{i // 250}.{i % 250 + 1}",), 2, probe=PORT)
        for i in range(services)
    )
    name = f"r{number:02}"
    return RegionView(name, RegionState(name, 1, 1, found), out, (f"10.{number}.0.0/16",))


def served(wanted: Zone, rules: Rules) -> View:
    """A server that has all that is wanted."""
    records = {
        (r.name, str(r.type)): plans.Found(r.ttl, r.values) for r in wanted.records.values()
    }
    for name, _ in wanted.records:
        mark = plans.Found(15, (plans.owner_text(rules.federation),))
        records[plans.owner_name(name), "TXT"] = mark
    return View.of(1, records)


def pure(services: int) -> Table:
    """The functions alone, for 2 to 30 regions of which one is lost."""
    table = Table("regions", "verdict ms", "zone ms", "plan ms", "changes", title="Computing")
    rules = Rules(zone="federation.example", federation="f")
    for size in (2, 3, 10, 30):
        regions = [view(n, services, out=False) for n in range(1, size + 1)]
        lost = [*regions[:-1], replace(regions[-1], out=True)]
        full = zones.build(rules.zone, 15, regions, {})
        there = served(full, rules)
        members: dict[str, Role] = {r.name: "region" for r in regions}
        ages = {r.name: 0.1 for r in regions}
        ballots = {r.name: Ballot(ages, 1.0) for r in regions}
        times: list[list[float]] = [[], [], []]
        changes = 0
        for _ in range(ROUNDS):
            marks = [time.process_time()]
            judge(1.0, members, ballots, {}, {}, Holds())
            marks.append(time.process_time())
            wanted = zones.build(rules.zone, 15, lost, full.records)
            marks.append(time.process_time())
            changes = len(plans.plan(wanted, there, rules).changes)
            marks.append(time.process_time())
            for found, (start, end) in zip(times, itertools.pairwise(marks), strict=True):
                found.append((end - start) * 1000)
        shown = [f"{statistics.median(found):.1f}" for found in times]
        table.add_row(str(size), *shown, str(changes))
    return table


def rewrite(module: Any, folder: Path, services: int) -> Table:
    """One region's loss in a real server: plan, UPDATE, and the reading after it."""
    region = module.Region("alone", folder / "alone", 9)
    table = Table(
        "pass", "names", "s", "of it own CPU s", title="One pass at a server on loopback"
    )
    try:
        region.start_named(module.FOREIGN)
        rules = Rules(zone=module.ZONE, federation="f")
        provider = Rfc2136(
            server="127.0.0.1",
            port=region.dns_port,
            key_name="agent-alone",
            key_file=region.folder / "named" / "key.conf",
            rules=rules,
            writer="alone",
            timeout=10.0,
        )
        regions = [view(n, services, out=False) for n in (1, 2, 3)]
        seen = provider.read()
        last = zones.build(module.ZONE, 15, regions, {})
        for what, out in (("all made", False), ("one region lost", True), ("it is back", False)):
            started, cpu = time.monotonic(), time.process_time()
            wanted = zones.build(
                module.ZONE, 15, [*regions[:2], replace(regions[2], out=out)], last.records
            )
            names, left = 0, 1
            while left:
                done = passes.write(provider, wanted, {}, rules, seen)
                if done.view is None:
                    raise SystemExit(f"the server did not do it: {done.error}")
                seen, names, left = done.view, names + done.changes, done.left
            seen = provider.read()
            took, cpu = time.monotonic() - started, time.process_time() - cpu
            last = wanted
            table.add_row(what, str(names), f"{took:.2f}", f"{cpu:.2f}")
    finally:
        region.stop()
    return table


@contextmanager
def federation(module: Any, folder: Path, services: int) -> Generator[Any]:
    """Three agents with so many services each."""

    class Region(module.Region):
        def entry(self) -> dict[str, Any]:
            return {**super().entry(), "address_ranges": [f"10.{self.number}.0.0/16"]}

    made = module.Federation({n: Region(n, folder / n, i) for i, n in enumerate(NAMES, 1)})
    started: list[Any] = []
    try:
        made.peers()
        for region in made:
            started.append(region)
            region.api.start()
            region.start_named(module.FOREIGN)
            region.write_config(speed=1)
            items: list[dict[str, Any]] = []
            for i in range(services):
                address = f"10.{region.number}.{i // 250}.{i % 250 + 1}"
                item = module.service(f"s{i}", address)
                item["spec"]["ports"] = [{"port": PORT, "protocol": "TCP"}]
                items.append(item)
            region.api.put("services", *items)
            slices = (module.endpoints(f"s{i}", 2) for i in range(services))
            region.api.put("endpointslices", *slices)
        for region in made:
            region.start_agent()
        yield made
    finally:
        for region in started:
            region.stop()
            region.api.stop()


def sent(pid: int, ports: set[int]) -> dict[str, int]:
    """Bytes that a process has sent over the mesh, headers too, by connection."""
    lines = subprocess.run(
        ["ss", "-tinpHO", "state", "established"], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    found: dict[str, int] = {}
    for line in lines:
        if f"pid={pid}," not in line:
            continue
        ends = line.split()[2:4]
        if not any(int(end.rsplit(":", 1)[1]) in ports for end in ends):
            continue
        count = {key: int(n) for key, n in re.findall(r"\b(bytes_sent|segs_out):(\d+)", line)}
        found[" ".join(ends)] = count.get("bytes_sent", 0) + HEADERS * count.get("segs_out", 0)
    return found


def status(pid: int) -> tuple[float, float]:
    """Resident memory in MB, and seconds of CPU."""
    text = Path(f"/proc/{pid}/status").read_text()
    memory = int(re.findall(r"VmRSS:\s+(\d+)", text)[0]) / 1024
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return memory, (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def at_rest(made: Any) -> Table:
    """Memory, CPU and bytes of agents that have nothing to do but to watch."""
    ports = {region.mesh_port for region in made}
    pids = {region.name: region.agent.pid for region in made}
    before = {n: (sent(pid, ports), status(pid)) for n, pid in pids.items()}
    time.sleep(REST_S)
    table = Table("agent", "RSS MB", "CPU %", "kB/s to a peer", "probes/s", title="At rest")
    for region in made:
        old, (_, cpu) = before[region.name]
        new, (memory, later) = sent(pids[region.name], ports), status(pids[region.name])
        grown = sum(new[key] - old[key] for key in new.keys() & old.keys())
        table.add_row(
            region.name,
            f"{memory:.0f}",
            f"{(later - cpu) / REST_S * 100:.0f}",
            f"{grown / REST_S / (len(NAMES) - 1) / 1000:.2f}",
            f"{probes(region):.0f}",
        )
    return table


def probes(region: Any) -> float:
    """Probes a second, over two seconds."""

    def count() -> float:
        import urllib.request

        url = f"http://127.0.0.1:{region.metrics_port}/metrics"
        with urllib.request.urlopen(url, timeout=5) as answer:
            text = answer.read().decode()
        return float(re.findall(r"^federation_dns_probes_total (\S+)", text, re.MULTILINE)[0])

    first = count()
    time.sleep(2)
    return (count() - first) / 2


def loss(module: Any, made: Any, services: int) -> Table:
    """A region is killed: from there, and from the verdict, until its last address has gone."""
    names = [f"s{i}.shop.svc.{module.ZONE}" for i in range(0, services, max(1, services // 20))]
    victim, watcher = made["napoli"], made["catania"]
    started = time.monotonic()
    victim.kill_agent()
    module.eventually(lambda: watcher.verdict()["regions"]["napoli"]["withdrawn"], 30, "verdict")
    judged = time.monotonic()

    def gone() -> bool:
        found = [a for name in names for a in watcher.ask(name)]
        return len(found) == 2 * len(names) and not any(a.startswith("10.2.") for a in found)

    module.eventually(gone, 30, "all of its addresses are out")
    ended = time.monotonic()
    table = Table("from the kill s", "of it after the verdict s", title="A region lost")
    table.add_row(f"{ended - started:.2f}", f"{ended - judged:.2f}")
    return table


def listen() -> None:
    """Answer for every address of the namespace."""
    import socket

    with socket.create_server(("0.0.0.0", PORT), backlog=1024) as server:  # noqa: S104 - own namespace
        while True:
            made, _ = server.accept()
            made.close()


def main() -> None:
    """Run it all and print tables."""
    services = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    if os.environ.get("BENCHMARK_INSIDE") != "1":
        inside = {**os.environ, "BENCHMARK_INSIDE": "1"}
        os.execvpe("unshare", ["unshare", "--net", sys.executable, *sys.argv], inside)  # noqa: S606
    for command in ("ip link set lo up", "ip route add local 10.0.0.0/8 dev lo"):
        subprocess.run(command.split(), check=True)
    threading.Thread(target=listen, daemon=True).start()
    console = Console()
    load_now = os.getloadavg()[0]
    console.print(
        f"{services} services, {platform.processor() or platform.machine()}, "
        f"{os.cpu_count()} cores, load {load_now:.0f}, Python {platform.python_version()}"
    )
    console.print(pure(services))
    module = load()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        console.print(rewrite(module, folder, services))
        with federation(module, folder, services) as made:
            last = f"s{services - 1}.shop.svc.{module.ZONE}"
            module.eventually(
                lambda: all(len(region.ask(last)) == len(NAMES) for region in made),
                120,
                "all answer with all",
            )
            time.sleep(20)
            console.print(at_rest(made))
            console.print(loss(module, made, services))


if __name__ == "__main__":
    main()
