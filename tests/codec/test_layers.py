"""Causal blocks: convolution, ConvNeXt, precision."""

import pytest
import torch
import torch.nn.functional as F

from sotto.codec.layers import CausalDepthwiseConv, ConvNeXtStack, at_least_float32
from sotto.codec.streaming import flatten


def signal(frames, dim=6):
    return torch.randn(2, frames, dim, generator=torch.Generator().manual_seed(0)).double()


@pytest.mark.parametrize("kernel_size", [2, 3, 7])
@pytest.mark.parametrize("frames", [1, 2, 9])
def test_the_convolution_is_that_of_torch_with_zeros_on_the_left(kernel_size, frames):
    conv = CausalDepthwiseConv(6, kernel_size).double()
    x = signal(frames)
    y, _ = conv(x, conv.init_state(2))
    padded = F.pad(x.transpose(1, 2), (kernel_size - 1, 0))
    expected = F.conv1d(padded, conv.weight, conv.bias, groups=6).transpose(1, 2)
    torch.testing.assert_close(y, expected)


@pytest.mark.parametrize("plan", [[1] * 10, [3, 7], [9, 1], [1, 8, 1]])
def test_a_stack_in_chunks_equals_the_whole(plan):
    stack = ConvNeXtStack(6, 2, 2, 4).double()
    x, state, out = signal(10), stack.init_state(2), []
    for piece in x.split(plan, dim=1):
        y, state = stack(piece, state)
        out.append(y)
    whole, end = stack(x, stack.init_state(2))
    torch.testing.assert_close(torch.cat(out, dim=1), whole)
    for name, tensor in flatten(end).items():
        torch.testing.assert_close(flatten(state)[name], tensor)


def test_the_state_holds_the_newest_inputs_even_of_short_chunks():
    conv = CausalDepthwiseConv(6, 5).double()
    x = signal(7)
    _, state = conv(x[:, :5], conv.init_state(2))
    _, state = conv(x[:, 5:6], state)
    _, state = conv(x[:, 6:], state)
    assert torch.equal(state["left"], x[:, -4:])


def test_a_deep_stack_starts_near_the_identity():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        stack = ConvNeXtStack(16, 8, 2, 7).double()
    x = signal(20, 16)
    y, _ = stack(x, stack.init_state(2))
    assert (y - x).square().mean() < x.square().mean()


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (torch.float16, torch.float32),
        (torch.bfloat16, torch.float32),
        (torch.float32, torch.float32),
        (torch.float64, torch.float64),
    ],
)
def test_half_precision_is_widened_and_double_kept(given, expected):
    assert at_least_float32(torch.ones(1, dtype=given)).dtype == expected


def test_state_keeps_its_type_under_autocast():
    stack = ConvNeXtStack(6, 1, 2, 3)
    with torch.autocast("cpu", torch.bfloat16):
        _, state = stack(signal(4).bfloat16(), stack.init_state(2))
    assert all(tensor.dtype == torch.float32 for tensor in flatten(state).values())
