"""Settings come from the environment and are checked."""

import pytest
from pydantic import ValidationError

from sotto.codec.errors import ConfigError
from sotto.service.models import Models
from sotto.service.settings import Settings, load_settings


def test_by_default_only_this_machine_is_served():
    assert Settings().address == "127.0.0.1:50551"


def test_variables_set_them(monkeypatch):
    monkeypatch.setenv("SOTTO_ADDRESS", "127.0.0.1:0")
    monkeypatch.setenv("SOTTO_MODELS", "speech-24khz, other")
    monkeypatch.setenv("SOTTO_MAX_SESSIONS", "5")
    settings = Settings()
    assert (settings.address, settings.max_sessions) == ("127.0.0.1:0", 5)
    assert settings.models == ("speech-24khz", "other")


@pytest.mark.parametrize(
    "bad",
    [
        {"max_sessions": 0},
        {"workers": -1},
        {"idle_timeout_s": 0},
        {"max_audio_s": float("inf")},
        {"max_message_bytes": 10},
        {"models": ""},
        {"models": ()},
        {"max_session": 5},
        {"address": "127.0.0.1:65536"},
        {"address": "127.0.0.1:-1"},
        {"address": "127.0.0.1"},
        {"address": ":50551"},
    ],
)
def test_values_that_cannot_work_are_refused(bad):
    with pytest.raises(ValidationError):
        Settings(**bad)
    with pytest.raises(ConfigError, match=next(iter(bad))):
        load_settings(**bad)


def test_what_is_chosen_goes_before_the_environment_unless_it_is_none(monkeypatch):
    monkeypatch.setenv("SOTTO_WORKERS", "3")
    monkeypatch.setenv("SOTTO_THREADS", "3")
    settings = load_settings(workers=5, threads=None)
    assert (settings.workers, settings.threads) == (5, 3)


def test_two_models_of_one_name_are_refused(tiny_codec):
    with pytest.raises(ConfigError, match="two models"):
        Models([tiny_codec, tiny_codec])
    with pytest.raises(ConfigError, match="no model"):
        Models([])
