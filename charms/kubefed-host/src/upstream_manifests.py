"""KubeFed v0.10.0's manifests, with ops.manifest: the charm fills in what a site decides.

Importing this costs half a second, so only those do who write or compare the objects.
"""

import json
from collections.abc import Generator
from contextlib import contextmanager
from functools import cached_property
from typing import Any

import httpx
import ops
from federation_interfaces.access import Access
from federation_interfaces.cluster import (
    CONNECT_TIMEOUT_S,
    READ_TIMEOUT_S,
    kubeconfig,
)
from kubefed_host import UPSTREAM_ACCOUNT, HostError
from lightkube import Client, KubeConfig
from lightkube.core.exceptions import ApiError
from lightkube.models.meta_v1 import OwnerReference
from lightkube.resources.rbac_authorization_v1 import ClusterRole
from ops.manifests import (
    Collector,
    ManifestClientError,
    ManifestLabel,
    Manifests,
    Patch,
)
from ops.manifests.manipulations import Manipulation
from upstream_facts import CONFIG_ANNOTATION, DIGEST_ANNOTATION, RELEASES, Facts

NAME = "kubefed"
CLUSTER_SCOPED = ("ClusterRole", "ClusterRoleBinding")


class Placed(Patch):
    """Puts each object into the federation's namespace, hanging on the ClusterRole."""

    manifests: "UpstreamManifests"

    def __call__(self, obj: Any) -> None:
        """Fill in one object."""
        namespace = self.manifests.facts.namespace
        if obj.kind not in CLUSTER_SCOPED:
            obj.metadata.namespace = namespace
        for subject in getattr(obj, "subjects", None) or []:
            subject.namespace = namespace
        if self.manifests.owner and obj.kind != "ClusterRole":
            obj.metadata.ownerReferences = [self.manifests.owner]


class Groups(Patch):
    """Lets the controller manager write federated types of further groups."""

    manifests: "UpstreamManifests"

    def __call__(self, obj: Any) -> None:
        """Fill in the ClusterRole."""
        if obj.kind != "ClusterRole":
            return
        for rule in obj.rules:
            if rule.resources == ["*"]:
                rule.apiGroups = list(self.manifests.facts.groups)


class Workload(Patch):
    """Gives the Deployment its image, and what tells when it has to start anew."""

    manifests: "UpstreamManifests"

    def __call__(self, obj: Any) -> None:
        """Fill in the Deployment."""
        if obj.kind != "Deployment":
            return
        facts = self.manifests.facts
        [container] = obj.spec.template.spec.containers
        container.image = facts.image
        obj.metadata.annotations = {DIGEST_ANNOTATION: facts.digest}
        # It reads KubeFedConfig once, at its start.
        obj.spec.template.metadata.annotations = {CONFIG_ANNOTATION: facts.config}


class UpstreamManifests(Manifests):
    """The objects of one release.

    Args:
        model: the charm's.
        access: the host cluster; the token stays in memory.
        facts: what is filled in.
    """

    def __init__(self, model: ops.Model, access: Access, facts: Facts):
        self.facts = facts
        self.owner: OwnerReference | None = None
        self._access = access
        patches: list[Manipulation] = [Placed(self), Groups(self), Workload(self)]
        patches.append(ManifestLabel(self))
        super().__init__(NAME, model, RELEASES, patches)

    @cached_property
    def client(self) -> Client:
        """The host cluster, with every call bounded."""
        found = json.loads(kubeconfig(self._access.address, self._access.admin_token, name=NAME))
        return Client(
            KubeConfig.from_dict(found),
            field_manager=f"{self.model.app.name}-{NAME}",
            timeout=httpx.Timeout(READ_TIMEOUT_S, connect=CONNECT_TIMEOUT_S),
            # The API server is reached in the region's own network, never by a proxy of the model.
            trust_env=False,
        )

    @property
    def config(self) -> dict[str, Any]:
        """What of the charm's configuration the library looks at: nothing."""
        return {}

    def deploy(self) -> None:
        """Make all objects, or bring them to this shape.

        Raises:
            HostError: the cluster refused or did not answer.
        """
        with told():
            roles = [each for each in self.resources if each.kind == "ClusterRole"]
            self.apply_resources(*roles)
            role = self.client.get(ClusterRole, UPSTREAM_ACCOUNT)
            self.owner = OwnerReference(
                apiVersion="rbac.authorization.k8s.io/v1",
                kind="ClusterRole",
                name=UPSTREAM_ACCOUNT,
                uid=str(role.metadata.uid if role.metadata else ""),
            )
            self.apply_resources(*(each for each in self.resources if each not in roles))


@contextmanager
def told() -> Generator[None]:
    """Say why a call of the library failed; raises HostError."""
    try:
        yield
    except (ApiError, httpx.HTTPError, ManifestClientError) as error:
        raise HostError(reason(error)) from error


def reason(error: Exception) -> str:
    """Say why a call failed: the library's text and what was below it."""
    below = error.args[-1] if isinstance(error, ManifestClientError) else error
    if isinstance(below, ApiError):
        below = below.status.message or below
    first = str(error.args[0]) if isinstance(error, ManifestClientError) else ""
    return ": ".join(part for part in (first, str(below) or type(below).__name__) if part)


def deploy(model: ops.Model, access: Access, facts: Facts) -> None:
    """Make upstream's objects, or bring them to this shape; raises HostError."""
    UpstreamManifests(model, access, facts).deploy()


__all__ = ["Collector", "UpstreamManifests", "deploy", "told"]
