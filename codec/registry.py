"""Parts chosen by name: a registry creates an encoder, quantizer, decoder or discriminator."""

from collections.abc import Callable, Mapping
from difflib import get_close_matches
from typing import Any, Generic, TypeVar

from .config import build
from .errors import ConfigError

T = TypeVar("T")
C = TypeVar("C", bound=type)


class Registry(Generic[T]):
    """Maps a name to a class that has a frozen dataclass `Config`.

    A registered class is built as ``cls(config, **context)``, where `config` is its `Config` made
    from the caller's options and `context` holds what the codec knows (widths, sizes).
    """

    def __init__(self, family: str) -> None:
        self.family = family
        self._classes: dict[str, Any] = {}

    def register(self, name: str) -> Callable[[C], C]:
        """Class decorator that makes a class available under `name`.

        Raises:
            ConfigError: The name is taken.
        """

        def add(cls: C) -> C:
            if name in self._classes:
                raise ConfigError(f"{self.family} '{name}' is registered twice")
            self._classes[name] = cls
            return cls

        return add

    def available(self) -> list[str]:
        """Names that `create` knows, sorted."""
        return sorted(self._classes)

    def kind(self, name: str) -> type[T]:
        """The class registered under `name`.

        Raises:
            ConfigError: Unknown name; the message lists what exists.
        """
        if name not in self._classes:
            near = get_close_matches(name, self._classes, 1)
            hint = f"; did you mean '{near[0]}'?" if near else ""
            raise ConfigError(
                f"unknown {self.family} '{name}'{hint} (known: {', '.join(self.available())})"
            )
        found: type[T] = self._classes[name]
        return found

    def create(self, name: str, options: Mapping[str, Any] | None = None, **context: Any) -> T:
        """Build the class registered under `name`.

        Raises:
            ConfigError: Unknown name or option, and the message lists what exists; or the class
                does not take these options.
        """
        cls: Any = self.kind(name)
        config = build(cls.Config, options or {}, where=f"{self.family} '{name}'")
        try:
            created: T = cls(config, **context)
        except ConfigError as error:
            raise ConfigError(f"{self.family} '{name}': {error}") from error
        return created
