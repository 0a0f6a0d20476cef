"""The whole path on one screen: audio → encoder → quantizer → codes → decoder → audio."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from .config import CodecConfig
from .errors import ConfigError, ShapeError
from .parts import DECODERS, ENCODERS, QUANTIZERS
from .quantizers import NOT_HEARD
from .quantizers.base import heard
from .streaming import State


@dataclass(frozen=True)
class Reconstruction:
    """One training pass.

    Attributes:
        audio: float32 [B, 1, S], `delay_samples` later than the input.
        latents: [B, T, D], as the encoder gave them.
        codes: int64 [B, K, T], or None without quantizer.
        commitment: Scalar loss for the encoder.
        codebook: Scalar loss for the codebooks, with what the quantizer adds of its own.
    """

    audio: Tensor
    latents: Tensor
    codes: Tensor | None
    commitment: Tensor
    codebook: Tensor


class CodecModel(nn.Module):
    """A speech codec in torch: the module that is trained and exported.

    `encode` and `decode` are the two steps of a stream; a whole signal is a stream's first step.
    """

    def __init__(self, config: CodecConfig) -> None:
        """Build encoder, quantizer and decoder by name.

        Raises:
            ConfigError: A part is unknown, or its options do not fit the sizes.
        """
        super().__init__()
        self.config = config
        sizes = {"num_codebooks": config.num_codebooks, "codebook_size": config.codebook_size}
        width = {"latent_dim": config.latent_dim}
        frame = {"sample_rate": config.sample_rate, "frame_size": config.frame_size}
        try:
            self.encoder = ENCODERS.create(
                config.encoder.name, config.encoder.options, **frame, **width
            )
            self.quantizer = QUANTIZERS.create(
                config.quantizer.name, config.quantizer.options, **width, **sizes
            )
            self.decoder = DECODERS.create(
                config.decoder.name,
                config.decoder.options,
                **frame,
                **width,
                num_codebooks=config.num_codebooks,
            )
        except ValueError as error:
            raise ConfigError(f"model '{config.name}': {error}") from error

    @property
    def delay_samples(self) -> int:
        """Samples by which decoded audio is later than its input."""
        return self.decoder.delay_samples

    def encode(
        self, audio: Tensor, state: State, depth: Tensor | None = None, beam_size: int = 1
    ) -> tuple[Tensor, State]:
        """Turn audio into codes.

        Args:
            audio: float32 [B, 1, S] in [-1, 1] at `config.sample_rate`; S a multiple of
                `config.frame_size`.
            state: From ``encoder.init_state``, or the previous call.
            depth: int64 [B], how many books will be kept of each item; all of them if None.
            beam_size: Code paths that the search keeps; 1 is greedy.

        Returns:
            codes: int64 [B, K, T], T = S / frame_size, values in [0, codebook_size); -1 in the
                books from `depth` on, if it is given.
            state: Pass to the next call.

        Raises:
            ShapeError: Not [B, 1, S], or S is not a positive multiple of `frame_size`.
            ConfigError: The quantizer has no residual stages to search, or fewer entries than
                `beam_size`.
        """
        latents, state = self.encoder(self._mono(audio), state)
        if depth is None and beam_size == 1:
            return self.quantizer.encode(latents), state
        if depth is None:
            depth = latents.new_full((len(latents),), self.config.num_codebooks, dtype=torch.int64)
        return self.quantizer.search(latents, depth, beam_size), state

    def decode(self, codes: Tensor, state: State) -> tuple[Tensor, State]:
        """Turn codes into audio.

        Args:
            codes: int64 [B, k, T]; fewer than K books, or entries of -1, are books not heard.
            state: From ``decoder.init_state``, or the previous call.

        Returns:
            audio: float32 [B, 1, T * frame_size], `delay_samples` later than what was encoded.
            state: Pass to the next call.

        Raises:
            ShapeError: Not three axes, more than K books, or no frame.
        """
        K = self.config.num_codebooks
        if codes.ndim != 3 or not 1 <= codes.shape[1] <= K or codes.shape[2] == 0:
            raise ShapeError(
                f"codes have shape {tuple(codes.shape)}; expected [B, k, T] with k from 1 to {K} "
                "and at least one frame"
            )
        if codes.shape[1] < K:
            codes = nn.functional.pad(codes, (0, 0, 0, K - codes.shape[1]), value=NOT_HEARD)
        audio, state = self.decoder(self.quantizer.decode(codes), heard(codes), state)
        return audio[:, None], state

    def forward(
        self,
        audio: Tensor,
        depth: Tensor,
        noise: Tensor | None = None,
        arrived: Tensor | None = None,
    ) -> Reconstruction:
        """Encode and decode whole signals for training.

        Args:
            audio: float32 [B, 1, S], S a multiple of `frame_size`.
            depth: int64 [B], how many books the decoder hears of each item.
            noise: If given, the quantizer is left out and this noise [B, T, D] is added to the
                latents in its place.
            arrived: If given, bool [B, T]: the decoder hears no book of the other frames.

        Raises:
            ShapeError: Not [B, 1, S], or S is not a positive multiple of `frame_size`.
        """
        audio = self._mono(audio)
        B = audio.shape[0]
        encoded, _ = self.encoder(audio, self.encoder.init_state(B))
        latents = encoded
        codes, commitment, codebook = None, latents.new_zeros(()), latents.new_zeros(())
        if noise is not None:
            latents = latents + noise
        else:
            quantized = self.quantizer(latents, depth)
            latents, codes = quantized.latents, quantized.codes
            commitment, codebook = quantized.commitment, quantized.codebook
            if quantized.auxiliary is not None:
                codebook = codebook + quantized.auxiliary
        per_frame = depth[:, None].expand(-1, latents.shape[1])
        if arrived is not None:
            latents, per_frame = latents * arrived[..., None], per_frame * arrived
        decoded, _ = self.decoder(latents, per_frame, self.decoder.init_state(B))
        return Reconstruction(decoded[:, None], encoded, codes, commitment, codebook)

    def _mono(self, audio: Tensor) -> Tensor:
        F = self.config.frame_size
        if audio.ndim != 3 or audio.shape[1] != 1 or audio.shape[2] == 0:
            raise ShapeError(f"audio has shape {tuple(audio.shape)}; expected [B, 1, S], S > 0")
        if audio.shape[2] % F:
            raise ShapeError(
                f"audio has {audio.shape[2]} samples, not a multiple of frame_size={F}; "
                f"pad {-audio.shape[2] % F}, or use a StreamEncoder to buffer"
            )
        return audio[:, 0]
