"""A federation's settings: one TOML file, over which secrets and the environment win."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, field_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from fedguard.errors import ConfigError, UnknownName

__all__ = ["CONFIG", "FILE", "Settings", "read_settings", "written"]

FILE = "fedguard.toml"
CONFIG = "FEDGUARD_CONFIG"
"""The variable of the environment that names the file."""
SECRETS = "FEDGUARD_SECRETS"
"""And the folder of secrets: a file `fedguard_store` in it holds `store`."""

LOOPBACK, NONE = "127.0.0.1", "none"

HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?")


def _host(value: str) -> str:
    """A name or an address that a certificate can be for."""
    if not HOST.fullmatch(value):
        try:
            ip_address(value)
        except ValueError:
            raise ValueError("a host's name or IP address, with no scheme and no port") from None
    return value


SiteName = Annotated[str, AfterValidator(_host)]
Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=0)]
Port = Annotated[int, Field(ge=1, le=65535)]
Seconds = Annotated[float, Field(gt=0)]


class Section(BaseModel):
    """A table of the file; unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @field_validator("*", mode="before")
    @classmethod
    def _none(cls, value: Any) -> Any:
        """TOML and the environment have no word for no value: it is "none"."""
        return None if value == NONE else value


class PolicySettings(Section):
    """How updates are aggregated, and how evidence acts."""

    f: Count = Field(1, description="How many clients may be hostile at once.")
    defence: str = Field(
        "",
        description="What aggregates, as `fedguard rules` lists it; empty: what `auto` chooses.",
    )
    optimiser: str = Field("", description="The server's: fedavgm(), fedadam(lr=0.01), or none.")
    false_quarantines: Annotated[float, Field(gt=0, le=1)] = Field(
        0.1, description="Honest clients that may be quarantined, per 1,000 client-rounds."
    )
    quorum: Share = Field(
        0.5, description="A round in which a smaller share of those asked is admitted is held."
    )
    seed: Count = Field(0, description="Draws the scorers' sketches: any number nobody knows.")


class RoundSettings(Section):
    """Who takes part in rounds, and how long they last."""

    count: Annotated[int, Field(ge=1)] = Field(
        20, description="Rounds to train, all runs together."
    )
    min_nodes: Annotated[int, Field(ge=1)] = Field(3, description="Nodes that a round waits for.")
    node_timeout: Seconds = Field(600.0, description="For how many seconds it waits for them.")
    fraction_train: Share = Field(1.0, description="Share of the nodes that a round asks.")
    fraction_evaluate: Share = Field(1.0, description="Share that measures the model after it.")
    timeout: Seconds = Field(3600.0, description="Seconds until a round ends without the rest.")
    patience: Seconds | None = Field(
        300.0, description="Seconds for the others once the quorum has replied; none: no limit."
    )
    retries: Count | None = Field(
        2, description="Held rounds in a row that are tried again before the run ends."
    )
    longest: Annotated[float, Field(gt=0)] | None = Field(
        None, description="Largest Euclidean norm of an update; none: no limit."
    )
    memory: Annotated[int, Field(ge=1)] = Field(
        1 << 30, description="Bytes of updates held in memory; a larger round goes to disk."
    )
    spool: Path | None = Field(
        None, description="Folder for those; none: the system's for temporary files."
    )


class KeepSettings(Section):
    """For how many rounds the store keeps things."""

    inputs: Count = Field(0, description="Updates themselves, for `fedguard replay`: large.")
    verdicts: Count | None = Field(None, description="Verdicts and events; none: for good.")


class SuperLinkSettings(Section):
    """Flower's SuperLink, with TLS and node keys."""

    host: str = Field("127.0.0.1", description="Address to listen on; 0.0.0.0 for all.")
    port: Port = Field(9092, description="Port of its Fleet, Control and Runtime APIs.")
    names: tuple[SiteName, ...] = Field(
        (LOOPBACK, "localhost", "superlink"),
        description="Names and addresses its certificate is for, the one for sites first.",
    )
    address: str | None = Field(
        None, description="How programs of the server reach it; none: by loopback, or as sites do."
    )
    health_port: Port | None = Field(
        None, description="Port of Flower's own gRPC health service; none: not started."
    )


class ServeSettings(Section):
    """`fedguard serve`: health over HTTP and gRPC, and metrics for Prometheus."""

    host: str = Field("127.0.0.1", description="Address to listen on.")
    http_port: Port = Field(9100, description="/healthz, /readyz and /metrics.")
    grpc_port: Port = Field(9101, description="grpc.health.v1.Health.")
    certificate: Path | None = Field(None, description="TLS certificate for HTTP; none: no TLS.")
    key: Path | None = Field(None, description="Its private key.")
    token_file: Path | None = Field(
        None, description="File with the bearer token that /metrics wants; none: open."
    )
    clients: Count = Field(
        500, description="Clients with series of their own, and as many in quarantine; 0: none."
    )


