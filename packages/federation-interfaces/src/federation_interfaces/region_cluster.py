"""A charm's side of its region's cluster: the relations that give access, and what they lack.

The one module here that imports ops, which a charm has loaded anyway.
"""

from collections.abc import Mapping, Sequence
from typing import Protocol

import ops
from ops.interface_kube_control import KubeControlRequirer

from federation_interfaces.access import Access, AccessMissingError, read_access

KUBE_CONTROL = "kube-control"
CERTIFICATES = "certificates"
_SILENT = "kube-control has not given access yet"


class Configured(Protocol):
    """What is needed of a charm's configuration."""

    @property
    def ca_certificate(self) -> str:
        """The CA to trust where the relations give none."""
        ...


class _ClientToken(KubeControlRequirer):
    """The library's requirer, without the tokens of nodes: each is two more calls of Juju."""

    def get_auth_credentials(self, user: str) -> Mapping[str, str] | None:
        """Return the token of `user`."""
        found = self._data.creds.get(user) if self.is_ready else None
        if found is None:
            return None
        return {"user": user, "client_token": found.load_client_token(self.model, user)}


class RegionCluster:
    """The relations `kube-control` and `certificates` of a charm, read once a hook."""

    def __init__(self, charm: ops.CharmBase):
        self._charm = charm
        # Named as the endpoint of the control plane: its library ignores new tokens otherwise.
        self._kube_control = _ClientToken(charm, KUBE_CONTROL, schemas="0,1")
        self._access: Access | None = None

    def events(self) -> list[ops.BoundEvent]:
        """Return the events after which access may be another."""
        control, certificates = self._charm.on[KUBE_CONTROL], self._charm.on[CERTIFICATES]
        return [
            control.relation_created,
            control.relation_changed,
            certificates.relation_changed,
            certificates.relation_broken,
        ]

    def access(self, settings: Configured) -> Access:
        """Return the way into the cluster; raises AccessMissingError."""
        if self._access is None:
            relation = self._charm.model.get_relation(KUBE_CONTROL)
            if relation is None or not relation.units:
                raise AccessMissingError(_SILENT)
            try:
                self._access = read_access(
                    self._kube_control,
                    self._charm.unit.name,
                    certificates=self._certificates(),
                    ca_certificate=settings.ca_certificate,
                )
            except ops.ModelError as error:  # its secret is not granted yet
                raise AccessMissingError(_SILENT) from error
        return self._access

    def access_if_any(self, settings: Configured) -> Access | None:
        """Return the way into the cluster, None while it is not given."""
        try:
            return self.access(settings)
        except AccessMissingError:
            return None

    def access_or_ask(self, settings: Configured) -> Access | None:
        """Return the way into the cluster; where it is not given, ask for it and return None."""
        access = self.access_if_any(settings)
        if access is None:
            self._kube_control.set_auth_request(self._charm.unit.name, "system:masters")
        return access

    def trouble(self, settings: Configured) -> ops.StatusBase | None:
        """Return the status of a charm that has no access, None where there is access."""
        if not self._charm.model.relations[KUBE_CONTROL]:
            return ops.BlockedStatus("integrate with kubernetes-control-plane")
        try:
            _ = self.access(settings)
        except AccessMissingError as error:
            status = ops.BlockedStatus if error.mendable else ops.WaitingStatus
            return status(str(error))
        return None

    def _certificates(self) -> Sequence[ops.RelationDataContent] | None:
        """Return what the units behind `certificates` say; None: there is no such relation."""
        relations = self._charm.model.relations[CERTIFICATES]
        active = [each for each in relations if each.active]
        if not active:
            return None
        # In an order of their own: the CA must not differ from hook to hook.
        units = [(each, sorted(each.units, key=lambda unit: unit.name)) for each in active]
        return [each.data[unit] for each, found in units for unit in found]
