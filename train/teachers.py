"""Teachers for distillation: speech models of torchaudio or on disk, and language models on disk."""

import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from sotto.codec.errors import BackendError, ConfigError

from .cache import AudioCache
from .features import Features, FeatureStore, TeacherInfo
from .manifest import Clip

TEXT_RATE = 50.0  # feature frames per second of a language model's words
SPEECH_RATE = 16_000  # Hz, where a speech model's folder does not say


class Teacher(ABC):
    """A frozen model that gives features of a clip.

    Attributes:
        info: Whose features they are.
        sample_rate: Hz of the audio that it wants.
    """

    info: TeacherInfo
    sample_rate: int

    @abstractmethod
    def features(self, audio: Tensor, text: str | None) -> Tensor | None:
        """Features [N, width] of audio float32 [S] with the words `text`; None if it cannot say."""


def load_teacher(source: str, *, layer: int | None = None, device: str = "cpu") -> Teacher:
    """The teacher `source`, its weights frozen.

    Args:
        source: A pipeline of torchaudio such as ``HUBERT_BASE``, or a folder in the format of
            Hugging Face: of a speech model (HuBERT, WavLM, wav2vec 2.0), or of a language model
            with its tokenizer (BERT).
        layer: Which layer's output, from 0; the mean over all layers if None.
        device: Where it runs.

    Raises:
        ConfigError: Neither a pipeline nor a folder with a model.
        BackendError: A folder needs the package transformers, which is not installed.
    """
    if not Path(source).is_dir():
        return PipelineTeacher(source, layer, device)
    path = Path(source) / "config.json"
    try:
        kind = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"'{source}' holds no model of a teacher: {error}") from error
    of_speech = "conv_stride" in kind or "conv_kernel" in kind
    return (FolderSpeechTeacher if of_speech else FolderTextTeacher)(source, layer, device)


class SpeechTeacher(Teacher):
    """A self-supervised speech model; its frame rate is measured, not looked up."""

    def __init__(self, source: str, layer: int | None, device: str) -> None:
        self.layer, self.device = layer, torch.device(device)
        short, long = (self._hear(torch.zeros(n * self.sample_rate)) for n in (1, 3))
        rate = (len(long) - len(short)) / 2
        self.info = TeacherInfo(_name(source, layer), long.shape[1], rate)

    @abstractmethod
    def layers(self, audio: Tensor) -> Sequence[Tensor]:
        """Outputs [1, N, width] of all layers for audio [1, S]."""

    def features(self, audio: Tensor, text: str | None) -> Tensor | None:
        """Features [N, width]; None for less than a tenth of a second."""
        return None if len(audio) < self.sample_rate / 10 else self._hear(audio)

    @torch.no_grad()
    def _hear(self, audio: Tensor) -> Tensor:
        return _choose(self.layers(audio[None].to(self.device)), self.layer)[0].float().cpu()


class PipelineTeacher(SpeechTeacher):
    """A pipeline of torchaudio; its weights are downloaded on first use."""

    def __init__(self, source: str, layer: int | None, device: str) -> None:
        from torchaudio import pipelines

        bundle: Any = getattr(pipelines, source, None)
        if not hasattr(bundle, "get_model") or not hasattr(bundle, "sample_rate"):
            known = ", ".join(n for n in dir(pipelines) if n.startswith(("HUBERT", "WAVLM")))
            raise ConfigError(f"no teacher '{source}': neither a folder nor a pipeline ({known})")
        self.sample_rate = int(bundle.sample_rate)
        self.model: Any = bundle.get_model().to(device).eval().requires_grad_(False)
        super().__init__(source, layer, device)

    def layers(self, audio: Tensor) -> Sequence[Tensor]:
        """Outputs [1, N, width] of all layers for audio [1, S]."""
        found: Sequence[Tensor] = self.model.extract_features(audio)[0]
        return found