class LogSettings(Section):
    """What the server tells of its rounds while they run."""

    form: Literal["flower", "console", "json"] = Field(
        "flower",
        description="flower: Flower's own lines; console or json: with the round in each.",
    )
    traces: bool = Field(
        False, description="OpenTelemetry spans, to OTEL_EXPORTER_OTLP_ENDPOINT: fedguard[otel]."
    )


class Settings(BaseSettings):
    """A federation. Paths are relative to the file's folder."""

    model_config = SettingsConfigDict(
        env_prefix="FEDGUARD_", env_nested_delimiter="__", extra="forbid", frozen=True
    )
    federation: str = Field("lab", description="Its name in the store.", pattern=r"^[\w.-]{1,64}$")
    app: Path = Field(Path("app"), description="The Flower app that it runs.")
    store: str = Field(
        "store",
        description="A folder, or a database's URL. One with a password belongs into the "
        "environment or a secret, not here.",
    )
    files: Path | None = Field(
        None, description="Folder of key and models when the store is a URL; none: ./files."
    )
    trial_nodes: Count = Field(4, description="SuperNodes that `fedguard up` starts beside it.")
    policy: PolicySettings = PolicySettings()
    rounds: RoundSettings = RoundSettings()
    keep: KeepSettings = KeepSettings()
    superlink: SuperLinkSettings = SuperLinkSettings()
    serve: ServeSettings = ServeSettings()
    log: LogSettings = LogSettings()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The environment first, then secrets, then the file."""
        return env_settings, file_secret_settings, TomlConfigSettingsSource(settings_cls)

    @property
    def path(self) -> Path:
        """The file."""
        return Path(str(self.model_config["toml_file"]))

    @property
    def folder(self) -> Path:
        """Where the file lies."""
        return self.path.parent

    @property
    def address(self) -> str:
        """By which name or address programs beside it reach the SuperLink."""
        own = self.superlink
        if own.address:
            return own.address
        here = own.host in (LOOPBACK, "0.0.0.0") and LOOPBACK in own.names
        return LOOPBACK if here else own.names[0]

    @property
    def spool(self) -> Path | None:
        """The folder of updates that are too many for memory."""
        return self.folder / self.rounds.spool if self.rounds.spool else None

    @property
    def where(self) -> str:
        """The store's folder or URL, for `open_store`."""
        return self.store if "://" in self.store else str(self.folder / self.store)

    @property
    def own_files(self) -> Path | None:
        """The folder of files beside a database."""
        if "://" not in self.store:
            return None
        return self.folder / (self.files or "files")


def read_settings(path: Path | None = None) -> Settings:
    """The settings in a file, or in the one `FEDGUARD_CONFIG` names, or in ./fedguard.toml.

    Raises `ConfigError` for what is missing, unknown or out of range.
    """
    file = (path or Path(os.environ.get(CONFIG, FILE))).absolute()
    if not file.exists():
        raise ConfigError(f"there is no {file}: fedguard init makes a folder with one")

    class OfFile(Settings):
        model_config = SettingsConfigDict(toml_file=file)

    try:
        return OfFile(_secrets_dir=os.environ.get(SECRETS))
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{file} is not TOML: {error}") from None
    except ValidationError as error:
        raise _told(file, error) from None


def _told(file: Path, error: ValidationError) -> ConfigError:
    first = error.errors()[0]
    name = ".".join(map(str, first["loc"]))
    if first["type"] == "extra_forbidden":
        return UnknownName(f"key in {file}", name, [key for key, _, _ in _keys(Settings)])
    told = first["msg"].removeprefix("Value error, ")
    return ConfigError(f"{file}: {name}: {told}, got {first['input']!r}")


def _keys(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, str, Any]]:
    """Every key with its description and default, sections after what is in none."""
    sections = []
    for name, field in model.model_fields.items():
        own = field.default
        if isinstance(own, Section):
            sections.append((name, own))
        else:
            yield prefix + name, field.description or "", own
    for name, own in sections:
        yield from _keys(type(own), f"{name}.")


def written(values: Mapping[str, Any]) -> str:
    """The file's text: every key with what it means, at `values` (dotted) or its default.

    Keys that are none by default are there as comments.
    """
    lines = [
        "# A federation's settings. FEDGUARD_KEY and FEDGUARD_SECTION__KEY in the",
        '# environment win over them. No value is "none".',
    ]
    section = ""
    for key, told, default in _keys(Settings):
        own, _, name = key.rpartition(".")
        if own != section:
            section = own
            about = type(Settings.model_fields[own].default).__doc__ or ""
            lines += ["", f"# {about}", f"[{own}]"]
        value = values.get(key, default)
        given = NONE if value is None else value
        line = f"# {name} =" if value is default is None else f"{name} = {_toml(given)}"
        lines += [f"# {told}", line]
    return "\n".join(lines) + "\n"


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple | list):
        return f"[{', '.join(map(_toml, value))}]"
    if isinstance(value, str | Path):
        text = str(value).replace("\\", "\\\\").replace('"', '\\"')
        return f'"{text}"'
    return str(value)
