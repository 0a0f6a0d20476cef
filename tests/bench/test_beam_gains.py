"""What a beam gains is measured on the model's own books, and no frame gets worse."""

import math

import pytest
import torch

from sotto.bench.beam_gains import search_clips
from sotto.codec.quantizers import QUANTIZERS


@pytest.fixture(scope="module", params=[None, 5])
def quantizer(request):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        quantizer = QUANTIZERS.create(
            "rvq", {"codebook_dim": request.param}, latent_dim=8, num_codebooks=4, codebook_size=16
        )
    quantizer.start(clips(1)[0][0], torch.Generator().manual_seed(0))
    return quantizer.eval()


def clips(count=3):
    random = torch.Generator().manual_seed(1)
    return [torch.randn(1, 200, 8, generator=random) for _ in range(count)]


def test_gains_are_those_of_searching_for_each_number_of_books(quantizer):
    found = search_clips(quantizer, clips(), 4)
    assert [trial.label for trial in found] == [
        "1 book, beam 4",
        "2 books, beam 4",
        "3 books, beam 4",
        "4 books, beam 4",
    ]
    for k, trial in enumerate(found, start=1):
        greedy = error(quantizer, k, lambda clip: quantizer.encode(clip))
        beam = error(quantizer, k, lambda clip, k=k: quantizer.search(clip, torch.tensor([k]), 4))
        assert trial.gain_db == pytest.approx(10 * math.log10(greedy / beam), abs=1e-4)
        assert trial.frames == 600
        assert trial.worse == 0
        assert trial.gain_db >= trial.worst_db > -1e-4


def error(quantizer, books, code):
    """Squared error of all clips in the space of the first books."""
    total = 0.0
    for clip in clips():
        rows = zip(quantizer.tables()[:books], code(clip)[0], strict=False)
        total += (quantizer.narrow(clip) - sum(t[c] for t, c in rows)).square().sum().item()
    return total


def test_there_is_nothing_to_gain_with_one_book_and_more_with_more(quantizer):
    gains = [trial.gain_db for trial in search_clips(quantizer, clips(), 4)]
    assert gains[0] == pytest.approx(0, abs=1e-4)
    assert gains[3] > gains[1] > 0
