"""The engine: accumulation, number formats, the balancer, schedules, compiled parts."""

import dataclasses
import functools
import itertools

import pytest
import torch

from sotto.codec.config import build
from sotto.codec.errors import ConfigError
from sotto.train.balancer import Balancer
from sotto.train.checkpoint import load_checkpoint
from sotto.train.config_stages import StageConfig
from sotto.train.data import Batch, batches
from sotto.train.learner import Learner
from sotto.train.loop import Trainer
from sotto.train.precision import Precision
from sotto.train.schedule import schedule

CPU = torch.device("cpu")


def crops(size, seed=0):
    audio = 0.1 * torch.randn(size, 1, 2_400, generator=torch.Generator().manual_seed(seed))
    return Batch(audio, torch.full((size,), 12_000.0))


def gradients(learner):
    return {n: p.grad for n, p in learner.model.named_parameters() if p.grad is not None}


def test_two_batches_of_half_the_size_give_the_gradient_of_one(make_run):
    """Without quantizer and noise: nothing but the loss's mean depends on the split."""
    run = make_run(stages={"plain": {"steps": 1, "quantize": False}}, gradient_clip=1e9)
    silent = dataclasses.replace(run.model.decoder, options={"dim": 16, "num_blocks": 1})
    run = dataclasses.replace(run, model=dataclasses.replace(run.model, decoder=silent))
    whole, halves = Learner(run, CPU), Learner(run, CPU)
    batch = crops(4)
    found = whole.train_step([batch], 0)
    split = [Batch(batch.audio[i::2], batch.bandwidth_hz[i::2]) for i in (0, 1)]
    parts = halves.train_step(split, 0)
    torch.testing.assert_close(parts["loss"], found["loss"])
    for name, gradient in gradients(whole).items():
        torch.testing.assert_close(gradients(halves)[name], gradient, atol=1e-4, rtol=1e-3)


def test_accumulation_deals_out_every_crop_once(make_run):
    trainer = Trainer(make_run(accumulate=3))
    plain = [batch for (batch,) in batches(trainer.dataset, 0, 6)]
    dealt = list(batches(trainer.dataset, 0, 2, 3))
    assert [len(step) for step in dealt] == [3, 3]
    for one, other in zip(plain, (batch for step in dealt for batch in step), strict=True):
        assert torch.equal(one.audio, other.audio)


def test_accumulation_goes_through_all_stages_and_resumes_in_place(make_run):
    trainer = Trainer(make_run(accumulate=2))
    trainer.run()
    assert trainer.step == 6
    assert Trainer(trainer.config).step == 6


def test_fp16_scales_the_loss_and_keeps_the_scale(make_run):
    trainer = Trainer(make_run(precision="fp16"))
    trainer.run()
    tensors, _ = load_checkpoint(trainer.config.output)
    assert tensors["scaler.scale"] > 0
    again = Trainer(trainer.config)
    assert again.learner.precision.scaler.get_scale() == tensors["scaler.scale"]
    assert all(t.isfinite().all() for t in trainer.model.state_dict().values())


def test_an_overflow_halves_the_scale_and_leaves_the_weights():
    precision = Precision("fp16", CPU)
    module = torch.nn.Linear(2, 1)
    before = module.weight.detach().clone()
    optimizer = torch.optim.SGD(module.parameters(), lr=1.0)
    precision.backward([1e38 * module(torch.ones(1, 2)).sum()], [None])
    norm = precision.step(optimizer, module, 1.0)
    scale = precision.scaler.get_scale()
    assert precision.end_step()
    assert not norm.isfinite()
    assert torch.equal(module.weight, before)
    assert precision.scaler.get_scale() == scale / 2


@pytest.mark.parametrize(
    ("precision", "products"),
    [("fp32", torch.float32), ("bf16", torch.bfloat16), ("fp16", torch.float32)],
)
def test_muon_multiplies_in_the_format_of_the_run(make_run, precision, products):
    learner = Learner(make_run(precision=precision, optimizer="muon"), CPU)
    assert learner.precision.products == products
    assert learner.optimizer.products == products


