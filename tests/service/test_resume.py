"""A broken stream goes on at another server, to the bit; a token that is not ours does not."""

import shutil

import grpc
import numpy as np
import onnx
import pytest

from sotto.export.runtime import Codec
from sotto.proto.v1 import codec_pb2 as pb
from sotto.proto.v1 import codec_pb2_grpc
from sotto.service.errors import ResumeError
from sotto.service.models import Models
from sotto.service.plans import Planner
from sotto.service.resume_tokens import Snapshot, TokenSealer
from sotto.service.settings import Settings
from sotto.service.snapshots import decode_facts, encode_facts, load_decoder, load_encoder


@pytest.fixture(scope="module")
def pair(serving, tmp_path_factory):
    """Stubs of two servers with the same key, and of one with a key of its own."""
    key = tmp_path_factory.mktemp("key") / "resume.key"
    key.write_bytes(bytes(range(32)))
    with (
        serving(resume_key_file=key) as one,
        serving(resume_key_file=key) as two,
        serving() as stranger,
    ):
        channels = [grpc.insecure_channel(f"127.0.0.1:{s.port}") for s in (one, two, stranger)]
        yield [codec_pb2_grpc.SpeechCodecStub(channel) for channel in channels]
        for channel in channels:
            channel.close()


def encode(stub, audio, rate, *, token=b"", state_at=None, books=3, change=None):
    """Stream [S, C] in chunks of 700 samples; ask for the state before chunk `state_at`, stop there."""
    config = {
        "encoding": "FLOAT32",
        "sample_rate_hertz": rate,
        "audio_channel_count": audio.shape[1],
        "resume_token": token,
        "num_codebooks": books,
    }

    def requests():
        yield pb.StreamingEncodeRequest(streaming_config=config)
        for i, start in enumerate(range(0, len(audio), 700)):
            if i == change:
                yield pb.StreamingEncodeRequest(rate_change={"num_codebooks": 1})
            if i == state_at:
                yield pb.StreamingEncodeRequest(state_request={})
                return
            content = audio[start : start + 700].tobytes()
            yield pb.StreamingEncodeRequest(audio_content=content)

    responses = list(stub.StreamingEncode(requests()))
    states = [r.resume_state for r in responses if r.HasField("resume_state")]
    if states:  # what comes after the state is lost with the connection
        responses = responses[: [r.HasField("resume_state") for r in responses].index(True)]
    packets = [r.codes for r in responses if r.HasField("codes")]
    return packets, states, responses


def values(packets):
    return [
        (p.first_frame, p.num_frames, p.num_codebooks, c.packed)
        for p in packets
        for c in p.channels
    ]


def frames_of(packets, codec, channels):
    from sotto.service.messages import packet_codes

    K = codec.info.num_codebooks
    parts = [packet_codes(p, codec.info, K, channels, packed=True) for p in packets]
    return {
        p.first_frame + t: part[:, :, t].tolist()
        for p, part in zip(packets, parts, strict=True)
        for t in range(part.shape[2])
    }


@pytest.mark.parametrize(("rate", "channels"), [(24_000, 1), (8_000, 1), (44_100, 2)])
@pytest.mark.parametrize("change", [None, 2])
def test_encoding_goes_on_elsewhere_with_the_same_codes(
    pair, speech, tiny_codec, rate, channels, change
):
    audio = np.ascontiguousarray(speech[:channels].T)
    whole, _, ended = encode(pair[0], audio, rate, change=change)
    assert ended[-1].totals.num_samples == len(audio)
    before, (state,), _ = encode(pair[0], audio, rate, state_at=31, change=change)
    assert state.num_samples == 31 * 700
    after, _, responses = encode(pair[1], audio[31 * 700 :], rate, token=state.token)
    assert responses[0].config.num_samples == 31 * 700
    assert responses[0].config.num_frames == state.num_frames
    assert responses[0].config.num_codebooks == (3 if change is None else 1)
    joined = frames_of([*before, *after], tiny_codec, channels)
    assert joined == frames_of(whole, tiny_codec, channels)
    assert len(joined) == responses[-1].totals.num_frames
    assert responses[-1].totals.num_samples == len(audio)
    assert responses[-1].totals.num_bytes == ended[-1].totals.num_bytes


def decode(stub, packets, rate, *, token=b"", state_at=None):
    config = {"encoding": "FLOAT32", "sample_rate_hertz": rate, "resume_token": token}

    def requests():
        yield pb.StreamingDecodeRequest(streaming_config=config)
        for i, packet in enumerate(packets):
            if i == state_at:
                yield pb.StreamingDecodeRequest(state_request={})
                return
            yield pb.StreamingDecodeRequest(codes=packet)

    responses = list(stub.StreamingDecode(requests()))
    states = [r.resume_state for r in responses if r.HasField("resume_state")]
    if states:
        responses = responses[: [r.HasField("resume_state") for r in responses].index(True)]
    return [r.audio for r in responses if r.HasField("audio")], states, responses


