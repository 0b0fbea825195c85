#!/usr/bin/env python3
"""Charm of a region's DNS: BIND 9 and the agent beside it, in a mesh with all regions'."""

import logging
from typing import Any

import agent_verdict
import dns_provider
import federation_dns_unit
import mesh_entries
import ops
from dns_actions import STANDBY, DnsActions
from dns_provider import ProviderTrouble, Target
from dns_settings import Place, Settings
from federation_dns import told
from federation_dns_unit import Machine
from federation_interfaces import (
    DatabagError,
    MeshEntry,
    MeshHubAppData,
    MeshMemberAppData,
    RegionHealthUnitData,
)
from federation_interfaces.access import Access
from federation_interfaces.cos_agent import Topology
from federation_interfaces.databag import config_error
from federation_interfaces.fields import check_region
from federation_interfaces.region_cluster import RegionCluster
from local_agent import UnitError
from mesh_entries import Heard, Known
from name_server import SecondariesKey, Served
from zone_signing import ZoneSigning

logger = logging.getLogger(__name__)

MESH = "mesh"
MESH_HUB = "mesh-hub"
REGION_HEALTH = "region-health"
COS_AGENT = "cos-agent"


class Events(ops.CharmEvents):
    """Juju's events, and the one that this charm's own service has Juju run."""

    verdict_changed = ops.EventSource(ops.EventBase)


