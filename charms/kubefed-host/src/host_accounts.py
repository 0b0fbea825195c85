"""The accounts that this charm makes in the host cluster, each with the least rights."""

from federation_interfaces.cluster import (
    CHARMS_NAMESPACE,
    CLUSTER_ROLES,
    Account,
    Cluster,
    Rule,
    account_objects,
)

CONTROLLER_ACCOUNT = "kubefed-controller"
CHARM_ACCOUNT = "kubefed-host"
STATUS = "kubefed-host-status"
"""The service that has the status follow, and its account."""
USER_ACCOUNT = "federation-user"
UPSTREAM_ACCOUNT = "kubefed-controller-manager"
_READ = ("get", "list", "watch")
_WRITE = ("create", "update", "patch", "delete")


def charm_account(namespace: str) -> Account:
    """Return the charm's own account: it keeps the register of members and their tokens.

    Beyond the federation's namespace it reads what says whether the API is installed and what a
    leaving member still holds.
    """
    crds = ("customresourcedefinitions",)
    return Account(
        name=CHARM_ACCOUNT,
        namespace=CHARMS_NAMESPACE,
        cluster_rules=(
            Rule(("types.kubefed.io",), ("*",), ("get", "list")),
            Rule(("apiextensions.k8s.io",), crds, ("get",), ("kubefedclusters.core.kubefed.io",)),
            Rule(("",), ("namespaces",), ("get",), (namespace,)),
        ),
        rules=(
            Rule(("core.kubefed.io",), ("*",), (*_READ, *_WRITE)),
            Rule(("",), ("secrets",), (*_READ, *_WRITE)),
        ),
        rules_namespace=namespace,
        ends=(CHARM_ACCOUNT, USER_ACCOUNT, UPSTREAM_ACCOUNT),
    )


def status_account(namespace: str) -> Account:
    """Return the status service's account: it lists the clusters."""
    clusters = Rule(("core.kubefed.io",), ("kubefedclusters",), ("list",))
    return Account(STATUS, CHARMS_NAMESPACE, rules=(clusters,), rules_namespace=namespace)


def ensure_accounts(admin: Cluster, own: Account, status: Account) -> None:
    """Make the charm's account and the status service's, which goes with it.

    Raises:
        ClusterError: the cluster refused or did not answer.
    """
    admin.ensure_account(own)
    admin.ensure_account(status)
    paths = [path for path, body in account_objects(status) if body["kind"] != "Namespace"]
    admin.hang(f"{CLUSTER_ROLES}/{CHARM_ACCOUNT}", paths)


def user_account(namespace: str) -> Account:
    """Return the account of those who federate: federated objects, and nothing of the members."""
    return Account(
        name=USER_ACCOUNT,
        namespace=namespace,
        cluster_rules=(
            Rule(("types.kubefed.io", "scheduling.kubefed.io"), ("*",), (*_READ, *_WRITE)),
            Rule(("core.kubefed.io",), ("*",), _READ),
            Rule(("",), ("namespaces",), (*_READ, "create")),
        ),
    )
