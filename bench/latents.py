"""Latents of real speech from a trained model's encoder, and the audio its decoder makes of them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from sotto.codec.errors import AudioError
from sotto.codec.model import CodecModel
from sotto.train.cache import AudioCache
from sotto.train.manifest import Clip, find_clips

from .clips import Audio

BATCH = 32  # stretches that are encoded together
LONGEST_S = 10.0  # of a held-out clip


@dataclass(frozen=True)
class SpeechLatents:
    """What quantizers are compared on.

    Attributes:
        model: The trained codec; its encoder and decoder stay as they are.
        scale: What all latents here were divided by: the deviation of the training latents, so
            that one learning rate fits every model.
        train: Float32 [N, T, D]: N stretches of T frames.
        unseen: Float32 [M, T, D]: stretches of other training clips, to count codes of large books
            on; M may be 0.
        clips: Held-out audio [S], whole frames each.
        held_out: Latents [1, T, D] of each of these clips.
    """

    model: CodecModel
    scale: float
    train: Tensor
    unseen: Tensor
    clips: tuple[Audio, ...]
    held_out: tuple[Tensor, ...]

    @torch.no_grad()
    def decode(self, latents: Tensor, num_codebooks: int) -> Audio:
        """Audio [S] of latents [1, T, D], without the decoder's delay; the end is silence."""
        decoder = self.model.decoder
        heard = torch.full(latents.shape[:2], num_codebooks)
        audio, _ = decoder(latents * self.scale, heard, decoder.init_state(1))
        delay = decoder.delay_samples
        padded: Audio = np.pad(audio[0, delay:].numpy(), (0, delay)).clip(-1, 1)
        return padded


@torch.no_grad()
def speech_latents(
    model: CodecModel,
    data: Path,
    cache: Path,
    *,
    frames: int,
    unseen: int = 0,
    stretch: int = 50,
    seed: int = 0,
) -> SpeechLatents:
    """Encode stretches of the training clips of `data`, and its held-out clips.

    Args:
        model: The trained codec; its weights are frozen.
        data: Folder of audio or a manifest.
        cache: Folder for decoded audio.
        frames: Training frames wanted.
        unseen: Frames of other clips wanted; fewer come if the data ends.
        stretch: Frames of a stretch, each encoded from a fresh state.
        seed: Decides the order of the clips.

    Raises:
        AudioError: Too little audio.
    """
    model = model.eval().requires_grad_(False)
    audio = AudioCache(cache, model.config.sample_rate)
    found = find_clips(data)
    ours = [clip for clip in found if clip.split == "train"]
    order = [ours[i] for i in np.random.default_rng(seed).permutation(len(ours))]
    stretches = _stretches(order, audio, stretch * model.config.frame_size)
    train = _encode_all(model, islice(stretches, -(-frames // stretch)), stretch)
    other = _encode_all(model, islice(stretches, -(-unseen // stretch)), stretch)
    held = (_whole_frames(audio, clip, model) for clip in found if clip.split == "valid")
    clips = tuple(clip for clip in held if clip.size)
    if len(train) * stretch < frames or not clips:
        raise AudioError(
            f"'{data}' holds too little audio: {len(train) * stretch} of {frames} frames to train "
            f"on, {len(clips)} held-out clips"
        )
    scale = train.std().item()
    held_out = tuple(_encode(model, clip[None]) / scale for clip in clips)
    return SpeechLatents(model, scale, train / scale, other / scale, clips, held_out)


def _stretches(clips: Sequence[Clip], audio: AudioCache, samples: int) -> Iterator[Audio]:
    """Clip by clip, all whole stretches [samples]."""
    for clip in clips:
        whole = audio.get(clip.path)
        for at in range(0, len(whole) - samples + 1, samples):
            yield _scaled(whole[at : at + samples])


def _encode_all(model: CodecModel, stretches: Iterator[Audio], frames: int) -> Tensor:
    """Latents [N, frames, D] of all of them."""
    parts = [torch.empty(0, frames, model.config.latent_dim)]
    while batch := list(islice(stretches, BATCH)):
        parts.append(_encode(model, np.stack(batch)))
    return torch.cat(parts)


def _scaled(samples: npt.NDArray[np.int16]) -> Audio:
    audio: Audio = samples.astype(np.float32) / np.float32(32_768)
    return audio


def _whole_frames(audio: AudioCache, clip: Clip, model: CodecModel) -> Audio:
    size = model.config.frame_size
    samples = _scaled(audio.get(clip.path)[: int(LONGEST_S * model.config.sample_rate)])
    return samples[: len(samples) // size * size]


def _encode(model: CodecModel, samples: Audio) -> Tensor:
    """Latents [B, T, D] of audio [B, S]."""
    encoder = model.encoder
    latents: Tensor
    latents, _ = encoder(torch.from_numpy(samples), encoder.init_state(len(samples)))
    return latents
