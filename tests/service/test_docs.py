"""The example in docs/wire.md runs as it stands, and its tables are complete."""

import re
from pathlib import Path

from sotto.service.errors import _STATUS
from sotto.service.settings import Settings

PAGE = (Path(__file__).parents[2] / "docs" / "wire.md").read_text(encoding="utf-8")


def test_the_example_runs(address, tiny_codec, capsys):
    (example,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    exec(compile(example.replace("127.0.0.1:50551", address), "docs/wire.md", "exec"), {})
    assert tiny_codec.info.name in capsys.readouterr().out


def test_every_setting_is_listed_with_its_default():
    rows = dict(re.findall(r"^\| `(\w+)` \| ([^|]+?) \|", PAGE, re.MULTILINE))
    assert set(Settings.model_fields) <= set(rows)
    settings = Settings()
    assert rows["address"] == settings.address
    assert rows["models"] == ",".join(settings.models)
    for name in ("max_sessions", "max_channels", "max_session_s", "max_audio_s", "max_unary_s"):
        assert float(rows[name]) == getattr(settings, name)
    assert rows["max_message_bytes"] == f"{settings.max_message_bytes >> 20} MiB"


def test_every_status_is_listed():
    for _, code in _STATUS:
        assert f"| `{code.name}` |" in PAGE
