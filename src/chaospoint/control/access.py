"""Who may come in, decided from the request alone.

With tokens: clients that show one, for reads and metrics too, from anywhere; the read token never
writes, and what may be written is law 10's to say.  Without: only clients of this machine, under a
name of this machine, not through a proxy; and writes only in `OPEN_ENVIRONMENTS`.  Never a page of
another site: a browser is the one client that can be made to call us by a stranger.
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
"""Where a client without a token may write."""

READS = frozenset({"GET", "HEAD"})
"""The methods that change nothing; every other one is a write."""

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
"""The names of headers that proxies add; a prefix is also a name, without its hyphen."""

_EVERYWHERE = frozenset({"0.0.0.0", "::"})  # addresses to bind, never the name of a machine
_TOKEN_CURE = (
    "set CHAOSPOINT_ADMIN_TOKEN in the service, start it again, and send that value as "
    "'Authorization: Bearer ...'; the command line reads it from its own CHAOSPOINT_ADMIN_TOKEN"
)

DISABLE = "/v1/disable"
"""The path of the request that stops everything; it is allowed also where nothing may arm."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks, as far as it is known; ``address`` is that of the peer of the connection."""

    name: Literal["control token", "read token", "wrong token", "no token"]
    address: str


@dataclass(frozen=True, slots=True)
class AccessPolicy:
    """The conditions of entry; ``hosts`` are names besides those of loopback.

    ``token`` controls, and ``read_token`` reads; without both the door stays shut while there are
    ``bad_tokens``, variables that should hold one. Safe from any thread.
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
        """Return the door that these settings describe."""
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
    def _shut(self) -> bool:
        return bool(self.bad_tokens) and self.token is None and self.read_token is None

    @property
    def read_only(self) -> bool:
        """Whether changes are refused here for want of a token."""
        reads = self.read_token is not None or self.environment not in OPEN_ENVIRONMENTS
        return self.token is None and reads

    def check(self, request: Request) -> Caller:
        """Return who asks, or raise the `Problem` that keeps the request out."""
        self._same_site(request)
        if self._shut:
            raise Problem(
                403,
                "bad-token",
                f"{' and '.join(self.bad_tokens)} is set and holds no token, so nobody is let in",
                cure="set it to a secret that is not empty; or unset it, and only clients on this "
                "machine are let in",
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
        """Say whether a client shows a token; where there is none, whether it is of this machine.

        Such a client is served before all others. `check` may refuse it all the same.
        """
        if self.token is None and self.read_token is None:
            return not self._shut and is_loopback(request.client)
        return self.caller(request).name in ("control token", "read token")

    def caller(self, request: Request) -> Caller:
        """Return who asks, whether it may or not; where there are no tokens none is wrong."""
        scheme, _, shown = request.headers.get("authorization", "").partition(" ")
        # Header text is latin-1 of what was sent, so this gives the bytes back.
        given = shown.strip().encode("latin-1", "replace")
        # Both are compared, so that the time it takes does not say which one was near.
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
            "the admin endpoint needs its token, and it was "
            + ("not the right one" if wrong else "not sent"),
            headers={"www-authenticate": 'Bearer realm="chaospoint"'},
            # Who sends none guesses nothing.
            delay_seconds=self.guesses.wrong(caller.address) if wrong else 0.0,
            cure=f"send 'Authorization: Bearer ...' with the value of {' or '.join(variables)}",
        )

    def _this_machine(self, request: Request) -> None:
        if not is_loopback(request.client):
            raise Problem(
                403,
                "not-this-machine",
                f"without a token only this machine may ask, not {request.client or 'a socket'}",
                client=request.client,
                cure=_TOKEN_CURE,
            )
        through = [name for name in request.headers if _is_of_a_proxy(name)]
        if request.version == "HTTP/1.0":
            through.append(
                request.version
            )  # nginx speaks it to its upstreams by default; few clients do
        if through:
            raise Problem(
                403,
                "forwarded",
                f"the request came through a proxy ({', '.join(through)}), so nobody can say "
                "that it is from this machine",
                through=through,
                cure=f"ask the service itself from this machine, past the proxy; or {_TOKEN_CURE}",
            )
        host = _host_name(request.headers.get("host", ""))
        if not (_is_local_name(host) or host in self.hosts):
            raise Problem(
                403,
                "unknown-host",
                f"the Host header says {request.headers.get('host', '')!r}, which is no name of "
                "this machine",
                host=request.headers.get("host", ""),
                cure=f"ask by localhost or 127.0.0.1; or {_TOKEN_CURE}",
            )

    def _same_site(self, request: Request) -> None:
        origin = request.headers.get("origin")
        site = request.headers.get("sec-fetch-site", "none").lower()
        foreign = origin is not None and _netloc(origin) != request.headers.get("host", "").lower()
        if foreign or site not in ("none", "same-origin"):
            raise Problem(
                403,
                "cross-site",
                f"a page of another site asked (Origin {origin!r}, Sec-Fetch-Site {site!r})",
                origin=origin,
                cure="ask from a program, such as curl, or from a page of this very origin",
            )

    def _may_write(self, caller: Caller, *, stops: bool) -> None:
        if caller.name == "read token":
            raise Problem(
                403,
                "read-token",
                "the read token only reads, and this would change something",
                cure=_TOKEN_CURE
                if self.token is None
                else "send 'Authorization: Bearer ...' with the value of CHAOSPOINT_ADMIN_TOKEN",
            )
        if stops:
            return  # for every client that is let in: it only makes things safer
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
                f"in the environment {self.environment!r} writing needs a token; without one it "
                f"is allowed in {', '.join(sorted(OPEN_ENVIRONMENTS))}",
                environment=self.environment,
                cure=f"{_TOKEN_CURE}; until then `rules: []` in the plan file disarms its rules",
            )


def _bytes(secret: SecretStr | None) -> bytes | None:
    return None if secret is None else secret.get_secret_value().encode()


def is_order_to_disable(request: Request) -> bool:
    """Say whether the request stops everything; a slash at the end of its path means nothing."""
    return request.method == "POST" and request.path.rstrip("/") == DISABLE


def is_loopback(address: str) -> bool:
    """Say whether ``address`` is one of this machine's own, 127.0.0.0/8 or ::1."""
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return False
    mapped = getattr(ip, "ipv4_mapped", None)  # ::ffff:127.0.0.1, as dual-stack sockets say it
    return bool((mapped or ip).is_loopback)


def _is_of_a_proxy(name: str) -> bool:
    of_many = f"{name}-".startswith(_PREFIXES_OF_PROXIES) or name.endswith("-ip")
    return of_many or name in _OF_PROXIES


def _is_local_name(host: str) -> bool:
    return host == "localhost" or is_loopback(host)


def _host_name(host: str) -> str:
    """Return the name in a Host header without port and brackets; empty if it is malformed."""
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