class FederationDnsCharm(ops.CharmBase):
    """Keeps the region's name server and agent, and introduces the agents to each other."""

    on = Events()

    def __init__(self, framework: ops.Framework):
        super().__init__(framework)
        self.cluster = RegionCluster(self)
        self.machine = Machine(self.charm_dir)
        self.signing = ZoneSigning(self, self.machine)
        self.actions = DnsActions(self)
        self.problem = ""
        self._began = agent_verdict.clock()
        self._changed = False
        self._reconciled = False
        # Which cluster it is isn't asked in each hook.
        self._looks = False
        self._statuses: list[ops.StatusBase] | None = None
        self._said = told.OTHER
        framework.observe(self.on.collect_unit_status, self._on_collect_status)
        framework.observe(self.on.collect_app_status, self._on_collect_status)
        observed = [self.on.start, self.on.upgrade_charm, self.on.config_changed]
        observed += [self.on.leader_elected, self.on.update_status, self.on.secret_changed]
        observed += [self.on.verdict_changed]
        for name in (MESH, MESH_HUB, REGION_HEALTH, COS_AGENT):
            observed += [self.on[name].relation_created, self.on[name].relation_changed]
        observed += self.cluster.events()
        observed += [self.on[MESH].relation_broken, self.on[MESH_HUB].relation_broken]
        for event in observed:
            framework.observe(event, self.reconcile)
        framework.observe(self.on.install, self._on_install)
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

    def place(self, settings: Settings) -> Place | None:
        """Return where this unit is, None while Juju gives no address; raises ValueError."""
        region = settings.region or check_region(self.model.name)
        binding = self.model.get_binding(MESH)
        network = binding.network if binding else None
        if network is None or network.bind_address is None:
            return None
        listen = str(network.bind_address)
        subnets = [str(each.subnet) for each in network.interfaces if each.subnet]
        subnet = subnets[0] if subnets else listen
        return Place(region, listen, str(network.ingress_address or listen), subnet)

    def target(self, settings: Settings) -> Target | None:
        """Return the DNS server to write to, None for this unit's; raises ProviderTrouble."""
        if settings.witness:
            return None
        secrets = {key: str(self.config.get(key, "")) for key in dns_provider.SECRETS}
        return dns_provider.target(self.model, settings, secrets, self.machine.settings)

    def stands_by(self) -> bool:
        """Say whether another unit of this region serves."""
        return not self.unit.is_leader() and self.app.planned_units() > 1

    def own_entry(self, settings: Settings, place: Place) -> MeshEntry:
        """Return what the other regions get to know of this one."""
        host = f"[{place.address}]" if ":" in place.address else place.address
        ranges = [] if settings.witness else list(settings.address_ranges or (place.subnet,))
        return MeshEntry(
            region=place.region,
            role=settings.role,
            url=f"https://{host}:{settings.port}",
            certificate=self.machine.agent.certificate(),
            next_certificate=self.machine.agent.next_certificate() or None,
            nameserver=place.address if self._may_be_named(settings) else None,
            address_ranges=ranges,
        )

    def _may_be_named(self, settings: Settings) -> bool:
        if not settings.own_server:
            return False
        before = self.machine.kept().named_before
        return self.signing.may_be_named(settings, named_before=before)

    def heard(self) -> dict[int, Heard]:
        """Return what the standing mesh relations say."""
        found: dict[int, Heard] = {}
        for name in (MESH, MESH_HUB):
            for relation in self.model.relations[name]:
                if relation.active and relation.app:
                    found[relation.id] = _heard(relation)
        return found

    # Making it so

    def reconcile(self, event: ops.EventBase) -> None:
        """Compare what is wanted with what is there, and act."""
        if self._reconciled:
            return  # kube-control's library makes two events of one changed secret
        self._reconciled = True
        self._looks = isinstance(event, ops.UpdateStatusEvent)
        if self.stands_by():
            self.machine.stop()
            self.unit.set_ports()
            return
        try:
            settings = self.settings()
            place = self.place(settings)
        except ValueError:
            return  # the status says it
        access = None if settings.witness else self.cluster.access_or_ask(settings)
        if place is None or (access is None and not settings.witness):
            return
        try:
            self._serve(settings, place, access, self.target(settings))
        except ProviderTrouble:
            return  # the status says it; what runs goes on with what it has
        except UnitError as error:
            logger.warning("%s", error)
            self.problem = str(error)

    def _serve(
        self, settings: Settings, place: Place, access: Access | None, target: Target | None
    ) -> None:
        machine, moment, own = self.machine, federation_dns_unit.now(), settings.own_server
        if own:
            machine.ensure_packages()
        machine.ensure_user()
        machine.ensure_keys(place, own_server=own)
        served = Served() if settings.witness else self._served(settings)
        known = self._known(settings, place)
        if machine.rotate(place, known.entries, moment):
            known = self._known(settings, place)
            self._changed = True
        self._changed = machine.ensure_peers(known.entries) or self._changed
        self._publish(settings, place, known)
        restart, unit = machine.kept().restart, self.unit.name
        changed = access is not None and machine.ensure_kubeconfig(
            access, place, moment, unit, look=self._looks
        )
        if access is None:
            machine.ensure_no_account()
        bind_changed = own and machine.ensure_bind(settings, place, served)
        if not own:
            machine.ensure_no_server()
        machine.ensure_secrets(target)
        agent_changed = machine.ensure_agent(settings, place, target) or changed
        started = machine.ensure_running(
            bind_changed=bind_changed or restart,
            agent_changed=agent_changed or restart,
            moment=moment,
        )
        if restart:
            machine.keep(restart=False)
        if access is not None:
            machine.end_older_token(access, unit)
        self._changed = self._changed or started
        self.unit.set_workload_version(federation_dns_unit.version())
        self.unit.set_ports(*_ports(settings))
        machine.ensure_status_service(settings, place, self.unit.name)

    def _served(self, settings: Settings) -> Served:
        """Return keys and secondaries; raises UnitError."""
        served = Served(self.signing.keys(settings), self._secondaries_key(settings))
        if self._may_be_named(settings) and not self.machine.kept().named_before:
            self.machine.keep(named_before=True)
        return served

    def _secondaries_key(self, settings: Settings) -> SecondariesKey | None:
        if not isinstance(settings.secondaries_key, ops.Secret):
            return None
        try:
            content = settings.secondaries_key.get_content(refresh=True)
            return SecondariesKey(content["name"], content["secret"])
        except (ops.SecretNotFoundError, ops.ModelError) as error:
            raise UnitError(
                "config: secondaries-key cannot be read: juju grant-secret it to this application"
            ) from error
        except KeyError as error:
            raise UnitError("config: secondaries-key must hold name and secret") from error

    def _known(self, settings: Settings, place: Place) -> Known:
        own = self.own_entry(settings, place)
        known = mesh_entries.combine(own, self.heard(), self.machine.remembered())
        self.machine.remember(known.by_relation)
        return known

    def _publish(self, settings: Settings, place: Place, known: Known) -> None:
        own = next(entry for entry in known.entries if entry.region == place.region)
        health = RegionHealthUnitData(
            url=own.url, certificate=own.certificate, next_certificate=own.next_certificate
        )
        for relation in self.model.relations[REGION_HEALTH]:
            _ = health.dump(relation.data[self.unit])
        self._publish_metrics(settings, place)
        if not self.unit.is_leader():
            return
        for relation in self.model.relations[MESH]:
            _ = MeshMemberAppData(entry=own).dump(relation.data[self.app])
        for relation in self.model.relations[MESH_HUB]:
            data = MeshHubAppData(
                entries=known.entries,
                dnssec_secret_id=self.signing.secret_id(),
            )
            _ = data.dump(relation.data[self.app])

    def _publish_metrics(self, settings: Settings, place: Place) -> None:
        relations = self.model.relations[COS_AGENT]
        if not relations:
            return
        import observability  # what it reads and packs is not needed in each hook

        host = f"[{place.listen}]" if ":" in place.listen else place.listen
        given = observability.unit_data(
            Topology(self.model.name, self.model.uuid, self.app.name, self.meta.name),
            f"{host}:{settings.metrics_port}",
            witness=settings.witness,
        )
        for relation in relations:
            _ = given.dump(relation.data[self.unit])

    # Events of their own

    def _on_install(self, _: ops.InstallEvent) -> None:
        witness = self.config.get("role") == "witness"
        if witness or self.config.get("provider", "bind") != "bind":
            return
        self.unit.status = ops.MaintenanceStatus("installing BIND 9")
        try:
            self.machine.ensure_packages()
        except UnitError as error:
            logger.warning("%s", error)  # tried again before it is needed, and then in the status

    def _on_stop(self, _: ops.StopEvent) -> None:
        self.machine.stop()
        self.unit.set_ports()

    def _on_remove(self, _: ops.RemoveEvent) -> None:
        try:
            if self.app.planned_units() == 0:
                self.machine.end_account()
        except (UnitError, ops.ModelError) as error:
            logger.warning("the agent's account may be left in the cluster: %s", error)
        self.machine.remove()

    # Status

    def _on_collect_status(self, event: ops.CollectStatusEvent) -> None:
        if self._statuses is None:
            self._statuses = self._look()  # once for the unit and the application
            self.machine.status_service.note(self._said)
        for status in self._statuses:
            event.add_status(status)

    def _look(self) -> list[ops.StatusBase]:
        if self.stands_by():
            return [ops.WaitingStatus(STANDBY)]
        try:
            settings = self.settings()
            place = self.place(settings)
        except ValueError as error:
            return [ops.BlockedStatus(f"config: {config_error(error)}")]
        trouble = None if settings.witness else self.cluster.trouble(settings)
        if trouble is not None:
            return [trouble]
        try:
            _ = self.target(settings)
        except ProviderTrouble as error:
            return [ops.BlockedStatus(str(error))]
        if place is None:
            return [ops.WaitingStatus("Juju gives no address yet")]
        problems = [text for text in (self.problem, self.signing.problem) if text]
        found: list[ops.StatusBase] = [ops.WaitingStatus(text) for text in problems]
        if not self.machine.agent.certificate():
            return [*found, ops.WaitingStatus("the agent is not set up yet")]
        return [*found, *self._serving(settings, place)]

    def _serving(self, settings: Settings, place: Place) -> list[ops.StatusBase]:
        silent = self.machine.running_not(own_server=settings.own_server)
        if silent:
            self._said = told.SILENT if federation_dns_unit.AGENT in silent else told.OTHER
            return [ops.WaitingStatus(f"not running: {' '.join(silent)}")]
        known = mesh_entries.combine(
            self.own_entry(settings, place),
            self.heard(),
            self.machine.remembered(),
        )
        found: list[ops.StatusBase] = [ops.BlockedStatus(text) for text in known.problems]
        serving = mesh_entries.told(known, settings.zone, witness=settings.witness)
        try:
            verdict = self._verdict(settings, place, known)
        except UnitError as error:
            starting = self.machine.starting(federation_dns_unit.now())
            self._said = told.said(None, starting=starting)
            if starting:
                return [*found, ops.ActiveStatus(f"{serving}; {self._said}")]
            return [*found, ops.WaitingStatus(str(error))]
        self._said = trouble = told.said(verdict)
        if trouble:
            found.append(ops.WaitingStatus(f"{serving}: {trouble}"))
        return [*found, ops.ActiveStatus(serving)]

    def _verdict(self, settings: Settings, place: Place, known: Known) -> dict[str, Any]:
        """Ask the agent, again for a moment where this hook gave it something to find out."""
        return agent_verdict.settle(
            lambda timeout: self.machine.agent.verdict(settings, place, timeout),
            {entry.region for entry in known.entries},
            agent_verdict.time_is_up(self._began, changed=self._changed),
        )


def _ports(settings: Settings) -> list[ops.Port]:
    """Return what is open to others: the mesh, and the name server where it is this unit's."""
    mesh, dns = ops.Port("tcp", settings.port), settings.dns_port
    return [ops.Port("tcp", dns), ops.Port("udp", dns), mesh] if settings.own_server else [mesh]


def _heard(relation: ops.Relation) -> Heard:
    is_hub = relation.name == MESH
    try:
        if is_hub:
            return Heard(MeshHubAppData.load(relation.data[relation.app]).entries, from_hub=True)
        entry = MeshMemberAppData.load(relation.data[relation.app]).entry
    except DatabagError as error:
        return Heard(problem=f"refused: {error}", from_hub=is_hub)
    return Heard([entry] if entry else None)


if __name__ == "__main__":
    ops.main(FederationDnsCharm)
