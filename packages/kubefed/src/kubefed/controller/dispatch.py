"""Carries out one planned operation in one member, and says how the object stands there then."""

from __future__ import annotations

import dataclasses
import json
import logging
from typing import TYPE_CHECKING

from kubefed.api.names import MANAGED, MANAGED_LABEL, UNMANAGED, PropagationStatus
from kubefed.controller import amend, versions
from kubefed.controller.client import ApiError, NotLeaderError
from kubefed.controller.informer import FAILURES
from kubefed.controller.objects import Json, key_of, labels, managed, mapping
from kubefed.controller.plan import DesiredError, Operation, Subject, Verb, desired_in
from kubefed.controller.transparent import marks

if TYPE_CHECKING:
    from collections.abc import Callable

    from kubefed.controller.client import Client

log = logging.getLogger(__name__)
# Upstream's limit for one operation in a member.
OPERATION_SECONDS = 30.0


@dataclasses.dataclass(frozen=True, slots=True)
class Result:
    """What an operation came to.

    Attributes:
        status: how the object stands in the cluster; None if it doesn't concern it any more.
        obj: the object as the cluster has it now.
        own: whether nobody else can have changed `obj` since it was planned.
        gone: whether the cluster said that there is no such object (any more).
        error: what went wrong, for an event.
    """

    status: PropagationStatus | None
    obj: Json | None = None
    own: bool = False
    gone: bool = False
    error: str = ""

    @property
    def version(self) -> str:
        """The version of the object that was written, "" if none was."""
        return versions.version_of(self.obj) if self.obj is not None else ""


_GONE = Result(None, gone=True)


