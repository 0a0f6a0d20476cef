"""What a trained quantizer loses on held-out speech: latents, use of its books, audio, time."""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from sotto.codec.quantizers import Quantizer
from sotto.codec.quantizers.codebook import STATISTICS
from sotto.codec.usage import codebook_use, count_codes

from .contenders import Contender
from .latents import SpeechLatents
from .metrics import pesq_wb, stoi


@dataclass(frozen=True)
class Trial:
    """One quantizer after training from one seed.

    Attributes:
        label: Of the contender.
        seed: Of weights and batches.
        bits: Code bits of a frame.
        steps: Training steps; 0 for a quantizer that came trained.
        train_s: Seconds of processor time of start and training.
        signal_to_noise_db: Energy of the held-out latents around the mean of the training latents
            over that of the error.
        used_share: Share of entries that occur, mean over books.
        entropy_share: Entropy over log2 of the entries, mean over books.
        num_tokens: Codes of one book that these shares are of.
        pesq_wb: Mean over the clips that were listened to.
        stoi: The same.
        frame_us: Microseconds to encode and decode a frame, in stretches on one thread.
        parameters: Numbers that a trained model of this quantizer keeps.
    """

    label: str
    seed: int
    bits: float
    steps: int
    train_s: float
    signal_to_noise_db: float
    used_share: float
    entropy_share: float
    num_tokens: int
    pesq_wb: float
    stoi: float
    frame_us: float
    parameters: int


@torch.no_grad()
def measure(
    latents: SpeechLatents,
    contender: Contender,
    quantizer: Quantizer,
    *,
    seed: int = 0,
    listen: int,
    beam_size: int = 1,
    spent: tuple[int, float] = (0, 0.0),
    unit: float = 1.0,
) -> Trial:
    """What a trained quantizer loses on the held-out clips, and what it costs.

    Args:
        latents: Where the held-out clips are.
        contender: What the quantizer is; one with more books is heard with the first of them.
        quantizer: In evaluation mode.
        seed: That it was trained from.
        listen: How many held-out clips to decode and score.
        beam_size: Code paths kept.
        spent: Training steps and seconds.
        unit: What the latents are multiplied with for the quantizer.
    """
    books, size = contender.num_codebooks, contender.codebook_size
    counts = np.zeros((books, size), np.int64)
    error = energy = 0.0
    mean = latents.train.mean((0, 1))
    decoded = []
    for x in latents.held_out:
        codes = _code(quantizer, x * unit, books, beam_size)
        decoded.append(quantizer.decode(codes) / unit)
        counts += count_codes(codes.numpy(), size)
        error += float((decoded[-1] - x).square().sum())
        energy += float((x - mean).square().sum())
    use = codebook_use(counts)
    pesq, intelligibility = listen_to(latents, decoded, contender.bits, listen)
    kept = quantizer.state_dict()
    return Trial(
        label=contender.label if beam_size == 1 else f"{contender.label}, beam {beam_size}",
        seed=seed,
        bits=contender.bits,
        steps=spent[0],
        train_s=spent[1],
        signal_to_noise_db=10 * math.log10(energy / max(error, 1e-12)),
        used_share=float(np.mean([book.used_share for book in use])),
        entropy_share=float(np.mean([book.entropy_share for book in use])),
        num_tokens=use[0].num_tokens,
        pesq_wb=pesq,
        stoi=intelligibility,
        frame_us=_frame_time(quantizer, latents.train[:1], books, beam_size),
        parameters=sum(
            tensor.numel()
            for name, tensor in kept.items()
            if name.rpartition(".")[2] not in STATISTICS
        ),
    )


def listen_to(
    latents: SpeechLatents, quantized: Sequence[Tensor], bits: float, listen: int
) -> tuple[float, float]:
    """Mean PESQ and STOI of the decoder's audio for some of the held-out clips, spread evenly.

    The decoder is told as many of its own books as have `bits` together.
    """
    config = latents.model.config
    own = config.num_codebooks * math.log2(config.codebook_size)
    share = min(bits / own, 1)
    heard = max(round(config.num_codebooks * share), 1)
    scores = []
    for i in np.linspace(0, len(quantized) - 1, min(listen, len(quantized))).astype(int):
        audio = latents.decode(quantized[i], heard)
        pair = (latents.clips[i], audio, config.sample_rate)
        scores.append((pesq_wb(*pair).value, stoi(*pair).value))
    pesq, intelligibility = (_mean([score[i] for score in scores]) for i in (0, 1))
    return pesq, intelligibility


def _mean(values: list[float]) -> float:
    """Of the numbers among them; nan if there is none."""
    found = [value for value in values if not math.isnan(value)]
    return float(np.mean(found)) if found else math.nan


def _code(quantizer: Quantizer, x: Tensor, books: int, beam_size: int) -> Tensor:
    if beam_size == 1:
        return quantizer.encode(x)[:, :books]
    return quantizer.search(x, torch.full((len(x),), books), beam_size)[:, :books]


def _frame_time(
    quantizer: Quantizer, x: Tensor, books: int, beam_size: int, repeats: int = 5
) -> float:
    """Microseconds of processor time to encode and decode a frame of [1, T, D]; the best run."""
    best = math.inf
    for _ in range(repeats):
        began = time.process_time()
        quantizer.decode(_code(quantizer, x, books, beam_size))
        best = min(best, time.process_time() - began)
    return 1e6 * best / x.shape[1]
