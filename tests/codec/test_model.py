"""The whole model in torch: shapes, depth, training pass, clear errors."""

import copy

import pytest
import torch

from sotto.codec.errors import ShapeError


@pytest.fixture(scope="module")
def audio():
    return 0.1 * torch.randn(2, 1, 480 * 8, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def codes(tiny_model, audio):
    return tiny_model.encode(audio, tiny_model.encoder.init_state(2))[0]


def decode(model, codes):
    return model.decode(codes, model.decoder.init_state(len(codes)))[0]


def test_audio_becomes_one_code_per_book_and_frame(tiny_model, codes):
    assert codes.shape == (2, tiny_model.config.num_codebooks, 8)
    assert codes.dtype == torch.int64
    assert codes.min() >= 0
    assert codes.max() < tiny_model.config.codebook_size


def test_codes_become_as_much_audio(tiny_model, codes, audio):
    heard = decode(tiny_model, codes)
    assert heard.shape == audio.shape
    assert heard.dtype == torch.float32
    assert heard.isfinite().all()


@pytest.mark.parametrize("books", [1, 2, 3])
def test_leaving_books_out_equals_marking_them_as_not_heard(tiny_model, codes, books):
    marked = codes.clone()
    marked[:, books:] = -1
    assert torch.equal(decode(tiny_model, codes[:, :books]), decode(tiny_model, marked))


def test_depth_may_change_from_frame_to_frame(tiny_model, codes):
    mixed = codes.clone()
    mixed[:, 2:, 4:] = -1
    heard = decode(tiny_model, mixed)
    assert torch.equal(heard[..., : 4 * 480], decode(tiny_model, codes)[..., : 4 * 480])
    assert not torch.equal(heard, decode(tiny_model, codes))


def test_a_frame_that_was_lost_altogether_still_decodes(tiny_model, codes):
    lost = codes.clone()
    lost[:, :, 3] = -1
    assert decode(tiny_model, lost).isfinite().all()


@pytest.mark.parametrize(
    "shape", [(480,), (1, 480), (1, 2, 480), (1, 1, 481), (1, 1, 0), (1, 1, 1, 480)]
)
def test_audio_of_another_shape_is_refused(tiny_model, shape):
    with pytest.raises(ShapeError, match=r"\[B, 1, S\]|multiple of frame_size=480; pad 479"):
        tiny_model.encode(torch.zeros(shape), tiny_model.encoder.init_state(1))
    with pytest.raises(ShapeError):
        tiny_model(torch.zeros(shape), torch.ones(1, dtype=torch.int64))


@pytest.mark.parametrize("shape", [(4,), (4, 3), (1, 0, 3), (1, 5, 3), (1, 4, 0)])
def test_codes_of_another_shape_are_refused(tiny_model, shape):
    with pytest.raises(ShapeError, match=r"\[B, k, T\] with k from 1 to 4"):
        decode(tiny_model, torch.zeros(shape, dtype=torch.int64))


def test_the_training_pass_hears_what_encoding_and_decoding_give(tiny_model, codes, audio):
    depth = torch.tensor([4, 2])
    out = tiny_model(audio, depth)
    assert torch.equal(out.codes, codes)
    heard = codes.clone()
    heard[1, 2:] = -1
    torch.testing.assert_close(out.audio, decode(tiny_model, heard), atol=1e-5, rtol=0)


def test_without_quantizer_the_noise_takes_its_place(tiny_model, audio):
    depth = torch.full((2,), 4)
    silent = tiny_model(audio, depth, torch.zeros(2, 8, 16))
    loud = tiny_model(audio, depth, torch.ones(2, 8, 16))
    assert silent.codes is None
    assert silent.commitment == 0
    assert not torch.equal(silent.audio, loud.audio)


def test_silence_and_full_scale_give_finite_audio(tiny_model):
    square = torch.ones(1, 1, 4800)
    square[..., 1::2] = -1
    for extreme in (torch.zeros(1, 1, 4800), square, 1e-20 * square):
        found, _ = tiny_model.encode(extreme, tiny_model.encoder.init_state(1))
        assert decode(tiny_model, found).isfinite().all()


def test_every_part_gets_a_gradient(make_model, audio):
    model = make_model().train().requires_grad_(True)
    out = model(audio, torch.tensor([4, 1]))
    (out.audio.square().mean() + out.commitment).backward()
    missing = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert missing == []


def test_bf16_autocast_stays_close_and_gives_float32(make_model, audio):
    model = make_model().eval()
    depth, noise = torch.full((2,), 4), torch.zeros(2, 8, 16)
    with torch.autocast("cpu", torch.bfloat16):
        half = model(audio, depth, noise)
    full = model(audio, depth, noise)
    assert half.audio.dtype == torch.float32
    torch.testing.assert_close(half.audio, full.audio, atol=0.05, rtol=0.1)


def test_weights_survive_a_round_trip(make_model, make_config, codes, audio):
    model = make_model()
    twin = make_model(seed=1)
    assert not torch.equal(decode(twin, codes), decode(model, codes))
    twin.load_state_dict(copy.deepcopy(model.state_dict()))
    assert torch.equal(decode(twin, codes), decode(model, codes))
    assert torch.equal(twin.encode(audio, twin.encoder.init_state(2))[0], codes)


def test_the_delay_is_one_frame(tiny_model):
    assert tiny_model.delay_samples == tiny_model.config.frame_size
