"""The consuming side of the test: reads the secret and shows what it says in its status."""

import ops


class ConsumerCharm(ops.CharmBase):
    """Shows the token that it was granted."""

    def __init__(self, framework: ops.Framework) -> None:
        super().__init__(framework)
        framework.observe(self.on.api_relation_changed, self._read)
        framework.observe(self.on.secret_changed, self._changed)
        framework.observe(self.on.api_relation_broken, self._broken)
        framework.observe(self.on.share_back_action, self._share_back)
        framework.observe(self.on.start, self._start)
        framework.observe(self.on.collect_unit_status, self._status)

    def _start(self, _: ops.StartEvent) -> None:
        with open("/var/lib/consumer-starts", "a") as file:
            file.write("start\n")

    def _read(self, _: ops.RelationEvent) -> None:
        self._show(refresh=False)

    def _changed(self, event: ops.SecretChangedEvent) -> None:
        event.secret.get_content(refresh=True)

    def _broken(self, _: ops.RelationBrokenEvent) -> None:
        self.unit.set_workload_version("broken")

    def _show(self, *, refresh: bool) -> str:
        relation = self.model.get_relation("api")
        if relation is None:
            return ""
        identifier = relation.data[relation.app].get("secret")
        if not identifier:
            return ""
        return self.model.get_secret(id=identifier).get_content(refresh=refresh)["token"]

    def _share_back(self, event: ops.ActionEvent) -> None:
        relation = self.model.get_relation("api")
        assert relation is not None
        secret = self.app.add_secret({"token": "mine"})
        try:
            secret.grant(relation)
        except ops.ModelError as error:
            event.fail(str(error))

    def _status(self, event: ops.CollectStatusEvent) -> None:
        relation = self.model.get_relation("api")
        if relation is None or not relation.active:
            event.add_status(ops.BlockedStatus("needs api"))
            return
        token = self._show(refresh=False)
        if not token:
            event.add_status(ops.WaitingStatus("waiting for the token"))
            return
        event.add_status(ops.ActiveStatus(f"token {token}"))


if __name__ == "__main__":
    ops.main(ConsumerCharm)
