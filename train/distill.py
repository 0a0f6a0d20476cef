"""Distillation: the first books are pulled towards what a teacher hears, or reads, in the speech.

References: SpeechTokenizer, https://arxiv.org/abs/2308.16692; Mimi, https://arxiv.org/abs/2410.00037;
DM-Codec, https://arxiv.org/abs/2410.15017
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sotto.codec.config import CodecConfig
from sotto.codec.errors import ConfigError
from sotto.codec.layers import at_least_float32
from sotto.codec.model import CodecModel
from sotto.codec.quantizers.base import pass_gradient

from .config import RunConfig
from .config_distill import DistillConfig, Form
from .features import FeatureStore


class Distiller(nn.Module):
    """Maps the first books to the width of each teacher and compares; the maps learn, too."""

    def __init__(self, config: DistillConfig, model: CodecConfig, widths: Sequence[int]) -> None:
        """Make one map per teacher of the given width.

        Raises:
            ConfigError: The model has fewer books.
        """
        super().__init__()
        if config.books > model.num_codebooks:
            raise ConfigError(
                f"distill.books={config.books}, but the model has {model.num_codebooks}"
            )
        self.config = config
        self.widths = list(widths)
        self.maps = nn.ModuleList(nn.Linear(model.latent_dim, width) for width in widths)

    def forward(
        self, model: CodecModel, latents: Tensor, codes: Tensor, teachers: Tensor
    ) -> Tensor:
        """Mean distance from all teachers, a scalar.

        The codes are decoded from the first books alone; the encoder gets its gradient straight
        through, and books that learn by gradient get theirs.

        Args:
            model: Whose books they are.
            latents: [B, T, D], before the quantizer.
            codes: int64 [B, K, T].
            teachers: Features [B, T, sum of widths], one teacher after the other.
        """
        with torch.autocast(latents.device.type, enabled=False):
            first = model.quantizer.decode(codes[:, : self.config.books])
            heard = pass_gradient(at_least_float32(latents), first, "straight_through")
            found = [
                distance(project(heard), wanted, self.config.form)
                for project, wanted in zip(
                    self.maps, torch.split(teachers, self.widths, dim=-1), strict=True
                )
            ]
        return torch.stack(found).mean()


def make_distiller(config: RunConfig, device: torch.device) -> Distiller | None:
    """What compares the first books with a run's teachers; None without any.

    Raises:
        AudioError: The features are not there.
        ConfigError: The model has too few books.
    """
    if config.distill is None:
        return None
    widths = [FeatureStore(folder).info.width for folder in config.distill.features]
    return Distiller(config.distill, config.model, widths).to(device)


def distance(found: Tensor, wanted: Tensor, form: Form) -> Tensor:
    """How far features [B, T, D] are from a teacher's, a scalar.

    Args:
        found: Projected books.
        wanted: The teacher's; all zeros, as of words that nobody wrote down, pull nowhere.
        form: ``channels`` is ``-log sigmoid(cos)`` over time, averaged over channels; ``frames`` is
            ``1 - cos`` over channels, averaged over time.
    """
    if form == "channels":
        return -F.logsigmoid(F.cosine_similarity(found, wanted, dim=1)).mean()
    return (1 - F.cosine_similarity(found, wanted, dim=2)).mean()
