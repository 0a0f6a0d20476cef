"""Settings of the server, read from `SOTTO_*` variables; every one of them is enforced."""

import os
from typing import Annotated, Any, Final

from pydantic import Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from sotto.codec.errors import ConfigError

MAX_PORT: Final = 65_535
Count = Annotated[int, Field(gt=0)]
Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Settings(BaseSettings):
    """Everything an operator can choose.

    Attributes:
        address: HOST:PORT to listen on; port 0 takes a free one.
        models: Names of shipped models or folders of bundles, in a variable separated by commas;
            the first is the default.
        threads: Threads that onnxruntime may use for one step.
        workers: Steps that may run at the same time.
        max_message_bytes: Largest message in either direction.
        max_sessions: Coding calls, streams and unary together, in progress at once.
        max_channels: Channels of one call.
        max_session_s: Longest time a call may stay open.
        max_audio_s: Longest audio of one stream, per channel.
        max_unary_s: Longest audio of one unary call, per channel.
        idle_timeout_s: How long a stream may wait for its client to send, or to read.
        drain_grace_s: How long a stop waits for the calls in progress.
    """

    model_config = SettingsConfigDict(env_prefix="SOTTO_", extra="forbid", frozen=True)

    address: str = "127.0.0.1:50551"
    models: Annotated[tuple[str, ...], NoDecode, Field(min_length=1)] = ("speech-24khz",)
    threads: Count = 1
    workers: Count = Field(default_factory=lambda: os.cpu_count() or 1)
    max_message_bytes: Annotated[int, Field(ge=4096, le=1 << 30)] = 16 << 20
    max_sessions: Count = 64
    max_channels: Annotated[int, Field(gt=0, le=255)] = 8
    max_session_s: Seconds = 4 * 3600.0
    max_audio_s: Seconds = 4 * 3600.0
    max_unary_s: Seconds = 600.0
    idle_timeout_s: Seconds = 60.0
    drain_grace_s: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 10.0

    @field_validator("address")
    @classmethod
    def _host_and_port(cls, value: str) -> str:
        """Refuse what gRPC would read in a way of its own: it takes port 65537 for port 1."""
        host, _, port = value.rpartition(":")
        if not host or not (port.isascii() and port.isdigit()) or int(port) > MAX_PORT:
            raise ValueError(f"'{value}' is not HOST:PORT with a port from 0 to {MAX_PORT}")
        return value

    @field_validator("models", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        """Accept `a,b` from a variable."""
        if isinstance(value, str):
            return tuple(name.strip() for name in value.split(",") if name.strip())
        return value


def load_settings(**chosen: Any) -> Settings:
    """Read the settings; what is `chosen` here, unless None, goes before the environment.

    Raises:
        ConfigError: An unknown name, or a value that cannot work.
    """
    given = {name: value for name, value in chosen.items() if value is not None}
    try:
        return Settings(**given)
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors()
        )
        raise ConfigError(f"settings: {problems}") from error
