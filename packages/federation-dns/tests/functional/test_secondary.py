"""Somebody else's server (here another named): told at once, and of several regions the newest."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from federation_dns import bind, keys

from .conftest import NAMED, ZONE, Region, eventually

OTHERS = "the-secondaries"
AT = "127.0.0.3"
NEW = f"new.{ZONE}"


class Secondary(Region):
    """Only its server counts here."""

    def serve(self, primaries: list[Region], key: str) -> None:
        folder = self.folder / "named"
        folder.mkdir()
        servers = " ".join(f'127.0.0.1 port {p.dns_port} key "{OTHERS}";' for p in primaries)
        (folder / "named.conf").write_text(
            f"""{key}
options {{
\tdirectory "{folder}";
\tpid-file none;
\tsession-keyfile none;
\tlisten-on port {self.dns_port} {{ 127.0.0.1; }};
\tlisten-on-v6 {{ none; }};
\ttransfer-source {AT};
\trecursion no;
\tdnssec-validation no;
\tmin-refresh-time 1;
}};
controls {{ }};
zone "{ZONE}" {{
\ttype secondary;
\tfile "copy.db";
\tmulti-master yes;
\tprimaries {{ {servers} }};
}};
"""
        )
        self.spawn_named()


@pytest.mark.skipif(not Path(NAMED).exists(), reason="no named")
def test_a_secondary_has_the_newest_of_the_regions_zones(tmp_path: Path) -> None:
    secret = keys.new_secret()
    key = bind.key_file(OTHERS, secret)
    path = tmp_path / "others.key"
    path.write_text(key)
    copy = Secondary("copy", tmp_path / "copy", 9)
    one, other = (Region(n, tmp_path / n, i) for i, n in enumerate(("catania", "napoli"), 1))
    try:
        for region in (one, other):
            region.start_named(secondaries=bind.Secondaries((AT,), OTHERS, str(path)))
            _point_at(region, copy.dns_port)
        copy.serve([one, other], key)
        # One region writes, then it dies; what the other says later is newer. A withdrawal comes
        # 5 s after the last word; serials of several updates in one second run ahead by as much.
        for last in (1, 2, 3):
            one.update(lambda u, last=last: u.replace(f"{NEW}.", 15, "A", f"10.1.0.{last}"))
        eventually(lambda: copy.ask(NEW) == ["10.1.0.3"], 60, "the first region's change is there")
        assert one.named is not None
        one.named.kill()
        one.named.wait(10)
        time.sleep(4)
        other.update(lambda u: u.replace(f"{NEW}.", 15, "A", "10.1.0.9"))
        eventually(lambda: copy.ask(NEW) == ["10.1.0.9"], 60, "the other region's is")
    finally:
        for region in (one, other, copy):
            region.stop()


def _point_at(region: Region, port: int) -> None:
    """NOTIFY goes to port 53 in production, and named listens at addresses of interfaces only."""
    conf = region.folder / "named" / "named.conf"
    text = conf.read_text().replace(
        f"also-notify {{ {AT} ", f"also-notify {{ 127.0.0.1 port {port} "
    )
    assert f"port {port} key" in text
    conf.write_text(text)
    assert region.named is not None
    region.named.terminate()
    region.named.wait(10)
    region.spawn_named()
