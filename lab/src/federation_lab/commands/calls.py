"""Juju's verbs as the lab's own commands use them, in this process."""

from __future__ import annotations

import contextlib
import io
import json
from typing import TYPE_CHECKING, Any

from federation_lab.errors import LabError

if TYPE_CHECKING:
    from collections.abc import Sequence


def juju(*argv: str) -> str:
    """Run one of Juju's verbs and give what it printed.

    Raises:
        LabError: it failed; the text has the command and its reason.
    """
    from federation_lab.juju import cli as juju_cli

    printed, complained = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(complained):
        code = juju_cli.main(list(argv))
    if code != 0:
        reason = (complained.getvalue() or printed.getvalue()).strip()
        raise LabError(f"`juju {' '.join(argv)}` failed: {reason}")
    return printed.getvalue()


def juju_json(*argv: str) -> Any:
    """Run one of Juju's verbs with ``--format json`` and give what it means."""
    return json.loads(juju(*argv, "--format", "json"))


def statuses(models: Sequence[str]) -> list[dict[str, Any]]:
    """Give each model's status."""
    return [juju_json("status", "-m", model) for model in models]


def models() -> list[str]:
    """Name the models there are, in the order in which they were made."""
    return [model["short-name"] for model in juju_json("models")["models"]]
