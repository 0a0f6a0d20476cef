"""The `buf curl` lines of the documents, run as written; and the grpcurl lines through it."""

import base64
import json
import os
import re
import shlex
import subprocess
from pathlib import Path

import numpy as np
import pytest
import soundfile

from sotto.codec.packing import unpack
from sotto.service.client import SottoClient
from sotto.service.formats import RawFormat, decode_samples
from sotto.service.tokens import add_line, new_token

from .certificates import Authority
from .npm import packages

ROOT = Path(__file__).parents[2]
ADDRESS, TLS_ADDRESS = "127.0.0.1:50551", "sotto.example:50551"
BUF = {"@bufbuild/buf": "1.75.0"}
MULAW = ("f39/f39/f38=", "/w8fLz9PX28=")  # what the lines send


def commands(page):
    """The shell commands of a page that call buf, each with all its lines."""
    text = (ROOT / page).read_text(encoding="utf-8")
    found, lines = [], []
    for line in "\n\n".join(re.findall(r"```sh\n(.*?)```", text, re.DOTALL)).splitlines():
        lines.append(line)
        command = "\n".join(lines)
        if not command.rstrip().endswith("|") and is_whole(command):
            found.append(command)
            lines = []
    return [command for command in found if "buf curl" in command]


def is_whole(command):
    try:
        shlex.split(command, comments=True)
    except ValueError:  # a quotation goes on
        return False
    return True


README, WIRE, OPERATIONS = map(commands, ("README.md", "docs/wire.md", "docs/operations.md"))


def method_of(command):
    """What a command calls, or the option that asks what there is."""
    return re.search(r"(?<=SpeechCodec/)\w+|--list-\w+", command).group()