@pytest.mark.parametrize("rate", [24_000, 16_000, 48_000])
def test_decoding_goes_on_elsewhere_with_the_same_samples_at_any_depth(pair, speech, rate):
    audio = np.ascontiguousarray(speech[:1].T)
    packets, _, _ = encode(pair[0], audio, 24_000, change=20)
    assert {p.num_codebooks for p in packets} == {3, 1}
    whole, _, _ = decode(pair[0], packets, rate)
    half = len(packets) // 2
    before, (state,), _ = decode(pair[0], packets, rate, state_at=half)
    after, _, responses = decode(pair[1], packets[half:], rate, token=state.token)
    assert after[0].first_sample == state.num_samples == sum(p.num_samples for p in before)
    content = b"".join(p.audio_content for p in [*before, *after])
    assert content == b"".join(p.audio_content for p in whole)
    assert responses[-1].totals.num_samples * 4 == len(content)


def transcode(stub, audio, *, token=b"", state=False):
    config = {
        "encode": {"encoding": "FLOAT32", "sample_rate_hertz": 16_000},
        "output_sample_rate_hertz": 8_000,
        "resume_token": token,
    }

    def requests():
        yield pb.StreamingTranscodeRequest(streaming_config=config)
        for chunk in np.split(audio, range(1000, len(audio), 1000)):
            yield pb.StreamingTranscodeRequest(audio_content=chunk.tobytes())
        if state:
            yield pb.StreamingTranscodeRequest(state_request={})

    content, found = b"", None
    for response in stub.StreamingTranscode(requests()):
        if response.HasField("resume_state"):
            return content, response.resume_state
        content += response.audio.audio_content
    return content, found


def test_transcoding_goes_on_elsewhere_with_the_same_samples(pair, speech):
    whole, _ = transcode(pair[0], speech[0])
    before, state = transcode(pair[0], speech[0, :20_321], state=True)
    assert state.num_output_samples * 4 == len(before)
    after, _ = transcode(pair[1], speech[0, state.num_samples :], token=state.token)
    assert before + after == whole


def refused(stub, audio, rate, token):
    with pytest.raises(grpc.RpcError) as caught:
        encode(stub, audio, rate, token=token)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    return caught.value.details()


def test_a_token_that_was_changed_or_is_of_something_else_is_refused(pair, speech):
    audio = np.ascontiguousarray(speech[:1].T)
    _, (state,), _ = encode(pair[0], audio, 24_000, state_at=5)
    for at in (0, 20, 60, len(state.token) - 1):
        token = bytearray(state.token)
        token[at] ^= 1
        assert "not one of this server's" in refused(pair[0], audio, 24_000, bytes(token))
    assert "not one of this server's" in refused(pair[0], audio, 24_000, state.token[:-4])
    assert "not one of this server's" in refused(pair[2], audio, 24_000, state.token)
    assert "sample_rate 24000; this call has 8000" in refused(pair[0], audio, 8_000, state.token)
    assert "channels 1; this call has 2" in refused(
        pair[0], np.repeat(audio, 2, axis=1), 24_000, state.token
    )
    with pytest.raises(grpc.RpcError, match="call encode; this call has decode"):
        decode(pair[0], [], 24_000, token=state.token)


def test_a_token_of_another_model_is_refused(pair, speech):
    key = bytes(range(32))
    audio = np.ascontiguousarray(speech[:1].T)
    _, (state,), _ = encode(pair[0], audio, 24_000, state_at=5)
    snapshot = TokenSealer(key).open(state.token)
    foreign = Snapshot(snapshot.facts | {"identity": "0" * 64}, snapshot.arrays)
    details = refused(pair[0], audio, 24_000, TokenSealer(key).seal(foreign))
    assert f"identity {'0' * 64}; this call has" in details


def test_tokens_are_as_small_as_the_documentation_says(pair, speech):
    audio = np.ascontiguousarray(speech[:1].T)
    _, (plain,), _ = encode(pair[0], audio, 24_000, state_at=60)
    _, (resampled,), _ = encode(pair[0], audio, 8_000, state_at=60)
    assert len(resampled.token) - len(plain.token) < 8_000 * 4


def test_a_sealer_opens_what_it_sealed():
    arrays = {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.zeros((0,), np.float32)}
    sealer = TokenSealer(bytes(32))
    found = sealer.open(sealer.seal(Snapshot({"n": [1, 2]}, arrays)))
    assert found.facts == {"n": [1, 2]}
    assert {n: a.tolist() for n, a in found.arrays.items()} == {
        n: a.tolist() for n, a in arrays.items()
    }
    with pytest.raises(ResumeError):
        TokenSealer(bytes(31) + b"1").open(sealer.seal(Snapshot({}, {})))


def test_a_token_is_of_one_graph_though_another_has_the_same_identity(tiny_bundle, tmp_path):
    other = shutil.copytree(tiny_bundle, tmp_path / "other")
    for name in ("encoder", "decoder"):
        graph = onnx.load(other / f"{name}.onnx")
        graph.doc_string = "another one"
        onnx.save(graph, other / f"{name}.onnx")
    plans = []
    for folder in (tiny_bundle, other):
        planner = Planner(Models([Codec(folder)]), Settings())
        config = pb.EncodeConfig(encoding="LINEAR16", sample_rate_hertz=24_000)
        plans.append((planner.encode(config), planner.decode(pb.DecodeConfig())))
    (encode_one, decode_one), (encode_two, decode_two) = plans
    assert encode_one.codec.info == encode_two.codec.info
    with pytest.raises(ResumeError, match="of a stream with encoder"):
        load_encoder(None, encode_two, Snapshot(encode_facts(encode_one), {}))
    with pytest.raises(ResumeError, match="of a stream with decoder"):
        load_decoder(None, decode_two, Snapshot(decode_facts(decode_one), {}))
