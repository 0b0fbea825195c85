"""A hook tool: hands its command line to the agent and prints the answer.

Runs in the machine under each tool's name by ``python3 -I -S``, so it may import nothing that
costs time; it is copied there as it stands. The agent reads the arguments, because only it knows
what they mean; files that they name are read here, because only here are they to be seen.
"""

# ruff: noqa: T201
import _socket  # the plain module: socket.py would double the time this takes
import sys


def frames(parts: list[bytes]) -> bytes:
    """Parts as one message: their number, then each with its length before it."""
    message = len(parts).to_bytes(4, "big")
    for part in parts:
        message += len(part).to_bytes(4, "big") + part
    return message


def read(connection: "_socket.socket", size: int) -> bytes:
    """Exactly so many bytes."""
    data = b""
    while len(data) < size:
        more = connection.recv(min(size - len(data), 65536))
        if not more:
            raise OSError("the agent closed the connection")
        data += more
    return data


def number(connection: "_socket.socket") -> int:
    """A number of four bytes."""
    return int.from_bytes(read(connection, 4), "big")


def attached(arguments: list[str]) -> list[bytes]:
    """Name and content of the files that arguments name; ``-`` is standard input."""
    found: list[bytes] = []
    for index, argument in enumerate(arguments):
        name = ""
        if argument == "--file" and index + 1 < len(arguments):
            name = arguments[index + 1]
        elif argument.startswith("--file="):
            name = argument[7:]
        elif "#file=" in argument:
            name = argument.partition("#file=")[2]
        if name == "-":
            found += [b"-", sys.stdin.buffer.read()]
        elif name:
            with open(name, "rb") as file:
                found += [name.encode(), file.read()]
    return found


def main() -> int:
    """One call of a tool.

    Returns:
        The exit code that the agent answers.
    """
    import os

    tool = os.path.basename(sys.argv[0])
    address = os.environ.get("JUJU_AGENT_SOCKET_ADDRESS", "")
    context = os.environ.get("JUJU_CONTEXT_ID", "")
    if not address or not context:
        print(f"ERROR {tool} runs in a hook only: JUJU_CONTEXT_ID is not set", file=sys.stderr)
        return 1
    try:
        files = attached(sys.argv[1:])
        arguments = [a.encode("utf-8", "surrogateescape") for a in [tool, *sys.argv[1:]]]
        head = [context.encode(), str(len(arguments)).encode()]
        connection = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
        connection.connect(address)
        connection.sendall(frames(head + arguments + files))
        number(connection)
        code, out, err = (read(connection, number(connection)) for _ in range(3))
    except OSError as error:
        print(f"ERROR {error}", file=sys.stderr)
        return 1
    sys.stdout.buffer.write(out)
    sys.stderr.buffer.write(err)
    return int(code)


if __name__ == "__main__":
    sys.exit(main())
