"""The charm's actions: each says why it fails."""

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import federation_dns_unit
import ops
from dns_settings import Place, Settings
from federation_interfaces.databag import config_error
from local_agent import UnitError

if TYPE_CHECKING:
    from charm import FederationDnsCharm

STANDBY = "one agent a region: the leader serves, this unit stands by"


class DnsActions(ops.Object):
    """Shows verdict, zone and delegation, and takes the operator's word, on demand."""

    def __init__(self, charm: "FederationDnsCharm"):
        super().__init__(charm, "actions")
        self._charm = charm
        observe = self.framework.observe
        observe(charm.on.show_verdict_action, self._on_show_verdict)
        observe(charm.on.show_zone_action, self._on_show_zone)
        observe(charm.on.force_region_action, self._on_force_region)
        observe(charm.on.show_delegation_action, self._on_show_delegation)
        observe(charm.on.rotate_dnssec_key_action, self._on_rotate_dnssec_key)
        observe(charm.on.rotate_credentials_action, self._on_rotate_credentials)
        observe(charm.on.cordon_region_action, self._on_cordon_region)
        observe(charm.on.uncordon_region_action, self._on_uncordon_region)
        observe(charm.on.verify_action, self._on_verify)

    def _for_action(self) -> tuple[Settings, Place]:
        """Return what every action needs; raises UnitError."""
        if self._charm.stands_by():
            raise UnitError(STANDBY)
        try:
            settings = self._charm.settings()
            place = self._charm.place(settings)
        except ValueError as error:
            raise UnitError(f"the configuration is refused: {config_error(error)}") from error
        if place is None or not self._charm.machine.agent.certificate():
            raise UnitError("the agent is not set up yet")
        return settings, place

    def _on_show_verdict(self, event: ops.ActionEvent) -> None:
        try:
            verdict = self._charm.machine.agent.verdict(*self._for_action())
        except UnitError as error:
            event.fail(str(error))
            return
        event.set_results({"verdict": json.dumps(verdict, sort_keys=True)})

    def _on_show_zone(self, event: ops.ActionEvent) -> None:
        try:
            settings, _ = self._for_action()
            if settings.witness:
                raise UnitError("a witness has no name server: ask a region's unit")
            if not settings.own_server:
                raise UnitError(f"the zone is at another server (provider={settings.provider})")
            zone = self._charm.machine.zone(settings)
        except UnitError as error:
            event.fail(str(error))
            return
        event.set_results({"zone": zone})

    def _on_force_region(self, event: ops.ActionEvent) -> None:
        region, verdict = str(event.params["region"]), str(event.params["verdict"])
        try:
            _ = self._for_action()
            who, until = str(event.params["who"]), str(event.params["until"])
            said = self._charm.machine.agent.force_region(region, verdict, who=who, until=until)
        except UnitError as error:
            event.fail(str(error))
            return
        event.set_results({"region": region, "verdict": verdict, "said": said.strip()})

    def _on_show_delegation(self, event: ops.ActionEvent) -> None:
        try:
            _ = self._for_action()
        except UnitError as error:
            event.fail(str(error))
            return
        self._charm.signing.show_delegation(event)

    def _on_rotate_dnssec_key(self, event: ops.ActionEvent) -> None:
        try:
            _ = self._for_action()
        except UnitError as error:
            event.fail(str(error))
            return
        if self._charm.signing.rotate_key(event):
            self._charm.reconcile(event)

    def _on_rotate_credentials(self, event: ops.ActionEvent) -> None:
        charm = self._charm
        try:
            _, place = self._for_action()
        except UnitError as error:
            event.fail(str(error))
            return
        charm.machine.renew_credentials(place, federation_dns_unit.now())
        charm.reconcile(event)
        if charm.problem or charm.machine.kept().restart:
            reason = charm.problem or "the cluster's API is not reachable by kube-control"
            event.fail(f"not done yet, tried again by each hook: {reason}")
            return
        following = charm.machine.agent.next_certificate()
        event.set_results(
            {
                "rotated": charm.unit.name,
                "mesh": "announced; taken when every region knows it" if following else "taken",
            }
        )

    def _on_cordon_region(self, event: ops.ActionEvent) -> None:
        who, until = str(event.params["who"]), str(event.params["until"])
        region = str(event.params["region"])
        self._answer(event, lambda: self._charm.machine.agent.cordon(region, who=who, until=until))

    def _on_uncordon_region(self, event: ops.ActionEvent) -> None:
        region = str(event.params["region"])
        self._answer(event, lambda: self._charm.machine.agent.uncordon(region))

    def _on_verify(self, event: ops.ActionEvent) -> None:
        self._answer(event, self._charm.machine.agent.verify)

    def _answer(self, event: ops.ActionEvent, ask: Callable[[], dict[str, Any]]) -> None:
        """Give what the agent's command answers, a key a result; what is no word is JSON."""
        try:
            _ = self._for_action()
            answer = ask()
        except UnitError as error:
            event.fail(str(error))
            return
        event.set_results(
            {
                key.replace("_", "-"): value if isinstance(value, str) else json.dumps(value)
                for key, value in answer.items()
                if value is not None
            }
        )
