"""Each rule for Terraform's modules, by a copy of ours with one thing wrong."""

import shutil
from pathlib import Path

import pytest
from federation_lab.juju import lint_all, lint_terraform, lint_topology

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the checks read of the tree."""
    root = tmp_path_factory.mktemp("tree")
    for folder in ("terraform", "overlays", "bundles"):
        shutil.copytree(ROOT / folder, root / folder)
    for name in lint_topology.OURS:
        (root / "charms" / name).mkdir(parents=True)
        for file in ("charmcraft.yaml",):
            shutil.copy(ROOT / "charms" / name / file, root / "charms" / name / file)
    return root


@pytest.fixture
def root(pristine: Path, tmp_path: Path) -> Path:
    """A copy that a test may spoil."""
    return Path(shutil.copytree(pristine, tmp_path / "tree"))


def spoil(root: Path, file: str, old: str, new: str) -> None:
    path = root / "terraform" / file
    text = path.read_text()
    assert old in text, f"{file} is not as the test thinks"
    path.write_text(text.replace(old, new, 1))


def test_ours_deploys_what_the_bundle_deploys(root: Path):
    assert lint_all.check_terraform(root) == []


def test_a_tree_without_terraform_is_fine(tmp_path: Path):
    assert lint_all.check_terraform(tmp_path) == []


@pytest.mark.parametrize(
    ("file", "old", "new", "said"),
    [
        ("region/main.tf", "cloud {", "cloud {{", "no HCL"),
        ("region/versions.tf", "juju/juju", "other/juju", "names the provider juju/juju"),
        (
            "region/versions.tf",
            "      version = ",
            "      verzion = ",
            "names the provider juju/juju",
        ),
        (
            "region/main.tf",
            '"juju_offer" "mesh"',
            '"juju_ofer" "mesh"',
            "no resource that is known",
        ),
        (
            "region/main.tf",
            "  application_name = module.kube",
            "  application = module.kube",
            "no appl",
        ),
        ("region/main.tf", "trust       =", "trusted     =", "trusted is no attribute"),
        ("region/main.tf", "channel = each", "chan = each", "charm.chan is no attribute"),
        ("region/main.tf", 'dynamic "expose"', 'dynamic "exposed"', "exposed is no attribute"),
        ("federation/main.tf", '    endpoint = "mesh"\n', '    offer_url = "x"\n', "not both"),
        (
            "federation/main.tf",
            "  application {\n    name     = module.region[v",
            "  other {\n    name     = module.region[v",
            "1 ends, not 2",
        ),
        (
            "region/variables.tf",
            '  description = "The region; ',
            '  about = "The region; ',
            "variable name: no description",
        ),
        (
            "region/outputs.tf",
            "  description = \"The region's",
            "  about = \"The region's",
            "output model_uuid: no description",
        ),
        ("region/main.tf", '"../kubefed-member"', '"../kubefed-membre"', "is no module"),
        (
            "region/main.tf",
            "  channel    = var.charm_channel\n",
            "",
            "module kubefed_host: no channel",
        ),
        ("region/main.tf", "  units      = try", "  unitz      = try", "unitz is no variable"),
        ("region/main.tf", "var.labels }", "var.marks }", "var.marks is not declared"),
        ("region/main.tf", "var.labels }", '"" }', "var.labels is not used"),
        ("region/main.tf", "local.ha_units", "local.haunits", "local.haunits is not declared"),
        (
            "region/main.tf",
            "    module.kubefed_host,\n",
            "    module.kubefed_hots,\n",
            "module.kubefed_hots is not",
        ),
        ("federation/main.tf", ".mesh_offer", ".mesh_ofer", "its source has no such output"),
        (
            "kubefed-host/main.tf",
            'name     = "kubefed-host"',
            'name     = "kubefed-hots"',
            "to be called",
        ),
        ("kubefed-host/outputs.tf", '"region-health"', '"region-helth"', "output requires"),
        ("federation-dns/outputs.tf", '"mesh-hub"', '"mesh"', "output provides"),
        ("federation/main.tf", '"members"', '"region-health"', "of no common interface"),
        (
            "federation/main.tf",
            ".mesh_offer",
            ".federation_dns",
            "is no offer of terraform/region",
        ),
        ("federation/witness.tf", "mem=1G", "mem=2G", "application federation-dns: constraints"),
        ("federation/witness.tf", 'role   = "witness"', 'role   = "region"', "options"),
        ("federation/witness.tf", 'endpoint = "mesh"', 'endpoint = "mesh-hub"', "offers of other"),
        ("federation/witness.tf", 'module "witness"', 'module "other"', "module.witness is not"),
    ],
)
def test_each_rule_refuses(root: Path, file: str, old: str, new: str, said: str):
    spoil(root, file, old, new)
    problems = lint_all.check_terraform(root)
    assert any(said in problem for problem in problems), problems
    assert all(problem.startswith("terraform/") for problem in problems)


def test_a_witness_of_the_bundle_alone_is_told(root: Path):
    (root / "terraform/federation/witness.tf").unlink()
    variables = root / "terraform/federation/variables.tf"
    text = variables.read_text()
    variables.write_text(text[: text.index('variable "witness"')])
    (problem,) = lint_all.check_terraform(root)
    assert "the witness is only in one of" in problem


def test_an_empty_folder_is_no_module(root: Path):
    (root / "terraform/empty").mkdir()
    assert lint_all.check_terraform(root) == ["terraform/empty: no module: it has no .tf files"]


@pytest.mark.parametrize(
    ("file", "old", "new", "features", "host", "said"),
    [
        ("region/topology.tf", "units = 3, ", "units = 2, ", "", True, "application etcd: "),
        (
            "region/topology.tf",
            '"1.35/stable" }\n    calico',
            '"1.34/stable" }\n    calico',
            "",
            True,
            "containerd: ",
        ),
        (
            "region/topology.tf",
            'vxlan = "Always"',
            'vxlan = "Never"',
            "",
            True,
            "application calico: ",
        ),
        (
            "region/topology.tf",
            ", expose = true }\n    kubeapi",
            " }\n    kubeapi",
            "",
            True,
            "kubernetes-worker: ",
        ),
        (
            "region/topology.tf",
            'root-disk=16G", trust = true',
            'root-disk=16G"',
            "openstack",
            True,
            "openstack-integrator: ",
        ),
        (
            "region/topology.tf",
            '["kubeapi-load-balancer"]',
            "[]",
            "openstack",
            True,
            "only in Terraform",
        ),
        (
            "region/topology.tf",
            'allow-privileged = "true"',
            'allow-privileged = "false"',
            "openstack",
            False,
            "control-plane: ",
        ),
        (
            "region/topology.tf",
            '    ["calico:etcd", "etcd:db"],\n',
            "",
            "",
            False,
            "calico:etcd etcd:db is only in the bundle",
        ),
        (
            "region/topology.tf",
            '"cinder-csi:certificates"',
            '"cinder-csi:certs"',
            "openstack",
            True,
            "certs easyrsa:client is only in Terraform",
        ),
        (
            "region/topology.tf",
            "kubefed-host             = 2",
            "kubefed-host             = 1",
            "ha",
            True,
            "application kubefed-host: ",
        ),
        (
            "region/topology.tf",
            'provider = "designate"',
            'provider = "bind"',
            "designate",
            True,
            "federation-dns: ",
        ),
        (
            "region/topology.tf",
            'control-plane = "upstream"',
            'control-plane = "embedded"',
            "upstream",
            True,
            "kubefed-host: ",
        ),
        (
            "region/topology.tf",
            '"2/stable"',
            '"1/stable"',
            "cos",
            True,
            "opentelemetry-collector: ",
        ),
        (
            "region/topology.tf",
            "send-loki-logs",
            "send-logs",
            "cos",
            True,
            "offers of other models",
        ),
        ("region/main.tf", '["mesh-hub"]', '["mesh"]', "", True, "offers: "),
        ("region/main.tf", "${var.name}-member", "member", "", False, "offers: "),
        (
            "federation/main.tf",
            '"mesh"\n  }',
            '"mesh-hub"\n  }',
            "",
            False,
            "offers of other models",
        ),
        ("federation-dns/main.tf", "  expose {}\n", "", "", False, "application federation-dns: "),
        ("region/main.tf", "{ region = var.name, ", "{ ", "", False, "kubefed-member: options"),
        ("region/main.tf", "{ region = var.name }", "{}", "", True, "federation-dns: options"),
        ("region/main.tf", 'try(local.units["kubefed-host"], 1)', "1", "ha", True, "host: units"),
        (
            "kubefed-member/variables.tf",
            "cores=1",
            "cores=2",
            "",
            False,
            "application kubefed-member: ",
        ),
    ],
)
def test_each_difference_from_the_bundle_is_told(
    root: Path, file: str, old: str, new: str, features: str, host: bool, said: str
):
    spoil(root, file, old, new)
    modules = {
        each.name: lint_terraform.read(each)
        for each in (root / "terraform").glob("*/")
        if each.is_dir()
    }
    bundled = lint_topology.load_bundle(root, features.split(), host=host)
    made = lint_topology.of_terraform(modules, features.split(), host=host)
    problems = list(lint_topology.differences(lint_topology.of_bundle(bundled), made))
    assert any(said in problem for problem in problems), problems


def test_an_overlay_that_goes_ahead_of_terraform_is_told_with_the_combination(root: Path):
    overlay = root / "overlays/ha.yaml"
    overlay.write_text(overlay.read_text().replace("num_units: 3", "num_units: 5"))
    (problem,) = [each for each in lint_all.check_terraform(root) if "host-region" in each]
    assert problem.startswith(
        "terraform/region with ha host-region: application kubernetes-control"
    )
