"""What a user does, and what must hold of the federation afterwards.

A story is the same few acts on fresh objects: it creates, updates, overrides, moves, adopts,
orphans and deletes ConfigMaps; if wanted it federates two namespaces with a ConfigMap in each,
takes one out of a member and deletes the other (which costs the namespace controller 5 s).
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable

from controller_harness import FEDERATED, clusters
from faults_harness import MEMBERS, Faulty
from kubefed.api import CONFIG_MAP, NAMESPACE
from kubefed.api.names import MANAGED_LABEL, ORPHAN_ANNOTATION

# Waits until something holds; while it waits, controllers may end and begin.
Wait = Callable[[Callable[[], bool]], None]
_MAPS = ("changed", "moved", "gone", "overridden", "adopted", "orphaned")
_INNER = "inner"


@dataclasses.dataclass
class Story:
    """One run.

    Attributes:
        faulty: the federation.
        home: the namespace of its ConfigMaps, which every member has.
        run: what its objects' names begin with.
        spaces: whether namespaces come and go too.
    """

    faulty: Faulty
    home: str
    run: str
    spaces: bool

    def name(self, what: str) -> str:
        return f"{self.run}-{what}"

    @property
    def _homes(self) -> list[str]:
        """The namespaces with federated ConfigMaps of this story."""
        return [self.home, *((self.name("stays"), self.name("goes")) if self.spaces else ())]

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

    def _done(self, wait: Wait, what: str) -> None:
        try:
            wait(self._settled)
        except AssertionError as error:
            held = {each: self.faulty.held(each) for each in self._homes}
            wished = {each: self.faulty.wished(each) for each in self._homes}
            raise AssertionError(f"{what}: {error}; {held=} {wished=}") from error

    def _begin(self) -> None:
        faulty, home = self.faulty, self.home
        member1 = faulty.federation.apis["member1"]
        was = {"metadata": {"name": self.name("adopted")}, "data": {"is": "before"}}
        member1.call("POST", CONFIG_MAP.path(home), was)
        for what in _MAPS:
            where = ("member1",) if what == "moved" else MEMBERS
            faulty.post(home, self.name(what), "first", *where)
        faulty.override(home, self.name("overridden"), "member2", "theirs")
        for space in self._homes[1:]:
            faulty.federation.make_namespace(space, *MEMBERS)
            faulty.post(space, _INNER, "first")

    def _change(self) -> None:
        faulty, home = self.faulty, self.home
        host = faulty.federation.host
        faulty.set(home, self.name("changed"), "second")
        faulty.set(home, self.name("adopted"), "second")
        faulty.place(home, self.name("moved"), "member2")
        faulty.override(home, self.name("overridden"), "member2", "theirs anew")
        faulty.delete(home, self.name("gone"))
        orphaned = FEDERATED["configmap"].path(home, self.name("orphaned"))
        host.merge(orphaned, {"metadata": {"annotations": {ORPHAN_ANNOTATION: "true"}}})
        faulty.delete(home, self.name("orphaned"))
        if self.spaces:
            goes, stays = self.name("goes"), self.name("stays")
            path = FEDERATED["namespace"].path
            faulty.delete(goes, _INNER)
            host.call("DELETE", path(goes, goes))
            host.merge(path(stays, stays), {"spec": {"placement": clusters("member2")}})

    def _end(self) -> None:
        for what in ("changed", "moved", "overridden", "adopted"):
            self.faulty.delete(self.home, self.name(what))
        for member in MEMBERS:
            orphan = CONFIG_MAP.path(self.home, self.name("orphaned"))
            self.faulty.federation.apis[member].call("DELETE", orphan)

    def _settled(self) -> bool:
        return all(self._namespace_settled(each) for each in self._homes[1:]) and all(
            self.faulty.settled(each) and self.faulty.booked(each) for each in self._homes
        )

    def _namespace_settled(self, space: str) -> bool:
        federation = self.faulty.federation
        found = federation.host.get(FEDERATED["namespace"].path(space, space))
        placed: set[str] = set()
        if found is not None:
            placed = {each["name"] for each in found["spec"]["placement"]["clusters"]}
            known = federation.propagated("Namespace", space, space)
            if "deletionTimestamp" in found["metadata"] or not known:
                return False
        return placed == {
            member for member in MEMBERS if federation.apis[member].get(NAMESPACE.path(name=space))
        }

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
        if self.spaces:
            stays = {"member1": {}, "member2": {_INNER: "first"}}
            assert self.faulty.held(self.name("stays")) == stays

    def once_each(self, began: float) -> None:
        """Check that no member's object was created or deleted more often than was asked."""
        done = Counter(
            (each.cluster, each.verb, what)
            for each in self.faulty.writes(began, r"^/api/v1/namespaces")
            if each.cluster in MEMBERS
            and each.took_effect
            and each.verb in ("create", "delete")
            and (what := self._what(each.path, each.content))
        )
        everything = {*_MAPS, "stays", "goes", "inner of stays", "inner of goes"}
        wanted = Counter(
            (member, verb, what)
            for member in MEMBERS
            for verb in ("create", "delete")
            for what in everything
        )
        wanted -= Counter([("member1", "create", "adopted")])
        wanted -= Counter((member, "delete", "orphaned") for member in MEMBERS)
        wanted -= Counter(("member2", "delete", what) for what in ("stays", "inner of stays"))
        # What was under way when a controller was cut off may have been done unseen.
        assert done <= wanted, done - wanted

    def _what(self, path: str, content: bytes) -> str:
        """Give which of this story's objects a write is about, "" for none."""
        for space in ("stays", "goes"):
            if f"/{self.name(space)}/configmaps" in path:
                return f"inner of {space}"
        for what in (*_MAPS, "stays", "goes"):
            name = self.name(what)
            if path.endswith(f"/{name}") or f'"name":"{name}"'.encode() in content:
                return what
        return ""
