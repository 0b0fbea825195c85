from pathlib import Path

from federation_interfaces.files import hand_over, make_directory, write_file


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o7777


def test_a_file_has_its_mode_from_the_start(tmp_path: Path):
    path = tmp_path / "deep" / "token"
    assert write_file(path, "x")
    assert mode(path) == 0o600
    assert path.read_text() == "x"


def test_nothing_changes_twice(tmp_path: Path):
    path = tmp_path / "conf"
    assert write_file(path, "x", mode=0o644)
    path.chmod(0o600)
    assert not write_file(path, "x", mode=0o644)
    assert mode(path) == 0o644
    assert write_file(path, "y", mode=0o640)
    assert (path.read_text(), mode(path)) == ("y", 0o640)


def test_what_an_earlier_crash_left_is_no_hindrance(tmp_path: Path):
    _ = (tmp_path / ".conf.new").write_text("half")
    assert write_file(tmp_path / "conf", "whole")
    assert [each.name for each in tmp_path.iterdir()] == ["conf"]


def test_directories(tmp_path: Path):
    make_directory(tmp_path / "a" / "b", mode=0o750)
    make_directory(tmp_path / "a" / "b", mode=0o700)
    assert mode(tmp_path / "a" / "b") == 0o700


def test_owners(tmp_path: Path):
    path = tmp_path / "key"
    _ = write_file(path, "x", user="root", group="root")
    hand_over(path, group="root")
    hand_over(path)
    assert path.stat().st_uid == path.stat().st_gid
