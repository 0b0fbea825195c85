"""API servers as this package talks to them: objects as plain data, every call bounded.

`Resources` is the one place where requests are made (the controller has an asynchronous twin) and
where the client library's exceptions become `kubefed.errors`.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Generator, Mapping
from pathlib import Path

import urllib3.exceptions
from kubernetes import config
from kubernetes.client import ApiClient, ApiException, Configuration

from kubefed import errors
from kubefed.api import FIELD_MANAGER, Manifest, TargetKind
from kubefed.dryrun import current_plan, label

DEFAULT_TIMEOUT_S = 10.0
_PAGE = 500


def from_kubeconfig(path: Path | None = None, context: str | None = None) -> ApiClient:
    """Give a client for a context of a kubeconfig.

    Args:
        path: the file; None for $KUBECONFIG or ~/.kube/config.
        context: the context; None for the file's current one.

    Raises:
        errors.UsageError: there is no such file or context.
    """
    settings = _configuration()
    try:
        config.load_kube_config(
            config_file=str(path) if path else None,
            context=context,
            client_configuration=settings,
            persist_config=False,
        )
    except (config.ConfigException, OSError) as error:
        where = path or os.environ.get("KUBECONFIG") or "~/.kube/config"
        wanted = f"context '{context}'" if context else "the current context"
        raise errors.UsageError(f"cannot use {wanted} of kubeconfig {where}: {error}") from error
    return ApiClient(settings)


def from_token(endpoint: str, token: str, ca_bundle: str = "") -> ApiClient:
    """Give a client for an endpoint.

    Args:
        endpoint: the API server's URL; https if it names no scheme.
        token: a bearer token.
        ca_bundle: certificates in PEM to check the endpoint by; empty for the system's.
    """
    settings = _configuration()
    settings.host = endpoint if "://" in endpoint else f"https://{endpoint}"
    settings.host = settings.host.rstrip("/")
    settings.api_key = {"authorization": token}
    settings.api_key_prefix = {"authorization": "Bearer"}
    if ca_bundle:
        settings.ca_cert_data = ca_bundle
    return ApiClient(settings)


def _configuration() -> Configuration:
    settings = Configuration()
    # Whoever calls decides on trying again; urllib3's own tries would multiply every bound.
    settings.retries = False
    return settings


class Resources:
    """The objects of one cluster, as plain data.

    Args:
        api: the cluster's client.
        timeout_s: the longest wait of each call, connecting and reading apart.
        dry_run: let the API server check every write and do none.
    """

    def __init__(
        self, api: ApiClient, *, timeout_s: float = DEFAULT_TIMEOUT_S, dry_run: bool = False
    ) -> None:
        self.api = api
        self.dry_run = dry_run
        self._plan = current_plan()
        self._timeout = (min(timeout_s, 5.0), timeout_s)

    def get(self, kind: TargetKind, name: str, namespace: str | None = None) -> Manifest | None:
        """Give an object, or None if it or its kind doesn't exist."""
        try:
            return self.request(
                "GET", kind.path(namespace, name), what=f"read {label(kind, name, namespace)}"
            )
        except errors.NotFound:
            return None

    def list(
        self,
        kind: TargetKind,
        namespace: str | None = None,
        *,
        selector: str = "",
        fields: str = "",
    ) -> list[Manifest]:
        """Give all objects of a kind; none if the kind doesn't exist.

        Args:
            kind: the kind.
            namespace: of one namespace only.
            selector: a selector of labels.
            fields: a selector of fields.
        """
        items: list[Manifest] = []
        query = {"limit": str(_PAGE)}
        query |= {"labelSelector": selector} if selector else {}
        query |= {"fieldSelector": fields} if fields else {}
        while True:
            try:
                page = self.request(
                    "GET", kind.path(namespace), query=query, what=f"list {kind.full_name}"
                )
            except errors.NotFound:
                return items
            # Items of a list don't say their kind.
            items += [
                {"apiVersion": kind.api_version, "kind": kind.kind, **item}
                for item in page.get("items") or []
            ]
            token = (page.get("metadata") or {}).get("continue")
            if not token:
                return items
            query["continue"] = token

    def create(self, kind: TargetKind, manifest: Manifest) -> Manifest:
        """Create an object.

        Raises:
            errors.Conflict: there is one of that name.
        """
        name, namespace = _identity(manifest)
        self._note("create", kind, name, namespace)
        with self._unhoused(kind, namespace):
            return self.request(
                "POST",
                kind.path(namespace),
                body=manifest,
                query={"fieldManager": FIELD_MANAGER},
                what=f"create {label(kind, name, namespace)}",
            )
        return manifest

    def apply(self, kind: TargetKind, manifest: Manifest) -> bool:
        """Make an object be as given (server-side apply); say whether that changed anything.

        Fields that others set and the manifest doesn't name are kept; nothing is written when
        nothing differs.
        """
        name, namespace = _identity(manifest)
        before = self.get(kind, name, namespace)
        after = self._put(kind, manifest)
        # A dry run gives the old resourceVersion, whatever it would change.
        changed = before is None or _content(before) != _content(after)
        if changed:
            self._note("change" if before else "create", kind, name, namespace)
        return changed

    def put(self, kind: TargetKind, manifest: Manifest) -> Manifest:
        """As `apply`, with one request, for whom it is all the same what was there before."""
        if self.dry_run:
            _ = self.apply(kind, manifest)
            return manifest
        return self._put(kind, manifest)

    def _put(self, kind: TargetKind, manifest: Manifest) -> Manifest:
        name, namespace = _identity(manifest)
        with self._unhoused(kind, namespace):
            return self.request(
                "PATCH",
                kind.path(namespace, name),
                body=manifest,
                query={"fieldManager": FIELD_MANAGER, "force": "true"},
                content_type="application/apply-patch+yaml",
                what=f"apply {label(kind, name, namespace)}",
            )
        return manifest

    def replace(self, kind: TargetKind, manifest: Manifest) -> Manifest:
        """Write an object whole; it must carry the resourceVersion that it was read with.

        Raises:
            errors.Conflict: somebody else wrote it since.
        """
        name, namespace = _identity(manifest)
        self._note("change", kind, name, namespace)
        return self.request(
            "PUT",
            kind.path(namespace, name),
            body=manifest,
            query={"fieldManager": FIELD_MANAGER},
            what=f"replace {label(kind, name, namespace)}",
        )

    def patch(
        self, kind: TargetKind, name: str, namespace: str | None, change: Manifest
    ) -> Manifest:
        """Change an object by a JSON merge patch (RFC 7386)."""
        self._note("change", kind, name, namespace)
        return self.request(
            "PATCH",
            kind.path(namespace, name),
            body=change,
            query={"fieldManager": FIELD_MANAGER},
            content_type="application/merge-patch+json",
            what=f"change {label(kind, name, namespace)}",
        )

    def delete(self, kind: TargetKind, name: str, namespace: str | None = None) -> bool:
        """Delete an object; say whether there was one."""
        options: Manifest = {"propagationPolicy": "Background"}
        if self.dry_run:
            # Options in the body go before those in the URL, which are then not read.
            options["dryRun"] = ["All"]
        try:
            self.request(
                "DELETE",
                kind.path(namespace, name),
                body=options,
                what=f"delete {label(kind, name, namespace)}",
            )
        except errors.NotFound:
            return False
        self._note("delete", kind, name, namespace)
        return True

    def _note(self, verb: str, kind: TargetKind, name: str, namespace: str | None) -> None:
        if self.dry_run:
            self._plan.note(verb, kind, name, namespace)

    @contextlib.contextmanager
    def _unhoused(self, kind: TargetKind, namespace: str | None) -> Generator[None]:
        """Pass over "not found" in a dry run where the object's home would be made before it."""
        try:
            yield
        except errors.NotFound:
            if not (self.dry_run and self._plan.will_house(kind, namespace)):
                raise

    def request(
        self,
        method: str,
        path: str,
        *,
        what: str,
        body: Manifest | None = None,
        query: Mapping[str, str] | None = None,
        content_type: str = "application/json",
        accept: str = "application/json",
    ) -> Manifest:
        """Make one request and give the decoded answer.

        Args:
            method: the HTTP method.
            path: the path, from the root of the API server.
            what: what is being done, for errors: "create Secret a/b".
            body: the object to send.
            query: further parameters of the URL.
            content_type: how the body is meant.
            accept: what the answer is to be.

        Raises:
            errors.KubefedError: the translated failure.
        """
        parameters = dict(query or {})
        if self.dry_run and method not in ("GET", "HEAD"):
            parameters["dryRun"] = "All"
        headers = {"Accept": accept, "Content-Type": content_type}
        _, url, headers, sent, _ = self.api.param_serialize(
            method,
            path,
            query_params=list(parameters.items()),
            header_params=headers,
            body=body,
            auth_settings=["BearerToken"],
        )
        try:
            response = self.api.call_api(
                method, url, headers, sent, _request_timeout=self._timeout
            )
            status, data = response.status, response.read()
        except (ApiException, urllib3.exceptions.HTTPError, OSError) as error:
            raise _not_answered(error, what, self.api.configuration.host) from error
        if not 200 <= status <= 299:
            raise refusal(status, data, what, self.api.configuration.host)
        return _decoded(data, what, self.api.configuration.host)


