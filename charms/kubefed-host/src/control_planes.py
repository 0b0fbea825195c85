"""Which control plane runs: the units' embedded controllers, or upstream's in the cluster."""

import logging
from collections.abc import Callable
from typing import Any, cast
from urllib.parse import urlencode

import kubefed_host
import ops
from federation_interfaces.access import Access
from federation_interfaces.cluster import Cluster, ClusterError
from federation_register import Register
from handover import POD_LABEL, AskOperatorError, Handover, clock, sleep
from kubefed_host import Host, HostError, Settings
from upstream_facts import Facts, State, digest_of, groups_of, release, state_of
from upstream_settings import EMBEDDED, UPSTREAM

NOBODY = "nobody"
READY_SECONDS = 30.0
POLL_SECONDS = 1.0
FEDERATE_LABEL = "kubefed.io/federate=true"
_CORE = "/apis/core.kubefed.io/v1beta1"

logger = logging.getLogger(__name__)


class ControlPlanes:
    """Brings the one that is configured into its turn, after the other has ended."""

    def __init__(self, charm: ops.CharmBase, host: Host, register: Register):
        self._charm = charm
        self._host = host
        self._register = register
        self._state: State | None = None

    def lead(self, access: Access, settings: Settings) -> None:
        """Install the API and hand over to the control plane that is configured; the leader only.

        Raises:
            HostError: not now; the text says why.
        """
        cluster = access.admin()
        handover = Handover(cluster, settings.namespace, self._charm.app.name)
        try:
            if settings.control_plane == UPSTREAM:
                self._lead_upstream(access, settings, handover)
            else:
                self._lead_embedded(access, settings, handover)
        except ClusterError as error:
            raise HostError(str(error)) from error

    def embedded_runs(self) -> bool:
        """Say whether this unit's controller is to run, by the leader's word."""
        return self._register.shared().control_plane in (None, EMBEDDED)

    def facts(self, access: Access, settings: Settings) -> Facts:
        """Return what is filled into upstream's manifests; raises ClusterError."""
        cluster = access.admin()
        base = f"{_CORE}/namespaces/{settings.namespace}"
        config = cluster.request("GET", f"{base}/kubefedconfigs/kubefed")
        types = cluster.request("GET", f"{base}/federatedtypeconfigs")
        return Facts(
            app=self._charm.app.name,
            namespace=settings.namespace,
            image=settings.image,
            config=digest_of(config.get("spec")),
            groups=groups_of(types.get("items") or []),
        )

    def statuses(self, access: Access | None, settings: Settings) -> list[ops.StatusBase]:
        """Say what keeps the control plane from its work."""
        in_force = self._register.shared().control_plane or EMBEDDED
        if settings.control_plane != in_force:
            before = "upstream's" if settings.control_plane == EMBEDDED else "the embedded"
            text = f"control-plane={settings.control_plane}: {before} controllers end first"
            return [ops.WaitingStatus(text)]
        if in_force == EMBEDDED:
            running = self._host.running()
            return [] if running else [ops.WaitingStatus("the controller is not running")]
        if access is None or not self._charm.unit.is_leader():
            return []
        try:
            state = self._state or _state(access.admin(), settings, self._charm.app.name)
        except (ClusterError, HostError) as error:
            return [ops.WaitingStatus(f"upstream's controller manager: {error}")]
        if state is None:
            return [ops.WaitingStatus("upstream's controller manager is gone; it is made again")]
        return [ops.WaitingStatus(state.trouble)] if state.trouble else []

    def note(self, settings: Settings) -> str:
        """Return what the status adds where upstream controls the federation."""
        return f"; KubeFed {release()}" if settings.control_plane == UPSTREAM else ""

    def version(self, settings: Settings) -> str:
        """Return the version of the control plane that is configured."""
        if settings.control_plane == UPSTREAM:
            return release().removeprefix("v")
        return kubefed_host.version()

    # The leader's steps

    def _lead_embedded(self, access: Access, settings: Settings, handover: Handover) -> None:
        its_turn = handover.embedded_may_act()
        if not its_turn:
            self._register.save(control_plane=NOBODY)
            handover.end_upstream()
        digest = kubefed_host.install_digest(access, settings)
        if not its_turn or self._register.shared().installed != digest:
            kubefed_host.install_api(access, settings, bound=True)
            self._register.save(installed=digest)
        self._configure(access.admin(), settings)
        self._register.save(control_plane=EMBEDDED)

    def _lead_upstream(self, access: Access, settings: Settings, handover: Handover) -> None:
        there = handover.deployment()
        its_turn = not handover.embedded_may_act()
        if there is None:
            _refuse_transparent(access.admin())
        self._host.stand_down()
        digest = kubefed_host.install_digest(access, settings)
        if self._register.shared().installed != digest:
            kubefed_host.install_api(access, settings, bound=False)
            self._register.save(installed=digest)
        if there is None or not its_turn:
            self._register.save(control_plane=NOBODY)
            handover.end_embedded()
        self._configure(access.admin(), settings)
        self._state = self._deploy(access, settings)
        self._register.save(control_plane=UPSTREAM)

    def _configure(self, cluster: Cluster, settings: Settings) -> None:
        """Bring into KubeFedConfig what options say, and take back what they said before."""
        spec = settings.config_spec()
        before, wanted = self._register.shared().configured, digest_of(spec)
        if wanted == before or (not spec and before is None):
            return
        body = {
            "apiVersion": "core.kubefed.io/v1beta1",
            "kind": "KubeFedConfig",
            "metadata": {"name": "kubefed"},
            "spec": spec,
        }
        path = f"{_CORE}/namespaces/{settings.namespace}/kubefedconfigs/kubefed"
        _ = cluster.apply(path, body)
        self._register.save(configured=wanted)

    def _deploy(self, access: Access, settings: Settings) -> State | None:
        """Make upstream's objects where they are not there as they should be."""
        facts, app = self.facts(access, settings), self._charm.app.name
        state = _state(access.admin(), settings, app)
        if state is not None and state.digest == facts.digest:
            return state
        deploy(self._charm.model, access, facts)
        return _await_ready(lambda: _state(access.admin(), settings, app))


