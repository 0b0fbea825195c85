"""OpenStack Designate: one zone at one region's endpoint.

Designate takes one record set a request, without prerequisites and without a whole: what BIND
checks inside an update is here an order and a fence.

- The generation (`_federation.<zone>`) is read again right before the first write, and before any
  write that comes more than a second after the last look; if it is not what the plan was made
  from, or what this plan wrote, nothing more is written. What remains open is that second and the
  requests under way: so one writer a zone and a region. What a second writer does all the same,
  the next comparison puts right.
- Order: the generation; what is not to go, as the plan has it (a withdrawal is one PUT a record
  set, a new name's owner comes first); what goes, its owner last.
- A name that is refused (quota, TTL, taken by others) is named and tried again later; the others
  go on. What concerns all (no answer, 401, 429) ends the plan.

Designate has a change at its name servers some seconds after it took it, and nothing here waits
for that: a newer verdict must not. What stays PENDING is named after `pending_limit`; on ERROR the
generation is written again, which has Designate try all once more, five times with growing pauses.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeVar

from federation_dns.plan import Change, Plan, Rules, Stamp, View, generation_text, owner_name
from federation_dns.providers import ProviderError, recordsets
from federation_dns.providers.cloud import read_cloud
from federation_dns.providers.crew import Crew, Late
from federation_dns.providers.designate_api import Api, Service
from federation_dns.providers.keystone import Keystone, Refused
from federation_dns.providers.patience import Refusals, Settling
from federation_dns.providers.recordsets import Reading, Write, ZoneSeen

T = TypeVar("T")
Outcome = Literal["written", "left"]

log = logging.getLogger(__name__)

_LINES = 8
_READ_S, _WRITE_S = 30.0, 20.0
_FENCE_S = 1.0
_REFUSALS_A_PLAN = 10


@dataclass(frozen=True)
class Access:
    """How the region's Designate is reached.

    Attributes:
        file: with the application credential.
        cloud: the cloud's name in it.
        zone_id: the zone's, where its name is not enough.
        email: of the zone's SOA; with it a zone that is not there is made.
        timeout: of one request.
        allow_http: send the credential in clear.
    """

    file: Path
    cloud: str = ""
    zone_id: str = ""
    email: str = ""
    timeout: float = 5.0
    allow_http: bool = False


def connect(access: Access) -> Service:
    """The DNS service that the credential leads to."""
    cloud = read_cloud(access.file, access.cloud)
    return Keystone(
        cloud,
        "dns",
        "/v2",
        file=access.file,
        timeout=access.timeout,
        connections=_LINES,
        allow_http=access.allow_http,
    )


@dataclass
class _Run:
    """One plan on its way."""

    plan: Plan
    reading: Reading
    api: Api
    deadline: float
    fence: _Fence
    stopped: bool = False
    left: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)


class _Fence:
    """The generation, looked at before writes; a plan that is no longer the newest ends there."""

    def __init__(self, look: Callable[[], tuple[str, ...] | None], clock: Callable[[], float]):
        self._look = look
        self._clock = clock
        self._lock = threading.Lock()
        self._at = float("-inf")
        self._broken = False
        self.expected: tuple[str, ...] | None = ()

    def check(self) -> None:
        """Look, unless that was done just now."""
        with self._lock:
            if not self._broken and self._clock() - self._at > _FENCE_S:
                self._broken = self._look() != self.expected
                self._at = self._clock()
            if self._broken:
                raise ProviderError("the zone holds a newer plan", "reread")


class Designate:
    """One zone in one region."""

    def __init__(
        self,
        access: Access,
        rules: Rules,
        writer: str,
        *,
        pending_limit: float = 60.0,
        connect: Callable[[Access], Service] = connect,
        clock: Callable[[], float] = time.monotonic,
    ):
        self._access = access
        self._rules = rules
        self._writer = writer
        self._connect = connect
        self._clock = clock
        self._crew = Crew(_LINES)
        self._api: Api | None = None
        self._file_seen: tuple[int, int, int] | None = None
        self._reading: Reading | None = None
        self._refusals = Refusals()
        self._notes: tuple[str, ...] = ()
        self._writing = threading.Lock()
        self._settling = Settling(pending_limit)

    def close(self) -> None:
        """Let what waits end."""
        self._crew.close()

    def notes(self) -> tuple[str, ...]:
        """Names that were refused."""
        return self._notes

    def behind(self) -> str:
        """Why Designate's name servers don't answer what was written."""
        return self._settling.behind(self._clock())

    def stamp(self) -> Stamp:
        """The serial and the generation."""
        api = self._service()

        def ask(deadline: float) -> tuple[ZoneSeen, tuple[str, ...]]:
            zone = api.zone(deadline)
            return zone, self._generation(api, zone, deadline) or ()

        zone, found = self._alone(ask, 2 * self._access.timeout + 1)
        self._settling.saw_zone(zone, self._clock())
        self._nudge(api)
        return Stamp(recordsets.number(zone), found)

    def read(self) -> View:
        """List the whole zone."""
        api = self._service()

        def ask(deadline: float) -> Reading:
            zone = api.zone(deadline)
            sets = api.all_sets(zone, deadline)
            return recordsets.reading(zone, sets, self._rules, api.project(deadline))

        self._reading = found = self._alone(ask, _READ_S)
        self._settling.saw(found, self._clock())
        self._nudge(api)
        return found.view

    def after(self, plan: Plan, view: View) -> View | None:
        """Nothing: what was made has ids, and what it needs else only a reading tells."""

    def due(self, changes: Sequence[Change]) -> Sequence[Change]:
        """All but what was refused lately."""
        now = self._clock()
        self._refusals.keep(changes)
        self._notes = self._refusals.notes()
        return [c for c in changes if not self._refusals.holds(c, now)]

    def apply(self, plan: Plan, view: View) -> int:
        """Write what the plan says, in the order above; the number of names written."""
        with self._writing:
            return self._apply(plan, view)

    def _apply(self, plan: Plan, view: View) -> int:
        reading = self._reading
        if reading is None or reading.view is not view:
            raise ProviderError("the zone was read anew since the plan was made", "reread")
        api = self._service()
        deadline = time.monotonic() + _WRITE_S
        fence = _Fence(lambda: self._generation(api, reading.zone, deadline), time.monotonic)
        run = _Run(plan, reading, api, deadline, fence)
        self._alone(lambda _: self._step_generation(run), _WRITE_S)
        coming = [c for c in plan.changes if c.kind != "delete"]
        going = [c for c in plan.changes if c.kind == "delete"]
        total = len(plan.changes)
        try:
            written = self._all(run, coming, 0, total)
            return self._all(run, going, written, total)
        finally:
            self._notes = self._refusals.notes()

    # In the threads

    def _generation(self, api: Api, zone: ZoneSeen, deadline: float) -> tuple[str, ...] | None:
        """What it says; None where somebody else's stands."""
        found = api.one_set(zone, (owner_name(self._rules.zone), "TXT"), deadline)
        if found is None:
            return ()
        ours = found.description == recordsets.mark(self._rules)
        return recordsets.held(found, zone).values if ours else None

    def _step_generation(self, run: _Run) -> None:
        rules, key = self._rules, (owner_name(self._rules.zone), "TXT")
        if key in run.reading.foreign:
            raise run.api.error(
                "operator",
                f"has a TXT record set {key[0]} of somebody else's: one federation a zone; take "
                "it away, or give this one a zone of its own",
            )
        held = run.reading.ours.get(key)
        run.fence.expected = held.values if held else ()
        run.fence.check()
        text = generation_text(rules.federation, (run.plan.generation or 0) + 1, self._writer)
        content = recordsets.body(rules, "TXT", rules.ttl, (text,))
        if held is None:
            content["name"], content["type"] = recordsets.absolute(key[0]), "TXT"
        write = Write("PUT" if held else "POST", key, held.id if held else "", content)
        try:
            run.api.write(run.reading.zone, write, run.deadline)
        except Refused as answer:
            raise _for_all(run.api, answer) from answer
        run.fence.expected = (text,)

    def _name(self, run: _Run, change: Change) -> Outcome:
        """Write one name; a refusal of it is noted."""
        if self._gives_up(run, change):
            return "left"
        for write in recordsets.writes(change, run.reading, self._rules):
            if write.method == "POST" and not self._is_free(run, change, write):
                return "left"
            run.fence.check()
            try:
                run.api.write(run.reading.zone, write, run.deadline)
            except Refused as answer:
                self._refused(run, change, write, answer)
                return "left"
        with run.lock:
            self._refusals.forget(change.name)
        return "written"

    def _gives_up(self, run: _Run, change: Change) -> bool:
        with run.lock:
            if run.stopped:
                return True
            if change.kind == "create" and run.left >= _REFUSALS_A_PLAN:
                why = f"not tried after {_REFUSALS_A_PLAN} others were refused"
                self._refusals.add(change, why, self._clock())
                return True
        return False

    def _is_free(self, run: _Run, change: Change, write: Write) -> bool:
        if write.key in run.reading.leaving:
            why = f"is still deleting {write.key[0]} {write.key[1]}, which is wanted again"
            raise run.api.error("retry", why)
        if write.key in run.reading.foreign:
            self._leave(run, change, f"its {write.key[1]} is held by others and left alone")
            return False
        return True

    def _refused(self, run: _Run, change: Change, write: Write, answer: Refused) -> None:
        if answer.status == 404:
            raise run.api.error("reread", f"lacks {write.key[0]} {write.key[1]}, which was there")
        if answer.status == 409 and not self._refusals.times(change):
            self._leave(run, change, "taken by somebody else's record set")
            raise run.api.error("reread", f"has {write.key[0]} {write.key[1]}, which was free")
        self._leave(run, change, _reason(answer))

    def _leave(self, run: _Run, change: Change, why: str) -> None:
        with run.lock:
            run.left += 1
            self._refusals.add(change, why, self._clock())

    # Around the threads

    def _service(self) -> Api:
        """The API; made anew when the credential's file changed."""
        try:
            found = self._access.file.stat()
            seen = found.st_mtime_ns, found.st_size, found.st_ino
        except OSError:
            seen = None
        if self._api is None or seen != self._file_seen:
            access = self._access
            service = self._connect(access)
            self._api = Api(service, self._rules, zone_id=access.zone_id, email=access.email)
            self._file_seen = seen
        return self._api

    def _alone(self, work: Callable[[float], T], seconds: float) -> T:
        """One work on a thread."""
        deadline = time.monotonic() + seconds
        try:
            return self._crew.run([lambda: work(deadline)], seconds)[0].result()
        except Late:
            text = f"did not answer within {seconds:g} s"
            raise self._service().error("retry", text) from None

    def _all(self, run: _Run, changes: list[Change], before: int, total: int) -> int:
        """All these names, some at a time; the number of names written so far."""

        def work(change: Change) -> Outcome:
            try:
                return self._name(run, change)
            except ProviderError as error:
                run.stopped = run.stopped or error.remedy != "reread"
                raise

        works = [lambda change=change: work(change) for change in changes]
        written, failed = before, None
        for future in self._crew.run(works, run.deadline - time.monotonic()):
            error = future.exception()
            if error is None:
                written += future.result() == "written"
            elif isinstance(error, Late):
                late = f"took {_WRITE_S:g} s for a part of the changes; the rest follows"
                failed = failed or run.api.error("retry", late)
            elif isinstance(error, ProviderError):
                failed = error if failed is None or failed.remedy == "reread" else failed
            else:
                raise error
        if failed is not None:
            text = f"{failed}; {written} of {total} names were written" if written else str(failed)
            unsure = failed.remedy != "reread"
            raise ProviderError(text, failed.remedy, done=written, unsure=unsure)
        return written

    def _nudge(self, api: Api) -> None:
        """Have Designate try once more what its name servers did not take."""
        # A plan that is being written is a newer zone by itself.
        if self._writing.acquire(blocking=False):
            try:
                self._write_again(api)
            finally:
                self._writing.release()

    def _write_again(self, api: Api) -> None:
        key = owner_name(self._rules.zone), "TXT"
        reading = self._reading
        held = reading.ours.get(key) if reading else None
        if reading is None or held is None or not self._settling.nudge(self._clock()):
            return
        content = recordsets.body(self._rules, "TXT", self._rules.ttl, held.values)

        def write(deadline: float) -> None:
            if self._generation(api, reading.zone, deadline) == held.values:
                api.write(reading.zone, Write("PUT", key, held.id, content), deadline)

        try:
            self._alone(write, self._access.timeout)
        except (ProviderError, Refused) as error:
            log.warning("the zone's generation could not be written again: %s", error)


def _for_all(api: Api, answer: Refused) -> ProviderError:
    """The generation itself was refused, so nothing can be written."""
    if answer.status in (404, 409):
        return api.error("reread", "holds a newer plan")
    return api.error("operator", f"refuses the generation: {_reason(answer)}")


def _reason(answer: Refused) -> str:
    if answer.status == 413:
        return (
            f"over quota ({answer.why}): raise it with 'openstack dns quota set', or give the "
            "federation fewer names"
        )
    return f"refused ({answer})"
