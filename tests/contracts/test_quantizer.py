"""What every quantizer promises, over all of the registry and its options."""

import copy
import json
import subprocess
import sys
import time
from functools import cache
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from torch import nn

from sotto.codec.errors import CodecError, ConfigError
from sotto.codec.quantizers import QUANTIZERS
from sotto.codec.quantizers.codebook import Codebook
from sotto.codec.quantizers.grid import GridQuantizer
from sotto.codec.quantizers.gumbel import GumbelSoftmax
from sotto.codec.quantizers.multi_scale import MultiScaleVQ
from sotto.codec.quantizers.optvq import Sinkhorn
from sotto.codec.quantizers.simvq import RandomLinearBook

D, K, SIZE = 24, 4, 16
RESIDUAL = [  # every pair of choices occurs
    {"gradient": gradient, "learning": learning, "codebook_dim": width, "decay": 0.9}
    for gradient, learning, width in (
        ("straight_through", "ema", None),
        ("rotation", "gradient", None),
        ("rotation", "ema", 3),
        ("straight_through", "gradient", 3),
    )
]
COMBINED = [  # parts of different papers together
    {"learning": "simvq", "assignment": "sinkhorn", "codebook_dim": 3, "wasserstein": 0.1},
    {"learning": "bridge", "assignment": "index", "gradient": "assignment", "entropy": 0.1},
    {"learning": "affine", "upkeep": "anchors", "inner_steps": 1, "synchronise": 0.5},
    {"learning": "features", "assignment": "gumbel", "gradient": "assignment", "codebook_dim": 3},
    {"learning": "ema", "assignment": "sinkhorn", "upkeep": "anchors", "entropy": 0.1},
]
# A quantizer not named here runs with its defaults.
OPTIONS = {
    "rvq": [*COMBINED, *RESIDUAL],
    "grvq": RESIDUAL,
    "cascade": [{}, {"first": "fsq", "stage": "simvq"}],
    "product": [{}, {"groups": 2, "inner": "lfq"}],
    "mcrvq": [{"masked": 2}, {"masked": 2, "first": "cvq", "rest": "fvq"}],
    "multi-scale": [{"steps": 2, "strides": [2, 2, 1]}],
    "cross-scale": [{}, {"scales": 2, "inner": "simvq"}],
    "fqgan": [{}, {"groups": 2, "group_dim": 5, "inner": "rvq"}],
    "vaevq": [{}, {"inner": "grvq"}],
}
CASES = [(name, options) for name in QUANTIZERS.available() for options in OPTIONS.get(name, [{}])]
NAMES = [" ".join([name, *(str(value) for value in options.values())]) for name, options in CASES]


def params(cases, names):
    """Cases for fixtures; of each quantizer the first options are in the default run."""
    return [
        pytest.param(case, id=name, marks=[pytest.mark.slow] if case[0] == before else [])
        for case, name, before in zip(
            cases, names, [None, *(case[0] for case in cases[:-1])], strict=True
        )
    ]


def sample(batch=3, frames=20, seed=0):
    """Latents [B, T, D] with few directions of much energy, as a codec's have."""
    random = torch.Generator().manual_seed(seed)
    mix = torch.randn(D, D, generator=torch.Generator().manual_seed(9))
    return torch.randn(batch, frames, D, generator=random) @ (mix * 0.7 ** torch.arange(D))


def build(name, options, started=True, books=K):
    """A quantizer of its own for the caller; made once."""
    return copy.deepcopy(_build(name, json.dumps(options), started, books))


@cache
def _build(name, options, started, books):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        quantizer = QUANTIZERS.create(
            name, json.loads(options), latent_dim=D, num_codebooks=books, codebook_size=SIZE
        )
    if started:
        latents = sample(10, 50, seed=1).flatten(0, 1)
        quantizer.start(latents, torch.Generator().manual_seed(0))
    return quantizer.eval()


# Points found by arithmetic are not placed on latents, and there is nothing to restart.
GRIDS = [
    any(isinstance(m, GridQuantizer) for m in _build(n, json.dumps(o), False, K).modules())
    for n, o in CASES
]
LEARNED = [case for case, grid in zip(CASES, GRIDS, strict=True) if not grid]
LEARNED_NAMES = [name for name, grid in zip(NAMES, GRIDS, strict=True) if not grid]


