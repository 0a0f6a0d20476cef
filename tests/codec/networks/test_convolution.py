"""Causal convolutions: those of torch with silence on the left, and the same in chunks."""

import pytest
import torch
import torch.nn.functional as F

from sotto.codec.errors import ConfigError
from sotto.codec.networks.activation import activation
from sotto.codec.networks.convolution import CausalConv, CausalUpsampling
from sotto.codec.streaming import flatten


def signal(frames, dim=4):
    return torch.randn(2, dim, frames, generator=torch.Generator().manual_seed(0)).double()


def in_chunks(module, x, plan):
    state, found = module.init_state(2), []
    for piece in x.split(plan, dim=2):
        y, state = module(piece, state)
        found.append(y)
    return torch.cat(found, dim=2), state


@pytest.mark.parametrize("normalise", [True, False])
@pytest.mark.parametrize(
    "sizes",
    [{"kernel_size": 7}, {"kernel_size": 3, "dilation": 9}, {"kernel_size": 8, "stride": 4}],
)
def test_a_convolution_is_that_of_torch_with_zeros_on_the_left(sizes, normalise):
    conv = CausalConv(4, 6, **sizes, normalise=normalise).double()
    x = signal(24)
    y, _ = conv(x, conv.init_state(2))
    plain = {name: value for name, value in sizes.items() if name != "kernel_size"}
    expected = F.conv1d(F.pad(x, (conv.context, 0)), conv.conv.weight, conv.conv.bias, **plain)
    torch.testing.assert_close(y, expected)
    assert y.shape[2] == 24 // sizes.get("stride", 1)


def test_upsampling_is_the_transposed_convolution_of_torch_without_its_last_stride():
    up = CausalUpsampling(4, 6, 5).double()
    torch.nn.init.normal_(up.bias)
    x = signal(7)
    y, _ = up(x, up.init_state(2))
    expected = F.conv_transpose1d(x, up.conv.weight, up.bias[:, 0], stride=5)[..., :-5]
    torch.testing.assert_close(y, expected)


@pytest.mark.parametrize("plan", [[1] * 12, [5, 7], [1, 10, 1]], ids=str)
@pytest.mark.parametrize(
    "module",
    [
        CausalConv(4, 6, 7, dilation=3),
        CausalConv(4, 4, 7, groups=4),
        CausalUpsampling(4, 6, 5),
        CausalUpsampling(4, 4, 2, groups=4),
    ],
    ids=["dilated", "depthwise", "up", "up depthwise"],
)
def test_chunks_equal_the_whole_and_leave_the_same_state(module, plan):
    module = module.double()
    x = signal(12)
    whole, end = module(x, module.init_state(2))
    found, state = in_chunks(module, x, plan)
    torch.testing.assert_close(found, whole)
    for name, tensor in flatten(end).items():
        torch.testing.assert_close(flatten(state)[name], tensor)


def test_a_kernel_that_sees_nothing_of_the_past_is_refused():
    with pytest.raises(ConfigError, match="kernel_size=4 sees nothing beyond stride=4"):
        CausalConv(1, 1, 4, stride=4)


def test_state_keeps_its_type_under_autocast():
    for module in (CausalConv(4, 4, 3), CausalUpsampling(4, 4, 2)):
        with torch.autocast("cpu", torch.bfloat16):
            _, state = module(signal(4).bfloat16(), module.init_state(2))
        assert all(tensor.dtype == torch.float32 for tensor in flatten(state).values())


def test_activations():
    x = torch.linspace(-3, 3, 13).reshape(1, 1, -1)
    torch.testing.assert_close(activation("snake", 1)(x), x + x.sin().square())
    torch.testing.assert_close(activation("elu", 1)(x), F.elu(x))
    torch.testing.assert_close(activation("leaky_relu", 1)(x), F.leaky_relu(x, 0.1))
