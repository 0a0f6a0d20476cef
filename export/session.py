"""One ONNX step on onnxruntime, which is imported when the first one is opened."""

from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from sotto.codec.errors import BackendError, BundleError, ShapeError
from sotto.codec.info import ModelInfo

from .arrays import State

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}


BEAM = "beam"  # input of an encoder that can search with a beam: whether it shall
DEPTH = "num_codebooks"  # another: int64 [B]


class StepSession:
    """One ONNX step: first input and output are the signal, the others are state.

    An encoder with beam search also takes how many books will be kept, and whether to search.

    Attributes:
        beam_sizes: Code paths that an encoder's search can keep; 1 is greedy.
        fingerprint: sha256 of the file, 64 hex digits; steps with the same one do the same.
    """

    def __init__(self, path: Path, info: ModelInfo, threads: int, provider: str) -> None:
        self._session = _open(path, threads, provider)
        self.fingerprint = sha256(path.read_bytes()).hexdigest()
        properties = self._session.get_modelmeta().custom_metadata_map
        stored = properties.get("identity")
        if stored != info.identity:
            raise BundleError(
                f"'{path}' is of model {stored}, but config.json beside it is of {info.identity}; "
                "export the bundle again"
            )
        signal, *others = self._session.get_inputs()
        states = [given for given in others if given.name not in (BEAM, DEPTH)]
        names = {given.name for given in others}
        self._takes_depth, self._takes_beam = DEPTH in names, BEAM in names
        widest = int(properties.get("beam_size", "1"))
        self.beam_sizes = (1, widest) if self._takes_beam else (widest,)
        self._signal = signal.name
        self._shapes = {s.name.removeprefix("state."): tuple(s.shape[1:]) for s in states}
        self._feeds = {name: f"state.{name}" for name in self._shapes}
        self._outputs = [output.name for output in self._session.get_outputs()]

    def zero_state(self, batch_size: int) -> State:
        """Zeros, which every state begins with."""
        return {n: np.zeros((batch_size, *shape), np.float32) for n, shape in self._shapes.items()}

    def run(
        self,
        signal: Any,
        state: State,
        depth: npt.NDArray[np.int64] | None = None,
        beam_size: int = 1,
    ) -> tuple[Any, State]:
        """One step.

        Args:
            signal: Batch first.
            state: Of so many streams.
            depth: int64 [B], books that will be kept; only an encoder with beam search asks.
            beam_size: One of `beam_sizes`.

        Raises:
            ShapeError: The state is of another model or another number of streams.
        """
        shapes = {n: (len(signal), *shape) for n, shape in self._shapes.items()}
        given = {n: value.shape for n, value in state.items()}
        if given != shapes:
            raise ShapeError(
                f"the state does not belong to a batch of {len(signal)} of this model: it has "
                f"{given}, expected {shapes}"
            )
        feeds: dict[str, Any] = {feed: state[name] for name, feed in self._feeds.items()}
        feeds[self._signal] = signal
        if self._takes_depth:
            feeds[DEPTH] = depth
        if self._takes_beam:
            feeds[BEAM] = np.array(beam_size > 1)
        result, *new_state = self._session.run(self._outputs, feeds)
        return result, dict(zip(self._shapes, new_state, strict=True))


def _open(path: Path, threads: int, provider: str) -> "InferenceSession":
    try:
        import onnxruntime
    except ImportError as error:
        raise BackendError(
            "onnxruntime is not installed; install sotto-codec[cpu] or sotto-codec[gpu]"
        ) from error
    if provider not in PROVIDERS:
        raise BackendError(f"unknown provider '{provider}' (known: {', '.join(PROVIDERS)})")
    available = onnxruntime.get_available_providers()
    if PROVIDERS[provider] not in available:
        raise BackendError(
            f"provider '{provider}' is not in this onnxruntime ({', '.join(available)}); "
            "install sotto-codec[gpu] on a machine with CUDA, or use provider='cpu'"
        )
    if not path.is_file():
        raise BundleError(f"the bundle has no '{path.name}' ({path})")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=[PROVIDERS[provider]])
    except Exception as error:  # onnxruntime raises types of its own, without a common base
        raise BundleError(f"'{path}' cannot be loaded: {error}") from error
    if PROVIDERS[provider] not in session.get_providers():  # it falls back with a warning only
        raise BackendError(
            f"onnxruntime could not start provider '{provider}'; check its driver and libraries, "
            "or use provider='cpu'"
        )
    return session
