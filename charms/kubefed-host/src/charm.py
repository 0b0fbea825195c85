#!/usr/bin/env python3
"""Charm of the host: it serves the KubeFed API and joins the regions' clusters to it."""

import logging

import clusters_told
import kubefed_host
import ops
from backup_actions import BackupActions
from control_planes import ControlPlanes
from federation_interfaces import DatabagError, RegionHealthUnitData
from federation_interfaces.access import Access
from federation_interfaces.cos_agent import CosAgentUnitData, Topology
from federation_interfaces.databag import config_error
from federation_interfaces.fields import check_region
from federation_interfaces.region_cluster import RegionCluster
from federation_register import MEMBERS, REPLICAS, ClustersChangedEvent, Register
from handover import AskOperatorError
from host_actions import HostActions
from host_identity import HostIdentity, HostReplacedError
from kubefed_host import Host, HostError, Settings
from token_actions import TokenActions
from type_actions import TypeActions
from upstream_actions import UpstreamActions

logger = logging.getLogger(__name__)

REGION_HEALTH = "region-health"
COS_AGENT = "cos-agent"


class Events(ops.CharmEvents):
    """Juju's events, and the one that this charm's own service has Juju run."""

    clusters_changed = ops.EventSource(ClustersChangedEvent)


class KubefedHostCharm(ops.CharmBase):
    """Installs the API, runs its controller, joins the members."""

    on = Events()

    def __init__(self, framework: ops.Framework):
        super().__init__(framework)
        self.cluster = RegionCluster(self)
        self.host = Host(self.charm_dir)
        self.register = Register(self, self.host)
        self.control_planes = ControlPlanes(self, self.host, self.register)
        self.actions = HostActions(self)
        self.token_actions = TokenActions(self)
        self.identity = HostIdentity(self.host, self.register)
        self.backup_actions = BackupActions(self)
        self.type_actions = TypeActions(self)
        self.upstream_actions = UpstreamActions(self)
        self.problem: ops.StatusBase | None = None
        self.replaced = ""
        self._silent = False
        self._reconciled = False
        self._statuses: list[ops.StatusBase] | None = None
        framework.observe(self.on.collect_unit_status, self._on_collect_status)
        framework.observe(self.on.collect_app_status, self._on_collect_status)
        observed = [self.on.start, self.on.upgrade_charm, self.on.config_changed]
        observed += [self.on.leader_elected, self.on.update_status, self.on.secret_changed]
        observed += [self.on.clusters_changed]
        for name in (MEMBERS, REGION_HEALTH, REPLICAS, COS_AGENT):
            observed += [self.on[name].relation_created, self.on[name].relation_changed]
        observed += self.cluster.events()
        for name in (MEMBERS, REGION_HEALTH):
            observed += [self.on[name].relation_departed, self.on[name].relation_broken]
        for event in observed:
            framework.observe(event, self.reconcile)
        framework.observe(self.on.secret_remove, self._on_secret_remove)
        framework.observe(self.on.stop, self._on_stop)
        framework.observe(self.on.remove, self._on_remove)
        if ops.tracing is not None:  # dispatch has it found where somebody takes traces
            self.tracing = ops.tracing.Tracing(
                self, "charm-tracing", ca_relation_name="receive-ca-cert"
            )

    # What is seen

    def settings(self) -> Settings:
        """Return the configuration; raises pydantic.ValidationError."""
        return self.load_config(Settings)

    def host_cluster(self, settings: Settings) -> str:
        """Return the host cluster's name: configured, or the model's."""
        return settings.host_cluster or check_region(self.model.name)

    # Making it so

    def reconcile(self, event: ops.EventBase) -> None:
        """Compare what is wanted with what is there, and act."""
        if self._reconciled:
            return  # kube-control's library makes two events of one changed secret
        self._reconciled = True
        if not self.unit.is_leader():
            self._follow_no_more()
        self._reconcile(event)

    def _reconcile(self, event: ops.EventBase) -> None:
        try:
            settings = self.settings()
            name = self.host_cluster(settings)
        except ValueError:
            return  # the status says it
        access = self.cluster.access_or_ask(settings)
        if access is None:
            return
        if self.model.get_relation(REPLICAS) is None:
            return
        try:
            if self.unit.is_leader():
                self.identity.confirm(access)
                self.control_planes.lead(access, settings)
            if self.register.shared().installed is None:
                return  # the leader installs the API first
            self.run_controller(access, settings, name, renew=self.identity.moved())
            self.identity.settle()
        except HostReplacedError as error:
            self.replaced = str(error)
            self.host.stop()
            return
        except HostError as error:
            logger.warning("%s", error)
            self.problem = _status_of(error)
            self._silent = not isinstance(error, AskOperatorError)
            return
        if self.unit.is_leader():
            self.register.publish(settings, name)
            self.register.reconcile(event, access, settings, name)
            self._follow(settings)

    def run_controller(
        self, access: Access, settings: Settings, name: str, *, renew: bool = False
    ) -> None:
        """Bring this unit's tokens and its controller up to date; raises HostError."""
        moment, unit = kubefed_host.now(), self.unit.name
        self.host.ensure_user()
        changed = self.host.ensure_tokens(access, settings, name, moment, unit, renew=renew)
        if self.control_planes.embedded_runs():
            self._run_embedded(settings, restart=changed)
        else:
            self.host.stand_down()
        self.host.end_older_tokens(access, settings, unit)
        self._publish_metrics(settings)
        self.unit.set_workload_version(self.control_planes.version(settings))

    def _run_embedded(self, settings: Settings, *, restart: bool) -> None:
        self.host.ensure_region_health(self._agents())
        self.host.ensure_service(settings, self._address(), restart=restart)

    def _follow(self, settings: Settings) -> None:
        """Have a hook run whenever the status has become untrue."""
        try:
            self.host.ensure_status_service(settings, self.unit.name)
        except HostError as error:
            logger.warning("%s", error)
            self.problem = ops.WaitingStatus(str(error))

    def _follow_no_more(self) -> None:
        try:
            self.host.end_status_service()
        except HostError as error:
            logger.warning("%s", error)

    def _address(self) -> str:
        """Return the unit's own address; its controller's metrics are there."""
        binding = self.model.get_binding(REPLICAS)
        address = binding.network.bind_address if binding else None
        return str(address or "127.0.0.1")

    def _publish_metrics(self, settings: Settings) -> None:
        """Tell the collector of this machine where the metrics are: upstream's are a pod's."""
        relations = self.model.relations[COS_AGENT]
        if not relations:
            return
        given = CosAgentUnitData()
        if self.control_planes.embedded_runs():
            import host_observability  # what it reads and packs is not needed in each hook

            host = self._address()
            host = f"[{host}]" if ":" in host else host
            topology = Topology(self.model.name, self.model.uuid, self.app.name, self.meta.name)
            given = host_observability.unit_data(topology, f"{host}:{settings.metrics_port}")
        for relation in relations:
            _ = given.dump(relation.data[self.unit])

    def _agents(self) -> list[RegionHealthUnitData] | None:
        """Return the agents that can be asked; None where no such relation exists."""
        relations = [each for each in self.model.relations[REGION_HEALTH] if each.active]
        if not relations:
            return None
        found: list[RegionHealthUnitData] = []
        for relation in relations:
            for unit in sorted(relation.units, key=lambda unit: unit.name):
                try:
                    found.append(RegionHealthUnitData.load(relation.data[unit]))
                except DatabagError as error:
                    logger.warning("region-health of %s: %s", unit.name, error)
        return found

    # Events of their own

    def _on_secret_remove(self, event: ops.SecretRemoveEvent) -> None:
        event.remove_revision()

    def _on_stop(self, _: ops.StopEvent) -> None:
        self.host.stop()

    def _on_remove(self, _: ops.RemoveEvent) -> None:
        try:
            if self.app.planned_units() == 0:
                self.host.end_accounts()
        except (HostError, ops.ModelError) as error:
            logger.warning("the charm's account may be left in the cluster: %s", error)
        self.host.remove()

    # Status

    def _on_collect_status(self, event: ops.CollectStatusEvent) -> None:
        if self._statuses is None:
            self._statuses = self._look()  # once for the unit and the application
            silent = self._silent or self.register.silent
            said = clusters_told.SILENT if silent else self.register.said()
            self.host.status_service.note(said)
        for status in self._statuses:
            event.add_status(status)

    def _look(self) -> list[ops.StatusBase]:
        try:
            settings = self.settings()
            _ = self.host_cluster(settings)
        except ValueError as error:
            return [ops.BlockedStatus(f"config: {config_error(error)}")]
        trouble = self.cluster.trouble(settings)
        if trouble is not None:
            return [trouble]
        if self.replaced:
            return [ops.BlockedStatus(self.replaced)]
        found: list[ops.StatusBase] = []
        if self.problem:
            found.append(self.problem)
        if self.register.shared().installed is None:
            return [*found, ops.WaitingStatus("the federation's API is not installed yet")]
        access = self.cluster.access_if_any(settings)
        found += self.control_planes.statuses(access, settings)
        return [*found, *self.register.statuses(self.control_planes.note(settings))]


def _status_of(error: HostError) -> ops.StatusBase:
    if isinstance(error, AskOperatorError):
        return ops.BlockedStatus(str(error))
    return ops.WaitingStatus(f"the federation's API: {error}")


if __name__ == "__main__":
    ops.main(KubefedHostCharm)
