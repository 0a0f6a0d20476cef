"""The grpcurl lines of the README: with grpcurl as written, and always through reflection.

Where grpcurl is not installed, a small reflection client does what each line asks for.
"""

import json
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
from google.protobuf import json_format
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
LINES = re.findall(r"^grpcurl .*$", README, re.MULTILINE)
ADDRESS = "127.0.0.1:50551"
EXPECTED = {
    "list": "sotto.v1.SpeechCodec",
    "sotto.v1.SpeechCodec/ListModels": '"identity"',
    "grpc.health.v1.Health/Check": '"SERVING"',
    "sotto.v1.SpeechCodec/Encode": '"numFrames"',
}


def by_reflection(channel, words):
    """What grpcurl prints for `-plaintext [-d JSON] HOST:PORT list|METHOD`."""
    database, method = ProtoReflectionDescriptorDatabase(channel), words[-1]
    if method == "list":
        return "\n".join(database.get_services())
    service, _, name = method.partition("/")
    described = DescriptorPool(database).FindServiceByName(service).methods_by_name[name]
    request = GetMessageClass(described.input_type)()
    if "-d" in words:
        json_format.Parse(words[words.index("-d") + 1], request)
    call = channel.unary_unary(
        f"/{method}",
        request.__class__.SerializeToString,
        GetMessageClass(described.output_type).FromString,
    )
    return json_format.MessageToJson(call(request, timeout=20))


def test_the_readme_shows_each_kind_of_line():
    assert {shlex.split(line)[-1] for line in LINES} == set(EXPECTED)
    for line in LINES:
        words = shlex.split(line)
        assert words[1] == "-plaintext"
        assert words[-2] == ADDRESS


@pytest.mark.parametrize("line", LINES, ids=lambda line: shlex.split(line)[-1])
def test_the_line_gives_what_it_should_through_reflection(channel, line):
    words = shlex.split(line)
    said = by_reflection(channel, words)
    assert EXPECTED[words[-1]] in said
    if words[-1] != "list":
        json.loads(said)


@pytest.mark.skipif(shutil.which("grpcurl") is None, reason="grpcurl is not installed")
@pytest.mark.parametrize("line", LINES, ids=lambda line: shlex.split(line)[-1])
def test_the_line_works_as_written(address, line):
    words = shlex.split(line.replace(ADDRESS, address))
    done = subprocess.run(words, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert EXPECTED[words[-1]] in done.stdout
