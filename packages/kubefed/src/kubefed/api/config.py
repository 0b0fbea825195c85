"""KubeFedConfig with its defaults, as a typed object."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    field_validator,
)
from pydantic.alias_generators import to_camel

from kubefed.api.durations import format_duration, parse_duration
from kubefed.api.kinds import KUBEFED_CONFIG
from kubefed.api.names import CONFIG_NAME, FEATURE_GATES, Scope, Toggle

_T = TypeVar("_T")


def _read_duration(value: object) -> object:
    return parse_duration(value) if isinstance(value, str) else value


Duration = Annotated[
    timedelta,
    BeforeValidator(_read_duration),
    PlainSerializer(format_duration),
    Field(gt=timedelta()),
]
Count = Annotated[int, Field(ge=1)]


def _seconds(value: float) -> timedelta:
    return timedelta(seconds=value)


class _Model(BaseModel):
    model_config = ConfigDict(
        alias_generator=to_camel, populate_by_name=True, frozen=True, extra="ignore"
    )


class ControllerDuration(_Model):
    """Delays of the controllers (`spec.controllerDuration`)."""

    available_delay: Duration = _seconds(20)
    unavailable_delay: Duration = _seconds(60)
    cache_sync_timeout: Duration = _seconds(300)


class LeaderElect(_Model):
    """Leader election (`spec.leaderElect`); the lock's kind is for v0.10.0 only."""

    lease_duration: Duration = _seconds(15)
    renew_deadline: Duration = _seconds(10)
    retry_period: Duration = _seconds(5)
    resource_lock: Literal["configmaps", "endpoints"] = "configmaps"


class ClusterHealthCheck(_Model):
    """Probes of the clusters (`spec.clusterHealthCheck`)."""

    period: Duration = _seconds(10)
    timeout: Duration = _seconds(3)
    failure_threshold: Count = 3
    success_threshold: Count = 1


class SyncController(_Model):
    """Propagation (`spec.syncController`)."""

    max_concurrent_reconciles: Count = 1
    adopt_resources: Toggle = Toggle.ENABLED


class StatusController(_Model):
    """Status collection (`spec.statusController`)."""

    max_concurrent_reconciles: Count = 1


class FeatureGate(_Model):
    """One item of `spec.featureGates`."""

    name: str
    configuration: Toggle


def _default_gates() -> tuple[FeatureGate, ...]:
    return tuple(FeatureGate(name=n, configuration=s) for n, s in sorted(FEATURE_GATES.items()))


class KubeFedConfig(_Model):
    """The `spec` of KubeFedConfig, complete.

    What isn't set has the default of v0.10.0 (`pkg/apis/core/v1beta1/defaults`); gates that
    aren't named are added, and all are sorted by name.
    """

    scope: Scope = Scope.CLUSTER
    controller_duration: ControllerDuration = ControllerDuration()
    leader_elect: LeaderElect = LeaderElect()
    feature_gates: tuple[FeatureGate, ...] = Field(default_factory=_default_gates)
    cluster_health_check: ClusterHealthCheck = ClusterHealthCheck()
    sync_controller: SyncController = SyncController()
    status_controller: StatusController = StatusController()

    @field_validator("feature_gates")
    @classmethod
    def _complete_gates(cls, gates: tuple[FeatureGate, ...]) -> tuple[FeatureGate, ...]:
        known = {gate.name: gate for gate in _default_gates()}
        known.update({gate.name: gate for gate in gates})
        return tuple(known[name] for name in sorted(known))

    @classmethod
    def from_object(cls, manifest: Mapping[str, Any]) -> KubeFedConfig:
        """Read a KubeFedConfig as the API server gives it.

        Raises:
            pydantic.ValidationError: a value is not allowed.
        """
        return cls.model_validate(_without_null(manifest.get("spec") or {}))

    def to_object(self, namespace: str) -> dict[str, Any]:
        """Give the manifest, with every field filled in."""
        return {
            "apiVersion": KUBEFED_CONFIG.api_version,
            "kind": KUBEFED_CONFIG.kind,
            "metadata": {"name": CONFIG_NAME, "namespace": namespace},
            "spec": self.model_dump(mode="json", by_alias=True),
        }

    def enabled(self, gate: str) -> bool:
        """Say whether a feature gate is on."""
        return any(
            each.name == gate and each.configuration is Toggle.ENABLED
            for each in self.feature_gates
        )


def _without_null(value: _T) -> _T:
    # A null is as good as nothing said; the defaults stand.
    if isinstance(value, dict):
        return {k: _without_null(v) for k, v in value.items() if v is not None}  # type: ignore[return-value]
    return value
