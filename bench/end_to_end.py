"""A small codec trained from nothing with each of the main quantizers, measured on held-out clips."""

import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from rich.console import Console

from sotto.codec.config import ComponentConfig
from sotto.train.bundle import load_run
from sotto.train.config import RunConfig, load_config
from sotto.train.config_stages import StageConfig
from sotto.train.loop import Trainer

from .contenders import Contender
from .latents import speech_latents
from .quantizer_jobs import jobs_of, report_each
from .quantizer_report import CODEC_COLUMNS
from .quantizer_runs import LISTEN
from .quantizer_scores import Trial, measure
from .recipes import recipes

MAIN = (
    "rvq",
    "cross-scale",
    "grvq",
    "cascade",
    "simvq",
    "ibq",
    "cascade of fsq",
    "cascade of bsq",
)


@dataclass(frozen=True)
class SmallCodec:
    """The codec of the default recipe made small, and its training.

    Attributes:
        steps: Training steps, the first quarter of them without quantizer.
        batch_size: Crops in a step.
        crop_s: Seconds of a crop.
        width: Channels of encoder and decoder.
        blocks: Of each.
        latent_dim: Width of the latents.
    """

    steps: int = 400
    batch_size: int = 6
    crop_s: float = 0.5
    width: int = 96
    blocks: int = 2
    latent_dim: int = 64


def small_run(
    small: SmallCodec, contender: Contender, data: Path, cache: Path, output: Path, seed: int
) -> RunConfig:
    """The default recipe with the small codec and one quantizer, without adversary."""
    (path,) = recipes(("speech-24khz",))
    config = load_config(path, [f"data={data}"])
    model = config.model

    def narrow(part: ComponentConfig) -> ComponentConfig:
        sizes = {"dim": small.width, "num_blocks": small.blocks}
        return replace(part, options={**part.options, **sizes})

    begin = small.steps // 4
    return replace(
        config,
        model=replace(
            model,
            latent_dim=small.latent_dim,
            num_codebooks=contender.num_codebooks,
            codebook_size=contender.codebook_size,
            encoder=narrow(model.encoder),
            quantizer=ComponentConfig(contender.name, dict(contender.options)),
            decoder=narrow(model.decoder),
        ),
        dataset=replace(
            config.dataset,
            cache=cache,
            batch_size=small.batch_size,
            crop_seconds=small.crop_s,
            workers=0,
        ),
        stages={
            "autoencoder": StageConfig(
                steps=begin, quantize=False, final_learning_rate=1e-3, warmup_steps=begin // 2
            ),
            "quantized": StageConfig(
                steps=small.steps - begin, final_learning_rate=1e-5, warmup_steps=begin // 4
            ),
        },
        discriminators=(),
        output=output,
        seed=seed,
        start_latents=5 * contender.codebook_size,
        validate_every=small.steps,
        validation_clips=1,
        listen_every=0,
        checkpoint_every=small.steps,
    )


def compare_codecs(
    data: Path,
    cache: Path,
    out: Path,
    contenders: Sequence[Contender],
    *,
    small: SmallCodec,
    seeds: int = 1,
    resume: bool = False,
    console: Console | None = None,
) -> list[Trial]:
    """Train the small codec with each quantizer, print and save what is measured.

    Args:
        data: Folder of audio or a manifest, with held-out clips.
        cache: Folder for decoded audio.
        out: Folder for ``codecs.json`` and ``.md``.
        contenders: The quantizers, all of the same bits per frame.
        small: The codec and its training.
        seeds: Trials of each.
        resume: Go on with a run that was stopped.
        console: Where to print.

    Raises:
        CodecError: A codec cannot be built or trained, or there is too little audio; what is to be
            resumed was another run.
    """

    def run(contender: Contender, seed: int) -> list[Trial]:
        return train_codec(small, contender, data, cache, seed)

    return report_each(
        jobs_of(contenders, seeds, run),
        CODEC_COLUMNS,
        {"codec": asdict(small)},
        out / "codecs",
        Trial,
        console=console or Console(),
        resume=resume,
    )


def train_codec(
    small: SmallCodec, contender: Contender, data: Path, cache: Path, seed: int
) -> list[Trial]:
    """One small codec, trained and measured with all its books."""
    with tempfile.TemporaryDirectory() as folder:
        config = small_run(small, contender, data, cache, Path(folder) / "run", seed)
        began = time.process_time()
        Trainer(config).run()
        spent = time.process_time() - began
        model = load_run(config.output)[0]
    latents = speech_latents(model, data, cache, frames=1000)
    trial = measure(
        latents,
        contender,
        model.quantizer,
        seed=seed,
        listen=LISTEN,
        spent=(small.steps, spent),
        unit=latents.scale,
    )
    return [trial]
