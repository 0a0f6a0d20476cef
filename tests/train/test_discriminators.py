"""Discriminators and the adversary made of them."""

import copy

import pytest
import torch

from sotto.codec.errors import ConfigError
from sotto.train.adversary import Adversary
from sotto.train.discriminators import DISCRIMINATORS
from sotto.train.precision import Precision

OPTIONS = {
    "stft": {"windows": [256, 128], "channels": 4},
    "period": {"periods": [2, 7], "channels": 4, "max_channels": 8},
}


def noise(samples=2_000, seed=0):
    return 0.1 * torch.randn(3, 1, samples, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(params=DISCRIMINATORS.available())
def discriminator(request):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return DISCRIMINATORS.create(request.param, OPTIONS.get(request.param, {}))


CPU = torch.device("cpu")


def train(adversary, decoded, target):
    """One step of the discriminators."""
    return adversary.observe(decoded, target, 1) | adversary.step()


@pytest.fixture
def adversary(make_run):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        found = Adversary(make_run(), CPU, Precision("fp32", CPU))
    found.set_learning_rate(0.01)
    return found


@pytest.mark.parametrize("samples", [480, 1_999, 2_000])
def test_every_member_judges_every_item(discriminator, samples):
    judgements = discriminator(noise(samples))
    assert len(judgements) == len(discriminator.members) == 2
    for judgement in judgements:
        assert judgement.score.shape[:2] == (3, 1)
        assert len(judgement.features) >= 4
        assert all(feature.shape[0] == 3 for feature in judgement.features)


def test_items_are_judged_independently(discriminator):
    audio = noise()
    for together, alone in zip(discriminator(audio), discriminator(audio[1:2]), strict=True):
        torch.testing.assert_close(together.score[1:2], alone.score, atol=1e-5, rtol=1e-4)


def test_the_gradient_reaches_the_audio_and_every_weight(discriminator):
    audio = noise().requires_grad_()
    sum(judgement.score.square().mean() for judgement in discriminator(audio)).backward()
    assert audio.grad.abs().amax(dim=(1, 2)).all()
    assert all(parameter.grad is not None for parameter in discriminator.parameters())


def test_level_is_not_judged_by_spectra_but_silence_stays_faint():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        judge = DISCRIMINATORS.create("stft", {"windows": [256], "channels": 4})
    loud, quiet, faint = (judge(noise() * gain)[0] for gain in (1.0, 0.2, 1e-5))
    torch.testing.assert_close(quiet.score, loud.score, atol=0.05, rtol=0)
    assert (faint.features[0] - loud.features[0]).abs().max() > 0.5
    silent = judge(torch.zeros(3, 1, 2_000))[0]
    torch.testing.assert_close(faint.score, silent.score, atol=0.05, rtol=0)


def test_a_band_is_all_that_is_judged():
    """Two tones, one above the band: only the lower one makes a difference."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        judge = DISCRIMINATORS.create("stft", {"windows": [256], "channels": 4, "band": 0.25})
    time = torch.arange(4_800) / 24_000
    low, high = (0.1 * torch.sin(2 * torch.pi * hz * time)[None, None] for hz in (1_000, 9_000))
    both, lower, higher = (judge(audio)[0].features[0] for audio in (low + high, low, high))
    inside = slice(4, -4)  # folds at the ends of a clip spread a tone over all bins
    torch.testing.assert_close(both[..., inside], lower[..., inside], atol=0.02, rtol=0)
    assert (lower - higher)[..., inside].abs().max() > 0.1
    assert both.shape[2] == 33, "of 129 bins, the lowest quarter"


def test_silence_is_judged_with_a_finite_gradient(discriminator):
    audio = torch.zeros(1, 1, 2_000, requires_grad=True)
    sum(judgement.score.mean() for judgement in discriminator(audio)).backward()
    assert audio.grad.isfinite().all()


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("stft", {"windows": []}),
        ("period", {"periods": []}),
        ("stft", {"chanels": 3}),
        ("stft", {"band": 0}),
    ],
)
def test_bad_options_are_clear_errors(name, options):
    with pytest.raises(ConfigError, match=f"discriminator '{name}'.*{next(iter(options))}"):
        DISCRIMINATORS.create(name, options)


def test_the_adversary_learns_to_tell_decoded_from_original(adversary):
    losses = [float(train(adversary, noise(), 2 * noise())["discriminator"]) for _ in range(30)]
    assert losses[-1] < 0.8 * losses[0]


def test_its_losses_train_the_codec_and_not_the_discriminators(adversary):
    before = copy.deepcopy(adversary.modules.state_dict())
    decoded = noise().requires_grad_()
    sum(adversary.losses(decoded, noise(seed=1)).values()).backward()
    assert decoded.grad.any()
    assert all(parameter.grad is None for parameter in adversary.modules.parameters())
    after = adversary.modules.state_dict()
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())


def test_equal_audio_has_no_feature_distance(adversary):
    assert adversary.losses(noise(), noise())["feature_matching"] == 0


def test_a_step_that_is_not_finite_leaves_the_weights(adversary):
    train(adversary, noise(), noise(seed=1))
    before = copy.deepcopy(adversary.modules.state_dict())
    bad = noise()
    bad[0, 0, 5] = float("nan")
    train(adversary, bad, noise(seed=1))
    after = adversary.modules.state_dict()
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())


def test_the_adversary_survives_save_and_restore(adversary, make_run):
    train(adversary, noise(), noise(seed=1))
    with torch.random.fork_rng():
        twin = Adversary(make_run(), CPU, Precision("fp32", CPU))
    twin.set_learning_rate(0.01)
    twin.restore(copy.deepcopy(adversary.tensors()))
    for each in (adversary, twin):
        train(each, noise(seed=2), noise(seed=3))
    found = twin.tensors()
    assert all(torch.equal(found[name], tensor) for name, tensor in adversary.tensors().items())
