from pathlib import Path
from typing import Any

from federation_lab.cluster.kubelet.description import describe
from federation_lab.cluster.kubelet.images import Image

IMAGE = Image("web", ("python3",), ("web.py",), user=65534, directory="/srv")


def described(pod: dict[str, Any] | None = None, **container: Any) -> dict[str, Any]:
    return describe(
        {"spec": pod or {}},
        container,
        IMAGE,
        env={"A": "b"},
        files=Path("/f"),
        volumes={"v": Path("/v")},
        programs=Path("/p"),
    )


def test_an_images_user_and_directory_hold_unless_the_pod_says() -> None:
    plain = described()
    assert (plain["uid"], plain["gid"], plain["directory"]) == (65534, 65534, "/srv")
    said = described(
        {"securityContext": {"runAsUser": 1, "fsGroup": 5, "supplementalGroups": [6]}},
        securityContext={"runAsUser": 2, "runAsGroup": 3},
        workingDir="/w",
    )
    assert (said["uid"], said["gid"], said["directory"]) == (2, 3, "/w")
    assert said["groups"] == [6, 5]


def test_words_are_expanded_and_mounts_named() -> None:
    given = described(
        args=["$(A)", "$$(A)"],
        volumeMounts=[
            {"name": "v", "mountPath": "/a", "readOnly": True},
            {"name": "v", "mountPath": "/b", "subPathExpr": "x-$(A)"},
        ],
    )
    assert given["argv"] == ["python3", "b", "$(A)"]
    assert given["mounts"] == [
        {"source": "/p", "target": "/srv/programs", "readonly": True},
        {"source": "/v", "target": "/a", "readonly": True},
        {"source": "/v/x-b", "target": "/b", "readonly": False},
    ]
