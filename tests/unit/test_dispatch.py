"""What Juju runs of our charms: one program, which shows ops its tracing where it is wanted."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CHARMS = ("kubefed-host", "kubefed-member", "federation-dns")
# In the place of the charm: says what it was found by, and ends as it is told.
PROGRAM = """\
#!/bin/sh
echo "$PYTHONPATH" >seen
echo "$*" >>seen
exit "${ENDS:-0}"
"""
TRACES = ".tracing-data.db"


@pytest.fixture(params=CHARMS)
def charm(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A charm's folder with its dispatch, and something that only looks."""
    folder = tmp_path / "charm"
    (folder / "venv/bin").mkdir(parents=True)
    shutil.copy(ROOT / "charms" / request.param / "dispatch", folder)
    python = folder / "venv/bin/python"
    python.write_text(PROGRAM)
    python.chmod(0o755)
    return folder


def dispatch(charm: Path, event: str, ends: int = 0) -> tuple[list[str], int]:
    """Run an event and give the folders that Python looked in, and how it ended."""
    environment = {"PATH": os.environ["PATH"], "JUJU_DISPATCH_PATH": event, "ENDS": str(ends)}
    done = subprocess.run([charm / "dispatch"], env=environment, cwd="/", timeout=30, check=False)
    path, program = (charm / "seen").read_text().splitlines()
    assert program == "src/charm.py"
    return [str(Path(each).relative_to(charm)) for each in path.split(":")], done.returncode


@pytest.mark.parametrize(
    "event",
    [
        "hooks/install",
        "hooks/update-status",
        "actions/backup",
        "hooks/receive-ca-cert-relation-changed",
        "",
    ],
)
def test_nothing_is_traced_for_nobody(charm: Path, event: str):
    assert dispatch(charm, event) == (["lib", "src"], 0)


def test_it_is_traced_from_the_relations_first_event_to_its_last(charm: Path):
    assert dispatch(charm, "hooks/charm-tracing-relation-created") == (
        ["lib", "src", "tracing"],
        0,
    )
    (charm / TRACES).touch()  # what ops.tracing keeps traces in
    (charm / f"{TRACES}-journal").touch()
    assert dispatch(charm, "hooks/update-status") == (["lib", "src", "tracing"], 0)
    assert dispatch(charm, "actions/backup") == (["lib", "src", "tracing"], 0)
    last = "hooks/charm-tracing-relation-broken"
    # Juju runs a hook that failed again; until it is through, all stays.
    assert dispatch(charm, last, ends=3) == (["lib", "src", "tracing"], 3)
    assert (charm / TRACES).exists()
    assert dispatch(charm, last) == (["lib", "src", "tracing"], 0)
    assert not list(charm.glob(f"{TRACES}*"))
    assert dispatch(charm, "hooks/update-status") == (["lib", "src"], 0)


def test_the_charms_failure_is_juju_s(charm: Path):
    assert dispatch(charm, "hooks/start", ends=1) == (["lib", "src"], 1)


def test_it_is_one_program(charm: Path):
    texts = {(ROOT / "charms" / name / "dispatch").read_text() for name in CHARMS}
    assert len(texts) == 1
    assert os.access(charm / "dispatch", os.X_OK)
