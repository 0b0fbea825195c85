"""The host charm's actions: each says why it fails, and is safe to repeat."""

import json
from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import federation_members
import kubefed_host
import ops
from federation_interfaces.access import Access, AccessMissingError
from federation_interfaces.databag import config_error
from federation_interfaces.fields import check_https_url, check_token_lifetime, parse_duration
from federation_members import MemberError
from federation_register import NotReadyError, record_of
from kubefed_host import HostError, Settings

if TYPE_CHECKING:
    from charm import KubefedHostCharm

KUBECONFIG_LABEL = "federation-kubeconfig"


class HostActions(ops.Object):
    """Joins and takes out clusters, lists them, and gives a kubeconfig, on demand."""

    def __init__(self, charm: "KubefedHostCharm"):
        super().__init__(charm, "actions")
        self._charm = charm
        self._register = charm.register
        observe = self.framework.observe
        observe(charm.on.join_cluster_action, self._on_join_cluster)
        observe(charm.on.unjoin_cluster_action, self._on_unjoin_cluster)
        observe(charm.on.list_clusters_action, self._on_list_clusters)
        observe(charm.on.get_kubeconfig_action, self._on_get_kubeconfig)

    def given(self) -> tuple[Settings, Access]:
        """Return what an action on any unit needs; raises NotReadyError."""
        try:
            settings = self._charm.settings()
            return settings, self._charm.cluster.access(settings)
        except ValueError as error:
            raise NotReadyError(f"the configuration is refused: {config_error(error)}") from error
        except AccessMissingError as error:
            raise NotReadyError(str(error)) from error

    def leading(self) -> tuple[Settings, Access]:
        """Return what an action of the leader needs; raises NotReadyError."""
        if not self._charm.unit.is_leader():
            raise NotReadyError("run this action on the leader: kubefed-host/leader")
        return self.given()

    def ready(self) -> tuple[Settings, Access]:
        """Return what an action on the members needs; raises NotReadyError."""
        settings, access = self.leading()
        if self._register.shared().installed is None or not self._charm.host.charm_token():
            raise NotReadyError("the federation's API is not installed yet")
        return settings, access

    def _on_join_cluster(self, event: ops.ActionEvent) -> None:
        cluster = str(event.params["cluster"])
        try:
            settings, access = self.ready()
            relation, data = self._register.related(cluster)
            check = federation_members.CHECK_SECONDS
            record = self._register.records().get(cluster)
            joined = record is not None and record.state == "joined"
            release = joined or bool(event.params["release-orphans"])
            lost = "" if joined else self._register.let_go(data, access, settings)
            issued = self._register.join(
                data, access, settings, check_s=check, release_orphans=release
            )
        except (MemberError, NotReadyError) as error:
            event.fail(f"{cluster} is not joined: {error}")
            return
        records = self._register.records()
        before = records.get(cluster)
        digest = federation_members.digest(data)
        records[cluster] = record_of(relation, cluster, digest, before, issued)
        self._register.save_records(records)
        self._register.publish(settings, self._charm.host_cluster(settings))
        again = before is not None and before.state == "joined"
        results = {"cluster": cluster, "state": "already joined" if again else "joined"}
        event.set_results(results | ({"lets-go-of": lost} if lost else {}))

    def _on_unjoin_cluster(self, event: ops.ActionEvent) -> None:
        cluster = str(event.params["cluster"])
        records = self._register.records()
        results: dict[str, object] = {"cluster": cluster, "state": "unjoined"}
        try:
            settings, access = self.ready()
            if cluster not in records:
                joined = ", ".join(sorted(records)) or "none"
                raise NotReadyError(f"no such cluster; known: {joined}")
            left = self._register.leave(
                access, settings, cluster, force=bool(event.params["force"])
            )
            results["left-behind"] = ", ".join(left) or "nothing"
            # Saved before the workloads are touched: the cluster is out, whatever comes next.
            update = {"state": "left", "error": "", "ready": None, "digest": ""}
            records[cluster] = records[cluster].model_copy(update=update)
            self._register.save_records(records)
            self._register.publish(settings, self._charm.host_cluster(settings))
            if event.params["workloads"] == "delete":
                _, data = self._register.related(cluster)
                token, _ = self._register.credential(data)
                results["deleted"] = federation_members.delete_workloads(data, token)
        except (MemberError, NotReadyError) as error:
            event.fail(f"{cluster}: {error}")
            return
        event.set_results(results)

    def _on_list_clusters(self, event: ops.ActionEvent) -> None:
        try:
            settings, access = self.ready()
            found = self._register.clusters(access, settings)
        except (MemberError, NotReadyError) as error:
            event.fail(str(error))
            return
        event.set_results({"clusters": json.dumps(found), "count": len(found)})

    def _on_get_kubeconfig(self, event: ops.ActionEvent) -> None:
        try:
            server, lifetime = _kubeconfig_params(event.params)
            settings, access = self.ready()
            name = self._charm.host_cluster(settings)
            text, minted = kubefed_host.user_kubeconfig(access, settings, name, server, lifetime)
        except (HostError, NotReadyError, ValueError) as error:
            event.fail(str(error))
            return
        path = self._charm.host.write_user_kubeconfig(text)
        try:
            secret = self._charm.model.get_secret(label=KUBECONFIG_LABEL)
            secret.set_content({"kubeconfig": text})
        except ops.SecretNotFoundError:
            secret = self._charm.app.add_secret({"kubeconfig": text}, label=KUBECONFIG_LABEL)
        event.set_results(
            {
                "kubeconfig": str(path),
                "secret-id": secret.unique_identifier,
                "context": name,
                "expires-at": minted.expires_at.isoformat(),
            },
        )


def _kubeconfig_params(params: Mapping[str, Any]) -> tuple[str, timedelta]:
    """Read get-kubeconfig's parameters; raises ValueError, which names the refused one."""
    name, server = "server", str(params["server"])
    try:
        server = check_https_url(server) if server else ""
        name = "lifetime"
        return server, check_token_lifetime(parse_duration(str(params["lifetime"])))
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error
