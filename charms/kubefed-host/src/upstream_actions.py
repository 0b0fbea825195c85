"""The actions on upstream's objects: which there are, which are missing, which are left over."""

from typing import TYPE_CHECKING, Literal

import ops
from federation_interfaces.cluster import ClusterError
from federation_register import NotReadyError
from kubefed_host import HostError
from upstream_facts import RELEASES, release
from upstream_settings import UPSTREAM

if TYPE_CHECKING:
    from charm import KubefedHostCharm
    from upstream_manifests import UpstreamManifests


class UpstreamActions(ops.Object):
    """Lists, mends and tidies what control-plane=upstream has in the host cluster."""

    def __init__(self, charm: "KubefedHostCharm"):
        super().__init__(charm, "upstream-actions")
        self._charm = charm
        observe = self.framework.observe
        observe(charm.on.list_versions_action, self._on_list_versions)
        observe(charm.on.list_resources_action, self._on_list_resources)
        observe(charm.on.sync_resources_action, self._on_sync_resources)
        observe(charm.on.scrub_resources_action, self._on_scrub_resources)

    def _on_list_versions(self, event: ops.ActionEvent) -> None:
        folders = (RELEASES / "manifests").iterdir()
        versions = sorted((folder.name for folder in folders), reverse=True)
        event.set_results({"kubefed-versions": "\n".join(versions), "deployed": self._deployed()})

    def _deployed(self) -> str:
        in_force = self._charm.register.shared().control_plane == UPSTREAM
        return release() if in_force else "none"

    def _on_list_resources(self, event: ops.ActionEvent) -> None:
        self._answer(event, "list")

    def _on_sync_resources(self, event: ops.ActionEvent) -> None:
        self._answer(event, "sync")

    def _on_scrub_resources(self, event: ops.ActionEvent) -> None:
        self._answer(event, "scrub")

    def _answer(self, event: ops.ActionEvent, what: Literal["list", "sync", "scrub"]) -> None:
        """Do something with upstream's objects, and tell how they are then."""
        kinds = str(event.params["resources"])
        try:
            manifests = self._manifests()
            from upstream_manifests import Collector, told

            collector = Collector(manifests)
            if what == "sync":
                # All of them: what somebody changed is put right as well as what is missing.
                manifests.deploy()
            with told():
                act = collector.scrub_resources if what == "scrub" else collector.list_resources
                act(event, None, kinds)
        except (HostError, ClusterError, NotReadyError) as error:
            event.fail(str(error))

    def _manifests(self) -> "UpstreamManifests":
        """Return upstream's objects as they should be; raises NotReadyError and ClusterError."""
        settings, access = self._charm.actions.ready()
        if settings.control_plane != UPSTREAM:
            raise NotReadyError(
                "control-plane=embedded has nothing of upstream's in the cluster; "
                "`juju config kubefed-host control-plane=upstream` deploys it"
            )
        if self._deployed() == "none":
            raise NotReadyError("upstream is not deployed yet; see the unit's status")
        from upstream_manifests import UpstreamManifests

        facts = self._charm.control_planes.facts(access, settings)
        return UpstreamManifests(self._charm.model, access, facts)
