"""How close decoded speech is to its original, clip by clip.

Every score compares two mono clips of equal length and aligns, trims or rescales nothing on its
own; where a metric does so inside (PESQ, ViSQOL), its definition says it. A clip that a metric
cannot judge scores nan and says why: it never turns into a good or a bad number.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from sotto.codec.errors import ConfigError
from sotto.codec.usage import BookUse, codebook_use, count_codes

from .clips import Audio, Score
from .distances import SI_SDR_LIMIT_DB, mel_distance, si_sdr
from .perceptual import PESQ_PIECE_S, dnsmos, dnsmos_change, estoi, pesq_wb, stoi, visqol

__all__ = [
    "SLOW",
    "Audio",
    "BookUse",
    "Metric",
    "Score",
    "codebook_use",
    "count_codes",
    "dnsmos",
    "dnsmos_change",
    "estoi",
    "mel_distance",
    "metrics",
    "pesq_wb",
    "score_clip",
    "si_sdr",
    "stoi",
    "visqol",
]


@dataclass(frozen=True)
class Metric:
    """A metric by name.

    Attributes:
        name: Key in reports.
        title: Heading in tables.
        unit: Unit of the value; empty for none.
        higher_is_better: Direction.
        definition: What is computed, in a sentence that lets others compare.
        compute: (reference [S], decoded [S], sample_rate) -> Score.
    """

    name: str
    title: str
    unit: str
    higher_is_better: bool
    definition: str
    compute: Callable[[Audio, Audio, int], Score]


def score_clip(
    reference: Audio, decoded: Audio, sample_rate: int, *, slow: Sequence[str] = ()
) -> dict[str, Score]:
    """All metrics of one clip by name; of `SLOW` those that are asked for."""
    return {
        metric.name: metric.compute(reference, decoded, sample_rate)
        for metric in metrics(slow=slow)
    }


def metrics(*, slow: Sequence[str] = ()) -> tuple[Metric, ...]:
    """The metrics in the order of reports; of `SLOW` those that are asked for.

    Raises:
        ConfigError: There is no slow metric of that name.
    """
    if unknown := set(slow) - SLOW.keys():
        raise ConfigError(f"no slow metric {sorted(unknown)}; there are {sorted(SLOW)}")
    return (*_METRICS, *(metric for name in SLOW if name in slow for metric in SLOW[name]))


_METRICS = (
    Metric(
        "pesq_wb",
        "PESQ-WB",
        "MOS-LQO",
        True,
        "ITU-T P.862.2 at 16 kHz (package pesq, no Corrigendum 2), about 1.02 to 4.64; clips over "
        f"{PESQ_PIECE_S} s are the mean of equal pieces; PESQ aligns utterances itself",
        pesq_wb,
    ),
    Metric(
        "stoi",
        "STOI",
        "",
        True,
        "classic STOI (package pystoi), 10 kHz inside, 0 to 1",
        stoi,
    ),
    Metric(
        "estoi",
        "ESTOI",
        "",
        True,
        "extended STOI (package pystoi), 10 kHz inside, 0 to 1",
        estoi,
    ),
    Metric(
        "si_sdr_db",
        "SI-SDR",
        "dB",
        True,
        f"zero-mean scale-invariant SDR, cut at ±{SI_SDR_LIMIT_DB:g} dB, no alignment",
        si_sdr,
    ),
    Metric(
        "mel_distance",
        "Mel dist.",
        "",
        False,
        "mean |difference of log10 mel magnitude| at 24 kHz, clamped at 1e-5, mean over Hann "
        "windows 512, 1024, 2048 with 40, 80, 160 Slaney mel bands, hop = window / 4",
        mel_distance,
    ),
)
SLOW: Mapping[str, tuple[Metric, ...]] = {
    "visqol": (
        Metric(
            "visqol",
            "ViSQOL",
            "MOS-LQO",
            True,
            "ViSQOL v3 speech mode at 16 kHz (package visqol-python), polynomial mapping scaled so "
            "that identical is 5; ViSQOL aligns itself",
            visqol,
        ),
    ),
    "dnsmos": (
        Metric(
            "dnsmos",
            "DNSMOS",
            "OVRL",
            True,
            "DNSMOS P.835 overall at 16 kHz (package speechmos), of the decoded clip alone, looped "
            "to 9 s",
            dnsmos,
        ),
        Metric(
            "dnsmos_change",
            "DNSMOS\nchange",
            "OVRL",
            True,
            "DNSMOS overall of the decoded clip less that of its original",
            dnsmos_change,
        ),
    ),
}
