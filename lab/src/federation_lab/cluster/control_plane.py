"""What a region's etcd, API server, controller manager and scheduler are started with.

Everything here is a function of a `ControlPlane`: the files that it needs are written by
`prepare`, and `commands` says what to run. Who runs it (the stand-in charm's units, or a test's
subprocesses) is somebody else's business.
"""

from __future__ import annotations

import base64
import dataclasses
import json
import os
import secrets
from collections.abc import Mapping
from typing import TYPE_CHECKING

from federation_lab.cluster.names import KUBELET_CLIENT
from federation_lab.cluster.pki import CertificateAuthority

if TYPE_CHECKING:
    from pathlib import Path

ADMIN = "admin"
# user -> group of the accounts that the API server knows from its token file.
ACCOUNTS = {
    ADMIN: "system:masters",
    "system:kube-controller-manager": "",
    "system:kube-scheduler": "",
    "lab:kubelet": "system:masters",
}


@dataclasses.dataclass(frozen=True)
class ControlPlane:
    """One cluster's control plane: where it listens and where it keeps its files.

    Attributes:
        name: the cluster's name; also the common name of its CA.
        address: the address that the API server is reached at.
        directory: certificates, tokens, kubeconfigs and etcd's data.
        binaries: the directory with etcd, kube-apiserver and the others.
        api_port: the API server's port.
        etcd_port: etcd's client port, on loopback; its peer port is the next one.
        extra_hosts: further names and addresses in the API server's certificate.
        fsync: False only for tests that throw the data away.
        extra_args: further options of a program, such as ``{"kube-apiserver": ("--v=2",)}``.
    """

    name: str
    address: str
    directory: Path
    binaries: Path
    api_port: int = 6443
    etcd_port: int = 2379
    service_cidr: str = "10.152.183.0/24"
    pod_cidr: str = "10.1.0.0/16"
    extra_hosts: tuple[str, ...] = ()
    fsync: bool = True
    extra_args: Mapping[str, tuple[str, ...]] = dataclasses.field(
        default_factory=dict[str, tuple[str, ...]]
    )

    @property
    def endpoint(self) -> str:
        """The API server's URL."""
        return f"https://{self.address}:{self.api_port}"

    @property
    def ca_certificate(self) -> str:
        """The CA's certificate in PEM; `prepare` must have run."""
        return (self.directory / "pki" / "ca.crt").read_text()

    def token(self, user: str) -> str:
        """Give the bearer token of one of `ACCOUNTS`; `prepare` must have run."""
        tokens: dict[str, str] = json.loads((self.directory / "tokens.json").read_text())
        return tokens[user]

    def kubeconfig(self, user: str = ADMIN) -> dict[str, object]:
        """Give a kubeconfig for one of `ACCOUNTS`, its context named as the cluster."""
        cluster = {
            "server": self.endpoint,
            "certificate-authority-data": _b64(self.ca_certificate),
        }
        return {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": self.name, "cluster": cluster}],
            "users": [{"name": self.name, "user": {"token": self.token(user)}}],
            "contexts": [
                {"name": self.name, "context": {"cluster": self.name, "user": self.name}}
            ],
            "current-context": self.name,
        }

    def prepare(self) -> None:
        """Write certificates, tokens and kubeconfigs; what is there already is kept."""
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        authority = CertificateAuthority(self.directory / "pki", f"{self.name}-ca")
        # The first address of the service range is the API server's own service.
        kubernetes_service = self.service_cidr.rsplit(".", 1)[0] + ".1"
        authority.issue(
            "apiserver",
            "kube-apiserver",
            hosts=[
                self.address,
                "127.0.0.1",
                kubernetes_service,
                "localhost",
                "kubernetes",
                "kubernetes.default",
                "kubernetes.default.svc",
                "kubernetes.default.svc.cluster.local",
                *self.extra_hosts,
            ],
        )
        authority.issue("kubelet", "lab-kubelet", hosts=[self.address])
        authority.issue("kubelet-client", KUBELET_CLIENT)
        authority.issue("etcd", "etcd", hosts=["127.0.0.1", "localhost"])
        authority.issue("service-account", "service-accounts")
        self._write_tokens()
        for user in ACCOUNTS:
            path = self.directory / f"{user.rsplit(':', 1)[-1]}.kubeconfig"
            _write_private(path, json.dumps(self.kubeconfig(user)))

    def commands(self) -> dict[str, list[str]]:
        """Give the command of each program, in the order in which they start."""
        programs = {
            "etcd": self._etcd(),
            "kube-apiserver": self._api_server(),
            "kube-controller-manager": self._controller_manager(),
            "kube-scheduler": self._scheduler(),
        }
        return {name: [*words, *self.extra_args.get(name, ())] for name, words in programs.items()}

    def _etcd(self) -> list[str]:
        pki = self.directory / "pki"
        client = f"https://127.0.0.1:{self.etcd_port}"
        peer = f"https://127.0.0.1:{self.etcd_port + 1}"
        tls = [
            f"--{prefix}{option}={path}"
            for prefix in ("", "peer-")
            for option, path in (
                ("cert-file", pki / "etcd.crt"),
                ("key-file", pki / "etcd.key"),
                ("trusted-ca-file", pki / "ca.crt"),
            )
        ]
        return [
            str(self.binaries / "etcd"),
            f"--name={self.name}",
            f"--data-dir={self.directory / 'etcd'}",
            f"--listen-client-urls={client}",
            f"--advertise-client-urls={client}",
            f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster={self.name}={peer}",
            *tls,
            "--client-cert-auth",
            "--peer-client-cert-auth",
            "--log-level=warn",
            "--auto-compaction-retention=10m",
            *([] if self.fsync else ["--unsafe-no-fsync"]),
        ]

    def _api_server(self) -> list[str]:
        pki = self.directory / "pki"
        return [
            str(self.binaries / "kube-apiserver"),
            f"--advertise-address={self.address}",
            f"--bind-address={self.address if self.address == '127.0.0.1' else '0.0.0.0'}",  # noqa: S104
            f"--secure-port={self.api_port}",
            f"--etcd-servers=https://127.0.0.1:{self.etcd_port}",
            f"--etcd-cafile={pki / 'ca.crt'}",
            f"--etcd-certfile={pki / 'etcd.crt'}",
            f"--etcd-keyfile={pki / 'etcd.key'}",
            f"--tls-cert-file={pki / 'apiserver.crt'}",
            f"--tls-private-key-file={pki / 'apiserver.key'}",
            f"--client-ca-file={pki / 'ca.crt'}",
            f"--token-auth-file={self.directory / 'tokens.csv'}",
            f"--kubelet-certificate-authority={pki / 'ca.crt'}",
            f"--kubelet-client-certificate={pki / 'kubelet-client.crt'}",
            f"--kubelet-client-key={pki / 'kubelet-client.key'}",
            "--kubelet-preferred-address-types=InternalIP",
            "--authorization-mode=Node,RBAC",
            "--allow-privileged=false",
            f"--service-cluster-ip-range={self.service_cidr}",
            "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
            f"--service-account-key-file={pki / 'service-account.key'}",
            f"--service-account-signing-key-file={pki / 'service-account.key'}",
            "--profiling=false",
        ]

    def _controller_manager(self) -> list[str]:
        pki = self.directory / "pki"
        kubeconfig = self.directory / "kube-controller-manager.kubeconfig"
        return [
            str(self.binaries / "kube-controller-manager"),
            f"--kubeconfig={kubeconfig}",
            f"--authentication-kubeconfig={kubeconfig}",
            f"--authorization-kubeconfig={kubeconfig}",
            f"--root-ca-file={pki / 'ca.crt'}",
            f"--service-account-private-key-file={pki / 'service-account.key'}",
            "--use-service-account-credentials=true",
            "--leader-elect=false",
            "--secure-port=0",
            # A lab's node that is killed must be seen as gone soon after its region is back.
            "--node-monitor-grace-period=20s",
            "--profiling=false",
        ]

    def _scheduler(self) -> list[str]:
        kubeconfig = self.directory / "kube-scheduler.kubeconfig"
        return [
            str(self.binaries / "kube-scheduler"),
            f"--kubeconfig={kubeconfig}",
            f"--authentication-kubeconfig={kubeconfig}",
            f"--authorization-kubeconfig={kubeconfig}",
            "--leader-elect=false",
            "--secure-port=0",
            "--profiling=false",
        ]

    def _write_tokens(self) -> None:
        path = self.directory / "tokens.json"
        known: dict[str, str] = json.loads(path.read_text()) if path.exists() else {}
        tokens = {user: known.get(user) or secrets.token_urlsafe(32) for user in ACCOUNTS}
        rows = [
            f"{token},{user},{user}" + (f',"{ACCOUNTS[user]}"' if ACCOUNTS[user] else "")
            for user, token in tokens.items()
        ]
        _write_private(path, json.dumps(tokens))
        _write_private(self.directory / "tokens.csv", "\n".join(rows) + "\n")


def _b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def _write_private(path: Path, content: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(content)
