"""The offering side of the test: owns a secret, grants it, changes it on an action."""

import json

import ops


class ProviderCharm(ops.CharmBase):
    """Publishes a secret's identifier over ``api``."""

    def __init__(self, framework: ops.Framework) -> None:
        super().__init__(framework)
        for event in (self.on.api_relation_created, self.on.api_relation_changed):
            framework.observe(event, self._publish)
        framework.observe(self.on.start, self._start)
        framework.observe(self.on.secret_remove, self._remove)
        framework.observe(self.on.rotate_action, self._rotate)
        framework.observe(self.on.greet_action, self._greet)
        framework.observe(self.on.collect_unit_status, self._status)

    def _start(self, _: ops.StartEvent) -> None:
        self.unit.set_workload_version("1.2.3")
        self.unit.open_port("tcp", 8080)

    def _secret(self) -> ops.Secret:
        try:
            return self.model.get_secret(label="token")
        except ops.SecretNotFoundError:
            return self.app.add_secret({"token": "first"}, label="token")

    def _publish(self, event: ops.RelationEvent) -> None:
        if not self.unit.is_leader():
            return
        secret = self._secret()
        secret.grant(event.relation)
        bag = event.relation.data[self.app]
        # With the model's UUID in it, without which another model cannot find it.
        bag["secret"] = secret.get_info().id
        bag["seen"] = json.dumps({"app": event.relation.app.name})

    def _remove(self, event: ops.SecretRemoveEvent) -> None:
        event.remove_revision()

    def _rotate(self, event: ops.ActionEvent) -> None:
        self._secret().set_content({"token": event.params["to"]})
        event.set_results({"token": {"length": len(event.params["to"])}})

    def _greet(self, event: ops.ActionEvent) -> None:
        event.log("greeting")
        if not event.params["name"]:
            event.fail("nobody to greet")
            return
        event.set_results({"greeting": f"hello {event.params['name']}"})

    def _status(self, event: ops.CollectStatusEvent) -> None:
        level = self.config["level"]
        event.add_status(ops.ActiveStatus(f"level {level}"))


if __name__ == "__main__":
    ops.main(ProviderCharm)
