"""Checkpoints: whole or not at all, whatever happens while one is written."""

import contextlib
import pathlib
import shutil

import pytest
import torch

from sotto.codec.errors import BundleError
from sotto.train import checkpoint as module
from sotto.train.checkpoint import (
    below,
    load_checkpoint,
    optimizer_tensors,
    restore_optimizer,
    save_checkpoint,
    with_prefix,
)


class CrashError(Exception):
    """The machine stopped here."""


def save(run, step):
    save_checkpoint(run, {"weight": torch.full((3,), float(step))}, {"step": step})


def loaded(run):
    """The step of a checkpoint that is whole."""
    found = load_checkpoint(run)
    assert found is not None
    tensors, meta = found
    assert torch.equal(tensors["weight"], torch.full((3,), float(meta["step"])))
    return meta["step"]


def crash_at(patch, call):
    """Make the `call`-th change to the file system the last one."""
    count = 0

    def wrap(function):
        def counted(*args, **kwargs):
            nonlocal count
            count += 1
            if count >= call:
                raise CrashError
            return function(*args, **kwargs)

        return counted

    patch.setattr(pathlib.Path, "rename", wrap(pathlib.Path.rename))
    patch.setattr(pathlib.Path, "mkdir", wrap(pathlib.Path.mkdir))
    patch.setattr(pathlib.Path, "write_text", wrap(pathlib.Path.write_text))
    patch.setattr(shutil, "rmtree", wrap(shutil.rmtree))
    patch.setattr(module, "save_file", wrap(module.save_file))


def test_what_was_saved_is_loaded(tmp_path):
    assert load_checkpoint(tmp_path / "new") is None
    for step in (1, 2, 3):
        save(tmp_path / "new", step)
        assert loaded(tmp_path / "new") == step
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["checkpoint"]


@pytest.mark.parametrize("second", [None, 1, 2, 3, 4, 5, 6, 7, 8])
@pytest.mark.parametrize("first", range(1, 10))
def test_a_crash_at_any_moment_leaves_a_whole_checkpoint(tmp_path, first, second):
    save(tmp_path, 1)
    step = 1
    for call in filter(None, (first, second)):
        with pytest.MonkeyPatch.context() as patch:
            crash_at(patch, call)
            with contextlib.suppress(CrashError):
                save(tmp_path, step + 1)
        assert loaded(tmp_path) in (step, step + 1)
        step = loaded(tmp_path)
    save(tmp_path, step + 1)
    assert loaded(tmp_path) == step + 1
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint"]


@pytest.mark.parametrize("name", ["meta.json", "tensors.safetensors"])
@pytest.mark.parametrize("damage", [None, b"", b"[]", b"\xff\x00damage"])
def test_a_damaged_checkpoint_is_a_clear_error(tmp_path, name, damage):
    save(tmp_path, 1)
    path = tmp_path / "checkpoint" / name
    if damage is None:
        path.unlink()
    else:
        path.write_bytes(damage)
    with pytest.raises(BundleError, match=r"checkpoint'? is damaged"):
        load_checkpoint(tmp_path)


def test_truncated_tensors_are_a_clear_error(tmp_path):
    save(tmp_path, 1)
    path = tmp_path / "checkpoint" / "tensors.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(BundleError, match="is damaged"):
        load_checkpoint(tmp_path)


def test_tensors_that_are_no_simple_block_of_memory_are_saved(tmp_path):
    matrix = torch.arange(6.0).view(2, 3)
    tensors = {"turned": matrix.T, "part": matrix[:, 1], "learned": torch.nn.Parameter(matrix)}
    save_checkpoint(tmp_path, tensors, {})
    found, _ = load_checkpoint(tmp_path)
    assert all(torch.equal(found[name], tensor) for name, tensor in tensors.items())


def test_prefixes_come_off_as_they_went_on():
    tensors = {"a": torch.zeros(1), "b.c": torch.ones(1)}
    both = with_prefix("x", tensors) | with_prefix("xy", tensors)
    assert below("x", both) == tensors
    assert below("y", both) == {}


def test_an_optimizer_goes_on_as_if_nothing_had_happened():
    def build():
        weight = torch.nn.Parameter(torch.ones(4))
        idle = torch.nn.Parameter(torch.ones(2))  # without gradient, so without state
        return weight, torch.optim.AdamW([idle, weight], lr=0.1)

    def step(weight, optimizer):
        weight.grad = weight.detach().square() + 1
        optimizer.step()

    one, first = build()
    for _ in range(3):
        step(one, first)
    two, second = build()
    two.data.copy_(one)
    restore_optimizer(second, {n: t.clone() for n, t in optimizer_tensors(first).items()})
    for weight, optimizer in ((one, first), (two, second)):
        step(weight, optimizer)
    assert torch.equal(one, two)
