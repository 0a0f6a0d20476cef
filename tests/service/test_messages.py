"""Codes to packets and back."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sotto.codec.errors import BitstreamError, CodecError, CodesError
from sotto.codec.info import ModelInfo
from sotto.service.messages import (
    codes_packet,
    model_info,
    model_message,
    packet_codes,
    packet_pieces,
)

INFO = ModelInfo("m", "1", "0" * 64, 24_000, 480, 12, 1024, 480)


def random_codes(C, K, T, seed=0):
    return np.random.default_rng(seed).integers(0, INFO.codebook_size, (C, K, T))


def test_a_model_survives_the_round_trip():
    assert model_info(model_message(INFO, (1, 4))) == INFO


@given(st.integers(1, 3), st.integers(1, 12), st.integers(0, 40), st.booleans(), st.integers(1, 3))
@settings(max_examples=60, deadline=None)
def test_codes_survive_the_round_trip_whole_and_in_pieces(C, K, T, packed, eights):
    codes = random_codes(C, K, T)
    packet = codes_packet(codes, 7, INFO.codebook_size, packed)
    assert (packet.first_frame, packet.num_frames, packet.num_codebooks) == (7, T, K)
    np.testing.assert_array_equal(packet_codes(packet, INFO, 12, C, packed), codes)
    pieces = list(packet_pieces(packet, INFO, 12, C, packed, 8 * eights))
    assert all(piece.shape[2] <= 8 * eights for piece in pieces)
    np.testing.assert_array_equal(np.concatenate(pieces, axis=2), codes)


def test_a_packet_that_does_not_say_its_depth_has_that_of_the_call():
    packet = codes_packet(random_codes(1, 5, 3), None, INFO.codebook_size, True)
    packet.ClearField("num_codebooks")
    assert packet_codes(packet, INFO, 5, 1, True).shape == (1, 5, 3)


def test_integers_may_say_that_a_code_did_not_arrive():
    codes = random_codes(1, 2, 3)
    codes[0, 1, 2] = -1
    packet = codes_packet(codes, 0, INFO.codebook_size, packed=False)
    np.testing.assert_array_equal(packet_codes(packet, INFO, 2, 1, False), codes)
    with pytest.raises(CodesError):
        codes_packet(codes, 0, INFO.codebook_size, packed=True)


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize(
    "change",
    [
        {"num_frames": 4},
        {"num_frames": -1},
        {"num_frames": 2**31 - 1},
        {"num_codebooks": 13},
        {"num_codebooks": -1},
        {"num_codebooks": 2},
        {"channels": []},
    ],
)
def test_a_packet_that_contradicts_itself_is_rejected(packed, change):
    packet = codes_packet(random_codes(1, 3, 3), 0, INFO.codebook_size, packed)
    for field, value in change.items():
        packet.ClearField(field)
        if value != []:
            setattr(packet, field, value)
    with pytest.raises(CodecError):
        packet_codes(packet, INFO, 12, 1, packed)


def test_bits_are_not_taken_for_integers():
    packet = codes_packet(random_codes(1, 3, 3), 0, INFO.codebook_size, packed=True)
    with pytest.raises(CodesError, match="0 values"):
        packet_codes(packet, INFO, 12, 1, packed=False)


def test_padding_that_is_not_zero_is_damage():
    packet = codes_packet(random_codes(1, 1, 1), 0, INFO.codebook_size, packed=True)
    raw = bytearray(packet.channels[0].packed)
    raw[-1] |= 1
    packet.channels[0].packed = bytes(raw)
    with pytest.raises(BitstreamError, match="padding"):
        packet_codes(packet, INFO, 12, 1, packed=True)


@pytest.mark.parametrize("value", [-2, 1024, 2**31 - 1])
def test_integers_out_of_range_are_rejected(value):
    packet = codes_packet(random_codes(1, 1, 2), 0, INFO.codebook_size, packed=False)
    packet.channels[0].values[1] = value
    with pytest.raises(CodesError):
        packet_codes(packet, INFO, 12, 1, packed=False)
