"""Who may come in, decided from the request alone.

With a token: whoever shows it, for reads and metrics too, from anywhere; what may be written is
law 10's to say.  Without: only clients of this machine, under a name of this machine, not through
a proxy; and writes only in `OPEN_ENVIRONMENTS`.  Never a page of another site: a browser is the
one client that can be made to call us by a stranger.
"""

from __future__ import annotations

import hmac
import ipaddress
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from chaospoint.control.messages import Request
from chaospoint.control.problem import Problem
from chaospoint.settings import Permission, Settings, permission, split_address

__all__ = ["OPEN_ENVIRONMENTS", "Door", "is_loopback"]

OPEN_ENVIRONMENTS = frozenset({"local", "dev", "development", "test", "ci"})
"""Where a client without a token may write."""

_READS = frozenset({"GET", "HEAD"})
_FORWARDED = (
    "forwarded",
    "via",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-real-ip",
)
_EVERYWHERE = frozenset({"0.0.0.0", "::"})  # addresses to bind, never the name of a machine
_TOKEN_CURE = "set CHAOSPOINT_ADMIN_TOKEN in the service and send 'Authorization: Bearer ...'"


@dataclass(frozen=True, slots=True)
class Door:
    """The conditions of entry; ``hosts`` are names besides those of loopback."""

    environment: str
    permission: Permission
    token: bytes | None = field(default=None, repr=False)
    hosts: frozenset[str] = frozenset()

    @classmethod
    def of(cls, settings: Settings) -> Door:
        """Return the door that these settings describe."""
        secret = settings.admin_token
        bound = {split_address(settings.admin)[0]} if settings.admin else set()
        return cls(
            settings.environment,
            permission(settings),
            None if secret is None else secret.get_secret_value().encode(),
            frozenset(bound - _EVERYWHERE),
        )

    @property
    def read_only(self) -> bool:
        """Whether changes are refused here for want of a token."""
        return self.token is None and self.environment not in OPEN_ENVIRONMENTS

    def check(self, request: Request) -> None:
        """Raise the `Problem` that keeps ``request`` out, or return."""
        self._same_site(request)
        if self.token is None:
            self._this_machine(request)
        else:
            self._bearer(request, self.token)
        if request.method not in _READS:
            self._may_write()

    def _bearer(self, request: Request, token: bytes) -> None:
        scheme, _, shown = request.headers.get("authorization", "").partition(" ")
        # Header text is latin-1 of what was sent, so this gives the bytes back.
        given = shown.strip().encode("latin-1", "replace")
        if not (hmac.compare_digest(given, token) and scheme.lower() == "bearer"):
            raise Problem(
                401,
                "token-needed",
                "the admin endpoint needs its token, and it was "
                + ("not the right one" if shown else "not sent"),
                headers={"www-authenticate": 'Bearer realm="chaospoint"'},
                cure="send 'Authorization: Bearer ...' with the value of CHAOSPOINT_ADMIN_TOKEN",
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
        through = [name for name in _FORWARDED if name in request.headers]
        if through:
            raise Problem(
                403,
                "forwarded",
                f"the request came through a proxy ({', '.join(through)}), so nobody can say "
                "that it is from this machine",
                through=through,
                cure=_TOKEN_CURE,
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

    def _may_write(self) -> None:
        if not self.permission.allowed:
            raise Problem(
                403,
                "not-allowed",
                self.permission.why,
                environment=self.environment,
                cure="set CHAOSPOINT_ENABLED=true in the service, and CHAOSPOINT_ENVIRONMENT to "
                "one of CHAOSPOINT_ALLOWED_ENVIRONMENTS",
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


def is_loopback(address: str) -> bool:
    """Say whether ``address`` is one of this machine's own, 127.0.0.0/8 or ::1."""
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return False
    mapped = getattr(ip, "ipv4_mapped", None)  # ::ffff:127.0.0.1, as dual-stack sockets say it
    return bool((mapped or ip).is_loopback)


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
