"""The register of the federation's members: what relations say, what is joined, with ops."""

import logging
from datetime import datetime

import clusters_told
import federation_members
import ops
from federation_interfaces import ISSUED_KEY, TOKEN_KEY, DatabagError, HostAppData, MemberAppData
from federation_interfaces.access import Access
from federation_members import MemberError, MemberRecord, OrphansError, ReplicasAppData
from kubefed_host import Host, Settings

logger = logging.getLogger(__name__)

MEMBERS = "members"
REPLICAS = "replicas"


class ClustersChangedEvent(ops.EventBase):
    """This charm's own service has seen that the status has become untrue."""


class NotReadyError(Exception):
    """Something that others have to give is not there yet; the text says what."""


class Register:
    """The members, as relations and the peers' databag show them."""

    def __init__(self, charm: ops.CharmBase, host: Host):
        self._charm = charm
        self._host = host
        self.silent = False
        """Whether the host cluster did not say in this hook how the clusters are."""

    def relations(self) -> list[ops.Relation]:
        """Return the relations to members that have not ended, oldest first."""
        standing = [
            each for each in self._charm.model.relations[MEMBERS] if each.active and each.app
        ]
        return sorted(standing, key=lambda relation: relation.id)

    def member_data(self, relation: ops.Relation) -> MemberAppData:
        """Return what a member published; raises DatabagError."""
        return MemberAppData.load(relation.data[relation.app])

    def shared(self) -> ReplicasAppData:
        """Return what the units know together."""
        peers = self._charm.model.get_relation(REPLICAS)
        return ReplicasAppData.load(peers.data[self._charm.app]) if peers else ReplicasAppData()

    def save(self, **changed: object) -> None:
        """Change what the units know together; the leader only."""
        peers = self._charm.model.get_relation(REPLICAS)
        if peers is not None:
            _ = self.shared().model_copy(update=changed).dump(peers.data[self._charm.app])

    def records(self) -> dict[str, MemberRecord]:
        """Return what is known of each region."""
        return {record.region: record for record in self.shared().members or []}

    def save_records(self, records: dict[str, MemberRecord]) -> None:
        """Keep what is known of each region."""
        self.save(members=[records[region] for region in sorted(records)])

    def publish(self, settings: Settings, name: str) -> None:
        """Tell each member who federates and whether it is joined."""
        records = self.records()
        for relation in self.relations():
            joined = [
                record
                for record in records.values()
                if record.relation == relation.id and record.state == "joined"
            ]
            data = HostAppData(
                host_cluster=name,
                namespace=settings.namespace,
                # Without kinds the member takes the standard ten.
                kinds=self.shared().kinds,
                joined=bool(joined),
                token_issued_at=joined[0].token_issued_at if joined else None,
            )
            _ = data.dump(relation.data[self._charm.app])

    def reconcile(
        self,
        event: ops.EventBase,
        access: Access,
        settings: Settings,
        name: str,
    ) -> None:
        """Join, renew and leave so that the register is what the relations say."""
        before = self.records()
        records = dict(before)
        self._leave_ended(records, access, settings)
        renewed = event.secret.id if isinstance(event, ops.SecretChangedEvent) else None
        for relation in self.relations():
            self._join_related(relation, records, access, settings, renewed)
        looks = isinstance(event, ops.UpdateStatusEvent | ClustersChangedEvent)
        asked = looks or records != before
        joined = [record for record in records.values() if record.state == "joined"]
        if joined and (asked or not all(record.ready for record in joined)):
            try:
                found = federation_members.cluster_states(
                    access.address, self._host.charm_token(), settings.namespace
                )
                fresh = federation_members.refreshed(records.values(), found)
                records = {record.region: record for record in fresh}
            except MemberError as error:
                self.silent = True
                logger.warning("the state of the clusters is not known: %s", error)
        self.save_records(records)
        self.publish(settings, name)

    def clusters(self, access: Access, settings: Settings) -> list[dict[str, object]]:
        """Return the clusters as the host cluster knows them; raises MemberError."""
        token = self._host.charm_token()
        return federation_members.list_clusters(access.address, token, settings.namespace)

    def _leave_ended(
        self,
        records: dict[str, MemberRecord],
        access: Access,
        settings: Settings,
    ) -> None:
        """Take out what was joined over a relation that has ended or names another region."""
        names: dict[int, str | None] = {}
        for relation in self.relations():
            try:
                names[relation.id] = self.member_data(relation).region
            except DatabagError:
                names[relation.id] = None
        for record in list(records.values()):
            if record.relation in names and names[record.relation] in (None, record.region):
                continue
            try:
                _ = self.leave(access, settings, record.region, force=True)
                del records[record.region]
            except MemberError as error:
                text = f"leaving: {error}"
                records[record.region] = record.model_copy(update={"error": text})

    def leave(
        self,
        access: Access,
        settings: Settings,
        region: str,
        *,
        force: bool,
    ) -> list[str]:
        """Take a cluster out and return what it keeps; raises MemberError."""
        left = federation_members.leave(
            access.address,
            self._host.charm_token(),
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
            # What the controller acts on already is not held up.
            issued = self.join(data, access, settings, check_s=check, release_orphans=joined)
            records[region] = record_of(relation, region, digest, record, issued)
        except (MemberError, NotReadyError) as error:
            logger.warning("joining %s: %s", region, error)
            state = "joined" if joined else "failed"
            records[region] = MemberRecord(
                region=region,
                relation=relation.id,
                state=state,
                error=str(error),
                held=isinstance(error, OrphansError),
                token_issued_at=record.token_issued_at if record else None,
            )

    def join(
        self,
        data: MemberAppData,
        access: Access,
        settings: Settings,
        *,
        check_s: float,
        release_orphans: bool,
    ) -> datetime | None:
        """Register a member's cluster.

        Args:
            data: what the member published.
            access: the host cluster.
            settings: the configuration.
            check_s: for how long to ask the member's API at most.
            release_orphans: also where the host knows none of a federation's objects there.

        Returns:
            When the token was minted that the host cluster holds now; None: the member is of a
            revision that does not say it.

        Raises:
            OrphansError: it holds such objects; nothing was registered.
            MemberError: nothing was registered.
            NotReadyError: its token is not there yet.
        """
        token, issued = self.credential(data)
        _ = federation_members.join(
            access.address,
            self._host.charm_token(),
            settings.namespace,
            data,
            token,
            check_s=check_s,
            release_orphans=release_orphans,
        )
        return issued

    def let_go(self, data: MemberAppData, access: Access, settings: Settings) -> str:
        """Say what a member's cluster loses by joining; raises NotReadyError."""
        token, _ = self.credential(data)
        return federation_members.let_go(
            access.address, self._host.charm_token(), settings.namespace, data, token
        )

    def credential(self, data: MemberAppData) -> tuple[str, datetime | None]:
        """Return the member's token and when it was minted; raises NotReadyError."""
        try:
            secret = self._charm.model.get_secret(id=data.token_secret_id)
            content = secret.get_content(refresh=True)
            issued = content.get(ISSUED_KEY)
            return content[TOKEN_KEY], datetime.fromisoformat(issued) if issued else None
        except (ops.ModelError, KeyError) as error:
            raise NotReadyError("its token is not granted to this model yet") from error

    def related(self, cluster: str) -> tuple[ops.Relation, MemberAppData]:
        """Return the relation of the member that is called so; raises NotReadyError."""
        known: list[str] = []
        for relation in self.relations():
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

    def said(self) -> str:
        """Return what the status says of the joined clusters, as the service reads it."""
        joined = [record for record in self.records().values() if record.state == "joined"]
        return clusters_told.said(
            {
                each.region: clusters_told.trouble(ready=each.ready, reason=each.reason)
                for each in joined
            }
        )

    def statuses(self, note: str = "") -> list[ops.StatusBase]:
        """Say how the members are; and what else there is to note where all are well."""
        found: list[ops.StatusBase] = []
        records = self.records()
        for relation in self.relations():
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
        held = [record.trouble for record in records.values() if record.held]
        if held:
            found.append(ops.BlockedStatus("; ".join(held)))
        trouble = [each.trouble for each in records.values() if each.trouble and not each.held]
        if trouble:
            found.append(ops.WaitingStatus("; ".join(trouble)))
        joined = sorted(each.region for each in records.values() if each.state == "joined")
        clusters = "1 cluster" if len(joined) == 1 else f"{len(joined)} clusters"
        names = f": {' '.join(joined)}" if joined else ""
        found.append(ops.ActiveStatus(f"{clusters} joined{names}{note}"))
        return found


def record_of(
    relation: ops.Relation,
    region: str,
    digest: str,
    before: MemberRecord | None,
    issued: datetime | None,
) -> MemberRecord:
    """Return a region's record after it was joined; what the controller said of it stays."""
    return MemberRecord(
        region=region,
        relation=relation.id,
        state="joined",
        digest=digest,
        ready=before.ready if before else None,
        token_issued_at=issued,
    )


def _same_secret(one: str | None, other: str | None) -> bool:
    """Compare secrets by what comes last: Juju writes an ID with its model or without."""
    last = [text.replace(":", "/").rsplit("/", 1)[-1] for text in (one or "", other or "")]
    return last[0] == last[1] != ""
