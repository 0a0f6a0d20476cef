"""A look at held-out clips during training: distances, codebook use, audio and spectrograms."""

import math

import numpy as np
import numpy.typing as npt
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch import Tensor

from sotto.codec.decoder import Decoder
from sotto.codec.model import CodecModel
from sotto.codec.usage import codebook_use, count_codes

from .config import RunConfig
from .corpus import Corpus
from .listening import listeners
from .losses import ReconstructionLoss
from .manifest import Clip
from .record import ValidationReport

EXCERPT_SECONDS = 4.0


class Validator:
    """Decodes the start of some validation clips at several depths."""

    def __init__(
        self,
        config: RunConfig,
        corpus: Corpus,
        losses: ReconstructionLoss,
        device: torch.device,
    ) -> None:
        held_out = corpus.valid
        count = min(config.validation_clips, len(held_out))
        picks = np.linspace(0, len(held_out) - 1, count).astype(int)  # spread evenly
        self.clips = [held_out[i] for i in picks]
        self.config, self.cache, self.losses, self.device = config, corpus.cache, losses, device

    # Clips of any length, one by one:
    @torch.compiler.set_stance("force_eager")  # type: ignore[untyped-decorator]
    @torch.no_grad()
    def run(
        self, model: CodecModel, decoder: Decoder, *, quantize: bool, listen: bool = False
    ) -> ValidationReport:
        """Evaluate `model` with `decoder` (its moving average) in place of its own.

        Args:
            model: Gives the codes.
            decoder: Makes audio of them.
            quantize: Whether the quantizer is in the path.
            listen: Also PESQ and STOI, which take longest.
        """
        K = self.config.model.num_codebooks
        depths = sorted({K, max(K // 2, 1), max(K // 4, 1)}, reverse=True) if quantize else [K]
        found: dict[str, list[float]] = {}
        pictures: dict[str, npt.NDArray[np.uint8]] = {}
        audio: dict[str, npt.NDArray[np.float32]] = {}
        counts = np.zeros((K, self.config.model.codebook_size), np.int64)
        model.eval()
        for number, clip in enumerate(self.clips):
            target = self._excerpt(clip)
            latents, _ = model.encoder(target, model.encoder.init_state(1))
            codes = model.quantizer.encode(latents) if quantize else None
            if codes is not None:
                counts += count_codes(codes.cpu().numpy(), counts.shape[1])
            for depth in depths:
                heard = latents if codes is None else model.quantizer.decode(codes[:, :depth])
                decoded = self._decode(decoder, heard, depth)
                scores = self._distances(decoded, target, clip)
                if listen:
                    scores |= self._listen(decoded, target)
                for name, value in scores.items():
                    key = f"{name}/{depth}_books" if quantize else name
                    found.setdefault(key, []).append(value)
                if number < 3 and depth == depths[0]:
                    audio[clip.path.stem] = decoded[0].clamp(-1, 1).cpu().numpy()
                    pictures[clip.path.stem] = self._picture(target, decoded)
        metrics = {name: _mean(values) for name, values in found.items()}
        if quantize and self.clips:
            for use in codebook_use(counts):
                metrics[f"entries_used/book_{use.book}"] = use.used_share
                metrics[f"entropy_share/book_{use.book}"] = use.entropy_share
        return ValidationReport(metrics, self.config.model.sample_rate, audio, pictures)

    def _excerpt(self, clip: Clip) -> Tensor:
        """The first seconds of a clip, whole frames, [1, S]; a very short one ends in silence."""
        model = self.config.model
        frames = int(EXCERPT_SECONDS * model.frame_rate)
        samples = self.cache.get(clip.path)[: frames * model.frame_size].astype(np.float32) / 32768
        filled = max(-(-len(samples) // model.frame_size), math.ceil(model.frame_rate))
        samples = np.pad(samples, (0, filled * model.frame_size - len(samples)))
        return torch.from_numpy(samples)[None].to(self.device)

    def _decode(self, decoder: Decoder, latents: Tensor, depth: int) -> Tensor:
        """Latents [1, T, D] to audio [1, S - delay], aligned with the target's start."""
        heard = torch.full(latents.shape[:2], depth, device=self.device)
        audio: Tensor
        audio, _ = decoder(latents, heard, decoder.init_state(1))
        return audio[:, decoder.delay_samples :]

    def _distances(self, decoded: Tensor, target: Tensor, clip: Clip) -> dict[str, float]:
        target = target[:, : decoded.shape[1]]
        band = torch.tensor([clip.bandwidth_hz or self.config.model.sample_rate / 2])
        loss = self.losses(decoded, target, band.to(self.device))
        scale = (decoded * target).sum() / target.square().sum().clamp_min(1e-9)
        noise = (decoded - scale * target).square().sum().clamp_min(1e-9)
        ratio = (scale * target).square().sum().clamp_min(1e-9) / noise
        return {
            "mel": float(loss.mel),
            "stft": float(loss.stft),
            "si_sdr_db": 10 * math.log10(float(ratio)),
        }

    def _listen(self, decoded: Tensor, target: Tensor) -> dict[str, float]:
        """Scores of hearing; nan where a clip has none."""
        reference = target[0, : decoded.shape[1]].cpu().numpy()
        heard = decoded[0].clamp(-1, 1).cpu().numpy()
        rate = self.config.model.sample_rate
        return {name: score(reference, heard, rate) for name, score in listeners().items()}

    def _picture(self, target: Tensor, decoded: Tensor) -> npt.NDArray[np.uint8]:
        """Log spectrograms of original and decoded, one above the other, uint8 [H, W, 3]."""
        figure = Figure(figsize=(8, 5))
        canvas = FigureCanvasAgg(figure)
        axes = figure.subplots(2, 1)
        rate = self.config.model.sample_rate
        for axis, name, audio in zip(axes, ("original", "decoded"), (target, decoded), strict=True):
            signal = audio[0].cpu().numpy() + 1e-7  # no zeros: their logarithm is infinite
            axis.specgram(signal, NFFT=960, noverlap=720, Fs=rate, vmin=-140, vmax=-40)
            axis.set_ylabel(name)
        canvas.draw()  # type: ignore[no-untyped-call]
        pixels = np.asarray(canvas.buffer_rgba())  # type: ignore[no-untyped-call]
        return pixels[..., :3].copy()


def _mean(values: list[float]) -> float:
    """Mean of the values that are numbers; nan if none is."""
    numbers = [value for value in values if not math.isnan(value)]
    return sum(numbers) / len(numbers) if numbers else math.nan
