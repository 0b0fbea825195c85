"""The controller's methods about secrets: the charms' to see, the operator's to keep."""

from typing import Any

from federation_lab.juju import lookup, names, secretbook, view_details
from federation_lab.juju.controller import Controller
from federation_lab.juju.errors import JujuError, NotFoundError
from federation_lab.juju.state import Grant, Model, Secret


class Secrets:
    """Methods about secrets.

    Args:
        controller: The controller.
    """

    def __init__(self, controller: Controller) -> None:
        self._controller = controller

    def _model(self, name: str) -> Model:
        return lookup.model_named(self._controller.state, name or self._controller.state.current)

    def _find(self, model: Model, text: str, *, own: bool = False) -> Secret:
        """A secret by name or URI; ``own``: only such as the operator made.

        Raises:
            JujuError: There is none, or it is a charm's.
        """
        named = [s for s in model.secrets.values() if s.name == text]
        if named:
            return named[0]
        try:
            source, identifier = names.parse_secret_uri(text)
        except JujuError as error:
            raise NotFoundError(f'secret "{text}" not found') from error
        secret = model.secrets.get(identifier) if source in {"", model.uuid} else None
        if secret is None:
            raise NotFoundError(f'secret "{text}" not found')
        if own and secret.owner != "user":
            raise JujuError(f'secret "{text}" is owned by a charm: permission denied')
        return secret

    def api_secrets(self, model: str, owner: str = "") -> dict[str, Any]:
        """The secrets of a model."""
        held = self._model(model)
        found = {s.id: view_details.secret(self._controller.state, s)
                 for s in held.secrets.values()}  # fmt: skip
        wanted = owner.partition("-")[2] if owner.startswith(("application-", "unit-")) else owner
        if owner.startswith("unit-"):
            app, _, number = wanted.rpartition("-")
            wanted = f"{app}/{number}"
        return {i: s for i, s in found.items() if not owner or s["owner"] == wanted}

    def api_show_secret(self, model: str, secret: str, **asked: Any) -> dict[str, Any]:
        """One secret, revealed if asked."""
        found = self._find(self._model(model), secret)
        revision = asked.get("revision")
        if revision is not None and all(r.number != revision for r in found.revisions):
            raise NotFoundError(f'secret revision "{found.id}/{revision}" not found')
        return {found.id: view_details.secret(self._controller.state, found, **asked)}

    def api_add_secret(self, model: str, name: str, content: dict[str, str], info: str) -> str:
        """A secret of the operator's."""
        held = self._model(model)
        if any(s.name == name for s in held.secrets.values()):
            raise JujuError(f'secret with name "{name}" already exists', "already exists")
        secretbook.check_content(content)
        now = self._controller.now()
        secret = Secret(id=names.new_secret_id(), model=held.uuid, owner="user", name=name,
                        description=info, created=now, updated=now)  # fmt: skip
        secretbook.add_revision(secret, content, now)
        held.secrets[secret.id] = secret
        self._controller.touch()
        return f"secret:{secret.id}"

    def api_update_secret(self, model: str, secret: str, content: dict[str, str],
                          **changes: Any) -> None:  # fmt: skip
        """New content or metadata of an operator's secret."""
        held = self._model(model)
        found = self._find(held, secret, own=True)
        name = changes.get("name") or ""
        if name and any(s.name == name and s is not found for s in held.secrets.values()):
            raise JujuError(f'secret with name "{name}" already exists', "already exists")
        if content:
            secretbook.check_content(content)
            secretbook.add_revision(found, content, self._controller.now())
        found.name = name or found.name
        found.description = changes.get("info") or found.description
        found.auto_prune = found.auto_prune or bool(changes.get("auto_prune"))
        self._controller.touch()

    def api_grant_secret(self, model: str, secret: str, apps: list[str]) -> None:
        """Lets applications of the model read an operator's secret."""
        held = self._model(model)
        found = self._find(held, secret, own=True)
        for app in apps:
            lookup.application(held, app)
            target = f"application:{held.uuid}:{app}"
            if all(g.target != target for g in found.grants):
                found.grants.append(Grant(target=target))
        self._controller.touch()

    def api_revoke_secret(self, model: str, secret: str, apps: list[str]) -> None:
        """Takes that back."""
        held = self._model(model)
        found = self._find(held, secret, own=True)
        secretbook.revoke(found, {f"application:{held.uuid}:{app}" for app in apps})
        self._controller.touch()

    def api_remove_secret(self, model: str, secret: str, revision: int | None = None) -> None:
        """Removes an operator's secret, or one revision of it."""
        held = self._model(model)
        found = self._find(held, secret, own=True)
        secretbook.remove(self._controller.state, held, found, revision)
        self._controller.touch()
