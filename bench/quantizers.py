"""Trains quantizers on the same latents with the same bits and time, and measures what is lost."""

import json
import math
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sotto.codec.quantizers import QUANTIZERS, Quantizer
from sotto.codec.usage import codebook_use, count_codes

from .latents import SpeechLatents
from .metrics import pesq_wb, stoi


@dataclass(frozen=True)
class Entry:
    """One quantizer in the comparison.

    Attributes:
        label: How the table calls it.
        name: In the registry.
        options: Of that quantizer.
        num_codebooks: Books.
        codebook_size: Entries of each.
    """

    label: str
    name: str
    options: Mapping[str, Any] = field(default_factory=dict)
    num_codebooks: int = 8
    codebook_size: int = 1024

    @property
    def bits(self) -> float:
        """Of a frame."""
        return self.num_codebooks * math.log2(self.codebook_size)


@dataclass(frozen=True)
class Trial:
    """One quantizer after training from one seed.

    Attributes:
        label: Of the entry.
        seed: Of weights and batches.
        bits: Of a frame.
        steps: Training steps that the time allowed.
        signal_to_noise_db: Energy of the held-out latents around their mean, over that of the
            error.
        used_share: Share of entries that occur, mean over books.
        entropy_share: Entropy over log2 of the entries, mean over books.
        num_tokens: Codes of one book that these shares are of.
        pesq_wb: Mean over the held-out clips.
        stoi: Mean over the held-out clips.
        frame_us: Microseconds to encode and decode a frame, in stretches of 50 on one thread.
        parameters: Numbers that a model of this quantizer keeps.
    """

    label: str
    seed: int
    bits: float
    steps: int
    signal_to_noise_db: float
    used_share: float
    entropy_share: float
    num_tokens: int
    pesq_wb: float
    stoi: float
    frame_us: float
    parameters: int


NUMBERS = ("signal_to_noise_db", "used_share", "entropy_share", "pesq_wb", "stoi", "frame_us")
EIGHTY_BITS: tuple[Entry, ...] = (
    *(
        Entry(name, name)
        for name in (
            "rvq", "affine", "cvq", "optvq", "ibq", "gumbel", "simvq", "vqgan-lc", "fvq", "vqwae",
            "grvq", "product", "cascade", "split",
            "fsq", "llvq", "latent", "lfq", "bsq", "binary",
        )
    ),
    Entry("mcrvq", "mcrvq", {"masked": 4}),
    Entry("leech", "leech", {}, 5, 65_536),
)  # fmt: skip
LARGE_BOOKS: tuple[Entry, ...] = tuple(
    Entry(f"{name} {size}", name, {}, 1, size)
    for size in (4096, 65_536)
    for name in ("rvq", "simvq", "ibq", "fvq", "optvq", "vqgan-lc")
)


def run(
    latents: SpeechLatents, entries: Iterable[Entry], *, seconds: float, seeds: Sequence[int]
) -> list[Trial]:
    """Train and measure every entry from every seed.

    Args:
        latents: What to train on and measure with.
        entries: The quantizers.
        seconds: Processor time that each may train for, its start by k-means included.
        seeds: One trial for each.
    """
    return [
        measure(latents, entry, *train(latents, entry, seconds=seconds, seed=seed), seed=seed)
        for entry in entries
        for seed in seeds
    ]


def train(
    latents: SpeechLatents, entry: Entry, *, seconds: float, seed: int, batch_size: int = 16
) -> tuple[Quantizer, int]:
    """A quantizer trained on the latents, and how many steps that were.

    The loss is the squared error of the latents with the quantizer's own losses. Time is that of
    the processor, so that what else the machine does costs nobody a step.
    """
    began = time.process_time()
    random = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        quantizer = QUANTIZERS.create(
            entry.name,
            entry.options,
            latent_dim=latents.train.shape[-1],
            num_codebooks=entry.num_codebooks,
            codebook_size=entry.codebook_size,
        )
    quantizer.start(latents.train.flatten(0, 1)[: max(20_000, entry.codebook_size)], random)
    optimizer = None
    if any(True for _ in quantizer.parameters()):
        optimizer = torch.optim.Adam(quantizer.parameters(), lr=1e-3)
    quantizer.train()
    scale = latents.train.var().item()
    steps = 0
    while time.process_time() - began < seconds:
        rows = torch.randint(len(latents.train), (batch_size,), generator=random)
        step(quantizer, latents.train[rows], scale, optimizer)
        steps += 1
        if steps % 50 == 0:
            quantizer.restart_unused(random)
    return quantizer.eval(), steps


