"""Teachers loaded as users load them, from models made on the spot: torchaudio, Hugging Face."""

import types

import numpy as np
import pytest
import torch
import torchaudio
from typer.testing import CliRunner

from sotto.cli import app
from sotto.codec.errors import ConfigError
from sotto.train.cache import AudioCache
from sotto.train.features import FeatureStore
from sotto.train.manifest import Clip, find_clips
from sotto.train.teachers import load_teacher, transcript, write_features

transformers = pytest.importorskip("transformers")

CONV = {"conv_dim": (8, 8), "conv_kernel": (10, 32), "conv_stride": (10, 32)}
SIZES = {
    "hidden_size": 12,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 16,
}
TEXT = "she had your dark suit"


def audio(seconds, rate=16_000):
    return 0.1 * torch.randn(int(seconds * rate), generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module", params=["Hubert", "WavLM"])
def speech_folder(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    config = getattr(transformers, f"{request.param}Config")(
        **SIZES,
        **CONV,
        num_feat_extract_layers=2,
        num_conv_pos_embeddings=4,
        num_conv_pos_embedding_groups=2,
        vocab_size=4,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        getattr(transformers, f"{request.param}Model")(config).save_pretrained(folder)
    transformers.Wav2Vec2FeatureExtractor(sampling_rate=16_000).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def text_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("words")
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *TEXT.split()]
    (folder / "vocab.txt").write_text("\n".join(words) + "\n")
    tokenizer = transformers.BertTokenizerFast(str(folder / "vocab.txt"))
    tokenizer.save_pretrained(folder)
    config = transformers.BertConfig(**SIZES, vocab_size=len(words), max_position_embeddings=32)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        transformers.BertModel(config).save_pretrained(folder)
    return folder


@pytest.fixture
def pipeline(monkeypatch):
    """A pipeline of torchaudio with a model of its own architecture, but tiny."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = torchaudio.models.wav2vec2_model(
            extractor_mode="group_norm",
            extractor_conv_layer_config=[(8, 10, 10), (8, 32, 32)],
            extractor_conv_bias=False,
            encoder_embed_dim=12,
            encoder_projection_dropout=0.0,
            encoder_pos_conv_kernel=4,
            encoder_pos_conv_groups=2,
            encoder_num_layers=3,
            encoder_num_heads=2,
            encoder_attention_dropout=0.0,
            encoder_ff_interm_features=16,
            encoder_ff_interm_dropout=0.0,
            encoder_dropout=0.0,
            encoder_layer_norm_first=False,
            encoder_layer_drop=0.0,
            aux_num_out=None,
        )
    bundle = types.SimpleNamespace(sample_rate=16_000, get_model=lambda: model)
    monkeypatch.setattr(torchaudio.pipelines, "HUBERT_TINY", bundle, raising=False)
    return model


def test_a_pipeline_gives_the_mean_of_its_layers_or_one_of_them(pipeline):
    teacher = load_teacher("HUBERT_TINY")
    assert teacher.info.name == "HUBERT_TINY"
    assert (teacher.info.width, teacher.info.frame_rate) == (12, 50)
    x = audio(0.5)
    layers = pipeline.eval().extract_features(x[None])[0]
    torch.testing.assert_close(teacher.features(x, None), torch.stack(layers).mean(0)[0])
    one = load_teacher("HUBERT_TINY", layer=1)
    assert one.info.name == "HUBERT_TINY-layer1"
    torch.testing.assert_close(one.features(x, None), layers[1][0])


def test_a_speech_folder_gives_what_its_own_model_gives(speech_folder):
    teacher = load_teacher(str(speech_folder), layer=2)
    assert (teacher.info.width, teacher.info.frame_rate, teacher.sample_rate) == (12, 50, 16_000)
    x = audio(0.5)
    extractor = transformers.AutoFeatureExtractor.from_pretrained(speech_folder)
    inputs = extractor(x.numpy(), sampling_rate=16_000, return_tensors="pt")
    model = transformers.AutoModel.from_pretrained(speech_folder).eval()
    expected = model(**inputs).last_hidden_state[0]
    torch.testing.assert_close(teacher.features(x, None), expected, atol=1e-4, rtol=1e-3)
    assert teacher.features(x[:100], None) is None


def test_words_are_spread_over_the_time_of_their_clip(text_folder):
    teacher = load_teacher(str(text_folder), layer=2)
    assert teacher.info.width == 12
    found = teacher.features(audio(2.0), TEXT)
    assert found.shape == (100, 12)
    model = transformers.AutoModel.from_pretrained(text_folder).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(text_folder)
    states = model(**tokenizer(TEXT, return_tensors="pt")).last_hidden_state[0, 1:-1]
    ends = np.cumsum([len(word) + 1 for word in TEXT.split()]) - 1
    for frame in range(100):
        word = int(np.searchsorted(ends, (frame + 0.5) / 100 * len(TEXT)))
        torch.testing.assert_close(found[frame], states[word])
    assert teacher.features(audio(2.0), None) is None
    assert teacher.features(audio(2.0), "  ") is None


def test_mistakes_are_named(pipeline, text_folder, tmp_path):
    with pytest.raises(ConfigError, match=r"no teacher 'HUBERT'.*HUBERT_BASE"):
        load_teacher("HUBERT")
    with pytest.raises(ConfigError, match="holds no model of a teacher"):
        load_teacher(str(tmp_path))
    with pytest.raises(ConfigError, match="layers 0 to 2, not 7"):
        load_teacher("HUBERT_TINY", layer=7)
    with pytest.raises(ConfigError, match="layers 0 to 2, not 7"):
        load_teacher(str(text_folder), layer=7).features(audio(1), TEXT)


def test_features_are_computed_once_and_clips_without_words_counted(
    text_folder, clips, tmp_path, monkeypatch
):
    teacher = load_teacher(str(text_folder))
    store = FeatureStore.create(tmp_path / "features", teacher.info)
    cache = AudioCache(tmp_path / "cache", 16_000)
    found = find_clips(clips)
    first = Clip(found[0].path, "train", "s", "s", None, TEXT)
    assert write_features([first, *found[1:]], teacher, store, cache) == len(found) - 1
    assert not store.mean(found[1].path, np.zeros(1), np.ones(1)).any()
    assert store.mean(first.path, np.zeros(1), np.full(1, 0.1)).any()
    monkeypatch.setattr(teacher, "features", lambda *_: pytest.fail("asked again"))
    assert write_features(found, teacher, store, cache) == 0


def test_words_come_from_the_manifest_or_from_a_file_beside_as_in_libritts(tmp_path):
    path = tmp_path / "a.wav"
    assert transcript(Clip(path, "train", "s", "s", None)) is None
    (tmp_path / "a.normalized.txt").write_text("from beside\n")
    assert transcript(Clip(path, "train", "s", "s", None)) == "from beside"
    assert transcript(Clip(path, "train", "s", "s", None, "from the manifest")) == (
        "from the manifest"
    )


def test_prepare_keeps_features_beside_the_manifest(pipeline, text_folder, clips, tmp_path):
    options = ["--cache", str(tmp_path / "cache"), "--jobs", "1", "--device", "cpu"]
    teachers = ["--teacher", "HUBERT_TINY", "--teacher", str(text_folder)]
    out = tmp_path / "out"
    result = CliRunner().invoke(app, ["prepare", str(clips), str(out), *options, *teachers])
    assert result.exit_code == 0, result.output
    kept = find_clips(out / "manifest.csv")
    store = FeatureStore(out / "teacher-HUBERT_TINY")
    assert store.info.width == 12
    assert kept
    assert all(store.has(clip.path) for clip in kept)
    said = " ".join(result.output.split())
    assert f"has nothing to say of {len(kept)} of {len(kept)} clips" in said
    assert "distill from it: distill.features=[" in said
