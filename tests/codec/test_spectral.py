"""STFT and its inverse: exact analysis and synthesis, one hop late."""

import pytest
import torch

from sotto.codec.spectral import (
    CausalSTFT,
    OverlapAddISTFT,
    compress,
    expand,
    sine_window,
)


@pytest.fixture(scope="module")
def audio():
    return torch.randn(2, 480 * 6, generator=torch.Generator().manual_seed(0))


def test_synthesis_after_analysis_is_the_input_one_hop_late(audio):
    stft, istft = CausalSTFT(480, 481), OverlapAddISTFT(480)
    spectrum, _ = stft(audio, stft.init_state(2))
    heard, _ = istft(spectrum, istft.init_state(2))
    assert heard.shape == audio.shape
    torch.testing.assert_close(heard[:, 480:], audio[:, :-480], atol=1e-5, rtol=0)
    assert heard[:, :480].abs().max() < 1e-5


def test_the_spectrum_is_that_of_torch(audio):
    stft = CausalSTFT(480, 481)
    spectrum, _ = stft(audio, stft.init_state(2))
    window = sine_window(960)
    expected = torch.stft(
        torch.nn.functional.pad(audio, (480, 0)),
        960,
        480,
        window=window,
        center=False,
        normalized=True,
        return_complex=True,
    )
    found = torch.complex(*spectrum.unbind(2)).transpose(1, 2)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)


def test_squares_of_both_halves_of_the_window_add_up_to_one():
    first, second = sine_window(960).square().chunk(2)
    torch.testing.assert_close(first + second, torch.ones(480))


@pytest.mark.parametrize("module", [CausalSTFT(48, 49), OverlapAddISTFT(48)])
def test_chunked_equals_whole(module):
    shape = (48,) if isinstance(module, CausalSTFT) else (2, 49)
    frames = torch.randn(2, 9, *shape, generator=torch.Generator().manual_seed(1)).double()
    module = module.double()

    def run(plan):
        state, out = module.init_state(2), []
        for piece in frames.split(plan, dim=1):
            given = piece.flatten(1) if isinstance(module, CausalSTFT) else piece
            y, state = module(given, state)
            out.append(y)
        return torch.cat(out, dim=1)

    torch.testing.assert_close(run([1, 3, 4, 1]), run([9]), atol=1e-12, rtol=0)


@pytest.mark.parametrize("power", [0.3, 0.5, 1.0])
def test_expansion_undoes_compression(power):
    spectrum = torch.randn(3, 2, 10, generator=torch.Generator().manual_seed(2)).double()
    back = expand(compress(spectrum, power), power)
    torch.testing.assert_close(back, spectrum, atol=1e-6, rtol=1e-5)


def test_compression_keeps_the_phase_and_raises_the_magnitude():
    spectrum = torch.tensor([[3.0], [4.0]])  # one bin of 3 + 4i
    compressed = compress(spectrum, 0.3)
    assert compressed.norm().item() == pytest.approx(5**0.3, rel=1e-5)
    assert (compressed[1] / compressed[0]).item() == pytest.approx(4 / 3, rel=1e-6)


def test_silence_has_a_finite_spectrum_and_gradient():
    silence = torch.zeros(1, 2, 5, requires_grad=True)
    compressed = compress(silence, 0.3)
    assert not compressed.any()
    expand(compressed, 0.3).sum().backward()
    assert silence.grad.isfinite().all()
