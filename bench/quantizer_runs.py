"""Quantizers side by side on the latents of one frozen encoder: what is run, printed and saved."""

import math
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path

import torch
from rich.console import Console

from sotto.codec.quantizers.clustered import shrink
from sotto.train.weights import load_weights

from .contenders import Contender
from .latents import SpeechLatents, speech_latents
from .quantizer_jobs import Job, jobs_of, report_each
from .quantizer_report import LATENT_COLUMNS, draw
from .quantizer_scores import Trial, listen_to, measure
from .quantizers import Budget, compare_one

LISTEN = 8  # held-out clips that are decoded
OWN = "model's own"
SMALLER = 256  # entries of the model's own books after clustering
PICTURED = ("signal_to_noise_db", "pesq_wb", "entropy_share", "frame_us")


def compare_on_latents(
    bundle: Path,
    data: Path,
    cache: Path,
    out: Path,
    contenders: Sequence[Contender],
    *,
    budget: Budget,
    frames: int = 30_000,
    seeds: int = 3,
    resume: bool = False,
    console: Console | None = None,
) -> list[Trial]:
    """Train quantizers on the latents of one model, print and save what is measured.

    Args:
        bundle: Folder of a model with training weights.
        data: Folder of audio or a manifest, with held-out clips.
        cache: Folder for decoded audio.
        out: Folder for ``quantizers.json``, ``.md`` and ``.png``.
        contenders: The quantizers, all of the same bits per frame.
        budget: What each gets to train.
        frames: Latents to train on.
        seeds: Trials of each.
        resume: Go on with a run that was stopped.
        console: Where to print.

    Raises:
        BundleError: The bundle has no training weights.
        AudioError: Too little audio.
        ConfigError: What is to be resumed was another run.
    """
    latents = speech_latents(load_weights(bundle), data, cache, frames=frames)
    config = latents.model.config
    pesq, stoi = listen_to(latents, latents.held_out, math.inf, LISTEN)
    about = {
        "model": f"{config.name} {config.version}",
        "budget": asdict(budget),
        "train_frames": latents.train.shape[0] * latents.train.shape[1],
        "held_out_clips": len(latents.clips),
        "clips_listened_to": min(LISTEN, len(latents.clips)),
        "not_quantized": {"pesq_wb": pesq, "stoi": stoi},
    }

    def run(contender: Contender, seed: int) -> list[Trial]:
        return compare_one(latents, contender, budget, seed=seed, listen=LISTEN)

    own = Job(OWN, 0, partial(own_books, latents, contenders[0].bits))
    jobs = [own, *jobs_of(contenders, seeds, run)]
    console = console or Console()
    found = report_each(
        jobs,
        LATENT_COLUMNS,
        about,
        out / "quantizers",
        Trial,
        console=console,
        resume=resume,
    )
    draw(found, [c for c in LATENT_COLUMNS if c.name in PICTURED], out / "quantizers.png")
    console.print(
        f"decoded from latents that are not quantized: PESQ-WB {pesq:.2f}, STOI {stoi:.3f}"
    )
    return found


def own_books(latents: SpeechLatents, bits: float) -> list[Trial]:
    """The model's own books at so many bits per frame; then more of them, made smaller.

    They had the whole training of the model, and the encoder learned with them: the quantizers
    that are compared have neither. Nothing is measured for a model without so many bits.
    """
    config, quantizer = latents.model.config, latents.model.quantizer
    found = []
    for size, label in ((config.codebook_size, OWN), (SMALLER, "its own, clustered")):
        books = round(bits / math.log2(size))
        if books > config.num_codebooks or size > config.codebook_size:
            continue
        if size < config.codebook_size:
            quantizer = shrink(quantizer, size, torch.Generator().manual_seed(0))
        own = Contender(label, config.quantizer.name, config.quantizer.options, books, size)
        found.append(measure(latents, own, quantizer, listen=LISTEN, unit=latents.scale))
    return found
