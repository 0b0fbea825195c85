"""A container's variables and a pod's hosts file, as functions of the objects they come from."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Mapping
from typing import Any

from federation_lab.cluster.kube import Object

DOMAIN = "cluster.local"
# (kind, name) of a ConfigMap or Secret in the pod's namespace; None: it isn't there.
Objects = Mapping[tuple[str, str], Object | None]

_REFERENCE = re.compile(r"\$\$|\$\(([A-Za-z_][-A-Za-z0-9_.]*)\)")
_SUBSCRIPT = re.compile(r"^metadata\.(labels|annotations)\['(.+)'\]$")


class MissingReferenceError(Exception):
    """A pod names a ConfigMap, Secret or field that isn't there; the text says which."""


def references(container: Object) -> set[tuple[str, str]]:
    """Give the (kind, name) of what a container's variables are taken from."""
    found: set[tuple[str, str]] = set()
    for source in container.get("envFrom") or []:
        for field, kind in (("configMapRef", "ConfigMap"), ("secretRef", "Secret")):
            if reference := source.get(field):
                found.add((kind, reference["name"]))
    for variable in container.get("env") or []:
        source = variable.get("valueFrom") or {}
        for field, kind in (("configMapKeyRef", "ConfigMap"), ("secretKeyRef", "Secret")):
            if reference := source.get(field):
                found.add((kind, reference["name"]))
    return found


def content(kind: str, item: Object) -> dict[str, bytes]:
    """Give the bytes of each key of a ConfigMap or Secret."""
    if kind == "Secret":
        return {key: base64.b64decode(value) for key, value in (item.get("data") or {}).items()}
    binary = item.get("binaryData") or {}
    return {
        **{key: str(value).encode() for key, value in (item.get("data") or {}).items()},
        **{key: base64.b64decode(value) for key, value in binary.items()},
    }


def look_up(objects: Objects, kind: str, reference: Mapping[str, Any]) -> dict[str, bytes] | None:
    """Give a referenced object's content; None if it isn't there and needn't be.

    Raises:
        MissingReferenceError: it isn't there and must be.
    """
    item = objects.get((kind, reference["name"]))
    if item is not None:
        return content(kind, item)
    if reference.get("optional"):
        return None
    raise MissingReferenceError(f'{kind.lower()} "{reference["name"]}" not found')


def variables(
    pod: Object,
    container: Object,
    objects: Objects,
    *,
    image_env: Mapping[str, str],
    service_env: Mapping[str, str],
) -> dict[str, str]:
    """Give a container's whole environment, in Kubernetes' order of precedence.

    Raises:
        MissingReferenceError: something that it names isn't there.
    """
    result = {
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "HOSTNAME": hostname(pod),
        "HOME": "/root",
        **image_env,
        **service_env,
    }
    for source in container.get("envFrom") or []:
        result.update(_from_source(source, objects))
    for variable in container.get("env") or []:
        if "valueFrom" in variable:
            value = _value_from(pod, container, variable["valueFrom"], objects)
            if value is None:
                continue
        else:
            value = expand(variable.get("value") or "", result)
        result[variable["name"]] = value
    return result


def expand(text: str, values: Mapping[str, str]) -> str:
    """Replace ``$(NAME)``; what isn't known stays, ``$$`` is a dollar sign."""

    def replace(match: re.Match[str]) -> str:
        if match[1] is None:
            return "$"
        return values.get(match[1], match[0])

    return _REFERENCE.sub(replace, text)


def field(pod: Object, path: str) -> str:
    """Give what the downward API says for a ``fieldPath``.

    Raises:
        MissingReferenceError: the path isn't one that Kubernetes knows.
    """
    metadata, spec, status = pod["metadata"], pod["spec"], pod.get("status") or {}
    if match := _SUBSCRIPT.match(path):
        return str((metadata.get(match[1]) or {}).get(match[2], ""))
    if path in ("metadata.labels", "metadata.annotations"):
        items: dict[str, str] = metadata.get(path.partition(".")[2]) or {}
        return "\n".join(f'{key}="{value}"' for key, value in sorted(items.items()))
    known: dict[str, Any] = {
        "metadata.name": metadata.get("name"),
        "metadata.namespace": metadata.get("namespace"),
        "metadata.uid": metadata.get("uid"),
        "spec.nodeName": spec.get("nodeName"),
        "spec.serviceAccountName": spec.get("serviceAccountName"),
        "status.hostIP": status.get("hostIP"),
        "status.hostIPs": status.get("hostIP"),
        "status.podIP": status.get("podIP"),
        "status.podIPs": status.get("podIP"),
    }
    if path not in known:
        raise MissingReferenceError(f"unsupported fieldPath {path!r}")
    return str(known[path] or "")


def hostname(pod: Object) -> str:
    """Give the name that a pod has for itself."""
    return str(pod["spec"].get("hostname") or pod["metadata"]["name"])[:63].rstrip("-.")


