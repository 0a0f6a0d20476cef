"""Cutting, joining and re-rating `.sotto` files without a model: codes are copied, not decoded."""

from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path

from ..errors import CodesError, ConfigError
from ..rates import rescale
from .header import Header
from .reader import SottoReader
from .writer import create


def cut(
    src: str | Path, dst: str | Path, start_s: float = 0.0, stop_s: float | None = None
) -> None:
    """Copy the part of `src` from `start_s` to `stop_s` into the file `dst`.

    The start moves back to the beginning of its frame, the stop is exact to the sample. A decoder
    begins the new file from its initial state, so its first frames may sound different from the
    same stretch of `src`; the codes are the same.

    Raises:
        ConfigError: An empty part, or one that begins after the end.
        BitstreamError: `src` is damaged where it is read.
    """
    with SottoReader(src) as reader:
        header = reader.header
        start = reader.frame_at(start_s)
        stop_sample = reader.num_samples
        if stop_s is not None:
            reader.frame_at(stop_s)  # rejects what is not a time
            stop_sample = min(stop_sample, round(stop_s * header.sample_rate))
        num_samples = stop_sample - start * header.frame_size
        if start_s * header.sample_rate >= stop_sample or num_samples <= 0:
            stop_text = "its end" if stop_s is None else f"{stop_s:g} s"
            length_s = reader.num_samples / header.sample_rate
            raise ConfigError(
                f"nothing to cut from {start_s:g} s to {stop_text}: {src} has {length_s:g} s"
            )
        source_start = _source_place(reader, start * header.frame_size)
        source_stop = _source_place(reader, stop_sample)
        with create(dst, header) as writer:
            for codes in reader.codes(start, start + header.num_frames(num_samples)):
                writer.write(codes)
            writer.finish(num_samples, source_stop - source_start)


def join(sources: Sequence[str | Path], dst: str | Path) -> None:
    """Write one file that holds `sources` one after the other.

    Every part but the last is filled up to a whole frame, and the frames that carry only the
    delay after its end make room for the next part, so nothing is inserted between the two and
    parts that were cut from one file at whole frames join to that file again.

    Raises:
        ConfigError: No sources, or files whose model, books, channels or rates differ.
        BitstreamError: A source is damaged.
    """
    if not sources:
        raise ConfigError("nothing to join; give at least one .sotto file")
    header = _common_header(sources)
    parts = [path for path in sources if _num_samples(path)]
    with create(dst, header) as writer:
        num_samples = source_num_samples = 0
        for place, path in enumerate(parts, start=1):
            with SottoReader(path) as reader:
                begin = num_samples
                frames = -(-reader.num_samples // header.frame_size)
                last = place == len(parts)
                for codes in reader.codes(0, None if last else frames):
                    writer.write(codes)
                num_samples += reader.num_samples if last else frames * header.frame_size
                source_num_samples = _source_length(header, begin, reader)
        writer.finish(num_samples, source_num_samples)


def rerate(src: str | Path, dst: str | Path, num_codebooks: int) -> None:
    """Copy `src` into the file `dst` with only its first `num_codebooks` books.

    Raises:
        CodesError: `src` has fewer books.
        BitstreamError: `src` is damaged.
    """
    with SottoReader(src) as reader:
        books = reader.header.num_codebooks
        if not 1 <= num_codebooks <= books:
            raise CodesError(f"num_codebooks={num_codebooks}, but {src} has 1 to {books}")
        with create(dst, replace(reader.header, num_codebooks=num_codebooks)) as writer:
            for codes in reader.codes():
                writer.write(codes[:, :num_codebooks])
            writer.finish(reader.num_samples, reader.source_num_samples)


def _source_place(reader: SottoReader, sample: int) -> int:
    """Where in the source the model's `sample` lies; the end lies at the end."""
    if sample == reader.num_samples:
        return reader.source_num_samples
    header = reader.header
    place = rescale(sample, header.sample_rate, header.source_sample_rate)
    return min(place, reader.source_num_samples)


def _source_length(header: Header, begin: int, reader: SottoReader) -> int:
    """Length at the source's rate of a joined file whose last part, `reader`, begins at `begin`."""
    rates = header.sample_rate, header.source_sample_rate
    if reader.header.source_sample_rate == header.source_sample_rate:
        return rescale(begin, *rates) + reader.source_num_samples
    return rescale(begin + reader.num_samples, *rates)


def _num_samples(path: str | Path) -> int:
    with SottoReader(path) as reader:
        return reader.num_samples


def _common_header(sources: Sequence[str | Path]) -> Header:
    """The first file's header; ConfigError if another's codes could not follow it."""
    headers = []
    for path in sources:
        with SottoReader(path) as reader:
            headers.append(reader.header)
    first = headers[0]
    for path, header in zip(sources, headers, strict=True):
        alike = replace(
            header,
            source_sample_rate=first.source_sample_rate,
            block_frames=first.block_frames,
        )
        for field in fields(Header):
            ours, theirs = getattr(first, field.name), getattr(alike, field.name)
            if ours != theirs:
                raise ConfigError(
                    f"{path} has {field.name}={theirs}, but {sources[0]} has {ours}; "
                    f"only files of one model, with equal books and channels, join "
                    f"(rerate lowers the number of books)"
                )
    return first
