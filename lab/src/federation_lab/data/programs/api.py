"""The example's API: answers with its pod's name to whoever shows the token."""

import hmac
import json
import os
import pathlib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

TOKEN_FILE = pathlib.Path("/run/api/token")


class Handler(BaseHTTPRequestHandler):
    """Serves /healthz to all and everything else to holders of the token."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Answer one request."""
        if self.path == "/healthz":
            self.answer(200, {"ok": True})
            return
        shown = self.headers.get("Authorization", "").removeprefix("Bearer ")
        if not hmac.compare_digest(shown.encode(), TOKEN_FILE.read_text().strip().encode()):
            self.answer(401, {"error": "the token is wrong"})
            return
        self.answer(200, {"pod": os.environ.get("POD_NAME", "")})

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


if __name__ == "__main__":
    ThreadingHTTPServer(("", 8080), Handler).serve_forever()  # a pod listens on all its addresses
