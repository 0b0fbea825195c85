"""How a cluster becomes a member, and stops being one.

Two sides, which need not see each other: `member` works in the cluster that joins, `host` in the
federation's host cluster. What goes from the one to the other is an endpoint, a CA and a token.
"""

from kubefed.accounts import Token, lasting_token, mint_token
from kubefed.membership.both import Departure, Names, join, leave
from kubefed.membership.endpoint import Identity, check_endpoint, identify
from kubefed.membership.forget import GivenUp, forget, remember
from kubefed.membership.host import Cluster, list_clusters, register, unregister
from kubefed.membership.member import (
    account_name,
    managed_objects,
    prepare_member,
    purge_objects,
    remove_member,
)
from kubefed.membership.orphans import held_orphans, let_go, let_go_text, refuse_orphans

__all__ = [
    "Cluster",
    "Departure",
    "GivenUp",
    "Identity",
    "Names",
    "Token",
    "account_name",
    "check_endpoint",
    "forget",
    "held_orphans",
    "identify",
    "join",
    "lasting_token",
    "leave",
    "let_go",
    "let_go_text",
    "list_clusters",
    "managed_objects",
    "mint_token",
    "prepare_member",
    "purge_objects",
    "refuse_orphans",
    "register",
    "remember",
    "remove_member",
    "unregister",
]
