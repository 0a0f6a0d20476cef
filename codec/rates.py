"""Sample rates that Sotto accepts, and lengths at another rate."""

from .errors import AudioError

MIN_SAMPLE_RATE = 4_000
MAX_SAMPLE_RATE = 384_000


def check_sample_rate(sample_rate: int, what: str = "sample_rate") -> None:
    """Raise AudioError unless `sample_rate` is one that Sotto resamples."""
    if not MIN_SAMPLE_RATE <= sample_rate <= MAX_SAMPLE_RATE:
        raise AudioError(
            f"{what}={sample_rate} Hz; expected {MIN_SAMPLE_RATE} to {MAX_SAMPLE_RATE}"
        )


def rescale(num_samples: int, from_rate: int, to_rate: int) -> int:
    """How many samples a stretch of audio has at another rate, halves rounded up."""
    return (2 * num_samples * to_rate + from_rate) // (2 * from_rate)
