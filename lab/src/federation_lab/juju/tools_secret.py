"""The hook tools about secrets."""

import base64
import binascii
from datetime import UTC, datetime
from typing import Any

from federation_lab.juju import names, secretbook
from federation_lab.juju.errors import JujuError, ToolError
from federation_lab.juju.hookcontext import HookContext
from federation_lab.juju.state import Secret
from federation_lab.juju.toolargs import Call, mapping_of, pairs, render


def content_of(call: Call, words: tuple[str, ...]) -> dict[str, str]:
    """Content as ``key=value``, ``key#base64=…``, ``key#file=…`` and ``--file`` give it.

    Raises:
        ToolError: It is not to be read.
    """
    found: dict[str, str] = {}
    name = call.option("file")
    if name:
        found.update(mapping_of(call.files.get(name, "")))
    for key, value in pairs(words).items():
        plain, _, kind = key.partition("#")
        if kind == "base64":
            try:
                found[plain] = base64.b64decode(value, validate=True).decode()
            except (binascii.Error, UnicodeDecodeError) as error:
                raise ToolError(f'key "{plain}": invalid base64 value') from error
        elif kind == "file":
            found[plain] = call.files.get(value, "")
        elif kind:
            raise ToolError(f'key "{key}" not valid')
        else:
            found[plain] = value
    return found


def expiry(text: str, now: datetime) -> datetime | None:
    """``--expire``: a duration or a moment.

    Raises:
        ToolError: It is neither, or in the past.
    """
    if not text:
        return None
    try:
        moment = now + names.parse_duration(text)
    except JujuError:
        try:
            moment = datetime.fromisoformat(text.replace("Z", "+00:00"))
        except ValueError as error:
            raise ToolError(f'expire time or duration "{text}" not valid') from error
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
    if moment <= now:
        raise ToolError(f'expire time "{text}" must be in the future')
    return moment


def _own(context: HookContext, text: str) -> Secret:
    """A secret that this unit may change."""
    try:
        source, identifier = names.parse_secret_uri(text)
    except JujuError as error:
        raise ToolError(error.message) from error
    secret = context.secret(identifier) if source in {"", context.model.uuid} else None
    if secret is None:
        raise ToolError(f'secret "{identifier}" not found')
    if not secretbook.manages(secret, context.model, context.unit.name):
        raise ToolError("permission denied")
    return secret


def _update(context: HookContext, secret: Secret, call: Call, words: tuple[str, ...]) -> None:
    now = context.clock()
    content = content_of(call, words)
    if call.option("label"):
        _check_label(context, secret, call.option("label"))
        secret.label = call.option("label")
    if call.option("description"):
        secret.description = call.option("description")
    if call.option("rotate"):
        secretbook.set_rotation(secret, call.option("rotate"), now)
    expires = expiry(call.option("expire"), now)
    if content:
        secretbook.check_content(content)
        secretbook.add_revision(secret, content, now, expires)
    elif expires and secret.revisions:
        secret.latest.expires = expires


def _check_label(context: HookContext, secret: Secret, label: str) -> None:
    held = {**context.model.secrets, **context.secrets}
    for other in held.values():
        if other and other.id != secret.id and (other.owner, other.label) == (secret.owner, label):
            raise ToolError(f'secret with label "{label}" already exists')


def secret_add(context: HookContext, call: Call) -> str:
    """A new secret; answers its URI."""
    owner = call.option("owner") or "application"
    if owner not in {"application", "unit"}:
        raise ToolError(f'secret owner "{owner}" not valid', 2)
    if owner == "application" and not context.leader:
        raise ToolError("this unit is not the leader")
    now = context.clock()
    named = context.app.name if owner == "application" else context.unit.name
    secret = Secret(
        id=names.new_secret_id(),
        model=context.model.uuid,
        owner=f"{owner}:{named}",
        created=now,
        updated=now,
    )
    if not content_of(call, call.arguments):
        raise ToolError("missing secret value or filename", 2)
    _update(context, secret, call, call.arguments)
    context.secrets[secret.id] = secret
    return f"secret:{secret.id}\n"


def secret_set(context: HookContext, call: Call) -> str:
    """New content or metadata of an own secret."""
    if not call.arguments:
        raise ToolError("missing secret URI", 2)
    secret = context.edit(_own(context, call.arguments[0]))
    _update(context, secret, call, call.arguments[1:])
    return ""


def secret_get(context: HookContext, call: Call) -> str:
    """The content of a secret."""
    label = call.option("label")
    text = call.arguments[0] if call.arguments else ""
    if not text and not label:
        raise ToolError("require either a secret URI or label to get the secret", 2)
    if call.flag("peek") and call.flag("refresh"):
        raise ToolError("specify one of --refresh or --peek but not both", 2)
    secret = _readable(context, text, label)
    content = _content(context, secret, call, label if text else "")
    if len(call.arguments) > 1:
        key = call.arguments[1].partition("#")[0]
        if key not in content:
            raise ToolError(f'secret key value for "{key}" not found')
        return render(content[key], call.option("format"))
    return render(content, call.option("format") or "yaml")


