"""Discriminators hear what a recording holds, and nothing above."""

import torch

from sotto.train.adversary import Adversary
from sotto.train.band import in_band
from sotto.train.precision import Precision

RATE, SAMPLES = 24_000, 2_400
BANDS = torch.tensor([4_000.0, 12_000.0])


def noise(seed):
    return 0.1 * torch.randn(2, 1, SAMPLES, generator=torch.Generator().manual_seed(seed))


def above(audio, edge_hz):
    """Share of energy above an edge, of each item."""
    energy = torch.fft.rfft(audio).abs().square()[:, 0]
    bins = torch.fft.rfftfreq(SAMPLES, 1 / RATE)
    return energy[:, bins > edge_hz].sum(1) / energy.sum(1)


def test_a_narrow_recording_is_cut_and_a_full_one_is_left_to_the_bit():
    audio = noise(0)
    found = in_band(audio, BANDS, RATE)
    assert above(found, 4_000)[0] < 1e-10
    assert torch.equal(found[1], audio[1])
    torch.testing.assert_close(in_band(found, BANDS, RATE), found)  # what is in the band stays


def test_the_discriminators_ask_nothing_of_the_codec_above_the_band(make_run):
    config = make_run()
    device = torch.device("cpu")
    adversary = Adversary(config, device, Precision(config.precision, device))
    decoded, target = noise(0).requires_grad_(), noise(1)
    losses = adversary.losses(*(in_band(x, BANDS, RATE) for x in (decoded, target)))
    sum(losses.values()).backward()
    narrow, full = above(decoded.grad, 4_000)
    assert narrow < 1e-10
    assert full > 0.1


def test_silence_has_a_finite_gradient():
    audio = torch.zeros(2, 1, SAMPLES, requires_grad=True)
    in_band(audio, BANDS, RATE).square().sum().backward()
    assert audio.grad.isfinite().all()
