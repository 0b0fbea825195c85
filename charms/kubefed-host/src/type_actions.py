"""The actions on kinds and plain objects: enable-type, disable-type, federate."""

import json
from typing import TYPE_CHECKING

import federation_types
import ops
from federation_interfaces.access import Access
from federation_register import NotReadyError
from kubefed_host import HostError, Settings

if TYPE_CHECKING:
    from charm import KubefedHostCharm


class TypeActions(ops.Object):
    """Says which kinds are federated, and federates what a manifest holds."""

    def __init__(self, charm: "KubefedHostCharm"):
        super().__init__(charm, "type-actions")
        self._charm = charm
        self.framework.observe(charm.on.enable_type_action, self._on_enable_type)
        self.framework.observe(charm.on.disable_type_action, self._on_disable_type)
        self.framework.observe(charm.on.federate_action, self._on_federate)

    def _on_enable_type(self, event: ops.ActionEvent) -> None:
        try:
            settings, access = self._charm.backup_actions.installed()
            found, before = federation_types.enable(access, settings, str(event.params["type"]))
            self._tell_members(access, settings)
        except (HostError, NotReadyError) as error:
            event.fail(str(error))
            return
        results = {"type": found.name, "federated": found.federated.full_name}
        event.set_results(results | {"state": "already enabled" if before else "enabled"})

    def _on_disable_type(self, event: ops.ActionEvent) -> None:
        name, delete = str(event.params["type"]), bool(event.params["delete-kind"])
        try:
            settings, access = self._charm.backup_actions.installed()
            found = federation_types.disable(access, settings, name, delete_kind=delete)
            self._tell_members(access, settings)
        except (HostError, NotReadyError) as error:
            event.fail(str(error))
            return
        state = "disabled" if found else "not federated"
        event.set_results({"type": found.name if found else name, "state": state})

    def _on_federate(self, event: ops.ActionEvent) -> None:
        try:
            settings, access = self._charm.backup_actions.installed()
            manifest = str(event.params["manifest"])
            done, skipped = federation_types.federate(access, settings, manifest)
        except (HostError, NotReadyError) as error:
            event.fail(str(error))
            return
        results = {"objects": json.dumps(done), "left-out": json.dumps(skipped)}
        event.set_results(results | {"count": len(done)})

    def _tell_members(self, access: Access, settings: Settings) -> None:
        """Have each member's rights follow the kinds; raises HostError."""
        charm = self._charm
        charm.register.save(kinds=federation_types.kinds(access, settings))
        charm.register.publish(settings, charm.host_cluster(settings))
