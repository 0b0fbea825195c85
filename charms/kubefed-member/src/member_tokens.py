"""The secrets by which hosts get their tokens, one a relation."""

import logging
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import kubefed_member
import ops
from federation_interfaces import ISSUED_KEY, TOKEN_KEY, MemberAppData
from federation_interfaces.access import Access
from federation_interfaces.cluster import ClusterError
from kubefed_member import MemberError, Records, Store
from member_settings import Federation, Settings

logger = logging.getLogger(__name__)

# The Secret in the cluster, empty, that the token ends with.
BOUND_KEY = "bound-to"
_OF_TOKEN = {"kubernetes_version", "token_secret_id", "token_expires_at"}


class TokenSecrets:
    """Juju secrets of this application, each granted to one host's application."""

    def __init__(self, charm: ops.CharmBase, store: Store):
        self._charm = charm
        self._store = store

    def give(
        self,
        relation: ops.Relation,
        access: Access,
        settings: Settings,
        records: Records,
        *,
        renew: bool,
    ) -> dict[str, Any]:
        """Bring the relation's secret to a token with more than half of its life.

        Returns:
            What the databag says of it.

        Raises:
            MemberError: no token could be minted.
        """
        moment = kubefed_member.now()
        federation = records.federations[relation.id]
        secret = self.find(relation.id)
        if secret is not None and not renew:
            content = secret.peek_content()
            issued = datetime.fromisoformat(content[ISSUED_KEY])
            ends = datetime.fromisoformat(content["expires-at"])
            kept = federation.ends_at in (None, ends)  # else a failed hook's token was dropped
            if kept and not kubefed_member.due(issued, ends, moment):
                federation.issued_at, federation.ends_at = issued, ends
                secret.grant(relation)
                return self._said(secret, content)
        holder = self._charm.unit.name
        cluster = kubefed_member.own_cluster(access, self._store, records, moment, holder)
        minted = kubefed_member.mint(access, cluster, federation, settings.token_lifetime)
        try:
            version = cluster.version()
        except ClusterError as error:
            raise MemberError(str(error)) from error
        content = {
            TOKEN_KEY: minted.token,
            ISSUED_KEY: moment.isoformat(),
            "expires-at": minted.expires_at.isoformat(),
            "kubernetes-version": version,
            BOUND_KEY: minted.bound,
        }
        if secret is None:
            # Rotation is asked hourly: the charm looks, and mints when half of the life is gone.
            label = self._label(relation.id)
            rotate = ops.SecretRotate.HOURLY
            secret = self._charm.app.add_secret(content, label=label, rotate=rotate)
        else:
            secret.set_content(content)
        # To the application, never a unit: Juju grants nothing else across models.
        secret.grant(relation)
        federation.issued_at, federation.ends_at = moment, minted.expires_at
        return self._said(secret, content)

    def _said(self, secret: ops.Secret, content: Mapping[str, str]) -> dict[str, Any]:
        identity = secret.unique_identifier
        return {
            "kubernetes_version": content["kubernetes-version"],
            "token_secret_id": f"secret://{self._charm.model.uuid}/{identity}",
            "token_expires_at": datetime.fromisoformat(content["expires-at"]),
        }

    def end_older(
        self,
        relation: ops.Relation,
        access: Access,
        federation: Federation,
        taken_at: datetime | None,
    ) -> None:
        """End the tokens of before, once the host's cluster holds the one of now.

        Raises:
            MemberError: some may still be good; call again.
        """
        if taken_at is None or federation.taken_at == taken_at:
            return
        secret = self.find(relation.id)
        content = secret.peek_content() if secret else {}
        bound, issued = content.get(BOUND_KEY), content.get(ISSUED_KEY)
        if not bound or not issued or datetime.fromisoformat(issued) != taken_at:
            return
        ended = kubefed_member.end_older_tokens(access, federation, bound)
        federation.taken_at = taken_at
        if ended:
            logger.info("%s has the new token: %d older ended", federation.host_cluster, ended)

    def published(self, relation: ops.Relation) -> dict[str, Any]:
        """Return what the databag says of the token now."""
        data = MemberAppData.load(relation.data[self._charm.app])
        return data.model_dump(include=_OF_TOKEN)

    @staticmethod
    def hold(federation: Federation, published: Mapping[str, Any]) -> bool:
        """Say whether the published token has more than half of its life; asks nobody."""
        ends = published["token_expires_at"] if published["token_secret_id"] else None
        if ends != federation.ends_at:
            return False  # the hook that minted it failed, and Juju kept the one before
        return not kubefed_member.due(federation.issued_at, ends, kubefed_member.now())

    @staticmethod
    def _label(number: int) -> str:
        return f"federation-token-{number}"

    def find(self, number: int) -> ops.Secret | None:
        """Return the secret of a relation, None while there is none."""
        try:
            return self._charm.model.get_secret(label=self._label(number))
        except ops.SecretNotFoundError:
            return None

    def drop(self, number: int) -> None:
        """Remove the secret of a relation that has ended."""
        secret = self.find(number)
        if secret is not None:
            secret.remove_all_revisions()
