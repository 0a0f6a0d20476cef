"""A caller chooses the search: greedy unless it asks for the beam that the model has."""

import grpc
import numpy as np
import pytest

from sotto.export.runtime import Codec
from sotto.proto.v1 import codec_pb2 as pb
from sotto.proto.v1 import codec_pb2_grpc
from sotto.service.client import SottoClient
from sotto.service.errors import RemoteError

BEAM = 3


@pytest.fixture(scope="module")
def client(serving, beam_bundle):
    with serving(Codec(beam_bundle)) as server, SottoClient(f"127.0.0.1:{server.port}") as client:
        yield client


@pytest.fixture(scope="module")
def expected(beam_bundle, speech):
    """Codes of the library by beam size."""
    return {n: Codec(beam_bundle, beam_size=n).encode(speech[:1, None])[0] for n in (1, BEAM)}


@pytest.mark.parametrize(("options", "beam_size"), [({}, 1), ({"beam_size": BEAM}, BEAM)])
def test_codes_are_those_of_the_search_that_was_asked_for(
    client, speech, expected, options, beam_size
):
    rate = 24_000
    assert np.array_equal(client.encode(speech[:1], rate, **options).codes[0], expected[beam_size])
    with client.stream_encode([speech[:1]], rate, **options) as stream:
        assert stream.info.beam_size == beam_size
        codes = np.concatenate([packet.codes[0] for packet in stream], axis=1)
    assert np.array_equal(codes, expected[beam_size])


@pytest.mark.parametrize(("options", "beam_size"), [({}, 1), ({"beam_size": BEAM}, BEAM)])
def test_transcoding_tells_its_search_and_decoding_has_none(client, speech, options, beam_size):
    with client.stream_transcode([speech[:1]], 24_000, **options) as stream:
        assert stream.info.beam_size == beam_size
    codes = client.encode(speech[:1], 24_000).codes
    with client.stream_decode([codes]) as stream:
        assert stream.info.beam_size == 0


def test_the_two_searches_differ_here(expected):
    assert not np.array_equal(expected[1], expected[BEAM])


def test_a_server_may_search_with_the_beam_by_default(serving, beam_bundle, speech, expected):
    with (
        serving(Codec(beam_bundle), beam=True) as server,
        SottoClient(f"127.0.0.1:{server.port}") as client,
    ):
        for options, beam_size in (({}, BEAM), ({"beam_size": 1}, 1)):
            codes = client.encode(speech[:1], 24_000, **options).codes[0]
            assert np.array_equal(codes, expected[beam_size])


@pytest.mark.parametrize("beam_size", [2, -1])
def test_a_beam_that_the_model_lacks_is_refused(client, speech, beam_size):
    with pytest.raises(RemoteError, match="searches with 1 or 3") as refused:
        client.encode(speech[:1], 24_000, beam_size=beam_size)
    assert refused.value.code is grpc.StatusCode.INVALID_ARGUMENT


def test_a_model_says_which_beams_it_has(serving, beam_bundle):
    with (
        serving(Codec(beam_bundle)) as server,
        grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel,
    ):
        stub = codec_pb2_grpc.SpeechCodecStub(channel)
        assert list(stub.GetModel(pb.GetModelRequest()).beam_sizes) == [1, BEAM]
        assert list(stub.ListModels(pb.ListModelsRequest()).models[0].beam_sizes) == [1, BEAM]