def step(
    quantizer: Quantizer, x: Tensor, scale: float, optimizer: torch.optim.Optimizer | None
) -> None:
    """One training step on latents [B, T, D]; every item hears all books."""
    out = quantizer(x, torch.full((len(x),), quantizer.num_codebooks))
    if optimizer is None:
        return
    loss = ((out.latents - x).square().mean() + out.codebook) / scale
    if out.auxiliary is not None:
        loss = loss + out.auxiliary
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()


@torch.no_grad()
def measure(
    latents: SpeechLatents, entry: Entry, quantizer: Quantizer, steps: int, *, seed: int
) -> Trial:
    """What a trained quantizer loses on the held-out clips, and what it costs."""
    counts = np.zeros((entry.num_codebooks, entry.codebook_size), np.int64)
    error = energy = 0.0
    scores: list[tuple[float, float]] = []
    mean = latents.train.mean((0, 1))
    config = latents.model.config
    bits = config.num_codebooks * math.log2(config.codebook_size)
    books = max(round(config.num_codebooks * entry.bits / bits), 1)
    for audio, x in zip(latents.clips, latents.held_out, strict=True):
        codes = quantizer.encode(x)
        decoded = quantizer.decode(codes)
        counts += count_codes(codes.numpy(), entry.codebook_size)
        error += float((decoded - x).square().sum())
        energy += float((x - mean).square().sum())
        heard = latents.decode(decoded, books)
        rate = config.sample_rate
        scores.append((pesq_wb(audio, heard, rate).value, stoi(audio, heard, rate).value))
    use = codebook_use(counts)
    pesq, intelligibility = np.nanmean(np.array(scores), axis=0)
    return Trial(
        label=entry.label,
        seed=seed,
        bits=entry.bits,
        steps=steps,
        signal_to_noise_db=10 * math.log10(energy / max(error, 1e-12)),
        used_share=float(np.mean([book.used_share for book in use])),
        entropy_share=float(np.mean([book.entropy_share for book in use])),
        num_tokens=use[0].num_tokens,
        pesq_wb=float(pesq),
        stoi=float(intelligibility),
        frame_us=frame_time(quantizer, latents.train[:1]),
        parameters=sum(p.numel() for p in quantizer.parameters())
        + sum(b.numel() for name, b in quantizer.named_buffers() if name.endswith(".entries")),
    )


def frame_time(quantizer: Quantizer, x: Tensor, repeats: int = 5) -> float:
    """Microseconds of processor time to encode and decode a frame of [1, T, D]; the best run."""
    best = math.inf
    for _ in range(repeats):
        began = time.process_time()
        quantizer.decode(quantizer.encode(x))
        best = min(best, time.process_time() - began)
    return 1e6 * best / x.shape[1]


def summary(trials: Sequence[Trial]) -> dict[str, dict[str, tuple[float, float]]]:
    """Mean over seeds and half the 95 % interval (Student's t; nan for one seed), by label."""
    table: dict[str, dict[str, tuple[float, float]]] = {}
    for label in dict.fromkeys(trial.label for trial in trials):
        own = [trial for trial in trials if trial.label == label]
        table[label] = {name: _interval([getattr(t, name) for t in own]) for name in NUMBERS}
    return table


def _interval(values: Sequence[float]) -> tuple[float, float]:
    t = (math.nan, 12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262)
    n = len(values)
    if n < 2:
        return float(values[0]), math.nan
    spread = float(np.std(values, ddof=1)) / math.sqrt(n)
    return float(np.mean(values)), t[min(n, 10) - 1] * spread


def save(trials: Sequence[Trial], path: Path) -> None:
    """Write all trials as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps([asdict(trial) for trial in trials], indent=1), encoding="utf-8")
