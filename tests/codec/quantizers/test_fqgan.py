"""FQGAN: books side by side that are kept from saying the same."""

import pytest
import torch

from sotto.codec.errors import ConfigError
from sotto.codec.quantizers import QUANTIZERS
from sotto.codec.quantizers.fqgan import likeness

D, K = 8, 4


def build(started=True, **options):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        quantizer = QUANTIZERS.create(
            "fqgan", options, latent_dim=D, num_codebooks=K, codebook_size=16
        )
    if started:
        quantizer.start(latents(20).flatten(0, 1), torch.Generator().manual_seed(0))
    return quantizer


def latents(batch=4, seed=0):
    return torch.randn(batch, 30, D, generator=torch.Generator().manual_seed(seed))


def full(batch=4):
    return torch.full((batch,), K)


def test_likeness_is_one_for_parallel_groups_and_zero_at_right_angles():
    same = torch.tensor([[1.0, 2], [-3, -6], [0.5, 1]])
    apart = torch.tensor([[1.0, 0], [0, 5]])
    assert likeness(same).item() == pytest.approx(1)
    assert likeness(apart).item() == pytest.approx(0)
    assert likeness(same[:1]) == 0
    assert likeness(torch.zeros(2, 3, 2)) == 0


def trained(difference, steps=60):
    """How alike the groups are after training with this weight."""
    quantizer, x = build(difference=difference).train(), latents(8)
    optimizer = torch.optim.Adam(quantizer.parameters(), lr=0.02)
    for _ in range(steps):
        out = quantizer(x, full(8))
        loss = (out.latents - x).square().mean() + out.codebook + out.auxiliary
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    quantizer.eval()
    narrow = quantizer.projection.down(x)
    shares = zip(quantizer.groups, narrow.chunk(K, -1), strict=True)
    parts = [group.decode(group.encode(share)) for group, share in shares]
    return likeness(torch.stack(parts, -2)).item()


def test_the_term_makes_groups_less_alike():
    assert trained(5.0) < 0.8 * trained(0.0)


def test_every_group_sees_the_whole_latent():
    quantizer, x = build(started=False), latents().requires_grad_()
    for share in quantizer.projection.down(x).chunk(K, -1):
        assert share.shape[-1] == D // K
        (gradient,) = torch.autograd.grad(share.square().sum(), x, retain_graph=True)
        assert (gradient.abs().amax((0, 1)) > 0).all()


def test_a_group_that_is_not_heard_is_not_pulled():
    quantizer, x = build().train(), latents(1).requires_grad_()
    quantizer(x, torch.tensor([1])).commitment.backward()
    down = quantizer.projection.down.weight.detach()  # orthonormal rows
    pulled = (x.grad @ down.T).abs().amax((0, 1)).unflatten(0, (K, -1)).amax(1)
    assert pulled[0] > 1e-4
    assert (pulled[1:] < 1e-6).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"group_dim": 3}, "groups=4 of group_dim=3 are wider than latent_dim=8"),
        ({"groups": 3}, "groups=3 must divide"),
    ],
)
def test_groups_that_do_not_fit_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        build(**options)
