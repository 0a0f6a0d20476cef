"""Encoder and decoder of strided waveform convolutions: SoundStream, EnCodec, DAC, Mimi, SNAC.

Reference: SEANet, https://arxiv.org/abs/2009.02095; as a codec, SoundStream,
https://arxiv.org/abs/2107.03312
"""

from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from .config import FROZEN
from .decoder import DECODERS, Decoder
from .encoder import ENCODERS
from .layers import at_least_float32
from .networks import attention  # noqa: F401 - registers the transformer
from .networks.activation import ActivationName, activation
from .networks.bottleneck import bottleneck
from .networks.convolution import CausalConv, CausalUpsampling
from .networks.residual import ResidualStage
from .networks.seanet_options import SEANetOptions
from .streaming import State, StreamingModule, branch


class Descent(StreamingModule):
    """Residual units at one rate, then a strided convolution to twice the channels."""

    def __init__(self, stage: ResidualStage, name: ActivationName, conv: CausalConv) -> None:
        super().__init__()
        self.stage, self.activation, self.conv = stage, activation(name, conv.in_dim), conv

    def init_state(self, batch_size: int) -> State:
        """State of both."""
        return {
            "stage": self.stage.init_state(batch_size),
            "conv": self.conv.init_state(batch_size),
        }

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Map [B, D, T] to [B, 2 D, T / stride]."""
        x, stage = self.stage(x, branch(state, "stage"))
        x, conv = self.conv(self.activation(x), branch(state, "conv"))
        return x, {"stage": stage, "conv": conv}


class Ascent(StreamingModule):
    """A transposed convolution to half the channels, then residual units at the new rate."""

    def __init__(self, name: ActivationName, conv: CausalUpsampling, stage: ResidualStage) -> None:
        super().__init__()
        self.activation, self.conv, self.stage = activation(name, 2 * conv.out_dim), conv, stage

    def init_state(self, batch_size: int) -> State:
        """State of both."""
        return {
            "conv": self.conv.init_state(batch_size),
            "stage": self.stage.init_state(batch_size),
        }

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Map [B, 2 D, T] to [B, D, T * stride]."""
        x, conv = self.conv(self.activation(x), branch(state, "conv"))
        x, stage = self.stage(x, branch(state, "stage"))
        return x, {"conv": conv, "stage": stage}


class Frames(StreamingModule):
    """A network on [B, T, D] used among layers on [B, D, T]."""

    def __init__(self, network: StreamingModule) -> None:
        super().__init__()
        self.network = network

    def init_state(self, batch_size: int) -> State:
        """That of the network."""
        return self.network.init_state(batch_size)

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Map [B, D, T] to [B, D, T]."""
        y, state = self.network(x.transpose(1, 2), state)
        return y.transpose(1, 2), state


class Chain(StreamingModule):
    """Named layers on [B, D, T] in a row; those without a state are plain modules."""

    def __init__(self, layers: dict[str, nn.Module | None]) -> None:
        super().__init__()
        self.layers = nn.ModuleDict({k: layer for k, layer in layers.items() if layer is not None})

    def init_state(self, batch_size: int) -> State:
        """One entry per layer that has a state."""
        return {
            name: layer.init_state(batch_size)
            for name, layer in self.layers.items()
            if isinstance(layer, StreamingModule)
        }

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Map [B, D, T] through all layers."""
        after: State = {}
        for name, layer in self.layers.items():
            if isinstance(layer, StreamingModule):
                x, after[name] = layer(x, branch(state, name))
            else:
                x = layer(x)
        return x, after


