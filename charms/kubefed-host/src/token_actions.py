"""The action that replaces this unit's tokens, on any unit; those of before end at once."""

from typing import TYPE_CHECKING

import kubefed_host
import ops
from federation_interfaces.access import AccessMissingError
from federation_interfaces.databag import config_error
from kubefed_host import HostError

if TYPE_CHECKING:
    from charm import KubefedHostCharm


class TokenActions(ops.Object):
    """Replaces the tokens of the controller and of the charm, and ends users' kubeconfigs."""

    def __init__(self, charm: "KubefedHostCharm"):
        super().__init__(charm, "token-actions")
        self._charm = charm
        self.framework.observe(charm.on.rotate_tokens_action, self._on_rotate_tokens)

    def _on_rotate_tokens(self, event: ops.ActionEvent) -> None:
        charm = self._charm
        try:
            settings = charm.settings()
            name = charm.host_cluster(settings)
            access = charm.cluster.access(settings)
        except ValueError as error:
            event.fail(f"the configuration is refused: {config_error(error)}")
            return
        except AccessMissingError as error:
            event.fail(str(error))
            return
        if charm.register.shared().installed is None:
            event.fail("the federation's API is not installed yet, so there is no token to rotate")
            return
        results: dict[str, object] = {"rotated": charm.unit.name}
        try:
            charm.run_controller(access, settings, name, renew=True)
            if event.params["kubeconfigs"]:
                ended = kubefed_host.end_user_kubeconfigs(access, settings)
                results["kubeconfigs-ended"] = ended
        except HostError as error:
            event.fail(str(error))
            return
        renew_at = charm.host.renewal().renew_at
        results["renews-at"] = renew_at.isoformat() if renew_at else "the next hook"
        event.set_results(results)
