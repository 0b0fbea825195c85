#!/usr/bin/env python3
"""The lab's stand-in for Charmed Kubernetes' control plane."""

import json
import logging

import control_plane
import ops
from control_plane import Settings, Workload, WorkloadError, options
from federation_lab.cluster.kubelet.images import ImagesError
from ops.interface_kube_control import KubeControlProvides

KUBE_CONTROL = "kube-control"
# The API server's first start makes its certificates and its database.
INSTALL_SECONDS = 60.0
HOOK_SECONDS = 1.5
# After the machine came back no other event would come to see that the API server has, too.
BOOT_SECONDS = 30.0
RESTART_SECONDS = 30.0

logger = logging.getLogger(__name__)


class ConfigError(Exception):
    """An option that only the operator can mend."""


class KubernetesControlPlaneCharm(ops.CharmBase):
    """Runs one region's Kubernetes on this machine and tells the model's charms the way in."""

    def __init__(self, framework: ops.Framework):
        super().__init__(framework)
        self.kube_control = KubeControlProvides(self, KUBE_CONTROL, schemas="0,1")
        self.workload = Workload()
        framework.observe(self.on.collect_unit_status, self._on_collect_status)
        framework.observe(self.on.install, self._on_install)
        framework.observe(self.on.start, self._on_start)
        for event in (
            self.on.upgrade_charm,
            self.on.config_changed,
            self.on.leader_elected,
            self.on.update_status,
            self.on[KUBE_CONTROL].relation_joined,
            self.on[KUBE_CONTROL].relation_changed,
            self.on[KUBE_CONTROL].relation_departed,
        ):
            framework.observe(event, self._on_change)
        framework.observe(self.on.remove, self._on_remove)
        framework.observe(self.on.get_kubeconfig_action, self._on_get_kubeconfig)
        framework.observe(self.on.restart_action, self._on_restart)

    def settings(self) -> Settings:
        """Return the configuration, understood.

        Raises:
            ConfigError: an option has no meaning, or the machine no address yet.
        """
        config = self.config
        images = str(config["images"])
        try:
            control_plane.merged_images(images)
        except ImagesError as error:
            raise ConfigError(f"images: {error}") from error
        labels = tuple(str(config["labels"]).split())
        if bad := [label for label in labels if "=" not in label]:
            raise ConfigError(f"labels: expected KEY=VALUE, found {bad[0]!r}")
        taints = tuple(str(config["register-with-taints"]).split())
        if bad := [taint for taint in taints if ":" not in taint]:
            raise ConfigError(f"register-with-taints: expected KEY=VALUE:EFFECT, found {bad[0]!r}")
        return Settings(
            region=str(config["region"]) or self.model.name,
            address=self._address(),
            images=images,
            service_cidr=str(config["service-cidr"]),
            labels=labels,
            taints=taints,
            extra_hosts=tuple(str(config["extra_sans"]).split()),
            extra_args=(
                ("kube-apiserver", options(str(config["api-extra-args"]))),
                ("kube-controller-manager", options(str(config["controller-manager-extra-args"]))),
                ("kube-scheduler", options(str(config["scheduler-extra-args"]))),
            ),
        )

    def _address(self) -> str:
        if addresses := self.kube_control.ingress_addresses:
            return addresses[0]
        raise ConfigError("this machine has no address for kube-control")

    # Making it so

    def _on_install(self, _: ops.InstallEvent) -> None:
        self.unit.status = ops.MaintenanceStatus("starting the control plane")
        self._reconcile(INSTALL_SECONDS)

    def _on_start(self, _: ops.StartEvent) -> None:
        self._reconcile(BOOT_SECONDS)

    def _on_change(self, _: ops.EventBase) -> None:
        self._reconcile(HOOK_SECONDS)

    def _reconcile(self, seconds: float) -> None:
        """Compare what is wanted with what is there, and act; wait at most so long for it."""
        if self._spare():
            return
        try:
            settings = self.settings()
            self.workload.ensure(settings)
        except ConfigError:
            return  # the status says it
        except WorkloadError as error:
            logger.error("%s", error)
            return
        if not self.workload.ready(settings, seconds):
            return
        self.unit.set_workload_version(self.workload.version(settings))
        if self.unit.is_leader():
            self._serve(settings)

    def _spare(self) -> bool:
        """Tell whether this is a unit too many: the stand-in's etcd is one machine's."""
        return not self.unit.name.endswith("/0") and self.app.planned_units() > 1

    def _serve(self, settings: Settings) -> None:
        """Tell kube-control's other sides all that the real charm tells them.

        Only what differs is written: each setter of the library writes each relation anew, and
        each write is a process.
        """
        provider = self.kube_control
        relations = self.model.relations[KUBE_CONTROL]
        facts = self._facts(settings)
        for relation in relations:
            published = relation.data[self.unit]
            changed = {key: value for key, value in facts.items() if published.get(key) != value}
            if "ca-certificate-secret-id" not in published:
                changed["ca-certificate-secret-id"] = self._grant_ca(relation, settings)
            if changed:
                published.update(changed)
        signed = self._signed(relations)
        present = {unit.name for relation in relations for unit in relation.units}
        if any(creds.get("scope") not in present for creds in signed.values()):
            for user, _ in provider.closed_auth_creds():
                logger.info("%s has left; its token is the administrator's and stays", user)
        # As the real charm does: the administrator's token, whatever was asked for.
        token = self.workload.admin_token(settings)
        for request in provider.auth_requests:
            if request.user not in signed:
                provider.sign_auth_request(
                    request, client_token=token, kubelet_token=token, proxy_token=token
                )

    def _facts(self, settings: Settings) -> dict[str, str]:
        """Give the public part of kube-control's databag, as the library's setters encode it."""
        config = self.config
        return {
            "api-endpoints": json.dumps([settings.control_plane().endpoint]),
            "cluster-tag": f"kubernetes-{settings.region}",
            "default-cni": json.dumps(str(config["default-cni"])),
            "domain": str(config["dns_domain"]),
            "enable-kube-dns": str(False),
            "port": str(53),
            "has-xcp": str(False).lower(),
            "registry-location": str(config["image-registry"]),
            "labels": json.dumps(sorted(set(settings.labels))),
            "taints": json.dumps(sorted(set(settings.taints))),
        }

    def _signed(self, relations: list[ops.Relation]) -> dict[str, dict[str, str]]:
        """Read whose requests are answered already."""
        found: dict[str, dict[str, str]] = {}
        for relation in relations:
            found.update(json.loads(relation.data[self.unit].get("creds", "{}")))
        return found

    def _grant_ca(self, relation: ops.Relation, settings: Settings) -> str:
        """Grant the CA's secret to a relation and give its ID.

        The library's own setter has no ID to give to relations that came after the secret, since
        it looks the secret up by its label (canonical/k8s-operator issue 950).
        """
        label = "ca-certificate"
        try:
            secret = self.model.get_secret(label=label)
        except ops.SecretNotFoundError:
            content = {
                "ca-certificate": self.workload.ca_certificate(settings),
                "endpoint": KUBE_CONTROL,
            }
            secret = self.app.add_secret(content, label=label)
        secret.grant(relation)
        return secret.id or secret.get_info().id

    def _on_remove(self, _: ops.RemoveEvent) -> None:
        self.workload.remove()

    # Actions

    def _on_get_kubeconfig(self, event: ops.ActionEvent) -> None:
        settings = self._settings_for(event)
        if settings is not None:
            server = str(event.params.get("server") or "")
            event.set_results(
                {"kubeconfig": json.dumps(self.workload.kubeconfig(settings, server))}
            )

    def _on_restart(self, event: ops.ActionEvent) -> None:
        settings = self._settings_for(event, ready=False)
        if settings is None:
            return
        try:
            self.workload.restart(settings)
        except WorkloadError as error:
            event.fail(str(error))
            return
        if not self.workload.ready(settings, RESTART_SECONDS):
            event.fail(f"the API server is not ready after {RESTART_SECONDS:g} s")

    def _settings_for(self, event: ops.ActionEvent, *, ready: bool = True) -> Settings | None:
        """Give the settings of a control plane, a ready one mostly; else the action fails."""
        try:
            settings = self.settings()
            if self._spare():
                event.fail("the lab's control plane is one unit, and this is another")
                return None
            if not ready or self.workload.ready(settings, HOOK_SECONDS):
                return settings
            event.fail("the API server is not ready; see the unit's status")
        except ConfigError as error:
            event.fail(str(error))
        return None

    # Status

    def _on_collect_status(self, event: ops.CollectStatusEvent) -> None:
        if self._spare():
            event.add_status(
                ops.BlockedStatus("the lab's control plane is one unit; remove this one")
            )
            return
        try:
            settings = self.settings()
        except ConfigError as error:
            event.add_status(ops.BlockedStatus(str(error)))
            return
        if missing := self.workload.missing(settings):
            event.add_status(ops.BlockedStatus(missing))
        elif self.workload.ready(settings):
            event.add_status(ops.ActiveStatus(f"ready at {settings.control_plane().endpoint}"))
        else:
            event.add_status(ops.WaitingStatus("the API server does not answer yet"))


if __name__ == "__main__":  # pragma: no cover
    ops.main(KubernetesControlPlaneCharm)
