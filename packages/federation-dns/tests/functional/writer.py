"""A writer of the zone in a process of its own, to be stopped where a test likes.

    python writer.py PORT KEY-NAME KEY-FILE ADDRESS MANY

Writes one service's address and MANY others' as the publisher does: read anew after a failure.
"""

from __future__ import annotations

import sys
from pathlib import Path

from carrying import RULES, carry_out, wanted
from federation_dns.providers.rfc2136 import Rfc2136

_PASSES = 4


def main() -> int:
    """Write until it is done."""
    port, key_name, key_file, address, many = sys.argv[1:]
    provider = Rfc2136(
        server="127.0.0.1",
        port=int(port),
        key_name=key_name,
        key_file=Path(key_file),
        rules=RULES,
        writer="slow",
        timeout=10.0,
    )
    for _ in range(_PASSES):
        done = carry_out(provider, wanted(address, int(many)), {}, RULES, None)
        sys.stderr.write(f"{done.outcome} {done.changes} {done.error}\n")
        if done.outcome != "failed":
            return 0
    return 1


if __name__ == "__main__":
    sys.exit(main())
