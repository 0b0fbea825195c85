# pyright: basic, reportMissingImports=false
"""What the services' processes share; runs in the environment of install.py."""

import socketserver
from wsgiref import simple_server

from sqlalchemy import event
from sqlalchemy.engine import Engine


@event.listens_for(Engine, "before_cursor_execute", retval=True)
def take_the_lock_first(_conn, _cursor, statement, parameters, _context, _many):
    """A transaction waits for SQLite's lock at once; two that read first could only fail."""
    return ("BEGIN IMMEDIATE" if statement == "BEGIN" else statement), parameters


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
