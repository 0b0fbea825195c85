"""The tests of a charm's traces, which are the same for every charm of ours."""

# ruff: noqa: S101 - they are tests
from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from federation_interfaces.testing import CA, TEMPO, tracing_relations

if TYPE_CHECKING:
    from ops import testing

    Context = testing.Context[Any]


@pytest.mark.filterwarnings("ignore::pydantic.PydanticDeprecationWarning")
class TracingTests:
    """Where a charm's traces go, and what is not in them.

    A charm's own class gives the state of an active unit, marks the fixture that stands for the
    unit's world, and names the secrets there. The libraries that ops.tracing brings along warn;
    every other test holds ours to none.

    Attributes:
        secrets: words that may be in no trace.
    """

    secrets: ClassVar[tuple[str, ...]]

    def state(self) -> testing.State:
        """Give the state of an active unit."""
        raise NotImplementedError

    def traced(self, url: str = TEMPO, ca: str = CA) -> tuple[testing.State, testing.Relation]:
        """Give that state with the relations of tracing, and the first of them."""
        given, relations = self.state(), tracing_relations(url=url, ca=ca)
        return dataclasses.replace(given, relations={*given.relations, *relations}), relations[0]

    @pytest.fixture
    def sent(self, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str | None, str]]:
        """Where ops was told to send traces to, and by which CA."""
        import ops

        found: list[tuple[str | None, str]] = []

        def set_destination(*, url: str | None, ca: str | None) -> None:
            found.append((url, (ca or "").strip()))

        monkeypatch.setattr(ops.tracing, "set_destination", set_destination)
        return found

    @pytest.mark.parametrize(
        ("url", "ca", "destination"),
        [
            (TEMPO, CA, (f"{TEMPO}/v1/traces", CA.strip())),
            ("http://10.0.0.9:4318", "", ("http://10.0.0.9:4318/v1/traces", "")),
            # Whom nobody can tell from others gets nothing.
            (TEMPO, "", (None, "")),
        ],
    )
    def test_they_go_where_the_relation_says(
        self,
        ctx: Context,
        sent: list[Any],
        url: str,
        ca: str,
        destination: tuple[str | None, str],
    ) -> None:
        """By the relation's address and CA."""
        import ops

        given, relation = self.traced(url, ca)
        out = ctx.run(ctx.on.relation_changed(relation), given)
        assert sent == [destination]
        assert isinstance(ctx.run(ctx.on.update_status(), out).unit_status, ops.ActiveStatus)

    def test_they_end_with_the_relation(self, ctx: Context, sent: list[Any]) -> None:
        """Nobody takes them then."""
        given, relation = self.traced()
        _ = ctx.run(ctx.on.relation_broken(relation), given)
        assert sent == [(None, "")]

    def test_the_protocol_is_asked_for(self, ctx: Context) -> None:
        """Of the provider."""
        given, relation = self.traced(url="")
        out = ctx.run(ctx.on.relation_created(relation), given)
        assert out.get_relation(relation.id).local_app_data == {"receivers": '["otlp_http"]'}

    def test_without_tracing_the_charm_is_the_same(
        self, ctx: Context, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """As dispatch has it where nobody takes traces."""
        import ops

        monkeypatch.setattr(ops, "tracing", None)
        out = ctx.run(ctx.on.start(), self.state())
        assert isinstance(out.unit_status, ops.ActiveStatus)

    def test_no_secret_is_in_a_trace(self, ctx: Context) -> None:
        """Of those that the unit has."""
        given, relation = self.traced()
        out = ctx.run(ctx.on.relation_changed(relation), given)
        _ = ctx.run(ctx.on.update_status(), out)
        spans = [span.to_json() for span in ctx.trace_data]
        assert any("ops.main" in span for span in spans)
        for word in self.secrets:
            assert not [span for span in spans if word in span]
