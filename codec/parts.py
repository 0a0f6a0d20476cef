"""Every encoder, quantizer and decoder by name: importing this module registers them all."""

from . import pyramid, seanet
from .decoder import DECODERS
from .encoder import ENCODERS
from .quantizers import QUANTIZERS

__all__ = ["DECODERS", "ENCODERS", "QUANTIZERS", "pyramid", "seanet"]
