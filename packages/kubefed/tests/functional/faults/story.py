"""What a user does, and what must hold of the federation afterwards.

A story is the same few acts on fresh objects. One creates, updates, overrides, moves, adopts,
orphans and deletes ConfigMaps; the other federates namespaces with a ConfigMap in each, takes one
out of a member and deletes another.
"""

from __future__ import annotations

import abc
import dataclasses
from collections import Counter
from collections.abc import Callable

from controller_harness import FEDERATED, clusters
from faults_harness import MEMBERS, Faulty
from kubefed.api import CONFIG_MAP, NAMESPACE
from kubefed.api.names import MANAGED_LABEL, ORPHAN_ANNOTATION

# Waits until something holds; while it waits, controllers may end and begin.
Wait = Callable[[Callable[[], bool]], None]
_INNER = "inner"


@dataclasses.dataclass
class Story(abc.ABC):
    """One run.

    Attributes:
        faulty: the federation.
        home: a namespace that every member has.
        run: what its objects' names begin with.
    """

    faulty: Faulty
    home: str
    run: str

    def name(self, what: str) -> str:
        return f"{self.run}-{what}"

    def tell(self, wait: Wait) -> None:
        """Do everything, each act when what came before is done, and check what is held."""
        self._begin()
        self._done(wait, "the beginning")
        self._change()
        self._done(wait, "the changes")
        self._check()
        self._end()
        self._done(wait, "the end")
        assert self.faulty.foreign_untouched(self.home)

    def once_each(self, began: float) -> None:
        """Check that no member's object was created or deleted more often than was asked."""
        done = Counter(
            (each.cluster, each.verb, what)
            for each in self.faulty.writes(began, r"^/api/v1/namespaces")
            if each.cluster in MEMBERS
            and each.took_effect
            and each.verb in ("create", "delete")
            and (what := self._what(each.path, each.content.decode()))
        )
        # What was under way when a controller was cut off may have been done unseen.
        wanted = self._wanted()
        assert done <= wanted, done - wanted

    @property
    @abc.abstractmethod
    def _homes(self) -> list[str]:
        """The namespaces with federated ConfigMaps of this story."""

    @abc.abstractmethod
    def _begin(self) -> None: ...

    @abc.abstractmethod
    def _change(self) -> None: ...

    @abc.abstractmethod
    def _check(self) -> None:
        """Check what is held after the changes."""

    @abc.abstractmethod
    def _end(self) -> None:
        """Take away what would be in the way of the next run."""

    @abc.abstractmethod
    def _wanted(self) -> Counter[tuple[str, str, str]]:
        """Give what is created and deleted in which member, once each."""

    @abc.abstractmethod
    def _what(self, path: str, content: str) -> str:
        """Give which of this story's objects a write is about, "" for none."""

    def _settled(self) -> bool:
        return all(self.faulty.settled(each) and self.faulty.booked(each) for each in self._homes)

    def _done(self, wait: Wait, what: str) -> None:
        try:
            wait(self._settled)
        except AssertionError as error:
            held = {each: self.faulty.held(each) for each in self._homes}
            wished = {each: self.faulty.wished(each) for each in self._homes}
            raise AssertionError(f"{what}: {error}; {held=} {wished=}") from error


