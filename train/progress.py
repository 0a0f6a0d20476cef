"""How far a run is, as its checkpoints keep it, and which look at the validation clips is best."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

HIGHER_IS_BETTER = frozenset({"si_sdr_db", "pesq", "stoi"})


@dataclass
class Progress:
    """Where a run stands.

    Attributes:
        step: Steps done.
        rate: Factor of all learning rates; below 1 after a return to a checkpoint.
        returns: How often the run went back.
        best: Best score so far.
        saved: Step of the latest checkpoint.
    """

    step: int = 0
    rate: float = 1.0
    returns: int = 0
    best: float | None = None
    saved: int | None = None

    @classmethod
    def of(cls, meta: Mapping[str, Any]) -> Self:
        """Undo `meta`.

        Raises:
            KeyError, TypeError, ValueError: It says no step.
        """
        step, best = int(meta["step"]), meta.get("best")
        return cls(
            step,
            float(meta.get("rate", 1.0)),
            int(meta.get("returns", 0)),
            None if best is None else float(best),
            step,
        )

    def meta(self) -> dict[str, Any]:
        """What a checkpoint says about itself."""
        values = asdict(self)
        del values["saved"]
        return values


def score(metrics: Mapping[str, float], name: str) -> float | None:
    """Mean of the metric `name` over bitrates; None if it was not measured."""
    found = [
        value
        for key, value in metrics.items()
        if key.split("/")[0] == name and math.isfinite(value)
    ]
    return sum(found) / len(found) if found else None


def better(found: float | None, best: float | None, name: str) -> bool:
    """Whether a score beats the best so far."""
    if found is None or best is None:
        return found is not None
    return found > best if name in HIGHER_IS_BETTER else found < best
