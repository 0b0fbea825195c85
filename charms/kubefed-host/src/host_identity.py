"""Which cluster the host is: a cluster whose etcd was lost is another one at the same address.

Without this an emptied cluster would get an empty federation, with all members in it, and its
controller would take the federation's label off everything that they hold.
"""

import logging

from federation_interfaces.access import Access
from federation_interfaces.files import write_file
from federation_register import Register
from kubefed_host import Host, HostError

logger = logging.getLogger(__name__)


class HostReplacedError(HostError):
    """Another cluster answers in the host's place; the text says what to do."""


class HostIdentity:
    """The host cluster, by the UID of its namespace kube-system."""

    def __init__(self, host: Host, register: Register):
        self._register = register
        self._host = host
        self._file = host.state / "host-uid"

    def confirm(self, access: Access) -> None:
        """See that the host cluster is the one that it was; the leader only.

        Raises:
            HostReplacedError: it is another one.
        """
        known = self._register.shared().host_uid
        try:
            found = self._host.identity(access)
        except HostError as error:
            logger.warning("which cluster the host is can't be seen now: %s", error)
            return
        if known is None:
            self._register.save(host_uid=found)
        elif known != found:
            raise HostReplacedError(
                "the host cluster is another one than before, or its etcd was lost: run the "
                "action restore; to begin with an empty federation, deploy kubefed-host anew"
            )

    def accept(self, access: Access) -> None:
        """Take the cluster that answers for the host from now on; raises HostError."""
        self._register.save(host_uid=self._host.identity(access))

    def moved(self) -> bool:
        """Say whether this unit's tokens are of another cluster than the host is now."""
        known = self._register.shared().host_uid
        return self._file.exists() and known is not None and self._file.read_text() != known

    def settle(self) -> None:
        """Note that this unit's tokens are of the cluster that the host is now."""
        known = self._register.shared().host_uid
        if known is not None:
            _ = write_file(self._file, known)
