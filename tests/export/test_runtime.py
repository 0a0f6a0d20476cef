"""The codec on onnxruntime: codes to the bit however they are cut or batched, and clear errors."""

import builtins
import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from sotto.codec.errors import (
    AudioError,
    BackendError,
    BundleError,
    CodesError,
    ModelNotFoundError,
    ShapeError,
)
from sotto.export import bundles
from sotto.export.runtime import Codec, available_models, find_bundle, load, read_info

SPEECH = Path(__file__).parents[2] / "bench" / "data" / "sample.flac"
plans = st.lists(st.integers(1, 9), min_size=1, max_size=8)


def noise(samples, batch=1, seed=0):
    random = np.random.default_rng(seed)
    loudness = 10 ** random.uniform(-4, 0, (batch, 1, 1))
    return (loudness * random.standard_normal((batch, 1, samples))).astype(np.float32)


def encode_steps(codec, audio, plan):
    """Codes [B, K, T] and the last state of frames cut as `plan` says."""
    state, codes, start = codec.encoder_state(len(audio)), [], 0
    F = codec.info.frame_size
    for frames in plan:
        found, state = codec.encode_step(audio[:, :, start * F : (start + frames) * F], state)
        codes.append(found)
        start += frames
    return np.concatenate(codes, axis=2), state


def decode_steps(codec, codes, plan):
    state, audio = codec.decoder_state(len(codes)), []
    for piece in np.split(codes, np.cumsum(plan)[:-1], axis=2):
        heard, state = codec.decode_step(piece, state)
        audio.append(heard)
    return np.concatenate(audio, axis=2)


def same_state(left, right):
    return all(np.array_equal(left[name], right[name]) for name in left.keys() | right.keys())


@settings(max_examples=20, deadline=None)
@given(plan=plans, seed=st.integers(0, 99))
def test_codes_and_state_do_not_depend_on_chunking_to_the_bit(tiny_codec, plan, seed):
    audio = noise(480 * sum(plan), seed=seed)
    whole, end = encode_steps(tiny_codec, audio, [sum(plan)])
    chunked, chunked_end = encode_steps(tiny_codec, audio, plan)
    assert np.array_equal(chunked, whole)
    assert same_state(chunked_end, end)


@settings(max_examples=20, deadline=None)
@given(plan=plans, batch=st.integers(2, 6), seed=st.integers(0, 99))
def test_codes_and_state_do_not_depend_on_batch_neighbours_to_the_bit(
    tiny_codec, plan, batch, seed
):
    audio = noise(480 * sum(plan), batch, seed)
    together, end = encode_steps(tiny_codec, audio, plan)
    item = seed % batch
    alone, alone_end = encode_steps(tiny_codec, audio[item : item + 1], [sum(plan)])
    assert np.array_equal(together[item : item + 1], alone)
    assert same_state({name: value[item : item + 1] for name, value in end.items()}, alone_end)


@pytest.mark.parametrize("name", available_models())
def test_a_shipped_model_keeps_its_state_to_the_bit_however_real_speech_is_cut(name):
    codec = Codec.load(name)
    audio, _ = soundfile.read(SPEECH, dtype="float32", always_2d=True)
    F = codec.info.frame_size
    audio = audio[: 100 * F, 0][None, None]
    neighbours = np.concatenate([audio, 0.1 * audio[..., ::-1], 0 * audio])
    whole, end = encode_steps(codec, audio, [100])
    for plan in ([1] * 100, [2] * 50, [4] * 25, [1, 99], [16] * 6 + [4]):
        for batch in (audio, neighbours):
            codes, state = encode_steps(codec, batch, plan)
            assert np.array_equal(codes[:1], whole)
            assert same_state({n: value[:1] for n, value in state.items()}, end)


@settings(max_examples=15, deadline=None)
@given(plan=plans, batch=st.integers(1, 4), seed=st.integers(0, 99))
def test_decoded_audio_depends_on_neither(tiny_codec, plan, batch, seed):
    random = np.random.default_rng(seed)
    codes = random.integers(0, tiny_codec.info.codebook_size, (batch, 3, sum(plan)))
    together = decode_steps(tiny_codec, codes, plan)
    alone = decode_steps(tiny_codec, codes[:1], [sum(plan)])
    np.testing.assert_allclose(together[:1], alone, atol=1e-6)


