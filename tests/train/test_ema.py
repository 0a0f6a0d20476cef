import torch
from torch import nn

from sotto.train.ema import MovingAverage


def build(value: float) -> nn.Linear:
    module = nn.Linear(1, 1, bias=False)
    nn.init.constant_(module.weight, value)
    return module


def test_the_average_lies_between_its_past_and_the_module():
    average = MovingAverage(build(0.0), decay=0.9)
    average.update(build(1.0), settled=True)
    torch.testing.assert_close(average.module.weight, torch.full((1, 1), 0.1))


def test_while_the_latents_still_move_the_module_is_copied():
    average = MovingAverage(build(0.0), decay=0.9)
    average.update(build(1.0), settled=False)
    assert average.module.weight.item() == 1.0