def deploy(model: ops.Model, access: Access, facts: Facts) -> None:
    """Make upstream's objects; raises HostError."""
    import upstream_manifests

    upstream_manifests.deploy(model, access, facts)


def _state(cluster: Cluster, settings: Settings, app: str) -> State | None:
    """Return how upstream is, None where it isn't; raises HostError and ClusterError."""
    deployment = Handover(cluster, settings.namespace, app).deployment()
    if deployment is None:
        return None
    state = state_of(deployment, [])
    if state.complete:
        return state
    query = urlencode({"labelSelector": POD_LABEL})
    pods = cluster.request("GET", f"/api/v1/namespaces/{settings.namespace}/pods?{query}")
    return state_of(deployment, cast("list[dict[str, Any]]", pods.get("items") or []))


def _await_ready(look: Callable[[], State | None]) -> State | None:
    """Wait for a while until all pods answer; the status says what is missing after that."""
    began = clock()
    while True:
        state = look()
        if (state is not None and state.complete) or clock() - began >= READY_SECONDS:
            return state
        sleep(POLL_SECONDS)


def _refuse_transparent(cluster: Cluster) -> None:
    """Refuse upstream, which knows nothing of it, while namespaces are federated transparently."""
    query = urlencode({"labelSelector": FEDERATE_LABEL})
    found = cluster.request("GET", f"/api/v1/namespaces?{query}").get("items") or []
    if found:
        names = ", ".join(sorted(str(each["metadata"]["name"]) for each in found))
        raise AskOperatorError(
            "control-plane=upstream: KubeFed v0.10.0 would write over the plain objects of "
            f"namespaces that have the label {FEDERATE_LABEL.replace('=', ': ')} ({names}); "
            "take the label off, or stay with embedded"
        )
