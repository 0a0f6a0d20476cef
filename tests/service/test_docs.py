"""The examples in docs/ run as they stand, and the tables are complete."""

import io
import re
from pathlib import Path

from sotto.service.admission import MAX_QUESTIONS
from sotto.service.errors import _STATUS
from sotto.service.logs import LogWriter
from sotto.service.metrics import Metrics
from sotto.service.server import SPARE_CALLS
from sotto.service.settings import Settings, load_settings
from sotto.service.side_calls import MAX_CHECKS, MAX_WATCHERS, PATIENCE_S

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "wire.md").read_text(encoding="utf-8")
OPERATIONS = (DOCS / "operations.md").read_text(encoding="utf-8")


def test_the_example_runs(address, tiny_codec, capsys):
    (example,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    exec(compile(example.replace("127.0.0.1:50551", address), "docs/wire.md", "exec"), {})
    assert tiny_codec.info.name in capsys.readouterr().out


def test_every_setting_is_listed_with_its_default():
    rows = {}
    for names, value in re.findall(
        r"^\| (`\w+`(?:, `\w+`)*) \| ([^|]+?) \|", PAGE + OPERATIONS, re.M
    ):
        rows |= dict.fromkeys(re.findall(r"\w+", names), value)
    assert set(Settings.model_fields) <= set(rows)
    settings = Settings()
    assert rows["address"] == settings.address
    assert rows["models"] == ",".join(settings.models)
    assert {rows[name] for name in ("tls_cert", "tls_key", "tls_client_ca", "tokens")} == {"none"}
    assert (rows["allow_insecure"], rows["reflection"]) == ("false", "true")
    assert (rows["log_format"], rows["log_level"]) == (settings.log_format, settings.log_level)
    for name in ("max_sessions_per_peer", "max_unary_calls", "idle_timeout_s", "drain_grace_s"):
        assert float(rows[name]) == getattr(settings, name)
    for name in ("max_sessions", "max_channels", "max_session_s", "max_audio_s", "max_unary_s"):
        assert float(rows[name]) == getattr(settings, name)
    for name in ("keepalive_s", "keepalive_timeout_s"):
        assert float(rows[name]) == getattr(settings, name)
    assert rows["max_message_bytes"] == f"{settings.max_message_bytes >> 20} MiB"


def test_every_status_is_listed():
    for _, code in _STATUS:
        assert f"| `{code.name}` |" in PAGE


def test_every_metric_is_listed_and_every_one_that_is_listed_exists():
    metrics = Metrics()
    metrics.watch_log(LogWriter(io.StringIO()))
    made = {name for name in metrics.registry._names_to_collectors if name.startswith("sotto_")}
    listed = set(re.findall(r"`(sotto_\w+)` \| ", OPERATIONS))
    assert listed <= made
    assert {metric.name for metric in metrics.registry.collect() if "sotto" in metric.name} == {
        name.removesuffix("_total") for name in listed
    }
    for name in re.findall(r"sotto_\w+(?=[{[])", OPERATIONS):
        assert name in made


def test_the_settings_file_shown_sets_what_it_says(tmp_path):
    (example,) = re.findall(r"```toml\n(.*?)```", OPERATIONS, re.DOTALL)
    file = tmp_path / "sotto.toml"
    file.write_text(example)
    settings = load_settings(config=file)
    assert settings.max_sessions_per_peer == 16
    assert (settings.address, settings.log_format) == ("0.0.0.0:50551", "json")


def test_the_worst_case_of_memory_is_the_one_shown():
    settings = Settings()
    calls = 2 * settings.max_sessions + SPARE_CALLS
    assert f"(2 \N{MULTIPLICATION SIGN} `max_sessions` + {SPARE_CALLS})" in OPERATIONS
    assert (
        f"16 MiB \N{MULTIPLICATION SIGN} {calls} = {settings.max_message_bytes * calls / 2**30:g} GiB"
        in OPERATIONS
    )


def test_the_places_of_health_and_reflection_are_those_shown():
    text = " ".join(OPERATIONS.split())
    assert f"no more than {MAX_QUESTIONS} questions" in text
    assert f"{MAX_CHECKS} places for checks and {MAX_WATCHERS} for watchers" in text
    assert f"is let go after {PATIENCE_S:g} s" in text
