"""When a cluster is called ready or not: own probes, thresholds, and the regions' verdict.

Three answers, not two: a cluster is healthy, lost or unknown, and unknown changes nothing. Where
the regions judge together (region-health), a cluster is only called not ready when they have
evicted its region; without them, when enough probes in a row have failed.
"""

from __future__ import annotations

import dataclasses
from enum import Enum
from typing import TYPE_CHECKING

from kubefed.api.names import ClusterCondition, ClusterReason
from kubefed.controller.objects import Json, mapping, sequence

if TYPE_CHECKING:
    from collections.abc import Mapping

_OK_MESSAGE = "/healthz responded with ok"
_NOT_OK_MESSAGE = "/healthz responded without ok"
_REACHABLE_MESSAGE = "cluster is reachable"
_MALFORMED_MESSAGE = "cluster's configuration may be malformed"


class Probe(Enum):
    """What one probe of a cluster came to."""

    OK = "answers ok"
    NOT_OK = "answers, but not ok"
    UNREACHABLE = "does not answer"
    MALFORMED = "can't be asked: its address, CA or token is unusable"


@dataclasses.dataclass(frozen=True, slots=True)
class Thresholds:
    """How many probes in a row must agree before they are believed."""

    failure: int = 3
    success: int = 1


@dataclasses.dataclass(frozen=True, slots=True)
class Track:
    """What is known of one cluster.

    Attributes:
        published: what its conditions say; None for a cluster never judged.
        last: the latest probe.
        failures: failed probes in a row.
        successes: good probes in a row.
    """

    published: Probe | None = None
    last: Probe | None = None
    failures: int = 0
    successes: int = 0

    @property
    def ready(self) -> bool:
        """Whether the cluster counts as ready."""
        return self.published is Probe.OK


@dataclasses.dataclass(frozen=True, slots=True)
class Region:
    """What the regions say of one of them.

    Attributes:
        evicted: whether its replicas are to run elsewhere.
        explain: the votes in words.
    """

    evicted: bool
    explain: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class Verdict:
    """A fresh answer of region-health.

    Attributes:
        decided: False if there is no quorum or a panic, so that nothing may be concluded.
        regions: by name.
    """

    decided: bool
    regions: Mapping[str, Region] = dataclasses.field(default_factory=dict[str, Region])


# No file of endpoints was given: the controller judges by its own probes.
ALONE = Verdict(decided=True)


def observe(track: Track, probe: Probe) -> Track:
    """Count one probe."""
    if probe is Probe.OK:
        return dataclasses.replace(track, last=probe, failures=0, successes=track.successes + 1)
    return dataclasses.replace(track, last=probe, failures=track.failures + 1, successes=0)


def reachable(track: Track, thresholds: Thresholds) -> bool:
    """Whether it is worth while to send the cluster something."""
    return track.ready and track.failures < thresholds.failure


def judge(track: Track, thresholds: Thresholds) -> Track:
    """Decide by own probes alone.

    From ready to not ready it takes `failure` failed probes in a row, back `success` good ones; a
    cluster never judged before gets the first probe's word.
    """
    if track.last is None:
        return track
    if track.published is None:
        return dataclasses.replace(track, published=track.last)
    if track.last is Probe.OK:
        enough = track.ready or track.successes >= thresholds.success
    else:
        enough = not track.ready or track.failures >= thresholds.failure
    return dataclasses.replace(track, published=track.last) if enough else track


def judge_with(
    track: Track, thresholds: Thresholds, verdict: Verdict | None, region: str
) -> Track:
    """Decide by the regions' verdict, which own probes can't overrule to the worse.

    Args:
        track: the cluster, its latest probe counted.
        thresholds: how many good probes in a row bring it back.
        verdict: the regions' answer, None if there is no fresh one.
        region: the cluster's name, which is its region's.
    """
    if track.published is None:
        return judge(track, thresholds)
    if verdict is None or not verdict.decided:
        return track
    known = verdict.regions.get(region)
    if known is not None and known.evicted:
        return dataclasses.replace(track, published=Probe.UNREACHABLE, successes=0)
    if not track.ready and track.last is Probe.OK and track.successes >= thresholds.success:
        return dataclasses.replace(track, published=Probe.OK)
    return track


def frozen(verdict: Verdict | None) -> bool:
    """Whether no replica may be moved."""
    return verdict is None or not verdict.decided


def parse_verdict(answer: Json) -> Verdict:
    """Read the answer of `GET /v1/verdict` (docs/design.md, section 4)."""
    regions = {
        str(name): Region(
            evicted=mapping(entry).get("evicted") is True,
            explain=str(mapping(entry).get("explain") or ""),
        )
        for name, entry in mapping(answer.get("regions")).items()
    }
    decided = answer.get("quorum") is True and answer.get("panic") is not True
    return Verdict(decided, regions)


def published(cluster: Json) -> Probe | None:
    """Read what the conditions of a KubeFedCluster say; None if there are none."""
    states = {
        condition.get("type"): condition.get("status")
        for condition in map(mapping, sequence(mapping(cluster.get("status")).get("conditions")))
    }
    if states.get(ClusterCondition.READY) == "True":
        return Probe.OK
    if states.get(ClusterCondition.CONFIG_MALFORMED) == "True":
        return Probe.MALFORMED
    if states.get(ClusterCondition.OFFLINE) == "True":
        return Probe.UNREACHABLE
    return Probe.NOT_OK if states else None


def conditions(
    state: Probe, before: list[Json], now: str, error: str = "", *, malformed: bool = False
) -> list[Json]:
    """Give the conditions that say a state, in the shapes of KubeFed v0.10.0.

    Args:
        state: what to say.
        before: the conditions as they are; a transition time is kept while a status holds.
        now: the time as RFC 3339 in UTC.
        error: why the cluster is not well, "" where that isn't known.
        malformed: whether it can't be written to, though its state doesn't say so (yet).
    """
    held = {
        (condition.get("type"), condition.get("status")): condition.get("lastTransitionTime")
        for condition in before
    }

    def condition(kind: ClusterCondition, status: str, reason: str, message: str) -> Json:
        return {
            "type": kind.value,
            "status": status,
            "reason": reason,
            "message": message,
            "lastProbeTime": now,
            "lastTransitionTime": held.get((kind.value, status)) or now,
        }

    why = f": {error}" if error else ""
    ready, offline = ClusterCondition.READY, ClusterCondition.OFFLINE
    unusable = condition(
        ClusterCondition.CONFIG_MALFORMED,
        "True",
        ClusterReason.CONFIG_MALFORMED.value,
        f"{_MALFORMED_MESSAGE}{why}",
    )
    match state:
        case Probe.OK:
            said = [condition(ready, "True", ClusterReason.READY.value, _OK_MESSAGE)]
        case Probe.NOT_OK:
            message = f"{_NOT_OK_MESSAGE}{why}"
            said = [
                condition(ready, "False", ClusterReason.NOT_READY.value, message),
                condition(offline, "False", ClusterReason.REACHABLE.value, _REACHABLE_MESSAGE),
            ]
        case Probe.UNREACHABLE:
            message = f"cluster is not reachable: {error}"
            said = [condition(offline, "True", ClusterReason.NOT_REACHABLE.value, message)]
        case Probe.MALFORMED:
            return [unusable]
    return [*said, unusable] if malformed else said
