"""What the way through a server costs a long recording, beside the library in the same run."""

import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Final

import numpy as np

from sotto.codec.errors import ShapeError
from sotto.export.runtime import Codec
from sotto.service.client import SottoClient

from .sample import sample_clip
from .server import running_server

SECONDS: Final = 60
_ROUNDS: Final = 5


@dataclass(frozen=True)
class Bulk:
    """`Encode` of a long recording.

    Attributes:
        seconds: Of audio.
        library_x: Seconds of audio the library encodes in a second.
        server_x: The same through `Encode`, both processes on this machine.
        share: Median of server over library, of neighbouring measurements.
        cpu_share: Processor time of the library over that of server and client: what the share is
            when nobody else wants the cores.
    """

    seconds: float
    library_x: float
    server_x: float
    share: float
    cpu_share: float


def measure_bulk(bundle: Path) -> Bulk:
    """Encode a minute of speech with the library and through a server, in turn.

    Raises:
        BackendError: The server did not start.
        ShapeError: The codes differ.
    """
    speech, rate = sample_clip()
    audio = np.resize(speech, SECONDS * rate)
    codec = Codec.load(bundle, beam_size=1)
    times = []
    library_cpu_s = served_cpu_s = 0.0
    with running_server(bundle) as server, SottoClient(server.address) as client:
        for _ in range(_ROUNDS):
            begun, own_s = time.perf_counter(), time.process_time()
            codes = codec.encode(audio[None, None])
            half, half_own_s, its_s = time.perf_counter(), time.process_time(), server.cpu_s()
            found = client.encode(audio, rate, encoding="FLOAT32", beam_size=1).codes
            times.append((half - begun, time.perf_counter() - half))
            library_cpu_s += half_own_s - own_s
            served_cpu_s += time.process_time() - half_own_s + server.cpu_s() - its_s
            if not np.array_equal(codes, found):
                raise ShapeError("the server's codes are not the library's")
    library_s, server_s = (median(column) for column in zip(*times, strict=True))
    share = median(library / served for library, served in times)
    cpu_share = library_cpu_s / served_cpu_s
    return Bulk(SECONDS, SECONDS / library_s, SECONDS / server_s, share, cpu_share)
