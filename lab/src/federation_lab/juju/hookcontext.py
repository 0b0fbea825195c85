"""One hook's view of the world: what it reads, and what it writes until it has ended well."""

import copy
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from federation_lab.juju import lookup, relations, secretbook
from federation_lab.juju.errors import ToolError
from federation_lab.juju.planner import Hook
from federation_lab.juju.state import Application, Model, Secret, State, Status, Task, Unit

Log = Callable[[str, str], None]
"""Level and text, into the model's log."""

logger = logging.getLogger(__name__)


@dataclass
class HookContext:
    """What one run of a charm may see and has written.

    Relation settings, secrets, ports and state are kept here and flushed only if the hook exits
    with 0, as Juju does; status, logs and what is read of secrets hold at once.
    """

    state: State
    model: Model
    unit: Unit
    hook: Hook
    clock: Callable[[], datetime]
    log: Log
    task: Task | None = None
    bags: dict[tuple[str, str | None], dict[str, str]] = field(
        default_factory=dict[tuple[str, "str | None"], dict[str, str]]
    )
    """(relation, unit or None for the application) to the keys set."""
    secrets: dict[str, Secret | None] = field(default_factory=dict[str, "Secret | None"])
    """Copies of the secrets that were changed; None: removed."""
    ports: list[str] | None = None
    kept: dict[str, str] | None = None
    reboot: str = ""

    @property
    def app(self) -> Application:
        """The unit's application."""
        return self.model.applications[self.unit.name.partition("/")[0]]

    @property
    def leader(self) -> bool:
        """Whether the unit is the leader now."""
        return self.app.leader == self.unit.name

    def knows(self, view: lookup.View) -> bool:
        """Whether the unit takes part in a relation, told of it or not yet."""
        told = view.relation.uid in self.unit.local.relations
        return told or self.unit.name in view.own.scope

    def view(self, text: str | None) -> lookup.View:
        """The relation that ``-r`` names, or the one whose hook this is.

        Raises:
            ToolError: There is none.
        """
        if not text:
            if not self.hook.relation:
                raise ToolError("no relation id specified", 2)
            found = lookup.view_of(self.state, self.hook.relation, self.model.uuid, self.app.name)
            if found is None:
                raise ToolError("relation not found")
            return found
        endpoint, _, number = text.rpartition(":")
        if not number.isdigit():
            raise ToolError(f'invalid value "{text}" for option -r: invalid relation id', 2)
        for view in lookup.views(self.state, self.model.uuid, self.app.name):
            if view.own.id != int(number) or endpoint not in {"", view.own.endpoint}:
                continue
            if self.knows(view):
                return view
        raise ToolError(f'invalid value "{text}" for option -r: relation not found', 2)

    def bag(self, view: lookup.View, unit: str | None) -> dict[str, str]:
        """Own settings in a relation, with what this hook wrote."""
        held = view.own.app_data if unit is None else view.own.unit_data.get(unit, {})
        merged = {**held, **self.bags.get((view.relation.uid, unit), {})}
        return {key: value for key, value in merged.items() if value}

    def write(self, view: lookup.View, unit: str | None, changes: dict[str, str]) -> None:
        """Notes settings to be flushed."""
        self.bags.setdefault((view.relation.uid, unit), {}).update(changes)

    def secret(self, identifier: str) -> Secret | None:
        """A secret of this model as this hook has it."""
        if identifier in self.secrets:
            return self.secrets[identifier]
        return self.model.secrets.get(identifier)

    def edit(self, secret: Secret) -> Secret:
        """A copy of a secret to change."""
        if self.secrets.get(secret.id) is None:
            self.secrets[secret.id] = copy.deepcopy(secret)
        held = self.secrets[secret.id]
        if held is None:
            raise ToolError(f'secret "{secret.id}" not found')
        return held

    def set_status(self, current: str, message: str, *, app: bool) -> None:
        """Sets the unit's or the application's status, at once."""
        held = self.app.status if app else self.unit.workload
        if app:
            self.app.status_set = True
        if (held.current, held.message) == (current, message):
            return
        status = Status(current=current, message=message, since=self.clock())
        if app:
            self.app.status = status
        else:
            self.unit.workload = status

    def flush(self) -> None:
        """Makes everything true that the hook wrote; called when it exited with 0."""
        for (uid, unit), changes in self.bags.items():
            view = lookup.view_of(self.state, uid, self.model.uuid, self.app.name)
            if view is None:
                continue
            changed = relations.write(view.own, unit, changes)
            local = self.unit.local.relations.get(uid)
            if changed and view.peer and unit is None and local is not None:
                # Who wrote it need not be told.
                local.app_version = view.own.app_version
        for identifier, secret in self.secrets.items():
            if secret is None:
                held = self.model.secrets.get(identifier)
                if held is not None:
                    secretbook.remove(self.state, self.model, held)
            else:
                self.model.secrets[identifier] = secret
        if self.ports is not None:
            self.unit.ports = self.ports
        if self.kept is not None:
            self.unit.state = self.kept
