"""The codec on onnxruntime: same steps, same state as a value; needs numpy and onnxruntime only."""

import json
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from sotto.codec.config import build
from sotto.codec.errors import (
    AudioError,
    BackendError,
    BundleError,
    CodesError,
    ModelNotFoundError,
    ShapeError,
)
from sotto.codec.info import BUNDLE_FORMAT, ModelInfo

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

Audio = npt.NDArray[np.float32]
Codes = npt.NDArray[np.int64]
State = dict[str, npt.NDArray[np.float32]]

DEFAULT_MODEL = "speech-24khz"
NOT_HEARD = -1
BLOCK_FRAMES = 100  # frames per call when a whole signal is coded: fast, and bounded in memory
PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}


class Codec:
    """A model bundle, ready to encode and decode.

    Holds no stream: state goes into a step and comes out of it, so one codec serves any number of
    streams and threads.
    """

    def __init__(self, folder: Path, *, threads: int = 1, provider: str = "cpu") -> None:
        """Load the bundle in `folder`.

        Args:
            folder: Holds config.json, encoder.onnx and decoder.onnx.
            threads: Threads within one step.
            provider: ``cpu`` or ``cuda``.

        Raises:
            BundleError: The bundle is incomplete, or its files are of different models.
            BackendError: onnxruntime or the provider is missing.
        """
        self.folder = folder
        self.info = read_info(folder)
        self._encoder = _Graph(folder / "encoder.onnx", self.info, threads, provider)
        self._decoder = _Graph(folder / "decoder.onnx", self.info, threads, provider)

    @classmethod
    def load(
        cls, model: str | Path = DEFAULT_MODEL, *, threads: int = 1, provider: str = "cpu"
    ) -> "Codec":
        """Load a bundle by the name of one that ships with the package, or by its folder.

        Raises:
            ModelNotFoundError: No such model.
            BundleError: The bundle is incomplete, or its files are of different models.
            BackendError: onnxruntime or the provider is missing.
        """
        return cls(find_bundle(model), threads=threads, provider=provider)

    def encoder_state(self, batch_size: int = 1) -> State:
        """State of `batch_size` encoder streams before their first sample."""
        return self._encoder.zero_state(batch_size)

    def decoder_state(self, batch_size: int = 1) -> State:
        """State of `batch_size` decoder streams before their first frame."""
        return self._decoder.zero_state(batch_size)

    def encode_step(self, audio: Audio, state: State) -> tuple[Codes, State]:
        """Encode the next frames of some streams.

        Args:
            audio: float32 [B, 1, n * frame_size], n >= 1.
            state: From `encoder_state`, or the previous step.

        Returns:
            codes: int64 [B, K, n], all books.
            state: Pass to the next step.

        Raises:
            ShapeError: Not [B, 1, S], or S is not a positive multiple of `frame_size`.
        """
        F = self.info.frame_size
        if audio.ndim != 3 or audio.shape[1] != 1 or not audio.shape[2] or audio.shape[2] % F:
            raise ShapeError(
                f"audio has shape {audio.shape}; expected [B, 1, S] with S a positive multiple of "
                f"frame_size={F}; a StreamEncoder buffers any other length"
            )
        return self._encoder.run(audio.astype(np.float32, copy=False), state)

    def decode_step(self, codes: Codes, state: State) -> tuple[Audio, State]:
        """Decode the next frames of some streams.

        Args:
            codes: int64 [B, k, n], n >= 1; books beyond k, and entries of -1, are not heard.
            state: From `decoder_state`, or the previous step.

        Returns:
            audio: float32 [B, 1, n * frame_size], `info.delay_samples` late.
            state: Pass to the next step.

        Raises:
            ShapeError: Not three axes, no frames, or more than K books.
            CodesError: A code is out of range, or a book is heard without those before it.
        """
        return self._decoder.run(self._all_books(codes), state)

    def encode(
        self, audio: Audio, *, num_codebooks: int | None = None, bitrate: float | None = None
    ) -> Codes:
        """Encode whole signals.

        Args:
            audio: float32 [B, 1, S] at `info.sample_rate`, any S.
            num_codebooks: Books to keep; all if neither this nor `bitrate` is given.
            bitrate: Bits per second not to exceed.

        Returns:
            int64 [B, k, T], T = ``info.num_frames(S)``.

        Raises:
            ShapeError: Not [B, 1, S].
            AudioError: NaN or infinite samples.
            CodesError: The model does not offer that many books or that bitrate.
        """
        k = self.info.choose_num_codebooks(num_codebooks, bitrate)
        if audio.ndim != 3 or audio.shape[1] != 1:
            raise ShapeError(f"audio has shape {audio.shape}; expected [B, 1, S]")
        check_finite(audio)
        T, F = self.info.num_frames(audio.shape[2]), self.info.frame_size
        padded = np.pad(
            audio.astype(np.float32, copy=False), ((0, 0), (0, 0), (0, T * F - audio.shape[2]))
        )
        state, found = self.encoder_state(len(audio)), [np.zeros((len(audio), k, 0), np.int64)]
        for block in _blocks(padded, F):
            codes, state = self.encode_step(block, state)
            found.append(codes[:, :k])
        return np.concatenate(found, axis=2)

    def decode(self, codes: Codes, num_samples: int | None = None) -> Audio:
        """Decode whole signals; the codec's delay is removed.

        Args:
            codes: int64 [B, k, T], k from 1 to K.
            num_samples: Length S of the result; all that the frames hold by default.

        Returns:
            float32 [B, 1, S].

        Raises:
            ShapeError: Not three axes, too many books, or too few frames for `num_samples`.
            CodesError: A code is out of range, or a book is heard without those before it.
        """
        if codes.ndim != 3:
            raise ShapeError(f"codes have shape {codes.shape}; expected [B, k, T]")
        available = max(codes.shape[2] * self.info.frame_size - self.info.delay_samples, 0)
        wanted = available if num_samples is None else num_samples
        if not 0 <= wanted <= available:
            raise ShapeError(
                f"num_samples={wanted}, but {codes.shape[2]} frames hold at most {available}"
            )
        state, heard = self.decoder_state(len(codes)), [np.zeros((len(codes), 1, 0), np.float32)]
        for block in _blocks(codes, 1):
            audio, state = self.decode_step(block, state)
            heard.append(audio)
        start = self.info.delay_samples
        return np.concatenate(heard, axis=2)[:, :, start : start + wanted]

    def _all_books(self, codes: Codes) -> Codes:
        """Codes [B, k, n] with the missing books as -1: [B, K, n]."""
        K, size = self.info.num_codebooks, self.info.codebook_size
        if codes.ndim != 3 or not 1 <= codes.shape[1] <= K or not codes.shape[2]:
            raise ShapeError(
                f"codes have shape {codes.shape}; expected [B, k, T] with k from 1 to {K} and "
                "at least one frame"
            )
        if codes.min() < NOT_HEARD or codes.max() >= size:
            raise CodesError(
                f"codes run from {codes.min()} to {codes.max()}; expected 0 to {size - 1}, "
                f"or {NOT_HEARD} for a book that was not heard"
            )
        heard = codes >= 0
        if (heard[:, 1:] & ~heard[:, :-1]).any():
            raise CodesError("a book is heard without the ones before it; books are a prefix")
        missing = K - codes.shape[1]
        padded = np.pad(codes, ((0, 0), (0, missing), (0, 0)), constant_values=NOT_HEARD)
        return padded.astype(np.int64, copy=False)