class Dispatcher:
    """Operations on one federated object.

    Args:
        subject: the federated object.
        adopt: whether objects that exist already are taken over.
        delete_options: DeleteOptions as JSON, "" for the default.
    """

    def __init__(self, subject: Subject, *, adopt: bool, delete_options: str = "") -> None:
        self._subject = subject
        self._adopt = adopt
        self._delete_options = delete_options

    async def carry_out(self, client: Client, operation: Operation) -> Result:
        """Do it; whatever goes wrong in the cluster becomes a status.

        Raises:
            NotLeaderError: this process may not write any more.
        """
        verb = operation.verb
        try:
            match verb:
                case Verb.CREATE:
                    return await self._create(client, operation)
                case Verb.UPDATE:
                    return await self._update(client, operation)
                case Verb.DELETE:
                    return await self._delete(client, operation.body)
                case Verb.RELEASE:
                    return await release(client, self._subject.kind.target.path, operation.body)
                case Verb.CLAIM:
                    return await self._claim(client, operation.body)
        except NotLeaderError:
            raise
        except TimeoutError:
            return Result(verb.timed_out, error=f"no answer within {OPERATION_SECONDS:.0f} s")
        except DesiredError as error:
            return Result(error.status, error=str(error))
        except FAILURES as error:
            return Result(verb.failed, error=str(error) or type(error).__name__)

    async def _create(self, client: Client, operation: Operation) -> Result:
        try:
            answer = await client.request(
                "POST",
                self._path(operation.body, collection=True),
                body=operation.body,
                timeout_s=OPERATION_SECONDS,
            )
        except ApiError as error:
            # A namespace whose admission takes long may exist although its creation timed out.
            slow_namespace = self._subject.kind.is_namespace and error.reason == "ServerTimeout"
            if error.exists or slow_namespace:
                return await self._adopt_existing(client, operation)
            raise
        return Result(PropagationStatus.OK, answer, own=True)

    async def _adopt_existing(self, client: Client, operation: Operation) -> Result:
        try:
            live = await self._get(client, operation.body)
        except FAILURES as error:
            text = f"it exists already, and can't be read: {error}"
            return Result(PropagationStatus.RETRIEVAL_FAILED, error=text)
        own = managed(live) or self._subject.is_host_namespace(live)
        if not (self._adopt or own):
            return Result(
                PropagationStatus.ALREADY_EXISTS,
                error="it exists already and adoption is disabled",
            )
        try:
            return await self._put(client, operation.cluster, live)
        except TimeoutError:
            return Result(PropagationStatus.UPDATE_TIMED_OUT, error="no answer in time")
        except FAILURES as error:
            return Result(PropagationStatus.UPDATE_FAILED, error=f"it exists already: {error}")

    async def _update(self, client: Client, operation: Operation) -> Result:
        try:
            answer = await client.request(
                "PUT",
                self._path(operation.body),
                body=operation.body,
                timeout_s=OPERATION_SECONDS,
            )
        except ApiError as error:
            if not error.conflict:
                raise
            live = await self._get(client, operation.body)
            return await self._put(client, operation.cluster, live)
        return Result(PropagationStatus.OK, answer, own=True)

    async def _put(self, client: Client, cluster: str, live: Json) -> Result:
        """Write the object over one that was read this moment."""
        if self._subject.is_source(live):
            # The cluster turns out to be the host, and this what the user applied.
            return await self._claim(client, live)
        if labels(live).get(MANAGED_LABEL) == UNMANAGED:
            return Result(
                PropagationStatus.MANAGED_LABEL_FALSE,
                error=f"label {MANAGED_LABEL}={UNMANAGED} says that it isn't managed",
            )
        body = desired_in(self._subject, cluster, live)
        answer = await client.request(
            "PUT", self._path(body), body=body, timeout_s=OPERATION_SECONDS
        )
        return Result(PropagationStatus.OK, answer)

    async def _claim(self, client: Client, source: Json) -> Result:
        """Give a source the federation's labels, and change nothing else of it."""
        wanted = {MANAGED_LABEL: MANAGED, marks.SOURCE: "true"}
        namespace, name = key_of(source)
        path = self._subject.kind.target.path(namespace or None, name)
        try:
            change = {"labels": wanted}
            await amend.patch(client, path, source, change, timeout_s=OPERATION_SECONDS)
        except ApiError as error:
            # It is gone, or another took its place; what stands for it follows.
            if not (error.not_found or error.conflict):
                raise
        # Nothing is recorded of it: its version isn't ours to compare.
        return Result(PropagationStatus.OK)

    async def _get(self, client: Client, obj: Json) -> Json:
        return await client.request("GET", self._path(obj), timeout_s=OPERATION_SECONDS)

    def _path(self, obj: Json, *, collection: bool = False) -> str:
        """Give an object's path; its template or an override may name another version."""
        target = self._subject.kind.target
        api_version = str(obj.get("apiVersion") or target.api_version)
        if api_version != target.api_version:
            group, _, version = api_version.rpartition("/")
            target = dataclasses.replace(target, group=group, version=version)
        namespace, name = key_of(obj)
        return target.path(namespace or None, None if collection else name)

    async def _delete(self, client: Client, current: Json) -> Result:
        namespace, name = key_of(current)
        try:
            options = mapping(json.loads(self._delete_options)) if self._delete_options else {}
        except ValueError:
            return Result(
                PropagationStatus.DELETION_FAILED, error="the deleteoption annotation is no JSON"
            )
        path = self._subject.kind.target.path(namespace or None, name)
        try:
            answer = await amend.delete(
                client,
                path,
                current,
                options=options,
                meant=managed,
                timeout_s=OPERATION_SECONDS,
            )
        except ApiError as error:
            if error.not_found:
                return _GONE
            raise
        # A Status means that it is gone; the object, that finalizers hold it.
        return _GONE if answer.get("kind") == "Status" else Result(_WAITING)


async def release(
    client: Client, path: Callable[[str | None, str | None], str], current: Json
) -> Result:
    """Take the federation's label off an object in a member.

    Raises:
        ApiError: the member refused.
    """
    namespace, name = key_of(current)
    ours = [MANAGED_LABEL] + ([marks.SOURCE] if marks.SOURCE in labels(current) else [])
    change = {"labels": dict.fromkeys(ours)}
    where = path(namespace or None, name)
    try:
        await amend.patch(client, where, current, change, timeout_s=OPERATION_SECONDS)
    except ApiError as error:
        if not error.not_found:
            raise
    return _GONE


_WAITING = PropagationStatus.WAITING_FOR_REMOVAL
