"""The memberships after a restore: does each still let the federation in, and the host's own."""

from __future__ import annotations

import base64
import binascii
from concurrent.futures import ThreadPoolExecutor

from kubernetes.client import ApiClient

from kubefed import errors, membership
from kubefed.api import (
    CLUSTER_UID_ANNOTATION,
    KUBEFED_CLUSTER,
    SECRET,
    TOKEN_KEY,
    Scope,
    TlsValidation,
)
from kubefed.backup.content import Part, Snapshot
from kubefed.clients import Resources
from kubefed.controller.objects import Json, key_of, labels, mapping, notes, sequence
from kubefed.membership.endpoint import Identity, identify

ASK_SECONDS = 5.0


def check(host: Resources, namespace: str) -> dict[str, str]:
    """Ask every member whether it lets the federation in.

    Returns:
        "" by the member's name if it does, or what is wrong.
    """
    clusters = host.list(KUBEFED_CLUSTER, namespace)
    secrets = {key_of(each)[1]: each for each in host.list(SECRET, namespace)}

    def ask(entry: Json) -> str:
        try:
            found = _identify(entry, secrets.get(_secret_of(entry)))
        except errors.KubefedError as error:
            return str(error)
        wanted = notes(entry).get(CLUSTER_UID_ANNOTATION)
        if wanted and found.uid != wanted:
            return "another cluster answers at its address; join it again, or unjoin it"
        return ""

    with ThreadPoolExecutor(max(1, len(clusters))) as pool:
        answers = pool.map(ask, clusters)
        return {key_of(entry)[1]: said for entry, said in zip(clusters, answers, strict=True)}


def refuse_living(snapshot: Snapshot, name: str) -> None:
    """Refuse to give the former host's name away while it lives.

    Raises:
        errors.AskOperator: it does.
    """
    entry = next(each for each in snapshot.of(Part.CLUSTERS) if key_of(each)[1] == name)
    secrets = {key_of(each)[1]: each for each in snapshot.of(Part.SECRETS)}
    try:
        found = _identify(entry, secrets.get(_secret_of(entry)))
    except errors.KubefedError:
        return
    if found.uid == snapshot.host_uid:
        raise errors.AskOperator(
            f"the former host still answers as {name}, so this cluster can't take its place; end "
            "the controllers there, and use --no-rejoin to leave it a member as it is"
        )


def rejoin(api: ApiClient, snapshot: Snapshot, name: str, host_name: str) -> None:
    """Make the host a member of its own federation again, with a new account.

    Args:
        api: the host cluster.
        snapshot: the backup.
        name: the member's name.
        host_name: the host's, for the account's name; "" for the member's.
    """
    entry = next(each for each in snapshot.of(Part.CLUSTERS) if key_of(each)[1] == name)
    _ = membership.join(
        api,
        api,
        membership.Names(name, host_name or name, snapshot.namespace),
        kinds=[each.target for each in snapshot.types],
        labels=labels(entry),
        scope=Scope.NAMESPACED if snapshot.scope_is_namespaced else Scope.CLUSTER,
        secret_name=_secret_of(entry),
        # What it holds has just been put back.
        release_orphans=True,
    )
    if entry.get("status"):
        # A cluster that isn't known to be ready gets no replicas, and the others would get its.
        _ = Resources(api).request(
            "PATCH",
            f"{KUBEFED_CLUSTER.path(snapshot.namespace, name)}/status",
            body={"status": entry["status"]},
            content_type="application/merge-patch+json",
            what=f"write the status of KubeFedCluster {name}",
        )


def _identify(entry: Json, secret: Json | None) -> Identity:
    wanted = mapping(entry.get("spec"))
    token = _decoded(mapping(mapping(secret).get("data")).get(TOKEN_KEY))
    return identify(
        str(wanted.get("apiEndpoint") or ""),
        _decoded(wanted.get("caBundle")),
        token,
        timeout_s=ASK_SECONDS,
        insecure=TlsValidation.ALL in sequence(wanted.get("disabledTLSValidations")),
        proxy_url=str(wanted.get("proxyURL") or ""),
    )


def _decoded(value: object) -> str:
    try:
        return base64.b64decode(str(value or ""), validate=True).decode()
    except (binascii.Error, ValueError):
        return ""


def _secret_of(entry: Json) -> str:
    return str(mapping(mapping(entry.get("spec")).get("secretRef")).get("name") or "")
