"""KubeFedConfig as the controller uses it (pure): defaults filled in, durations in seconds."""

from __future__ import annotations

import dataclasses
import re

from kubefed.api.names import (
    FEATURE_GATES,
    PUSH_RECONCILER,
    RAW_RESOURCE_STATUS_COLLECTION,
    SCHEDULER_PREFERENCES,
    Scope,
    Toggle,
)
from kubefed.controller.health import Thresholds
from kubefed.controller.objects import Json, mapping, sequence, spec

_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_PART = re.compile(r"(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h)")
# Upstream's default of one worker a type is what made it slow; a higher number is the user's word.
_LEAST_WORKERS = 16
_THRESHOLDS = Thresholds()


@dataclasses.dataclass(frozen=True, slots=True)
class Config:
    """What a KubeFedConfig sets.

    Attributes:
        namespaced_scope: whether only the federation's own namespace is federated.
        adopt: whether objects that exist already are taken over.
        period: seconds between probes of a cluster.
        timeout: seconds until a probe counts as failed.
        thresholds: probes in a row before a cluster changes its state.
        available_delay: seconds until a cluster that is back counts for scheduling.
        unavailable_delay: seconds until one that is lost doesn't; only without region-health.
        workers: objects of one type that are handled at the same time.
        gates: feature gates that are on.
    """

    namespaced_scope: bool = False
    adopt: bool = True
    period: float = 10.0
    timeout: float = 3.0
    thresholds: Thresholds = _THRESHOLDS
    available_delay: float = 20.0
    unavailable_delay: float = 60.0
    workers: int = _LEAST_WORKERS
    gates: frozenset[str] = frozenset(
        gate for gate, state in FEATURE_GATES.items() if state is Toggle.ENABLED
    )

    @property
    def push(self) -> bool:
        """Whether anything is propagated at all."""
        return PUSH_RECONCILER in self.gates

    @property
    def scheduler(self) -> bool:
        """Whether ReplicaSchedulingPreferences are acted on."""
        return SCHEDULER_PREFERENCES in self.gates

    @property
    def remote_status(self) -> bool:
        """Whether members' status may be collected into the federated object."""
        return RAW_RESOURCE_STATUS_COLLECTION in self.gates


def parse(obj: Json) -> Config:
    """Read a KubeFedConfig; what it leaves out, or can't be read, has its default."""
    wanted, default = spec(obj), Config()
    delays = mapping(wanted.get("controllerDuration"))
    health = mapping(wanted.get("clusterHealthCheck"))
    sync = mapping(wanted.get("syncController"))
    gates = {
        str(gate.get("name")): gate.get("configuration") == Toggle.ENABLED
        for gate in map(mapping, sequence(wanted.get("featureGates")))
    }
    return Config(
        namespaced_scope=wanted.get("scope") == Scope.NAMESPACED,
        adopt=sync.get("adoptResources") != Toggle.DISABLED,
        period=_duration(health.get("period"), default.period),
        timeout=_duration(health.get("timeout"), default.timeout),
        thresholds=Thresholds(
            _count(health.get("failureThreshold"), default.thresholds.failure),
            _count(health.get("successThreshold"), default.thresholds.success),
        ),
        available_delay=_duration(delays.get("availableDelay"), default.available_delay),
        unavailable_delay=_duration(delays.get("unavailableDelay"), default.unavailable_delay),
        workers=max(_LEAST_WORKERS, _count(sync.get("maxConcurrentReconciles"), 1)),
        gates=frozenset(gate for gate in FEATURE_GATES if gates.get(gate, gate in default.gates)),
    )


def seconds(text: str) -> float:
    """Read a Go duration.

    Raises:
        ValueError: it is none.

    >>> seconds("1m30s"), seconds("300ms")
    (90.0, 0.3)
    """
    parts = _PART.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise ValueError(f"{text!r} is not a duration such as 1m30s")
    return sum(float(number) * _UNITS[unit] for number, unit in parts)


def _duration(value: object, default: float) -> float:
    try:
        return seconds(str(value)) or default
    except ValueError:
        return default


def _count(value: object, default: int) -> int:
    return value if isinstance(value, int) and value > 0 else default
