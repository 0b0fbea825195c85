"""What Prometheus reads, made at the moment it asks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from federation_dns import keys
from federation_dns.config import Peers
from federation_dns.core import Core
from federation_dns.door import REASONS
from federation_dns.mesh import Mesh
from federation_dns.prober import Prober
from federation_dns.publisher import Publisher

_P = "federation_dns_"


class AgentCollector(Collector):
    """Reads the agent's parts; holds nothing itself."""

    def __init__(
        self,
        core: Core,
        mesh: Mesh,
        publishers: Sequence[Publisher],
        prober: Prober,
        peers: Callable[[], Peers],
        clock: Callable[[], float],
        wall: Callable[[], float],
        refused: Callable[[], Mapping[str, int]],
    ):
        self._core = core
        self._mesh = mesh
        self._publishers = publishers
        self._prober = prober
        self._peers = peers
        self._clock = clock
        self._wall = wall
        self._refused = refused
        self._began = clock()

    def collect(self) -> Iterable[Metric]:
        """All metrics."""
        yield from self._verdict()
        yield from self._links()
        yield from self._services()
        yield from self._zone()
        yield from self._certificates()

    def _verdict(self) -> Iterable[Metric]:
        judged = self._core.judgement
        yield _gauge("quorum", "Whether this agent hears a majority.", judged.quorum)
        yield _gauge("panic", "Whether the last answers stand unchanged.", judged.panic)
        yield _gauge("electorate", "Members that count.", len(judged.electorate))
        count = CounterMetricFamily(f"{_P}verdict_changes", "Changes of the verdict.")
        count.add_metric([], self._core.verdict_sequence)
        yield count
        verdict = GaugeMetricFamily(
            f"{_P}region_verdict", "1 for the verdict in force.", labels=["region", "verdict"]
        )
        for region, finding in judged.findings.items():
            for value in ("healthy", "lost", "unknown"):
                verdict.add_metric([region, value], float(finding.verdict == value))
        yield verdict
        for name, text in (
            ("withdrawn", "Whether the region's addresses are out of DNS."),
            ("evicted", "Whether the region's replicas are given up."),
        ):
            flag = GaugeMetricFamily(f"{_P}region_{name}", text, labels=["region"])
            for region, finding in judged.findings.items():
                flag.add_metric([region], float(getattr(finding, name)))
            yield flag
        heard = GaugeMetricFamily(
            f"{_P}region_heard_seconds", "Since anyone heard the region.", labels=["region"]
        )
        for region, finding in judged.findings.items():
            if finding.youngest is not None:
                heard.add_metric([region], finding.youngest)
        yield heard

    def _links(self) -> Iterable[Metric]:
        latency = GaugeMetricFamily(
            f"{_P}peer_latency_seconds", "Round trip of the last vote.", labels=["peer"]
        )
        trouble = GaugeMetricFamily(
            f"{_P}peer_trouble", "Whether the last vote failed.", labels=["peer"]
        )
        for name, link in self._mesh.links.items():
            if link.latency is not None:
                latency.add_metric([name], link.latency)
            trouble.add_metric([name], float(bool(link.trouble)))
        yield latency
        yield trouble
        faults = self._mesh.wrong()
        fault = GaugeMetricFamily(
            f"{_P}peer_fault", "Whether the peer says what it should not.", labels=["peer"]
        )
        for name in self._mesh.links:
            fault.add_metric([name], float(name in faults))
        yield fault
        refused = CounterMetricFamily(
            f"{_P}mesh_refused", "Connections shown out, by what was too much.", labels=["reason"]
        )
        for reason in REASONS:
            refused.add_metric([reason], self._refused().get(reason, 0))
        yield refused
        for name, text, value in (
            ("vote_bytes_sent", "Bytes of votes sent, without headers.", self._mesh.sent),
            ("votes_received", "Votes that came.", self._mesh.received),
        ):
            count = CounterMetricFamily(f"{_P}{name}", text)
            count.add_metric([], value)
            yield count

    def _services(self) -> Iterable[Metric]:
        health = self._core.health
        yield _gauge("probe_targets", "Services' addresses that are probed.", len(health.probes))
        for name, text, value in (
            ("probes", "Connections that were tried to services' addresses.", self._prober.asked),
            ("probes_missed", "Those that were not made.", self._prober.missed),
        ):
            count = CounterMetricFamily(f"{_P}{name}", text)
            count.add_metric([], value)
            yield count
        out = GaugeMetricFamily(
            f"{_P}addresses_withdrawn",
            "Addresses out of their service's answer by a majority of probes.",
            labels=["region"],
        )
        back = GaugeMetricFamily(
            f"{_P}region_returning", "Whether the region comes back in steps.", labels=["region"]
        )
        for region in self._core.judgement.findings:
            out.add_metric([region], len(health.failed(region)))
            back.add_metric([region], float(region in health.ramps))
        yield out
        yield back

    def _zone(self) -> Iterable[Metric]:
        services = GaugeMetricFamily(
            f"{_P}services", "Federated services known.", labels=["region"]
        )
        for region, state in self._core.states.items():
            services.add_metric([region], len(state.services))
        yield services
        told = GaugeMetricFamily(
            f"{_P}answers", "Addresses of the region in the answers.", labels=["region"]
        )
        for region, count in self._answers().items():
            told.add_metric([region], count)
        yield told
        answers = GaugeMetricFamily(
            f"{_P}records", "Record sets wanted in the zone.", labels=["type"]
        )
        kinds = [kind for _, kind in self._core.wanted.records]
        for kind in sorted(set(kinds)):
            answers.add_metric([kind], kinds.count(kind))
        yield answers
        if not self._publishers:
            return
        changes = CounterMetricFamily(f"{_P}dns_changes", "Names written.")
        changes.add_metric([], sum(p.changes for p in self._publishers))
        yield changes
        errors = CounterMetricFamily(f"{_P}dns_errors", "Passes that failed.")
        errors.add_metric([], sum(p.errors for p in self._publishers))
        yield errors
        # One that was never right counts from the start: silence must not look like health.
        well = [self._began if p.well_at is None else p.well_at for p in self._publishers]
        age = self._clock() - min(well)
        yield _gauge("dns_age_seconds", "Since all zones were last seen to be right.", age)
        plans = [p.plan for p in self._publishers if p.plan is not None]
        held = sum(len(plan.conflicts) for plan in plans)
        yield _gauge("dns_conflicts", "Names that others hold.", held)
        kept = sum(len(plan.withheld) for plan in plans)
        yield _gauge("dns_withheld", "Names the guard keeps.", kept)

    def _answers(self) -> dict[str, int]:
        """How many addresses of each region are in the answers, all names together."""
        owners = {
            address: region
            for region, state in self._core.states.items()
            for service in state.services
            for address in service.addresses
        }
        found = dict.fromkeys(self._core.states, 0)
        for (_, kind), record in self._core.wanted.records.items():
            for value in record.values if kind in ("A", "AAAA") else ():
                if value in owners:
                    found[owners[value]] += 1
        return found

    def _certificates(self) -> Iterable[Metric]:
        days = GaugeMetricFamily(
            f"{_P}certificate_days_left", "Until the certificate ends.", labels=["region"]
        )
        for entry in self._peers().entries:
            ends = keys.expires(entry.certificate)
            if ends is not None:
                days.add_metric([entry.region], (ends - self._wall()) / 86400)
        yield days


def registry(collector: AgentCollector) -> CollectorRegistry:
    """A registry of its own, beside the process's figures."""
    from prometheus_client import ProcessCollector

    found = CollectorRegistry()
    ProcessCollector(registry=found)
    found.register(collector)
    return found


def _gauge(name: str, text: str, value: float) -> GaugeMetricFamily:
    gauge = GaugeMetricFamily(f"{_P}{name}", text)
    gauge.add_metric([], float(value))
    return gauge
