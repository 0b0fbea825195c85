from __future__ import annotations

import pytest
from kubefed import errors
from kubefed.api import CONFIG_MAP, DEPLOYMENT, INGRESS, FederatedType, TargetKind
from kubefed.discovery import NEEDED_VERBS, Resource
from kubefed.enable import check

WIDGET = TargetKind("example.com", "v1", "Widget", "widgets")
OTHER = TargetKind("example.org", "v1", "Widget", "widgets")


def refusal(kind: TargetKind, *enabled: FederatedType, group: str = "types.kubefed.io") -> str:
    try:
        check(Resource(kind), FederatedType.of(kind, group=group), enabled)
    except errors.UsageError as error:
        return str(error)
    return ""


def test_what_can_be_federated() -> None:
    assert refusal(WIDGET) == ""
    assert refusal(WIDGET, FederatedType.of(CONFIG_MAP)) == ""
    # Once more, as it is.
    assert refusal(WIDGET, FederatedType.of(WIDGET)) == ""


def test_the_federations_own_kinds() -> None:
    own = TargetKind("types.kubefed.io", "v1beta1", "FederatedSecret", "federatedsecrets")
    assert "of the federation itself" in refusal(own)


def test_kinds_whose_objects_cannot_be_watched() -> None:
    review = Resource(WIDGET, verbs=NEEDED_VERBS - {"watch", "list"})
    with pytest.raises(errors.UsageError, match="know no list, watch"):
        check(review, FederatedType.of(WIDGET), [])


@pytest.mark.parametrize("kind", [DEPLOYMENT, INGRESS])
def test_the_same_kind_under_another_group(kind: TargetKind) -> None:
    former = TargetKind("extensions", "v1beta1", kind.kind, kind.plural)
    text = refusal(former, FederatedType.of(kind))
    assert (
        text == f"{former.full_name} is the same as {kind.full_name}, which is federated already"
    )


def test_another_federated_type_for_a_kind_that_is_federated() -> None:
    text = refusal(WIDGET, FederatedType.of(WIDGET), group="federation.example.com")
    assert "is federated already, as federatedwidgets.types.kubefed.io/v1beta1; disable" in text
    check_version = FederatedType.of(WIDGET, version="v1")
    assert "disable it before" in refusal(WIDGET, check_version)


def test_a_federated_type_that_stands_for_another_kind() -> None:
    text = refusal(OTHER, FederatedType.of(WIDGET))
    assert "stands for widgets.example.com already; give another --federated-group" in text
    assert refusal(OTHER, FederatedType.of(WIDGET), group="federation.example.org") == ""
