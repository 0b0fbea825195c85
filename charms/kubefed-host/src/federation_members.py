"""The members of the federation: what is known of each, joining and taking out."""

import contextlib
import dataclasses
import hashlib
import json
from collections.abc import Iterable
from typing import Any, ClassVar, Literal

import clusters_told
from federation_interfaces.cluster import (
    Cluster,
    ClusterAddress,
    ClusterError,
    api_client,
)
from federation_interfaces.databag import Databag
from federation_interfaces.kubefed_member import FederatedKind, MemberAppData
from federation_interfaces.workloads import delete_managed
from pydantic import AwareDatetime, BaseModel, ConfigDict

CHECK_SECONDS = 10
HOOK_CHECK_SECONDS = 2


class MemberError(Exception):
    """A member was not joined or taken out; the text names it and why."""


class OrphansError(MemberError):
    """A member holds objects of a federation that joining it would let go of."""


class MemberRecord(BaseModel):
    """What the units know of one region.

    Attributes:
        relation: number of the relation that brought it.
        state: joined; left on demand, so it does not join again by itself; or not joined, with
            the reason in `error`.
        digest: of what it was joined with.
        error: why the last try to join, to renew or to leave failed.
        held: an operator has to decide what becomes of the objects that it holds.
        ready: what the controller says of a joined cluster; None: nothing yet.
        message: why it says so.
        reason: the same in a word.
        token_issued_at: of the token that the host cluster holds.
    """

    model_config: ClassVar[ConfigDict] = ConfigDict(extra="ignore")

    region: str
    relation: int
    state: Literal["joined", "left", "failed"]
    digest: str = ""
    error: str = ""
    held: bool = False
    ready: bool | None = None
    message: str = ""
    reason: str = ""
    token_issued_at: AwareDatetime | None = None

    @property
    def trouble(self) -> str:
        """Say what is wrong with the region, if anything is."""
        if self.error:
            return f"{self.region}: {self.error}"
        if self.state == "joined" and self.ready is False:
            return f"{self.region}: {self.message or 'not ready'}"
        return ""


class ReplicasAppData(Databag):
    """Peer application databag: what has to outlive a leader. Nothing in it is secret.

    Attributes:
        installed: what the API was installed from.
        host_uid: which cluster it was installed in.
        control_plane: which one is in force, or nobody between two; None: embedded.
        kinds: those that are federated; None: the standard ones.
        configured: what of KubeFedConfig came from options; None: nothing ever did.
        members: what is known of each region.
    """

    installed: str | None = None
    host_uid: str | None = None
    kinds: list[FederatedKind] | None = None
    control_plane: str | None = None
    configured: str | None = None
    members: list[MemberRecord] | None = None


def digest(data: MemberAppData) -> str:
    """Return what tells whether a member has to be registered again; no secret goes into it."""
    text = json.dumps(data.model_dump(mode="json", exclude={"kubernetes_version"}))
    return hashlib.sha256(text.encode()).hexdigest()


def join(
    address: ClusterAddress,
    own_token: str,
    namespace: str,
    data: MemberAppData,
    token: str,
    *,
    check_s: float,
    release_orphans: bool,
) -> bool:
    """Register a member's cluster in the host cluster.

    Args:
        address: the host cluster.
        own_token: of the charm's own account there.
        namespace: the federation's.
        data: what the member published.
        token: the member's, from its secret.
        check_s: for how long to ask the member's API at most.
        release_orphans: register it though the host knows none of a federation's objects there,
            which the controller lets go of then.

    Returns:
        True if anything changed.

    Raises:
        OrphansError: it holds such objects; nothing was registered.
        MemberError: nothing was registered.
    """
    from kubefed import clients, membership
    from kubefed.errors import HoldsOrphans, KubefedError

    region, endpoint, authority = (
        data.region or "",
        data.api_endpoint or "",
        data.ca_certificate or "",
    )
    api = api_client(address, own_token)
    try:
        # Registering asks too, with a longer bound than a hook has.
        _ = membership.check_endpoint(endpoint, authority, token, timeout_s=check_s)
        if not release_orphans:
            member = clients.from_token(endpoint, token, authority)
            with contextlib.closing(member):
                membership.refuse_orphans(api, member, cluster=region, namespace=namespace)
        return membership.register(
            api,
            cluster=region,
            api_endpoint=endpoint,
            ca_bundle=authority,
            token=token,
            labels=data.labels or {},
            namespace=namespace,
        )
    except HoldsOrphans as error:
        raise OrphansError(_orphans_text(region, error.shown)) from error
    except KubefedError as error:
        raise MemberError(str(error)) from error
    finally:
        api.close()


