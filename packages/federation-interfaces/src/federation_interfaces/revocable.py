"""Tokens that can be taken back: each is bound to a Secret of its own and ends with it.

The API server refuses a token whose bound object is gone (KEP-1205), within the ten seconds that
it keeps an answer about a token. The Secret is empty: its name and UID are all that counts. It
hangs on the ServiceAccount, so nothing of it stays when the account goes.
"""

import secrets
from collections.abc import Collection
from dataclasses import dataclass
from datetime import timedelta
from urllib.parse import urlencode

from federation_interfaces.cluster import MANAGER, Cluster, Credential, reference

ACCOUNT_LABEL = "federation-charms/token-of"
HOLDER_LABEL = "federation-charms/held-by"


@dataclass(frozen=True)
class RevocableCredential(Credential):
    """A token, its end, and the Secret that it ends with."""

    bound: str


def mint(
    admin: Cluster,
    account: str,
    namespace: str,
    lifetime: timedelta,
    *,
    holder: str,
    minter: Cluster | None = None,
) -> RevocableCredential:
    """Mint a token of a ServiceAccount that `revoke` can end.

    Args:
        admin: who makes the Secret.
        account: the ServiceAccount.
        namespace: the ServiceAccount's.
        lifetime: how long the token lives if nobody ends it.
        holder: who keeps the token, such as a unit: each ends its own tokens only.
        minter: who asks for the token; None: `admin`.

    Raises:
        ClusterError: the cluster refused or did not answer; what was made is ended by the next
            `revoke`.
    """
    home = f"/api/v1/namespaces/{namespace}"
    owner = admin.request("GET", f"{home}/serviceaccounts/{account}")
    name = f"{account}-{secrets.token_hex(4)}"
    labels = {ACCOUNT_LABEL: account, HOLDER_LABEL: label_of(holder)}
    _ = admin.apply(
        f"{home}/secrets/{name}",
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "type": "Opaque",
            "metadata": {
                "name": name,
                "labels": labels,
                "ownerReferences": [
                    reference({"apiVersion": "v1", "kind": "ServiceAccount"} | owner)
                ],
            },
        },
        MANAGER,
    )
    minted = (minter or admin).mint(account, namespace, lifetime, bound=name)
    return RevocableCredential(minted.token, minted.expires_at, name)


def revoke(
    admin: Cluster, account: str, namespace: str, *, holder: str, keep: Collection[str] = ()
) -> int:
    """End a holder's tokens of a ServiceAccount, save those bound to the Secrets in `keep`.

    Returns:
        How many were ended.

    Raises:
        ClusterError: the cluster refused or did not answer; call again.
    """
    home = f"/api/v1/namespaces/{namespace}/secrets"
    selector = f"{ACCOUNT_LABEL}={account},{HOLDER_LABEL}={label_of(holder)}"
    found = admin.request("GET", f"{home}?{urlencode({'labelSelector': selector})}")
    names = [item["metadata"]["name"] for item in found.get("items") or []]
    return sum(admin.delete(f"{home}/{name}") for name in names if name not in keep)


def label_of(holder: str) -> str:
    """Return a holder as a label's value: a unit's name has a slash, which labels can't have.

    >>> label_of("kubefed-host/0")
    'kubefed-host.0'
    """
    return holder.replace("/", ".")
