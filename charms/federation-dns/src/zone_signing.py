"""Whose keys sign the zones: the hub draws them, and every region signs with the same.

They travel as a Juju secret of the hub's application, granted to each region's over the relation
that the hub offers (`mesh-hub`); only its ID is in the databag. They stay on each unit, so that
neither the hub nor Juju is needed to go on signing.
"""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any

import ops
from dns_settings import Settings
from federation_dns_unit import Machine, now
from federation_interfaces import DatabagError, MeshHubAppData
from local_agent import UnitError
from name_server import NameServerError
from pydantic import ValidationError

if TYPE_CHECKING:  # a third of a second, which a hook of an unsigned zone need not spend
    from federation_dns.dnssec import KeySet

logger = logging.getLogger(__name__)

LABEL = "dnssec-keys"
CONTENT = "keys"
MESH, MESH_HUB = "mesh", "mesh-hub"
_NO_KEYS = "dnssec: no keys from the hub yet (integrate mesh; dnssec=true at the hub too)"
_NOT_ASKED = "the federation's zones are signed, this region's are not: set dnssec=true"


class SigningError(Exception):
    """The zones are not signed as asked; the text says why."""


class ZoneSigning(ops.Object):
    """The keys of this region, and at the hub everybody's."""

    def __init__(self, charm: ops.CharmBase, machine: Machine):
        super().__init__(charm, "zone-signing")
        self._charm = charm
        self._machine = machine
        self.problem = ""

    @property
    def is_hub(self) -> bool:
        """Whether this region gives the keys: others took its offer, and it takes nobody's.

        Alone it is not: a further region would draw keys of its own before it is integrated.
        """
        return bool(self.model.relations[MESH_HUB]) and not self.model.relations[MESH]

    def keys(self, settings: Settings) -> KeySet | None:
        """Return what to sign with now; `problem` says what is not as it should be.

        Keys that are in use stay in use whatever becomes of the hub.
        """
        self.problem = ""
        try:
            mine = self._machine.name_server.keys()
            if not settings.dnssec:
                self._end(mine)
                self.problem = _NOT_ASKED if self._published() else ""
                return None
            given = self._own(mine) if self.is_hub else self._hubs(mine)
            if given != mine:
                self._machine.name_server.keep(given)
        except (SigningError, NameServerError) as error:
            self.problem = str(error)
            return self._machine.name_server.last
        return given

    def may_be_named(self, settings: Settings, *, named_before: bool) -> bool:
        """Whether other regions may name this server in the zone's NS.

        A new region's server must not answer unsigned beside signed ones: resolvers that find a DS
        at the parent would call that bogus.
        """
        return named_before or not settings.dnssec or self._machine.name_server.last is not None

    def secret_id(self) -> str | None:
        """Return the ID that the hub publishes, with the model's: others read it from theirs."""
        secret = self._secret() if self.is_hub else None
        if secret is None:
            return None
        identity = secret.get_info().id.rpartition(":")[2].rpartition("/")[2]
        return f"secret://{self.model.uuid}/{identity}"

    def roll(self, step: str) -> KeySet:
        """Begin or finish the change to another key; at the hub only.

        Raises:
            SigningError: it cannot be done here or now.
        """
        from federation_dns.dnssec import KeysError

        secret = self._secret() if self.is_hub else None
        if secret is None:
            raise SigningError("the keys are the hub's: run this there, with dnssec=true")
        keys = _read(secret.peek_content())
        try:
            keys = keys.with_successor(now()) if step == "begin" else keys.without_oldest()
        except KeysError as error:
            raise SigningError(str(error)) from error
        secret.set_content({CONTENT: keys.model_dump_json()})
        self._machine.name_server.keep(keys)
        return keys

    def _own(self, mine: KeySet | None) -> KeySet:
        if not self._charm.unit.is_leader():
            if mine is None:
                raise SigningError(_NO_KEYS)
            return mine  # the secret is the application's, and only its leader may look
        secret = self._secret()
        if secret is None:
            from federation_dns.dnssec import KeySet, new_key

            keys = mine or KeySet(keys=(new_key(now()),))
            content = {CONTENT: keys.model_dump_json()}
            secret = self._charm.app.add_secret(content, label=LABEL)
        else:
            keys = _followed(mine, _read(secret.peek_content()))
        for relation in self.model.relations[MESH_HUB]:
            # To the application, never a unit: Juju grants nothing else across models.
            secret.grant(relation)
        return keys

    def _hubs(self, mine: KeySet | None) -> KeySet:
        identity = self._published()
        if identity is None:
            if mine is None:
                raise SigningError(_NO_KEYS)
            return mine
        try:
            content = self.model.get_secret(id=identity).get_content(refresh=True)
        except (ops.SecretNotFoundError, ops.ModelError) as error:
            if mine is None:
                raise SigningError("dnssec: the hub's keys cannot be read yet") from error
            return mine
        return _followed(mine, _read(content))

    def _published(self) -> str | None:
        """The ID of the hub's secret."""
        for relation in self.model.relations[MESH]:
            if relation.app:
                try:
                    return MeshHubAppData.load(relation.data[relation.app]).dnssec_secret_id
                except DatabagError as error:
                    raise SigningError(f"dnssec: the hub's data is refused: {error}") from error
        return None

    def _end(self, mine: KeySet | None) -> None:
        if mine is not None:
            self._machine.name_server.forget()
        secret = self._secret() if self.is_hub and self._charm.unit.is_leader() else None
        if secret is not None:
            secret.remove_all_revisions()

    def _secret(self) -> ops.Secret | None:
        try:
            return self.model.get_secret(label=LABEL)
        except ops.SecretNotFoundError:
            return None

    # Actions

    def show_delegation(self, event: ops.ActionEvent) -> None:
        """Say what belongs into the parent zone."""
        try:
            found = self._machine.agent.delegation()
        except UnitError as error:
            event.fail(str(error))
            return
        lines = [line for zone in found.values() for line in zone["records"]]
        notes = [note for zone in found.values() for note in zone["notes"]]
        event.set_results({"records": "\n".join(lines), "notes": "\n".join(notes)})

    def rotate_key(self, event: ops.ActionEvent) -> bool:
        """Take a step of a roll; True if it was taken."""
        step = str(event.params["step"])
        try:
            if step == "finish":
                _all_show(self._machine.agent.delegation())
            keys = self.roll(step)
        except (SigningError, UnitError) as error:
            event.fail(str(error))
            return False
        tags = " ".join(map(str, keys.tags))
        following = (
            "wait until show-delegation gives both DS, put the new one into the parent beside the "
            "old, wait for the old one's TTL, take the old one out, wait again; then step=finish"
            if step == "begin"
            else "nothing: the old key goes from every region by itself"
        )
        event.set_results({"keys": tags, "next": following})
        return True


def _all_show(found: dict[str, Any]) -> None:
    waiting = [n for zone in found.values() for n in zone["notes"] if "must show it" in n]
    if waiting:
        raise SigningError(f"not every region signs with the new key: {'; '.join(waiting)}")


def _followed(mine: KeySet | None, given: KeySet) -> KeySet:
    from federation_dns.dnssec import KeysError, followed

    try:
        return followed(mine, given)
    except KeysError as error:
        raise SigningError(str(error)) from error


def _read(content: dict[str, str]) -> KeySet:
    from federation_dns.dnssec import KeySet

    try:
        return KeySet.model_validate(json.loads(content[CONTENT]))
    except (KeyError, ValueError, ValidationError) as error:
        raise SigningError("dnssec: the hub's secret holds no DNSSEC keys") from error