def let_go(
    address: ClusterAddress, own_token: str, namespace: str, data: MemberAppData, token: str
) -> str:
    """Say what a cluster loses by joining, of objects that the host knows nothing of; or nothing.

    Args:
        address: the host cluster.
        own_token: of the charm's own account there.
        namespace: the federation's.
        data: what the member published.
        token: the member's, from its secret.
    """
    from kubefed import clients, membership
    from kubefed.errors import KubefedError

    api = api_client(address, own_token)
    try:
        member = clients.from_token(data.api_endpoint or "", token, data.ca_certificate or "")
        with contextlib.closing(member):
            found = membership.let_go(api, member, namespace=namespace)
    except KubefedError as error:
        return f"not known: {error}"  # no reason to hold up who joins
    finally:
        api.close()
    return membership.let_go_text(found) if found else ""


def _orphans_text(region: str, shown: str) -> str:
    return (
        f"it holds objects of a federation of which this host has none ({shown}): run restore, or "
        f"join-cluster cluster={region} release-orphans=true, which lets go of them"
    )


def leave(
    address: ClusterAddress,
    own_token: str,
    namespace: str,
    region: str,
    *,
    force: bool,
) -> list[str]:
    """Take a cluster out of the federation; its objects stay in it.

    Returns:
        What could not be removed, with `force`.

    Raises:
        MemberError: with the reason.
    """
    from kubefed import membership
    from kubefed.errors import KubefedError

    api = api_client(address, own_token)
    try:
        return membership.unregister(api, cluster=region, namespace=namespace, force=force)
    except KubefedError as error:
        raise MemberError(str(error)) from error
    finally:
        api.close()


def delete_workloads(data: MemberAppData, token: str) -> int:
    """Delete the federation's objects in a member, with the account that wrote them.

    Raises:
        MemberError: with the reason.
    """
    from kubefed.api import STANDARD_KINDS

    kinds = [FederatedKind(**dataclasses.asdict(kind)) for kind in STANDARD_KINDS]
    cluster = Cluster(ClusterAddress(data.api_endpoint or "", data.ca_certificate or ""), token)
    try:
        return delete_managed(cluster, kinds)
    except ClusterError as error:
        raise MemberError(str(error)) from error


def list_clusters(address: ClusterAddress, own_token: str, namespace: str) -> list[dict[str, Any]]:
    """Return the federation's clusters as the host cluster knows them.

    Raises:
        MemberError: the host cluster refused or did not answer.
    """
    from kubefed import membership
    from kubefed.errors import KubefedError

    api = api_client(address, own_token)
    try:
        clusters = membership.list_clusters(api, namespace=namespace)
    except KubefedError as error:
        raise MemberError(str(error)) from error
    finally:
        api.close()
    return [
        {
            "name": cluster.name,
            "ready": cluster.ready,
            "version": cluster.version,
            "endpoint": cluster.endpoint,
            "joined-at": str(cluster.joined_at or ""),
            "message": cluster.message or "",
        }
        for cluster in clusters
    ]


def cluster_states(
    address: ClusterAddress, own_token: str, namespace: str
) -> list[dict[str, Any]]:
    """Return name, readiness and its reason of each cluster; all that a hook needs.

    By plain HTTPS, since importing the Kubernetes client takes longer than the rest of a hook.

    Raises:
        MemberError: the host cluster refused or did not answer.
    """
    try:
        answer = Cluster(address, own_token).request("GET", clusters_told.path(namespace))
    except ClusterError as error:
        raise MemberError(str(error)) from error
    return [clusters_told.state_of(each) for each in answer.get("items") or []]


def refreshed(
    records: Iterable[MemberRecord],
    clusters: Iterable[dict[str, Any]],
) -> list[MemberRecord]:
    """Bring what the controller says of each cluster into the records."""
    known = {cluster["name"]: cluster for cluster in clusters}
    found: list[MemberRecord] = []
    for record in records:
        cluster = known.get(record.region)
        if record.state != "joined" or cluster is None:
            found.append(record)
            continue
        update = {key: cluster[key] for key in ("ready", "message", "reason")}
        found.append(record.model_copy(update=update))
    return found
