"""Muon: torch's own steps in its format, orthogonal ones in any, and none for what is no matrix."""

import pytest
import torch

from sotto.train.muon import Muon, orthogonal

SHAPES = ((24, 8), (8, 24), (16, 16))


def weights(seed=0):
    random = torch.Generator().manual_seed(seed)
    return [torch.nn.Parameter(torch.randn(shape, generator=random)) for shape in SHAPES]


def walk(optimizer, matrices, steps=4):
    for step in range(steps):
        random = torch.Generator().manual_seed(100 + step)
        for matrix in matrices:
            matrix.grad = torch.randn(matrix.shape, generator=random)
        optimizer.step()


def test_in_bfloat16_it_takes_the_steps_of_torch_to_the_bit():
    mine, theirs = weights(), weights()
    walk(Muon(mine, lr=0.02, weight_decay=0.1, products=torch.bfloat16), mine)
    options = {"weight_decay": 0.1, "momentum": 0.95, "adjust_lr_fn": "match_rms_adamw"}
    walk(torch.optim.Muon(theirs, lr=0.02, **options), theirs)
    assert all(torch.equal(a, b) for a, b in zip(mine, theirs, strict=True))


def test_float32_goes_the_same_way():
    start, exact, rough = weights(), weights(), weights()
    walk(Muon(exact, lr=0.02), exact, steps=1)
    walk(Muon(rough, lr=0.02, products=torch.bfloat16), rough, steps=1)
    for origin, one, other in zip(start, exact, rough, strict=True):
        step = (one - origin).flatten()
        assert torch.cosine_similarity(step, (other - origin).flatten(), dim=0) > 0.999
        assert one.dtype == torch.float32


@pytest.mark.parametrize("shape", SHAPES)
def test_directions_of_any_strength_come_out_alike(shape):
    random = torch.Generator().manual_seed(3)
    left, _, right = torch.linalg.svd(torch.randn(shape, generator=random), full_matrices=False)
    strengths = torch.logspace(0, -2, min(shape))
    matrix = 50 * left @ torch.diag(strengths) @ right
    found = torch.linalg.svdvals(orthogonal(matrix))
    assert orthogonal(matrix).shape == shape
    assert found.min() > 0.3
    assert found.max() < 1.3
    assert torch.equal(matrix, 50 * left @ torch.diag(strengths) @ right), "its input stays"


def test_no_gradient_at_all_stays_nothing():
    assert torch.equal(orthogonal(torch.zeros(4, 6)), torch.zeros(4, 6))


def test_what_is_no_matrix_is_refused():
    with pytest.raises(ValueError, match=r"for matrices; got a weight of \(3,\)"):
        Muon([torch.nn.Parameter(torch.zeros(3))])
