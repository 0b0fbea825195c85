"""The action that replaces this unit's tokens, on any unit; those of before end at once."""

from typing import TYPE_CHECKING

import kubefed_host
import ops
from federation_interfaces.databag import config_error
from federation_register import NotReadyError
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
        results: dict[str, object] = {"rotated": charm.unit.name}
        try:
            settings, access = charm.actions.given()
            name = charm.host_cluster(settings)
            if charm.register.shared().installed is None:
                raise NotReadyError(
                    "the federation's API is not installed yet, so there is no token to rotate"
                )
            charm.run_controller(access, settings, name, renew=True)
            if event.params["kubeconfigs"]:
                ended = kubefed_host.end_user_kubeconfigs(access, settings)
                results["kubeconfigs-ended"] = ended
        except ValueError as error:
            event.fail(f"the configuration is refused: {config_error(error)}")
            return
        except (HostError, NotReadyError) as error:
            event.fail(str(error))
            return
        renew_at = charm.host.renewal().renew_at
        results["renews-at"] = renew_at.isoformat() if renew_at else "the next hook"
        event.set_results(results)
