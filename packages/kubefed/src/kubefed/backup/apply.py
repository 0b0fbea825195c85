"""Writes the objects of a backup, several at a time."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed

from kubefed import errors
from kubefed.api import FederatedType
from kubefed.backup import bodies
from kubefed.backup.content import Part
from kubefed.backup.plan import Act, Step, marks_of
from kubefed.clients import Resources
from kubefed.controller.objects import Json, key_of, metadata, uid
from kubefed.install import apply_crds

WORKERS = 8
ATTEMPTS = 4
AGAIN_SECONDS = 0.5
TELL_SECONDS = 2.0
_MERGE = "application/merge-patch+json"


class Writer:
    """Writes to the host; it knows which UID each object got.

    Args:
        host: the host cluster.
        types: the types by the full names of their targets.
        allowed: asked before every write; raises where none may be made any more.
        tell: told how far it is.
    """

    def __init__(
        self,
        host: Resources,
        types: Mapping[str, FederatedType],
        allowed: Callable[[], None],
        tell: Callable[[str], None],
    ) -> None:
        self._host = host
        self._types = types
        self._allowed = allowed
        self._tell = tell
        self._uids: dict[str, str] = {}
        self._without = ""

    def know(self, uids: Mapping[str, str]) -> None:
        """Learn which UIDs objects have that are there already."""
        self._uids.update(uids)

    def carry_out(self, part: Part, steps: Sequence[Step], *, without: str) -> None:
        """Write the objects of one part.

        Args:
            part: the part.
            steps: its objects.
            without: the cluster whose objects are gone, "" for none.

        Raises:
            errors.KubefedError: one wasn't written; those under way were waited for.
        """
        self._without = without
        if part is Part.CRDS:
            self._allowed()
            apply_crds(self._host, [bodies.body_of(each, {}, {}) for each in steps])
            return
        self._each(part.value, steps, self._write)

    def delete(self, steps: Sequence[Step]) -> None:
        """Have what was being deleted go on being deleted."""
        for step in steps:
            self._allowed()
            namespace, name = key_of(step.wanted)
            _ = self._host.delete(step.kind, name, namespace or None)

    def _each(self, what: str, steps: Sequence[Step], write: Callable[[Step], None]) -> None:
        done, told = 0, time.monotonic()
        pool = ThreadPoolExecutor(WORKERS, thread_name_prefix="restore")
        try:
            for each in as_completed([pool.submit(self._again, write, step) for step in steps]):
                each.result()
                done += 1
                if time.monotonic() - told >= TELL_SECONDS:
                    told = time.monotonic()
                    self._tell(f"{what}: {done} of {len(steps)}")
        finally:
            pool.shutdown(cancel_futures=True)
        if steps:
            self._tell(f"{what}: {done} of {len(steps)}")

    def _again(self, write: Callable[[Step], None], step: Step) -> None:
        for attempt in range(ATTEMPTS):
            self._allowed()
            try:
                write(step)
            except errors.RetryLater:
                if attempt == ATTEMPTS - 1:
                    raise
                time.sleep(AGAIN_SECONDS * 2**attempt)
            else:
                return

    def _write(self, step: Step) -> None:
        if step.act is Act.CREATE:
            made = self._create(step)
        elif step.part is Part.RECORDS:
            namespace, name = key_of(step.wanted)
            _ = self._host.delete(step.kind, name, namespace or None)
            made = self._create(step)
        else:
            made = self._change(step)
        self._uids[uid(step.wanted)] = uid(made)
        if bodies.has_status(step):
            self._write_status(step)

    def _create(self, step: Step) -> Json:
        body = bodies.body_of(step, self._uids, self._types)
        try:
            return self._host.create(step.kind, body)
        except errors.Conflict:
            if step.part is Part.NAMESPACES:
                # The federation's own, which holds the Lease; or another hand's.
                kept = {k: v for k, v in metadata(body).items() if k in ("labels", "annotations")}
                return self._host.patch(step.kind, key_of(body)[1], None, {"metadata": kept})
            # An answer that was lost, or what a cluster makes by itself in a new namespace.
            namespace, name = key_of(step.wanted)
            present = self._host.get(step.kind, name, namespace or None)
            if present is None or not _covers(present, body):
                raise
            return present

    def _change(self, step: Step) -> Json:
        if step.part is Part.NAMESPACES:
            name = key_of(step.wanted)[1]
            return self._host.patch(step.kind, name, None, {"metadata": marks_of(step.wanted)})
        if step.part is Part.SOURCES:
            body = bodies.body_of(step, self._uids, self._types)
            return self._host.put(step.kind, body)
        return self._host.replace(step.kind, bodies.changed_body(step, self._uids, self._types))

    def _write_status(self, step: Step) -> None:
        namespace, name = key_of(step.wanted)
        _ = self._host.request(
            "PATCH",
            f"{step.kind.path(namespace or None, name)}/status",
            body={"status": bodies.record_status(step, self._without)},
            content_type=_MERGE,
            what=f"write the status of {step.text}",
        )


def _covers(present: object, wanted: object) -> bool:
    """Whether an object has all that another says."""
    if isinstance(present, dict) and isinstance(wanted, dict):
        return all(
            name in present and _covers(present[name], value) for name, value in wanted.items()
        )
    return present == wanted
