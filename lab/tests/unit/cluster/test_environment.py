import base64
from typing import Any

import pytest
from federation_lab.cluster.kubelet import environment as env
from federation_lab.cluster.kubelet.environment import MissingReferenceError

POD: dict[str, Any] = {
    "metadata": {
        "name": "web-1",
        "namespace": "demo",
        "uid": "u",
        "labels": {"topology.kubernetes.io/region": "palermo", "a": "b"},
    },
    "spec": {"nodeName": "n", "serviceAccountName": "sa"},
    "status": {"podIP": "10.1.0.2", "hostIP": "10.213.1.10"},
}
OBJECTS: dict[tuple[str, str], Any] = {
    ("ConfigMap", "c"): {"data": {"K": "v"}, "binaryData": {"B": base64.b64encode(b"x").decode()}},
    ("Secret", "s"): {"data": {"token": base64.b64encode(b"hidden").decode()}},
    ("Secret", "gone"): None,
}


def given(container: dict[str, Any]) -> dict[str, str]:
    return env.variables(POD, container, OBJECTS, image_env={"I": "i"}, service_env={"S": "s"})


def test_all_sources_in_their_order() -> None:
    result = given(
        {
            "envFrom": [{"configMapRef": {"name": "c"}, "prefix": "P_"}],
            "env": [
                {"name": "P_K", "value": "own"},
                {"name": "T", "valueFrom": {"secretKeyRef": {"name": "s", "key": "token"}}},
                {"name": "N", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
                {
                    "name": "R",
                    "valueFrom": {
                        "fieldRef": {
                            "fieldPath": "metadata.labels['topology.kubernetes.io/region']"
                        }
                    },
                },
                {"name": "E", "value": "$(N)-$(MISSING)-$$(N)"},
                {
                    "name": "O",
                    "valueFrom": {"configMapKeyRef": {"name": "c", "key": "no", "optional": True}},
                },
            ],
        }
    )
    assert result["P_K"] == "own"
    assert result["P_B"] == "x"
    assert result["T"] == "hidden"
    assert result["R"] == "palermo"
    assert result["E"] == "web-1-$(MISSING)-$(N)"
    assert (result["I"], result["S"]) == ("i", "s")
    assert "O" not in result


@pytest.mark.parametrize(
    ("variable", "said"),
    [
        ({"secretKeyRef": {"name": "gone", "key": "k"}}, 'secret "gone" not found'),
        ({"configMapKeyRef": {"name": "c", "key": "no"}}, "couldn't find key no in ConfigMap c"),
        ({"fieldRef": {"fieldPath": "spec.other"}}, "unsupported fieldPath"),
        ({"otherRef": {}}, "unsupported source otherRef"),
    ],
)
def test_what_is_missing_is_named(variable: dict[str, Any], said: str) -> None:
    with pytest.raises(MissingReferenceError, match=said):
        given({"env": [{"name": "X", "valueFrom": variable}]})


def test_references_are_found_in_both_places() -> None:
    container = {
        "envFrom": [{"secretRef": {"name": "s"}}],
        "env": [{"name": "X", "valueFrom": {"configMapKeyRef": {"name": "c", "key": "K"}}}],
    }
    assert env.references(container) == {("Secret", "s"), ("ConfigMap", "c")}


@pytest.mark.parametrize(
    ("text", "number"), [("10m", 0.01), ("16Mi", 2**24), ("2", 2), ("1k", 1000), ("1e3", 1000)]
)
def test_quantities(text: str, number: float) -> None:
    assert env.quantity(text) == pytest.approx(number)


def test_a_resource_is_rounded_up_by_its_divisor() -> None:
    container = {"resources": {"limits": {"cpu": "1500m"}}}
    assert env.resource(container, {"resource": "limits.cpu"}) == "2"
    assert env.resource(container, {"resource": "limits.cpu", "divisor": "1m"}) == "1500"
    with pytest.raises(MissingReferenceError):
        env.quantity("many")


def service(name: str, namespace: str = "demo", **spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": namespace}, "spec": spec}


API = service(
    "kubernetes", "default", clusterIP="10.0.0.1", ports=[{"name": "https", "port": 443}]
)
WEB = service("my-web", clusterIP="10.0.0.2", ports=[{"port": 80}])
HEADLESS = service("db", clusterIP="None", ports=[{"port": 5432}])


def test_variables_of_services() -> None:
    everything = env.service_variables([API, WEB, HEADLESS], "demo")
    assert everything["KUBERNETES_SERVICE_HOST"] == "10.0.0.1"
    assert everything["KUBERNETES_SERVICE_PORT_HTTPS"] == "443"
    assert everything["MY_WEB_SERVICE_PORT"] == "80"
    assert not [name for name in everything if name.startswith("DB_")]
    without = env.service_variables([API, WEB], "demo", links=False)
    assert "MY_WEB_SERVICE_HOST" not in without
    assert "KUBERNETES_SERVICE_HOST" in without


def test_hosts_names_services_and_headless_pods() -> None:
    slices = [
        {
            "metadata": {"namespace": "demo", "labels": {"kubernetes.io/service-name": "db"}},
            "endpoints": [
                {"addresses": ["10.1.0.9"], "conditions": {"ready": True}},
                {"addresses": ["10.1.0.8"], "conditions": {"ready": False}},
            ],
        }
    ]
    names = env.service_names([API, WEB, HEADLESS], slices)
    lines = env.hosts(POD, "10.1.0.2", names).splitlines()
    assert "10.1.0.2\tweb-1" in lines
    assert "10.0.0.2\tmy-web.demo.svc.cluster.local my-web.demo.svc my-web.demo my-web" in lines
    assert (
        "10.0.0.1\tkubernetes.default.svc.cluster.local kubernetes.default.svc kubernetes.default"
        in lines
    )
    assert "10.1.0.9\tdb.demo.svc.cluster.local db.demo.svc db.demo db" in lines
    assert "10.1.0.8" not in " ".join(lines)


def test_host_aliases_are_kept() -> None:
    pod = {**POD, "spec": {"hostAliases": [{"ip": "1.2.3.4", "hostnames": ["x", "y"]}]}}
    assert env.hosts(pod, "10.1.0.2", {}).endswith("1.2.3.4\tx y\n")