@pytest.mark.parametrize("fast", [True, False])
def test_a_processor_without_bfloat16_is_told(monkeypatch, caplog, fast):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx2": True, "amx_bf16": fast})
    Precision("bf16", CPU)
    assert ("precision=bf16 is far slower than fp32 here" in caplog.text) != fast
    caplog.clear()
    Precision("fp32", CPU)
    assert not caplog.text


def test_the_balancer_gives_each_loss_its_share_however_large_it_is():
    decoded = torch.randn(3, 1, 100, requires_grad=True)
    one, other = torch.zeros(100), torch.zeros(100)
    one[:50], other[50:] = 1, 1
    losses = {"a": (3.0, 1e6 * (decoded * one).sum()), "b": (1.0, 1e-3 * (decoded * other).sum())}
    found = Balancer(0.9).gradient(losses, decoded)
    norms = found[..., :50].norm(dim=-1), found[..., 50:].norm(dim=-1)
    torch.testing.assert_close(norms[0], torch.full((3, 1), 0.75))
    torch.testing.assert_close(norms[1], torch.full((3, 1), 0.25))


def test_the_balancer_forgets_what_is_not_finite():
    decoded = torch.ones(1, 1, 4, requires_grad=True)
    balancer = Balancer(0.5)
    balancer.gradient({"a": (1.0, decoded.sum())}, decoded)
    before = balancer.tensors()["a"].clone()
    balancer.gradient({"a": (1.0, float("nan") * decoded.sum())}, decoded)
    assert torch.equal(balancer.tensors()["a"], before)


def test_a_balanced_run_trains_and_resumes_with_its_norms(make_run):
    base = make_run()
    config = dataclasses.replace(base, loss=dataclasses.replace(base.loss, balance=True))
    trainer = Trainer(config)
    trainer.run()
    kept = Trainer(config).learner.balancer.tensors()
    assert {"mel", "stft", "waveform", "adversarial", "feature_matching"} == kept.keys()
    for name, tensor in trainer.learner.balancer.tensors().items():
        assert torch.equal(kept[name], tensor)


def test_commitment_reaches_the_encoder_beside_the_balancer(make_run):
    base = make_run()
    found = []
    for weight in (0.0, 100.0):
        loss = dataclasses.replace(base.loss, balance=True, commitment=weight)
        learner = Learner(dataclasses.replace(base, loss=loss, gradient_clip=1e9), CPU)
        learner.start_codebooks(iter([crops(16).audio]))
        learner.train_step([crops(2)], 2)
        found.append(torch.cat([p.grad.flatten() for p in learner.model.encoder.parameters()]))
    assert not torch.allclose(found[0], found[1])


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor")  # torch's own, of its graph
def test_compiled_parts_take_the_same_steps(make_run, monkeypatch):
    # Tracing is what can fail here; generating code takes a minute and is torch's own.
    eager = functools.partialmethod(torch.nn.Module.compile, backend="eager")
    monkeypatch.setattr(torch.nn.Module, "compile", eager)
    found = []
    for fused in (False, True):
        learner = Learner(make_run(compile=fused), CPU)
        found.append(learner.train_step([crops(2)], 0)["loss"])
    torch.testing.assert_close(found[0], found[1])


def test_an_exponential_schedule_falls_by_equal_factors():
    stage = build(StageConfig, {"steps": 110, "warmup_steps": 10, "schedule": "exponential"})
    rates = [schedule(at, stage, 0.01) for at in range(10, 110)]
    assert rates[0] == 1
    assert [b / a for a, b in itertools.pairwise(rates)] == pytest.approx([0.01**0.01] * 99)
    with pytest.raises(ConfigError, match="exponential schedule needs final_learning_rate above"):
        build(StageConfig, {"steps": 1, "schedule": "exponential", "final_learning_rate": 0})
