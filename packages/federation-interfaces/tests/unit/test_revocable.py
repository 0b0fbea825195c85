"""Tokens that can be taken back, against an API server in memory."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from federation_interfaces import revocable
from federation_interfaces.cluster import (
    Cluster,
    ClusterAddress,
    ClusterRefusedError,
    ClusterUnreachableError,
)
from federation_interfaces.testing import CA

HOME = "/api/v1/namespaces/n"
END = datetime(2026, 11, 1, 13, tzinfo=UTC)


class Api(Cluster):
    """Secrets of one namespace, and who asked for what."""

    def __init__(self) -> None:
        super().__init__(ClusterAddress("https://10.0.0.1:6443", CA), "word")
        self.secrets: dict[str, dict[str, Any]] = {}
        self.asked: list[tuple[str, str, Any]] = []
        self.account: dict[str, Any] = {"metadata": {"name": "a", "uid": "u-1"}}
        self.fail = ""

    def request(
        self, method: str, path: str, body: Any = None, content_type: str = ""
    ) -> dict[str, Any]:
        self.asked.append((method, path, body))
        if self.fail and method == self.fail:
            raise ClusterRefusedError("forbidden (403)", 403)
        if path == f"{HOME}/serviceaccounts/a":
            return self.account
        if path.endswith("/token"):
            bound = body["spec"]["boundObjectRef"]
            assert bound == {"apiVersion": "v1", "kind": "Secret", "name": bound["name"]}
            assert bound["name"] in self.secrets
            return {"status": {"token": "t", "expirationTimestamp": END.isoformat()}}
        name = path.partition("?")[0].removeprefix(f"{HOME}/secrets").lstrip("/")
        if method == "PATCH":
            self.secrets[name] = body
            return body
        if method == "DELETE":
            if name not in self.secrets:
                raise ClusterRefusedError("not found (404)", 404)
            return self.secrets.pop(name)
        wanted = dict(
            pair.split("%3D") for pair in path.partition("labelSelector=")[2].split("%2C")
        )
        found = [
            each
            for each in self.secrets.values()
            if {k.replace("/", "%2F"): v for k, v in each["metadata"]["labels"].items()} == wanted
        ]
        return {"items": found}


def mint(api: Api, holder: str = "app/0") -> revocable.RevocableCredential:
    return revocable.mint(api, "a", "n", timedelta(hours=1), holder=holder)


def test_a_token_is_bound_to_an_empty_secret_that_goes_with_the_account():
    api = Api()
    minted = mint(api)
    assert (minted.token, minted.expires_at) == ("t", END)
    secret = api.secrets[minted.bound]
    assert "data" not in secret
    assert secret["metadata"]["ownerReferences"] == [
        {"apiVersion": "v1", "kind": "ServiceAccount", "name": "a", "uid": "u-1"}
    ]
    assert "t" not in repr(minted).split("'")


def test_another_may_ask_for_the_token():
    api, other = Api(), Api()
    other.secrets = api.secrets
    _ = revocable.mint(api, "a", "n", timedelta(hours=1), holder="app", minter=other)
    assert [path for _, path, _ in other.asked] == [f"{HOME}/serviceaccounts/a/token"]


def test_a_holder_ends_its_own_and_keeps_what_it_says():
    api = Api()
    old, new, others = mint(api), mint(api), mint(api, "app/1")
    assert revocable.revoke(api, "a", "n", holder="app/0", keep=(new.bound,)) == 1
    assert set(api.secrets) == {new.bound, others.bound}
    assert old.bound not in api.secrets
    assert revocable.revoke(api, "a", "n", holder="app/0") == 1
    assert set(api.secrets) == {others.bound}


def test_what_a_failed_minting_left_ends_with_the_next():
    api = Api()
    api.fail = "POST"
    with pytest.raises(ClusterRefusedError):
        _ = mint(api)
    assert len(api.secrets) == 1
    api.fail = ""
    kept = mint(api)
    assert revocable.revoke(api, "a", "n", holder="app/0", keep=(kept.bound,)) == 1


def test_an_answer_that_is_no_account():
    api = Api()
    api.account = {}
    with pytest.raises(ClusterUnreachableError, match="no 'metadata'"):
        _ = mint(api)