def _readable(context: HookContext, text: str, label: str) -> Secret:
    if text:
        source, identifier = _parsed(text)
        pending = context.secret(identifier) if source in {"", context.model.uuid} else None
        return pending or secretbook.find(context.state, context.model, text)
    held = {**context.model.secrets, **context.secrets}
    owners = {f"unit:{context.unit.name}", f"application:{context.app.name}"}
    for secret in held.values():
        if secret is not None and secret.label == label and secret.owner in owners:
            return secret
    for secret, tracking in secretbook.tracked(context.state, context.model, context.unit.name):
        if tracking.label == label:
            return secret
    raise ToolError(f'consumer label "{label}" not found: secret not found')


def _parsed(text: str) -> tuple[str, str]:
    try:
        return names.parse_secret_uri(text)
    except JujuError as error:
        raise ToolError(error.message) from error


def _content(context: HookContext, secret: Secret, call: Call, label: str) -> dict[str, str]:
    if secretbook.manages(secret, context.model, context.unit.name):
        # Who writes it reads the newest, and holds no old revision by that.
        return secret.latest.content
    if call.flag("peek"):
        if not secretbook.may_read(context.state, secret, context.model, context.unit.name):
            raise ToolError("permission denied")
        return secret.latest.content
    return secretbook.consume(
        context.state,
        secret,
        (context.model, context.unit.name),
        label=label,
        refresh=call.flag("refresh"),
    ).content


def secret_info_get(context: HookContext, call: Call) -> str:
    """An own secret's metadata."""
    if call.arguments:
        secret = _own(context, call.arguments[0])
    elif call.option("label"):
        secret = _readable(context, "", call.option("label"))
        if not secretbook.manages(secret, context.model, context.unit.name):
            raise ToolError("permission denied")
    else:
        raise ToolError("require either a secret URI or label", 2)
    info: dict[str, Any] = {
        "revision": secret.latest.number,
        "label": secret.label,
        "owner": secret.owner.partition(":")[0],
        "rotation": secret.rotate,
        "access": [
            {
                "target": grant.target.split(":", 2)[0] + "-" + grant.target.split(":", 2)[2],
                "scope": f"relation-{grant.relation}" if grant.relation else "",
                "role": "view",
            }
            for grant in secret.grants
        ],
    }
    if secret.description:
        info["description"] = secret.description
    if secret.latest.expires:
        info["expiry"] = names.iso(secret.latest.expires)
    if secret.rotate_at:
        info["rotates"] = names.iso(secret.rotate_at)
    return render({secret.id: info}, call.option("format") or "yaml")


def secret_ids(context: HookContext, call: Call) -> str:
    """The secrets that this unit owns or, as leader, its application."""
    held = {**context.model.secrets, **context.secrets}
    found = [
        s.id
        for s in held.values()
        if s is not None and secretbook.manages(s, context.model, context.unit.name)
    ]
    return render(found, call.option("format"))


def secret_grant(context: HookContext, call: Call) -> str:
    """Lets the other end of a relation read an own secret."""
    if not call.arguments:
        raise ToolError("missing secret URI", 2)
    if not call.option("r", "relation"):
        raise ToolError("missing relation id", 2)
    secret = context.edit(_own(context, call.arguments[0]))
    view = context.view(call.option("r", "relation"))
    unit = call.option("unit")
    if unit and unit.partition("/")[0] != view.remote_app:
        raise ToolError(f'unit "{unit}" is not in relation "{view.id}": not valid')
    secretbook.grant(secret, view, unit)
    return ""


def secret_revoke(context: HookContext, call: Call) -> str:
    """Takes a grant away."""
    if not call.arguments:
        raise ToolError("missing secret URI", 2)
    secret = context.edit(_own(context, call.arguments[0]))
    relation, app, unit = call.option("r", "relation"), call.option("app"), call.option("unit")
    if not relation and not app and not unit:
        raise ToolError("missing relation or application or unit", 2)
    targets: set[str] = set()
    uid = ""
    if relation:
        view = context.view(relation)
        uid = view.relation.uid
        if unit:
            targets = {f"unit:{view.remote.model}:{view.real_name(unit)}"}
    elif unit:
        targets = {f"unit:{context.model.uuid}:{unit}"}
    else:
        targets = {f"application:{context.model.uuid}:{app}"}
    secretbook.revoke(secret, targets, uid)
    return ""


def secret_remove(context: HookContext, call: Call) -> str:
    """Removes an own secret or one revision of it."""
    if not call.arguments:
        raise ToolError("missing secret URI", 2)
    held = _own(context, call.arguments[0])
    text = call.option("revision")
    if not text:
        context.secrets[held.id] = None
        return ""
    if not text.isdigit():
        raise ToolError(f'invalid value "{text}" for option --revision', 2)
    secret = context.edit(held)
    if all(r.number != int(text) for r in secret.revisions):
        raise ToolError(f'secret revision "{secret.id}/{text}" not found')
    secret.revisions = [r for r in secret.revisions if r.number != int(text)]
    if not secret.revisions:
        context.secrets[secret.id] = None
    return ""