def test_whole_signals_equal_steps(tiny_codec):
    audio = noise(480 * 230, 2)  # longer than one block of the whole-signal calls
    codes = tiny_codec.encode(audio)
    stepped, _ = encode_steps(tiny_codec, np.pad(audio, ((0, 0), (0, 0), (0, 480))), [33] * 7)
    assert np.array_equal(codes, stepped)
    heard = tiny_codec.decode(codes)
    np.testing.assert_allclose(heard, decode_steps(tiny_codec, codes, [231])[:, :, 480:], atol=1e-6)


@pytest.mark.parametrize("samples", [0, 1, 479, 480, 481, 960, 961, 48_001])
@pytest.mark.parametrize("batch", [1, 2])
def test_decoded_audio_is_as_long_as_what_was_encoded(tiny_codec, samples, batch):
    codes = tiny_codec.encode(noise(samples, batch))
    info = tiny_codec.info
    assert codes.shape == (batch, info.num_codebooks, info.num_frames(samples))
    assert codes.dtype == np.int64
    heard = tiny_codec.decode(codes, samples)
    assert heard.shape == (batch, 1, samples)
    assert heard.dtype == np.float32
    longest = max(codes.shape[2] * info.frame_size - info.delay_samples, 0)
    assert tiny_codec.decode(codes).shape == (batch, 1, longest)


def test_no_sample_is_lost_at_the_end(tiny_codec):
    audio = np.zeros((1, 1, 4800), np.float32)
    other = audio.copy()
    other[..., -1] = 1
    assert not np.array_equal(tiny_codec.encode(audio), tiny_codec.encode(other))


def test_fewer_books_are_a_prefix_of_all(tiny_codec):
    audio = noise(4800)
    codes = tiny_codec.encode(audio)
    for books in range(1, tiny_codec.info.num_codebooks + 1):
        few = tiny_codec.encode(audio, num_codebooks=books)
        assert np.array_equal(few, codes[:, :books])
        rate = tiny_codec.info.bitrate(books)
        assert np.array_equal(tiny_codec.encode(audio, bitrate=rate), few)
        marked = codes.copy()
        marked[:, books:] = -1
        assert np.array_equal(tiny_codec.decode(few), tiny_codec.decode(marked))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32])
def test_codes_of_any_integer_type_decode(tiny_codec, dtype):
    codes = tiny_codec.encode(noise(4800), num_codebooks=2)
    assert np.array_equal(tiny_codec.decode(codes.astype(dtype)), tiny_codec.decode(codes))


def test_float64_audio_is_the_same_audio(tiny_codec):
    audio = noise(4800)
    assert np.array_equal(tiny_codec.encode(audio.astype(np.float64)), tiny_codec.encode(audio))


def test_silence_and_full_scale_give_finite_audio(tiny_codec):
    square = np.where(np.arange(4800) % 100 < 50, 1, -1).astype(np.float32)[None, None]
    for extreme in (np.zeros_like(square), square, 1e-30 * square, 1e6 * square):
        codes = tiny_codec.encode(extreme)
        assert codes.min() >= 0
        assert np.isfinite(tiny_codec.decode(codes)).all()


def test_a_step_does_not_touch_its_state(tiny_codec):
    _, state = encode_steps(tiny_codec, noise(480 * 3), [3])
    kept = {name: value.copy() for name, value in state.items()}
    for _ in range(2):
        tiny_codec.encode_step(noise(480), state)
    assert same_state(state, kept)


def test_one_codec_serves_many_threads(tiny_codec):
    signals = [noise(480 * 40, seed=seed) for seed in range(8)]
    expected = [tiny_codec.encode(audio) for audio in signals]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(tiny_codec.encode, signals))
    assert all(np.array_equal(a, b) for a, b in zip(found, expected, strict=True))


