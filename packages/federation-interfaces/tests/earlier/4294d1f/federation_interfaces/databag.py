"""Reading and writing a databag: one JSON value a key, unknown keys left alone."""

import json
from collections.abc import Iterator, Mapping, MutableMapping
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, ValidationError


class DatabagError(Exception):
    """A databag holds what its model refuses: the text names each field and why.

    Only whoever runs the other side can mend it, so charms show it and wait.
    """


class Databag(BaseModel):
    """Base of every side's model.

    Fields default to None, so that an older or newer peer can always be read; unknown keys are
    ignored for the same reason.
    """

    model_config: ClassVar[ConfigDict] = ConfigDict(extra="ignore", frozen=True, defer_build=True)

    @classmethod
    def load(cls, databag: Mapping[str, str]) -> Self:
        """Read a databag.

        Args:
            databag: keys to JSON texts, as a relation gives them.

        Returns:
            The model; fields whose key is absent are None.

        Raises:
            DatabagError: a value is no JSON, or the model refuses it.
        """
        found: dict[str, Any] = {}
        for key in cls.model_fields:
            if key not in databag:
                continue
            try:
                found[key] = json.loads(databag[key])
            except json.JSONDecodeError as error:
                raise DatabagError(f"{key}: not JSON ({error.msg})") from error
        try:
            return cls.model_validate(found)
        except ValidationError as error:
            raise DatabagError(describe(error)) from error

    def dump(self, databag: MutableMapping[str, str]) -> bool:
        """Write the model; keys whose field is None are removed, unknown keys stay.

        Args:
            databag: the side's own databag.

        Returns:
            True if anything changed.
        """
        changed = False
        for key, value in self.model_dump(mode="json").items():
            text = None if value is None else json.dumps(value, sort_keys=True)
            if databag.get(key) == text:
                continue
            changed = True
            if text is None:
                del databag[key]
            else:
                databag[key] = text
        return changed


def describe(error: ValidationError) -> str:
    """Say a validation error in one line, without the values (they may be long)."""
    return "; ".join(f"{place or 'value'}: {why}" for place, why in _refused(error))


def config_error(error: ValueError) -> str:
    """Say why a charm's configuration is refused; options are called as Juju calls them."""
    if not isinstance(error, ValidationError):
        return str(error)
    found = [(place.replace("_", "-"), why) for place, why in _refused(error)]
    return "; ".join(f"{option}: {why}" if option else why for option, why in found)


def _refused(error: ValidationError) -> Iterator[tuple[str, str]]:
    for item in error.errors(include_url=False, include_input=False):
        place = ".".join(str(part) for part in item["loc"])
        yield place, item["msg"].removeprefix("Value error, ")
