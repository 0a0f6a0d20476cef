"""All that is random in a training step, decided by the run's seed and the step's number alone."""

from dataclasses import dataclass

import torch
from torch import Tensor

from sotto.codec import ranks
from sotto.codec.config import CodecConfig

from .config_stages import StageConfig
from .nested import nested_dropout
from .packets import arrivals


@dataclass(frozen=True)
class Draw:
    """What was drawn for one batch.

    Attributes:
        depth: int64 [B], books that the decoder hears of each item.
        noise: float32 [B, T, D] in the quantizer's place, or None with a quantizer.
        arrived: bool [B, T], frames of codes that the decoder gets; None for all of them.
    """

    depth: Tensor
    noise: Tensor | None
    arrived: Tensor | None


def step_generator(seed: int, step: int, number: int) -> torch.Generator:
    """Decides all that is random in batch `number` of this process in a step.

    Two processes draw what one would for two batches.
    """
    block = number * ranks.count() + ranks.index()
    return torch.Generator().manual_seed(seed * 1_000_003 + step + (block << 32))


def draw_step(
    model: CodecConfig, stage: StageConfig, at: int, audio: Tensor, random: torch.Generator
) -> Draw:
    """Books, noise and lost frames for a batch.

    Args:
        model: Sizes of the codec.
        stage: Of the run.
        at: Step of the stage, from 0.
        audio: [B, 1, S], S a multiple of the frame.
        random: From `step_generator`.
    """
    B, T, K = len(audio), audio.shape[-1] // model.frame_size, model.num_codebooks
    if not stage.quantize:
        noise = torch.randn(B, T, model.latent_dim, generator=random)
        ramp = stage.latent_noise * min(1.0, 2 * at / stage.steps)
        depth = torch.full((B,), K, device=audio.device)
        return Draw(depth, (ramp * noise).to(audio.device), None)
    depth = nested_dropout(
        B, K, full_share=stage.full_depth, lengths=stage.nested_dropout, random=random
    ).to(audio.device)
    if stage.lost_frames == 0:
        return Draw(depth, None, None)
    arrived = arrivals((B, T), stage.lost_frames, stage.lost_burst, random)
    return Draw(depth, None, arrived.to(audio.device))
