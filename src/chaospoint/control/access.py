"""Access control, decided by the request alone.

With tokens, every request needs one, reads and metrics included, and may come from anywhere; the
read token allows no writes.  Without tokens, only clients on this machine have access, under a name
of this machine and not through a proxy, and they may write only in `OPEN_ENVIRONMENTS`.  Requests
from pages of other sites are refused, because any site can make a browser send requests.
"""

from __future__ import annotations

import hmac
import ipaddress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlsplit

from chaospoint.control.http import Request
from chaospoint.control.problem import Problem
from chaospoint.control.throttle import Guesses
from chaospoint.sources.settings import Permission, Settings, permission, split_address

if TYPE_CHECKING:
    from pydantic import SecretStr

__all__ = [
    "DISABLE",
    "OPEN_ENVIRONMENTS",
    "READS",
    "AccessPolicy",
    "Caller",
    "is_loopback",
    "is_order_to_disable",
]

OPEN_ENVIRONMENTS = frozenset({"local", "dev", "development", "test", "ci"})
"""The environments in which clients without a token may write."""

READS = frozenset({"GET", "HEAD"})
"""The methods that change nothing; every other method is a write."""

_OF_PROXIES = frozenset(
    {
        *("client-ip", "forwarded", "max-forwards", "surrogate-capability", "via"),
        *("x-cloud-trace-context", "x-request-start", "x-nginx-proxy"),
    }
)
_PREFIXES_OF_PROXIES = (
    *(
        "akamai-",
        "cdn-",
        "cf-",
        "fastly-",
        "fly-",
        "forwarded-",
        "incap-",
        "l5d-",
        "proxy-",
        "true-",
    ),
    *("x-amzn-", "x-appengine-", "x-arr-", "x-azure-", "x-client-", "x-cluster-", "x-envoy-"),
    *("x-forwarded-", "x-host-", "x-original-", "x-port-", "x-proxy-", "x-real-", "x-remote-"),
    *("x-scheme-", "x-varnish-"),
)
"""The headers that proxies add; a prefix without its hyphen is also a header."""

_EVERYWHERE = frozenset({"0.0.0.0", "::"})  # addresses to bind, but not names of a machine
_TOKEN_CURE = (
    "set CHAOSPOINT_ADMIN_TOKEN in the service, start it again, and send that value as "
    "'Authorization: Bearer ...'; the command line reads it from its own CHAOSPOINT_ADMIN_TOKEN"
)

DISABLE = "/v1/disable"
"""The path that disables; it is allowed even where nothing may be armed."""


@dataclass(frozen=True, slots=True)
class Caller:
    """The client of a request; ``address`` is the peer address of its connection."""

    name: Literal["control token", "read token", "wrong token", "no token"]
    address: str


