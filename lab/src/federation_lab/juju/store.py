"""The controller's files: its state, whole or not at all, and its logs."""

import asyncio
import json
import os
import tempfile
from datetime import datetime
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from federation_lab.juju import names
from federation_lab.juju.errors import ControllerError
from federation_lab.juju.state import State

_LOG_LIMIT = 16 * 1024 * 1024


def write_whole(path: Path, data: bytes) -> None:
    """Replaces a file at once and durably."""
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


class Store:
    """The folder ``LAB_HOME/juju``.

    Args:
        folder: The folder; made if need be, readable by its owner only (it holds secrets).
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("", "charms", "logs", "running"):
            (folder / name).mkdir(mode=0o700, parents=True, exist_ok=True)
        self._lock = asyncio.Lock()
        self._wanted = 0
        self._written = 0

    @property
    def _file(self) -> Path:
        return self.folder / "state.json"

    def load(self) -> State:
        """The state, or a new one if there never was any.

        Raises:
            ControllerError: It is there and cannot be read; it is never taken for empty.
        """
        if not self._file.exists():
            return State(controller_uuid=names.new_uuid())
        try:
            return State.model_validate_json(self._file.read_bytes())
        except (OSError, ValidationError) as error:
            reason = error if isinstance(error, OSError) else f"{error.error_count()} errors"
            raise ControllerError(
                f"{self._file} cannot be read ({reason}): put a good copy there, or take the "
                "lab down (lab down) and build it anew"
            ) from error

    def mark(self) -> None:
        """Notes that the state changed since it was last written."""
        self._wanted += 1

    @property
    def dirty(self) -> bool:
        """Whether something is not yet written."""
        return self._written < self._wanted

    async def save(self, state: State) -> None:
        """Returns when everything that was true at the call is on disk."""
        wanted = self._wanted
        async with self._lock:
            if self._written >= wanted:
                return
            number = self._wanted
            data = state.model_dump_json().encode()
            await asyncio.to_thread(write_whole, self._file, data)
            self._written = number

    def log(self, model: str, moment: datetime, source: str, level: str, text: str) -> None:
        """Appends to a model's log, as ``debug-log`` shows it."""
        path = self.log_file(model)
        if path.exists() and path.stat().st_size > _LOG_LIMIT:
            path.replace(path.with_suffix(".log.1"))
        stamp = moment.strftime("%H:%M:%S")
        with path.open("a", encoding="utf-8") as file:
            for line in text.splitlines() or [""]:
                file.write(f"{source}: {stamp} {level} {line}\n")

    def log_file(self, model: str) -> Path:
        """A model's log."""
        return self.folder / "logs" / f"{model}.log"

    def record_hook(self, entry: dict[str, Any]) -> None:
        """Appends one hook's time to ``hooks.jsonl``, for benchmarks."""
        with (self.folder / "hooks.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry) + "\n")
