"""The calls of `sotto.v1.SpeechCodec`: protobuf to domain and back, nothing else."""

# ruff: noqa: N802 -- the methods are named by codec.proto

from collections.abc import Iterator
from typing import Any

import numpy as np

from sotto.codec.packing import bytes_for
from sotto.proto.v1 import codec_pb2 as pb
from sotto.proto.v1 import codec_pb2_grpc

from .call import Call
from .calls import Calls
from .containers import RawWriter, Recording, RecordingWriter, check_size
from .formats import Audio, RawFormat, encode_samples
from .messages import Codes, codes_packet, model_message
from .models import Models
from .pieces import audio_pieces, codes_pieces
from .plans import AudioFormat, DecodePlan, EncodePlan, Planner, input_encoding, raw_of
from .session import DecodeSession, EncodeSession, TranscodeSession
from .settings import Settings


class SpeechCodecServicer(codec_pb2_grpc.SpeechCodecServicer):
    """Serves the models it is given within the limits of the settings."""

    def __init__(self, models: Models, settings: Settings, calls: Calls) -> None:
        self._models, self._settings, self._calls = models, settings, calls
        self._planner = Planner(models, settings)

    async def ListModels(self, request: Any, context: Any) -> pb.ListModelsResponse | None:
        """Describe all models."""
        async with self._calls.open(context, request):
            return pb.ListModelsResponse(models=[model_message(c.info) for c in self._models])

    async def GetModel(self, request: Any, context: Any) -> pb.Model | None:
        """Describe one model."""
        async with self._calls.open(context, request):
            return model_message(self._models.get(request.model).info)

    async def Encode(self, request: Any, context: Any) -> pb.EncodeResponse | None:
        """Encode a recording."""
        async with self._calls.open(context, request) as call:
            plan, pieces = await call.work(self._open_recording, request)
            session = EncodeSession(plan, self._settings.max_unary_s)
            parts: list[Codes] = []
            while (codes := await call.work(_push_next, session, pieces)) is not None:
                parts.append(codes)
            codes = np.concatenate([*parts, await call.work(session.flush)], axis=2)
            response = pb.EncodeResponse(
                config=_encode_config(plan, call),
                codes=_packet(plan, codes, 0),
                totals=_totals(session, session.num_samples, plan, call),
            )
            check_size(response.ByteSize(), self._settings.max_message_bytes)
            return response

    async def Decode(self, request: Any, context: Any) -> pb.DecodeResponse | None:
        """Decode a recording."""
        async with self._calls.open(context, request) as call:
            plan = self._planner.decode(request.config)
            writer = await call.work(self._writer, plan.audio)
            session = DecodeSession(plan, self._settings.max_unary_s)
            for codes in codes_pieces(request.codes, plan, 0):
                await call.work(writer.write, await call.work(session.push, codes))
            await call.work(writer.write, await call.work(session.flush))
            return pb.DecodeResponse(
                config=_decode_config(plan, call),
                audio_content=await call.work(writer.close),
                totals=_totals(session, session.num_samples, plan, call),
            )

    async def StreamingEncode(self, _: Any, context: Any) -> None:
        """Encode a stream."""
        async with self._calls.open(context) as call:
            plan = self._planner.encode(await call.config())
            raw, session = raw_of(plan.audio), EncodeSession(plan, self._settings.max_audio_s)
            await call.write(pb.StreamingEncodeResponse(config=_encode_config(plan, call)))

            async def send(codes: Codes) -> None:
                if codes.shape[2]:
                    packet = _packet(plan, codes, session.num_frames - codes.shape[2])
                    await call.write(pb.StreamingEncodeResponse(codes=packet))

            async for payload in call.payloads():
                for audio in audio_pieces(payload, raw, plan.audio):
                    await send(await call.work(session.push, audio))
            await send(await call.work(session.flush))
            totals = _totals(session, session.num_samples, plan, call)
            await call.write(pb.StreamingEncodeResponse(totals=totals))

    async def StreamingDecode(self, _: Any, context: Any) -> None:
        """Decode a stream."""
        async with self._calls.open(context) as call:
            plan = self._planner.decode(await call.config())
            raw, session = raw_of(plan.audio), DecodeSession(plan, self._settings.max_audio_s)
            await call.write(pb.StreamingDecodeResponse(config=_decode_config(plan, call)))

            async def send(audio: Audio) -> None:
                if len(audio):
                    packet = _audio_packet(audio, raw, session.num_samples - len(audio))
                    await call.write(pb.StreamingDecodeResponse(audio=packet))

            async for packet in call.payloads():
                for codes in codes_pieces(packet, plan, session.num_frames):
                    await send(await call.work(session.push, codes))
            await send(await call.work(session.flush))
            totals = _totals(session, session.num_samples, plan, call)
            await call.write(pb.StreamingDecodeResponse(totals=totals))

    async def StreamingTranscode(self, _: Any, context: Any) -> None:
        """Encode and decode a stream."""
        async with self._calls.open(context) as call:
            config = await call.config()
            plan, output = self._planner.transcode(config)
            raw, raw_out = raw_of(plan.audio), raw_of(output.audio)
            session = TranscodeSession(plan, output, self._settings.max_audio_s)
            await call.write(pb.StreamingTranscodeResponse(config=_decode_config(output, call)))

            async def send(codes: Codes, audio: Audio) -> None:
                if config.return_codes and codes.shape[2]:
                    packet = _packet(plan, codes, session.encoder.num_frames - codes.shape[2])
                    await call.write(pb.StreamingTranscodeResponse(codes=packet))
                if len(audio):
                    first = session.decoder.num_samples - len(audio)
                    heard = _audio_packet(audio, raw_out, first)
                    await call.write(pb.StreamingTranscodeResponse(audio=heard))

            async for payload in call.payloads():
                for audio in audio_pieces(payload, raw, plan.audio):
                    await send(*await call.work(session.push, audio))
            await send(*await call.work(session.flush))
            totals = _totals(session.encoder, session.decoder.num_samples, output, call)
            await call.write(pb.StreamingTranscodeResponse(totals=totals))

    def _open_recording(self, request: pb.EncodeRequest) -> tuple[EncodePlan, Iterator[Audio]]:
        encoding = input_encoding(request.config)
        if isinstance(encoding, RawFormat):
            plan = self._planner.encode(request.config)
            return plan, audio_pieces(request.audio_content, encoding, plan.audio)
        recording = Recording(request.audio_content, encoding)
        found = AudioFormat(encoding, recording.sample_rate, recording.channels)
        plan = self._planner.encode(request.config, found)
        return plan, recording.blocks(plan.audio.sample_rate)

    def _writer(self, audio: AudioFormat) -> RawWriter | RecordingWriter:
        max_bytes = self._settings.max_message_bytes
        if isinstance(audio.encoding, RawFormat):
            return RawWriter(audio.encoding, max_bytes)
        return RecordingWriter(audio.encoding, audio.sample_rate, audio.channels, max_bytes)


