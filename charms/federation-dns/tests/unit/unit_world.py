"""A unit's machine in a folder, and what systemd is told of it."""

from pathlib import Path
from typing import Any

import pytest
from charmlibs import systemd
from dns_settings import Place, Settings

SETTINGS = Settings()
PLACE = Place("catania", "10.0.0.12", "192.0.2.12", "10.0.0.0/24")


class Services:
    """What systemd was told."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.told: list[str] = []
        self.running: set[str] = set()
        self.broken = False
        for name in ("daemon_reload", "service_enable"):
            monkeypatch.setattr(systemd, name, self._tell(name))
        monkeypatch.setattr(systemd, "service_restart", self._restart)
        monkeypatch.setattr(systemd, "service_disable", self._disable)
        monkeypatch.setattr(systemd, "service_running", self.running.__contains__)

    def _tell(self, name: str) -> Any:
        def tell(*words: str) -> bool:
            self.told.append(" ".join([name, *words]))
            return True

        return tell

    def _restart(self, name: str) -> bool:
        if self.broken:
            raise systemd.SystemdError("start failed")
        self.told.append(f"restart {name}")
        self.running.add(name)
        return True

    def _disable(self, *words: str) -> bool:
        self.told.append(f"disable {words[-1]}")
        self.running.discard(words[-1])
        return True


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777