def service_variables(
    services: Iterable[Object], namespace: str, *, links: bool = True
) -> dict[str, str]:
    """Give the variables that tell a container where the services are.

    Args:
        services: all of the cluster.
        namespace: the pod's.
        links: the pod's ``enableServiceLinks``; the API server is told in any case.
    """
    result: dict[str, str] = {}
    for service in services:
        metadata, spec = service["metadata"], service["spec"]
        api = metadata["namespace"] == "default" and metadata["name"] == "kubernetes"
        address = spec.get("clusterIP") or "None"
        ports: list[Object] = spec.get("ports") or []
        if (
            address == "None"
            or not ports
            or not (api or (links and metadata["namespace"] == namespace))
        ):
            continue
        prefix = metadata["name"].upper().replace("-", "_")
        result[f"{prefix}_SERVICE_HOST"] = address
        result[f"{prefix}_SERVICE_PORT"] = str(ports[0]["port"])
        for port in ports:
            if name := port.get("name"):
                suffix = name.upper().replace("-", "_")
                result[f"{prefix}_SERVICE_PORT_{suffix}"] = str(port["port"])
    return result


def hosts(pod: Object, address: str, names: Mapping[str, Iterable[str]]) -> str:
    """Give a pod's hosts file.

    Args:
        pod: whose it is.
        address: the pod's own.
        names: the addresses of each ``<service>.<namespace>``.
    """
    lines = ["127.0.0.1\tlocalhost", "::1\tlocalhost ip6-localhost ip6-loopback"]
    lines.append(f"{address}\t{hostname(pod)}")
    namespace = pod["metadata"]["namespace"]
    for name in sorted(names):
        service, _, home = name.partition(".")
        called = [f"{name}.svc.{DOMAIN}", f"{name}.svc", name]
        if home == namespace:
            called.append(service)
        lines.extend(f"{where}\t{' '.join(called)}" for where in names[name])
    aliases: list[Object] = pod["spec"].get("hostAliases") or []
    lines.extend(f"{item['ip']}\t{' '.join(item.get('hostnames') or [])}" for item in aliases)
    return "\n".join(lines) + "\n"


def service_names(
    services: Iterable[Object], slices: Iterable[Object]
) -> dict[str, tuple[str, ...]]:
    """Give the addresses of each ``<service>.<namespace>``: its own, or a headless one's pods."""
    pods: dict[str, list[str]] = {}
    for item in slices:
        service = (item["metadata"].get("labels") or {}).get("kubernetes.io/service-name", "")
        name = f"{service}.{item['metadata']['namespace']}"
        for endpoint in item.get("endpoints") or []:
            if (endpoint.get("conditions") or {}).get("ready") is not False:
                pods.setdefault(name, []).extend(endpoint["addresses"])
    result: dict[str, tuple[str, ...]] = {}
    for service in services:
        name = f"{service['metadata']['name']}.{service['metadata']['namespace']}"
        address = service["spec"].get("clusterIP")
        if address and address != "None":
            result[name] = (address,)
        elif pods.get(name):
            result[name] = tuple(sorted(set(pods[name])))
    return result


def _from_source(source: Object, objects: Objects) -> dict[str, str]:
    prefix = source.get("prefix") or ""
    for name, kind in (("configMapRef", "ConfigMap"), ("secretRef", "Secret")):
        if reference := source.get(name):
            found = look_up(objects, kind, reference) or {}
            return {f"{prefix}{key}": _text(value) for key, value in found.items()}
    return {}


def _value_from(pod: Object, container: Object, source: Object, objects: Objects) -> str | None:
    if reference := source.get("fieldRef"):
        return field(pod, reference["fieldPath"])
    for name, kind in (("configMapKeyRef", "ConfigMap"), ("secretKeyRef", "Secret")):
        if reference := source.get(name):
            found = look_up(objects, kind, reference)
            if found is not None and reference["key"] in found:
                return _text(found[reference["key"]])
            if reference.get("optional"):
                return None
            raise MissingReferenceError(
                f"couldn't find key {reference['key']} in {kind} {reference['name']}"
            )
    if reference := source.get("resourceFieldRef"):
        return resource(container, reference)
    raise MissingReferenceError(f"unsupported source {', '.join(sorted(source))} of a variable")


def resource(container: Object, reference: Object) -> str:
    """Give what the downward API says for a ``resourceFieldRef``, rounded up by its divisor."""
    section, _, name = str(reference["resource"]).partition(".")
    amount = ((container.get("resources") or {}).get(section) or {}).get(name, "0")
    divisor = quantity(str(reference.get("divisor") or "1")) or 1.0
    return str(-int(-quantity(str(amount)) // divisor))


def quantity(text: str) -> float:
    """Give the number that a Kubernetes quantity such as ``10m`` or ``16Mi`` stands for."""
    match = re.fullmatch(r"([0-9.]+(?:[eE][-+]?[0-9]+)?)([a-zA-Z]*)", text)
    if match is None:
        raise MissingReferenceError(f"{text!r} is not a quantity")
    factors = {"": 1.0, "n": 1e-9, "u": 1e-6, "m": 1e-3}
    for power, letter in enumerate("kMGTPE", start=1):
        factors[letter] = 1000.0**power
        factors[f"{letter.upper()}i"] = 1024.0**power
    if match[2] not in factors:
        raise MissingReferenceError(f"{text!r} is not a quantity")
    return float(match[1]) * factors[match[2]]


def _text(value: bytes) -> str:
    return value.decode(errors="surrogateescape")
