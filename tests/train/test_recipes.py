"""Every recipe, scaled down: it trains, streams exactly, and its graphs give what torch gives."""

import json
from pathlib import Path

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from sotto.codec.config import CodecConfig, ComponentConfig
from sotto.codec.model import CodecModel
from sotto.codec.networks.bottleneck import bottleneck
from sotto.codec.streaming import flatten
from sotto.export.onnx import export_bundle
from sotto.train import dry_run
from sotto.train.config import load_config
from sotto.train.loop import Trainer

from .recipes import scaled_down

CONFIGS = sorted((Path(__file__).parents[2] / "train" / "configs").glob("*.yaml"))
recipe = pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)


@pytest.fixture(scope="module")
def trained(clips, tmp_path_factory):
    """Makes the trainer of a recipe after two steps, once."""
    made = {}

    def make(path):
        if path not in made:
            trainer = Trainer(scaled_down(path, clips, tmp_path_factory.mktemp(path.stem)))
            before = [p.detach().clone() for p in trainer.model.parameters()]
            trainer.run()
            lines = (trainer.config.output / "metrics.jsonl").read_text().splitlines()
            steps = [line for line in map(json.loads, lines) if "stage" in line]
            made[path] = trainer.model.eval().requires_grad_(False), before, steps
        return made[path]

    return make


@recipe
def test_a_recipe_learns_in_every_part(path, trained):
    model, before, steps = trained(path)
    assert [step["step"] for step in steps] == [1, 2]
    assert not any(step["skipped"] for step in steps)
    judged = load_config(path, ["data=x"]).discriminators
    assert {"mel", "commitment", *(["adversarial"] if judged else [])} <= steps[0].keys()
    still = [
        name
        for (name, p), old in zip(model.named_parameters(), before, strict=True)
        if torch.equal(p, old)
    ]
    assert still == []


@recipe
@pytest.mark.parametrize("plan", [[1] * 7, [3, 1, 3]], ids=str)
def test_a_recipe_in_chunks_equals_the_whole(path, plan, trained):
    model, _, _ = trained(path)
    F = model.config.frame_size
    audio = 0.1 * torch.randn(2, 7 * F, generator=torch.Generator().manual_seed(0))
    whole, end = model.encoder(audio, model.encoder.init_state(2))
    state, found = model.encoder.init_state(2), []
    for piece in audio.split([n * F for n in plan], dim=1):
        latents, state = model.encoder(piece, state)
        found.append(latents)
    torch.testing.assert_close(torch.cat(found, dim=1), whole, atol=1e-5, rtol=1e-4)
    assert flatten(state).keys() == flatten(end).keys()
    codes = model.quantizer.encode(whole)
    assert codes.shape == (2, model.config.num_codebooks, 7)
    heard, _ = model.decode(codes, model.decoder.init_state(2))
    state, found = model.decoder.init_state(2), []
    for piece in codes.split(plan, dim=2):
        audio, state = model.decode(piece, state)
        found.append(audio)
    torch.testing.assert_close(torch.cat(found, dim=2), heard, atol=1e-5, rtol=1e-4)


@recipe
def test_the_start_of_a_signal_decodes_alike_whatever_comes_after(path, trained):
    model, _, _ = trained(path)
    F = model.config.frame_size
    audio = 0.1 * torch.randn(2, 1, 6 * F, generator=torch.Generator().manual_seed(0))
    other = torch.cat([audio[..., : 3 * F], audio[..., : 3 * F].flip(2)], dim=2)
    found = [model.encode(x, model.encoder.init_state(2))[0][..., :3] for x in (audio, other)]
    assert torch.equal(*found)


@pytest.mark.slow
@pytest.mark.timeout(600)  # on a busy core
@recipe
def test_the_graphs_of_a_recipe_give_what_torch_gives(path, trained, tmp_path):
    model, _, _ = trained(path)
    twin = CodecModel(model.config)
    twin.load_state_dict(model.state_dict())
    export_bundle(twin, tmp_path, speech=noise(model.config))  # raises if they differ


def noise(config, seconds=1):
    samples = seconds * config.sample_rate
    return 0.1 * torch.randn(1, 1, samples, generator=torch.Generator().manual_seed(0))


def test_the_graphs_of_all_that_recipes_have_give_what_torch_gives(tmp_path):
    transformer = {"num_layers": 1, "num_heads": 2, "expansion": 1, "context": 6}
    waveform = {
        "channels": 2,
        "strides": [4],
        "latent_kernel_size": 3,
        "residual_kernel_sizes": [3],
        "dilations": [2],
        "pointwise": False,
        "conv_skip": True,
        "activation": "snake",
        "bottleneck": {"name": "lstm", "options": {"num_layers": 1}},
        "context": {"name": "transformer", "options": transformer},
        "frame_stride": 3,
        "frame_steps": 2,
    }
    book = {"name": "rvq", "options": {"codebook_dim": 2, "normalize": True}}
    config = CodecConfig(
        name="all",
        version="1",
        sample_rate=2_400,
        frame_size=24,
        latent_dim=8,
        num_codebooks=3,
        codebook_size=4,
        encoder=ComponentConfig("seanet", waveform),
        quantizer=ComponentConfig("multi-scale", {"steps": 2, "strides": [2, 1], "inner": book}),
        decoder=ComponentConfig("seanet", waveform),
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = CodecModel(config).eval().requires_grad_(False)
    latents, _ = model.encoder(noise(config)[:, 0], model.encoder.init_state(1))
    model.quantizer.start(latents.flatten(0, 1), torch.Generator().manual_seed(0))
    export_bundle(model, tmp_path, speech=noise(config))  # raises if they differ


@recipe
def test_a_recipe_says_its_bitrate_latency_and_what_differs(path):
    text = path.read_text()
    header = text[: text.index("\nmodel:")]
    config = load_config(path, ["data=x"]).model
    assert config.name == path.stem
    assert f"{config.sample_rate / 1000:g} kHz" in header
    assert "kbit/s" in header
    if not path.stem.startswith("speech-"):
        assert "https://arxiv.org/abs/" in header
        assert "Differs from the paper" in header


def test_the_work_of_a_recurrent_layer_is_counted():
    part = ComponentConfig("lstm", {"num_layers": 2})
    lstm = bottleneck(part, 8).requires_grad_(False)
    x = torch.zeros(1, 5, 8)
    mapping = {torch.ops.aten.mkldnn_rnn_layer: dry_run._recurrent_flops}
    with FlopCounterMode(display=False, custom_mapping=mapping) as counter:
        lstm(x, lstm.init_state(1))
    assert counter.get_total_flops() == 2 * 5 * 2 * (4 * 8 * (8 + 8))
