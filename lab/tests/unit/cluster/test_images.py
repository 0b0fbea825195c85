import pytest
from federation_lab.cluster.kubelet.images import (
    PROGRAMS,
    Images,
    ImagesError,
    UnknownImageError,
    normal,
)

TEXT = """
images:
  registry.example.org/team/web:1.0:
    command: [python3, "{programs}/web.py"]
    args: [--port, 8080]
    env: {A: 1}
    user: 65534
  busybox: {args: [sh]}
"""


@pytest.mark.parametrize(
    ("name", "full"),
    [
        ("busybox", "docker.io/library/busybox"),
        ("team/web:1", "docker.io/team/web:1"),
        ("localhost/web", "localhost/web"),
        ("reg:5000/web", "reg:5000/web"),
    ],
)
def test_names_are_completed_as_runtimes_do(name: str, full: str) -> None:
    assert normal(name) == full


@pytest.mark.parametrize(
    "name",
    ["busybox", "busybox:1.37", "docker.io/library/busybox@sha256:00", "busybox:1@sha256:0"],
)
def test_a_name_without_a_tag_stands_for_every_tag(name: str) -> None:
    assert Images.parse(TEXT).find(name).args == ("sh",)


def test_an_entry_with_a_tag_stands_for_that_one_alone() -> None:
    images = Images.parse(TEXT)
    web = images.find("registry.example.org/team/web:1.0")
    assert web.command == ("python3", f"{PROGRAMS}/web.py")
    assert (web.user, web.env) == (65534, {"A": "1"})
    with pytest.raises(UnknownImageError, match=r"images\.yaml.*web:2\.0"):
        images.find("registry.example.org/team/web:2.0")


@pytest.mark.parametrize(
    ("command", "args", "argv"),
    [
        (None, None, ["python3", f"{PROGRAMS}/web.py", "--port", "8080"]),
        (None, ["-x"], ["python3", f"{PROGRAMS}/web.py", "-x"]),
        (["sh"], None, ["sh"]),
        (["sh"], ["-c", "true"], ["sh", "-c", "true"]),
    ],
)
def test_a_containers_command_and_args_replace_the_images(
    command: list[str] | None, args: list[str] | None, argv: list[str]
) -> None:
    web = Images.parse(TEXT).find("registry.example.org/team/web:1.0")
    assert web.argv(command, args) == argv


def test_a_program_takes_the_place_of_the_one_that_a_container_names() -> None:
    images = Images.parse("images: {busybox: {command: [/bin/own, -a], program: true}}")
    own = images.find("busybox")
    assert own.argv(["/hyper/tool", "-b"], ["c"]) == ["/bin/own", "-a", "-b", "c"]
    assert own.argv(None, ["c"]) == ["/bin/own", "-a", "c"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("images: [", "not YAML"),
        ("[]", "expected"),
        ("pictures: {}", "expected the one key"),
        ("images: {a: sh}", "expected a mapping"),
        ("images: {a: {cmd: [sh]}}", "unknown keys cmd"),
        ("images: {a: {command: sh}}", "list of words"),
        ("images: {a: {user: root}}", "must be a number"),
        ("images: {a: {program: true}}", "needs a command"),
        ("images: {a: {command: [a], program: 1}}", "must be true or false"),
        ("images: {a: {env: [x]}}", "must be a mapping"),
    ],
)
def test_what_is_wrong_is_said(text: str, said: str) -> None:
    with pytest.raises(ImagesError, match=said):
        Images.parse(text)
