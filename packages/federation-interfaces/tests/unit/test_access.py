from typing import Any

import pytest
from federation_interfaces.access import Access, AccessMissingError, read_access
from federation_interfaces.cluster import ClusterAddress
from federation_interfaces.testing import CA, CERTIFICATES


class Control:
    """What kube-control's library gives."""

    def __init__(self, **changed: Any) -> None:
        self.is_ready = bool(changed.get("ready", True))
        self.token: str | None = changed.get("token", "admin")
        self.servers: list[str] = changed.get("servers", ["https://10.0.0.1:6443/"])
        self.authority: bytes | None = changed.get("authority", CA.encode())

    def get_auth_credentials(self, user: str) -> dict[str, str] | None:
        assert user == "me/0"
        return None if self.token is None else {"client_token": self.token}

    def get_api_endpoints(self) -> list[str]:
        return self.servers

    def get_ca_certificate(self) -> bytes | None:
        return self.authority


class TestAccess:
    def test_all_of_it(self):
        found = read_access(Control(), "me/0")
        assert found == Access(ClusterAddress("https://10.0.0.1:6443", CA), "admin")
        assert "admin" not in repr(found)

    def test_the_order_of_the_cas_sources(self):
        def found(authority: bytes | None, told: list[str] | None, configured: str = "") -> str:
            bags = None if told is None else [{"ca": each} if each else {} for each in told]
            return read_access(
                Control(authority=authority),
                "me/0",
                certificates=bags,
                ca_certificate=configured,
            ).address.ca_certificate

        assert found(CA.encode(), [CERTIFICATES[1]], CERTIFICATES[2]) == CA
        assert found(None, [CERTIFICATES[1]], CERTIFICATES[2]) == CERTIFICATES[1]
        assert found(None, [""], CERTIFICATES[2]) == CERTIFICATES[2]
        assert found(None, None, CERTIFICATES[2]) == CERTIFICATES[2]
        two = found(None, [CERTIFICATES[1], "", f"in words\n{CERTIFICATES[2]}", CERTIFICATES[1]])
        assert two.split() == (CERTIFICATES[1] + CERTIFICATES[2]).split()

    @pytest.mark.parametrize(
        ("told", "text", "mendable"),
        [
            (None, "integrate certificates with easyrsa:client, or set ca-certificate", True),
            ([], "certificates has not given", False),
            ([{"ca": "-----BEGIN PRIVATE KEY-----"}], "from certificates is refused", False),
        ],
    )
    def test_no_ca(self, told: list[dict[str, str]] | None, text: str, mendable: bool):
        with pytest.raises(AccessMissingError, match=text) as caught:
            _ = read_access(Control(authority=None), "me/0", certificates=told)
        assert caught.value.mendable is mendable

    def test_a_ca_of_kube_control_that_is_none(self):
        with pytest.raises(AccessMissingError, match="from kube-control is refused"):
            _ = read_access(Control(authority=b"\xff"), "me/0")

    @pytest.mark.parametrize("missing", [{"ready": False}, {"token": None}, {"servers": []}])
    def test_what_is_missing_is_waited_for(self, missing: dict[str, Any]):
        with pytest.raises(AccessMissingError, match="kube-control has not given access yet"):
            _ = read_access(Control(**missing), "me/0")
