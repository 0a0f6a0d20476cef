"""Quantizers as weights and as graphs: both give the same codes as the quantizer itself."""

import numpy as np
import onnxruntime
import pytest
import torch
from torch import nn

from sotto.codec.quantizers import QUANTIZERS

from .quantizer_cases import OPTIONS, K, build, full, sample, snapshot


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


class _Both(nn.Module):
    """Codes and what they stand for."""

    def __init__(self, quantizer):
        super().__init__()
        self.quantizer = quantizer

    def forward(self, latents):
        codes = self.quantizer.encode(latents)
        return codes, self.quantizer.decode(codes)


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
