"""Verbs about secrets."""

import base64
import sys
from pathlib import Path
from typing import Any

from federation_lab.juju.cliargs import (
    Command,
    Namespace,
    Parser,
    emit,
    key_values,
    list_of,
    read_yaml,
    render,
    table,
)
from federation_lab.juju.client import call
from federation_lab.juju.errors import JujuError, UsageError


def content(words: list[str], path: str) -> dict[str, str]:
    """Secret content from ``key=value``, ``key#base64=…``, ``key#file=…`` words and a YAML file.

    Raises:
        JujuError: It cannot be read.
    """
    found = {str(k): str(v) for k, v in (read_yaml(path) if path else {}).items()}
    for key, value in key_values(words, files=False).items():
        name, _, kind = key.partition("#")
        if kind == "file":
            try:
                value = Path(value).read_text(encoding="utf-8")
            except OSError as error:
                raise JujuError(f'reading content for secret key "{name}": {error}') from error
        elif kind == "base64":
            value = base64.b64decode(value).decode()
        found[name] = value
    return found


def _owner_args(parser: Parser) -> None:
    parser.add_argument("--owner", default="")


def _secrets(space: Namespace) -> int:
    found: dict[str, Any] = call("secrets", model=space.model, owner=space.owner)
    rows = [
        (f"secret:{i}", s.get("name") or s.get("label") or "-", s["owner"],
         s.get("rotation", "never"), s["revision"], s["updated"])
        for i, s in found.items()
    ]  # fmt: skip
    head = ("ID", "Name", "Owner", "Rotation", "Revision", "Last updated")
    return emit(space, found, lambda: table(head, rows))


def _show_args(parser: Parser) -> None:
    parser.add_argument("secret")
    parser.add_argument("--reveal", action="store_true")
    parser.add_argument("-r", "--revision", type=int, default=None)
    parser.add_argument("--revisions", action="store_true")


def _show(space: Namespace) -> int:
    if space.revisions and (space.reveal or space.revision is not None):
        raise UsageError("specify either --revisions or --reveal and --revision, but not both")
    found: dict[str, Any] = call(
        "show_secret",
        model=space.model,
        secret=space.secret,
        reveal=space.reveal,
        revision=space.revision,
        revisions=space.revisions,
    )
    if space.format == "yaml":
        # YAML shows the content itself, JSON the structure around it, as Juju does.
        found = {
            i: {**s, **({"content": s["content"]["Data"]} if "content" in s else {})}
            for i, s in found.items()
        }
    return emit(space, found, lambda: render(found, "yaml"))


def _add_args(parser: Parser) -> None:
    parser.add_argument("name")
    _content_args(parser)


def _content_args(parser: Parser) -> None:
    parser.add_argument("words", nargs="*")
    parser.add_argument("--file", default="")
    parser.add_argument("--info", default="")


def _add(space: Namespace) -> int:
    uri = call(
        "add_secret",
        model=space.model,
        name=space.name,
        content=content(space.words, space.file),
        info=space.info,
    )
    sys.stdout.write(f"{uri}\n")
    return 0


def _update_args(parser: Parser) -> None:
    parser.add_argument("secret")
    _content_args(parser)
    parser.add_argument("--name", default="")
    parser.add_argument("--auto-prune", action="store_true")


def _update(space: Namespace) -> int:
    call(
        "update_secret",
        model=space.model,
        secret=space.secret,
        content=content(space.words, space.file),
        info=space.info,
        name=space.name,
        auto_prune=space.auto_prune,
    )
    return 0


def _access_args(parser: Parser) -> None:
    parser.add_argument("secret")
    parser.add_argument("apps", help="applications, with commas")


def _access(space: Namespace, method: str) -> int:
    call(method, model=space.model, secret=space.secret, apps=list_of(space.apps))
    return 0


def _remove_args(parser: Parser) -> None:
    parser.add_argument("secret")
    parser.add_argument("--revision", type=int, default=None)


def _remove(space: Namespace) -> int:
    call("remove_secret", model=space.model, secret=space.secret, revision=space.revision)
    return 0


COMMANDS = {
    "secrets": Command(
        "Lists a model's secrets.", _owner_args, _secrets, formats=("tabular", "json", "yaml")
    ),
    "show-secret": Command("Shows a secret.", _show_args, _show, formats=("yaml", "json")),
    "add-secret": Command("Makes a secret.", _add_args, _add),
    "update-secret": Command("Changes a secret.", _update_args, _update),
    "grant-secret": Command(
        "Lets applications read a secret.", _access_args, lambda s: _access(s, "grant_secret")
    ),
    "revoke-secret": Command(
        "Takes that back.", _access_args, lambda s: _access(s, "revoke_secret")
    ),
    "remove-secret": Command("Removes a secret.", _remove_args, _remove),
}