class Objects(Story):
    """ConfigMaps come, change and go."""

    NAMES = ("changed", "moved", "gone", "overridden", "adopted", "orphaned")

    @property
    def _homes(self) -> list[str]:
        return [self.home]

    def _begin(self) -> None:
        faulty, home = self.faulty, self.home
        member1 = faulty.federation.apis["member1"]
        was = {"metadata": {"name": self.name("adopted")}, "data": {"is": "before"}}
        member1.call("POST", CONFIG_MAP.path(home), was)
        for what in self.NAMES:
            where = ("member1",) if what == "moved" else MEMBERS
            faulty.post(home, self.name(what), "first", *where)
        faulty.override(home, self.name("overridden"), "member2", "theirs")

    def _change(self) -> None:
        faulty, home = self.faulty, self.home
        faulty.set(home, self.name("changed"), "second")
        faulty.set(home, self.name("adopted"), "second")
        faulty.place(home, self.name("moved"), "member2")
        faulty.override(home, self.name("overridden"), "member2", "theirs anew")
        faulty.delete(home, self.name("gone"))
        orphaned = FEDERATED["configmap"].path(home, self.name("orphaned"))
        note = {"metadata": {"annotations": {ORPHAN_ANNOTATION: "true"}}}
        faulty.federation.host.merge(orphaned, note)
        faulty.delete(home, self.name("orphaned"))

    def _check(self) -> None:
        held = {
            member: {
                name.removeprefix(f"{self.run}-"): value
                for name, value in found.items()
                if name.startswith(f"{self.run}-")
            }
            for member, found in self.faulty.held(self.home).items()
        }
        both = {"changed": "second", "adopted": "second"}
        assert held["member1"] == both | {"overridden": "first"}
        assert held["member2"] == both | {"overridden": "theirs anew", "moved": "first"}
        for member in MEMBERS:
            api = self.faulty.federation.apis[member]
            orphan = api.get(CONFIG_MAP.path(self.home, self.name("orphaned")))
            assert orphan["data"] == {"is": "first"}
            assert MANAGED_LABEL not in (orphan["metadata"].get("labels") or {})

    def _end(self) -> None:
        for what in ("changed", "moved", "overridden", "adopted"):
            self.faulty.delete(self.home, self.name(what))
        for member in MEMBERS:
            orphan = CONFIG_MAP.path(self.home, self.name("orphaned"))
            self.faulty.federation.apis[member].call("DELETE", orphan)

    def _wanted(self) -> Counter[tuple[str, str, str]]:
        wanted = Counter(
            (member, verb, what)
            for member in MEMBERS
            for verb in ("create", "delete")
            for what in self.NAMES
        )
        wanted -= Counter([("member1", "create", "adopted")])
        return wanted - Counter((member, "delete", "orphaned") for member in MEMBERS)

    def _what(self, path: str, content: str) -> str:
        for what in self.NAMES:
            name = self.name(what)
            if path.endswith(f"/{name}") or f'"name":"{name}"' in content:
                return what
        return ""


class Spaces(Story):
    """Namespaces come, move and go; a deletion costs their controller five seconds."""

    NAMES = ("stays", "goes")

    @property
    def _homes(self) -> list[str]:
        return [self.name(what) for what in self.NAMES]

    def _begin(self) -> None:
        for space in self._homes:
            self.faulty.federation.make_namespace(space, *MEMBERS)
            self.faulty.post(space, _INNER, "first")

    def _change(self) -> None:
        host, path = self.faulty.federation.host, FEDERATED["namespace"].path
        stays, goes = self._homes
        self.faulty.delete(goes, _INNER)
        host.call("DELETE", path(goes, goes))
        host.merge(path(stays, stays), {"spec": {"placement": clusters("member2")}})

    def _check(self) -> None:
        held = self.faulty.held(self.name("stays"))
        assert held == {"member1": {}, "member2": {_INNER: "first"}}

    def _end(self) -> None:
        self.faulty.delete(self.name("stays"), _INNER)

    def _settled(self) -> bool:
        return all(map(self._placed, self._homes)) and super()._settled()

    def _placed(self, space: str) -> bool:
        federation = self.faulty.federation
        found = federation.host.get(FEDERATED["namespace"].path(space, space))
        wanted: set[str] = set()
        if found is not None:
            wanted = {each["name"] for each in found["spec"]["placement"]["clusters"]}
            known = federation.propagated("Namespace", space, space)
            if "deletionTimestamp" in found["metadata"] or not known:
                return False
        there = {
            member for member in MEMBERS if federation.apis[member].get(NAMESPACE.path(name=space))
        }
        return there == wanted

    def _wanted(self) -> Counter[tuple[str, str, str]]:
        wanted = Counter(
            (member, verb, what)
            for member in MEMBERS
            for verb in ("create", "delete")
            for what in (*self.NAMES, "inner of stays", "inner of goes")
        )
        return wanted - Counter([("member2", "delete", "stays")])

    def _what(self, path: str, content: str) -> str:
        for what in self.NAMES:
            name = self.name(what)
            if f"/{name}/configmaps" in path:
                return f"inner of {what}"
            if path.endswith(f"/{name}") or f'"name":"{name}"' in content:
                return what
        return ""
