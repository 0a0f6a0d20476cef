"""The state of a session as a snapshot, and sessions that go on from one."""

from collections.abc import Sequence
from typing import Any

from sotto.codec.audio import StreamResampler

from .errors import ResumeError
from .plans import DecodePlan, EncodePlan
from .resume_tokens import Snapshot
from .session import DecodeSession, EncodeSession, TranscodeSession


def encode_facts(plan: EncodePlan) -> dict[str, Any]:
    """What a resumed encoding must have in common with the one before."""
    return {
        "call": "encode",
        "identity": plan.codec.info.identity,
        "encoder": plan.codec.encoder_fingerprint,
        "sample_rate": plan.audio.sample_rate,
        "channels": plan.audio.channels,
        "mix_down": plan.mix_down,
    }


def decode_facts(plan: DecodePlan) -> dict[str, Any]:
    """What a resumed decoding must have in common with the one before."""
    return {
        "call": "decode",
        "identity": plan.codec.info.identity,
        "decoder": plan.codec.decoder_fingerprint,
        "sample_rate": plan.audio.sample_rate,
        "channels": plan.audio.channels,
    }


def save_encoder(session: EncodeSession, plan: EncodePlan) -> Snapshot:
    """The state of an encoding between two pushes."""
    resamplers, arrays = _save_resamplers(session.resamplers)
    for i, framing in enumerate(session.framings):
        arrays[f"pending.{i}"] = framing.pending
    arrays |= {f"state.{name}": value for name, value in session.lane.state().items()}
    facts = (
        encode_facts(plan)
        | _counters(session)
        | {
            "num_codebooks": session.num_codebooks,
            "framings": [[f.samples, f.frames] for f in session.framings],
            "resamplers": resamplers,
        }
    )
    return Snapshot(facts, arrays)


def load_encoder(session: EncodeSession, plan: EncodePlan, snapshot: Snapshot) -> None:
    """Put a new session where the snapshot was taken.

    Raises:
        ResumeError: It belongs to another model or to other settings.
    """
    _check(encode_facts(plan), snapshot.facts)
    _set_counters(session, snapshot.facts)
    session.num_codebooks = snapshot.facts["num_codebooks"]
    _load_resamplers(session.resamplers, snapshot)
    counts = snapshot.facts["framings"]
    for i, framing in enumerate(session.framings):
        framing.samples, framing.frames = counts[i]
        framing.pending = snapshot.arrays[f"pending.{i}"]
    session.lane.set_state(snapshot.below("state."))


def save_decoder(session: DecodeSession, plan: DecodePlan) -> Snapshot:
    """The state of a decoding between two pushes."""
    resamplers, arrays = _save_resamplers(session.resamplers)
    arrays |= {f"state.{name}": value for name, value in session.lane.state().items()}
    facts = (
        decode_facts(plan)
        | _counters(session)
        | {
            "framings": [[f.frames, f.samples, f.skip] for f in session.framings],
            "resamplers": resamplers,
        }
    )
    return Snapshot(facts, arrays)


def load_decoder(session: DecodeSession, plan: DecodePlan, snapshot: Snapshot) -> None:
    """Put a new session where the snapshot was taken.

    Raises:
        ResumeError: It belongs to another model or to other settings.
    """
    _check(decode_facts(plan), snapshot.facts)
    _set_counters(session, snapshot.facts)
    _load_resamplers(session.resamplers, snapshot)
    counts = snapshot.facts["framings"]
    for i, framing in enumerate(session.framings):
        framing.frames, framing.samples, framing.skip = counts[i]
    session.lane.set_state(snapshot.below("state."))


def save_transcoder(session: TranscodeSession, plan: EncodePlan, output: DecodePlan) -> Snapshot:
    """The state of a transcoding between two pushes."""
    parts = {
        "encode": save_encoder(session.encoder, plan),
        "decode": save_decoder(session.decoder, output),
    }
    facts = {name: part.facts for name, part in parts.items()}
    arrays = {f"{n}.{key}": a for n, part in parts.items() for key, a in part.arrays.items()}
    return Snapshot({"call": "transcode", **facts}, arrays)


def load_transcoder(
    session: TranscodeSession, plan: EncodePlan, output: DecodePlan, snapshot: Snapshot
) -> None:
    """Put a new session where the snapshot was taken.

    Raises:
        ResumeError: It belongs to another model or to other settings.
    """
    _check({"call": "transcode"}, snapshot.facts)
    parts = {n: Snapshot(snapshot.facts[n], snapshot.below(f"{n}.")) for n in ("encode", "decode")}
    load_encoder(session.encoder, plan, parts["encode"])
    load_decoder(session.decoder, output, parts["decode"])


def _counters(session: EncodeSession | DecodeSession) -> dict[str, Any]:
    counts = (session.num_samples, session.num_frames, session.num_codes)
    return {"counts": counts}


def _set_counters(session: EncodeSession | DecodeSession, facts: dict[str, Any]) -> None:
    session.num_samples, session.num_frames, session.num_codes = facts["counts"]


def _save_resamplers(resamplers: Sequence[StreamResampler]) -> tuple[list[Any], dict[str, Any]]:
    counts, arrays = [], {}
    for i, resampler in enumerate(resamplers):
        samples_in, samples_out, arrays[f"heard.{i}"] = resampler.history()
        counts.append([samples_in, samples_out])
    return counts, arrays


def _load_resamplers(resamplers: Sequence[StreamResampler], snapshot: Snapshot) -> None:
    for i, resampler in enumerate(resamplers):
        samples_in, samples_out = snapshot.facts["resamplers"][i]
        resampler.resume(samples_in, samples_out, snapshot.arrays[f"heard.{i}"])


def _check(expected: dict[str, Any], facts: dict[str, Any]) -> None:
    for name, value in expected.items():
        if facts.get(name) != value:
            raise ResumeError(
                f"resume_token is of a stream with {name} {facts.get(name)}; this call has {value}"
            )
