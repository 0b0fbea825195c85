"""What the charm does in the region's cluster: accounts, tokens, and taking them away again."""

import hashlib
import importlib.metadata
import json
import logging
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from federation_interfaces import revocable
from federation_interfaces.access import Access
from federation_interfaces.cluster import (
    CHARMS_NAMESPACE,
    Account,
    Cluster,
    ClusterAddress,
    ClusterError,
    api_client,
)
from federation_interfaces.files import write_file
from federation_interfaces.revocable import RevocableCredential
from federation_interfaces.workloads import delete_managed
from member_settings import (
    ACCOUNT,
    Federation,
    federation_objects,
    federation_role,
    own_account,
    role_name,
    wanted_kinds,
)
from pydantic import BaseModel

logger = logging.getLogger(__name__)

OWN_LIFETIME = timedelta(days=7)


class MemberError(Exception):
    """The cluster was not brought to the wanted state; the text says why."""


class Records(BaseModel):
    """What this unit made in the cluster, by relation, so that it can take it away again.

    Attributes:
        server: the address at which it was made, with `ca_certificate`.
        cluster: which cluster answered there.
    """

    federations: dict[int, Federation] = {}
    server: str = ""
    ca_certificate: str = ""
    cluster: str = ""
    own_token_renew_at: datetime | None = None


class Store:
    """The unit's files: records, and the token of the charm's own account."""

    def __init__(self, root: Path = Path("/")):
        self.directory = root / "var/lib/kubefed-member"

    def load(self) -> Records:
        """Read the records; none yet is an empty one, an unreadable file is an error."""
        path = self.directory / "records.json"
        if not path.exists():
            return Records()
        return Records.model_validate_json(path.read_text())

    def save(self, records: Records) -> None:
        """Write the records at once."""
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        _ = write_file(self.directory / "records.json", records.model_dump_json(indent=1))

    def token(self) -> str:
        """Return the token of the charm's own account, or nothing."""
        path = self.directory / "token"
        return path.read_text() if path.exists() else ""

    def save_token(self, token: str) -> None:
        """Keep the token of the charm's own account, readable by root only."""
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        _ = write_file(self.directory / "token", token)

    def remove(self) -> None:
        """Remove all of it."""
        for name in ("records.json", "token"):
            (self.directory / name).unlink(missing_ok=True)


def digest(access: Access, region: str, federation: Federation) -> str:
    """Return what tells whether the cluster has to be prepared again."""
    parts = [
        importlib.metadata.version("kubefed"),  # another version may need other rights
        access.address.server,
        access.address.ca_certificate,
        region,
        federation.model_dump(
            mode="json", include={"host_cluster", "namespace", "kinds", "scope"}
        ),
    ]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def prepare(access: Access, region: str, federation: Federation) -> str:
    """Make the federation's account, and let the charm's own account mint its tokens.

    Returns:
        The name of the federation's ServiceAccount.

    Raises:
        MemberError: with the reason.
    """
    from kubefed import membership
    from kubefed.api import TargetKind
    from kubefed.errors import KubefedError

    kinds = [TargetKind(**kind.model_dump()) for kind in wanted_kinds(federation)]
    api = api_client(access.address, access.admin_token)
    try:
        name = membership.prepare_member(
            api,
            cluster=region,
            host_cluster=federation.host_cluster,
            namespace=federation.namespace,
            kinds=kinds,
        )
        admin = access.admin()
        admin.hang(federation_role(name), federation_objects(name, federation.namespace))
        keep = federation.host_cluster == region
        admin.ensure_account(own_account(federation, name, keep_namespace=keep))
    except (KubefedError, ClusterError) as error:
        raise MemberError(str(error)) from error
    finally:
        api.close()
    return name


def identity(access: Access) -> str:
    """Return which cluster answers; empty: none does now."""
    try:
        return access.admin().identity()
    except ClusterError as error:
        logger.info("which cluster it is can't be seen now: %s", error)
        return ""


def own_cluster(
    access: Access, store: Store, records: Records, now: datetime, holder: str
) -> Cluster:
    """Return the cluster as the charm's own account sees it, with a token that lives on.

    Where the token is replaced, the one before ends.
    """
    token = store.token()
    if not token or records.own_token_renew_at is None or now >= records.own_token_renew_at:
        admin = access.admin()
        try:
            minted = revocable.mint(admin, ACCOUNT, CHARMS_NAMESPACE, OWN_LIFETIME, holder=holder)
            token = minted.token
            store.save_token(token)
            keep = (minted.bound,)
            _ = revocable.revoke(admin, ACCOUNT, CHARMS_NAMESPACE, holder=holder, keep=keep)
        except ClusterError as error:
            raise MemberError(str(error)) from error
        records.own_token_renew_at = now + (minted.expires_at - now) / 2
    records.server, records.ca_certificate = access.address.server, access.address.ca_certificate
    return Cluster(access.address, token)


