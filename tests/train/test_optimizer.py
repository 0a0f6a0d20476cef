"""Muon and AdamW as one optimizer: who gets which weights, what is saved, and that it learns."""

import pytest
import torch
from torch.optim import AdamW

from sotto.codec.errors import ConfigError
from sotto.codec.model import CodecModel
from sotto.train.checkpoint import optimizer_tensors, restore_optimizer
from sotto.train.data import Batch
from sotto.train.dry_run import state_bytes
from sotto.train.learner import Learner
from sotto.train.optimizer import MuonAdamW, make_optimizer

CPU = torch.device("cpu")


def crops(seed):
    audio = 0.1 * torch.randn(2, 1, 2_400, generator=torch.Generator().manual_seed(seed))
    return Batch(audio, torch.full((2,), 12_000.0))


@pytest.fixture
def model(make_config):
    return CodecModel(make_config())


def names(model, group):
    wanted = set(map(id, group["params"]))
    return {name for name, weight in model.named_parameters() if id(weight) in wanted}


def random_gradients(model, seed):
    random = torch.Generator().manual_seed(seed)
    for weight in model.parameters():
        weight.grad = torch.randn(weight.shape, generator=random)


def test_matrices_of_the_networks_go_to_muon_and_everything_else_to_adamw(model):
    matrices, others = (names(model, g) for g in make_optimizer("muon", model, model).param_groups)
    everything = {name for name, _ in model.named_parameters()}
    assert matrices | others == everything
    assert not matrices & others
    assert {"encoder.project_in.weight", "decoder.head.weight"} <= matrices
    assert "decoder.depth.weight" in others, "an embedding is looked up, not multiplied"
    assert not any(name.startswith("quantizer.") for name in matrices)


def test_weights_outside_the_codec_stay_with_adamw(model):
    teacher = torch.nn.Linear(4, 4)
    learned = torch.nn.ModuleList([model, teacher])
    matrices, others = make_optimizer("muon", model, learned).param_groups
    assert not any(weight is teacher.weight for weight in matrices["params"])
    assert any(weight is teacher.weight for weight in others["params"])


def test_adamw_takes_every_weight_alike(model):
    optimizer = make_optimizer("adamw", model, model)
    assert isinstance(optimizer, AdamW)
    (group,) = optimizer.param_groups
    assert names(model, group) == {name for name, _ in model.named_parameters()}


def test_a_step_turns_all_directions_of_a_matrix_alike():
    """A gradient of one strong and one weak direction: Muon moves as far along both."""
    matrix, bias = (torch.nn.Parameter(torch.zeros(shape)) for shape in ((8, 8), (8,)))
    optimizer = MuonAdamW([matrix], [bias])
    optimizer.param_groups[0]["weight_decay"] = 0.0
    matrix.grad = torch.diag(torch.tensor([100.0, 1.0] + [0.0] * 6))
    bias.grad = torch.ones(8)
    optimizer.step()
    strong, weak = matrix.detach()[0, 0], matrix.detach()[1, 1]
    assert strong < 0
    assert 0.5 < weak / strong < 2
    assert (bias.detach() < 0).all()


def test_weights_without_gradient_stay(model):
    optimizer = make_optimizer("muon", model, model)
    random_gradients(model, 0)
    frozen = [w for name, w in model.named_parameters() if name.startswith("encoder.")]
    before = [weight.detach().clone() for weight in frozen]
    for weight in frozen:
        weight.grad = None
    head = model.decoder.head.weight.detach().clone()
    optimizer.step()
    assert all(torch.equal(weight, was) for weight, was in zip(frozen, before, strict=True))
    assert not torch.equal(model.decoder.head.weight, head)


def test_it_goes_on_from_its_saved_state_as_if_nothing_had_happened(make_config):
    first, second = (CodecModel(make_config()) for _ in range(2))
    one, other = (make_optimizer("muon", model, model) for model in (first, second))
    for step in range(3):
        random_gradients(first, step)
        one.step()
    second.load_state_dict(first.state_dict())
    restore_optimizer(other, {n: t.clone() for n, t in optimizer_tensors(one).items()})
    for model, optimizer in ((first, one), (second, other)):
        random_gradients(model, 3)
        optimizer.step()
        random_gradients(model, 4)
        optimizer.step()
    for mine, theirs in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(mine, theirs)
    assert optimizer_tensors(one).keys() == optimizer_tensors(other).keys()


def test_a_learner_that_is_restored_ends_with_the_weights_of_one_that_never_stopped(make_run):
    run = make_run(optimizer="muon", stages={"quantized": {"steps": 4}})
    whole, cut, resumed = (Learner(run, CPU) for _ in range(3))
    for step in range(4):
        whole.train_step([crops(step)], step)
    for step in range(2):
        cut.train_step([crops(step)], step)
    resumed.restore({name: tensor.clone() for name, tensor in cut.tensors().items()})
    for step in range(2, 4):
        resumed.train_step([crops(step)], step)
    expected, found = whole.tensors(), resumed.tensors()
    assert found.keys() == expected.keys()
    assert [name for name in expected if not torch.equal(found[name], expected[name])] == []


def test_a_run_learns_with_it(make_run):
    stage = {"steps": 30, "quantize": False, "warmup_steps": 0, "learning_rate": 5e-3}
    run = make_run(optimizer="muon", stages={"plain": stage})
    learner = Learner(run, CPU)
    losses = [float(learner.train_step([crops(0)], step)["loss"]) for step in range(30)]
    assert losses[-1] < 0.8 * losses[0]


def test_the_memory_estimate_is_what_the_optimizer_keeps(make_run):
    sizes = []
    for name in ("adamw", "muon"):
        run = make_run(optimizer=name)
        sizes.append(state_bytes(Learner(run, CPU)))
    learner = Learner(make_run(optimizer="muon"), CPU)
    matrices = sum(
        w.numel() * w.element_size() for w in learner.optimizer.param_groups[0]["params"]
    )
    assert sizes[0] - sizes[1] == matrices


def test_a_codec_without_linear_layers_is_told_to_use_adamw(model):
    model.encoder, model.decoder = torch.nn.Conv1d(1, 1, 3), torch.nn.Conv1d(1, 1, 3)
    with pytest.raises(ConfigError, match="have none; use optimizer 'adamw'"):
        make_optimizer("muon", model, model)
