"""What the environment says, read once and never trusted: law 10 is decided here.

A bad variable is no error: it is one WARNING with the variable, its value and the cure, and counts
as unset.  The value of the token is never shown.  Reading settings does nothing else.
"""

from __future__ import annotations

import ipaddress
import logging
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, SecretStr, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from chaospoint._environ import FALSE, TRUE
from chaospoint.models.quantities import whole
from chaospoint.reminder import PREFIX, hint, unknown

__all__ = ["PREFIX", "Permission", "Settings", "permission", "read_settings", "split_address"]

ADMIN_ADDRESS = "127.0.0.1:8475"

_log = logging.getLogger("chaospoint")


def _switch(value: object) -> object:
    if not isinstance(value, str):
        return value
    word = value.strip().lower()
    if word not in TRUE | FALSE:
        raise ValueError("neither true nor false")
    return word in TRUE


def _word(value: object) -> object:
    if not isinstance(value, str):
        return value
    word = value.strip().lower()
    if not word:
        raise ValueError("empty")
    return word


def _words(value: object) -> object:
    parts = value.split(",") if isinstance(value, str) else value
    if not isinstance(parts, Iterable):
        return value
    words = tuple(word for part in parts if (word := str(part).strip().lower()))
    if not words:
        raise ValueError("empty")
    return words


def _path(value: object) -> object:
    if not isinstance(value, str | Path):
        return value
    if not str(value).strip() or "\0" in str(value):
        raise ValueError("not a path")
    # Made absolute now: a program may change its directory later.
    return Path(os.path.abspath(os.path.expanduser(value)))


def _text(value: object) -> object:
    if isinstance(value, str) and not value.strip():
        raise ValueError("empty")
    return value


def _seed(value: object) -> int | None:
    if value is None:
        return None
    if isinstance(value, str):
        value = int(value)
    return whole(value, 0, 2**63 - 1)  # the bounds of a rule's seed


def _secret(value: object) -> object:
    if isinstance(value, SecretStr):
        value = value.get_secret_value()
    if not isinstance(value, str):
        return value
    secret = value.strip()
    if not secret:
        raise ValueError("empty")
    return secret


def _address(value: object) -> object:
    if value is None:
        return None
    word = str(value).strip().lower()
    if word in TRUE:
        return ADMIN_ADDRESS
    if word in FALSE:
        return None
    host, _, port = word.rpartition(":")
    if not re.fullmatch(r"[0-9]{1,5}", port) or int(port) > 65535:
        raise ValueError("no port")
    if host.startswith("[") and host.endswith("]"):
        ipaddress.IPv6Address(host[1:-1])
    elif not re.fullmatch(r"[a-z0-9._-]+", host):
        raise ValueError("no host")
    return f"{host}:{int(port)}"


class _Environ(PydanticBaseSettingsSource):
    """The variables, each judged on its own, so that a bad one takes no other with it."""

    def get_field_value(
        self,
        field: FieldInfo,  # noqa: ARG002
        field_name: str,
    ) -> tuple[Any, str, bool]:
        return os.environ.get(PREFIX + field_name.upper()), field_name, False

    def __call__(self) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for name, field in self.settings_cls.model_fields.items():
            raw, _, _ = self.get_field_value(field, name)
            if raw is None:
                continue
            try:
                values[name] = TypeAdapter(field.rebuild_annotation()).validate_python(raw)
            except ValidationError:
                _log.warning(
                    "%s%s%s counts as unset: %s",
                    PREFIX,
                    name.upper(),
                    " (not shown)" if "token" in name else f"={_shown(raw)}",
                    field.description,
                )
        return values


class Settings(BaseSettings):
    """What ``CHAOSPOINT_*`` says; keywords win over the environment.

    Immutable. ``admin`` is None or a normalised ``host:port``; ``config`` is absolute;
    environments are lower case. ``environment`` is in ``model_fields_set`` only if it was set.
    """

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True)

    enabled: Annotated[bool | None, BeforeValidator(_switch)] = Field(
        default=None, description="write true, yes, on or 1; or false, no, off or 0"
    )
    environment: Annotated[str, BeforeValidator(_word)] = Field(
        default="local", description="write one name, such as staging; unset means local"
    )
    allowed_environments: Annotated[tuple[str, ...], BeforeValidator(_words)] = Field(
        default=("local", "dev", "development", "test", "ci", "staging"),
        description="write names with commas, such as local,ci,staging",
    )
    config: Annotated[Path | None, BeforeValidator(_path)] = Field(
        default=None,
        description="write the path of a plan file (.yaml, .toml or .json), or unset it",
    )
    seed: Annotated[int | None, BeforeValidator(_seed)] = Field(
        default=None, description="write a whole number from 0 to 2**63 - 1, such as 7"
    )
    admin: Annotated[str | None, BeforeValidator(_address)] = Field(
        default=None,
        description=f"write true (which is {ADMIN_ADDRESS}), false, host:port or [ipv6]:port, "
        "such as 127.0.0.1:9000",
    )
    admin_token: Annotated[SecretStr | None, BeforeValidator(_secret)] = Field(
        default=None, description="write a secret that is not empty, or unset it"
    )
    points: Annotated[str | None, BeforeValidator(_text)] = Field(
        default=None,
        description="write rules, such as payment.charge=5%latency(1s); db.*=off",
    )

    @classmethod
    def settings_customise_sources(  # noqa: D102 - pydantic-settings' own hook
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return init_settings, _Environ(settings_cls)


def read_settings() -> Settings:
    """Return what the environment says now; raises nothing.

    Each bad variable, and each ``CHAOSPOINT_*`` variable that means nothing, is one WARNING.
    """
    for variable in unknown():
        _log.warning("%s means nothing to chaospoint: %s", variable, hint(variable))
    return Settings()


@dataclass(frozen=True, slots=True)
class Permission:
    """Whether anything from outside may arm here, and why (not)."""

    allowed: bool
    why: str


def permission(settings: Settings) -> Permission:
    """Decide law 10: what comes from outside needs the switch, and an allowed environment."""
    if settings.enabled is None:
        return Permission(False, "CHAOSPOINT_ENABLED is not set; set it to true to allow chaos")
    if not settings.enabled:
        return Permission(False, "CHAOSPOINT_ENABLED is false")
    allowed = ", ".join(settings.allowed_environments)
    if settings.environment not in settings.allowed_environments:
        return Permission(
            False,
            f"CHAOSPOINT_ENABLED is true, but CHAOSPOINT_ENVIRONMENT is "
            f"{settings.environment!r}, which is not among CHAOSPOINT_ALLOWED_ENVIRONMENTS "
            f"({allowed})",
        )
    return Permission(
        True, f"CHAOSPOINT_ENABLED is true, and {settings.environment!r} is among {allowed}"
    )


def split_address(address: str) -> tuple[str, int]:
    """Split a normalised ``host:port``; the brackets of an IPv6 host are taken off."""
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)


def _shown(value: str) -> str:
    return repr(value if len(value) <= 80 else value[:77] + "...")
