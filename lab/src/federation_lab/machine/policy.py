"""The manager's decisions: did it fail, is it started again, in which order. Pure."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable, Mapping

from federation_lab.machine.service import Service

# Ends that systemd holds for clean when Type isn't oneshot.
CLEAN_SIGNALS = ("SIGHUP", "SIGINT", "SIGTERM", "SIGPIPE")
RESTARTS = {
    "always": {"success", "exit-code", "signal", "core-dump", "timeout", "protocol", "resources"},
    "on-success": {"success"},
    "on-failure": {"exit-code", "signal", "core-dump", "timeout", "protocol", "resources"},
    "on-abnormal": {"signal", "core-dump", "timeout"},
    "on-abort": {"signal", "core-dump"},
    "on-watchdog": set[str](),
    "no": set[str](),
}


def end_of(status: int) -> int | str:
    """Give a wait status as an exit code, or as the name of the signal."""
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        try:
            return signal.Signals(number).name
        except ValueError:
            return f"SIGRTMIN+{number - signal.SIGRTMIN}"
    return os.WEXITSTATUS(status)


def result_of(service: Service, status: int) -> str:
    """Say what an end of the main process means for the unit."""
    end = end_of(status)
    if end == 0 or end in service.success:
        return "success"
    if isinstance(end, str):
        if end in CLEAN_SIGNALS and service.kind != "oneshot":
            return "success"
        return "core-dump" if os.WCOREDUMP(status) else "signal"
    return "exit-code"


def restarts(service: Service, result: str, status: int | None) -> bool:
    """Say whether Restart= starts the unit again after this."""
    if status is not None and end_of(status) in service.prevent_restart:
        return False
    # A oneshot that has done its work is at its end, not down.
    if service.kind == "oneshot" and result == "success":
        return False
    return result in RESTARTS.get(service.restart, set[str]())


def within_limit(service: Service, starts: list[float], now: float) -> bool:
    """Say whether one more start is allowed; forgets starts that are too long ago."""
    if service.start_limit_s <= 0 or service.start_limit_burst <= 0:
        return True
    starts[:] = [moment for moment in starts if now - moment < service.start_limit_s]
    return len(starts) < service.start_limit_burst


def ordered(names: Iterable[str], after: Mapping[str, Iterable[str]]) -> list[str]:
    """Give the names so that each comes behind those it is to be after; cycles are broken."""
    wanted = sorted(set(names))
    result: list[str] = []
    seen: set[str] = set()

    def visit(name: str) -> None:
        if name in seen:
            return
        seen.add(name)
        for earlier in sorted(after.get(name, ())):
            if earlier in wanted:
                visit(earlier)
        result.append(name)

    for name in wanted:
        visit(name)
    return result


def privileges(service: Service, ids: tuple[int, int, tuple[int, ...]] | None) -> list[str]:
    """Give what to put before a command so that it runs with the unit's rights only.

    Args:
        service: the unit.
        ids: user, group and supplementary groups by number, None for root as it is.
    """
    words: list[str] = []
    if ids is not None:
        user, group, groups = ids
        words += [f"--reuid={user}", f"--regid={group}"]
        words += [f"--groups={','.join(map(str, groups))}"] if groups else ["--clear-groups"]
    if service.ambient:
        names = ",".join(f"+{_capability(name)}" for name in service.ambient)
        words += [f"--inh-caps={names}", f"--ambient-caps={names}"]
    if service.no_new_privileges:
        words.append("--no-new-privs")
    return ["/usr/bin/setpriv", *words, "--"] if words else []


def _capability(name: str) -> str:
    return name.lower().removeprefix("cap_")
