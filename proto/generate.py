"""Generate the Python modules beside `v1/codec.proto`; `make proto` runs this."""

import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

HERE = Path(__file__).resolve().parent
GENERATED = ("codec_pb2.py", "codec_pb2.pyi", "codec_pb2_grpc.py")


def generate(target: Path) -> list[Path]:
    """Write the generated modules under `target`, laid out as the package `sotto` sees them.

    The virtual include path makes protoc write `from sotto.proto.v1 import codec_pb2`, which holds
    in a wheel and in an editable install alike.

    Returns:
        The three files, in `target`/sotto/proto/v1.

    Raises:
        RuntimeError: protoc refused the file; the message is its own.
    """
    outputs = [f"--{kind}_out={target}" for kind in ("python", "pyi", "grpc_python")]
    protoc = [sys.executable, "-m", "grpc_tools.protoc", f"-Isotto/proto={HERE}", *outputs]
    done = subprocess.run([*protoc, "sotto/proto/v1/codec.proto"], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"protoc failed: {done.stderr.strip()}")
    return [target / "sotto" / "proto" / "v1" / name for name in GENERATED]


def main() -> None:
    """Replace the committed modules."""
    with TemporaryDirectory() as folder:
        for path in generate(Path(folder)):
            (HERE / "v1" / path.name).write_bytes(path.read_bytes())


if __name__ == "__main__":
    main()
