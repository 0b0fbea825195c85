"""For tests of charms: what a control plane publishes, certificates, and whose `charm` it is.

And hooks that are killed, at any of their calls of a hook tool.
"""

from __future__ import annotations

import functools
import importlib
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, TypeVar

import pytest

from federation_interfaces.cluster import Cluster, ClusterRefusedError

if TYPE_CHECKING:
    from ops import testing

World = TypeVar("World")
CERTIFICATES = (
    """\
-----BEGIN CERTIFICATE-----
MIIBejCCAR+gAwIBAgIULcFTYj095nc4fssmeRnfh2fi29gwCgYIKoZIzj0EAwIw
ETEPMA0GA1UEAwwGdGVzdCAxMCAXDTI2MTEyMzAwMjUxN1oYDzIxMjYxMDMwMDAy
NTE3WjARMQ8wDQYDVQQDDAZ0ZXN0IDEwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNC
AARBrR85L93U0783srmLAeZOLDrmo6KEq4LoeQ5Nbn/pf/LWAmoT+sAEhEApfA0y
YkDdNB7oawmJTAh5D7zxOb3no1MwUTAdBgNVHQ4EFgQUeDiHB/4v9queRDjOWee/
lqcj1UswHwYDVR0jBBgwFoAUeDiHB/4v9queRDjOWee/lqcj1UswDwYDVR0TAQH/
BAUwAwEB/zAKBggqhkjOPQQDAgNJADBGAiEAjI+NWC2kW8IsHXGY0Ko1g2wKhVCs
WQClBNvgUv70SZYCIQDoc8rzM0JkLmeNWN+EJzmlWfB+xO6jPtUFRuKdxLXBYg==
-----END CERTIFICATE-----
""",
    """\
-----BEGIN CERTIFICATE-----
MIIBeTCCAR+gAwIBAgIUazpC82sDlfEaUjeu/bHk9ipZ4kIwCgYIKoZIzj0EAwIw
ETEPMA0GA1UEAwwGdGVzdCAyMCAXDTI2MTEyMzAwMjUxN1oYDzIxMjYxMDMwMDAy
NTE3WjARMQ8wDQYDVQQDDAZ0ZXN0IDIwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNC
AAQ65+S3Vqe5KfR9ZGNaqgYmvfzf0xx3C/x5mx906fbxWg2qVzLxRE12XZY5PsIT
AbguYeSc49ao5YoRCGS+jJNuo1MwUTAdBgNVHQ4EFgQUucO/Y/CJHkLoJDnvpn85
Mse4osYwHwYDVR0jBBgwFoAUucO/Y/CJHkLoJDnvpn85Mse4osYwDwYDVR0TAQH/
BAUwAwEB/zAKBggqhkjOPQQDAgNIADBFAiA7HT1RyOA+7GbB0/t3ooej1IDiunHw
urpiCCnyU8egvgIhALAoZI1r0Fgy7U/kzcvb/ao2MaqnfUm1+ysuE7XgXhKx
-----END CERTIFICATE-----
""",
    """\
-----BEGIN CERTIFICATE-----
MIIBeTCCAR+gAwIBAgIUCsCH6mcrTVd7nbOVdYwhhZNpDGUwCgYIKoZIzj0EAwIw
ETEPMA0GA1UEAwwGdGVzdCAzMCAXDTI2MTEyMzAwMjUxN1oYDzIxMjYxMDMwMDAy
NTE3WjARMQ8wDQYDVQQDDAZ0ZXN0IDMwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNC
AATC7Gr7pbprLwmcN9BRHytaSpuK2DeFinDLLdP14GGd8Gka7sF/S6oQfUTNiGbr
C10sWzD8lf+Xef6kdlX6e6AEo1MwUTAdBgNVHQ4EFgQUjpOvUQqkkVtvG6u+3r4g
M5x3IpowHwYDVR0jBBgwFoAUjpOvUQqkkVtvG6u+3r4gM5x3IpowDwYDVR0TAQH/
BAUwAwEB/zAKBggqhkjOPQQDAgNIADBFAiEAk5h5tFjd4mm4kpVRm+2YX61aiQgq
9skxRqSGgSGK648CIHRLei7OVEGsa1IE2G0gtO59Hg+o1OVa91ioq4/MNLqO
-----END CERTIFICATE-----
""",
)
"""Self-signed certificates that end in a hundred years; nobody has their keys."""

CA = CERTIFICATES[0]


def kube_control_unit_data(
    user: str,
    *,
    server: str = "https://10.210.1.10:6443",
    token: str = "admin-token",  # noqa: S107 - of no cluster
    ca_secret_id: str = "",
) -> dict[str, str]:
    """Return the unit databag of a control plane that has made a token for `user`."""
    credentials = {
        "client_token": token,
        "kubelet_token": "",
        "proxy_token": "",
        "scope": user,
    }
    data = {
        "api-endpoints": json.dumps([server]),
        "cluster-tag": "kubernetes-test",
        "creds": json.dumps({user: credentials}),
        "default-cni": json.dumps(""),
        "domain": "cluster.local",
        "enable-kube-dns": "True",
        "has-xcp": "false",
        "port": "53",
        "registry-location": "registry.invalid",
    }
    if ca_secret_id:
        data["ca-certificate-secret-id"] = ca_secret_id
    return data


CA_UNKNOWN = (
    "the cluster's CA is not known: integrate certificates with easyrsa:client, "
    "or set ca-certificate"
)
"""What each charm's status says where nobody gives the CA."""


