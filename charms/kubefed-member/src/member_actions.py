"""The member charm's actions: each says why it fails, and is safe to repeat."""

import json
from typing import TYPE_CHECKING

import kubefed_member
import ops
from federation_interfaces import TOKEN_KEY, MemberAppData
from federation_interfaces.access import AccessMissingError
from federation_interfaces.cluster import Cluster, ClusterAddress
from federation_interfaces.databag import config_error
from kubefed_member import MemberError

if TYPE_CHECKING:
    from charm import KubefedMemberCharm


class MemberActions(ops.Object):
    """Replaces the federation's token and shows what its account may do, on demand."""

    def __init__(self, charm: "KubefedMemberCharm"):
        super().__init__(charm, "actions")
        self._charm = charm
        observe = self.framework.observe
        observe(charm.on.rotate_token_action, self._on_rotate_token)
        observe(charm.on.show_rights_action, self._on_show_rights)

    def _on_rotate_token(self, event: ops.ActionEvent) -> None:
        charm = self._charm
        if not charm.unit.is_leader():
            event.fail("run this action on the leader: kubefed-member/leader")
            return
        try:
            settings = charm.settings()
            region = charm.region(settings)
            access = charm.cluster.access(settings)
        except ValueError as error:
            event.fail(f"the configuration is refused: {config_error(error)}")
            return
        except AccessMissingError as error:
            event.fail(str(error))
            return
        records = charm.store.load()
        records.own_token_renew_at = None  # the charm's own token too
        for relation in charm.federations():
            charm.serve(relation, access, region, settings, records, renew=True)
        charm.store.save(records)
        failed = [each.error for each in records.federations.values() if each.error]
        if failed:
            event.fail("; ".join(failed))
        elif not records.federations:
            event.fail("no federation is related, so there is no token to rotate")
        else:
            ends = [charm.token_end(each) for each in charm.federations()]
            hosts = [each.host_cluster for each in records.federations.values()]
            event.set_results(
                {
                    "rotated": " ".join(hosts),
                    "expires-at": " ".join(end.isoformat() for end in ends if end),
                },
            )

    def _on_show_rights(self, event: ops.ActionEvent) -> None:
        charm = self._charm
        secrets = {each: charm.tokens.find(each.id) for each in charm.federations()}
        found = {relation: secret for relation, secret in secrets.items() if secret is not None}
        if not charm.unit.is_leader() or not found:
            event.fail("there is no federation's account yet, or this unit is not the leader")
            return
        shown: dict[str, object] = {}
        for relation, secret in found.items():
            data = MemberAppData.load(relation.data[charm.app])
            address = ClusterAddress(data.api_endpoint or "", data.ca_certificate or "")
            cluster = Cluster(address, secret.peek_content()[TOKEN_KEY])
            try:
                rules = kubefed_member.rights(cluster, str(event.params["namespace"]))
            except MemberError as error:
                event.fail(str(error))
                return
            shown[charm.store.load().federations[relation.id].host_cluster] = rules
        event.set_results({"rights": json.dumps(shown)})
