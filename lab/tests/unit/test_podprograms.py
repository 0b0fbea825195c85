import os
from pathlib import Path

import pytest
import yaml
from federation_lab import podprograms
from federation_lab.cluster.kubelet.images import Images
from federation_lab.errors import LabError
from federation_lab.paths import Paths
from federation_lab.podprograms import Wish, parse

IMAGE = "registry.example.org/team/web"


@pytest.fixture
def lab(tmp_path: Path) -> Paths:
    home = tmp_path / "home"
    home.mkdir()
    return Paths(home=home, cache=tmp_path / "cache", lab_id=7)


@pytest.fixture
def program(tmp_path: Path) -> Path:
    path = tmp_path / "web"
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return path


def images(lab: Paths) -> Images:
    """What each region's node is told."""
    path = podprograms.overlay(lab)
    assert path is not None
    options = yaml.safe_load(path.read_text())["applications"]["kubernetes-control-plane"]
    return Images.parse(options["options"]["images"])


class TestParse:
    def test_an_image_and_a_command_with_its_words(self):
        assert parse(f"{IMAGE}:1=web --name 'a b'") == Wish(f"{IMAGE}:1", ("web", "--name", "a b"))
        assert parse("busybox=/bin/sh").image == "docker.io/library/busybox"

    def test_nothing_takes_it_back(self):
        assert parse(f"{IMAGE}=").words == ()

    @pytest.mark.parametrize("text", ["", "web", "=web", "a b=c", "-x=y"])
    def test_something_else(self, text: str):
        with pytest.raises(LabError, match="expected IMAGE=COMMAND, such as"):
            parse(text)

    def test_an_open_quote(self):
        with pytest.raises(LabError, match="is no command: No closing quotation"):
            parse(f"{IMAGE}=web 'a")


class TestPlace:
    def test_a_program_of_the_base_system_stays_where_it_is(self, lab: Paths):
        assert podprograms.place(lab, parse(f"{IMAGE}=/usr/bin/env")) == "/usr/bin/env"
        assert not lab.images.exists()

    def test_one_is_found_on_the_path(self, lab: Paths, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setenv("PATH", "/usr/bin")
        assert podprograms.place(lab, parse(f"{IMAGE}=env -i")) == "/usr/bin/env"

    def test_another_is_copied_for_all_users(self, lab: Paths, program: Path):
        inside = podprograms.place(lab, parse(f"{IMAGE}={program}"))
        copy = lab.images / Path(inside).name
        assert inside.startswith("/opt/lab/images/")
        assert copy.read_bytes() == program.read_bytes()
        assert copy.stat().st_mode & 0o777 == 0o755

    def test_a_path_is_relative_to_where_one_stands(
        self, lab: Paths, program: Path, monkeypatch: pytest.MonkeyPatch
    ):
        monkeypatch.chdir(program.parent)
        inside = podprograms.place(lab, parse(f"{IMAGE}=./web"))
        assert inside.endswith("-web")

    def test_one_that_is_not_there_is_named(self, lab: Paths, tmp_path: Path):
        with pytest.raises(LabError, match=f"there is no file {tmp_path}/none"):
            podprograms.place(lab, parse(f"{IMAGE}={tmp_path}/none"))
        with pytest.raises(LabError, match="no directory of PATH has a program 'no-such-program'"):
            podprograms.place(lab, parse(f"{IMAGE}=no-such-program"))

    def test_one_that_is_no_program_is_named_with_the_mend(self, lab: Paths, program: Path):
        program.chmod(0o644)
        with pytest.raises(LabError, match=f"`chmod \\+x {program}` allows it"):
            podprograms.place(lab, parse(f"{IMAGE}={program}"))


class TestKeep:
    def test_without_a_wish_there_is_no_overlay(self, lab: Paths):
        podprograms.keep(lab, [])
        assert podprograms.overlay(lab) is None
        assert os.listdir(lab.home) == []

    def test_what_was_wished_comes_again(self, lab: Paths, program: Path):
        podprograms.keep(lab, [parse(f"{IMAGE}={program} --quick")])
        podprograms.keep(lab, [parse("busybox=/bin/sh")])
        web = images(lab).find(f"{IMAGE}:1.0@sha256:{'0' * 64}")
        assert web.argv(None, ["--v=2"]) == [*web.command, "--v=2"]
        assert web.argv(["/hyper/web", "--v=2"], None) == [*web.command, "--v=2"]
        assert web.command[1:] == ("--quick",)
        assert images(lab).find("busybox:1").command == ("/bin/sh",)

    def test_a_changed_program_is_another_and_the_old_copy_goes(self, lab: Paths, program: Path):
        podprograms.keep(lab, [parse(f"{IMAGE}={program}")])
        before = images(lab).find(IMAGE).command
        program.write_text("#!/bin/sh\nexit 1\n")
        podprograms.keep(lab, [parse(f"{IMAGE}={program}")])
        assert images(lab).find(IMAGE).command != before
        assert [path.name for path in lab.images.iterdir()] == [
            Path(images(lab).find(IMAGE).command[0]).name
        ]

    def test_the_last_one_taken_back_empties_the_option(self, lab: Paths, program: Path):
        podprograms.keep(lab, [parse(f"{IMAGE}={program}")])
        podprograms.keep(lab, [parse(f"{IMAGE}=")])
        path = podprograms.overlay(lab)
        assert path is not None
        assert "images: ''" in path.read_text()
        assert os.listdir(lab.images) == []

    def test_a_bad_one_among_good_ones_changes_nothing(self, lab: Paths, program: Path):
        with pytest.raises(LabError, match="no file"):
            podprograms.keep(lab, [parse(f"{IMAGE}={program}"), parse("b=/none")])
        assert podprograms.overlay(lab) is None

    def test_a_program_that_has_gone_is_named_and_can_be_given_anew(
        self, lab: Paths, program: Path
    ):
        podprograms.keep(lab, [parse(f"{IMAGE}={program}")])
        for copy in lab.images.iterdir():
            copy.unlink()
        with pytest.raises(LabError, match=f"which runs for {IMAGE}, is not there any more"):
            podprograms.overlay(lab)
        podprograms.keep(lab, [parse(f"{IMAGE}={program}")])
        assert images(lab).find(IMAGE).command
