from pathlib import Path

import pytest
from federation_lab.cluster.kubelet.server import tail_offset


@pytest.mark.parametrize(
    ("content", "lines", "rest"),
    [
        (b"", 3, b""),
        (b"a\nb\nc\n", 1, b"c\n"),
        (b"a\nb\nc\n", 2, b"b\nc\n"),
        (b"a\nb\nc\n", 9, b"a\nb\nc\n"),
        (b"a\nb\nc", 1, b"c"),
        (b"a\nb\nc\n", 0, b""),
        (b"x" * 40_000 + b"\nlast\n", 1, b"last\n"),
        (b"one\n" + b"y" * 40_000 + b"\n", 1, b"y" * 40_000 + b"\n"),
    ],
)
def test_the_last_lines(tmp_path: Path, content: bytes, lines: int, rest: bytes) -> None:
    log = tmp_path / "log"
    log.write_bytes(content)
    assert content[tail_offset(log, lines) :] == rest
