"""What can go wrong, sorted by what to do about it.

KubefedError                    every text names the thing and the mend
├── RetryLater                  the same call may work after a while
│   ├── Unreachable             nobody answers, or not in time
│   └── Conflict                somebody else wrote in between
├── Permanent                   the same call never works: the request itself is wrong
│   ├── Refused                 the API server's validation or admission said no
│   ├── NotFound                what was named does not exist
│   └── UsageError              the arguments don't go together
├── AskOperator                 a human must mend something outside first
│   ├── Unauthorized            the token is refused
│   ├── Forbidden               the account lacks a right
│   └── UntrustedCertificate    the CA does not match the endpoint
└── MembershipError             a cluster can't join or leave as things stand; each is also
├── EndpointUnreachable     ... RetryLater
├── EndpointUntrusted       ... AskOperator: wrong CA
├── NotKubernetes           ... AskOperator: something else answers there
├── TokenRefused            ... AskOperator: revoked, expired, of another cluster
├── RightsMissing           ... AskOperator
├── AlreadyMember           ... AskOperator: the same cluster under another name
├── HoldsOrphans            ... AskOperator: it holds objects that joining would let go of
└── NotInstalled            ... AskOperator: the host has no federation
"""

# The names are the contract of docs/design.md; they say what to do and not what broke.
# ruff: noqa: N818
from __future__ import annotations

from collections.abc import Sequence


class KubefedError(Exception):
    """Anything that this package raises on purpose."""


class RetryLater(KubefedError):
    """The same call may work after a while."""


class Unreachable(RetryLater):
    """Nobody answers at the address, or not within the bound."""


class Conflict(RetryLater):
    """Somebody else wrote the object in between."""


class Permanent(KubefedError):
    """The same call never works; the request itself is wrong."""


class Refused(Permanent):
    """The API server's validation or admission refused the object."""


class NotFound(Permanent):
    """What was named does not exist."""


class UsageError(Permanent):
    """Arguments that don't go together."""


class AskOperator(KubefedError):
    """A human must mend something outside first."""


class Unauthorized(AskOperator):
    """The API server refuses the token."""


class Forbidden(AskOperator):
    """The account lacks a right."""


class UntrustedCertificate(AskOperator):
    """The endpoint's certificate can't be checked by the given CA."""


class MembershipError(KubefedError):
    """A cluster can't join or leave as things stand."""


class EndpointMalformed(MembershipError, Permanent):
    """What is given as an endpoint is none."""


class EndpointUnreachable(MembershipError, RetryLater):
    """Nobody answers at a cluster's endpoint."""


class EndpointUntrusted(MembershipError, AskOperator):
    """A cluster's endpoint shows a certificate that its CA didn't sign."""


class NotKubernetes(MembershipError, AskOperator):
    """Something answers at a cluster's endpoint, but not a Kubernetes API server."""


class TokenRefused(MembershipError, AskOperator):
    """A cluster refuses the token: revoked, expired, or made for another cluster."""


class RightsMissing(MembershipError, AskOperator):
    """A cluster knows the token, but its account may not do what is needed."""


class AlreadyMember(MembershipError, AskOperator):
    """The same cluster is a member already, under another name."""


class HoldsOrphans(MembershipError, AskOperator):
    """A cluster holds objects of a federation, and the host knows none of them.

    Attributes:
        objects: the first of them.
    """

    def __init__(self, cluster: str, objects: tuple[str, ...]):
        self.objects = objects
        super().__init__(
            f"{cluster} holds objects of a federation of which this host has none "
            f"({self.shown}) and would let go of; restore that federation first, or join with "
            "--release-orphans to begin without them"
        )

    @property
    def shown(self) -> str:
        """Name as many of them as a text has room for."""
        return some_of(self.objects)


class NotInstalled(MembershipError, AskOperator):
    """The host cluster has no federation installed."""


def some_of(objects: Sequence[str]) -> str:
    """Name as many objects as a text has room for.

    >>> some_of(("Namespace shop", "Deployment shop/web"))
    'Namespace shop, Deployment shop/web'
    """
    named = 3
    rest = ", ..." if len(objects) > named else ""
    return ", ".join(objects[:named]) + rest
