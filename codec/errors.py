"""The exceptions a caller of Sotto can meet.

CodecError
├── ConfigError          an option, a name or a value in a configuration
├── ShapeError           an array whose axes or length do not fit
├── AudioError           audio that cannot be coded: not finite, unreadable, wrong rate
├── CodesError           codes out of range, or books that are not a prefix
├── BitstreamError       a damaged, truncated or unknown ``.sotto`` file or packet
│   └── IdentityError    codes made by another model
├── BundleError          a model folder that is missing something or does not match itself
│   └── ModelNotFoundError  no model of that name
├── BackendError         onnxruntime or one of its providers is missing
└── StreamClosedError    a stream was used after its end

All but the last two are also `ValueError`; a message says what came, what was expected and what
to do about it.
"""


class CodecError(Exception):
    """Base of everything Sotto raises on purpose."""


class ConfigError(CodecError, ValueError):
    """A configuration holds an unknown name or a value that cannot work."""


class ShapeError(CodecError, ValueError):
    """An array has the wrong number of axes or a length that does not fit."""


class AudioError(CodecError, ValueError):
    """Audio that cannot be coded."""


class CodesError(CodecError, ValueError):
    """Codes outside their range, or books that are not a prefix of the model's books."""


class BitstreamError(CodecError, ValueError):
    """A file or packet is damaged, truncated or of an unknown version."""


class IdentityError(BitstreamError):
    """The codes were made by another model than the one asked to decode them."""


class BundleError(CodecError, ValueError):
    """A model folder is incomplete or contradicts itself."""


class ModelNotFoundError(BundleError):
    """No model of the requested name exists."""


class BackendError(CodecError, RuntimeError):
    """onnxruntime, or the execution provider that was asked for, is not there."""


class StreamClosedError(CodecError, RuntimeError):
    """A stream was used after it had been flushed."""