@pytest.fixture(scope="module")
def shell():
    """Runs a command as a shell with buf would; gives the JSON values it prints, or its text."""
    folder = packages("buf", BUF) / "node_modules" / ".bin"
    path = f"{folder}{os.pathsep}{os.environ['PATH']}"

    def run(command, cwd=None, **variables):
        environment = {**os.environ, "PATH": path, **variables}
        done = subprocess.run(
            command,
            shell=True,
            cwd=cwd,
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        return values(done.stdout) if done.stdout.startswith("{") else done.stdout

    return run


def values(text):
    found, decoder = [], json.JSONDecoder()
    while text := text.strip():
        value, end = decoder.raw_decode(text)
        found.append(value)
        text = text[end:]
    return found


def only(found, key):
    """What the responses with that field hold."""
    return [value[key] for value in found if key in value]


def codes_of(packet):
    """INT32 codes [K, n] of a packet of one channel."""
    (channel,) = packet["channels"]
    return np.array(channel["values"]).reshape(packet["numFrames"], -1).T


def unpacked(packet, info):
    """Packed codes [K, n] of a packet of one channel."""
    (channel,) = packet["channels"]
    content = base64.b64decode(channel["packed"])
    return unpack(content, packet["numCodebooks"], packet["numFrames"], info.codebook_size)


@pytest.fixture(scope="module")
def client(address):
    with SottoClient(address) as client:
        yield client


def encoded(client, *contents, **options):
    """Codes [K, n] of mu-law samples, as the Python client gets them."""
    audio = decode_samples(b"".join(map(base64.b64decode, contents)), RawFormat.MULAW, 1)[:, 0]
    return client.encode(audio, 8000, encoding="MULAW", **options).codes[0]


def test_the_documents_show_every_kind_of_line():
    assert [method_of(line) for line in README] == ["ListModels", "StreamingEncode"]
    shown = ["--list-methods", "StreamingEncode", "StreamingDecode", "Encode"]
    assert [method_of(line) for line in WIRE] == shown
    assert [method_of(line) for line in OPERATIONS] == ["ListModels"]


def test_the_lines_of_the_readme(shell, address, client, tiny_codec):
    models, stream = (shell(line.replace(ADDRESS, address)) for line in README)
    assert models[0]["models"][0]["identity"] == tiny_codec.info.identity
    codes = np.hstack([unpacked(packet, tiny_codec.info) for packet in only(stream, "codes")])
    assert codes.tolist() == encoded(client, MULAW[0]).tolist()
    assert only(stream, "totals")[0]["numSamples"] == "8"


def test_the_list_of_methods(shell, address):
    assert "sotto.v1.SpeechCodec/StreamingTranscode" in shell(WIRE[0].replace(ADDRESS, address))


def test_a_stream_is_encoded_with_a_change_of_its_rate(shell, address, client):
    found = shell(WIRE[1].replace(ADDRESS, address))
    assert list(found[0]) == ["config"]
    codes = np.hstack([codes_of(packet) for packet in only(found, "codes")])
    assert codes.tolist() == encoded(client, *MULAW, num_codebooks=3).tolist()
    assert only(found, "totals")[0]["numSamples"] == "16"


def test_a_stream_is_decoded_though_a_frame_is_lost(shell, address, client):
    found = shell(WIRE[2].replace(ADDRESS, address))
    audio = b"".join(base64.b64decode(packet["audioContent"]) for packet in only(found, "audio"))
    codes = np.array([[1, 4, -1], [2, 5, -1], [3, 6, -1]])
    heard = client.stream_decode([codes], packed=False, encoding="LINEAR16")
    expected = np.concatenate(list(heard), axis=1)
    assert np.array_equal(decode_samples(audio, RawFormat.LINEAR16, 1).T, expected)
    assert int(only(found, "totals")[0]["numSamples"]) == expected.shape[1] > 0


def test_a_recording_is_encoded(shell, address, client, tiny_codec, tmp_path):
    noise = 0.1 * np.random.default_rng(0).standard_normal(5000)
    soundfile.write(tmp_path / "speech.wav", noise, 16_000)
    (found,) = shell(WIRE[3].replace(ADDRESS, address), cwd=tmp_path)
    audio, rate = soundfile.read(tmp_path / "speech.wav", dtype="float32")
    expected = client.encode(audio, rate).codes[0]
    assert unpacked(found["codes"], tiny_codec.info).tolist() == expected.tolist()


def test_a_server_with_tls_and_tokens_is_asked(shell, serving, tiny_codec, tmp_path):
    authority = Authority(tmp_path)
    pair, path, (token, line) = authority.issue("server"), tmp_path / "tokens", new_token("tool")
    add_line(path, line)
    command = OPERATIONS[0].replace("ca.crt", authority.ca.name)
    with serving(tls_cert=pair.cert, tls_key=pair.key, tokens=path) as server:
        here = command.replace(TLS_ADDRESS, f"localhost:{server.port}")
        (found,) = shell(here, cwd=tmp_path, SOTTO_TOKEN=token)
        with pytest.raises(AssertionError, match="failed to find service"):
            shell(here, cwd=tmp_path, SOTTO_TOKEN="another")
    assert found["models"][0]["name"] == tiny_codec.info.name


def grpcurl_lines():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    return re.findall(r"^grpcurl .*$", text, re.MULTILINE)


@pytest.mark.parametrize("line", grpcurl_lines(), ids=lambda line: shlex.split(line)[-1])
def test_a_grpcurl_line_works_when_buf_curl_says_it(shell, address, line):
    """The same JSON, server and method; grpcurl itself comes neither from pip nor from npm."""
    _, plain, *options, server, method = shlex.split(line)
    assert (plain, server) == ("-plaintext", ADDRESS)
    what = ["--list-services", f"http://{address}"]
    if method != "list":
        what = [*options, f"http://{address}/{method}"]
    found = shell(shlex.join(["buf", "curl", "--protocol", "grpc", *what]))
    if method == "list":
        assert "sotto.v1.SpeechCodec" in found.split()
    else:
        ((answer,), name) = found, method.partition("/")[2]
        assert {"ListModels": "models", "Check": "status", "Encode": "codes"}[name] in answer
