"""The models that a server has loaded."""

from collections.abc import Iterable, Iterator

from sotto.codec.errors import ConfigError, IdentityError, ModelNotFoundError
from sotto.export.runtime import Codec

from .settings import Settings


class Models:
    """Loaded codecs by name, the default one first."""

    def __init__(self, codecs: Iterable[Codec]) -> None:
        """Keep `codecs`.

        Raises:
            ConfigError: There are none, or two have the same name.
        """
        self._by_name: dict[str, Codec] = {}
        for codec in codecs:
            if codec.info.name in self._by_name:
                raise ConfigError(f"two models are called '{codec.info.name}'; serve one of them")
            self._by_name[codec.info.name] = codec
        if not self._by_name:
            raise ConfigError("no model to serve; name at least one")

    @classmethod
    def load(cls, settings: Settings) -> "Models":
        """Load what the settings name.

        Raises:
            BundleError: One cannot be found or loaded.
            BackendError: The provider is not there; nothing else takes its place.
        """
        threads, provider = settings.threads, settings.provider
        return cls(Codec.load(m, threads=threads, provider=provider) for m in settings.models)

    def __iter__(self) -> Iterator[Codec]:
        return iter(self._by_name.values())

    def get(self, name: str, identity: str = "") -> Codec:
        """The model called `name`, or the default one if that is empty.

        Raises:
            ModelNotFoundError: There is no such model.
            IdentityError: `identity` is given and is not the model's.
        """
        if name and name not in self._by_name:
            known = ", ".join(self._by_name)
            raise ModelNotFoundError(f"no model '{name[:80]}' on this server; it has: {known}")
        codec = self._by_name[name] if name else next(iter(self._by_name.values()))
        if identity and identity != codec.info.identity:
            raise IdentityError(
                f"the codes belong to identity {identity[:64]}; {codec.info.name} here is "
                f"{codec.info.identity}: ask for a model of the same identity"
            )
        return codec