class FolderSpeechTeacher(SpeechTeacher):
    """A speech model on disk."""

    def __init__(self, source: str, layer: int | None, device: str) -> None:
        self.model = _load_folder(source, device)
        path = Path(source) / "preprocessor_config.json"
        options = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        self.sample_rate = int(options.get("sampling_rate", SPEECH_RATE))
        self.normalise = bool(options.get("do_normalize", True))
        super().__init__(source, layer, device)

    def layers(self, audio: Tensor) -> Sequence[Tensor]:
        """Outputs [1, N, width] of all layers for audio [1, S]."""
        if self.normalise:
            audio = (audio - audio.mean()) / (audio.var(correction=0) + 1e-7).sqrt()
        found: Sequence[Tensor] = self.model(audio, output_hidden_states=True).hidden_states
        return found[1:]


class FolderTextTeacher(Teacher):
    """A language model on disk; a clip's words are spread over its time by their letters."""

    sample_rate = SPEECH_RATE

    def __init__(self, source: str, layer: int | None, device: str) -> None:
        self.layer, self.device = layer, torch.device(device)
        self.model = _load_folder(source, device)
        self.tokenizer = _transformers().AutoTokenizer.from_pretrained(
            source, local_files_only=True
        )
        width = int(self.model.config.hidden_size)
        self.info = TeacherInfo(_name(source, layer), width, TEXT_RATE)

    @torch.no_grad()
    def features(self, audio: Tensor, text: str | None) -> Tensor | None:
        """Features [N, width]; None without words."""
        if not text or not text.strip():
            return None
        tokens = self.tokenizer(
            text, return_offsets_mapping=True, return_tensors="pt", truncation=True
        )
        begin, end = tokens.pop("offset_mapping")[0].T
        inputs = {name: value.to(self.device) for name, value in tokens.items()}
        found = self.model(**inputs, output_hidden_states=True).hidden_states[1:]
        spoken = end > begin  # not the marks that tokenizers put around a text
        states = _choose(found, self.layer)[0].float().cpu()[spoken]
        frames = max(round(len(audio) / self.sample_rate * TEXT_RATE), 1)
        letter = (torch.arange(frames) + 0.5) / frames * int(end.max())
        return states[
            torch.searchsorted(end[spoken].contiguous(), letter).clamp_max(len(states) - 1)
        ]


def write_features(
    clips: Sequence[Clip], teacher: Teacher, store: FeatureStore, cache: AudioCache
) -> int:
    """Compute what is missing in `store`, with a progress bar.

    Args:
        clips: All of them readable.
        teacher: Asked once per clip.
        store: Of the same teacher.
        cache: At the teacher's rate.

    Returns:
        For how many clips the teacher could not say anything; they get zeros, which pull nowhere.

    Raises:
        CodecError: A clip cannot be read, or the disk is full.
    """
    silent = 0
    for clip in tqdm(clips, desc=teacher.info.name, unit="clip"):
        if store.has(clip.path):
            continue
        audio = cache.get(clip.path).astype(np.float32) / np.float32(32768)
        found = teacher.features(torch.from_numpy(audio), transcript(clip))
        silent += found is None
        empty: Features = np.zeros((1, store.info.width), np.float32)
        store.put(clip.path, empty if found is None else found.numpy())
    return silent


def transcript(clip: Clip) -> str | None:
    """The words of a clip: from its manifest, or from a text file beside it as in LibriTTS."""
    if clip.transcript:
        return clip.transcript
    for ending in (".normalized.txt", ".txt"):
        beside = clip.path.with_suffix(ending)
        if beside.is_file():
            return beside.read_text(encoding="utf-8").strip()
    return None


def _choose(layers: Sequence[Tensor], layer: int | None) -> Tensor:
    if layer is None:
        return torch.stack(list(layers)).mean(dim=0)
    if not 0 <= layer < len(layers):
        raise ConfigError(f"the teacher has layers 0 to {len(layers) - 1}, not {layer}")
    return layers[layer]


def _name(source: str, layer: int | None) -> str:
    name = Path(source).name
    return name if layer is None else f"{name}-layer{layer}"


def _transformers() -> Any:
    try:
        import transformers
    except ModuleNotFoundError as error:
        raise BackendError(
            "a teacher on disk needs transformers; install sotto-codec[teachers]"
        ) from error
    return transformers


def _load_folder(source: str, device: str) -> Any:
    model = _transformers().AutoModel.from_pretrained(source, local_files_only=True)
    return model.to(device).eval().requires_grad_(False)
