"""Configuration of distillation: what the first books learn from a teacher."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from sotto.codec.config import FROZEN, Positive

Form = Literal["channels", "frames"]


@dataclass(frozen=True, config=FROZEN)
class DistillConfig:
    """A teacher, or several, for the first books; weighed by ``loss.distillation``.

    Attributes:
        features: Folders that ``sotto prepare --teacher`` wrote, one per teacher.
        form: What is compared by its angle: ``channels`` takes each channel over time
            (SpeechTokenizer, DM-Codec), ``frames`` takes each frame (Mimi).
        books: How many of the first books are listened to.
    """

    features: Annotated[tuple[Path, ...], Field(min_length=1)]
    form: Form = "channels"
    books: Positive = 1
