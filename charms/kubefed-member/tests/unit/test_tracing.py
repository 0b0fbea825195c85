"""Where the charm's traces go, and what is not in them."""

import dataclasses
from typing import Any

import ops
import pytest
from federation_interfaces.testing import CA, TEMPO, tracing_relations
from member_world import World, state
from ops import testing

Context = testing.Context[Any]
# Of the libraries that ops.tracing brings along; every other test holds ours to none.
pytestmark = pytest.mark.filterwarnings("ignore::pydantic.PydanticDeprecationWarning")


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str | None, str]]:
    """Where ops was told to send traces to, and by which CA."""
    found: list[tuple[str | None, str]] = []

    def set_destination(*, url: str | None, ca: str | None) -> None:
        found.append((url, (ca or "").strip()))

    monkeypatch.setattr(ops.tracing, "set_destination", set_destination)
    return found


def traced(url: str = TEMPO, ca: str = CA) -> tuple[testing.State, testing.Relation]:
    """The charm with the relations of tracing, and the first of them."""
    given, relations = state(), tracing_relations(url=url, ca=ca)
    return dataclasses.replace(given, relations={*given.relations, *relations}), relations[0]


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
    ctx: Context,
    world: World,
    sent: list[Any],
    url: str,
    ca: str,
    destination: tuple[str | None, str],
):
    given, relation = traced(url, ca)
    out = ctx.run(ctx.on.relation_changed(relation), given)
    assert sent == [destination]
    assert isinstance(ctx.run(ctx.on.update_status(), out).unit_status, ops.ActiveStatus)


def test_they_end_with_the_relation(ctx: Context, world: World, sent: list[Any]):
    given, relation = traced()
    _ = ctx.run(ctx.on.relation_broken(relation), given)
    assert sent == [(None, "")]


def test_the_protocol_is_asked_for(ctx: Context, world: World):
    given, relation = traced(url="")
    out = ctx.run(ctx.on.relation_created(relation), given)
    assert out.get_relation(relation.id).local_app_data == {"receivers": '["otlp_http"]'}


def test_without_tracing_the_charm_is_the_same(
    ctx: Context, world: World, monkeypatch: pytest.MonkeyPatch
):
    """As dispatch has it where nobody takes traces."""
    monkeypatch.setattr(ops, "tracing", None)
    out = ctx.run(ctx.on.start(), state())
    assert isinstance(out.unit_status, ops.ActiveStatus)


def test_no_secret_is_in_a_trace(ctx: Context, world: World):
    given, relation = traced()
    out = ctx.run(ctx.on.relation_changed(relation), given)
    _ = ctx.run(ctx.on.update_status(), out)
    spans = [span.to_json() for span in ctx.trace_data]
    assert any("ops.main" in span for span in spans)
    for word in ("admin-token", "token-1"):
        assert not [span for span in spans if word in span]
