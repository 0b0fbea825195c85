"""The program that has the status follow the clusters: what it asks, and what it imports."""

from __future__ import annotations

import datetime
import ipaddress
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import clusters_told
import clusters_watch
import pytest
from clusters_watch import Clusters
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from federation_interfaces import follower_tests
from federation_interfaces.cluster import ClusterAddress, kubeconfig

PATH = "/apis/core.kubefed.io/v1beta1/namespaces/fed/kubefedclusters"
BOTH = '{"napoli": "", "palermo": ""}'


def cluster(name: str, *conditions: tuple[str, str, str]) -> dict[str, Any]:
    said = [{"type": t, "status": s, "reason": r, "message": "x"} for t, s, r in conditions]
    return {"metadata": {"name": name}, "status": {"conditions": said}}


WELL = ("Ready", "True", "ClusterReady")
LOST = ("Offline", "True", "ClusterNotReachable")


class Answers(follower_tests.Answers):
    items: list[dict[str, Any]]
    body: bytes | None = None
    token = "one"
    asked = 0


class Handler(follower_tests.Handler):
    @property
    def answers(self) -> Answers:
        return cast("Answers", self.server)

    def answer(self) -> None:
        self.answers.asked += 1
        known = self.headers["Authorization"] == f"Bearer {self.answers.token}"
        self.send_response(200 if known and self.path == PATH else 401)
        body = self.answers.body
        body = json.dumps({"items": self.answers.items}).encode() if body is None else body
        # In pieces, as API servers give lists.
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for piece in (body[:9], body[9:], b""):
            if piece or not body[9:]:
                _ = self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
        if body[9:]:
            _ = self.wfile.write(b"0\r\n\r\n")
        self.close_connection = self.answers.forgets


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "api")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]),
            critical=False,
        )
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("api") / "api.pem"
    plain = serialization.NoEncryption()
    form = serialization.PrivateFormat.PKCS8
    text = key.private_bytes(serialization.Encoding.PEM, form, plain)
    path.write_bytes(text + made.public_bytes(serialization.Encoding.PEM))
    return path


@pytest.fixture
def server(certificate: Path) -> Iterator[Answers]:
    found = Answers(("127.0.0.1", 0), Handler)
    found.items = [cluster("palermo", WELL), cluster("napoli", WELL)]
    with follower_tests.answering(found, certificate):
        yield found


class Unit:
    """A unit with its kubeconfig and the program."""

    def __init__(self, folder: Path, authority: str, port: int) -> None:
        self.path = folder / "kubeconfig"
        self._address = ClusterAddress(f"https://127.0.0.1:{port}", authority)
        self.write("one")
        self.clusters = Clusters(str(self.path), "fed")

    def write(self, token: str) -> None:
        self.path.write_text(kubeconfig(self._address, token, name="catania"))

    def look(self, said: str | None = BOTH) -> str:
        return self.clusters.look(said, 0.0)


@pytest.fixture
def unit(server: Answers, certificate: Path, tmp_path: Path) -> Iterator[Unit]:
    text = certificate.read_text()
    found = Unit(tmp_path, text[text.index("-----BEGIN CERT") :], server.server_port)
    yield found
    found.clusters.close()


class TestLook:
    def test_all_are_well(self, unit: Unit) -> None:
        assert unit.look() == BOTH

    def test_one_is_lost(self, server: Answers, unit: Unit) -> None:
        server.items[0] = cluster("palermo", LOST)
        assert unit.look() == '{"napoli": "", "palermo": "ClusterNotReachable"}'

    def test_messages_are_no_news(self, server: Answers, unit: Unit) -> None:
        """They may have in them how many seconds it is, or a port."""
        server.items[0] = cluster("palermo", LOST)
        first = unit.look()
        server.items[0]["status"]["conditions"][0]["message"] = "y"
        assert unit.look() == first

    def test_others_are_none_of_its_business(self, server: Answers, unit: Unit) -> None:
        server.items.append(cluster("joined-by-hand", LOST))
        assert unit.look() == BOTH
        assert unit.look("{}") == "{}"

    def test_one_that_is_gone_is_as_the_charm_knows_it(self, server: Answers, unit: Unit) -> None:
        """The charm says the last that it heard."""
        del server.items[0]
        assert unit.look() == BOTH

    @pytest.mark.parametrize("said", [None, clusters_told.SILENT, "{"])
    def test_a_status_about_something_else_is_no_longer_true(
        self, unit: Unit, said: str | None
    ) -> None:
        assert unit.look(said) == "{}"

    def test_over_one_connection(self, server: Answers, unit: Unit) -> None:
        assert [unit.look() for _ in range(3)] == [BOTH] * 3
        assert (server.asked, server.connections) == (3, 1)

    def test_a_connection_that_ended_is_no_silence(self, server: Answers, unit: Unit) -> None:
        server.forgets = True
        assert [unit.look() for _ in range(3)] == [BOTH] * 3

    def test_another_token_is_taken_up(self, server: Answers, unit: Unit) -> None:
        assert unit.look() == BOTH
        server.token = "two"
        assert unit.look() == clusters_told.SILENT
        unit.write("two")
        assert unit.look() == BOTH

    @pytest.mark.parametrize("body", [b"<html>", b"{}", b"[]", b"", b'{"items": [{}]}', b"null"])
    def test_an_answer_that_is_none(self, server: Answers, unit: Unit, body: bytes) -> None:
        server.body = body
        assert unit.look() == clusters_told.SILENT

    def test_another_certificate_is_not_believed(self, server: Answers, tmp_path: Path) -> None:
        from federation_interfaces.testing import CA

        assert Unit(tmp_path, CA, server.server_port).look() == clusters_told.SILENT

    def test_nobody_is_there(self, unit: Unit, tmp_path: Path) -> None:
        unit.path.unlink()
        assert unit.look() == clusters_told.SILENT
        unit.path.write_text("{}")
        assert unit.look() == clusters_told.SILENT
        from federation_interfaces.testing import CA

        assert Unit(tmp_path, CA, 1).look() == clusters_told.SILENT


def test_it_imports_little() -> None:
    """It runs on the leader for ever: none of the charm's libraries."""
    heavy = {"asyncio", "cryptography", "kubernetes", "logging", "ops", "pydantic", "yaml"}
    assert not heavy & follower_tests.imported_by(clusters_watch)
