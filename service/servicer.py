"""The calls of `sotto.v1.SpeechCodec`: protobuf to domain and back, nothing else."""

# ruff: noqa: N802 -- the methods are named by codec.proto

from collections.abc import Iterator
from typing import Any

import numpy as np

from sotto.proto.v1 import codec_pb2 as pb
from sotto.proto.v1 import codec_pb2_grpc

from .answers import decode_config, encode_config, packet, totals
from .calls import Calls
from .containers import RawWriter, Recording, RecordingWriter, check_size
from .engine import Engine
from .formats import Audio, RawFormat
from .messages import Codes, model_message
from .models import Models
from .pieces import UNARY_S, audio_pieces, codes_pieces
from .plans import AudioFormat, EncodePlan, Planner, input_encoding
from .resume_tokens import TokenSealer
from .session import DecodeSession, EncodeSession
from .settings import Settings
from .streams import Streams


class SpeechCodecServicer(codec_pb2_grpc.SpeechCodecServicer):
    """Serves the models it is given within the limits of the settings."""

    def __init__(
        self,
        models: Models,
        settings: Settings,
        calls: Calls,
        engine: Engine,
        sealer: TokenSealer,
    ) -> None:
        self._models, self._settings, self._calls = models, settings, calls
        self._planner, self._engine = Planner(models, settings), engine
        self._streams = Streams(self._planner, settings, engine, sealer)

    async def ListModels(self, request: Any, context: Any) -> pb.ListModelsResponse | None:
        """Describe all models."""
        async with self._calls.open(context, request):
            return pb.ListModelsResponse(
                models=[model_message(c.info, c.beam_sizes) for c in self._models]
            )

    async def GetModel(self, request: Any, context: Any) -> pb.Model | None:
        """Describe one model."""
        async with self._calls.open(context, request):
            codec = self._models.get(request.model)
            return model_message(codec.info, codec.beam_sizes)

    async def Encode(self, request: Any, context: Any) -> pb.EncodeResponse | None:
        """Encode a recording."""
        async with self._calls.open(context, request) as call:
            plan, pieces = await call.work(self._open_recording, request)
            limit = self._settings.max_unary_s
            with EncodeSession(self._engine, plan, limit, bulk=True) as session:
                parts: list[Codes] = []
                while (audio := await call.work(next, pieces, None)) is not None:
                    parts.append(await session.push(audio))
                codes = np.concatenate([*parts, await session.flush()], axis=2)
                response = pb.EncodeResponse(
                    config=encode_config(plan, call),
                    codes=packet(plan, codes, 0),
                    totals=totals(session, session.num_samples, plan, session.busy_s),
                )
            most = self._settings.max_message_bytes
            check_size(response.ByteSize(), most, "codes are", "StreamingEncode")
            return response

    async def Decode(self, request: Any, context: Any) -> pb.DecodeResponse | None:
        """Decode a recording."""
        async with self._calls.open(context, request) as call:
            plan = self._planner.decode(request.config)
            writer = await call.work(self._writer, plan.audio)
            limit = self._settings.max_unary_s
            with DecodeSession(self._engine, plan, limit, bulk=True) as session:
                for codes in codes_pieces(request.codes, plan, 0):
                    await call.work(writer.write, await session.push(codes))
                await call.work(writer.write, await session.flush())
                return pb.DecodeResponse(
                    config=decode_config(plan, call),
                    audio_content=await call.work(writer.close),
                    totals=totals(session, session.num_samples, plan, session.busy_s),
                )

    async def StreamingEncode(self, _: Any, context: Any) -> None:
        """Encode a stream."""
        async with self._calls.open(context) as call:
            await self._streams.encode(call, await call.config())

    async def StreamingDecode(self, _: Any, context: Any) -> None:
        """Decode a stream."""
        async with self._calls.open(context) as call:
            await self._streams.decode(call, await call.config())

    async def StreamingTranscode(self, _: Any, context: Any) -> None:
        """Encode and decode a stream."""
        async with self._calls.open(context) as call:
            await self._streams.transcode(call, await call.config())

    def _open_recording(self, request: pb.EncodeRequest) -> tuple[EncodePlan, Iterator[Audio]]:
        encoding = input_encoding(request.config)
        if isinstance(encoding, RawFormat):
            plan = self._planner.encode(request.config)
            return plan, audio_pieces(request.audio_content, encoding, plan.audio, UNARY_S)
        recording = Recording(request.audio_content, encoding)
        found = AudioFormat(encoding, recording.sample_rate, recording.channels)
        plan = self._planner.encode(request.config, found)
        return plan, recording.blocks(UNARY_S * plan.audio.sample_rate)

    def _writer(self, audio: AudioFormat) -> RawWriter | RecordingWriter:
        max_bytes = self._settings.max_message_bytes
        if isinstance(audio.encoding, RawFormat):
            return RawWriter(audio.encoding, max_bytes)
        return RecordingWriter(audio.encoding, audio.sample_rate, audio.channels, max_bytes)
