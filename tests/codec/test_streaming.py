"""State is a value; a stream does not depend on how it is cut."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sotto.codec.streaming import flatten, unflatten

names = st.text("abc", min_size=1, max_size=2)
tensors = st.integers(0, 3).map(lambda n: torch.zeros(n))
states = st.recursive(
    st.dictionaries(names, tensors, min_size=1, max_size=3),
    lambda inner: st.dictionaries(names, inner, min_size=1, max_size=3),
    max_leaves=6,
)
plans = st.lists(st.integers(1, 5), min_size=1, max_size=6)


@pytest.fixture(scope="module")
def exact(make_model):
    """The tiny model in float64, where rounding decides nothing."""
    return make_model().double()


def noise(batch, frames, seed=0):
    random = torch.Generator().manual_seed(seed)
    return 0.1 * torch.randn(batch, 1, 480 * frames, generator=random, dtype=torch.float64)


def encode(model, audio, plan):
    state, codes = model.encoder.init_state(len(audio)), []
    for piece in audio.split([480 * n for n in plan], dim=2):
        found, state = model.encode(piece, state)
        codes.append(found)
    return torch.cat(codes, dim=2), state


def decode(model, codes, plan):
    state, audio = model.decoder.init_state(len(codes)), []
    for piece in codes.split(plan, dim=2):
        heard, state = model.decode(piece, state)
        audio.append(heard)
    return torch.cat(audio, dim=2), state


@settings(max_examples=25, deadline=None)
@given(state=states)
def test_flatten_and_back_is_the_same_state(state):
    flat = flatten(state)
    assert flatten(unflatten(flat)).keys() == flat.keys()
    assert str(unflatten(flat)) == str(state)


def test_states_are_named_after_the_modules(tiny_model):
    names = flatten(tiny_model.encoder.init_state(3)).keys()
    assert names == {"stft.tail", "stack.0.conv.left"}


def test_every_state_is_batch_first_and_starts_at_zero(tiny_model):
    for module in (tiny_model.encoder, tiny_model.decoder):
        for tensor in flatten(module.init_state(3)).values():
            assert tensor.shape[0] == 3
            assert not tensor.any()


@settings(max_examples=15, deadline=None)
@given(plan=plans, seed=st.integers(0, 99))
def test_chunked_encoding_equals_whole(exact, plan, seed):
    audio = noise(2, sum(plan), seed)
    whole, end = encode(exact, audio, [sum(plan)])
    chunked, chunked_end = encode(exact, audio, plan)
    assert torch.equal(chunked, whole)
    for name, tensor in flatten(end).items():
        torch.testing.assert_close(flatten(chunked_end)[name], tensor, atol=1e-9, rtol=0)


@settings(max_examples=15, deadline=None)
@given(plan=plans, seed=st.integers(0, 99))
def test_chunked_decoding_equals_whole(exact, plan, seed):
    random = torch.Generator().manual_seed(seed)
    codes = torch.randint(-1, 16, (2, 4, sum(plan)), generator=random)
    whole, _ = decode(exact, codes, [sum(plan)])
    chunked, _ = decode(exact, codes, plan)
    torch.testing.assert_close(chunked, whole, atol=1e-9, rtol=0)


def test_what_comes_later_changes_nothing_before(exact):
    audio, cut = noise(1, 12), 7
    other = audio.clone()
    other[:, :, cut * 480 :] = noise(1, 5, seed=1)
    codes, _ = encode(exact, audio, [12])
    assert torch.equal(encode(exact, other, [12])[0][:, :, :cut], codes[:, :, :cut])
    assert torch.equal(encode(exact, audio[:, :, : cut * 480], [cut])[0], codes[:, :, :cut])
    changed = codes.clone()
    changed[:, :, cut:] = (changed[:, :, cut:] + 1) % 16
    heard, _ = decode(exact, codes, [12])
    altered, _ = decode(exact, changed, [12])
    torch.testing.assert_close(
        altered[..., : cut * 480], heard[..., : cut * 480], atol=1e-12, rtol=0
    )
    assert not torch.allclose(altered[..., cut * 480 :], heard[..., cut * 480 :])


def test_batch_items_do_not_influence_each_other(exact):
    audio = noise(3, 9)
    audio[1] *= 0
    audio[2] *= 100
    together, _ = encode(exact, audio, [4, 5])
    heard, _ = decode(exact, together, [4, 5])
    for item in range(3):
        alone, _ = encode(exact, audio[item : item + 1], [4, 5])
        assert torch.equal(alone[0], together[item])
        audible, _ = decode(exact, alone, [4, 5])
        torch.testing.assert_close(audible[0], heard[item], atol=1e-9, rtol=0)


def test_a_batch_may_hold_streams_at_different_places(exact):
    audio = noise(2, 8)
    first, ahead = exact.encode(audio[:1, :, : 3 * 480], exact.encoder.init_state(1))
    start = flatten(exact.encoder.init_state(1))
    mixed = unflatten({n: torch.cat([t, start[n]]) for n, t in flatten(ahead).items()})
    pieces = torch.cat([audio[:1, :, 3 * 480 :], audio[1:, :, : 5 * 480]])
    codes, _ = exact.encode(pieces, mixed)
    whole, _ = encode(exact, audio, [8])
    assert torch.equal(torch.cat([first[0], codes[0]], dim=1), whole[0])
    assert torch.equal(codes[1], whole[1, :, :5])


def test_a_step_does_not_touch_the_state_it_was_given(exact):
    _, state = encode(exact, noise(1, 3), [3])
    kept = {name: tensor.clone() for name, tensor in flatten(state).items()}
    again = [exact.encode(noise(1, 4, seed=2), state)[0] for _ in range(2)]
    assert torch.equal(again[0], again[1])
    assert all(torch.equal(flatten(state)[name], tensor) for name, tensor in kept.items())


def test_a_state_does_not_keep_the_whole_signal_alive(exact):
    _, end = encode(exact, noise(1, 50), [50])
    kept = {name: tensor.numel() for name, tensor in flatten(end).items()}
    assert kept == {n: t.numel() for n, t in flatten(exact.encoder.init_state(1)).items()}
