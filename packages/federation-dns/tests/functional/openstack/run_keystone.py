# pyright: basic, reportMissingImports=false
"""Keystone in one process; runs in the environment of install.py: CONFIG_DIR ADDRESS PORT."""

import os
import socketserver
import sys
from wsgiref import simple_server


class Server(socketserver.ThreadingMixIn, simple_server.WSGIServer):
    """One thread a connection; the host is never looked up."""

    daemon_threads = True
    request_queue_size = 64

    def server_bind(self):
        """Bind, without asking DNS for one's own name."""
        socketserver.TCPServer.server_bind(self)
        self.server_name = str(self.server_address[0])
        self.server_port = int(self.server_address[1])
        self.setup_environ()


class Handler(simple_server.WSGIRequestHandler):
    """Logs nothing."""

    def log_message(self, *_):
        """Logs nothing."""

    def address_string(self):
        """The address, not a name."""
        return self.client_address[0]


def serve(app, address, port):
    """Serve until killed."""
    with simple_server.make_server(
        address, port, app, server_class=Server, handler_class=Handler
    ) as server:
        server.serve_forever()


if __name__ == "__main__":
    folder, address, port = sys.argv[1:]
    sys.argv = sys.argv[:1]  # Keystone reads them when it is imported
    os.environ["OS_KEYSTONE_CONFIG_DIR"] = folder
    from keystone.wsgi.api import application

    serve(application, address, int(port))
