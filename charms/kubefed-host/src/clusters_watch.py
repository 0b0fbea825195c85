"""The program of the service that has this charm's status follow the federation's clusters.

    clusters_watch.py KUBECONFIG NAMESPACE DIRECTORY UNIT DISPATCH

It lists the KubeFedClusters every two seconds, as the charm would. It runs as root, since
juju-exec needs it, and for ever, so it imports only what it must.
"""

import base64
import http.client
import json
import ssl
import sys
from typing import Any
from urllib.parse import urlsplit

import clusters_told
from status_follower import loop

EVENT = "clusters_changed"
PAUSE_S = 2.0
ANSWER_S = 3.0
_MOST_BYTES = 8 << 20
# The last four: it is no list of clusters.
_NO_ANSWER = (
    OSError,
    http.client.HTTPException,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
)


class Clusters:
    """The federation's clusters in the host cluster, over one connection that is kept.

    Args:
        kubeconfig: path of a kubeconfig; the charm writes it anew with each token.
        namespace: the federation's.
    """

    def __init__(self, kubeconfig: str, namespace: str):
        self._path = kubeconfig
        self._namespace = namespace
        self._written = ""
        self._token = ""
        self._base = ""
        self._kept: http.client.HTTPSConnection | None = None

    def look(self, said: str | None, _since: float) -> str:
        """Say what an operator should be told of them.

        Args:
            said: what the status says, None if nothing yet.
        """
        was_kept = self._kept is not None
        found = self._list()
        if found is None and was_kept:
            found = self._list()  # a kept connection may have ended; that is no silence
        return clusters_told.SILENT if found is None else clusters_told.seen(found, said)

    def _list(self) -> list[dict[str, Any]] | None:
        try:
            connection = self._open()
            headers = {"Authorization": f"Bearer {self._token}"}
            connection.request(
                "GET", self._base + clusters_told.path(self._namespace), None, headers
            )
            answer = connection.getresponse()
            body = answer.read(_MOST_BYTES)
            if answer.status != http.client.OK:
                raise ValueError(answer.status)
            return [clusters_told.state_of(each) for each in json.loads(body)["items"]]
        except _NO_ANSWER:
            self.close()
            return None

    def _open(self) -> http.client.HTTPSConnection:
        """Return the connection, another one after another kubeconfig was written."""
        with open(self._path, encoding="utf-8") as file:
            text = file.read()
        if text != self._written:
            self.close()
        if self._kept is None:
            content = json.loads(text)
            cluster = content["clusters"][0]["cluster"]
            self._token = content["users"][0]["user"]["token"]
            authority = base64.b64decode(cluster["certificate-authority-data"]).decode()
            context = ssl.create_default_context(cadata=authority)
            parts = urlsplit(cluster["server"])
            self._base = parts.path
            self._kept = http.client.HTTPSConnection(
                parts.hostname or "", parts.port or 443, timeout=ANSWER_S, context=context
            )
            self._written = text
        return self._kept

    def close(self) -> None:
        """End the connection."""
        if self._kept is not None:
            self._kept.close()
        self._kept = None


def main() -> None:
    """Have the status follow the clusters, for ever."""
    kubeconfig, namespace, directory, unit, dispatch = sys.argv[1:]
    clusters = Clusters(kubeconfig, namespace)
    argv = loop.command(unit, dispatch, EVENT)
    loop.follow(clusters.look, directory, argv, PAUSE_S)


if __name__ == "__main__":
    main()