@ENCODERS.register("seanet")
class SEANetEncoder(StreamingModule):
    """Waveform to latents: convolutions that halve the rate again and again, all causal."""

    @dataclass(frozen=True, config=FROZEN)
    class Config(SEANetOptions):
        """The options of both sides."""

    def __init__(
        self, config: Config, *, sample_rate: int, frame_size: int, latent_dim: int
    ) -> None:
        super().__init__()
        config.check(frame_size, latent_dim)
        norm, name = config.normalise, config.activation
        dim, width = config.channels, latent_dim // config.frame_steps
        layers: dict[str, nn.Module | None] = {
            "conv_in": CausalConv(1, dim, config.kernel_size, normalise=norm)
        }
        for i, stride in enumerate(config.strides):
            conv = CausalConv(dim, 2 * dim, 2 * stride, stride=stride, normalise=norm)
            layers[f"down{i}"] = Descent(config.stage(dim), name, conv)
            dim *= 2
        layers |= {
            "bottleneck": _frames(bottleneck(config.bottleneck, dim)),
            "activation": activation(name, dim),
            "conv_out": CausalConv(dim, width, config.latent_kernel_size, normalise=norm),
            "context": _frames(bottleneck(config.context, width)),
        }
        if config.frame_stride > 1:
            stride = config.frame_stride
            layers["to_frames"] = CausalConv(
                width, width, 2 * stride, stride=stride, normalise=norm
            )
        self.chain, self.frame_steps = Chain(layers), config.frame_steps

    def init_state(self, batch_size: int) -> State:
        """Zeros: silence on the left."""
        return self.chain.init_state(batch_size)

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Audio [B, S], S = T * frame_size, to latents [B, T, latent_dim]."""
        steps, state = self.chain(x[:, None], state)
        # [B, width, T * frame_steps] -> [B, T, frame_steps * width]
        return steps.transpose(1, 2).unflatten(1, (-1, self.frame_steps)).flatten(2), state


@DECODERS.register("seanet")
class SEANetDecoder(Decoder):
    """Latents to waveform, the mirror image of the encoder; it adds no delay.

    A sum of fewer books is itself what tells the decoder the depth.
    """

    @dataclass(frozen=True, config=FROZEN)
    class Config(SEANetOptions):
        """The options of both sides, and whether a ``tanh`` bounds the samples."""

        tanh: bool = False

    def __init__(
        self,
        config: Config,
        *,
        sample_rate: int,
        frame_size: int,
        latent_dim: int,
        num_codebooks: int,
    ) -> None:
        super().__init__()
        config.check(frame_size, latent_dim)
        norm, name, dim = config.normalise, config.activation, config.widest
        width = latent_dim // config.frame_steps
        layers: dict[str, nn.Module | None] = {}
        if config.frame_stride > 1:  # each channel alone, as in Mimi
            layers["from_frames"] = CausalUpsampling(
                width, width, config.frame_stride, groups=width, normalise=norm
            )
        layers |= {
            "context": _frames(bottleneck(config.context, width)),
            "conv_in": CausalConv(width, dim, config.latent_kernel_size, normalise=norm),
            "bottleneck": _frames(bottleneck(config.bottleneck, dim)),
        }
        for i, stride in enumerate(reversed(config.strides)):
            dim //= 2
            conv = CausalUpsampling(2 * dim, dim, stride, normalise=norm)
            layers[f"up{i}"] = Ascent(name, conv, config.stage(dim))
        layers["activation"] = activation(name, dim)
        layers["conv_out"] = CausalConv(dim, 1, config.kernel_size, normalise=norm)
        if config.tanh:
            layers["tanh"] = nn.Tanh()
        self.chain, self.frame_steps = Chain(layers), config.frame_steps

    def init_state(self, batch_size: int) -> State:
        """Zeros."""
        return self.chain.init_state(batch_size)

    def forward(self, x: Tensor, depth: Tensor, state: State) -> tuple[Tensor, State]:
        """Latents [B, T, D] and state to audio [B, T * frame_size]; `depth` is not looked at."""
        steps = x.reshape(x.shape[0], x.shape[1] * self.frame_steps, -1)
        audio, state = self.chain(steps.transpose(1, 2), state)
        return at_least_float32(audio[:, 0]), state


def _frames(network: StreamingModule | None) -> Frames | None:
    return None if network is None else Frames(network)
