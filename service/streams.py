"""The streaming calls: what comes in, in order, to what goes out, as it is ready."""

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from itertools import groupby
from typing import Any, Final

from sotto.proto.v1 import codec_pb2 as pb

from .answers import audio_packet, decode_config, encode_config, packet, totals
from .call import Call
from .engine import Engine
from .formats import Audio, num_samples
from .inbox import Inbox
from .messages import Codes, check_packet
from .pieces import audio_pieces, joined_codes
from .plans import DecodePlan, EncodePlan, Planner, books, raw_of
from .resume_tokens import Snapshot, TokenSealer
from .session import DecodeSession, EncodeSession, TranscodeSession
from .settings import Settings
from .snapshots import (
    load_decoder,
    load_encoder,
    load_transcoder,
    save_decoder,
    save_encoder,
    save_transcoder,
)

Seconds = Callable[[str, Any], float]
AUDIO: Final = "audio_content"
CODES: Final = "codes"
RATE: Final = "rate_change"
STATE: Final = "state_request"


class Streams:
    """Runs streaming calls that were admitted."""

    def __init__(
        self, planner: Planner, settings: Settings, engine: Engine, sealer: TokenSealer
    ) -> None:
        self._planner, self._settings = planner, settings
        self._engine, self._sealer = engine, sealer

    async def encode(self, call: Call, config: pb.EncodeConfig) -> None:
        """Audio to codes."""
        plan = self._planner.encode(config)
        raw = raw_of(plan.audio)
        with EncodeSession(self._engine, plan, self._settings.max_audio_s) as session:
            if config.resume_token:
                load_encoder(session, plan, self._sealer.open(config.resume_token))
            first = encode_config(plan, call, session)
            await call.write(pb.StreamingEncodeResponse(config=first))

            async def send(codes: Codes) -> None:
                if codes.shape[2]:
                    sent = packet(plan, codes, session.num_frames - codes.shape[2])
                    await call.write(pb.StreamingEncodeResponse(codes=sent))

            async with aclosing(self._runs(call, _audio_s(plan))) as runs:
                async for field, contents in runs:
                    if field == AUDIO:
                        for audio in audio_pieces(b"".join(contents), raw, plan.audio):
                            await send(await session.push(audio))
                    elif field == RATE:
                        for change in contents:
                            session.num_codebooks = books(plan.codec.info, change)
                    for _ in contents if field == STATE else ():
                        state = self._state(save_encoder(session, plan), session)
                        await call.write(pb.StreamingEncodeResponse(resume_state=state))
            await send(await session.flush())
            last = totals(session, session.num_samples, plan, session.busy_s)
            await call.write(pb.StreamingEncodeResponse(totals=last))

    async def decode(self, call: Call, config: pb.DecodeConfig) -> None:
        """Codes to audio."""
        plan = self._planner.decode(config)
        raw = raw_of(plan.audio)
        with DecodeSession(self._engine, plan, self._settings.max_audio_s) as session:
            if config.resume_token:
                load_decoder(session, plan, self._sealer.open(config.resume_token))
            first = decode_config(plan, call, session)
            await call.write(pb.StreamingDecodeResponse(config=first))

            async def send(audio: Audio) -> None:
                if len(audio):
                    sent = audio_packet(audio, raw, session.num_samples - len(audio))
                    await call.write(pb.StreamingDecodeResponse(audio=sent))

            async with aclosing(self._runs(call, _codes_s(plan))) as runs:
                async for field, contents in runs:
                    if field == CODES:
                        for codes in joined_codes(contents, plan, session.num_frames):
                            await send(await session.push(codes))
                    for _ in contents if field == STATE else ():
                        state = self._state(save_decoder(session, plan), session)
                        await call.write(pb.StreamingDecodeResponse(resume_state=state))
            await send(await session.flush())
            last = totals(session, session.num_samples, plan, session.busy_s)
            await call.write(pb.StreamingDecodeResponse(totals=last))

    async def transcode(self, call: Call, config: pb.TranscodeConfig) -> None:
        """Audio to the audio that a listener would hear."""
        plan, output = self._planner.transcode(config)
        raw, raw_out = raw_of(plan.audio), raw_of(output.audio)
        limit = self._settings.max_audio_s
        with TranscodeSession(self._engine, plan, output, limit) as session:
            if config.resume_token:
                token = self._sealer.open(config.resume_token)
                load_transcoder(session, plan, output, token)
            first = decode_config(output, call, session.encoder, plan.beam_size)
            await call.write(pb.StreamingTranscodeResponse(config=first))

            async def send(codes: Codes, audio: Audio) -> None:
                if config.return_codes and codes.shape[2]:
                    sent = packet(plan, codes, session.encoder.num_frames - codes.shape[2])
                    await call.write(pb.StreamingTranscodeResponse(codes=sent))
                if len(audio):
                    at = session.decoder.num_samples - len(audio)
                    heard = audio_packet(audio, raw_out, at)
                    await call.write(pb.StreamingTranscodeResponse(audio=heard))

            async with aclosing(self._runs(call, _audio_s(plan))) as runs:
                async for field, contents in runs:
                    if field == AUDIO:
                        for audio in audio_pieces(b"".join(contents), raw, plan.audio):
                            await send(*await session.push(audio))
                    elif field == RATE:
                        for change in contents:
                            session.encoder.num_codebooks = books(plan.codec.info, change)
                    for _ in contents if field == STATE else ():
                        state = self._state(save_transcoder(session, plan, output), session.encoder)
                        state.num_output_samples = session.decoder.num_samples
                        await call.write(pb.StreamingTranscodeResponse(resume_state=state))
            await send(*await session.flush())
            samples = session.decoder.num_samples
            last = totals(session.encoder, samples, output, session.busy_s)
            await call.write(pb.StreamingTranscodeResponse(totals=last))

    async def _runs(
        self, call: Call, seconds: Seconds
    ) -> AsyncGenerator[tuple[str, list[Any]], None]:
        """What the client sent, in order, neighbours of the same field together."""
        async with Inbox(call.payloads(), seconds, self._settings.max_queued_s) as inbox:
            async for items in inbox.batches():
                for field, run in groupby(items, key=lambda item: item[0]):
                    yield field, [content for _, content in run]

    def _state(self, snapshot: Snapshot, session: EncodeSession | DecodeSession) -> pb.ResumeState:
        return pb.ResumeState(
            token=self._sealer.seal(snapshot),
            num_samples=session.num_samples,
            num_frames=session.num_frames,
        )


def _audio_s(plan: EncodePlan) -> Seconds:
    """How much audio an item holds; an AudioError if those are no whole samples."""
    raw, audio = raw_of(plan.audio), plan.audio

    def seconds(field: str, content: Any) -> float:
        if field != AUDIO:
            return 0.0
        return num_samples(content, raw, audio.channels) / audio.sample_rate

    return seconds


def _codes_s(plan: DecodePlan) -> Seconds:
    """How much audio an item holds; a CodecError if it does not hold what it says."""
    info = plan.codec.info

    def seconds(field: str, content: Any) -> float:
        if field != CODES:
            return 0.0
        check_packet(content, info, plan.num_codebooks, plan.audio.channels, plan.packed)
        return float(content.num_frames / info.frame_rate)

    return seconds
