"""Federated objects into the host cluster: made, or given a new template."""

from __future__ import annotations

from kubefed import errors
from kubefed.api import NAMESPACE, Manifest, TargetKind
from kubefed.clients import Resources
from kubefed.federate import describe


def put(host: Resources, kind: TargetKind, manifest: Manifest, *, renew: bool) -> str:
    """Create a federated object, or give one that exists the new template.

    Args:
        host: the host cluster.
        kind: the federated kind.
        manifest: the object; its namespace is made where there is none.
        renew: whether one that exists gets the new template.

    Returns:
        "created", "changed" or "unchanged".

    Raises:
        errors.AskOperator: it exists, and isn't to be renewed.
    """
    metadata = manifest["metadata"]
    namespace = metadata.get("namespace")
    if namespace and host.get(NAMESPACE, namespace) is None:
        host.create(
            NAMESPACE,
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}},
        )
    found = host.get(kind, metadata["name"], namespace)
    if found is None:
        host.create(kind, manifest)
        return "created"
    if not renew:
        raise errors.AskOperator(
            f"{describe(manifest)} exists already; --apply gives it the new template"
        )
    # Where it goes and what differs there was decided since; only what it is comes anew.
    spec = {**found["spec"], "template": manifest["spec"].get("template", {})}
    if spec == found["spec"]:
        return "unchanged"
    host.replace(kind, {**found, "spec": spec})
    return "changed"
