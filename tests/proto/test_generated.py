"""The committed modules are what protoc makes of codec.proto."""

from pathlib import Path

import pytest

from sotto.proto import generate
from sotto.proto.v1 import codec_pb2


def test_committed_modules_equal_regenerated_ones(tmp_path: Path) -> None:
    committed = Path(codec_pb2.__file__).parent
    for path in generate.generate(tmp_path):
        assert (committed / path.name).read_text() == path.read_text(), "run `make proto`"


def test_generated_modules_import_through_the_package(tmp_path: Path) -> None:
    grpc_module = generate.generate(tmp_path)[2]
    assert "from sotto.proto.v1 import codec_pb2" in grpc_module.read_text()


def test_a_broken_proto_is_reported_in_protocs_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "v1").mkdir()
    (tmp_path / "v1" / "codec.proto").write_text("not a proto")
    monkeypatch.setattr(generate, "HERE", tmp_path)
    with pytest.raises(RuntimeError, match=r"codec\.proto:1"):
        generate.generate(tmp_path)
