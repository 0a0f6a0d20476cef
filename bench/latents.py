"""Latents of real speech from a trained model's encoder, and the audio its decoder makes of them."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from sotto.codec.errors import AudioError
from sotto.codec.model import CodecModel
from sotto.train.cache import AudioCache
from sotto.train.manifest import Clip, find_clips
from sotto.train.weights import load_weights

from .clips import Audio


@dataclass(frozen=True)
class SpeechLatents:
    """What quantizers are compared on.

    Attributes:
        model: The trained codec; its encoder and decoder stay as they are.
        train: Float32 [N, T, D]: stretches of T frames.
        clips: Held-out audio, whole frames each.
        held_out: Latents [1, T, D] of each of these clips.
    """

    model: CodecModel
    train: Tensor
    clips: tuple[Audio, ...]
    held_out: tuple[Tensor, ...]

    @torch.no_grad()
    def decode(self, latents: Tensor, num_codebooks: int) -> Audio:
        """Audio [S] of latents [1, T, D], without the decoder's delay; the end is silence."""
        decoder = self.model.decoder
        heard = torch.full(latents.shape[:2], num_codebooks)
        audio, _ = decoder(latents, heard, decoder.init_state(1))
        delay = decoder.delay_samples
        return np.pad(audio[0, delay:].numpy(), (0, delay)).clip(-1, 1)


@torch.no_grad()
def speech_latents(
    folder: Path,
    data: Path,
    cache: Path,
    *,
    frames: int,
    clips: int,
    stretch: int = 50,
    seed: int = 0,
) -> SpeechLatents:
    """Encode crops of the training clips of `data` and some of its held-out clips.

    Args:
        folder: Bundle with training weights.
        data: Folder of audio or a manifest.
        cache: Folder for decoded audio.
        frames: Training frames, in stretches of `stretch`.
        clips: Held-out clips, spread evenly over all; their first ten seconds are used.
        stretch: Frames of a crop.
        seed: Decides which crops.

    Raises:
        BundleError: The bundle has no training weights.
        AudioError: Too little audio.
    """
    model = load_weights(folder).eval().requires_grad_(False)
    config = model.config
    audio = AudioCache(cache, config.sample_rate)
    found = find_clips(data)
    samples = stretch * config.frame_size
    random = np.random.default_rng(seed)
    train: list[Tensor] = []
    usable = [clip for clip in found if clip.split == "train"]
    random.shuffle(usable)  # type: ignore[arg-type]
    for clip in usable:
        whole = audio.get(clip.path)
        if len(whole) < samples:
            continue
        for at in range(0, len(whole) - samples + 1, 4 * samples):  # not too much of one clip
            train.append(_encode(model, _scaled(whole[at : at + samples])))
            if len(train) * stretch >= frames:
                break
        if len(train) * stretch >= frames:
            break
    held = [clip for clip in found if clip.split == "valid"]
    picks = np.linspace(0, len(held) - 1, min(clips, len(held))).astype(int)
    chosen = tuple(_whole_frames(audio, held[i], model) for i in picks)
    if not train or not chosen:
        raise AudioError(
            f"'{data}' holds too little audio: no crop of {stretch} frames, or no clip"
        )
    return SpeechLatents(
        model, torch.cat(train), chosen, tuple(_encode(model, clip) for clip in chosen)
    )


def _scaled(samples: "np.typing.NDArray[np.int16]") -> Audio:
    return samples.astype(np.float32) / 32768


def _whole_frames(audio: AudioCache, clip: Clip, model: CodecModel) -> Audio:
    size = model.config.frame_size
    samples = _scaled(audio.get(clip.path)[: 10 * model.config.sample_rate])
    return samples[: len(samples) // size * size]


def _encode(model: CodecModel, samples: Audio) -> Tensor:
    encoder = model.encoder
    latents: Tensor
    latents, _ = encoder(torch.from_numpy(samples)[None], encoder.init_state(1))
    return latents
