"""No controller acts while a federation is put back: the restore holds their Lease itself.

Controllers wait until it is given back, and then begin anew with all that is there. One that
leads is relieved: it sees another's name in the Lease and stops, at the latest when its own trust
in the Lease ends.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
import uuid
from collections.abc import Callable, Generator

from kubefed import errors
from kubefed.api import NAMESPACE, Manifest
from kubefed.api.names import CONTROLLER_NAME
from kubefed.clients import Resources
from kubefed.controller.leader import DURATION, LEASE, RENEW_DEADLINE, held_by

RENEW_SECONDS = 1.0
_ATTEMPTS = 10


class Held:
    """The Lease, held by this process.

    Args:
        host: the host cluster, by a client of its own: it is used from a thread.
        namespace: the federation's.
    """

    def __init__(self, host: Resources, namespace: str) -> None:
        self._host = host
        self._namespace = namespace
        self._identity = f"kubefed-restore_{socket.gethostname()}_{uuid.uuid4()}"
        self._until = 0.0
        self._ended = threading.Event()

    def need(self) -> None:
        """Go on only while the Lease is held.

        Raises:
            errors.RetryLater: it isn't any more.
        """
        if time.monotonic() >= self._until:
            raise errors.RetryLater(
                f"the Lease {self._namespace}/{CONTROLLER_NAME} was lost, so a controller may be "
                "at work; what was restored so far is whole in itself; restore again"
            )

    def acquire(self) -> str:
        """Take the Lease over; give who held it, "" if nobody did.

        Raises:
            errors.RetryLater: others write it again and again.
        """
        for _ in range(_ATTEMPTS):
            with contextlib.suppress(errors.Conflict):
                return self._write(take=True)
        raise errors.RetryLater(
            f"the Lease {self._namespace}/{CONTROLLER_NAME} is written by others all the time; "
            "stop the controllers and restore again"
        )

    def keep(self) -> None:
        """Renew until `release`; meant for a thread."""
        while not self._ended.wait(RENEW_SECONDS):
            with contextlib.suppress(errors.KubefedError):
                _ = self._write(take=False)

    def release(self) -> None:
        """Give the Lease back."""
        self._ended.set()
        with contextlib.suppress(errors.KubefedError):
            lease = self._host.get(LEASE, CONTROLLER_NAME, self._namespace)
            if lease and lease["spec"].get("holderIdentity") == self._identity:
                lease["spec"] |= {"holderIdentity": "", "leaseDurationSeconds": 1}
                _ = self._host.replace(LEASE, lease)

    def _write(self, *, take: bool) -> str:
        began = time.monotonic()
        lease = self._host.get(LEASE, CONTROLLER_NAME, self._namespace)
        holder = str(((lease or {}).get("spec") or {}).get("holderIdentity") or "")
        if not take and holder != self._identity:
            self._until = 0.0
            return holder
        if lease is None:
            _ = self._host.create(LEASE, held_by(self._identity, self._namespace, {}))
        else:
            _ = self._host.replace(LEASE, held_by(self._identity, self._namespace, lease))
        self._until = began + RENEW_DEADLINE
        return holder


@contextlib.contextmanager
def controllers_paused(
    host: Resources, namespace: str, tell: Callable[[str], None]
) -> Generator[Held]:
    """Keep every controller from acting until the block is left.

    Args:
        host: the host cluster.
        namespace: the federation's; made if absent.
        tell: told what is waited for.
    """
    if host.get(NAMESPACE, namespace) is None:
        made: Manifest = {
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {"name": namespace},
        }
        with contextlib.suppress(errors.Conflict):
            _ = host.create(NAMESPACE, made)
    held = Held(host, namespace)
    holder = held.acquire()
    thread = threading.Thread(target=held.keep, name="lease", daemon=True)
    thread.start()
    try:
        if holder:
            tell(f"{holder} led; waiting {DURATION:.0f} s until it has certainly stopped")
            time.sleep(DURATION)
        held.need()
        yield held
    finally:
        held.release()
        thread.join(RENEW_SECONDS + 1)
