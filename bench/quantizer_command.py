"""What `sotto bench quantizers` makes of its options: which comparison, at which size."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import torch

from .beam_gains import compare_beams
from .contenders import EIGHTY_BITS, chosen
from .end_to_end import MAIN, SmallCodec, compare_codecs
from .large_books import FRAMES, METHODS, compare_large_books
from .quantizer_runs import compare_on_latents
from .quantizers import Budget

Comparison = Literal["latents", "large", "codecs", "beams"]
SIZES = (4096, 65_536)


@dataclass(frozen=True)
class Choice:
    """Options of the command.

    Attributes:
        bundle: Folder of the model whose encoder gives the latents.
        data: Folder of audio or a manifest.
        cache: Folder for decoded audio.
        out: Folder for the results.
        only: Labels of quantizers; all for none.
        steps: Training steps; None for the comparison's own.
        seeds: Trials of each; None for the comparison's own.
        quick: A few steps of one seed, to see that all of it runs.
        resume: Go on with what `out` has of the same run.
        threads: Of torch.
    """

    bundle: Path
    data: Path
    cache: Path
    out: Path
    only: tuple[str, ...] = ()
    steps: int | None = None
    seeds: int | None = None
    quick: bool = False
    resume: bool = False
    threads: int = 1


def run(choice: Choice, comparison: Comparison, sizes: tuple[int, ...] = ()) -> None:
    """Run one comparison, print it and write it to `choice.out`.

    Raises:
        CodecError: An unknown name, a model without training weights, too little audio.
    """
    torch.set_num_threads(choice.threads)
    c, steps = choice, choice.steps
    budget = Budget(steps=steps or Budget.steps)
    if c.quick:
        budget = replace(budget, steps=min(budget.steps, 5), start_frames=1024)
    if comparison == "latents":
        compare_on_latents(
            c.bundle,
            c.data,
            c.cache,
            c.out,
            chosen(EIGHTY_BITS, c.only),
            budget=budget,
            frames=5000 if c.quick else 30_000,
            seeds=c.seeds or (1 if c.quick else 3),
            resume=c.resume,
        )
    elif comparison == "large":
        compare_large_books(
            c.bundle,
            c.data,
            c.cache,
            c.out,
            sizes=sizes or (SIZES[:1] if c.quick else SIZES),
            methods=chosen(METHODS, c.only),
            budget=budget,
            frames=(8192, 8192) if c.quick else FRAMES,
            seeds=c.seeds or 1,
            resume=c.resume,
        )
    elif comparison == "beams":
        every = 8 if c.quick else 1
        compare_beams(c.bundle, c.data, c.cache, c.out, every=every, resume=c.resume)
    else:
        small = SmallCodec(steps=steps or (8 if c.quick else SmallCodec.steps))
        compare_codecs(
            c.data,
            c.cache,
            c.out,
            chosen(EIGHTY_BITS, c.only or MAIN),
            small=small,
            seeds=c.seeds or 1,
            resume=c.resume,
        )
