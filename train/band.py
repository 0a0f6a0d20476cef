"""Keeps what is compared to the band that a recording holds."""

import torch
from torch import Tensor


def in_band(audio: Tensor, bandwidth_hz: Tensor, sample_rate: int) -> Tensor:
    """Audio without what lies above each item's band; with a full band, as it is to the bit.

    Discriminators would otherwise tell decoded audio from a narrow recording by its top alone, and
    teach the codec to cut it.

    Args:
        audio: float32 [B, 1, S].
        bandwidth_hz: [B], up to where each recording holds sound.
        sample_rate: Hz of the audio.
    """
    (narrow,) = torch.where(bandwidth_hz < sample_rate / 2)
    if not len(narrow):
        return audio
    samples = audio.shape[-1]
    bins = torch.fft.rfftfreq(samples, 1 / sample_rate, device=audio.device)
    with torch.autocast(audio.device.type, enabled=False):
        spectrum = torch.fft.rfft(audio[narrow].float())
        kept = torch.where(bins <= bandwidth_hz[narrow, None, None], spectrum, 0)
        filtered = torch.fft.irfft(kept, n=samples)
    return audio.index_put((narrow,), filtered.to(audio))
