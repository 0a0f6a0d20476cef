"""Audio files to `.sotto` files and back through a server, in bounded memory."""

from pathlib import Path
from typing import Unpack

import numpy as np

from sotto.codec.audio import create_audio, read_blocks, read_info
from sotto.codec.bitstream import Header, SottoReader, create
from sotto.codec.rates import rescale

from .client import SottoClient
from .client_types import EncodeOptions, Totals

CHUNK_MS = 80
DECODE_FRAMES = 50


def encode_remote(
    client: SottoClient, src: str | Path, dst: str | Path, **options: Unpack[EncodeOptions]
) -> Totals:
    """Stream an audio file to the server and write the codes it returns as a `.sotto` file.

    Args:
        client: Connected to a server.
        src: Anything `sotto.codec.audio.read_blocks` reads.
        dst: Appears whole, or not at all.
        **options: Model, bitrate or books, and mix-down; see `EncodeOptions`.

    Raises:
        AudioError: `src` cannot be read.
        RemoteError: The server refused or ended the call.
    """
    source = read_info(src)
    _, blocks = read_blocks(src, source.sample_rate * CHUNK_MS // 1000)
    chunks = (np.ascontiguousarray(block.T) for block in blocks)  # [n, C] -> [C, n]
    with client.stream_encode(
        chunks, source.sample_rate, channels=source.channels, **options
    ) as stream:
        model = stream.info.model
        header = Header.for_model(
            model,
            num_codebooks=stream.info.num_codebooks,
            channels=stream.info.channels,
            source_sample_rate=source.sample_rate,
        )
        with create(dst, header) as writer:
            for packet in stream:
                writer.write(packet.codes)
            totals = stream.totals
            assert totals is not None  # the stream ended well, so it came with its totals
            sent = totals.num_samples
            writer.finish(rescale(sent, source.sample_rate, model.sample_rate), sent)
    return totals


def decode_remote(client: SottoClient, src: str | Path, dst: str | Path) -> Totals:
    """Stream the codes of a `.sotto` file to the server and write the audio it returns.

    Args:
        client: Connected to a server that has the model of `src`.
        src: A `.sotto` file.
        dst: wav or flac, at the rate and length of the audio that was encoded; appears whole, or
            not at all.

    Raises:
        BitstreamError: `src` is damaged.
        RemoteError: The server refused or ended the call.
    """
    with SottoReader(src) as reader:
        header, total = reader.header, reader.source_num_samples
        with (
            client.stream_decode(
                reader.codes(max_frames=DECODE_FRAMES),
                channels=header.channels,
                model=header.model,
                identity=header.identity,
                sample_rate=header.source_sample_rate,
                num_samples=total,
            ) as stream,
            create_audio(dst, header.source_sample_rate, header.channels, total) as out,
        ):
            for audio in stream:
                out.write(audio.T)
        totals = stream.totals
        assert totals is not None
        return totals
