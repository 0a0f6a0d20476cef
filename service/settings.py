"""Settings of the server: flags, `SOTTO_*` variables, a file; every one of them is enforced."""

import os
from contextvars import ContextVar
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

from pydantic import Field, ValidationError, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from sotto.codec.errors import ConfigError

from .addresses import check_address, is_loopback
from .config_file import config_path, read_config

Count = Annotated[int, Field(gt=0)]
Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
_chosen_file: ContextVar[Path | None] = ContextVar("_chosen_file", default=None)
_TLS_FILES: Final = ("tls_cert", "tls_key")


class Settings(BaseSettings):
    """Everything an operator can choose.

    What is given here goes before `SOTTO_*` variables, those before the file that `SOTTO_CONFIG`
    names, and that before the defaults.

    Attributes:
        address: HOST:PORT to listen on; port 0 takes a free one.
        models: Names of shipped models or folders of bundles, in a variable separated by commas;
            the first is the default.
        threads: Threads that onnxruntime may use for one step.
        workers: Steps that may run at the same time.
        provider: What runs the models: cpu, or cuda where onnxruntime has it.
        beam: Whether streams that do not say how codes are searched get the widest beam of their
            model, which is better and costs more, rather than greedy search.
        max_batch: Mono streams that share one step of a model.
        max_wait_ms: How long the first of them waits for others while a worker is free.
        max_queued_s: Audio that a stream may have sent ahead of its results, and the longest audio
            of one of its messages; beyond it flow control holds the client back.
        resume_key_file: File of at least 32 secret bytes, shared by all servers that shall resume
            each other's streams; without it a server resumes only its own.
        max_message_bytes: Largest message in either direction.
        max_sessions: Live callers at once, who speak and listen: a stream that transcodes is one,
            one that encodes or decodes half of one, and a unary call that codes counts as one.
        max_sessions_per_peer: Those of one client: a token, a client certificate or an IP
            address; 0 is no limit of its own.
        max_unary_calls: Those that are unary, each of which may hold a message of the largest size.
        max_channels: Channels of one call.
        max_session_s: Longest time a call may stay open.
        max_audio_s: Longest audio of one stream, per channel.
        max_unary_s: Longest audio of one unary call, per channel.
        idle_timeout_s: How long a call may wait for its client to send, or to read, one message.
        drain_grace_s: How long a stop waits for the calls in progress.
        keepalive_s: A connection this long without traffic is pinged.
        keepalive_timeout_s: How long the answer may take before the connection counts as dead.
        tls_cert: PEM file of the server's certificate and its chain; read again when it changes.
        tls_key: PEM file of its private key.
        tls_client_ca: PEM file of the authorities whose clients may call: mutual TLS.
        tokens: File of the bearer tokens that may call; read again when it changes.
        allow_insecure: Listen beyond this machine with neither TLS nor tokens.
        reflection: Whether clients may ask which calls there are.
        health_address: HOST:PORT of a second, plain port for health alone, which probes reach that
            cannot speak TLS; empty is none.
        metrics_address: HOST:PORT of the Prometheus metrics, over HTTP; empty is none.
        log_format: One line of text, or one JSON object, per event.
        log_level: The least that is logged.
    """

    model_config = SettingsConfigDict(env_prefix="SOTTO_", extra="forbid", frozen=True)

    address: str = "127.0.0.1:50551"
    models: Annotated[tuple[str, ...], NoDecode, Field(min_length=1)] = ("speech-24khz",)
    threads: Count = 1
    workers: Count = Field(default_factory=lambda: min(4, os.cpu_count() or 1))
    provider: Literal["cpu", "cuda"] = "cpu"
    beam: bool = False
    max_batch: Count = 64
    max_wait_ms: Annotated[float, Field(ge=0, le=1000)] = 5.0
    max_queued_s: Seconds = 30.0
    resume_key_file: Path | None = None
    max_message_bytes: Annotated[int, Field(ge=4096, le=1 << 30)] = 16 << 20
    max_sessions: Count = 64
    max_sessions_per_peer: Annotated[int, Field(ge=0)] = 0
    max_unary_calls: Count = 16
    max_channels: Annotated[int, Field(gt=0, le=255)] = 8
    max_session_s: Seconds = 4 * 3600.0
    max_audio_s: Seconds = 4 * 3600.0
    max_unary_s: Seconds = 600.0
    idle_timeout_s: Seconds = 60.0
    drain_grace_s: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 10.0
    keepalive_s: Seconds = 30.0
    keepalive_timeout_s: Seconds = 20.0
    tls_cert: Path | None = None
    tls_key: Path | None = None
    tls_client_ca: Path | None = None
    tokens: Path | None = None
    allow_insecure: bool = False
    reflection: bool = True
    health_address: str = ""
    metrics_address: str = ""
    log_format: Literal["text", "json"] = "text"
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """What goes before what."""
        file = InitSettingsSource(settings_cls, read_config(config_path(_chosen_file.get())))
        return init_settings, env_settings, file

    @field_validator("address")
    @classmethod
    def _host_and_port(cls, value: str) -> str:
        return check_address(value)

    @field_validator("health_address", "metrics_address")
    @classmethod
    def _host_and_port_or_none(cls, value: str) -> str:
        return value and check_address(value)

    @field_validator("models", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        """Accept `a,b` from a variable."""
        if isinstance(value, str):
            return tuple(name.strip() for name in value.split(",") if name.strip())
        return value

    @model_validator(mode="after")
    def _secure(self) -> Self:
        """Refuse half a certificate, and a door that is open to all by accident."""
        if (self.tls_cert is None) != (self.tls_key is None):
            missing = next(name for name in _TLS_FILES if getattr(self, name) is None)
            raise ValueError(f"tls_cert and tls_key belong together; {missing} is not set")
        if self.tls_client_ca is not None and self.tls_cert is None:
            raise ValueError("tls_client_ca needs tls_cert and tls_key")
        guarded = self.tls_cert is not None or self.tokens is not None or self.allow_insecure
        if not guarded and not is_loopback(self.address):
            raise ValueError(
                f"address {self.address} can be reached from other machines: set tls_cert and "
                "tls_key, or tokens, or allow_insecure if something else guards it"
            )
        return self


def load_settings(*, config: Path | None = None, **chosen: Any) -> Settings:
    """Read the settings; what is `chosen` here, unless None, goes before everything else.

    Args:
        config: A settings file, instead of the one that `SOTTO_CONFIG` names.
        **chosen: Settings by name.

    Raises:
        ConfigError: An unknown name, a value that cannot work, or a file that cannot be read.
    """
    given = {name: value for name, value in chosen.items() if value is not None}
    token = _chosen_file.set(config)
    try:
        return Settings(**given)
    except ValidationError as error:
        raise ConfigError(f"settings: {_problems(error)}") from error
    finally:
        _chosen_file.reset(token)


def _problems(error: ValidationError) -> str:
    return "; ".join(map(_problem, error.errors()))


def _problem(item: Any) -> str:
    place = ".".join(map(str, item["loc"]))
    if item["type"] == "extra_forbidden":
        close = get_close_matches(place, Settings.model_fields, 1)
        return f"{place} is no setting" + (f"; is {close[0]} meant?" if close else "")
    return f"{place}: {item['msg']}" if place else str(item["msg"])