@pytest.mark.parametrize("shape", [(480,), (1, 480), (1, 2, 480), (0, 1, 480)])
def test_audio_of_another_shape_is_refused(tiny_codec, shape):
    with pytest.raises(ShapeError, match=r"\[B, 1, S\]"):
        tiny_codec.encode(np.zeros(shape, np.float32))


@pytest.mark.parametrize("samples", [0, 479, 481])
def test_a_step_takes_whole_frames(tiny_codec, samples):
    with pytest.raises(ShapeError, match="positive multiple of frame_size=480"):
        tiny_codec.encode_step(np.zeros((1, 1, samples), np.float32), tiny_codec.encoder_state())


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_audio_that_is_not_finite_is_refused_by_place(tiny_codec, value):
    audio = noise(4800, 2)
    audio[1, 0, 77] = value
    with pytest.raises(AudioError, match=r"sample 77 of batch item 1 is -?(nan|inf)"):
        tiny_codec.encode(audio)


def test_integers_are_not_taken_for_audio(tiny_codec):
    with pytest.raises(AudioError, match="int16; expected float32"):
        tiny_codec.encode(np.zeros((1, 1, 480), np.int16))
    with pytest.raises(AudioError, match="int16; expected float32"):
        tiny_codec.encode_step(np.zeros((1, 1, 480), np.int16), tiny_codec.encoder_state())


@pytest.mark.parametrize("shape", [(4,), (4, 3), (1, 0, 3), (1, 99, 3), (0, 4, 3)])
def test_codes_of_another_shape_are_refused(tiny_codec, shape):
    with pytest.raises(ShapeError, match=r"expected \[B, k, T\]"):
        tiny_codec.decode(np.zeros(shape, np.int64))


@pytest.mark.parametrize("code", [-2, 16, 1 << 40])
def test_codes_out_of_range_are_refused(tiny_codec, code):
    codes = np.zeros((1, 2, 3), np.int64)
    codes[0, 1, 2] = code
    with pytest.raises(CodesError, match=rf"{code}.*expected 0 to 15"):
        tiny_codec.decode(codes)


def test_codes_that_are_no_integers_are_refused(tiny_codec):
    with pytest.raises(CodesError, match="float64; expected integers"):
        tiny_codec.decode(np.zeros((1, 2, 3)))


def test_books_that_are_no_prefix_are_refused(tiny_codec):
    codes = np.zeros((1, 3, 3), np.int64)
    codes[0, 1, 1] = -1
    with pytest.raises(CodesError, match="without the ones before it"):
        tiny_codec.decode(codes)


@pytest.mark.parametrize("samples", [-1, 961, 10_000])
def test_more_audio_than_the_frames_hold_is_refused(tiny_codec, samples):
    with pytest.raises(ShapeError, match="3 frames hold at most 960"):
        tiny_codec.decode(np.zeros((1, 2, 3), np.int64), samples)


def test_books_and_bitrates_that_the_model_lacks_are_refused(tiny_codec):
    audio = noise(480)
    for asked in ({"num_codebooks": 0}, {"num_codebooks": 5}, {"bitrate": 1.0}, {"bitrate": 1e6}):
        with pytest.raises(CodesError):
            tiny_codec.encode(audio, **asked)
    with pytest.raises(CodesError, match="only one"):
        tiny_codec.encode(audio, num_codebooks=1, bitrate=200.0)


def test_the_state_of_another_batch_or_side_is_refused(tiny_codec):
    audio = noise(480, 2)
    for state in (tiny_codec.encoder_state(3), tiny_codec.decoder_state(2), {}):
        with pytest.raises(ShapeError, match="state does not belong to a batch of 2"):
            tiny_codec.encode_step(audio, state)


def test_an_unknown_model_lists_what_exists():
    with pytest.raises(ModelNotFoundError, match=r"no model 'nothing'.*shipped models \("):
        load("nothing")