@pytest.fixture(params=params(CASES, NAMES))
def quantizer(request):
    return build(*request.param)


@pytest.fixture(params=params(LEARNED, LEARNED_NAMES))
def learned(request):
    """Quantizers whose codebooks are placed on latents and learn from them."""
    return build(*request.param)


def full(batch=3):
    return torch.full((batch,), K)


def error(quantizer, latents, books=K):
    codes = quantizer.encode(latents)[:, :books]
    return (quantizer.decode(codes) - latents).square().mean().item()


def snapshot(quantizer):
    return {name: tensor.clone() for name, tensor in quantizer.state_dict().items()}


def entries(state):
    return {name: tensor for name, tensor in state.items() if name.endswith(".entries")}


def test_codes_are_int64_in_range_one_per_book_and_frame(quantizer):
    codes = quantizer.encode(sample())
    assert codes.shape == (3, K, 20)
    assert codes.dtype == torch.int64
    assert codes.min() >= 0
    assert codes.max() < SIZE


def test_sizes_are_told(quantizer):
    assert (quantizer.num_codebooks, quantizer.codebook_size) == (K, SIZE)


def test_encoding_gives_the_codes_of_the_training_pass(quantizer):
    latents = sample()
    assert torch.equal(quantizer(latents, full()).codes, quantizer.encode(latents))


def test_decoding_gives_the_latents_of_the_training_pass(quantizer):
    out = quantizer(sample(), full())
    torch.testing.assert_close(quantizer.decode(out.codes), out.latents, atol=1e-5, rtol=0)


def test_depth_decides_how_many_books_each_item_hears(quantizer):
    latents, depth = sample(K + 1), torch.arange(K + 1)
    out = quantizer(latents, depth)
    assert torch.equal(out.codes, quantizer.encode(latents))
    for item in range(K + 1):
        heard = quantizer.decode(out.codes[item : item + 1, :item])
        torch.testing.assert_close(heard[0], out.latents[item], atol=1e-5, rtol=0)


def test_missing_books_and_books_not_heard_are_the_same(quantizer):
    codes = quantizer.encode(sample())
    for books in range(K + 1):
        marked = codes.clone()
        marked[:, books:] = -1
        assert torch.equal(quantizer.decode(marked), quantizer.decode(codes[:, :books]))


def test_nothing_heard_is_zero(quantizer):
    assert not quantizer.decode(torch.full((2, K, 5), -1)).any()


def test_more_books_never_raise_the_error(quantizer):
    latents = sample(10, 50, seed=1)  # what the books started on
    errors = [error(quantizer, latents, books) for books in range(K + 1)]
    assert errors == sorted(errors, reverse=True)


def learned_of(quantizer):
    """What the codebook loss trains: the books that learn by gradient, and what maps them."""
    others = ("projection.", "spread.")  # before the books
    found = quantizer.named_parameters()
    return [p for name, p in found if not any(part in name for part in others)]


def books_of(quantizer):
    return [module for module in quantizer.modules() if isinstance(module, Codebook)]


def keeps_random_entries(quantizer):
    """Entries that are never placed on latents."""
    return any(isinstance(book, RandomLinearBook) for book in books_of(quantizer))


def optimizer_of(quantizer):
    """Fast for vectors and slow for the matrices of a network; None if nothing learns."""
    groups = {0.05: [], 0.003: []}
    for name, parameter in quantizer.named_parameters():
        slow = any(part in name for part in ("compress", "blocks", "recover", "norm"))
        groups[0.003 if slow else 0.05].append(parameter)
    groups = [{"params": found, "lr": rate} for rate, found in groups.items() if found]
    return torch.optim.Adam(groups) if groups else None


def training_loss(out):
    loss = out.latents.square().mean() + out.commitment + out.codebook
    return loss if out.auxiliary is None else loss + out.auxiliary


def test_the_kmeans_start_beats_random_entries(request, quantizer):
    unstarted = build(*request.node.callspec.params["quantizer"], started=False)
    latents = sample(seed=3)
    grid = any(isinstance(module, GridQuantizer) for module in quantizer.modules())
    assert error(quantizer, latents) < (0.9 if grid else 0.5) * error(unstarted, latents)


