"""FederatedTypeConfig: reading and making it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from kubefed.api.kinds import FEDERATED_TYPE_CONFIG, FederatedType, TargetKind, plural_of
from kubefed.api.names import Scope, Toggle


@dataclasses.dataclass(frozen=True)
class TypeConfig:
    """A FederatedTypeConfig.

    Attributes:
        type: the target and the federated kind.
        propagation: whether its objects are carried to the members.
        status_collection: whether the members' status is gathered.
        status_type: the kind that gathers it (FederatedServiceStatus), mostly None.
    """

    type: FederatedType
    propagation: bool = True
    status_collection: bool = False
    status_type: TargetKind | None = None

    @property
    def name(self) -> str:
        """The object's name, `<plural>[.<group>]` of the target."""
        return self.type.name

    @classmethod
    def from_object(cls, manifest: Mapping[str, Any]) -> TypeConfig:
        """Read a FederatedTypeConfig as the API server gives it."""
        spec = manifest["spec"]
        status_type = spec.get("statusType")
        return cls(
            type=FederatedType(_read(spec["targetType"]), _read(spec["federatedType"])),
            propagation=spec["propagation"] == Toggle.ENABLED,
            status_collection=spec.get("statusCollection") == Toggle.ENABLED,
            status_type=_read(status_type) if status_type else None,
        )

    def to_object(self, namespace: str) -> dict[str, Any]:
        """Give the manifest."""
        spec: dict[str, Any] = {
            "targetType": _write(self.type.target),
            "propagation": (Toggle.ENABLED if self.propagation else Toggle.DISABLED).value,
            "federatedType": _write(self.type.federated),
        }
        if self.status_type:
            spec["statusType"] = _write(self.status_type)
        if self.status_collection:
            spec["statusCollection"] = Toggle.ENABLED.value
        return {
            "apiVersion": FEDERATED_TYPE_CONFIG.api_version,
            "kind": FEDERATED_TYPE_CONFIG.kind,
            "metadata": {"name": self.name, "namespace": namespace},
            "spec": spec,
        }


def _read(resource: Mapping[str, Any]) -> TargetKind:
    kind = resource["kind"]
    return TargetKind(
        group=resource.get("group") or "",
        version=resource["version"],
        kind=kind,
        plural=resource.get("pluralName") or plural_of(kind),
        namespaced=resource.get("scope") == Scope.NAMESPACED,
    )


def _write(kind: TargetKind) -> dict[str, Any]:
    resource: dict[str, Any] = {"group": kind.group} if kind.group else {}
    return resource | {
        "version": kind.version,
        "kind": kind.kind,
        "pluralName": kind.plural,
        "scope": kind.scope.value,
    }