@dataclass(frozen=True, slots=True)
class AccessPolicy:
    """The access policy of one endpoint; ``hosts`` are allowed names besides those of loopback.

    ``token`` allows everything, ``read_token`` allows reads.  ``bad_tokens`` are variables that
    are set without a usable token; with one of them and without tokens, nobody has access.  Safe
    from any thread.
    """

    environment: str
    permission: Permission
    token: bytes | None = field(default=None, repr=False)
    hosts: frozenset[str] = frozenset()
    read_token: bytes | None = field(default=None, repr=False)
    bad_tokens: tuple[str, ...] = ()
    guesses: Guesses = field(default_factory=Guesses, repr=False, compare=False)

    @classmethod
    def of(cls, settings: Settings) -> AccessPolicy:
        """Return the access policy of these settings."""
        bound = {split_address(settings.admin)[0]} if settings.admin else set()
        return cls(
            settings.environment,
            permission(settings),
            _bytes(settings.admin_token),
            frozenset(bound - _EVERYWHERE),
            _bytes(settings.admin_read_token),
            settings.bad_tokens,
        )

    @property
    def _closed(self) -> bool:
        return bool(self.bad_tokens) and self.token is None and self.read_token is None

    @property
    def read_only(self) -> bool:
        """Whether changes are refused because there is no token."""
        reads = self.read_token is not None or self.environment not in OPEN_ENVIRONMENTS
        return self.token is None and reads

    def check(self, request: Request) -> Caller:
        """Return the client, or raise the `Problem` with which the request is refused."""
        self._same_site(request)
        if self._closed:
            raise Problem(
                403,
                "bad-token",
                f"{' and '.join(self.bad_tokens)} is set without a token, so no client has access",
                cure="set it to a secret that is not empty; or unset it, and only clients on this "
                "machine have access",
            )
        caller = self.caller(request)
        if self.token is None and self.read_token is None:
            self._this_machine(request)
        elif caller.name in ("wrong token", "no token"):
            raise self._unknown(caller)
        if request.method not in READS:
            self._may_write(caller, stops=is_order_to_disable(request))
        return caller

    def knows(self, request: Request) -> bool:
        """Return whether a client sent a valid token, or without tokens is on this machine.

        Such clients are served before others.  `check` may still refuse them.
        """
        if self.token is None and self.read_token is None:
            return not self._closed and is_loopback(request.client)
        return self.caller(request).name in ("control token", "read token")

    def caller(self, request: Request) -> Caller:
        """Return the client, with or without access; without tokens, no token is wrong."""
        scheme, _, shown = request.headers.get("authorization", "").partition(" ")
        # The text of a header is its bytes in latin-1, so this restores the bytes.
        given = shown.strip().encode("latin-1", "replace")
        # Both are compared always, so that the time reveals nothing about them.
        controls = self.token is not None and hmac.compare_digest(given, self.token)
        reads = self.read_token is not None and hmac.compare_digest(given, self.read_token)
        bearer = scheme.lower() == "bearer"
        if controls and bearer:
            return Caller("control token", request.client)
        if reads and bearer:
            return Caller("read token", request.client)
        tokens = self.token is not None or self.read_token is not None
        return Caller("wrong token" if given and tokens else "no token", request.client)

    def _unknown(self, caller: Caller) -> Problem:
        wrong = caller.name == "wrong token"
        variables = [
            name
            for name, token in (
                ("CHAOSPOINT_ADMIN_TOKEN", self.token),
                ("CHAOSPOINT_ADMIN_READ_TOKEN, which only reads", self.read_token),
            )
            if token is not None
        ]
        return Problem(
            401,
            "token-needed",
            "the admin endpoint requires a token, and the token was "
            + ("wrong" if wrong else "not sent"),
            headers={"www-authenticate": 'Bearer realm="chaospoint"'},
            # A client that sends no token is not guessing.
            delay_seconds=self.guesses.wrong(caller.address) if wrong else 0.0,
            cure=f"send 'Authorization: Bearer ...' with the value of {' or '.join(variables)}",
        )

    def _this_machine(self, request: Request) -> None:
        if not is_loopback(request.client):
            raise Problem(
                403,
                "not-this-machine",
                f"without a token only clients on this machine have access, and this one is "
                f"{request.client or 'a socket'}",
                client=request.client,
                cure=_TOKEN_CURE,
            )
        through = [name for name in request.headers if _is_of_a_proxy(name)]
        if request.version == "HTTP/1.0":
            # The default of nginx towards its upstreams, and rare among clients.
            through.append(request.version)
        if through:
            raise Problem(
                403,
                "forwarded",
                f"the request came through a proxy ({', '.join(through)}), so its client may be on "
                "another machine",
                through=through,
                cure=f"send the request from this machine without the proxy; or {_TOKEN_CURE}",
            )
        host = _host_name(request.headers.get("host", ""))
        if not (_is_local_name(host) or host in self.hosts):
            raise Problem(
                403,
                "unknown-host",
                f"the Host header is {request.headers.get('host', '')!r}, which is not a name of "
                "this machine",
                host=request.headers.get("host", ""),
                cure=f"use localhost or 127.0.0.1; or {_TOKEN_CURE}",
            )

    def _same_site(self, request: Request) -> None:
        origin = request.headers.get("origin")
        site = request.headers.get("sec-fetch-site", "none").lower()
        foreign = origin is not None and _netloc(origin) != request.headers.get("host", "").lower()
        if foreign or site not in ("none", "same-origin"):
            raise Problem(
                403,
                "cross-site",
                f"the request came from a page of another site (Origin {origin!r}, Sec-Fetch-Site "
                f"{site!r})",
                origin=origin,
                cure="use a program, such as curl, or a page of the same origin",
            )

    def _may_write(self, caller: Caller, *, stops: bool) -> None:
        if caller.name == "read token":
            raise Problem(
                403,
                "read-token",
                "the read token allows only reads, and this request is a write",
                cure=_TOKEN_CURE
                if self.token is None
                else "send 'Authorization: Bearer ...' with the value of CHAOSPOINT_ADMIN_TOKEN",
            )
        if stops:
            return  # every client with access may disable, because that only makes things safer
        if not self.permission.allowed:
            raise Problem(
                403,
                "not-allowed",
                self.permission.why,
                environment=self.environment,
                cure=self.permission.cure or None,
            )
        if self.read_only:
            raise Problem(
                403,
                "token-needed-to-write",
                f"in the environment {self.environment!r} writes require a token; without one they "
                f"are allowed in {', '.join(sorted(OPEN_ENVIRONMENTS))}",
                environment=self.environment,
                cure=f"{_TOKEN_CURE}; until then `rules: []` in the plan file disarms its rules",
            )


def _bytes(secret: SecretStr | None) -> bytes | None:
    return None if secret is None else secret.get_secret_value().encode()


def is_order_to_disable(request: Request) -> bool:
    """Return whether the request disables; a slash at the end of its path is ignored."""
    return request.method == "POST" and request.path.rstrip("/") == DISABLE


def is_loopback(address: str) -> bool:
    """Return whether ``address`` is a loopback address: 127.0.0.0/8 or ::1."""
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return False
    mapped = getattr(ip, "ipv4_mapped", None)  # dual-stack sockets report ::ffff:127.0.0.1
    return bool((mapped or ip).is_loopback)


def _is_of_a_proxy(name: str) -> bool:
    of_many = f"{name}-".startswith(_PREFIXES_OF_PROXIES) or name.endswith("-ip")
    return of_many or name in _OF_PROXIES


def _is_local_name(host: str) -> bool:
    return host == "localhost" or is_loopback(host)


def _host_name(host: str) -> str:
    """Return the name in a Host header, without port and brackets; empty if malformed."""
    try:
        parts = urlsplit(f"//{host}")
        _ = parts.port
    except ValueError:
        return ""
    return (parts.hostname or "") if parts.netloc == host and "@" not in host else ""


def _netloc(origin: str) -> str:
    try:
        return urlsplit(origin).netloc.lower() or "null"
    except ValueError:
        return "null"
