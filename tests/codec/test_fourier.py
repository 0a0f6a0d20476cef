"""The DFT in two stages: that of torch, and its own inverse, for sizes of many kinds."""

import pytest
import torch

from sotto.codec.fourier import RealDFT

SIZES = [2, 6, 34, 64, 960]  # 34 = 2 * 17: prime factors need not be small


def sample(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("size", SIZES)
def test_spectra_are_those_of_torch(size):
    frames = sample(2, 3, size)
    found = RealDFT(size)(frames)
    expected = torch.fft.rfft(frames.double(), norm="ortho")
    assert found.shape == (2, 3, 2, size // 2 + 1)
    torch.testing.assert_close(found[..., 0, :].double(), expected.real, atol=2e-6, rtol=0)
    torch.testing.assert_close(found[..., 1, :].double(), expected.imag, atol=2e-6, rtol=0)


@pytest.mark.parametrize("size", SIZES)
def test_the_inverse_undoes_it(size):
    frames = sample(2, 3, size)
    back = RealDFT(size, inverse=True)(RealDFT(size)(frames))
    torch.testing.assert_close(back, frames, atol=3e-6, rtol=0)


@pytest.mark.parametrize("num_bins", [1, 33, 321])
def test_fewer_bins_are_the_lowest_ones(num_bins):
    frames = sample(4, 960)
    low = RealDFT(960, num_bins)(frames)
    assert low.shape == (4, 2, num_bins)
    torch.testing.assert_close(low, RealDFT(960)(frames)[..., :num_bins], atol=1e-6, rtol=0)


def test_bins_that_are_not_given_are_silent():
    spectrum = sample(4, 2, 100)
    given = RealDFT(960, 100, inverse=True)(spectrum)
    padded = RealDFT(960, inverse=True)(torch.nn.functional.pad(spectrum, (0, 381)))
    torch.testing.assert_close(given, padded, atol=1e-6, rtol=0)


def test_the_tables_are_far_smaller_than_the_matrix():
    dft = RealDFT(960)
    assert dft.outer.numel() + dft.inner.numel() < 960 * 2 * 481 / 10
