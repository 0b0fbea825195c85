"""Overrides: what is allowed, and JSON patch as the Go library does it."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kubefed.controller import overrides


def federated(*items: tuple[str, list[dict[str, Any]]]) -> dict[str, Any]:
    return {
        "spec": {
            "overrides": [
                {"clusterName": name, "clusterOverrides": changes} for name, changes in items
            ]
        }
    }


def test_replace_is_the_default_and_the_order_is_kept() -> None:
    changes = [{"path": "/b", "value": 1}, {"op": "add", "path": "/a", "value": None}]
    parsed = overrides.parse(federated(("one", changes), ("two", [])))
    assert parsed == {"one": [("replace", "/b", 1), ("add", "/a", None)], "two": []}
    assert overrides.parse({"spec": {}}) == {}


@pytest.mark.parametrize("path", sorted(overrides.FORBIDDEN_PATHS))
def test_the_identity_can_not_be_overridden(path: str) -> None:
    with pytest.raises(overrides.OverrideError, match=path):
        overrides.parse(federated(("one", [{"path": path, "value": "x"}])))


def test_the_api_version_can() -> None:
    assert overrides.parse(federated(("one", [{"path": "/apiVersion", "value": "v2"}])))


def test_a_cluster_or_a_path_twice_is_refused() -> None:
    with pytest.raises(overrides.OverrideError, match="more than once in overrides"):
        overrides.parse(federated(("one", []), ("one", [])))
    twice = [{"path": "/a", "value": 1}, {"op": "remove", "path": "/a"}]
    with pytest.raises(overrides.OverrideError, match="path '/a' appears more than once"):
        overrides.parse(federated(("one", twice)))


def test_other_operations_are_refused() -> None:
    with pytest.raises(overrides.OverrideError, match="copy"):
        overrides.parse(federated(("one", [{"op": "copy", "path": "/a"}])))


@pytest.mark.parametrize(
    ("before", "change", "after"),
    [
        ({"a": 1}, ("replace", "/a", 2), {"a": 2}),
        ({"a": 1}, ("add", "/b", 2), {"a": 1, "b": 2}),
        ({"a": 1}, ("add", "/a", 2), {"a": 2}),
        ({"a": 1, "b": 2}, ("remove", "/b", None), {"a": 1}),
        ({"a": [1, 2]}, ("add", "/a/-", 3), {"a": [1, 2, 3]}),
        ({"a": [1, 2]}, ("add", "/a/0", 0), {"a": [0, 1, 2]}),
        ({"a": [1, 2]}, ("add", "/a/2", 3), {"a": [1, 2, 3]}),
        ({"a": [1, 2]}, ("add", "/a/-1", 3), {"a": [1, 2, 3]}),
        ({"a": [1, 2]}, ("replace", "/a/-1", 3), {"a": [1, 3]}),
        ({"a": [1, 2]}, ("remove", "/a/0", None), {"a": [2]}),
        ({"a": [{"b": 1}]}, ("replace", "/a/0/b", 2), {"a": [{"b": 2}]}),
        ({"a/b": {"~": 1}}, ("replace", "/a~1b/~0", 2), {"a/b": {"~": 2}}),
        ({"a": None}, ("replace", "/a", 1), {"a": 1}),
    ],
)
def test_changes(before: Any, change: overrides.Change, after: Any) -> None:
    untouched = copy.deepcopy(before)
    assert overrides.apply(before, [change]) == after
    assert before == untouched


@pytest.mark.parametrize(
    "change",
    [
        ("replace", "/missing", 1),
        ("remove", "/missing", None),
        ("add", "/missing/deeper", 1),
        ("add", "/list/3", 1),
        ("replace", "/list/2", 1),
        ("replace", "/list/-3", 1),
        ("replace", "/list/x", 1),
        ("replace", "/list/-", 1),
        ("add", "/text/x", 1),
        ("add", "nowhere", 1),
    ],
)
def test_what_is_not_there_can_not_be_changed(change: overrides.Change) -> None:
    with pytest.raises(overrides.OverrideError, match=change[1]):
        overrides.apply({"list": [1, 2], "text": "x"}, [change])


scalars = st.none() | st.booleans() | st.integers() | st.text()


@given(
    st.dictionaries(st.text(min_size=1), scalars, min_size=1),
    st.lists(scalars, max_size=3),
    st.data(),
)
def test_a_replacement_made_twice_is_as_made_once(
    document: dict[str, Any], value: list[Any], data: st.DataObject
) -> None:
    key = data.draw(st.sampled_from(sorted(document)))
    path = "/" + key.replace("~", "~0").replace("/", "~1")
    changes = [("replace", path, value)]
    once = overrides.apply(document, changes)
    assert overrides.apply(once, changes) == once
    assert once[key] == value
