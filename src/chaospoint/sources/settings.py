"""Read and check the settings in the environment, and decide whether rules may be armed (law 10).

An invalid variable is not an error. It is logged as one WARNING with its value and the cure, and
counts as unset. With an invalid limit, no source but code may arm; with an invalid token and no
other token, the admin endpoint refuses every client. The value of a token is never shown.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import (
    BeforeValidator,
    Field,
    PrivateAttr,
    SecretStr,
    TypeAdapter,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from chaospoint import _environ
from chaospoint._environ import PREFIX, hint, unknown
from chaospoint._kernel.logger import LOGGER
from chaospoint._kernel.names import nearest
from chaospoint.models.durations import Lifetime
from chaospoint.plan.limits import Limits
from chaospoint.sources.variables import (
    ADMIN_ADDRESS,
    absolute_path,
    argument_names,
    fault_kinds,
    optional_address,
    optional_seed,
    patterns,
    secret,
    some_text,
    store_url,
    switch,
    word,
    words,
)

__all__ = [
    "PREFIX",
    "Permission",
    "Settings",
    "explicitly_off",
    "permission",
    "read_settings",
    "split_address",
]

_CURE = (
    "set CHAOSPOINT_ENABLED=true in the service, and CHAOSPOINT_ENVIRONMENT to one of "
    "CHAOSPOINT_ALLOWED_ENVIRONMENTS"
)
_LIMITS = (
    "max_latency",
    "max_hang",
    "max_expires_after",
    "forbidden_points",
    "forbidden_kinds",
    "secret_arguments",
)
_TOKENS = ("admin_token", "admin_read_token")
_UNSET = " is ignored"
_CONSEQUENCES: dict[str, str] = {
    **dict.fromkeys(_LIMITS, f"{_UNSET}, so only code can arm rules"),
    **dict.fromkeys(
        _TOKENS,
        " does not contain a token; without another token the admin endpoint refuses all clients",
    ),
}
_BY_CODE = "despite_environment"  # only code can set it


class _Environ(PydanticBaseSettingsSource):
    """Reads the variables; each is checked alone, so an invalid one does not affect the others."""

    def get_field_value(
        self,
        field: FieldInfo,  # noqa: ARG002
        field_name: str,
    ) -> tuple[Any, str, bool]:
        return os.environ.get(PREFIX + field_name.upper()), field_name, False

    def __call__(self) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for name, field in self.settings_cls.model_fields.items():
            if name == _BY_CODE:
                continue
            raw, _, _ = self.get_field_value(field, name)
            if raw is None:
                continue
            try:
                values[name] = TypeAdapter(field.rebuild_annotation()).validate_python(raw)
            except ValidationError:
                LOGGER.warning(
                    "%s%s%s%s: %s",
                    PREFIX,
                    name.upper(),
                    " (not shown)" if "token" in name else f"={_shown(raw)}",
                    _CONSEQUENCES.get(name, _UNSET),
                    field.description,
                )
        return values


class Settings(BaseSettings):
    """The settings of ``CHAOSPOINT_*``; keywords override the environment.

    One exception: ``enabled=True`` overrides ``CHAOSPOINT_ENABLED=false`` only together with
    ``despite_environment=True``. Immutable. ``admin`` is None or a normalised ``host:port``;
    ``store`` is None or a normalised ``file:///...``; ``config`` and ``audit_log`` are absolute
    paths; environments are lower case; durations are in seconds. ``environment`` is in
    ``model_fields_set`` only if it was set.
    """

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True)

    enabled: Annotated[bool | None, BeforeValidator(switch)] = Field(
        default=None, description="write true, yes, on or 1; or false, no, off or 0"
    )
    environment: Annotated[str, BeforeValidator(word)] = Field(
        default="local", description="write one name, such as staging; unset means local"
    )
    allowed_environments: Annotated[tuple[str, ...], BeforeValidator(words)] = Field(
        default=("local", "dev", "development", "test", "ci", "staging"),
        description="write names with commas, such as local,ci,staging",
    )
    config: Annotated[Path | None, BeforeValidator(absolute_path)] = Field(
        default=None,
        description="write the path of a plan file (.yaml, .toml or .json), or unset it",
    )
    store: Annotated[str | None, BeforeValidator(store_url)] = Field(
        default=None,
        description="write file:// and the absolute path of a directory, such as "
        "file:///var/lib/shop/chaos, or unset it",
    )
    seed: Annotated[int | None, BeforeValidator(optional_seed)] = Field(
        default=None, description="write a whole number from 0 to 2**63 - 1, such as 7"
    )
    admin: Annotated[str | None, BeforeValidator(optional_address)] = Field(
        default=None,
        description=f"write true (which is {ADMIN_ADDRESS}), false, host:port or [ipv6]:port, "
        "such as 127.0.0.1:9000",
    )
    admin_token: Annotated[SecretStr | None, BeforeValidator(secret)] = Field(
        default=None, description="write a secret that is not empty, or unset it"
    )
    admin_read_token: Annotated[SecretStr | None, BeforeValidator(secret)] = Field(
        default=None,
        description="write a secret that is not empty and not CHAOSPOINT_ADMIN_TOKEN, or unset it",
    )
    audit_log: Annotated[Path | None, BeforeValidator(absolute_path)] = Field(
        default=None, description="write the path of a file, or unset it"
    )
    points: Annotated[str | None, BeforeValidator(some_text)] = Field(
        default=None,
        description="write rules, such as payment.charge=5%latency(1s); db.*=off",
    )
    max_latency: Lifetime = Field(
        default=None, description="write a duration above 0, such as 500ms, or unset it"
    )
    max_hang: Lifetime = Field(
        default=None, description="write a duration above 0, such as 30s, or unset it"
    )
    max_expires_after: Lifetime = Field(
        default=None, description="write a duration above 0, such as 10m, or unset it"
    )
    forbidden_points: Annotated[tuple[str, ...], BeforeValidator(patterns)] = Field(
        default=(),
        description="write names of points, or globs, with commas, such as payment.refund,auth.*, "
        "or unset it",
    )
    forbidden_kinds: Annotated[tuple[str, ...], BeforeValidator(fault_kinds)] = Field(
        default=(),
        description="write kinds of faults with commas, of latency, exception, return, hang, call, "
        "off, delay, print, yield, pause or an installed one, or unset it",
    )
    secret_arguments: Annotated[tuple[str, ...], BeforeValidator(argument_names)] = Field(
        default=(),
        description="write names of arguments with commas, such as iban,card_number, or unset it",
    )
    despite_environment: bool = Field(
        default=False, description="write True to start although CHAOSPOINT_ENABLED is false"
    )

    _bad_limits: tuple[tuple[str, str], ...] = PrivateAttr(())
    _bad_tokens: tuple[str, ...] = PrivateAttr(())

    def __init__(self, **keys: Any) -> None:
        known = type(self).model_fields
        for key in keys:
            if key not in known and not key.startswith("_"):
                near = nearest(key, known, most=1)
                cure = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(known)}"
                raise TypeError(f"Settings has no {key!r}: {cure}")
        try:
            super().__init__(**keys)
        except ValidationError as error:
            key = str(error.errors(include_url=False)[0]["loc"][0])
            value = "(not shown)" if "token" in key else f"={_shown(str(keys.get(key)))}"
            raise ValueError(f"{key}{value}: {known[key].description}") from None

    @field_validator("admin_read_token")
    @classmethod
    def _not_the_same(cls, value: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        if value is None or value != info.data.get("admin_token"):
            return value
        LOGGER.warning(
            "CHAOSPOINT_ADMIN_READ_TOKEN (not shown) is ignored, because it equals "
            "CHAOSPOINT_ADMIN_TOKEN: set a different secret for clients that may only read"
        )
        return None

    def model_post_init(self, _context: Any, /) -> None:  # noqa: D102 - pydantic's own hook
        # A variable that is in the environment but not in a field was invalid.
        bad = [
            (name, raw)
            for name in (*_LIMITS, *_TOKENS)
            if (raw := os.environ.get(PREFIX + name.upper())) is not None
            and name not in self.model_fields_set
        ]
        self._bad_limits = tuple((name, raw) for name, raw in bad if name in _LIMITS)
        self._bad_tokens = tuple(PREFIX + name.upper() for name, _ in bad if name in _TOKENS)

    @property
    def bad_tokens(self) -> tuple[str, ...]:
        """The token variables that are set but do not contain one, such as a missing secret."""
        return self._bad_tokens

    @property
    def limits(self) -> Limits:
        """The limits for rules from outside; `permission` refuses if one of them is invalid."""
        return Limits(**{name: getattr(self, name) for name in _LIMITS})

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
    """Return the settings in the environment now; raises nothing.

    Each invalid variable, and each unknown ``CHAOSPOINT_*`` variable, is one WARNING.
    """
    for variable in unknown():
        LOGGER.warning("%s is not a variable of chaospoint: %s", variable, hint(variable))
    return Settings()


@dataclass(frozen=True, slots=True)
class Permission:
    """Whether sources other than code may arm rules, the reason, and the cure if not."""

    allowed: bool
    why: str
    cure: str = ""


def permission(settings: Settings) -> Permission:
    """Return whether sources other than code may arm rules (law 10).

    This needs the master switch, an allowed environment and valid limits.
    """
    if settings.enabled is None:
        why = "CHAOSPOINT_ENABLED is not set; set it to true to allow chaos"
        return Permission(False, why, _CURE)
    if not settings.enabled:
        if settings.despite_environment and explicitly_off():
            why = "CHAOSPOINT_ENABLED is false; pass enabled=True beside despite_environment=True"
            return Permission(False, why, _CURE)
        return Permission(False, "CHAOSPOINT_ENABLED is false", _CURE)
    if explicitly_off() and not settings.despite_environment:
        return Permission(
            False,
            "CHAOSPOINT_ENABLED is false in this process, which Settings(enabled=True) does not "
            "override; unset it, or pass despite_environment=True as well",
            _CURE,
        )
    allowed = ", ".join(settings.allowed_environments)
    if settings.environment not in settings.allowed_environments:
        return Permission(
            False,
            f"{_switch()}, but CHAOSPOINT_ENVIRONMENT is "
            f"{settings.environment!r}, which is not among CHAOSPOINT_ALLOWED_ENVIRONMENTS "
            f"({allowed})",
            _CURE,
        )
    if settings._bad_limits:
        name, value = settings._bad_limits[0]
        cure = Settings.model_fields[name].description or ""
        return Permission(
            False,
            f"{PREFIX}{name.upper()}={_shown(value)} is not a valid limit, so only code can arm "
            f"rules; {cure}",
            cure,
        )
    return Permission(True, f"{_switch()}, and {settings.environment!r} is among {allowed}")


def explicitly_off() -> bool:
    """Return whether ``CHAOSPOINT_ENABLED`` is false in the environment."""
    return os.environ.get(_environ.VARIABLE, "").strip().lower() in _environ.FALSE


def _switch() -> str:
    if explicitly_off():
        return "CHAOSPOINT_ENABLED is false, which Settings(despite_environment=True) overrides"
    return "CHAOSPOINT_ENABLED is true"


def split_address(address: str) -> tuple[str, int]:
    """Split a normalised ``host:port``, and remove the brackets of an IPv6 host."""
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)


def _shown(value: str) -> str:
    return repr(value if len(value) <= 80 else value[:77] + "...")