def own_module(
    charm: ModuleType,
) -> tuple[Callable[[Path, pytest.Collector], None], Callable[[pytest.MonkeyPatch], None]]:
    """Keep charms apart whose tests run in one process: each calls its module `charm`.

    Returns:
        For a charm's conftest: `pytest_pycollect_makemodule`, before a test module is read, and a
        fixture for while a test runs, since ops.testing finds charmcraft.yaml by `charm`.
    """

    def pytest_pycollect_makemodule(module_path: Path, parent: pytest.Collector) -> None:
        del module_path, parent
        sys.modules["charm"] = charm

    @pytest.fixture(autouse=True)
    def this_charm(monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "charm", charm)

    return pytest_pycollect_makemodule, this_charm


def worlds(fake: Callable[[pytest.MonkeyPatch, Path], World]) -> tuple[Any, Any]:
    """Make a charm's fixtures of what puts fakes around it: such a world, and what makes others.

    Args:
        fake: puts them there, with files in a folder.
    """

    @pytest.fixture
    def world(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> World:
        return fake(monkeypatch, tmp_path)

    @pytest.fixture
    def fresh() -> Callable[[pytest.MonkeyPatch, Path], World]:
        return fake

    return world, fresh


EARLIER = Path(__file__).parents[2] / "tests" / "earlier"
"""What earlier revisions of the charms wrote, each in a file called as its commit."""


def earlier_revisions() -> list[str]:
    """Return the earlier revisions whose data are kept, oldest first."""
    found = [(json.loads(each.read_text())["date"], each.stem) for each in EARLIER.glob("*.json")]
    return [name for _, name in sorted(found)]


def earlier(revision: str, charm: str) -> dict[str, Any]:
    """Return what a charm of an earlier revision left: databags by endpoint, secret, files."""
    return json.loads((EARLIER / f"{revision}.json").read_text())[charm]


def put_files(root: Path, files: dict[str, str]) -> None:
    """Write what a unit of an earlier revision had on disk."""
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        _ = (root / name).write_text(text)


TEMPO = "https://tempo.example:4318"
# A failure there shows its values, as one in a test's own file does.
for _name in ("tracing_tests", "metrics_tests"):
    pytest.register_assert_rewrite(f"federation_interfaces.{_name}")


def tracing_relations(
    *, url: str = TEMPO, ca: str = CA
) -> tuple[testing.Relation, testing.Relation]:
    """Return the relations of a charm whose traces are taken at `url`, by a server of this CA."""
    from ops import testing

    receiver = {"protocol": {"name": "otlp_http", "type": "http"}, "url": url}
    taken = {"receivers": json.dumps([receiver])} if url else {}
    known = {"certificates": json.dumps([ca]), "version": "1"} if ca else {}
    return (
        testing.Relation("charm-tracing", id=7301, remote_app_data=taken),
        testing.Relation("receive-ca-cert", id=7302, remote_app_data=known),
    )


class Killed(BaseException):
    """The hook's process has been killed."""


class HookTools:
    """What a hook calls of Juju.

    Attributes:
        calls: the tools' names, in order.
        fatal: the number of the call that the hook does not survive; None: it does.
    """

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.fatal: int | None = None

    def watch(self, patch: pytest.MonkeyPatch) -> None:
        """Stand between ops.testing's hooks and its tools."""
        backend: Any = importlib.import_module("scenario.mocking")._MockModelBackend
        tools = [name for name in vars(backend) if not name.startswith("_")]
        for name in tools:
            patch.setattr(backend, name, self._counted(name, getattr(backend, name)))

    def _counted(self, name: str, tool: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(tool)
        def call(*given: Any, **named: Any) -> Any:
            self.calls.append(name)
            if len(self.calls) - 1 == self.fatal:
                raise Killed(name)
            return tool(*given, **named)

        return call


def killed_and_repeated(
    ctx: testing.Context[Any],
    event: Any,
    given: testing.State,
    patch: pytest.MonkeyPatch,
    fatal: int | None,
) -> tuple[testing.State, int]:
    """Run a hook that is killed, and then as Juju does: once more, on the state of before.

    Args:
        ctx: the charm.
        event: the hook's.
        given: the state before it.
        patch: undone by the caller.
        fatal: the number of the call that the first run does not survive; None: there is none.

    Returns:
        The state afterwards, and how many calls of hook tools there were.
    """
    tools = HookTools()
    tools.watch(patch)
    tools.fatal = fatal
    if fatal is not None:
        with pytest.raises(Killed):
            _ = ctx.run(event, given)
    return ctx.run(event, given), len(tools.calls)


def points(count: int) -> Sequence[int]:
    """At which of so many calls a hook is killed: at each by night, else at seven."""
    if os.environ.get("FEDERATION_SOAK") == "1" or count <= _POINTS:
        return range(count)
    return sorted({number * count // _POINTS for number in range(_POINTS)})


_POINTS = 7


def there(cluster: Cluster, path: str) -> bool:
    """Say whether a real cluster has an object."""
    try:
        return bool(cluster.request("GET", path))
    except ClusterRefusedError as error:
        if error.status == 404:
            return False
        raise


def eventually(done: Callable[[], bool]) -> None:
    """Wait until a real cluster has done something."""
    deadline = time.monotonic() + 40
    while not done():
        if time.monotonic() > deadline:
            raise AssertionError("the cluster has not done it within 40 s")
        time.sleep(0.2)
