"""Compares the exported graphs with torch on real audio, step by step."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from sotto.codec.errors import BundleError
from sotto.codec.model import CodecModel

from .graphs import DecoderStep, EncoderStep
from .runtime import Codec

MAX_AUDIO_DIFFERENCE = 1e-4
MIN_EQUAL_CODES = 0.999
QUIET = 1e-3  # the level at which the audio is compared once more


@dataclass(frozen=True)
class Parity:
    """How far onnxruntime is from torch.

    Attributes:
        equal_codes: Share of codes that are the same.
        audio_difference: Largest absolute difference of samples decoded from the same codes.
        frames: How many frames were compared.
    """

    equal_codes: float
    audio_difference: float
    frames: int


@torch.no_grad()
def check_parity(model: CodecModel, folder: Path, speech: Tensor) -> Parity:
    """Run torch and the bundle in `folder` over the same audio, piece by piece.

    The audio is followed by a very quiet copy and by silence, where floors and guards matter, and
    all of it is encoded with each search that the encoder offers.

    Args:
        model: The model that was exported.
        folder: Its bundle.
        speech: float32 [1, 1, S]; the check is as good as this audio is typical.

    Raises:
        BundleError: Codes or audio differ by more than what is promised.
    """
    codec = Codec(folder)
    F = model.config.frame_size
    frames = speech.shape[2] // F
    if frames < 2:
        raise BundleError(f"the parity check needs 2 frames ({2 * F} samples) of audio or more")
    first, second = speech[:, :, : frames * F].tensor_split([frames // 2 * F], dim=2)
    pieces = (first, second, QUIET * first, torch.zeros_like(first[:, :, : 10 * F]))
    equal = compared = 0
    difference = 0.0
    for beam_size in codec.beam_sizes:
        encoder, decoder = EncoderStep(model, beam_size), DecoderStep(model)
        depth = None if beam_size == 1 else torch.tensor([model.config.num_codebooks])
        torch_state, onnx_state = encoder.init_state(1), codec.encoder_state()
        decoder_state, onnx_decoder_state = decoder.init_state(1), codec.decoder_state()
        for piece in pieces:
            codes, torch_state = encoder(piece, torch_state, depth)
            found, onnx_state = codec.encode_step(piece.numpy(), onnx_state, beam_size=beam_size)
            equal += int((codes.numpy() == found).sum())
            compared += found.size
            audio, decoder_state = decoder(codes, decoder_state)
            heard, onnx_decoder_state = codec.decode_step(codes.numpy(), onnx_decoder_state)
            difference = max(difference, float(np.abs(audio.numpy() - heard).max()))
    parity = Parity(equal / compared, difference, compared // model.config.num_codebooks)
    if parity.equal_codes < MIN_EQUAL_CODES or not difference <= MAX_AUDIO_DIFFERENCE:
        raise BundleError(
            f"the exported graphs differ from torch: {parity.equal_codes:.4%} of codes equal "
            f"(at least {MIN_EQUAL_CODES:.1%}), audio within {difference:.1e} "
            f"(at most {MAX_AUDIO_DIFFERENCE:.0e})"
        )
    return parity
