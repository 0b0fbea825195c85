"""Interface `kubefed_member`: a member cluster and who may act in it for the federation.

The provider is the member, since over a cross-model relation only the offering side may grant a
secret. Both sides use their application databag.
"""

from pydantic import AwareDatetime, BaseModel, Field

from federation_interfaces.databag import Databag
from federation_interfaces.fields import Certificates, HttpsUrl, Labels, Region, SecretId

TOKEN_KEY = "token"  # noqa: S105 - the name of the key, not a token
"""The key of the token in the secret that `token_secret_id` names."""


class MemberAppData(Databag):
    """Provider: what the host needs to join this cluster. Nothing in it is secret."""

    region: Region | None = None
    api_endpoint: HttpsUrl | None = None
    ca_certificate: Certificates | None = None
    kubernetes_version: str | None = None
    labels: Labels | None = None
    token_secret_id: SecretId | None = None
    token_expires_at: AwareDatetime | None = None

    @property
    def missing(self) -> list[str]:
        """The fields that a host needs and that are not there yet."""
        needed = ("region", "api_endpoint", "ca_certificate", "token_secret_id")
        return [name for name in needed if getattr(self, name) is None]


class FederatedKind(BaseModel):
    """One kind that the federation writes in its members."""

    group: str = Field(default="", pattern=r"^([a-z0-9]([-a-z0-9.]*[a-z0-9])?)?$")
    version: str = Field(pattern=r"^v[0-9]+((alpha|beta)[0-9]+)?$")
    kind: str = Field(pattern=r"^[A-Z][A-Za-z0-9]*$")
    plural: str = Field(pattern=r"^[a-z0-9]+$")
    namespaced: bool = True


class HostAppData(Databag):
    """Requirer: who federates and what it wants to write."""

    host_cluster: Region | None = None
    namespace: Region | None = None
    kinds: list[FederatedKind] | None = None
    joined: bool | None = None