def mint(
    access: Access, cluster: Cluster, federation: Federation, lifetime: timedelta
) -> RevocableCredential:
    """Mint a token of the federation's account, by the charm's own account."""
    account, namespace = federation.service_account, federation.namespace
    try:
        return revocable.mint(
            access.admin(), account, namespace, lifetime, holder=ACCOUNT, minter=cluster
        )
    except ClusterError as error:
        raise MemberError(str(error)) from error


def end_older_tokens(access: Access, federation: Federation, keep: str) -> int:
    """End the tokens of the federation's account save the one that is bound to `keep`.

    Raises:
        MemberError: with the reason; call again.
    """
    account, namespace = federation.service_account, federation.namespace
    try:
        return revocable.revoke(access.admin(), account, namespace, holder=ACCOUNT, keep=(keep,))
    except ClusterError as error:
        raise MemberError(str(error)) from error


def due(issued_at: datetime | None, expires_at: datetime | None, now: datetime) -> bool:
    """Say whether a token is to be replaced: half of its life is gone."""
    if issued_at is None or expires_at is None:
        return True
    return now >= issued_at + (expires_at - issued_at) / 2


def leave(
    access: Access | None,
    store: Store,
    records: Records,
    region: str,
    federation: Federation,
    *,
    keep_namespace: bool,
) -> None:
    """Remove from the cluster what `prepare` made, by whatever access there still is.

    The control plane may have taken the admin's token back, or be unrelated already; then the
    charm's own account does it.

    Raises:
        MemberError: with the reason.
    """
    reason = "kube-control gives no access"
    if access is not None:
        try:
            withdraw(access, region, federation, keep_namespace=keep_namespace)
        except MemberError as error:
            reason = str(error)
        else:
            # Made with another relation it is another account, to which this token is none.
            records.own_token_renew_at = None
            return
    token = store.token()
    if not token or not records.server or not federation.service_account:
        raise MemberError(reason)
    cluster = Cluster(ClusterAddress(records.server, records.ca_certificate), token)
    try:
        end(cluster, federation, keep_namespace=keep_namespace)
    except ClusterError as error:
        both = "" if str(error) in reason else f"; by the charm's own account: {error}"
        raise MemberError(f"{reason}{both}") from error


def end(cluster: Cluster, federation: Federation, *, keep_namespace: bool) -> None:
    """End the federation's account and the charm's own, by the own account's rights alone.

    Raises:
        ClusterError: refused or unreachable.
    """
    _ = cluster.end(role_name(federation.service_account))
    if not keep_namespace:
        _ = cluster.delete(f"/api/v1/namespaces/{federation.namespace}")
    _ = cluster.end(f"{ACCOUNT}-{federation.host_cluster}")  # its last right


def withdraw(access: Access, region: str, federation: Federation, *, keep_namespace: bool) -> None:
    """Remove from the cluster what `prepare` made.

    Raises:
        MemberError: with what is left and why.
    """
    from kubefed import membership
    from kubefed.errors import KubefedError

    api = api_client(access.address, access.admin_token)
    try:
        access.admin().remove_rights(own_account(federation, federation.service_account))
        left = membership.remove_member(
            api,
            cluster=region,
            host_cluster=federation.host_cluster,
            namespace=federation.namespace,
            keep_namespace=True,
        )
        if not keep_namespace:
            # Not waited for: the cluster empties it by itself.
            _ = access.admin().delete(f"/api/v1/namespaces/{federation.namespace}")
    except (KubefedError, ClusterError) as error:
        raise MemberError(str(error)) from error
    finally:
        api.close()
    if left:
        raise MemberError(f"left in the cluster: {', '.join(left)}")


def remove_own_account(access: Access) -> None:
    """Remove the charm's own account; nothing is left of the charm in the cluster."""
    try:
        access.admin().remove_account(Account(ACCOUNT, CHARMS_NAMESPACE))
    except ClusterError as error:
        raise MemberError(str(error)) from error


def delete_workloads(access: Access, federation: Federation) -> int:
    """Delete the federation's objects in this cluster.

    Raises:
        MemberError: refused, unreachable, or more than one pass can take: call again.
    """
    try:
        return delete_managed(access.admin(), wanted_kinds(federation))
    except ClusterError as error:
        raise MemberError(str(error)) from error


def rights(address_and_token: Cluster, namespace: str) -> list[dict[str, Any]]:
    """Ask the cluster what the holder of a token may do in a namespace."""
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectRulesReview",
        "spec": {"namespace": namespace},
    }
    path = "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews"
    try:
        answer = address_and_token.request("POST", path, review)
    except ClusterError as error:
        raise MemberError(str(error)) from error
    status: dict[str, Any] = answer.get("status", {})
    found: list[dict[str, Any]] = status.get("resourceRules", [])
    return found


def now() -> datetime:
    """Return the time; tests replace it."""
    return datetime.now(UTC)


def remaining(expires_at: datetime, moment: datetime) -> str:
    """Say how long a token still lives.

    >>> remaining(datetime(2026, 1, 1, 13, 30, tzinfo=UTC), datetime(2026, 1, 1, 12, tzinfo=UTC))
    '1 h 30 min'
    """
    minutes = max(0, int((expires_at - moment).total_seconds() // 60))
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min"
