"""The soak test passes on a sound server, and finds what it looks for."""

from collections import Counter

import pytest

from sotto.bench.soak import growth, problems
from sotto.bench.soak_run import Sample, Soak, soak


def test_callers_who_come_go_and_are_killed_leave_a_sound_server_sound(tiny_bundle):
    found = soak(tiny_bundle, 6.0, callers=4, processes=2, kill_every_s=(1.5, 2.0))
    assert found.killed >= 1
    assert found.calls > 0
    assert not found.errors
    assert (found.left_open, found.unaccounted) == (0, 0)
    assert set(found.statuses) <= {"OK", "CANCELLED"}


def made(memory_mb=lambda second: 100.0, **changed):
    samples = [Sample(float(second), memory_mb(second), 4) for second in range(200)]
    sound = {"samples": samples, "calls": 9, "left_open": 0, "unaccounted": 0}
    return Soak(**(sound | changed))


def test_a_sound_run_has_no_problems():
    assert problems(made(statuses={"OK": 9, "CANCELLED": 3})) == []


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"errors": Counter({"other codes": 2})}, "2 calls: other codes"),
        ({"calls": 0}, "no call was checked"),
        ({"left_open": 1}, "1 calls left open, 0 unaccounted for"),
        ({"unaccounted": 2}, "0 calls left open, 2 unaccounted for"),
        ({"statuses": {"INTERNAL": 1}}, "1 calls ended as INTERNAL"),
        ({"memory_mb": lambda second: 100 + second / 5}, "memory grew by 22.8 %"),
    ],
)
def test_each_kind_of_trouble_is_a_problem(changed, said):
    assert problems(made(**changed)) == [said]


def test_growth_of_the_first_minute_does_not_count():
    assert growth(made(lambda second: 50.0 if second < 58 else 100.0)) == 0
