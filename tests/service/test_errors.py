"""One table from exception to status."""

import logging

import grpc
import pytest

from sotto.codec import errors as codec_errors
from sotto.proto.v1 import codec_pb2 as pb
from sotto.service.errors import RemoteError, status_of
from sotto.service.models import Models

OUR_FAULT = {"CodecError", "BundleError", "BackendError", "StreamClosedError"}
KINDS = [
    kind
    for kind in vars(codec_errors).values()
    if isinstance(kind, type) and issubclass(kind, Exception)
]


@pytest.mark.parametrize("kind", KINDS)
def test_every_exception_of_the_library_has_a_status(kind):
    code, details = status_of(kind("what came, what was expected"), "id")
    assert (code is grpc.StatusCode.INTERNAL) == (kind.__name__ in OUR_FAULT)
    assert ("what came" in details) == (code is not grpc.StatusCode.INTERNAL)


def test_long_details_are_cut_so_that_they_fit_a_header():
    assert len(status_of(codec_errors.AudioError("x" * 100_000), "id")[1]) < 2000


def test_an_unknown_exception_tells_the_client_only_where_the_log_has_it(stub, monkeypatch, caplog):
    def broken(self, name, identity=""):
        raise ZeroDivisionError("secret path /etc/passwd")

    monkeypatch.setattr(Models, "get", broken)
    with caplog.at_level(logging.ERROR), pytest.raises(grpc.RpcError) as caught:
        stub.GetModel(pb.GetModelRequest())
    request_id = dict(caught.value.trailing_metadata())["sotto-request-id"]
    assert caught.value.code() is grpc.StatusCode.INTERNAL
    assert request_id in caught.value.details()
    assert "secret" not in str(caught.value)
    record = next(record for record in caplog.records if request_id in record.getMessage())
    assert record.exc_info is not None
    assert "secret" in str(record.exc_info[1])


def test_a_remote_error_names_its_status():
    error = RemoteError(grpc.StatusCode.NOT_FOUND, "no model", "ab")
    assert str(error) == "NOT_FOUND: no model"
    assert isinstance(error, codec_errors.CodecError)
