"""The actions backup and restore; the key comes from a Juju secret and goes nowhere."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import federation_backup
import federation_types
import kubefed_host
import ops
from federation_interfaces.access import Access
from federation_interfaces.cluster import ClusterError
from federation_register import NotReadyError
from handover import Handover
from kubefed_host import HostError, Settings

if TYPE_CHECKING:
    from charm import KubefedHostCharm


class BackupActions(ops.Object):
    """Puts the federation into a file on the unit, and back into the host cluster."""

    def __init__(self, charm: "KubefedHostCharm"):
        super().__init__(charm, "backup-actions")
        self._charm = charm
        self.framework.observe(charm.on.backup_action, self._on_backup)
        self.framework.observe(charm.on.restore_action, self._on_restore)

    def _on_backup(self, event: ops.ActionEvent) -> None:
        try:
            settings, access = self.installed()
            kept = federation_backup.make(
                access,
                settings,
                self._key(settings),
                self._charm.host.backups,
                keep=int(event.params["keep"]),
            )
        except (HostError, NotReadyError) as error:
            event.fail(str(error))
            return
        results: dict[str, object] = {"path": str(kept.path), "sha256": kept.sha256, **kept.facts}
        event.set_results(results | {"removed": " ".join(kept.removed)})

    def _on_restore(self, event: ops.ActionEvent) -> None:
        path = Path(str(event.params["path"]))
        try:
            # A restore needs no federation that is there.
            settings, access = self._charm.actions.leading()
            self._refuse_upstream(access, settings)
            key, overwrite = self._key(settings), bool(event.params["overwrite"])
            done = federation_backup.put_back(access, settings, key, path, overwrite=overwrite)
            self._begin_anew(access, settings)
        except (HostError, NotReadyError) as error:
            event.fail(str(error))
            return
        # Tokens of accounts that were lost with the host are minted and members registered now.
        self._charm.reconcile(event)
        trouble = {name: text for name, text in done.members.items() if text}
        event.set_results(
            {
                "made-at": done.made_at,
                "created": sum(done.created.values()),
                "changed": json.dumps(list(done.changed)),
                "not-in-backup": json.dumps(list(done.beyond)),
                "clusters": " ".join(sorted(done.members)),
                "clusters-in-trouble": json.dumps(trouble),
            }
        )

    def installed(self) -> tuple[Settings, Access]:
        """Return what an action on a federation that is there needs; raises NotReadyError."""
        found = self._charm.actions.leading()
        if self._charm.register.shared().installed is None:
            raise NotReadyError("the federation's API is not installed yet")
        return found

    def _refuse_upstream(self, access: Access, settings: Settings) -> None:
        """Refuse to put objects before a control plane that can't be told to pause.

        Raises:
            NotReadyError: upstream's runs.
            HostError: the cluster refused or did not answer.
        """
        handover = Handover(access.admin(), settings.namespace, self._charm.app.name)
        try:
            if handover.deployment() is None:
                return
        except ClusterError as error:
            raise HostError(str(error)) from error
        raise NotReadyError(
            "upstream's control plane would act on what is half restored; "
            "`juju config kubefed-host control-plane=embedded` first, and back after it"
        )

    def _key(self, settings: Settings) -> str:
        """Return the key of the backups; raises NotReadyError."""
        if not isinstance(settings.backup_key, ops.Secret):
            raise NotReadyError(
                "config: backup-key names no secret; `kubefed backup --new-key FILE` makes a key, "
                "and docs/deploy.md says how it comes here"
            )
        try:
            return settings.backup_key.get_content(refresh=True)[federation_backup.KEY]
        except (ops.SecretNotFoundError, ops.ModelError) as error:
            raise NotReadyError(
                "config: backup-key cannot be read: juju grant-secret it to this application"
            ) from error
        except KeyError as error:
            raise NotReadyError(
                f"config: the secret backup-key must hold {federation_backup.KEY}"
            ) from error

    def _begin_anew(self, access: Access, settings: Settings) -> None:
        """Note that what was known of the former host cluster doesn't hold for this one.

        Raises:
            HostError: the cluster refused or did not answer.
        """
        charm, register = self._charm, self._charm.register
        charm.identity.accept(access)
        # By what the relations bring now: the backup's tokens may have ended since.
        records = {
            region: record.model_copy(update={"digest": "", "ready": None})
            for region, record in register.records().items()
        }
        register.save_records(records)
        register.save(
            installed=kubefed_host.install_digest(access, settings),
            kinds=federation_types.kinds(access, settings),
            configured=None,
        )
