"""Frozen, validated configuration of a codec; needs no torch, so that serving can read it."""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from difflib import get_close_matches
from typing import Annotated, Any, TypeVar, get_args, get_origin, get_type_hints

from pydantic import BeforeValidator, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from .errors import ConfigError

T = TypeVar("T")
Positive = Annotated[int, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]
FROZEN: Any = {"extra": "forbid"}  # pydantic's dataclass config: unknown fields are errors


def build(cls: type[T], values: Mapping[str, Any], where: str = "configuration") -> T:
    """Make the frozen dataclass `cls` from a mapping, nested dataclasses included.

    Raises:
        ConfigError: An unknown field (the message names the nearest one and lists the rest) or a
            value of the wrong type or range.
    """
    if not isinstance(values, Mapping):
        raise ConfigError(f"{where}: expected a mapping of fields, got {values!r}")
    known = _field_names(cls, ())
    for key in values:  # pydantic lets them pass where a dataclass is not its own
        if key not in known:
            raise ConfigError(f"{where}: {_unknown(key, known)}")
    try:
        return TypeAdapter(cls).validate_python(dict(values))
    except ValidationError as error:
        problems = "; ".join(_describe(cls, item) for item in error.errors())
        raise ConfigError(f"{where}: {problems}") from error


def _describe(cls: type, item: Any) -> str:
    """One of pydantic's errors as ``path: what is wrong``."""
    *path, last = item["loc"] or ("",)
    if item["type"] != "unexpected_keyword_argument":
        return ": ".join(filter(None, [".".join(str(part) for part in item["loc"]), item["msg"]]))
    text = _unknown(last, _field_names(cls, path))
    return ": ".join(filter(None, [".".join(str(part) for part in path), text]))


def _unknown(key: object, known: list[str]) -> str:
    near = get_close_matches(str(key), known, 1)
    hint = f"; did you mean '{near[0]}'?" if near else ""
    return f"unknown field '{key}'{hint} (known: {', '.join(known)})"


def _field_names(cls: Any, path: Sequence[str | int]) -> list[str]:
    """Fields of the dataclass that is found by following `path` from the dataclass `cls`."""
    for part in path:
        inner = get_args(cls)  # of dict[str, X] or tuple[X, ...]
        if inner:
            cls = inner[-1] if get_origin(cls) is dict else inner[0]
        else:
            cls = get_type_hints(cls)[str(part)]
    return [field.name for field in fields(cls)]


@dataclass(frozen=True, config=FROZEN)
class ComponentConfig:
    """One interchangeable part: its name in the registry and the options of its own `Config`."""

    name: str
    options: dict[str, Any] = Field(default_factory=dict)


def _named(value: Any) -> Any:
    return {"name": value} if isinstance(value, str) else value


# A part without options may be given as its name alone.
Part = Annotated[ComponentConfig, BeforeValidator(_named)]


@dataclass(frozen=True, config=FROZEN)
class CodecConfig:
    """Everything that decides the shape of a codec.

    Attributes:
        name: Model name, for example ``speech-24khz``.
        version: Version of the encoder and codebooks; tokens of two versions do not mix.
        sample_rate: Hz.
        frame_size: Samples per frame of codes.
        latent_dim: Width of the latents that the quantizer sees.
        num_codebooks: Books per frame, K.
        codebook_size: Entries per book, a power of two.
        encoder: Audio to latents.
        quantizer: Latents to codes and back.
        decoder: Quantized latents to audio.
    """

    name: str
    version: str
    sample_rate: Positive
    frame_size: Positive
    latent_dim: Positive
    num_codebooks: Positive
    codebook_size: Annotated[int, Field(ge=2, le=1 << 16)]
    encoder: ComponentConfig
    quantizer: ComponentConfig
    decoder: ComponentConfig

    def __post_init__(self) -> None:
        """Reject sizes that no packet could carry."""
        if self.codebook_size & (self.codebook_size - 1):
            raise ValueError(f"codebook_size={self.codebook_size} is not a power of two")

    @property
    def frame_rate(self) -> float:
        """Frames per second."""
        return self.sample_rate / self.frame_size
