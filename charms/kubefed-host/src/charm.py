#!/usr/bin/env python3
"""Charm of the host: it serves the KubeFed API and joins the regions' clusters to it."""

import json
import logging

import federation_members
import kubefed_host
import ops
from federation_interfaces import (
    TOKEN_KEY,
    DatabagError,
    HostAppData,
    MemberAppData,
    RegionHealthUnitData,
)
from federation_interfaces.cluster import Access, read_access
from federation_interfaces.databag import describe
from federation_interfaces.fields import (
    check_https_url,
    check_region,
    check_token_lifetime,
    parse_duration,
)
from federation_members import MemberError, MemberRecord, ReplicasAppData
from kubefed_host import Host, HostError, Settings
from ops.interface_kube_control import KubeControlRequirer
from pydantic import ValidationError

logger = logging.getLogger(__name__)

KUBE_CONTROL = "kube-control"
MEMBERS = "members"
REGION_HEALTH = "region-health"
REPLICAS = "replicas"
KUBECONFIG_LABEL = "federation-kubeconfig"


class NotReadyError(Exception):
    """Something that others have to give is not there yet; the text says what."""


class KubefedHostCharm(ops.CharmBase):
    """Installs the API, runs its controller, joins the members."""

    def __init__(self, framework: ops.Framework):
        super().__init__(framework)
        # Named as the endpoint of the control plane: its library ignores new tokens otherwise.
        self.kube_control = KubeControlRequirer(self, KUBE_CONTROL, schemas="0,1")
        self.host = Host(self.charm_dir)
        self.problem = ""
        framework.observe(self.on.collect_unit_status, self._on_collect_status)
        framework.observe(self.on.collect_app_status, self._on_collect_status)
        observed = [self.on.start, self.on.upgrade_charm, self.on.config_changed]
        observed += [self.on.leader_elected, self.on.update_status, self.on.secret_changed]
        for name in (KUBE_CONTROL, MEMBERS, REGION_HEALTH, REPLICAS):
            observed += [self.on[name].relation_created, self.on[name].relation_changed]
        for name in (MEMBERS, REGION_HEALTH):
            observed += [self.on[name].relation_departed, self.on[name].relation_broken]
        for event in observed:
            framework.observe(event, self.reconcile)
        framework.observe(self.on.secret_remove, self._on_secret_remove)
        framework.observe(self.on.stop, self._on_stop)
        framework.observe(self.on.remove, self._on_remove)
        framework.observe(self.on.join_cluster_action, self._on_join_cluster)
        framework.observe(self.on.unjoin_cluster_action, self._on_unjoin_cluster)
        framework.observe(self.on.list_clusters_action, self._on_list_clusters)
        framework.observe(self.on.get_kubeconfig_action, self._on_get_kubeconfig)

    # What is seen

    def settings(self) -> Settings:
        """Return the configuration; raises pydantic.ValidationError."""
        return self.load_config(Settings)

    def host_cluster(self, settings: Settings) -> str:
        """Return the host cluster's name: configured, or the model's."""
        return settings.host_cluster or check_region(self.model.name)

    def access(self) -> Access | None:
        """Return the way into the host cluster, None while kube-control has not given it."""
        try:
            return read_access(self.kube_control, self.unit.name)
        except ops.ModelError:
            return None  # the secret is not granted yet; kube-control's next change comes

    def members(self) -> list[ops.Relation]:
        """Return the relations to members that have not ended, oldest first."""
        standing = [each for each in self.model.relations[MEMBERS] if each.active and each.app]
        return sorted(standing, key=lambda relation: relation.id)

    def member_data(self, relation: ops.Relation) -> MemberAppData:
        """Return what a member published; raises DatabagError."""
        return MemberAppData.load(relation.data[relation.app])

    def shared(self) -> ReplicasAppData:
        """Return what the units know together."""
        peers = self.model.get_relation(REPLICAS)
        return ReplicasAppData.load(peers.data[self.app]) if peers else ReplicasAppData()

    def _save(self, **changed: object) -> None:
        peers = self.model.get_relation(REPLICAS)
        if peers is not None:
            _ = self.shared().model_copy(update=changed).dump(peers.data[self.app])

    def _records(self) -> dict[str, MemberRecord]:
        return {record.region: record for record in self.shared().members or []}

    def _save_records(self, records: dict[str, MemberRecord]) -> None:
        self._save(members=[records[region] for region in sorted(records)])

    # Making it so

    def reconcile(self, event: ops.EventBase) -> None:
        """Compare what is wanted with what is there, and act."""
        self.kube_control.set_auth_request(self.unit.name, "system:masters")
        try:
            settings = self.settings()
            name = self.host_cluster(settings)
        except ValueError:
            return  # the status says it
        access = self.access()
        if access is None or self.model.get_relation(REPLICAS) is None:
            return
        try:
            if self.unit.is_leader():
                self._install(access, settings)
            if self.shared().installed is None:
                return  # the leader installs the API first
            self._run_controller(access, settings, name)
        except HostError as error:
            logger.warning("%s", error)
            self.problem = str(error)
            return
        if self.unit.is_leader():
            self._publish(settings, name)
            self._reconcile_members(event, access, settings)

    def _install(self, access: Access, settings: Settings) -> None:
        digest = kubefed_host.install_digest(access, settings)
        if self.shared().installed != digest:
            kubefed_host.install_api(access, settings)
            self._save(installed=digest)

    def _run_controller(self, access: Access, settings: Settings, name: str) -> None:
        self.host.ensure_user()
        changed = self.host.ensure_tokens(access, settings, name, kubefed_host.now())
        self.host.ensure_region_health(self._agents())
        binding = self.model.get_binding(REPLICAS)
        address = binding.network.bind_address if binding else None
        self.host.ensure_service(settings, str(address or "127.0.0.1"), restart=changed)
        self.unit.set_workload_version(kubefed_host.version())

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

    def _publish(self, settings: Settings, name: str) -> None:
        """Tell each member who federates and whether it is joined."""
        records = self._records()
        for relation in self.members():
            joined = any(
                record.relation == relation.id and record.state == "joined"
                for record in records.values()
            )
            # Without kinds the member takes the standard ten.
            data = HostAppData(host_cluster=name, namespace=settings.namespace, joined=joined)
            _ = data.dump(relation.data[self.app])

    def _reconcile_members(
        self,
        event: ops.EventBase,
        access: Access,
        settings: Settings,
    ) -> None:
        before = self._records()
        records = dict(before)
        self._leave_ended(records, access, settings)
        renewed = event.secret.id if isinstance(event, ops.SecretChangedEvent) else None
        for relation in self.members():
            self._join_related(relation, records, access, settings, renewed)
        asked = isinstance(event, ops.UpdateStatusEvent) or records != before
        joined = [record for record in records.values() if record.state == "joined"]
        if joined and (asked or not all(record.ready for record in joined)):
            try:
                found = self._clusters(access, settings)
                fresh = federation_members.refreshed(records.values(), found)
                records = {record.region: record for record in fresh}
            except MemberError as error:
                logger.warning("the state of the clusters is not known: %s", error)
        self._save_records(records)
        self._publish(settings, self.host_cluster(settings))

    def _clusters(self, access: Access, settings: Settings) -> list[dict[str, object]]:
        token = self.host.charm_token()
        return federation_members.list_clusters(access.address, token, settings.namespace)

    def _leave_ended(
        self,
        records: dict[str, MemberRecord],
        access: Access,
        settings: Settings,
    ) -> None:
        """Take out what was joined over a relation that has ended or names another region."""
        names: dict[int, str | None] = {}
        for relation in self.members():
            try:
                names[relation.id] = self.member_data(relation).region
            except DatabagError:
                names[relation.id] = None
        for record in list(records.values()):
            if record.relation in names and names[record.relation] in (None, record.region):
                continue
            try:
                _ = self._leave(access, settings, record.region, force=True)
                del records[record.region]
            except MemberError as error:
                text = f"leaving: {error}"
                records[record.region] = record.model_copy(update={"error": text})

    def _leave(
        self,
        access: Access,
        settings: Settings,
        region: str,
        *,
        force: bool,
    ) -> list[str]:
        left = federation_members.leave(
            access.address,
            self.host.charm_token(),
            settings.namespace,
            region,
            force=force,
        )
        if left:
            logger.warning("%s: left behind: %s", region, ", ".join(left))
        return left

    def _join_related(
        self,
        relation: ops.Relation,
        records: dict[str, MemberRecord],
        access: Access,
        settings: Settings,
        renewed: str | None,
    ) -> None:
        """Join the member of a relation, or bring what it was joined with up to date."""
        try:
            data = self.member_data(relation)
        except DatabagError:
            return  # the status names it
        if data.missing:
            return
        region = data.region or ""
        record = records.get(region)
        if record is None and not settings.auto_join:
            return
        if record is not None and (record.relation != relation.id or record.state == "left"):
            return
        digest = federation_members.digest(data)
        fresh = renewed is not None and _same_secret(renewed, data.token_secret_id)
        done = record is not None and record.state == "joined" and record.digest == digest
        if done and not fresh:
            return
        joined = record is not None and record.state == "joined"
        check = federation_members.HOOK_CHECK_SECONDS
        try:
            self._join(data, access, settings, check_s=check)
            records[region] = _record(relation, region, "joined", digest, record)
        except (MemberError, NotReadyError) as error:
            logger.warning("joining %s: %s", region, error)
            state = "joined" if joined else "failed"
            records[region] = MemberRecord(
                region=region,
                relation=relation.id,
                state=state,
                error=str(error),
            )

    def _join(
        self,
        data: MemberAppData,
        access: Access,
        settings: Settings,
        *,
        check_s: float,
    ) -> None:
        _ = federation_members.join(
            access.address,
            self.host.charm_token(),
            settings.namespace,
            data,
            self._token(data),
            check_s=check_s,
        )

    def _token(self, data: MemberAppData) -> str:
        """Return the member's token; raises NotReadyError."""
        try:
            secret = self.model.get_secret(id=data.token_secret_id)
            return secret.get_content(refresh=True)[TOKEN_KEY]
        except (ops.ModelError, KeyError) as error:
            raise NotReadyError("its token is not granted to this model yet") from error

    # Events of their own

    def _on_secret_remove(self, event: ops.SecretRemoveEvent) -> None:
        event.remove_revision()

    def _on_stop(self, _: ops.StopEvent) -> None:
        self.host.stop()

    def _on_remove(self, _: ops.RemoveEvent) -> None:
        self.host.remove()

    def _ready_for_action(self) -> tuple[Settings, Access]:
        """Return what every action needs; raises NotReadyError."""
        if not self.unit.is_leader():
            raise NotReadyError("run this action on the leader: kubefed-host/leader")
        try:
            settings = self.settings()
        except ValueError as error:
            raise NotReadyError(f"the configuration is refused: {_text(error)}") from error
        access = self.access()
        if access is None:
            raise NotReadyError("kube-control has not given access to the host cluster yet")
        if self.shared().installed is None or not self.host.charm_token():
            raise NotReadyError("the federation's API is not installed yet")
        return settings, access

    def _related(self, cluster: str) -> tuple[ops.Relation, MemberAppData]:
        """Return the relation of the member that is called so; raises NotReadyError."""
        known: list[str] = []
        for relation in self.members():
            try:
                data = self.member_data(relation)
            except DatabagError as error:
                known.append(f"relation {relation.id} (refused: {error})")
                continue
            if data.region == cluster:
                if data.missing:
                    text = f"{cluster} has not published {', '.join(data.missing)} yet"
                    raise NotReadyError(text)
                return relation, data
            known.append(data.region or f"relation {relation.id} (no name yet)")
        related = ", ".join(sorted(known)) or "none"
        raise NotReadyError(
            f"no related member is called {cluster!r} (related: {related}); "
            "consume its offer and integrate it with kubefed-host:members",
        )

    def _on_join_cluster(self, event: ops.ActionEvent) -> None:
        cluster = str(event.params["cluster"])
        try:
            settings, access = self._ready_for_action()
            relation, data = self._related(cluster)
            check = federation_members.CHECK_SECONDS
            self._join(data, access, settings, check_s=check)
        except (MemberError, NotReadyError) as error:
            event.fail(f"{cluster} is not joined: {error}")
            return
        records = self._records()
        before = records.get(cluster)
        digest = federation_members.digest(data)
        records[cluster] = _record(relation, cluster, "joined", digest, before)
        self._save_records(records)
        self._publish(settings, self.host_cluster(settings))
        again = before is not None and before.state == "joined"
        event.set_results({"cluster": cluster, "state": "already joined" if again else "joined"})

    def _on_unjoin_cluster(self, event: ops.ActionEvent) -> None:
        cluster = str(event.params["cluster"])
        records = self._records()
        results: dict[str, object] = {"cluster": cluster, "state": "unjoined"}
        try:
            settings, access = self._ready_for_action()
            if cluster not in records:
                joined = ", ".join(sorted(records)) or "none"
                raise NotReadyError(f"no such cluster; known: {joined}")
            left = self._leave(access, settings, cluster, force=bool(event.params["force"]))
            results["left-behind"] = ", ".join(left) or "nothing"
            # Saved before the workloads are touched: the cluster is out, whatever comes next.
            update = {"state": "left", "error": "", "ready": None, "digest": ""}
            records[cluster] = records[cluster].model_copy(update=update)
            self._save_records(records)
            self._publish(settings, self.host_cluster(settings))
            if event.params["workloads"] == "delete":
                _, data = self._related(cluster)
                token = self._token(data)
                results["deleted"] = federation_members.delete_workloads(data, token)
        except (MemberError, NotReadyError) as error:
            event.fail(f"{cluster}: {error}")
            return
        event.set_results(results)

    def _on_list_clusters(self, event: ops.ActionEvent) -> None:
        try:
            settings, access = self._ready_for_action()
            found = self._clusters(access, settings)
        except (MemberError, NotReadyError) as error:
            event.fail(str(error))
            return
        event.set_results({"clusters": json.dumps(found), "count": len(found)})

    def _on_get_kubeconfig(self, event: ops.ActionEvent) -> None:
        try:
            server = str(event.params["server"])
            server = check_https_url(server) if server else ""
            lifetime = check_token_lifetime(parse_duration(str(event.params["lifetime"])))
            settings, access = self._ready_for_action()
            name = self.host_cluster(settings)
            text, minted = kubefed_host.user_kubeconfig(access, settings, name, server, lifetime)
        except (HostError, NotReadyError, ValueError) as error:
            event.fail(str(error))
            return
        path = self.host.write_user_kubeconfig(text)
        try:
            secret = self.model.get_secret(label=KUBECONFIG_LABEL)
            secret.set_content({"kubeconfig": text})
        except ops.SecretNotFoundError:
            secret = self.app.add_secret({"kubeconfig": text}, label=KUBECONFIG_LABEL)
        event.set_results(
            {
                "kubeconfig": str(path),
                "secret-id": secret.unique_identifier,
                "context": name,
                "expires-at": minted.expires_at.isoformat(),
            },
        )

    # Status

    def _on_collect_status(self, event: ops.CollectStatusEvent) -> None:
        try:
            _ = self.host_cluster(self.settings())
        except ValueError as error:
            event.add_status(ops.BlockedStatus(f"config: {_text(error)}"))
            return
        if not self.model.relations[KUBE_CONTROL]:
            event.add_status(ops.BlockedStatus("integrate with kubernetes-control-plane"))
            return
        if self.access() is None:
            event.add_status(ops.WaitingStatus("kube-control has not given access yet"))
            return
        if self.problem:
            event.add_status(ops.WaitingStatus(f"the federation's API: {self.problem}"))
        if self.shared().installed is None:
            event.add_status(ops.WaitingStatus("the federation's API is not installed yet"))
            return
        if not self.host.running():
            event.add_status(ops.WaitingStatus("the controller is not running"))
            return
        for status in self._member_statuses():
            event.add_status(status)

    def _member_statuses(self) -> list[ops.StatusBase]:
        found: list[ops.StatusBase] = []
        records = self._records()
        for relation in self.members():
            try:
                data = self.member_data(relation)
            except DatabagError as error:
                text = f"members relation {relation.id}: data refused: {error}"
                found.append(ops.BlockedStatus(text))
                continue
            record = records.get(data.region or "")
            if data.region and record and record.relation != relation.id:
                numbers = f"{record.relation} and {relation.id}"
                text = f"{data.region} is the name of two members (relations {numbers})"
                found.append(ops.BlockedStatus(text))
        trouble = [record.trouble for record in records.values() if record.trouble]
        if trouble:
            found.append(ops.WaitingStatus("; ".join(trouble)))
        joined = sorted(each.region for each in records.values() if each.state == "joined")
        clusters = "1 cluster" if len(joined) == 1 else f"{len(joined)} clusters"
        names = f": {' '.join(joined)}" if joined else ""
        found.append(ops.ActiveStatus(f"{clusters} joined{names}"))
        return found


def _record(
    relation: ops.Relation,
    region: str,
    state: str,
    digest: str,
    before: MemberRecord | None,
) -> MemberRecord:
    ready = before.ready if before else None
    fields = {"region": region, "relation": relation.id, "state": state, "digest": digest}
    return MemberRecord.model_validate(fields | {"ready": ready})


def _same_secret(one: str | None, other: str | None) -> bool:
    """Compare secrets by what comes last: Juju writes an ID with its model or without."""
    last = [text.replace(":", "/").rsplit("/", 1)[-1] for text in (one or "", other or "")]
    return last[0] == last[1] != ""


def _text(error: ValueError) -> str:
    return describe(error) if isinstance(error, ValidationError) else str(error)


if __name__ == "__main__":
    ops.main(KubefedHostCharm)