def test_frames_and_items_do_not_influence_each_other(quantizer):
    latents = sample().double()
    quantizer = quantizer.double()
    codes = quantizer.encode(latents)
    assert torch.equal(quantizer.encode(latents[1:2])[0], codes[1])
    assert torch.equal(quantizer.encode(latents[:, 7:8]), codes[:, :, 7:8])
    alone, among_others = quantizer.decode(codes[:, :, 7:8]), quantizer.decode(codes)[:, 7:8]
    torch.testing.assert_close(alone, among_others, rtol=1e-12, atol=1e-12)


def test_the_gradient_reaches_the_input_and_the_learned_codebooks(quantizer):
    latents = sample().requires_grad_()
    out = quantizer.train()(latents, full())
    training_loss(out).backward()
    assert latents.grad.isfinite().all()
    assert latents.grad.abs().amax(dim=(1, 2)).all()
    for name, parameter in quantizer.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.any(), name


def test_commitment_pulls_only_the_input_and_codebook_loss_only_the_codebooks(learned):
    latents = sample().requires_grad_()
    out = learned.train()(latents, full())
    parameters = learned_of(learned)
    pulled = torch.autograd.grad(
        out.commitment, [latents, *learned.parameters()], retain_graph=True, allow_unused=True
    )
    assert pulled[0].any()
    assert not any(gradient is not None and gradient.any() for gradient in pulled[1:])
    if parameters:
        pulled = torch.autograd.grad(out.codebook, [latents, *parameters], allow_unused=True)
        assert pulled[0] is None or not pulled[0].any()
        assert all(gradient.any() for gradient in pulled[1:])
    else:
        assert out.codebook == 0


def test_learning_lowers_the_error(learned):
    latents = 2 * sample(10, 50, seed=5) + 1  # not what the books started on
    before = error(learned, latents)
    learned.train()
    optimizer = optimizer_of(learned)
    for _ in range(60):
        out = learned(latents, full(10))
        if optimizer is not None:
            optimizer.zero_grad()
            (out.codebook + (out.latents - latents).square().mean()).backward()
            optimizer.step()
    # What three of the 24 dimensions cannot hold stays: 0.90 to 0.92 after these steps.
    narrow = any(getattr(m, "projection", None) is not None for m in learned.modules())
    assert error(learned.eval(), latents) < (0.95 if narrow else 0.8) * before


def test_evaluation_learns_nothing(quantizer):
    before = snapshot(quantizer)
    quantizer(sample(), full())
    quantizer.decode(quantizer.encode(sample()))
    assert all(torch.equal(t, before[name]) for name, t in quantizer.state_dict().items())


def test_bf16_autocast_changes_nothing(quantizer):
    latents = sample()
    expected = quantizer(latents, full())
    with torch.autocast("cpu", torch.bfloat16):
        out = quantizer(latents, full())
        codes = quantizer.encode(latents)
        decoded = quantizer.decode(codes)
    assert torch.equal(out.latents, expected.latents)
    assert torch.equal(codes, expected.codes)
    assert torch.equal(decoded, quantizer.decode(codes))
    assert out.commitment.dtype == torch.float32


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_input_is_quantized_in_float32(quantizer, dtype):
    latents = sample().to(dtype)
    out = quantizer.train()(latents, full())
    assert out.latents.dtype == torch.float32
    assert torch.equal(quantizer.encode(latents), quantizer.encode(latents.float()))


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_input_that_is_not_finite_neither_hangs_nor_poisons(quantizer, bad):
    latents = sample()
    latents[1, 3] = bad
    before = snapshot(quantizer)
    started = time.monotonic()
    for codes in (quantizer.train()(latents, full()).codes, quantizer.encode(latents)):
        assert codes.min() >= 0
        assert codes.max() < SIZE
    assert all(tensor.isfinite().all() for tensor in quantizer.state_dict().values())
    assert all(torch.equal(t, before[n]) for n, t in entries(quantizer.state_dict()).items())
    with pytest.raises(CodecError, match="not finite"):
        quantizer.start(latents.flatten(0, 1), torch.Generator())
    assert time.monotonic() - started < 60


def test_constant_input_is_fine(quantizer):
    for value in (0.0, 1.0):
        latents = torch.full((2, 30, D), value, requires_grad=True)
        out = quantizer.train()(latents, full(2))
        training_loss(out).backward()
        assert latents.grad.isfinite().all()
        codes = quantizer.encode(latents)
        assert (codes == codes[:1, :, :1]).all()
        quantizer.start(latents.detach().flatten(0, 1), torch.Generator())
        assert error(quantizer, latents.detach()) < 1e-2


