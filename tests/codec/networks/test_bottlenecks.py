"""Networks over frames: bounded causal attention, and the recurrent one; exact in a stream."""

import pytest
import torch

from sotto.codec.config import ComponentConfig
from sotto.codec.errors import ConfigError
from sotto.codec.networks import attention  # noqa: F401 - registers the transformer
from sotto.codec.networks.attention import CausalAttention
from sotto.codec.networks.bottleneck import BOTTLENECKS, bottleneck
from sotto.codec.streaming import flatten

PARTS = {
    "lstm": {"num_layers": 2},
    "transformer": {"num_layers": 2, "num_heads": 2, "context": 4, "layer_scale": 1.0},
}


def make(name, dim=8, **options):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        part = bottleneck(ComponentConfig(name, PARTS[name] | options), dim)
    return part.double().requires_grad_(False)


def signal(frames, dim=8):
    return torch.randn(2, frames, dim, generator=torch.Generator().manual_seed(1)).double()


def test_every_bottleneck_is_tested_here():
    assert BOTTLENECKS.available() == sorted(PARTS)


@pytest.mark.parametrize("plan", [[1] * 12, [5, 7], [1, 10, 1]], ids=str)
@pytest.mark.parametrize("name", PARTS)
def test_chunks_equal_the_whole_and_leave_the_same_state(name, plan):
    part = make(name)
    x = signal(12)
    whole, end = part(x, part.init_state(2))
    state, found = part.init_state(2), []
    for piece in x.split(plan, dim=1):
        y, state = part(piece, state)
        found.append(y)
    torch.testing.assert_close(torch.cat(found, dim=1), whole)
    assert flatten(state).keys() == flatten(end).keys() == flatten(part.init_state(2)).keys()
    for key, tensor in flatten(end).items():
        torch.testing.assert_close(flatten(state)[key], tensor)


@pytest.mark.parametrize("name", PARTS)
def test_no_frame_depends_on_the_future_or_on_its_neighbours_in_the_batch(name):
    part = make(name)
    x = signal(6)
    y, _ = part(x, part.init_state(2))
    changed = x.clone()
    changed[:, 4:] += 1
    changed[1] += 1
    z, _ = part(changed, part.init_state(2))
    torch.testing.assert_close(z[0, :4], y[0, :4])
    assert not torch.allclose(z[0, 4:], y[0, 4:])


def naive(module, x):
    """One query at a time, over the frames that it may see, with rotation by distance alone."""
    T, heads = x.shape[1], module.num_heads
    q, k, v = (p.unflatten(2, (heads, -1)) for p in module.project_in(x).chunk(3, dim=-1))
    out = torch.zeros_like(v)
    for t in range(T):
        first = max(0, t - module.past)
        seen = range(first, t + 1)
        scores = torch.stack([turned(q[:, t], k[:, s], t - s, module) for s in seen], dim=-1)
        weights = (scores / q.shape[-1] ** 0.5).softmax(dim=-1)  # [B, heads, seen]
        out[:, t] = torch.einsum("bhs,bshd->bhd", weights, v[:, first : t + 1])
    return module.project_out(out.flatten(2))


def turned(q, k, distance, module):
    angle = distance * module.inverse_wavelength
    a, b = q.chunk(2, dim=-1)
    c, d = k.chunk(2, dim=-1)
    return ((a * c + b * d) * angle.cos() - (b * c - a * d) * angle.sin()).sum(-1)


def test_attention_is_softmax_over_the_last_frames_with_rotary_positions():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = CausalAttention(8, 2, 4).double()
    x = signal(9)
    y, _ = module(x, module.init_state(2))
    torch.testing.assert_close(y, naive(module, x))


def test_attention_forgets_what_is_older_than_its_context():
    module = CausalAttention(8, 2, 4).double()
    x = signal(9)
    y, _ = module(x, module.init_state(2))
    x[:, :5] += 1
    z, _ = module(x, module.init_state(2))
    torch.testing.assert_close(z[:, 8], y[:, 8])
    assert not torch.allclose(z[:, 7], y[:, 7])


def test_a_first_frame_attends_to_itself_alone():
    module = CausalAttention(8, 2, 100).double()
    x = signal(1)
    y, state = module(x, module.init_state(2))
    values = module.project_in(x).chunk(3, dim=-1)[2]
    torch.testing.assert_close(y, module.project_out(values))
    assert (state["seen"] == 1).all()
    assert state["keys"].shape == (2, 99, 8)


def test_a_stream_may_run_for_long_without_losing_precision():
    module = CausalAttention(8, 2, 4)
    x = signal(4_004).float()
    _, late = module(x[:, :4_000], module.init_state(2))
    y, _ = module(x[:, 4_000:], late)
    z, _ = module(x[:, 3_990:], module.init_state(2))
    torch.testing.assert_close(y, z[:, -4:], atol=1e-5, rtol=1e-4)


def test_a_transformer_starts_near_the_identity():
    part = make("transformer", layer_scale=0.01)
    x = signal(9)
    y, _ = part(x, part.init_state(2))
    assert (y - x).square().mean() < 0.01 * x.square().mean()


def test_the_recurrent_one_is_that_of_torch_added_to_its_input():
    part = make("lstm")
    x = signal(9)
    y, _ = part(x, part.init_state(2))
    torch.testing.assert_close(y, x + part.lstm(x)[0])


def test_heads_that_do_not_fit_are_refused():
    with pytest.raises(ConfigError, match="num_heads=3 must divide dim=8"):
        make("transformer", num_heads=3)
    with pytest.raises(ConfigError, match="even width"):
        make("transformer", num_heads=8)
    with pytest.raises(ConfigError, match=r"unknown bottleneck 'lsmt'; did you mean 'lstm'\?"):
        bottleneck(ComponentConfig("lsmt"), 8)
    assert bottleneck(None, 8) is None