class _Graph:
    """One ONNX step: first input and output are the signal, the others are state."""

    def __init__(self, path: Path, info: ModelInfo, threads: int, provider: str) -> None:
        self._session = _open(path, threads, provider)
        stored = self._session.get_modelmeta().custom_metadata_map.get("identity")
        if stored != info.identity:
            raise BundleError(
                f"'{path}' is of model {stored}, but config.json beside it is of {info.identity}; "
                "export the bundle again"
            )
        signal, *states = self._session.get_inputs()
        self._signal = signal.name
        self._shapes = {s.name.removeprefix("state."): tuple(s.shape[1:]) for s in states}
        self._feeds = {name: f"state.{name}" for name in self._shapes}
        self._outputs = [output.name for output in self._session.get_outputs()]

    def zero_state(self, batch_size: int) -> State:
        return {n: np.zeros((batch_size, *shape), np.float32) for n, shape in self._shapes.items()}

    def run(self, signal: Any, state: State) -> tuple[Any, State]:
        feeds = {feed: state[name] for name, feed in self._feeds.items()}
        feeds[self._signal] = signal
        result, *new_state = self._session.run(self._outputs, feeds)
        return result, dict(zip(self._shapes, new_state, strict=True))


def load(model: str | Path = DEFAULT_MODEL, *, threads: int = 1, provider: str = "cpu") -> Codec:
    """Load a codec by name or bundle folder; see `Codec.load`."""
    return Codec.load(model, threads=threads, provider=provider)


def available_models() -> list[str]:
    """Names of the bundles that ship with the package."""
    return sorted(folder.name for folder in _shipped())


def find_bundle(model: str | Path) -> Path:
    """Folder of a bundle, by name or path.

    Raises:
        ModelNotFoundError: Neither a shipped model nor a bundle folder; lists what exists.
    """
    if Path(model).is_dir():
        return Path(model)
    for folder in _shipped():
        if folder.name == str(model):
            return folder
    known = ", ".join(available_models()) or "none"
    raise ModelNotFoundError(
        f"no model '{model}': neither a folder nor one of the shipped models ({known})"
    )


def read_info(folder: Path) -> ModelInfo:
    """The info of a bundle.

    Raises:
        BundleError: config.json is missing, damaged or of a newer format.
    """
    path = folder / "config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise BundleError(f"'{folder}' is not a model bundle: it has no config.json") from None
    except (OSError, ValueError) as error:
        raise BundleError(f"'{path}' cannot be read: {error}") from error
    if not isinstance(config, dict) or config.get("format") != BUNDLE_FORMAT:
        raise BundleError(f"'{path}' is not of bundle format {BUNDLE_FORMAT}, the one known here")
    return build(ModelInfo, config.get("info", {}), str(path))


def check_finite(audio: Audio) -> None:
    """Raise AudioError at the first NaN or infinite sample."""
    if not np.isfinite(audio).all():
        where = int(np.argwhere(~np.isfinite(audio))[0][-1])
        raise AudioError(f"sample {where} is {audio[..., where].flat[0]}; audio must be finite")


def _shipped() -> Iterator[Path]:
    for entry in files("sotto.models").iterdir():
        if entry.is_dir() and entry.joinpath("config.json").is_file():
            yield Path(str(entry))


def _blocks(signal: npt.NDArray[Any], frame_size: int) -> Iterator[npt.NDArray[Any]]:
    """Pieces of `BLOCK_FRAMES` frames along the last axis."""
    step = BLOCK_FRAMES * frame_size
    for start in range(0, signal.shape[2], step):
        yield signal[:, :, start : start + step]


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
        return onnxruntime.InferenceSession(str(path), options, providers=[PROVIDERS[provider]])
    except Exception as error:  # onnxruntime raises types of its own, without a common base
        raise BundleError(f"'{path}' cannot be loaded: {error}") from error
