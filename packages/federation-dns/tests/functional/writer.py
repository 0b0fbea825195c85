"""A writer of the zone in a process of its own, to be stopped where a test likes.

    python writer.py PORT KEY-NAME KEY-FILE ADDRESS MANY

Writes one service's address and MANY others' as the publisher does: read anew after a failure.
"""

from __future__ import annotations

import sys
from pathlib import Path

from federation_dns.passes import carry_out
from federation_dns.plan import Rules
from federation_dns.providers.rfc2136 import Rfc2136
from federation_dns.zone import Key, RecordSet, Zone

ZONE = "federation.example"
RULES = Rules(zone=ZONE, federation=ZONE, lifted=True)
WEB = f"web.shop.svc.{ZONE}"
_PASSES = 4


def wanted(web: str, many: int = 0) -> Zone:
    """What is to be in the zone: all there is of ours."""
    names = {WEB: web, **{f"s{i}.shop.svc.{ZONE}": f"10.1.1.{i}" for i in range(many)}}
    records: dict[Key, RecordSet] = {
        (name, "A"): RecordSet(name, "A", 15, (value,)) for name, value in names.items()
    }
    return Zone(records, complete=True)


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
