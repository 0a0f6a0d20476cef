"""What a new run takes over from an earlier model: all of it, some parts, or its first books."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from torch import Tensor, nn

from sotto.codec.errors import ConfigError
from sotto.codec.model import CodecModel

from .weights import load_weights

BOOK = re.compile(r"(^|\.)books\.\d+\.")
DEPTHS = "depth.weight"  # of a decoder: one row for each number of books it may hear


def load_initial(path: Path) -> CodecModel:
    """The model of a bundle with ``model.safetensors``, or of a training run's last checkpoint.

    A run's decoder is the moving average, as in its export.

    Raises:
        BundleError: Neither is there, or it is damaged.
    """
    if not (path / "run.json").is_file():
        return load_weights(path)
    from .bundle import load_run  # here: it needs the export, which training does not

    return load_run(path)[0]


def take_over(model: CodecModel, earlier: CodecModel, parts: Sequence[str]) -> None:
    """Give `model` the weights of `earlier`, part by part.

    A part may have fewer books than before: the first ones are taken, as any prefix of them
    decodes, and the decoder's rows for that many.

    Raises:
        ConfigError: A part is of another kind, or of other sizes.
    """
    for name in parts:
        target, source = model.get_submodule(name), earlier.get_submodule(name)
        mine, theirs = getattr(model.config, name), getattr(earlier.config, name)
        if type(target) is not type(source):
            raise ConfigError(
                f"init has the {name} {theirs.name}, not {mine.name}; leave it out "
                f"of init_parts to start it anew"
            )
        tensors = _fit(source.state_dict(), target)
        try:
            target.load_state_dict(tensors)
        except RuntimeError as error:
            raise ConfigError(
                f"the {name} of init does not fit the configuration ({theirs} is not {mine}); "
                f"leave it out of init_parts to start it anew, or use its sizes: {error}"
            ) from error


def _fit(tensors: Mapping[str, Tensor], target: nn.Module) -> dict[str, Tensor]:
    """Only the books that `target` has, and the rows of a decoder that can hear no more."""
    wanted = target.state_dict()
    fitting = {}
    for name, tensor in tensors.items():
        if BOOK.search(name) and name not in wanted:
            continue
        if name == DEPTHS and name in wanted:
            tensor = tensor[: len(wanted[name])]
        fitting[name] = tensor
    return fitting
