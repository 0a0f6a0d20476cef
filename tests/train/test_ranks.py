"""Two processes over gloo: one model on both, and what one process with accumulation would do."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import TypeAdapter
from safetensors.torch import load_file

from sotto.train.config import RunConfig
from sotto.train.loop import Trainer

pytestmark = pytest.mark.timeout(600)  # three processes import torch, on whatever is there


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def curve(run):
    lines = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
    return [line for line in lines if "stage" in line]


STAGES = {
    "autoencoder": {"steps": 2, "quantize": False},
    "quantized": {"steps": 4},
    "adversarial": {"steps": 2, "adversarial": True, "freeze": ["encoder", "quantizer"]},
}


@pytest.fixture(scope="module")
def pair(make_run_in, tmp_path_factory):
    """A run of two processes, and where they left what they hold."""
    folder = tmp_path_factory.mktemp("pair")
    config = make_run_in(folder, stages=STAGES, restart_every=2, validate_every=4)
    settings = folder / "run.json"
    settings.write_text(json.dumps(TypeAdapter(RunConfig).dump_python(config, mode="json")))
    launch = ["torch.distributed.run", "--nproc_per_node=2", "--master_addr=127.0.0.1"]
    worker = Path(__file__).with_name("rank_worker.py")
    command = [sys.executable, "-m", *launch, f"--master_port={free_port()}", worker, settings]
    local = os.environ | {"GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=580, check=False, env=local
    )
    assert done.returncode == 0, done.stderr
    return config, folder


def test_both_hold_the_same_weights_and_codebooks_to_the_bit(pair):
    _, folder = pair
    one, other = (load_file(folder / f"rank{rank}.safetensors") for rank in (0, 1))
    assert one.keys() == other.keys()
    own = {name for name in one if name.endswith(".recent")}  # inputs for a restart, by the first
    different = [name for name in one.keys() - own if not one[name].equal(other[name])]
    assert different == []
    assert any("books" in name for name in one)


def test_the_losses_are_those_of_one_process_with_accumulation(pair, make_run_in, tmp_path):
    config, _ = pair
    single = make_run_in(tmp_path, stages=STAGES, restart_every=2, validate_every=4, accumulate=2)
    Trainer(single).run()
    for found, expected in zip(curve(config.output), curve(single.output), strict=True):
        close = 1e-5 if found["step"] <= 2 else 0.1  # the books learn from each batch in turn
        for name in ("loss", "mel", "stft", "waveform"):
            assert found[name] == pytest.approx(expected[name], rel=close), (found["step"], name)


def test_one_process_goes_on_from_what_two_left(pair):
    config, _ = pair
    assert Trainer(config).step == 8
