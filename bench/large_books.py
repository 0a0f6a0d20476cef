"""How much of one very large book is used on real speech latents, method by method.

SimVQ, IBQ, FVQ, OptVQ and VQGAN-LC promise that next to all entries are; plain `rvq`, with moving
averages and restarts, is measured beside them.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache as once
from pathlib import Path

import torch
from rich.console import Console
from torch import Tensor

from sotto.codec.quantizers import Quantizer
from sotto.codec.quantizers.codebook import Codebook
from sotto.codec.quantizers.kmeans import kmeans, nearest_centres
from sotto.codec.quantizers.simvq import RandomLinearBook
from sotto.codec.usage import codebook_use
from sotto.train.weights import load_weights

from .contenders import Contender
from .latents import speech_latents
from .quantizer_jobs import jobs_of, report_each
from .quantizer_report import LARGE_COLUMNS
from .quantizers import Budget, train

METHODS = tuple(
    Contender(name, name) for name in ("rvq", "simvq", "ibq", "fvq", "optvq", "vqgan-lc")
)
PER_ENTRY = (16, 32)  # frames to train on and to count codes of
MOST = (262_144, 655_360)  # of each: 5 hours of speech, 4 and 10 for an entry of the largest book
Clusters = tuple[Tensor, Tensor]  # centres [size, D] and their shares [size]


@dataclass(frozen=True)
class LargeTrial:
    """One large book after training.

    Attributes:
        label: Method and entries.
        seed: Of weights and batches.
        steps: Training steps.
        train_s: Processor time of these, in seconds, without the k-means that methods share.
        used_share: Share of entries that occur among the counted codes.
        half_share: The same among every second of them: how much it grows with the count.
        even_share: What that share would be if codes were drawn evenly.
        entropy_share: Entropy over log2 of the entries.
        num_tokens: Codes counted, of frames of clips that nothing was trained on.
        signal_to_noise_db: Energy of these frames around the training frames' mean, over that of
            the error.
    """

    label: str
    seed: int
    steps: int
    train_s: float
    used_share: float
    half_share: float
    even_share: float
    entropy_share: float
    num_tokens: int
    signal_to_noise_db: float


def compare_large_books(
    bundle: Path,
    data: Path,
    cache: Path,
    out: Path,
    *,
    sizes: Sequence[int],
    methods: Sequence[Contender] = METHODS,
    budget: Budget,
    frames: tuple[int, int] | None = None,
    iterations: int = 5,
    seeds: int = 1,
    resume: bool = False,
    console: Console | None = None,
) -> list[LargeTrial]:
    """Train one book of each size with each method, and count its codes on other clips.

    Args:
        bundle: Folder of a model with training weights.
        data: Folder of audio or a manifest, with held-out clips.
        cache: Folder for decoded audio.
        out: Folder for ``large-books.json`` and ``.md``.
        sizes: Entries of the books.
        methods: Quantizers with books of vectors.
        budget: What each gets to train, after one k-means for all that start from it.
        frames: To train on, and of other clips to count the codes of; None for as many as the size
            of a book asks for.
        iterations: Of k-means.
        seeds: Trials of each, each from clusters of its own.
        resume: Go on with a run that was stopped.
        console: Where to print.

    Raises:
        BundleError: The bundle has no training weights.
        AudioError: Too little audio.
        ConfigError: What is to be resumed was another run.
    """
    model = load_weights(bundle)
    wanted = {size: frames or frames_for(size) for size in sizes}
    most = [max(each[i] for each in wanted.values()) for i in (0, 1)]
    latents = speech_latents(model, data, cache, frames=most[0], unseen=most[1])
    config = latents.model.config
    about = {
        "model": f"{config.name} {config.version}",
        "budget": asdict(budget),
        "frames": frames,
        "kmeans_iterations": iterations,
    }

    def share(size: int) -> tuple[Tensor, Tensor]:
        """Stretches to train on, and frames to count."""
        stretch = latents.train.shape[1]
        train, unseen = (-(-each // stretch) for each in wanted[size])
        return latents.train[:train], latents.unseen[:unseen].flatten(0, 1)

    @once
    def clusters(size: int, seed: int) -> Clusters:
        random = torch.Generator().manual_seed(seed)
        return kmeans(share(size)[0].flatten(0, 1), size, generator=random, iterations=iterations)

    def run(book: Contender, seed: int) -> list[LargeTrial]:
        size = book.codebook_size
        return [one_book(*share(size), book, clusters(size, seed), budget, seed)]

    books = [
        replace(method, label=f"{method.label} {size}", num_codebooks=1, codebook_size=size)
        for size in sizes
        for method in methods
    ]
    return report_each(
        jobs_of(books, seeds, run),
        LARGE_COLUMNS,
        about,
        out / "large-books",
        LargeTrial,
        console=console or Console(),
        resume=resume,
    )


def frames_for(size: int) -> tuple[int, int]:
    """Frames to train a book of so many entries on, and to count its codes of."""
    train, unseen = (min(n * size, most) for n, most in zip(PER_ENTRY, MOST, strict=True))
    return train, unseen


def one_book(
    latents: Tensor,
    unseen: Tensor,
    contender: Contender,
    clusters: Clusters,
    budget: Budget,
    seed: int,
) -> LargeTrial:
    """Train a book on latents [N, T, D] from `clusters`, and count its codes of `unseen` [M, D]."""
    size = contender.codebook_size

    def begin(quantizer: Quantizer, sample: Tensor, random: torch.Generator) -> None:
        for book in quantizer.modules():
            if isinstance(book, RandomLinearBook):  # has nothing to do with clusters
                book.start(sample, random)
            elif isinstance(book, Codebook):
                book.place(*clusters)

    quantizer, seconds = train(latents, contender, budget, seed=seed, start=begin)
    table = next(b for b in quantizer.modules() if isinstance(b, Codebook)).table()
    codes = nearest_centres(unseen, table)
    counts = torch.bincount(codes, minlength=size).numpy()[None]
    use = codebook_use(counts)[0]
    error = float((table[codes] - unseen).square().sum())
    energy = float((unseen - latents.mean((0, 1))).square().sum())
    return LargeTrial(
        label=contender.label,
        seed=seed,
        steps=budget.steps,
        train_s=seconds,
        used_share=use.used_share,
        half_share=int((torch.bincount(codes[::2], minlength=size) > 0).sum()) / size,
        even_share=-math.expm1(use.num_tokens * math.log1p(-1 / size)),
        entropy_share=use.entropy_share,
        num_tokens=use.num_tokens,
        signal_to_noise_db=10 * math.log10(energy / max(error, 1e-12)),
    )
