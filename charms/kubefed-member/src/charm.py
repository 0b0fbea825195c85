#!/usr/bin/env python3
"""Charm of a member: it hands the federation's host what it needs to write in this cluster."""

import logging
from datetime import datetime

import kubefed_member
import ops
from federation_interfaces import DatabagError, HostAppData, MemberAppData
from federation_interfaces.access import Access
from federation_interfaces.databag import config_error
from federation_interfaces.fields import check_region
from federation_interfaces.region_cluster import RegionCluster
from kubefed_member import MemberError, Records
from member_actions import MemberActions
from member_settings import Federation, Settings
from member_tokens import TokenSecrets

logger = logging.getLogger(__name__)

FEDERATION = "federation"


class KubefedMemberCharm(ops.CharmBase):
    """Makes the federation's account in the region's cluster and keeps its token fresh."""

    def __init__(self, framework: ops.Framework):
        super().__init__(framework)
        self.cluster = RegionCluster(self)
        self.store = kubefed_member.Store()
        self.tokens = TokenSecrets(self, self.store)
        self.actions = MemberActions(self)
        self._reconciled = False
        self._statuses: list[ops.StatusBase] | None = None
        framework.observe(self.on.collect_unit_status, self._on_collect_status)
        framework.observe(self.on.collect_app_status, self._on_collect_status)
        for event in (
            self.on.start,
            self.on.upgrade_charm,
            self.on.config_changed,
            self.on.leader_elected,
            self.on.update_status,
            self.on.secret_changed,
            self.on.secret_rotate,
            self.on.secret_expired,
            *self.cluster.events(),
            *(self.on[FEDERATION].relation_created, self.on[FEDERATION].relation_changed),
            self.on[FEDERATION].relation_broken,
        ):
            framework.observe(event, self.reconcile)
        framework.observe(self.on.secret_remove, self._on_secret_remove)
        framework.observe(self.on.remove, self._on_remove)
        if ops.tracing is not None:  # dispatch has it found where somebody takes traces
            self.tracing = ops.tracing.Tracing(
                self, "charm-tracing", ca_relation_name="receive-ca-cert"
            )

    # What is seen

    def settings(self) -> Settings:
        """Return the configuration; raises pydantic.ValidationError."""
        return self.load_config(Settings)

    def region(self, settings: Settings) -> str:
        """Return this region's name: configured, or the model's."""
        return settings.region or check_region(self.model.name)

    def federations(self) -> list[ops.Relation]:
        """Return the relations to hosts that have not ended."""
        return [each for each in self.model.relations[FEDERATION] if each.active and each.app]

    # Making it so

    def reconcile(self, event: ops.EventBase) -> None:
        """Compare what is wanted with what is there, and act; the leader only."""
        if self._reconciled:
            return  # kube-control's library makes two events of one changed secret
        self._reconciled = True
        try:
            settings = self.settings()
            region = self.region(settings)
        except ValueError:
            return  # the status says it
        access = self.cluster.access_or_ask(settings)
        if not self.unit.is_leader():
            return
        records = self.store.load()
        self._leave_ended(access, region, settings, records)
        self._forget_secret(event, records)
        if access is not None:
            cluster = self._cluster_now(event, access, records)
            renew = records.cluster not in ("", cluster)
            if renew:
                logger.warning("another cluster answers than before: accounts and tokens are new")
                records.own_token_renew_at = None
            for relation in self.federations():
                self.serve(relation, access, region, settings, records, renew=renew)
            if not any(each.error for each in records.federations.values()):
                records.cluster = cluster
        self.store.save(records)

    @staticmethod
    def _cluster_now(event: ops.EventBase, access: Access, records: Records) -> str:
        """Return which cluster it is; not asked in each hook, and as before if none answers."""
        if records.cluster and not isinstance(event, ops.UpdateStatusEvent):
            return records.cluster
        return kubefed_member.identity(access) or records.cluster

    def _forget_secret(self, event: ops.EventBase, records: Records) -> None:
        """Drop the secret that Juju kept because the hook that left the federation failed."""
        if not isinstance(event, ops.RelationBrokenEvent) or event.relation.name != FEDERATION:
            return
        if event.relation.id not in records.federations:
            self.tokens.drop(event.relation.id)

    def _ended(self, records: Records, settings: Settings) -> list[int]:
        """Return the records whose relation is gone or now names another host."""
        standing = {relation.id: relation for relation in self.federations()}
        ended: list[int] = []
        for number, federation in records.federations.items():
            relation = standing.get(number)
            wanted = self._wanted(relation, settings) if relation else None
            if relation is None or (wanted and not wanted.same_host(federation)):
                ended.append(number)
        return ended

    def _leave_ended(
        self,
        access: Access | None,
        region: str,
        settings: Settings,
        records: Records,
    ) -> None:
        for number in self._ended(records, settings):
            self._leave(number, access, region, settings, records)

    def _leave(
        self,
        number: int,
        access: Access | None,
        region: str,
        settings: Settings,
        records: Records,
    ) -> None:
        """Take away what was made for a federation; what fails is kept for the next try."""
        self.tokens.drop(number)
        federation = records.federations.pop(number)
        shared = federation.host_cluster == region or any(
            other.namespace == federation.namespace for other in records.federations.values()
        )
        try:
            kubefed_member.leave(
                access, self.store, records, region, federation, keep_namespace=shared
            )
            if settings.workloads_on_leave == "delete":
                if access is None:
                    raise MemberError("its objects stay: kube-control gives no access to delete")
                count = kubefed_member.delete_workloads(access, federation)
                logger.info("deleted %d objects of the federation", count)
        except MemberError as error:
            logger.warning("leaving %s: %s", federation.host_cluster, error)
            federation.error = str(error)
            records.federations[number] = federation

    def serve(
        self,
        relation: ops.Relation,
        access: Access,
        region: str,
        settings: Settings,
        records: Records,
        *,
        renew: bool = False,
    ) -> None:
        """Bring one host's account, token and databag up to date."""
        wanted = self._wanted(relation, settings)
        data = MemberAppData(
            region=region,
            api_endpoint=settings.api_endpoint or access.address.server,
            ca_certificate=self._published_ca(access, settings),
            labels={**settings.labels, "region": region},
        )
        if wanted is not None:
            found = records.federations.get(relation.id)
            update = {"kinds": wanted.kinds, "scope": wanted.scope}
            federation = found.model_copy(update=update) if found else wanted
            records.federations[relation.id] = federation
            try:
                if renew:
                    federation.digest = ""  # the operator's mend also where the account is gone
                self._prepare(access, region, federation)
                update = self.tokens.published(relation)
                if renew or not self.tokens.hold(federation, update):
                    update = self.tokens.give(relation, access, settings, records, renew=renew)
                data = data.model_copy(update=update)
                self.tokens.end_older(relation, access, federation, self._taken_at(relation))
                federation.error = ""
            except MemberError as error:
                logger.warning("serving %s: %s", federation.host_cluster, error)
                federation.error = str(error)
                federation.digest = ""  # whatever is missing in the cluster is made again
                # What was published of the token still works though a renewal failed.
                data = data.model_copy(update=self.tokens.published(relation))
        _ = data.dump(relation.data[self.app])

    @staticmethod
    def _published_ca(access: Access, settings: Settings) -> str:
        """Return the CA of the published address, which may be another than kube-control's."""
        other = settings.ca_certificate if settings.api_endpoint else ""
        return other or access.address.ca_certificate

    @staticmethod
    def _taken_at(relation: ops.Relation) -> datetime | None:
        """Return when the token was minted that the host's cluster holds, as far as it says."""
        return HostAppData.load(relation.data[relation.app]).token_issued_at

    def _wanted(self, relation: ops.Relation, settings: Settings) -> Federation | None:
        """Return what the host asks for, None while it has not said it."""
        try:
            host = HostAppData.load(relation.data[relation.app])
        except DatabagError:
            return None  # the status names it
        if host.host_cluster is None or host.namespace is None:
            return None
        return Federation(
            host_cluster=host.host_cluster,
            namespace=host.namespace,
            kinds=host.kinds,
            scope=settings.scope,
        )

    def _prepare(self, access: Access, region: str, federation: Federation) -> None:
        digest = kubefed_member.digest(access, region, federation)
        if federation.digest != digest:
            federation.service_account = kubefed_member.prepare(access, region, federation)
            federation.digest = digest

    # Events of their own

    def _on_secret_remove(self, event: ops.SecretRemoveEvent) -> None:
        event.remove_revision()

    def _on_remove(self, _: ops.RemoveEvent) -> None:
        """Leave nothing in the cluster, also when kube-control was gone before."""
        try:
            if self.app.planned_units() == 0:
                self._leave_all(self.settings())
        except (ValueError, MemberError, ops.ModelError) as error:
            logger.warning("the charm's account may be left in the cluster: %s", error)
        self.store.remove()

    def _leave_all(self, settings: Settings) -> None:
        records = self.store.load()
        access = self.cluster.access_if_any(settings)
        for number in list(records.federations):
            self._leave(number, access, self.region(settings), settings, records)
        if access is not None:
            kubefed_member.remove_own_account(access)
        left = [each.error for each in records.federations.values()]
        if left:
            raise MemberError("; ".join(left))

    def token_end(self, relation: ops.Relation) -> datetime | None:
        """Return when the token of a relation ends, None while there is none."""
        return MemberAppData.load(relation.data[self.app]).token_expires_at

    # Status

    def _on_collect_status(self, event: ops.CollectStatusEvent) -> None:
        if self._statuses is None:
            self._statuses = self._look()  # once for the unit and the application
        for status in self._statuses:
            event.add_status(status)

    def _look(self) -> list[ops.StatusBase]:
        try:
            settings = self.settings()
            _ = self.region(settings)
        except ValueError as error:
            return [ops.BlockedStatus(f"config: {config_error(error)}")]
        trouble = self.cluster.trouble(settings)
        if trouble is not None:
            return [trouble]
        if not self.unit.is_leader():
            return [ops.ActiveStatus("standing by for the leader")]
        records = self.store.load()
        found = [self._status_of(each, records, settings) for each in self.federations()]
        standing = {relation.id for relation in self.federations()}
        for number, federation in records.federations.items():
            if number not in standing:
                text = f"leaving {federation.host_cluster}: {federation.error}"
                found.append(ops.WaitingStatus(text))
        if not standing:
            found.append(ops.ActiveStatus("ready to join a federation"))
        return found

    def _status_of(
        self,
        relation: ops.Relation,
        records: Records,
        settings: Settings,
    ) -> ops.StatusBase:
        try:
            host = HostAppData.load(relation.data[relation.app])
        except DatabagError as error:
            return ops.BlockedStatus(f"federation: the host's data is refused: {error}")
        federation = records.federations.get(relation.id)
        if host.host_cluster is None or federation is None:
            return ops.WaitingStatus("the federation's host has not named itself yet")
        end = self.token_end(relation)
        moment = kubefed_member.now()
        warn = end is not None and end - moment < settings.token_warning
        left = f"; token ends in {kubefed_member.remaining(end, moment)}" if end and warn else ""
        if federation.error:
            return ops.WaitingStatus(f"{host.host_cluster}: {federation.error}{left}")
        joined = "member of" if host.joined else "ready to join"
        return ops.ActiveStatus(f"{joined} {host.host_cluster}{left}")


if __name__ == "__main__":
    ops.main(KubefedMemberCharm)
