"""Configuration of the losses of a run: weights and resolutions."""

from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from sotto.codec.config import FROZEN, NonNegative, Positive

Windows = Annotated[tuple[Annotated[int, Field(ge=16)], ...], Field(min_length=1)]
LossName = Literal[
    "mel",
    "loudness",
    "stft",
    "waveform",
    "pmsqe",
    "stoi",
    "commitment",
    "codebook",
    "distillation",
    "adversarial",
    "feature_matching",
]


@dataclass(frozen=True, config=FROZEN)
class LossConfig:
    """Weights of the losses and the resolutions they look at.

    Attributes:
        mel: Log-mel distance.
        loudness: Distance of mel magnitudes raised to 0.3.
        stft: Distance of power-law compressed complex spectra.
        waveform: Mean absolute error of samples.
        pmsqe: Points of the PESQ scale lost.
        stoi: Decorrelation of third-octave envelopes.
        waveform_corner_hz: Frequency where a low-pass filter has halved what that error sees; 0
            for no filter.
        commitment: Latents towards their codebook vectors.
        codebook: Codebook vectors towards their latents (gradient learning only).
        distillation: First books towards the features of a teacher (with ``distill`` only).
        adversarial: Fooling the discriminators.
        feature_matching: Equal activations inside the discriminators.
        mel_windows: Window lengths of the log-mel distance; hop is a quarter.
        mel_bands: Mel bands at each window.
        stft_windows: Window lengths of the complex distance.
        stft_corner_hz: Frequency above which bins count less and less in it; 0 weighs all alike.
        windows_per_step: How many of each list, drawn anew, a step looks at; 0 means all. Spectra
            are a third of a step's cost on a CPU, and on average nothing is lost.
        balance: Weights are shares of the gradient at the decoded audio, whatever the size of each
            loss's own gradient (EnCodec's balancer); not for `commitment`, `codebook` and
            `distillation`.
        balance_decay: Of the moving averages of these gradients' norms.
    """

    mel: NonNegative = 2.0
    loudness: NonNegative = 0.0
    stft: NonNegative = 20.0
    waveform: NonNegative = 60.0
    pmsqe: NonNegative = 0.0
    stoi: NonNegative = 0.0
    waveform_corner_hz: NonNegative = 0.0
    commitment: NonNegative = 1.0
    codebook: NonNegative = 1.0
    distillation: NonNegative = 1.0
    adversarial: NonNegative = 1.0
    feature_matching: NonNegative = 2.0
    mel_windows: Windows = (2048, 1024, 512, 256, 128)
    mel_bands: tuple[Positive, ...] = (160, 80, 40, 20, 10)
    stft_windows: Windows = (1024, 512, 256)
    stft_corner_hz: NonNegative = 0.0
    windows_per_step: Annotated[int, Field(ge=0)] = 0
    balance: bool = False
    balance_decay: Annotated[float, Field(ge=0, lt=1)] = 0.999

    def __post_init__(self) -> None:
        """Window and band lists must pair up."""
        if len(self.mel_windows) != len(self.mel_bands):
            raise ValueError("mel_windows and mel_bands differ in length")
