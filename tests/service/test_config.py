"""Flags, variables, file, defaults: which goes before which, and what is printed of them."""

import tomllib

import pytest

from sotto.codec.errors import ConfigError
from sotto.service.print_config import describe, unknown_variables
from sotto.service.settings import Settings, load_settings


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "sotto.toml"
    path.write_text('threads = 2\nworkers = 2\nmax_channels = 2\nmodels = ["one", "two"]\n')
    return path


@pytest.mark.parametrize("by_variable", [True, False])
def test_flags_go_before_variables_before_the_file_before_defaults(monkeypatch, file, by_variable):
    monkeypatch.setenv("SOTTO_THREADS", "3")
    monkeypatch.setenv("SOTTO_WORKERS", "3")
    if by_variable:
        monkeypatch.setenv("SOTTO_CONFIG", str(file))
    settings = load_settings(config=None if by_variable else file, threads=4, max_channels=None)
    assert (settings.threads, settings.workers, settings.max_channels) == (4, 3, 2)
    assert settings.models == ("one", "two")
    assert settings.max_sessions == Settings.model_fields["max_sessions"].default


def test_a_chosen_file_goes_before_the_one_in_the_environment(monkeypatch, file):
    monkeypatch.setenv("SOTTO_CONFIG", "/no/such/file")
    assert load_settings(config=file).workers == 2
    with pytest.raises(ConfigError, match="settings file /no/such/file"):
        load_settings()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("max_session = 5", "max_session is no setting; is max_sessions meant"),
        ("threads = 0", "threads: .*greater than 0"),
        ("threads = ", "expected TOML"),
        ("[limits]\nthreads = 1", "limits is no setting$"),
    ],
)
def test_a_file_that_cannot_work_is_refused(file, text, reason):
    file.write_text(text)
    with pytest.raises(ConfigError, match=reason):
        load_settings(config=file)


def test_what_is_printed_is_a_settings_file_that_says_where_values_came_from(
    monkeypatch, file, tmp_path
):
    monkeypatch.setenv("SOTTO_WORKERS", "3")
    settings = load_settings(config=file, threads=4)
    text = describe(settings, ["threads"], file)
    lines = {line.split()[0]: line.partition("# ")[2] for line in text.splitlines()}
    assert lines["threads"] == "flag"
    assert lines["workers"] == "SOTTO_WORKERS"
    assert lines["models"] == str(file)
    assert lines["max_sessions"] == "default"
    monkeypatch.delenv("SOTTO_WORKERS")
    again = tmp_path / "again.toml"
    again.write_text(text)
    assert load_settings(config=again) == settings
    assert "tls_key" not in tomllib.loads(text)


def test_the_content_of_secret_files_is_not_printed(tmp_path):
    tokens = tmp_path / "tokens"
    tokens.write_text("alice sha256:" + "ab" * 32)
    text = describe(load_settings(tokens=tokens), ["tokens"])
    assert str(tokens) in text
    assert "abab" not in text


def test_a_variable_that_sets_nothing_is_told_with_the_name_that_was_meant(monkeypatch):
    monkeypatch.setenv("SOTTO_MAX_SESSION", "5")
    monkeypatch.setenv("SOTTO_THREADS", "1")
    monkeypatch.setenv("SOTTO_TOKEN", "secret")
    (problem,) = unknown_variables()
    assert problem == "SOTTO_MAX_SESSION sets nothing; is SOTTO_MAX_SESSIONS meant?"
