"""Options of the control plane: which one runs, as which image, and how it judges clusters."""

import re
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

EMBEDDED = "embedded"
UPSTREAM = "upstream"
IMAGE = "quay.io/kubernetes-multicluster/kubefed:v0.10.0"
_HOST = r"[a-zA-Z0-9]([-.a-zA-Z0-9]*[a-zA-Z0-9])?(:[0-9]+)?"
_PART = r"[a-z0-9]+([._-]+[a-z0-9]+)*"
_TAG = r"[A-Za-z0-9_][-.A-Za-z0-9_]{0,127}"
_IMAGE = re.compile(rf"{_HOST}(/{_PART})+(?P<tag>:{_TAG})?(?P<digest>@sha256:[0-9a-f]{{64}})?")
_DURATION = re.compile(r"[1-9][0-9]*(ms|s|m)")


def check_image(value: str) -> str:
    """Accept an image that names its registry and which build of it is meant."""
    found = _IMAGE.fullmatch(value)
    if not found or not (found["tag"] or found["digest"]):
        raise ValueError("must be REGISTRY/NAME:TAG, REGISTRY/NAME@sha256:DIGEST, or with both")
    return value


def check_duration(value: str) -> str:
    """Accept nothing, or a duration as KubeFedConfig takes it."""
    if value and not _DURATION.fullmatch(value):
        raise ValueError("must be a number with ms, s or m, like 10s")
    return value


_Duration = Annotated[str, AfterValidator(check_duration)]
_Count = Annotated[int, Field(ge=0, le=1000)]


class ControlPlaneSettings(BaseModel):
    """The options of the control plane, read and checked."""

    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True)

    control_plane: Literal["embedded", "upstream"] = EMBEDDED
    image: Annotated[str, AfterValidator(check_image)] = IMAGE
    health_period: _Duration = ""
    health_timeout: _Duration = ""
    health_failure_threshold: _Count = 0
    health_success_threshold: _Count = 0
    cluster_available_delay: _Duration = ""
    cluster_unavailable_delay: _Duration = ""

    def config_spec(self) -> dict[str, Any]:
        """Return what the options say of KubeFedConfig's spec, and nothing else of it."""
        health = {
            "period": self.health_period,
            "timeout": self.health_timeout,
            "failureThreshold": self.health_failure_threshold,
            "successThreshold": self.health_success_threshold,
        }
        delays = {
            "availableDelay": self.cluster_available_delay,
            "unavailableDelay": self.cluster_unavailable_delay,
        }
        spec: dict[str, Any] = {
            "clusterHealthCheck": {key: value for key, value in health.items() if value},
            "controllerDuration": {key: value for key, value in delays.items() if value},
        }
        if self.control_plane == UPSTREAM:
            # Its account has no right to the other kind.
            spec["leaderElect"] = {"resourceLock": "configmaps"}
        return {key: value for key, value in spec.items() if value}
