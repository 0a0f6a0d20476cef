"""Audio files to `.sotto` files and back, in bounded memory however long they are."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from sotto.codec.audio import Audio, StreamResampler, create_audio, read_blocks
from sotto.codec.bitstream import Errors, Header, SottoReader, create
from sotto.codec.errors import AudioError
from sotto.codec.packing import Codes
from sotto.codec.rates import rescale

if TYPE_CHECKING:
    from .runtime import Codec

READ_SAMPLES = 1 << 16
STEP_FRAMES = 100  # frames per call of the model: two seconds at 50 Hz


@dataclass(frozen=True)
class FileReport:
    """What coding one file came to.

    Attributes:
        seconds: Length of the audio.
        channels: Mono streams in the file.
        sample_rate: Hz, of the audio file.
        num_codebooks: Books in the `.sotto` file.
        num_frames: Frames of codes, per channel.
        num_bytes: Size of the `.sotto` file.
        bitrate: Bits per second of that file, all channels and its own records included.
        times_real_time: Seconds of audio per second of work, reading and writing included.
        lost_frames: Frames that were damaged and are concealed in the audio.
    """

    seconds: float
    channels: int
    sample_rate: int
    num_codebooks: int
    num_frames: int
    num_bytes: int
    bitrate: float
    times_real_time: float
    lost_frames: int = 0


def encode_file(
    codec: "Codec",
    src: str | Path,
    dst: str | Path,
    *,
    num_codebooks: int | None = None,
    bitrate: float | None = None,
    mix_down: bool = False,
) -> FileReport:
    """Encode an audio file of any rate into the `.sotto` file `dst`; stereo as two mono streams.

    Args:
        codec: The model.
        src: Anything `sotto.codec.audio.read_blocks` reads.
        dst: Appears whole, or not at all.
        num_codebooks: Books, 1 to all of the model.
        bitrate: Bits per second of one channel, instead of `num_codebooks`.
        mix_down: Average all channels into one first.

    Raises:
        AudioError: `src` cannot be read, is not finite, or has more than two channels.
        CodesError: The books or the bitrate are out of the model's range.
        BitstreamError: `dst` cannot be written.
    """
    started = time.perf_counter()
    books = codec.info.choose_num_codebooks(num_codebooks, bitrate)
    source, blocks = read_blocks(src, READ_SAMPLES)
    if source.channels > 2 and not mix_down:
        raise AudioError(
            f"{src} has {source.channels} channels; set mix_down=True to average them, or split "
            f"them into files of one or two"
        )
    channels = 1 if mix_down else source.channels
    header = Header.for_model(
        codec.info,
        num_codebooks=books,
        channels=channels,
        source_sample_rate=source.sample_rate,
    )
    encoder = _ChannelEncoder(codec, channels, books)
    resampler = StreamResampler(source.sample_rate, codec.info.sample_rate)
    resampler.push(np.zeros((0, channels), np.float32))  # so that it knows them in an empty file
    with create(dst, header) as writer:
        for block in blocks:
            audio = block.mean(axis=1, keepdims=True) if mix_down else block
            writer.write(encoder.push(resampler.push(audio)))
        writer.write(encoder.push(resampler.flush()))
        writer.write(encoder.flush())
        writer.finish(encoder.num_samples, resampler.samples_in)
    seconds = resampler.samples_in / source.sample_rate
    return _report(
        header,
        writer.num_bytes,
        seconds,
        started,
        sample_rate=source.sample_rate,
        num_frames=writer.num_frames,
    )


def decode_file(
    codec: "Codec",
    src: str | Path,
    dst: str | Path,
    *,
    sample_rate: int | None = None,
    errors: Errors = "raise",
) -> FileReport:
    """Decode a `.sotto` file into the wav or flac file `dst`.

    At the rate of the audio that was encoded, which is the default, the result has exactly as
    many samples as that audio.

    Args:
        codec: The model that made the codes.
        src: A `.sotto` file.
        dst: Appears whole, or not at all.
        sample_rate: Hz of `dst`, if not the source's.
        errors: "raise", or "conceal" to decode damaged or missing blocks as not heard, so that
            what follows keeps its time.

    Raises:
        IdentityError: Another model made the codes.
        BitstreamError: `src` is not a `.sotto` file, or is damaged and errors is "raise".
        AudioError: `sample_rate` is out of range, or `dst` cannot be written.
    """
    started = time.perf_counter()
    with SottoReader(src, errors) as reader:
        header = reader.header
        header.check_model(codec.info)
        rate = header.source_sample_rate if sample_rate is None else sample_rate
        resampler = StreamResampler(header.sample_rate, rate)
        resampler.push(np.zeros((0, header.channels), np.float32))
        total = reader.source_num_samples
        if rate != header.source_sample_rate:
            total = rescale(reader.num_samples, header.sample_rate, rate)
        decoder = _ChannelDecoder(codec, header.channels, reader.num_samples)
        with create_audio(dst, rate, header.channels, total) as out:
            for codes in reader.codes(max_frames=STEP_FRAMES):
                audio = resampler.push(decoder.push(codes))
                out.write(audio[: total - out.num_samples])
            out.write(resampler.flush(total))
        seconds = total / rate
        return _report(
            header,
            reader.num_bytes,
            seconds,
            started,
            sample_rate=rate,
            num_frames=reader.num_frames,
            lost_frames=decoder.lost_frames,
        )


class _ChannelEncoder:
    """Encodes several channels side by side, one batch entry each."""

    def __init__(self, codec: "Codec", channels: int, num_codebooks: int) -> None:
        self.num_samples = 0
        self._codec = codec
        self._num_codebooks = num_codebooks
        self._state = codec.encoder_state(channels)
        self._pending = np.zeros((channels, 0), np.float32)
        self._frames = 0

    def push(self, audio: Audio) -> Codes:
        """Audio [n, C] to codes [C, k, m], in whole steps."""
        self.num_samples += len(audio)
        self._pending = np.concatenate([self._pending, audio.T], axis=1)
        step = STEP_FRAMES * self._codec.info.frame_size
        return self._encode(self._pending.shape[1] // step * STEP_FRAMES)

    def flush(self) -> Codes:
        """The codes that remain, up to the frames that carry the delay."""
        frames = self._codec.info.num_frames(self.num_samples) - self._frames
        missing = frames * self._codec.info.frame_size - self._pending.shape[1]
        self._pending = np.pad(self._pending, ((0, 0), (0, missing)))
        return self._encode(frames)

    def _encode(self, frames: int) -> Codes:
        parts: list[Codes] = [np.empty((len(self._pending), self._num_codebooks, 0), np.int64)]
        size = self._codec.info.frame_size
        for start in range(0, frames, STEP_FRAMES):
            stop = min(start + STEP_FRAMES, frames)
            audio = np.ascontiguousarray(self._pending[:, None, start * size : stop * size])
            codes, self._state = self._codec.encode_step(audio, self._state, self._num_codebooks)
            parts.append(codes[:, : self._num_codebooks])
        self._pending = self._pending[:, frames * size :]
        self._frames += frames
        return np.concatenate(parts, axis=2)


class _ChannelDecoder:
    """Decodes several channels side by side; removes the delay and what exceeds the length."""

    def __init__(self, codec: "Codec", channels: int, num_samples: int) -> None:
        self.lost_frames = 0
        self._codec = codec
        self._state = codec.decoder_state(channels)
        self._skip = codec.info.delay_samples
        self._left = num_samples

    def push(self, codes: Codes) -> Audio:
        """Codes [C, K, m], -1 where lost, to audio [n, C]."""
        self.lost_frames += int(np.count_nonzero(codes[0, 0] < 0))
        audio, self._state = self._codec.decode_step(codes, self._state)
        heard = audio[:, 0, self._skip :][:, : self._left]
        self._skip -= min(self._skip, audio.shape[2])
        self._left -= heard.shape[1]
        return np.ascontiguousarray(heard.T)


def _report(
    header: Header, num_bytes: int, seconds: float, started: float, **rest: int
) -> FileReport:
    return FileReport(
        seconds=seconds,
        channels=header.channels,
        num_codebooks=header.num_codebooks,
        num_bytes=num_bytes,
        bitrate=8 * num_bytes / seconds if seconds else 0.0,
        times_real_time=seconds / max(time.perf_counter() - started, 1e-9),
        **rest,
    )
