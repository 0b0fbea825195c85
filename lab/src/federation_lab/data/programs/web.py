"""The example's front: an answer that names its pod, its region and the API's pod behind it."""

import json
import os
import pathlib
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

TOKEN_FILE = pathlib.Path("/run/api/token")
API_SECONDS = 2


class Handler(BaseHTTPRequestHandler):
    """Serves /healthz, and the greeting on every other path."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Answer one request."""
        if self.path == "/healthz":
            self.answer(200, {"ok": True})
            return
        body = {
            "greeting": os.environ.get("GREETING", ""),
            "pod": os.environ.get("POD_NAME", ""),
            "region": os.environ.get("REGION", ""),
        }
        try:
            body["api"] = ask_api()
        except (OSError, ValueError) as error:
            self.answer(502, {**body, "error": f"the API behind me does not answer: {error}"})
            return
        self.answer(200, body)

    def answer(self, status: int, body: dict[str, Any]) -> None:
        """Send one JSON answer."""
        content = json.dumps(body).encode() + b"\n"
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing for each request; the lab asks often."""


def ask_api() -> str:
    """Ask the API for its pod's name."""
    # The address is whoever deploys the pod's to choose, so any scheme is theirs.
    request = urllib.request.Request(  # noqa: S310
        os.environ.get("API_URL", "http://api:8080"),
        headers={"Authorization": f"Bearer {TOKEN_FILE.read_text().strip()}"},
    )
    with urllib.request.urlopen(request, timeout=API_SECONDS) as response:  # noqa: S310
        return json.load(response)["pod"]


if __name__ == "__main__":
    ThreadingHTTPServer(("", 8080), Handler).serve_forever()  # a pod listens on all its addresses