def test_shipped_bundles_are_found_by_name(monkeypatch, tiny_bundle):
    monkeypatch.setattr(bundles, "_shipped", lambda: iter([tiny_bundle]))
    assert available_models() == [tiny_bundle.name]
    assert find_bundle(tiny_bundle.name) == tiny_bundle
    with pytest.raises(ModelNotFoundError, match=tiny_bundle.name):
        find_bundle("nothing")


@pytest.fixture
def bundle(tiny_bundle, tmp_path):
    """A copy that may be damaged."""
    return shutil.copytree(tiny_bundle, tmp_path / "bundle")


def test_a_folder_may_be_given_as_text(bundle):
    assert load(str(bundle)).info == load(bundle).info


@pytest.mark.parametrize("name", ["config.json", "encoder.onnx", "decoder.onnx"])
def test_a_bundle_without_one_of_its_files_is_refused(bundle, name):
    (bundle / name).unlink()
    with pytest.raises(BundleError, match=name):
        load(bundle)


def test_a_bundle_without_an_encoder_takes_that_of_the_shipped_model_of_its_name(
    monkeypatch, tiny_bundle, tiny_codec, bundle
):
    (bundle / "encoder.onnx").unlink()
    shipped = bundle.parent / tiny_codec.info.name
    shutil.copytree(tiny_bundle, shipped)
    monkeypatch.setattr(bundles, "_shipped", lambda: iter([bundle, shipped]))
    codec = load(bundle)
    assert codec.encoder_fingerprint == tiny_codec.encoder_fingerprint
    config = json.loads((bundle / "config.json").read_text())
    config["info"]["identity"] = "0" * 64
    (bundle / "config.json").write_text(json.dumps(config))
    with pytest.raises(BundleError, match="export the bundle again"):
        load(bundle)


@pytest.mark.parametrize("name", ["encoder.onnx", "decoder.onnx"])
def test_a_damaged_graph_is_refused(bundle, name):
    whole = (bundle / name).read_bytes()
    for damaged in (b"", b"no graph", whole[: len(whole) // 2]):
        (bundle / name).write_bytes(damaged)
        with pytest.raises(BundleError, match=name):
            load(bundle)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "3",
        '{"format": 99}',
        '{"format": 1}',
        '{"format": 1, "info": null}',
        '{"format": 1, "info": {"nme": 1}}',
        "\xff",
    ],
)
def test_a_damaged_configuration_is_refused(bundle, text):
    (bundle / "config.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(BundleError, match=r"config\.json"):
        read_info(bundle)


def test_a_configuration_of_another_identity_is_refused(bundle):
    config = json.loads((bundle / "config.json").read_text())
    config["info"]["identity"] = "0" * 64
    (bundle / "config.json").write_text(json.dumps(config))
    with pytest.raises(BundleError, match="export the bundle again"):
        load(bundle)


@pytest.mark.skipif(
    "CUDAExecutionProvider" in onnxruntime.get_available_providers(), reason="CUDA is there"
)
def test_a_provider_that_is_missing_is_refused(tiny_bundle):
    with pytest.raises(BackendError, match=r"sotto-codec\[gpu\]"):
        Codec(tiny_bundle, provider="cuda")


def test_a_provider_that_does_not_start_is_refused(tiny_bundle, monkeypatch):
    both = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: both)
    monkeypatch.setattr(onnxruntime.InferenceSession, "get_providers", lambda _: both[1:])
    with pytest.raises((BackendError, BundleError), match=r"cuda|CUDA"):
        Codec(tiny_bundle, provider="cuda")


def test_an_unknown_provider_lists_the_known(tiny_bundle):
    with pytest.raises(BackendError, match=r"unknown provider 'tpu' \(known: cpu, cuda\)"):
        Codec(tiny_bundle, provider="tpu")


def test_without_onnxruntime_the_message_says_what_to_install(tiny_bundle, monkeypatch):
    real = builtins.__import__

    def missing(name, *args, **kwargs):
        if name.startswith("onnxruntime"):
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(BackendError, match=r"install sotto-codec\[cpu\] or sotto-codec\[gpu\]"):
        Codec(tiny_bundle)
