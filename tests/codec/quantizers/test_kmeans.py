"""Where codebooks start."""

import pytest
import torch

from sotto.codec.quantizers.kmeans import kmeans, principal_directions


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_separate_clusters_are_found_with_their_shares():
    centres = torch.tensor([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0]])
    label = torch.arange(300) % 6 // 2  # a third each
    x = centres[label] + 0.1 * torch.randn(300, 2, generator=generator())
    found, share = kmeans(x, 3, generator=generator(1))
    order = torch.cdist(centres, found).argmin(1)
    torch.testing.assert_close(found[order], centres, atol=0.1, rtol=0)
    torch.testing.assert_close(share, torch.full((3,), 1 / 3))


@pytest.mark.parametrize("rows", [1, 2, 15, 16, 17])
def test_few_rows_still_give_all_centres(rows):
    x = torch.randn(rows, 3, generator=generator())
    centres, share = kmeans(x, 16, generator=generator())
    assert centres.shape == (16, 3)
    assert centres.isfinite().all()
    assert share.sum().item() == pytest.approx(1)


def test_identical_rows_give_finite_centres():
    centres, share = kmeans(torch.ones(50, 3), 8, generator=generator())
    torch.testing.assert_close(centres, torch.ones(8, 3))
    assert share.sum().item() == pytest.approx(1)


def test_the_directions_are_those_of_most_energy_and_orthonormal():
    x = torch.randn(200, 5, generator=generator()) * torch.tensor([1.0, 5.0, 0.1, 3.0, 0.2])
    directions = principal_directions(x, 2)
    torch.testing.assert_close(directions @ directions.T, torch.eye(2), atol=1e-5, rtol=0)
    assert directions.abs().argmax(1).tolist() == [1, 3]
