"""The little of a Kubernetes client that the agent needs: a kubeconfig and plain HTTPS.

The generated client costs more memory than the whole agent may have.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import os
import ssl
import tempfile
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import yaml

from federation_dns.config import ConfigError


@dataclass(frozen=True, slots=True)
class Access:
    """How to reach one cluster."""

    server: str
    context: ssl.SSLContext
    token: str | None
    token_file: Path | None = None

    def session(self) -> aiohttp.ClientSession:
        """A session whose paths are the API server's."""
        return aiohttp.ClientSession(
            base_url=f"{self.server}/",
            connector=aiohttp.TCPConnector(ssl=self.context, limit=8),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"Accept": "application/json", "User-Agent": "federation-dns"},
            read_bufsize=2**18,
        )

    def headers(self) -> dict[str, str]:
        """Authorization; a token file is read anew each time."""
        token = self.token
        if self.token_file is not None:
            with contextlib.suppress(OSError):
                token = self.token_file.read_text(encoding="ascii").strip()
        return {} if not token else {"Authorization": f"Bearer {token}"}


def read_kubeconfig(path: Path) -> Access:
    """Read the current context of a kubeconfig.

    Raises:
        ConfigError: it can't be used; the text holds no credential.
    """
    try:
        body: object = yaml.safe_load(path.read_text(encoding="utf-8"))
        if not isinstance(body, dict):
            raise TypeError
        context = _named(body, "contexts", body.get("current-context"), "context")
        cluster = _named(body, "clusters", context.get("cluster"), "cluster")
        user = _named(body, "users", context.get("user"), "user")
        return _access(cluster, user, path.parent)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"the kubeconfig {path} cannot be read") from error
    except (yaml.YAMLError, KeyError, TypeError, AttributeError, ValueError) as error:
        text = f"the kubeconfig {path} has no usable current context (server, CA, token or key)"
        raise ConfigError(text) from error


def _access(cluster: dict[str, Any], user: dict[str, Any], folder: Path) -> Access:
    server = str(cluster["server"]).rstrip("/")
    if not server.startswith("https://"):
        raise ValueError("server")
    context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH)
    authority = _data(cluster, "certificate-authority", folder)
    if authority is not None:
        context = ssl.create_default_context(cadata=authority.decode("ascii"))
    certificate = _data(user, "client-certificate", folder)
    key = _data(user, "client-key", folder)
    if certificate is not None and key is not None:
        with _as_file(certificate + b"\n" + key) as file:
            context.load_cert_chain(file)
    token_file = user.get("tokenFile")
    return Access(
        server,
        context,
        user.get("token"),
        None if token_file is None else folder / str(token_file),
    )


def _named(body: dict[Any, Any], kind: str, name: object, key: str) -> dict[str, Any]:
    for entry in body[kind]:
        if entry["name"] == name:
            found: object = entry[key]
            if isinstance(found, dict):
                return found
    raise KeyError(kind)


def _data(entry: dict[str, Any], key: str, folder: Path) -> bytes | None:
    if f"{key}-data" in entry:
        try:
            return base64.b64decode(entry[f"{key}-data"], validate=True)
        except binascii.Error as error:
            raise ValueError(key) from error
    return (folder / str(entry[key])).read_bytes() if key in entry else None


@contextlib.contextmanager
def _as_file(data: bytes) -> Generator[str]:
    """Python's ssl loads a client's key from a file only; this one is in memory."""
    handle = os.memfd_create("client-key") if hasattr(os, "memfd_create") else None
    if handle is None:
        with tempfile.NamedTemporaryFile() as file:
            file.write(data)
            file.flush()
            yield file.name
        return
    try:
        os.write(handle, data)
        yield f"/proc/self/fd/{handle}"
    finally:
        os.close(handle)
