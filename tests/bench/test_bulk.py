"""A long recording through a server has the library's codes, and both are measured."""

from sotto.bench.bulk import SECONDS, measure_bulk


def test_a_minute_through_the_server_is_measured_beside_the_library(tiny_bundle):
    bulk = measure_bulk(tiny_bundle)
    assert bulk.seconds == SECONDS
    assert min(bulk.library_x, bulk.server_x, bulk.share, bulk.cpu_share) > 0
