"""Attention in windows: what it sees, how it streams, what it refuses."""

import pytest
import torch

from sotto.codec.errors import ConfigError
from sotto.codec.networks.windows import WindowAttention, WindowStack

DIM, PATCHES, WINDOW, CONTEXT = 4, 8, 4, 3
SIZES = {"patches": PATCHES, "window": WINDOW, "context": CONTEXT}


def stack(depth):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return WindowStack(DIM, 2, 2, depth=depth, **SIZES)


def noise(columns, batch=1):
    random = torch.Generator().manual_seed(0)
    return torch.randn(batch, columns, PATCHES, DIM, generator=random)


def seen(module, column, patch):
    """Which inputs [T, P] one output depends on."""
    x = noise(6).requires_grad_()
    y, _ = module(x, module.init_state(1))
    y[0, column, patch].sum().backward()
    return x.grad[0].abs().sum(-1) > 0


@pytest.mark.parametrize("patch", range(PATCHES))
@pytest.mark.parametrize("shifted", [False, True])
def test_a_patch_sees_its_window_now_and_a_little_before(patch, shifted):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = WindowAttention(DIM, 2, shifted=shifted, **SIZES)
    shift = WINDOW // 2 if shifted else 0
    expected = torch.zeros(6, PATCHES, dtype=torch.bool)
    alike = (torch.arange(PATCHES) + shift) // WINDOW == (patch + shift) // WINDOW
    expected[5 - CONTEXT : 5][:, alike] = True
    assert torch.equal(seen(module, 4, patch), expected)


def test_two_layers_see_across_the_borders_of_windows():
    assert not seen(stack(1), 4, 3)[:, 4:].any()
    assert seen(stack(2), 4, 3)[:, 4:].any()


@pytest.mark.parametrize("plan", [[1] * 7, [2, 1, 4]], ids=str)
def test_columns_in_pieces_equal_the_whole(plan):
    module, x = stack(2), noise(7, batch=2)
    whole, end = module(x, module.init_state(2))
    state, found = module.init_state(2), []
    for piece in x.split(plan, dim=1):
        y, state = module(piece, state)
        found.append(y)
    torch.testing.assert_close(torch.cat(found, dim=1), whole)
    for block in ("0", "1"):
        for name, tensor in end[block]["attention"].items():
            torch.testing.assert_close(state[block]["attention"][name], tensor)


def test_a_window_is_never_larger_than_a_column():
    module = WindowAttention(DIM, 2, patches=2, window=4, shifted=True, context=2)
    x = torch.randn(1, 3, 2, DIM)
    assert module(x, module.init_state(1))[0].shape == x.shape


@pytest.mark.parametrize(("heads", "patches"), [(3, 8), (2, 6)])
def test_sizes_that_do_not_divide_are_refused(heads, patches):
    with pytest.raises(ConfigError, match=f"num_heads={heads} must divide the width 4"):
        WindowAttention(DIM, heads, patches=patches, window=4, shifted=False, context=2)