def test_one_frame_and_no_frame_are_fine(quantizer):
    latents = sample(1, 1)
    assert quantizer.train()(latents, full(1)).latents.shape == (1, 1, D)
    assert quantizer.encode(latents).shape == (1, K, 1)
    before = snapshot(quantizer)
    assert quantizer(sample(1, 0), full(1)).codes.shape == (1, K, 0)
    assert all(torch.equal(t, before[name]) for name, t in quantizer.state_dict().items())


def test_it_can_start_on_fewer_latents_than_entries_but_not_on_none(learned):
    learned.start(sample(1, 3)[0], torch.Generator())
    assert keeps_random_entries(learned) or error(learned, sample(1, 3)) < 1e-2
    with pytest.raises(CodecError, match="not there"):
        learned.start(torch.zeros(0, D), torch.Generator())


def test_the_start_is_decided_by_the_generator_alone(learned):
    states = []
    for seed in (0, 0, 1):
        torch.rand(3)  # the global generator must not matter
        learned.start(sample(5, 50).flatten(0, 1), torch.Generator().manual_seed(seed))
        states.append(entries(snapshot(learned)))
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert not all(torch.equal(states[0][name], states[2][name]) for name in states[0])


def test_a_restart_moves_unused_entries_and_no_others(learned):
    latents = sample(1, 1).expand(4, 30, D)  # one entry per book is all that is used
    for book in books_of(learned):
        book.usage.mul_(0.1)  # as if for long
    for _ in range(50):
        learned.train()(latents, full(4))
    learned(sample(4, 30), full(4))
    before = entries(snapshot(learned))
    codes = learned.encode(latents)
    meaning = learned.decode(codes)
    drawn = any(isinstance(book.assignment, GumbelSoftmax) for book in books_of(learned))
    fixed = any(not b.movable or b.options.upkeep != "restart" for b in books_of(learned))
    moved = learned.restart_unused(torch.Generator().manual_seed(0))
    if drawn or fixed:  # chance gives every entry inputs, or there is no restart
        assert not (fixed and moved)
        return
    after = entries(learned.state_dict())
    changed = {name: (after[name] != before[name]).any(dim=1) for name in after}
    assert 0 < moved == sum(int(rows.sum()) for rows in changed.values())
    # Transport in training and the nearest entry in encoding may use different entries.
    spread = any(isinstance(book.assignment, Sinkhorn) for book in books_of(learned))
    if not spread and not any(book.options.inner_steps for book in books_of(learned)):
        assert torch.equal(learned.decode(codes), meaning)
    assert learned.restart_unused(torch.Generator()) == 0


def test_a_restart_before_any_input_moves_nothing(quantizer):
    before = snapshot(quantizer)
    for name, tensor in quantizer.named_buffers():
        if name.endswith(".usage"):
            tensor.zero_()
    assert quantizer.restart_unused(torch.Generator()) == 0
    after = entries(quantizer.state_dict())
    assert all(torch.equal(tensor, before[name]) for name, tensor in after.items())


def test_everything_survives_save_and_load(request, quantizer):
    latents = sample()
    quantizer.train()(latents, full())
    twin = build(*request.node.callspec.params["quantizer"], started=False)
    twin.load_state_dict(snapshot(quantizer))
    assert torch.equal(twin.encode(latents), quantizer.encode(latents))
    for q in (quantizer, twin):
        for _ in range(50):
            q.train()(latents[:1, :1], full(1))
        q.restart_unused(torch.Generator().manual_seed(4))
    assert all(torch.equal(t, twin.state_dict()[n]) for n, t in quantizer.state_dict().items())


def test_weights_saved_without_recent_inputs_load(quantizer):
    quantizer.train()(sample(), full())
    old = {name: t for name, t in snapshot(quantizer).items() if not name.endswith(".recent")}
    quantizer.load_state_dict(old)
    assert all(torch.equal(quantizer.state_dict()[name], tensor) for name, tensor in old.items())


