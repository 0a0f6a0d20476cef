"""Distillation: what is compared, where its gradient goes, and a run with two teachers."""

import dataclasses
import json

import numpy as np
import pytest
import torch

from sotto.codec.config import build
from sotto.codec.errors import AudioError, ConfigError
from sotto.train.config_distill import DistillConfig
from sotto.train.data import Batch
from sotto.train.distill import Distiller, distance
from sotto.train.features import FeatureStore, TeacherInfo
from sotto.train.learner import Learner
from sotto.train.loop import Trainer
from sotto.train.manifest import find_clips

CPU = torch.device("cpu")


def noise(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def teachers(clips, tmp_path):
    """Folders with features of 5 and of 3 channels for every clip."""
    folders = []
    for width, rate in ((5, 50.0), (3, 12.5)):
        folder = tmp_path / f"teacher{width}"
        store = FeatureStore.create(folder, TeacherInfo(folder.name, width, rate))
        for number, clip in enumerate(find_clips(clips)):
            random = np.random.default_rng(number)
            store.put(clip.path, random.standard_normal((40, width)).astype(np.float32))
        folders.append(folder)
    return folders


def distilled(make_run, folders, **changes):
    options = {"features": [str(folder) for folder in folders], "form": "frames"}
    return make_run(distill=options | changes, ema_decay=0.5)


@pytest.mark.parametrize(("form", "least"), [("channels", np.log1p(np.exp(-1))), ("frames", 0.0)])
def test_the_distance_is_least_where_the_angle_is_none(form, least):
    wanted = noise(2, 9, 4)
    scale = torch.tensor([1.0, 2.0, 3.0, 4.0]) if form == "channels" else torch.tensor(2.0)
    assert float(distance(scale * wanted, wanted, form)) == pytest.approx(least, abs=1e-5)
    assert distance(noise(2, 9, 4, seed=1), wanted, form) > least + 0.1


def test_channels_are_compared_over_time_and_frames_over_channels():
    found, wanted = noise(2, 9, 4), noise(2, 9, 4, seed=1)
    shuffled = torch.randperm(9, generator=torch.Generator().manual_seed(2))
    for form in ("channels", "frames"):
        both = distance(found[:, shuffled], wanted[:, shuffled], form)
        torch.testing.assert_close(both, distance(found, wanted, form))
    louder = found * torch.rand(2, 9, 1, generator=torch.Generator().manual_seed(3)).add(0.5)
    torch.testing.assert_close(
        distance(louder, wanted, "frames"), distance(found, wanted, "frames")
    )
    assert distance(louder, wanted, "channels") != distance(found, wanted, "channels")


@pytest.mark.parametrize("form", ["channels", "frames"])
def test_a_teacher_with_nothing_to_say_pulls_nowhere(form):
    found = noise(2, 9, 4).requires_grad_()
    distance(found, torch.zeros(2, 9, 4), form).backward()
    assert not found.grad.any()


@pytest.mark.parametrize("learning", ["ema", "gradient"])
def test_the_gradient_reaches_the_encoder_and_the_first_books_alone(
    make_model, make_config, learning
):
    model = make_model(make_config("rvq", learning=learning)).train().requires_grad_(True)
    distiller = Distiller(build(DistillConfig, {"features": ["x"]}), model.config, [5])
    latents, _ = model.encoder(0.1 * noise(2, 4_800), model.encoder.init_state(2))
    codes = model.quantizer.encode(latents.detach())
    distiller(model, latents, codes, noise(2, 10, 5)).backward()
    reached = {name for name, p in model.named_parameters() if p.grad is not None and p.grad.any()}
    assert {n for n, _ in model.named_parameters() if n.startswith("encoder.")} <= reached
    books = {n for n in reached if n.startswith("quantizer.")}
    assert books == ({"quantizer.books.0.entries"} if learning == "gradient" else set())
    assert not any(name.startswith("decoder.") for name in reached)
    assert all(p.grad.any() for p in distiller.parameters())


def test_a_crop_carries_what_all_teachers_say_and_its_audio_stays(make_run, teachers):
    with_them = Trainer(distilled(make_run, teachers)).dataset
    without = Trainer(make_run()).dataset
    for index in range(4):
        assert torch.equal(with_them[index].audio, without[index].audio)
        assert without[index].teachers is None
        frames = with_them.num_samples // 480
        assert with_them[index].teachers.shape == (frames, 5 + 3)


@pytest.mark.parametrize("balance", [False, True])
def test_a_run_reports_the_distance_and_resumes_with_its_maps(make_run, teachers, balance):
    config = distilled(make_run, teachers)
    config = dataclasses.replace(config, loss=dataclasses.replace(config.loss, balance=balance))
    trainer = Trainer(config)
    before = trainer.learner.distiller.maps[1].weight.detach().clone()
    trainer.run()
    lines = (config.output / "metrics.jsonl").read_text().splitlines()
    steps = [line for line in map(json.loads, lines) if "stage" in line]
    assert ["distillation" in step for step in steps] == [False, False, True, True, False, False]
    maps = trainer.learner.distiller.state_dict()
    assert not torch.equal(maps["maps.1.weight"], before)
    for name, tensor in Trainer(config).learner.distiller.state_dict().items():
        assert torch.equal(tensor, maps[name])


def test_its_weight_counts(make_run, teachers):
    found = []
    for weight in (0.0, 50.0):
        base = distilled(make_run, teachers)
        loss = dataclasses.replace(base.loss, distillation=weight)
        learner = Learner(dataclasses.replace(base, loss=loss, gradient_clip=1e9), CPU)
        learner.start_codebooks(iter([0.1 * noise(16, 1, 2_400)]))
        batch = Batch(0.1 * noise(2, 1, 2_400), torch.full((2,), 12_000.0), noise(2, 5, 8))
        learner.train_step([batch], 2)
        found.append(torch.cat([p.grad.flatten() for p in learner.model.encoder.parameters()]))
    assert not torch.allclose(found[0], found[1])


def test_a_student_of_few_steps_comes_nearer_to_its_teacher(make_run, teachers):
    base = distilled(make_run, teachers[:1])
    stages = {"taught": dataclasses.replace(base.stages["quantized"], steps=60, warmup_steps=0)}
    loss = dataclasses.replace(base.loss, distillation=1000.0)
    learner = Learner(dataclasses.replace(base, stages=stages, loss=loss), CPU)
    audio = 0.1 * noise(2, 1, 2_400)
    learner.start_codebooks(iter([audio]))
    batch = Batch(audio, torch.full((2,), 12_000.0), noise(2, 5, 5))
    steps = [float(learner.train_step([batch], i)["distillation"]) for i in range(60)]
    assert steps[-1] < 0.7 * steps[0]


def test_mistakes_are_named(make_run, teachers, tmp_path):
    with pytest.raises(ConfigError, match=r"distill\.books=9, but the model has 4"):
        Trainer(distilled(make_run, teachers, books=9))
    with pytest.raises(AudioError, match="has no features of a teacher"):
        Trainer(distilled(make_run, [tmp_path / "nothing"]))
    with pytest.raises(ConfigError, match="features"):
        distilled(make_run, [])
