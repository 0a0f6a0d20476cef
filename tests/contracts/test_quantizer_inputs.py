"""Inputs that are hard: half precision, not finite, constant, short."""

import time

import pytest
import torch

from sotto.codec.errors import CodecError

from .quantizer_cases import SIZE, D, K, entries, error, full, sample, snapshot, training_loss


def test_bf16_autocast_changes_nothing(quantizer):
    latents = sample()
    expected = quantizer(latents, full())
    with torch.autocast("cpu", torch.bfloat16):
        out = quantizer(latents, full())
        codes = quantizer.encode(latents)
        decoded = quantizer.decode(codes)
    assert torch.equal(out.latents, expected.latents)
    assert torch.equal(codes, expected.codes)
    assert torch.equal(decoded, quantizer.decode(codes))
    assert out.commitment.dtype == torch.float32


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_input_is_quantized_in_float32(quantizer, dtype):
    latents = sample().to(dtype)
    out = quantizer.train()(latents, full())
    assert out.latents.dtype == torch.float32
    assert torch.equal(quantizer.encode(latents), quantizer.encode(latents.float()))


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_input_that_is_not_finite_neither_hangs_nor_poisons(quantizer, bad):
    latents = sample()
    latents[1, 3] = bad
    before = snapshot(quantizer)
    started = time.monotonic()
    for codes in (quantizer.train()(latents, full()).codes, quantizer.encode(latents)):
        assert codes.min() >= 0
        assert codes.max() < SIZE
    assert all(tensor.isfinite().all() for tensor in quantizer.state_dict().values())
    assert all(torch.equal(t, before[n]) for n, t in entries(quantizer.state_dict()).items())
    with pytest.raises(CodecError, match="not finite"):
        quantizer.start(latents.flatten(0, 1), torch.Generator())
    assert time.monotonic() - started < 60


def test_constant_input_is_fine(quantizer):
    for value in (0.0, 1.0):
        latents = torch.full((2, 30, D), value, requires_grad=True)
        out = quantizer.train()(latents, full(2))
        training_loss(out).backward()
        assert latents.grad.isfinite().all()
        codes = quantizer.encode(latents)
        assert (codes == codes[:1, :, :1]).all()
        quantizer.start(latents.detach().flatten(0, 1), torch.Generator())
        assert error(quantizer, latents.detach()) < 1e-2


def test_one_frame_and_no_frame_are_fine(quantizer):
    latents = sample(1, 1)
    assert quantizer.train()(latents, full(1)).latents.shape == (1, 1, D)
    assert quantizer.encode(latents).shape == (1, K, 1)
    before = snapshot(quantizer)
    assert quantizer(sample(1, 0), full(1)).codes.shape == (1, K, 0)
    assert all(torch.equal(t, before[name]) for name, t in quantizer.state_dict().items())
