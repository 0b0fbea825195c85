"""Packs the tests' tiny charms: no charmcraft, ops from the environment that runs the tests."""

import sysconfig
import zipfile
from pathlib import Path

_SOURCES = Path(__file__).parent / "juju_charms"
_DISPATCH = """#!/bin/sh
exec env PYTHONPATH={site} {python} ./src/charm.py
"""
_FILES = {
    "provider": {
        "metadata.yaml": """
name: provider
provides:
  api: {interface: token}
peers:
  friends: {interface: friends}
""",
        "config.yaml": """
options:
  level: {type: int, default: 1, description: A number.}
""",
        "actions.yaml": """
rotate:
  description: Changes the token.
  params: {to: {type: string}}
  required: [to]
  additionalProperties: false
greet:
  description: Says hello.
  params: {name: {type: string, default: you}}
  additionalProperties: false
""",
    },
    "consumer": {
        "metadata.yaml": """
name: consumer
requires:
  api: {interface: token, limit: 1}
""",
        "actions.yaml": """
share-back:
  description: Tries to grant a secret of its own.
  additionalProperties: false
""",
    },
}


def pack(name: str, folder: Path, python: str) -> Path:
    """Packs one charm.

    Args:
        name: ``provider`` or ``consumer``.
        folder: Where the packed charm goes.
        python: The interpreter that its hooks use.
    """
    path = folder / f"{name}.charm"
    dispatch = zipfile.ZipInfo("dispatch")
    dispatch.external_attr = 0o100755 << 16
    text = _DISPATCH.format(site=sysconfig.get_paths()["purelib"], python=python)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(dispatch, text)
        archive.writestr("src/charm.py", (_SOURCES / f"{name}.py").read_text())
        for file, body in _FILES[name].items():
            archive.writestr(file, body)
    return path
