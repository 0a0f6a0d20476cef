"""Comparisons of quantizers are fair, give the same numbers again, and write what they print."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import soundfile
import torch

from sotto.bench import quantizer_command as command
from sotto.bench.contenders import EIGHTY_BITS, Contender, chosen
from sotto.bench.end_to_end import SmallCodec, compare_codecs, small_run
from sotto.bench.large_books import METHODS, compare_large_books, frames_for
from sotto.bench.latents import speech_latents
from sotto.bench.quantizer_report import (
    CODEC_COLUMNS,
    LARGE_COLUMNS,
    LATENT_COLUMNS,
    Column,
    interval,
    markdown,
    summary,
)
from sotto.bench.quantizer_runs import compare_on_latents, own_books
from sotto.bench.quantizer_scores import Trial, measure
from sotto.bench.quantizers import Budget, compare_one, train
from sotto.codec.errors import AudioError, BundleError, ConfigError

TINY = Budget(steps=3, start_frames=200, batch_size=2)
RVQ = Contender("rvq", "rvq", {}, 2, 16, beams=(3,))
FSQ = Contender("grid", "cascade", {"stage": "fsq"}, 2, 16)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("speech")
    rng = np.random.default_rng(0)
    for number in range(21):  # the twentieth is held out
        loudness = 0.1 * (1 + np.sin(np.arange(24_000) / 2000))
        soundfile.write(folder / f"{number:02}.wav", loudness * rng.standard_normal(24_000), 24_000)
    return folder


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def latents(tiny_model, data, cache):
    return speech_latents(tiny_model, data, cache, frames=400, unseen=100, stretch=10)


@pytest.fixture(scope="module")
def bundle(tiny_model, tiny_bundle, tmp_path_factory):
    from sotto.train.weights import save_weights

    folder = tmp_path_factory.mktemp("weights")
    for file in tiny_bundle.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    save_weights(tiny_model, folder)
    return folder


def numbers(trial):
    """All but what a clock gave."""
    return replace(trial, train_s=0.0, frame_us=0.0)


def test_latents_are_of_one_scale_and_unseen_ones_of_other_clips(latents):
    assert latents.train.shape == (40, 10, 16)
    assert latents.unseen.shape == (10, 10, 16)
    assert latents.train.std().item() == pytest.approx(1, abs=1e-4)
    assert len(latents.clips) == len(latents.held_out) == 1
    assert not (latents.train.flatten(0, 1)[:, None] == latents.unseen[0]).all(-1).any()


def test_a_decoded_clip_is_as_long_as_the_clip_and_not_late(latents, tiny_model):
    audio = latents.decode(latents.held_out[0], 4)
    assert audio.shape == latents.clips[0].shape
    whole = latents.held_out[0] * latents.scale
    heard = torch.full(whole.shape[:2], 4)
    decoder = tiny_model.decoder
    late, _ = decoder(whole, heard, decoder.init_state(1))
    delay = decoder.delay_samples
    expected = late[0, delay:].clamp(-1, 1).numpy()
    np.testing.assert_allclose(audio[:-delay], expected, atol=1e-6)


def test_too_little_audio_is_an_error_that_says_how_much_there_is(tiny_model, data, cache):
    with pytest.raises(AudioError, match="1000 of 5000 frames"):
        speech_latents(tiny_model, data, cache, frames=5000)


def test_one_seed_gives_the_same_numbers_again_and_another_seed_others(latents):
    first, again, other = (
        compare_one(latents, RVQ, TINY, seed=seed, listen=1)[0] for seed in (0, 0, 1)
    )
    assert numbers(first) == numbers(again)
    assert first.signal_to_noise_db != other.signal_to_noise_db


def test_random_assignments_depend_on_the_seed_alone(latents):
    gumbel = Contender("gumbel", "gumbel", {}, 2, 16)
    torch.manual_seed(1)
    first, _ = train(latents.train, gumbel, TINY, seed=0)
    torch.manual_seed(2)
    again, _ = train(latents.train, gumbel, TINY, seed=0)
    for a, b in zip(first.state_dict().values(), again.state_dict().values(), strict=True):
        assert torch.equal(a, b)


def test_a_beam_is_measured_on_the_same_books_and_loses_less(latents):
    greedy, beam = compare_one(latents, RVQ, TINY, seed=0, listen=1)
    assert (greedy.label, beam.label) == ("rvq", "rvq, beam 3")
    assert beam.signal_to_noise_db >= greedy.signal_to_noise_db
    assert beam.parameters == greedy.parameters == 2 * 16 * 16


def test_more_training_lowers_the_error(latents):
    few, many = (
        compare_one(latents, FSQ, replace(TINY, steps=steps), seed=0, listen=0)[0]
        for steps in (1, 60)
    )
    assert many.signal_to_noise_db > few.signal_to_noise_db


def test_signal_to_noise_is_that_of_the_held_out_latents(latents, tiny_model):
    own = Contender("own", "rvq", {}, 4, 16)
    trial = measure(latents, own, tiny_model.quantizer, listen=0, unit=latents.scale)
    x = latents.held_out[0] * latents.scale
    found = tiny_model.quantizer.decode(tiny_model.quantizer.encode(x))
    centred = x - latents.train.mean((0, 1)) * latents.scale
    expected = 10 * math.log10(centred.square().sum() / (x - found).square().sum())
    assert trial.signal_to_noise_db == pytest.approx(expected, abs=1e-3)
    assert math.isnan(trial.pesq_wb)
    assert 0 < trial.entropy_share <= 1
    assert trial.num_tokens == x.shape[1]


def test_all_contenders_have_eighty_bits_and_other_names():
    assert {each.bits for each in EIGHTY_BITS} == {80}
    assert len({each.label for each in EIGHTY_BITS}) == len(EIGHTY_BITS)


@pytest.mark.slow
@pytest.mark.parametrize("contender", EIGHTY_BITS, ids=lambda each: each.label)
def test_every_contender_trains_and_is_measured(contender):
    x = torch.randn(8, 10, 64, generator=torch.Generator().manual_seed(0))
    quantizer, _ = train(x, contender, TINY, seed=0)
    codes = quantizer.encode(x)
    assert codes.shape == (8, contender.num_codebooks, 10)
    assert (quantizer.decode(codes) - x).square().mean() < 1.2 * x.square().mean()


def test_an_unknown_quantizer_is_named_with_those_that_exist():
    with pytest.raises(ConfigError, match=r"no quantizer 'vq' to compare \(known: rvq, affine"):
        chosen(EIGHTY_BITS, ["vq"])
    assert [each.label for each in chosen(EIGHTY_BITS, ["fsq", "rvq"])] == ["rvq", "fsq"]


def test_own_books_are_measured_if_there_are_enough(latents):
    (own,) = own_books(latents, 8)  # 2 of 16; these are too few to be made smaller
    assert (own.label, own.steps) == ("model's own", 0)
    assert own_books(latents, 80) == []


def test_a_comparison_prints_saves_and_draws_every_trial(bundle, data, cache, tmp_path, capsys):
    found = compare_on_latents(
        bundle, data, cache, tmp_path, [RVQ, FSQ], budget=TINY, frames=400, seeds=2
    )
    assert [trial.seed for trial in found] == [0, 0, 0, 0, 1, 1, 1]
    saved = json.loads((tmp_path / "quantizers.json").read_text())
    assert [trial["label"] for trial in saved["trials"]] == [trial.label for trial in found]
    assert saved["budget"]["steps"] == 3
    assert saved["train_frames"] == 400
    assert {"machine", "versions", "model", "not_quantized"} <= set(saved)
    assert (tmp_path / "quantizers.md").read_text() == markdown(found, LATENT_COLUMNS)
    assert (tmp_path / "quantizers.png").read_bytes().startswith(b"\x89PNG")
    assert "rvq, beam 3, seed 1" in capsys.readouterr().out


def test_a_model_without_training_weights_is_refused(tiny_bundle, data, cache, tmp_path):
    with pytest.raises(BundleError, match="no usable"):
        compare_on_latents(tiny_bundle, data, cache, tmp_path, [RVQ], budget=TINY)


def test_the_interval_is_that_of_student():
    found = interval([1.0, 2.0, 3.0])
    assert found.mean == 2
    assert found.half == pytest.approx(4.3027 / math.sqrt(3), rel=1e-4)
    assert math.isnan(interval([1.0]).half)


def test_tables_put_the_best_first_and_leave_out_what_is_not_known():
    columns = [Column("signal_to_noise_db", "SNR", 1), Column("used_share", "used", 0, 100)]
    trials = [
        Trial(label, seed, 80, 1, 0, snr + seed, used, 0, 1, math.nan, math.nan, 0, 0)
        for label, snr, used in (("low", 1, 0.5), ("high", 7, 1.0))
        for seed in (0, 1)
    ]
    assert list(summary(trials, columns)) == ["high", "low"]
    lines = markdown(trials, columns).splitlines()
    assert lines[2] == "| high | 7.5 ± 6.4 | 100 |"
    assert "| - |" in markdown(trials, [*columns, Column("stoi", "STOI", 2)]).splitlines()[2]


def test_large_books_are_counted_on_frames_of_other_clips(bundle, data, cache, tmp_path):
    found = compare_large_books(
        bundle,
        data,
        cache,
        tmp_path,
        sizes=(64,),
        methods=METHODS[:2],
        budget=TINY,
        frames=(384, 256),
    )
    assert [trial.label for trial in found] == ["rvq 64", "simvq 64"]
    for trial in found:
        assert 0 < trial.used_share <= 1
        assert 256 <= trial.num_tokens <= 300
        assert trial.even_share == pytest.approx(1 - (1 - 1 / 64) ** trial.num_tokens, abs=1e-9)
    saved = (tmp_path / "large-books.md").read_text()
    assert saved == markdown(found, LARGE_COLUMNS)


def test_codes_of_a_large_book_are_counted_on_many_frames_for_each_entry():
    assert frames_for(4096) == (65_536, 131_072)
    assert frames_for(65_536) == (262_144, 655_360)


def test_small_codecs_differ_in_the_quantizer_only(data, cache, tmp_path):
    small = SmallCodec(steps=8)
    ours, theirs = (small_run(small, each, data, cache, tmp_path, 0) for each in (RVQ, FSQ))
    assert ours.model.quantizer.name == "rvq"
    same = replace(theirs, model=replace(theirs.model, quantizer=ours.model.quantizer))
    assert same == ours
    assert ours.total_steps == 8
    assert not any(stage.adversarial for stage in ours.stages.values())


def test_a_small_codec_is_trained_and_measured(data, cache, tmp_path):
    small = SmallCodec(steps=4, batch_size=1, crop_s=0.2, width=16, blocks=1, latent_dim=16)
    (trial,) = compare_codecs(data, cache, tmp_path, [RVQ], small=small)
    assert trial.label == "rvq"
    assert trial.steps == 4
    assert trial.num_tokens == 50
    saved = json.loads((tmp_path / "codecs.json").read_text())
    assert saved["codec"]["width"] == 16
    assert (tmp_path / "codecs.md").read_text() == markdown([trial], CODEC_COLUMNS)


@pytest.mark.parametrize(
    ("comparison", "function", "expected"),
    [
        ("latents", "compare_on_latents", {"seeds": 1, "frames": 5000}),
        ("large", "compare_large_books", {"seeds": 1, "sizes": (4096,)}),
        ("codecs", "compare_codecs", {"seeds": 1, "small": SmallCodec(steps=8)}),
        ("beams", "compare_beams", {"every": 8, "resume": False}),
    ],
)
def test_a_quick_run_is_the_same_comparison_made_small(
    comparison, function, expected, tmp_path, monkeypatch
):
    asked = {}
    monkeypatch.setattr(command, function, lambda *_args, **options: asked.update(options))
    choice = command.Choice(tmp_path, tmp_path, tmp_path, tmp_path, quick=True)
    command.run(choice, comparison)
    assert {name: asked[name] for name in expected} == expected
    if "budget" in asked:
        assert asked["budget"].steps == 5