def refusal(status: int, data: bytes, what: str, host: str) -> errors.KubefedError:
    """Translate an API server's refusal (the `Status` object of the Kubernetes API).

    Args:
        status: the HTTP status.
        data: the body of the answer.
        what: what was being done.
        host: the API server.
    """
    reason = message_of(data) or f"HTTP status {status}"
    text = f"cannot {what} at {host}: {reason}"
    if status == 401:
        return errors.Unauthorized(f"cannot {what} at {host}: the token is refused; renew it")
    if status == 403:
        return errors.Forbidden(text)
    if status == 404:
        return errors.NotFound(text)
    if status == 409:
        return errors.Conflict(text)
    if status == 429 or status >= 500:
        return errors.RetryLater(text)
    return errors.Refused(text)


def message_of(data: bytes) -> str:
    """Give the message of a `Status`, or "" if the body is something else."""
    try:
        body = json.loads(data)
    except ValueError:
        return ""
    return str(body.get("message") or "") if isinstance(body, dict) else ""


def _content(manifest: Manifest) -> Manifest:
    changing = ("managedFields", "resourceVersion", "generation")
    metadata = {k: v for k, v in manifest["metadata"].items() if k not in changing}
    return {**manifest, "metadata": metadata}


def _identity(manifest: Manifest) -> tuple[str, str | None]:
    metadata = manifest["metadata"]
    return metadata["name"], metadata.get("namespace")


def _not_answered(error: Exception, what: str, host: str) -> errors.KubefedError:
    if isinstance(error, urllib3.exceptions.MaxRetryError) and error.reason:
        error = error.reason
    text = str(error.reason if isinstance(error, ApiException) else error)
    if "CERTIFICATE_VERIFY_FAILED" in text:
        return errors.UntrustedCertificate(
            f"cannot {what}: the certificate of {host} is not signed by the given CA; "
            "correct the CA bundle or the address"
        )
    if isinstance(error, urllib3.exceptions.TimeoutError):
        text = "no answer in time"
    return errors.Unreachable(
        f"cannot {what}: {host} is unreachable ({text}); is the API server running, and can this "
        "machine reach it?"
    )


def _decoded(data: bytes, what: str, host: str) -> Manifest:
    try:
        body = json.loads(data)
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise errors.RetryLater(f"cannot {what}: {host} answered with something that is not JSON")
    return body