def _push_next(session: EncodeSession, pieces: Iterator[Audio]) -> Codes | None:
    audio = next(pieces, None)
    return None if audio is None else session.push(audio)


def _packet(plan: EncodePlan, codes: Codes, first_frame: int) -> pb.CodesPacket:
    return codes_packet(codes, first_frame, plan.codec.info.codebook_size, plan.packed)


def _audio_packet(audio: Audio, raw: RawFormat, first_sample: int) -> pb.AudioPacket:
    content = encode_samples(audio, raw)
    return pb.AudioPacket(audio_content=content, first_sample=first_sample, num_samples=len(audio))


def _encode_config(plan: EncodePlan, call: Call) -> pb.ResolvedConfig:
    return _resolved(plan, plan.channels, call)


def _decode_config(plan: DecodePlan, call: Call) -> pb.ResolvedConfig:
    return _resolved(plan, plan.audio.channels, call)


def _resolved(plan: EncodePlan | DecodePlan, channels: int, call: Call) -> pb.ResolvedConfig:
    info = plan.codec.info
    return pb.ResolvedConfig(
        model=model_message(info),
        audio_channel_count=channels,
        num_codebooks=plan.num_codebooks,
        bitrate=info.bitrate(plan.num_codebooks),
        token_format=pb.PACKED if plan.packed else pb.INT32,
        encoding=plan.audio.encoding.value,
        sample_rate_hertz=plan.audio.sample_rate,
        request_id=call.request_id,
    )


def _totals(
    session: EncodeSession | DecodeSession,
    num_samples: int,
    plan: EncodePlan | DecodePlan,
    call: Call,
) -> pb.Totals:
    seconds = num_samples / plan.audio.sample_rate
    return pb.Totals(
        num_samples=num_samples,
        num_frames=session.num_frames,
        audio_seconds=seconds,
        num_bytes=bytes_for(session.num_codes, plan.codec.info.bits_per_code),
        real_time_factor=call.busy_s / seconds if seconds else 0.0,
    )
