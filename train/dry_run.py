"""`sotto train --dry-run`: what a run will train, what it costs, and two of its steps."""

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from sotto.codec.config import CodecConfig
from sotto.codec.model import CodecModel

from .config import RunConfig
from .data import batches
from .learner import Learner
from .loop import Trainer
from .optimizer import states

MEBI = 1 << 20
WEIGHT_AND_GRADIENT = 2


@dataclass(frozen=True)
class Cost:
    """What a model costs to run.

    Attributes:
        encode_macs: Multiply-accumulates per second of audio; those of matrix products and
            convolutions, which is nearly all.
        decode_macs: The same of the decoder.
    """

    encode_macs: int
    decode_macs: int


@torch.no_grad()
def cost(model: CodecModel) -> Cost:
    """Count the work of a second of audio, rounded up to whole frames."""
    model.eval()
    device = next(model.parameters()).device
    frames = math.ceil(model.config.frame_rate)
    audio = torch.zeros(1, 1, frames * model.config.frame_size, device=device)
    recurrent = {torch.ops.aten.mkldnn_rnn_layer: _recurrent_flops}
    with FlopCounterMode(display=False, custom_mapping=recurrent) as encoding:
        codes, _ = model.encode(audio, model.encoder.init_state(1))
    with FlopCounterMode(display=False, custom_mapping=recurrent) as decoding:
        model.decode(codes, model.decoder.init_state(1))
    share = model.config.frame_rate / frames
    return Cost(
        round(encoding.get_total_flops() / 2 * share), round(decoding.get_total_flops() / 2 * share)
    )


def _recurrent_flops(
    x: Sequence[int], w: Sequence[int], r: Sequence[int], *_: object, **__: object
) -> int:
    """Of one recurrent layer, which torch's counter leaves out, from the shapes of its inputs.

    Args:
        x: [T, B, D].
        w: [gates, D], weights of the input.
        r: [gates, H], weights of the state.
    """
    return 2 * x[0] * x[1] * (w[0] * w[1] + r[0] * r[1])


def bitrates(config: CodecConfig) -> list[tuple[int, float]]:
    """Books heard and bits per second, for up to six evenly spread choices."""
    K = config.num_codebooks
    books = sorted({max(round(K * part / 6), 1) for part in range(1, 7)})
    return [(k, k * math.log2(config.codebook_size) * config.frame_rate) for k in books]


class Saved:
    """Counts what autograd keeps for the backward pass, each block of memory once."""

    def __init__(self) -> None:
        self.blocks: dict[int, int] = {}

    def note(self, tensor: Tensor) -> Tensor:
        """A tensor is kept."""
        block = tensor.untyped_storage()
        self.blocks[block.data_ptr()] = block.nbytes()
        return tensor

    def bytes(self, known: nn.Module) -> int:
        """Bytes kept, without the weights of `known`."""
        own = {tensor.untyped_storage().data_ptr() for tensor in known.state_dict().values()}
        return sum(size for at, size in self.blocks.items() if at not in own)


def state_bytes(learner: Learner) -> int:
    """Bytes of weights, gradients, optimizer states and the average of the decoder."""
    modules: list[nn.Module] = [learner.learned]
    optimizers = [learner.optimizer]
    if learner.adversary is not None:
        modules.append(learner.adversary.modules)
        optimizers.append(learner.adversary.optimizer)
    learned: int = sum(
        (WEIGHT_AND_GRADIENT + states(group)) * weight.numel() * weight.element_size()
        for optimizer in optimizers
        for group in optimizer.param_groups
        for weight in group["params"]
    )
    buffers = sum(b.numel() * b.element_size() for m in modules for b in m.buffers())
    average = sum(p.numel() * p.element_size() for p in learner.average.module.parameters())
    return learned + buffers + average


def dry_run(config: RunConfig, console: Console) -> None:
    """Describe the model, then take the first step of the first and of the last stage.

    Audio is decoded into the cache; nothing is written to the run's folder.

    Raises:
        CodecError: The configuration or the data cannot be used.
    """
    trainer = Trainer(config)
    console.print(parts_table(trainer.learner), *model_lines(trainer.model), sep="\n")
    for line in try_steps(trainer):
        console.print(line)


def parts_table(learner: Learner) -> Table:
    """Parameters by part."""
    table = Table(title=learner.config.model.name)
    table.add_column("part")
    table.add_column("parameters", justify="right")
    parts: dict[str, nn.Module] = dict(learner.model.named_children())
    for name, part in parts.items():
        table.add_row(name, f"{count(part):,}")
    table.add_row("codec", f"{count(learner.model):,}")
    if learner.adversary is not None:
        table.add_row("discriminators", f"{count(learner.adversary.modules):,}")
    return table


def count(module: nn.Module) -> int:
    """Parameters, and codebook entries that are learned otherwise."""
    entries = sum(b.numel() for n, b in module.named_buffers() if n.endswith("entries"))
    return sum(p.numel() for p in module.parameters()) + entries


def model_lines(model: CodecModel) -> list[str]:
    """Work, latency and bitrates."""
    config, found = model.config, cost(model)
    delay = (config.frame_size + model.delay_samples) / config.sample_rate
    rates = ", ".join(f"{k} books {rate:.0f}" for k, rate in bitrates(config))
    return [
        f"work: encode {found.encode_macs / 1e6:.0f}, decode {found.decode_macs / 1e6:.0f} "
        "million multiply-accumulates per second of audio",
        f"latency: {1000 * delay:.1f} ms, a frame to fill and what the decoder overlaps",
        f"bit/s: {rates}",
    ]


def try_steps(trainer: Trainer) -> Iterator[str]:
    """Take two steps; says of each how long it took and what it keeps in memory."""
    config, learner = trainer.config, trainer.learner
    last = config.total_steps - list(config.stages.values())[-1].steps
    yield f"memory: {state_bytes(learner) / MEBI:.0f} MiB of weights, gradients, optimizer states"
    for step in (0, last or min(1, config.total_steps - 1)):
        crops = next(iter(batches(trainer.dataset, step, step + 1, config.accumulate)))
        crops = [batch.to(trainer.device) for batch in crops]
        saved, begin = Saved(), time.monotonic()
        with torch.autograd.graph.saved_tensors_hooks(saved.note, lambda tensor: tensor):
            metrics = learner.train_step(crops, step)
        name = config.stage_at(step)[0]
        yield (
            f"step of stage {name}: loss {float(metrics['loss']):.3f}, "
            f"{time.monotonic() - begin:.2f} s, {saved.bytes(learner.model) / MEBI:.0f} MiB kept "
            "for the backward pass"
        )
