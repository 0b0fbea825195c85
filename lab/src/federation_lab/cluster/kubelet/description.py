"""What the launcher is told about a container: a function of the pod's and the image's."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from federation_lab.cluster.kube import Object
from federation_lab.cluster.kubelet.environment import expand
from federation_lab.cluster.kubelet.images import PROGRAMS, Image


def describe(
    pod: Object,
    container: Object,
    image: Image,
    *,
    env: Mapping[str, str],
    files: Path,
    volumes: Mapping[str, Path],
    programs: Path,
) -> Object:
    """Give the launcher's description.

    Args:
        pod: whose container it is.
        container: its spec.
        image: what stands for its image.
        env: its whole environment.
        files: the directory of the pod's hosts, hostname and resolv.conf.
        volumes: the directory of each of the pod's volumes.
        programs: the directory that images.yaml calls ``{programs}``.
    """
    argv = image.argv(container.get("command"), container.get("args"))
    of_pod: Object = pod["spec"].get("securityContext") or {}
    security: Object = {**of_pod, **(container.get("securityContext") or {})}
    uid = int(security.get("runAsUser", image.user))
    gid = int(security.get("runAsGroup", 0 if "runAsUser" in security else image.user))
    groups = [int(group) for group in of_pod.get("supplementalGroups") or []]
    if (fs_group := of_pod.get("fsGroup")) is not None:
        groups.append(int(fs_group))
    mounts: list[Object] = [{"source": str(programs), "target": PROGRAMS, "readonly": True}]
    for mount in container.get("volumeMounts") or []:
        sub = mount.get("subPath") or expand(mount.get("subPathExpr") or "", env)
        source = volumes[mount["name"]]
        target = mount["mountPath"]
        mounts.append(
            {
                "source": str(source / sub if sub else source),
                "target": target,
                "readonly": bool(mount.get("readOnly")),
            }
        )
    return {
        "argv": [expand(word, env) for word in argv],
        "env": dict(env),
        "directory": container.get("workingDir") or image.directory,
        "uid": uid,
        "gid": gid,
        "groups": groups,
        "files": str(files),
        "mounts": mounts,
    }
