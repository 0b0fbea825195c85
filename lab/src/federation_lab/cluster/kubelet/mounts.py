"""The volumes of one pod on disk: filled before its start, kept up to date after it."""

from __future__ import annotations

import asyncio
import datetime
import logging
from collections.abc import Callable, Iterable
from pathlib import Path

from federation_lab.cluster.kube import UNREACHABLE, ApiError, KubeApi, Object
from federation_lab.cluster.kubelet import volumes
from federation_lab.cluster.kubelet.environment import MissingReferenceError
from federation_lab.cluster.kubelet.status import parse_time

REFRESH_SECONDS = 20.0
# A token is replaced when this part of its life is left.
TOKEN_REST = 0.2
COLLECTIONS = {"ConfigMap": "configmaps", "Secret": "secrets"}

logger = logging.getLogger(__name__)


class PodVolumes:
    """All volumes of one pod.

    Args:
        api: where their content comes from.
        directory: gets a directory for each volume.
        pod: gives the pod's object as it is now.
    """

    def __init__(self, api: KubeApi, directory: Path, pod: Callable[[], Object]) -> None:
        self._api = api
        self._directory = directory
        self._pod = pod
        self._tokens: dict[tuple[str, int], tuple[str, datetime.datetime]] = {}

    def paths(self) -> dict[str, Path]:
        """Give the directory of each volume."""
        return {
            volume["name"]: self._directory / volume["name"]
            for volume in self._pod()["spec"].get("volumes") or []
        }

    async def keep(self) -> None:
        """Refresh for ever; what cannot be read now stays as it is."""
        while True:
            await asyncio.sleep(REFRESH_SECONDS)
            try:
                await self.refresh()
            except (MissingReferenceError, ApiError, *UNREACHABLE) as error:
                logger.info("volumes of %s stay as they are: %s", self._directory, error)

    async def refresh(self) -> None:
        """Bring all volumes up to date.

        Raises:
            MissingReferenceError: an object that must be shown isn't there.
            ApiError: the API server refused to give one.
        """
        pod = self._pod()
        # The parent is this program's alone, so a secret's file mode needn't guard it.
        self._directory.parent.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        objects = await self.fetch(volumes.references(pod))
        for key in volumes.token_requests(pod):
            await self._token(pod, *key)
        tokens = {key: token for key, (token, _) in self._tokens.items()}
        for volume in pod["spec"].get("volumes") or []:
            directory = self._directory / volume["name"]
            wanted = volumes.files(pod, volume, objects, tokens)
            if wanted is not None:
                volumes.write(directory, wanted)
            elif not directory.exists():
                directory.mkdir(parents=True)
                directory.chmod(0o777)

    async def fetch(
        self, references: Iterable[tuple[str, str]]
    ) -> dict[tuple[str, str], Object | None]:
        """Get ConfigMaps and Secrets of the pod's namespace, all at once."""
        keys = list(references)
        namespace = self._pod()["metadata"]["namespace"]
        found = await asyncio.gather(
            *(
                self._api.get(f"/api/v1/namespaces/{namespace}/{COLLECTIONS[kind]}/{name}")
                for kind, name in keys
            )
        )
        return dict(zip(keys, found, strict=True))

    async def _token(self, pod: Object, audience: str, seconds: int) -> None:
        now = datetime.datetime.now(datetime.UTC)
        known = self._tokens.get((audience, seconds))
        if known is not None and now < known[1]:
            return
        metadata = pod["metadata"]
        account = pod["spec"].get("serviceAccountName") or "default"
        bound = {
            "apiVersion": "v1",
            "kind": "Pod",
            "name": metadata["name"],
            "uid": metadata["uid"],
        }
        answer = await self._api.request(
            "POST",
            f"/api/v1/namespaces/{metadata['namespace']}/serviceaccounts/{account}/token",
            body={
                "apiVersion": "authentication.k8s.io/v1",
                "kind": "TokenRequest",
                "spec": {
                    "audiences": [audience] if audience else [],
                    "expirationSeconds": seconds,
                    "boundObjectRef": bound,
                },
            },
        )
        given = answer["status"]
        expires = parse_time(given["expirationTimestamp"]) or now
        renew = now + (expires - now) * (1 - TOKEN_REST)
        self._tokens[audience, seconds] = (given["token"], renew)
