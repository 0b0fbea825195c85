"""Which command stands for an image: ``images.yaml``.

    images:
      registry.example.org/team/web:1.0:
        command: [/usr/bin/python3, -I, "{programs}/web.py"]   # as an image's ENTRYPOINT
        args: []                                               # as an image's CMD
        env: {NAME: value}
        user: 65534
        directory: /srv
        program: false

``{programs}`` is the directory of the programs that travel with the lab. A key may leave out the
tag, then it stands for every tag. With ``program`` the command stands for the image's program
whatever a container calls it: of a container's own ``command`` it takes the first word's place.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

# Where a container finds the programs' directory.
PROGRAMS = "/srv/programs"
_FIELDS = {"command", "args", "env", "user", "directory", "program"}


class ImagesError(Exception):
    """images.yaml cannot be used; the text says where and why."""


class UnknownImageError(Exception):
    """No entry stands for an image."""


@dataclasses.dataclass(frozen=True)
class Image:
    """What an image's name stands for."""

    name: str
    command: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    env: Mapping[str, str] = dataclasses.field(default_factory=dict[str, str])
    user: int = 0
    directory: str = "/"
    program: bool = False

    def argv(self, command: Sequence[str] | None, args: Sequence[str] | None) -> list[str]:
        """Give what to run, by the same rule as for a container's image.

        Args:
            command: the container's ``command``: it replaces the image's command and its args; of
                an image with ``program``, all but its first word follows the image's command.
            args: the container's ``args``: they replace the image's args.
        """
        if command and self.program:
            return [*self.command, *command[1:], *(args or ())]
        if command:
            return [*command, *(args or ())]
        return [*self.command, *(args or self.args)]


class Images:
    """All entries of one images.yaml."""

    def __init__(self, images: Mapping[str, Image]) -> None:
        self._images = dict(images)

    @classmethod
    def parse(cls, text: str) -> Images:
        """Read a file's text.

        Raises:
            ImagesError: it isn't YAML of the described shape.
        """
        try:
            document: object = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise ImagesError(f"images.yaml is not YAML: {error}") from error
        document = {} if document is None else document
        if not isinstance(document, dict):
            raise ImagesError("images.yaml: expected a mapping with the key 'images'")
        entries: object = document.get("images") or {}
        if not isinstance(entries, dict) or set(document) - {"images"}:
            raise ImagesError("images.yaml: expected the one key 'images', a mapping")
        return cls(
            {normal(str(name)): _image(str(name), entry) for name, entry in entries.items()}
        )

    def find(self, name: str) -> Image:
        """Give the entry for an image: by tag and digest, by tag, or for every tag.

        Raises:
            UnknownImageError: there is none.
        """
        full = normal(name)
        tagged = full.partition("@")[0]
        for candidate in (full, tagged, _untagged(tagged)):
            if candidate in self._images:
                return self._images[candidate]
        raise UnknownImageError(
            f"no entry in images.yaml stands for the image {name}; add one with the command to"
            f" run (known: {', '.join(sorted(self._images)) or 'none'})"
        )


def normal(name: str) -> str:
    """Give an image's full name, as container runtimes complete it."""
    first, slash, _ = name.partition("/")
    if not slash:
        return f"docker.io/library/{name}"
    if "." in first or ":" in first or first == "localhost":
        return name
    return f"docker.io/{name}"


def _untagged(name: str) -> str:
    head, slash, last = name.rpartition("/")
    return f"{head}{slash}{last.partition(':')[0]}"


def _image(name: str, entry: Any) -> Image:
    where = f"images.yaml: {name}"
    if not isinstance(entry, dict):
        raise ImagesError(f"{where}: expected a mapping with the key 'command'")
    if unknown := sorted(str(field) for field in entry if field not in _FIELDS):
        known = ", ".join(sorted(_FIELDS))
        raise ImagesError(f"{where}: unknown keys {', '.join(unknown)} (known: {known})")
    user = entry.get("user", 0)
    if not isinstance(user, int):
        raise ImagesError(f"{where}: 'user' must be a number")
    program = entry.get("program", False)
    if not isinstance(program, bool) or (program and not entry.get("command")):
        raise ImagesError(f"{where}: 'program' must be true or false, and needs a command")
    environment = entry.get("env") or {}
    if not isinstance(environment, dict):
        raise ImagesError(f"{where}: 'env' must be a mapping")
    return Image(
        name=normal(name),
        command=_words(where, "command", entry),
        args=_words(where, "args", entry),
        env={str(key): str(value) for key, value in environment.items()},
        user=user,
        directory=str(entry.get("directory", "/")),
        program=program,
    )


def _words(where: str, field: str, entry: Mapping[str, Any]) -> tuple[str, ...]:
    words: object = entry.get(field) or []
    if not isinstance(words, list):
        raise ImagesError(f"{where}: {field!r} must be a list of words")
    return tuple(str(word).replace("{programs}", PROGRAMS) for word in words)
