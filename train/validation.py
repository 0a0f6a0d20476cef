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

from .cache import AudioCache
from .config import RunConfig
from .losses import ReconstructionLoss
from .manifest import Clip
from .record import ValidationReport

EXCERPT_SECONDS = 4.0


class Validator:
    """Decodes the start of some validation clips at several depths."""

    def __init__(
        self,
        config: RunConfig,
        clips: list[Clip],
        cache: AudioCache,
        losses: ReconstructionLoss,
        device: torch.device,
    ) -> None:
        held_out = [clip for clip in clips if clip.split == "valid"]
        count = min(config.validation_clips, len(held_out))
        picks = np.linspace(0, len(held_out) - 1, count).astype(int)  # spread evenly
        self.clips = [held_out[i] for i in picks]
        self.config, self.cache, self.losses, self.device = config, cache, losses, device
        for clip in self.clips:  # one that cannot be read shall not stop the run hours later
            cache.get(clip.path)

    # Clips of any length, one by one:
    @torch.compiler.set_stance("force_eager")  # type: ignore[untyped-decorator]
    @torch.no_grad()
    def run(self, model: CodecModel, decoder: Decoder, *, quantize: bool) -> ValidationReport:
        """Evaluate `model` with `decoder` (its moving average) in place of its own."""
        K = self.config.model.num_codebooks
        depths = sorted({K, max(K // 2, 1), max(K // 4, 1)}, reverse=True) if quantize else [K]
        sums: dict[str, float] = {}
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
                for name, value in self._distances(decoded, target, clip).items():
                    key = f"{name}/{depth}_books" if quantize else name
                    sums[key] = sums.get(key, 0.0) + value
                if number < 3 and depth == depths[0]:
                    audio[clip.path.stem] = decoded[0].clamp(-1, 1).cpu().numpy()
                    pictures[clip.path.stem] = self._picture(target, decoded)
        metrics = {name: total / len(self.clips) for name, total in sums.items()}
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