@pytest.mark.parametrize(
    "options",
    [{"codebook_dim": 0}, {"decay": 1.0}, {"learning": "no"}, {"gradient": "no"}, {"widht": 3}],
)
@pytest.mark.parametrize("name", OPTIONS)
def test_bad_options_are_clear_errors(name, options):
    with pytest.raises(ConfigError, match=rf"quantizer '{name}'.*{next(iter(options))}"):
        build(name, options)


@pytest.mark.parametrize("name", ["rvq", "grvq"])  # the others hold quantizers that refuse it
def test_entries_wider_than_the_latents_are_refused(name):
    with pytest.raises(ConfigError, match=f"codebook_dim={D + 1} is wider than latent_dim"):
        build(name, {"codebook_dim": D + 1})


class _Both(nn.Module):
    """Codes and what they stand for."""

    def __init__(self, quantizer):
        super().__init__()
        self.quantizer = quantizer

    def forward(self, latents):
        codes = self.quantizer.encode(latents)
        return codes, self.quantizer.decode(codes)


@pytest.mark.parametrize("beam_size", [1, 3])
def test_a_search_for_a_depth_is_never_worse_than_its_prefix(quantizer, beam_size):
    latents, depth = sample(K + 1), torch.arange(K + 1)
    if beam_size > 1 and isinstance(quantizer, MultiScaleVQ):
        with pytest.raises(ConfigError, match="MultiScaleVQ has no residual stages to search"):
            quantizer.search(latents, depth, beam_size)
        return
    codes = quantizer.search(latents, depth, beam_size)
    greedy = quantizer.encode(latents)
    for item in range(K + 1):
        assert (codes[item, item:] == -1).all()
        assert (codes[item, :item] >= 0).all()
    if beam_size == 1:
        for item in range(K + 1):
            assert torch.equal(codes[item, :item], greedy[item, :item])
    elif getattr(quantizer, "projection", None) is None and not hasattr(quantizer, "groups"):
        short = torch.where(codes >= 0, greedy, -1)
        found = (quantizer.decode(codes) - latents).square().sum(-1)
        assert (found <= (quantizer.decode(short) - latents).square().sum(-1) * (1 + 1e-5)).all()


# They differ from others in training only: their graphs are those of `rvq`, of `binary` that of `lfq`.
SAME_GRAPH = ("binary", "cvq", "gumbel", "ibq", "optvq", "vqwae")


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.slow] if name in SAME_GRAPH else [])
        for name in QUANTIZERS.available()
    ],
)
def test_onnx_gives_the_same_codes_and_latents(name, tmp_path):
    options = OPTIONS.get(name, [{}])[-1]
    books = K if name in OPTIONS else 2
    module = _Both(build(name, options, books=books).requires_grad_(False)).eval()
    frames = torch.export.Dim("frames", min=1, max=1000)
    torch.onnx.export(
        module,
        (sample(),),
        tmp_path / "q.onnx",
        dynamo=True,
        dynamic_shapes={"latents": {1: frames}},
        optimize=False,
        verbose=False,
    )
    session = onnxruntime.InferenceSession(tmp_path / "q.onnx")
    latents = sample(3, 200, seed=7)
    codes, decoded = session.run(None, {session.get_inputs()[0].name: latents.numpy()})
    expected, heard = module(latents)
    assert np.mean(codes == expected.numpy()) >= 0.999
    same = torch.from_numpy(codes == expected.numpy()).all(1)
    np.testing.assert_allclose(decoded[same], heard[same], atol=1e-5)


FIRST = [i for i, (name, _) in enumerate(CASES) if name not in [n for n, _ in CASES[:i]]]


@pytest.mark.parametrize(
    "chosen",
    [
        pytest.param(FIRST, id="first options"),
        pytest.param(
            [i for i in range(len(CASES)) if i not in FIRST],
            id="other options",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_two_processes_with_different_inputs_end_with_equal_books(tmp_path, chosen):
    cases, names = [CASES[i] for i in chosen], [NAMES[i] for i in chosen]
    worker = Path(__file__).with_name("quantizer_rank.py")
    processes = [
        subprocess.Popen(
            [sys.executable, worker, tmp_path / "store", str(rank), json.dumps(cases)],
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    first, second = (json.loads(process.communicate(timeout=110)[0]) for process in processes)
    differ = [name for name, a, b in zip(names, first, second, strict=True) if a != b]
    assert not differ
    assert len(set(first)) > len(first) / 2  # they did learn, each in its own way
