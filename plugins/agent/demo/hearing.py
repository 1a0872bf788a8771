"""Speech to text, for the demo agent: small, offline, and not very good at it.

What recognises is an extra (``pip install 'edgestream[voice]'``): PocketSphinx, whose English
model comes with it.
"""

import array
import io
import wave
from typing import Any

from plugins.agent.failure import TurnFailed

RATE = 16_000
"""Samples a second that the model was made for."""

LONGEST = 30.0
"""Seconds of speech that are listened to."""


def hear(recording: bytes) -> str:
    """The words of a recording: WAV, 16 bits a sample. It takes about as long as half of it.

    Raises:
        TurnFailed: ``voice_unavailable``, the extra is not installed; ``audio_unreadable``;
            ``nothing_heard``.
    """
    try:
        import pocketsphinx
    except ImportError:
        raise TurnFailed(
            "voice_unavailable", "this agent does not understand speech: it lacks the voice extra"
        ) from None
    samples = _samples(recording)
    decoder: Any = pocketsphinx.Decoder(samprate=RATE, loglevel="FATAL")
    decoder.start_utt()
    decoder.process_raw(samples.tobytes(), full_utt=True)
    decoder.end_utt()
    heard = decoder.hyp()
    if heard is None or not heard.hypstr.strip():
        raise TurnFailed("nothing_heard", "no words were heard", retryable=True)
    words: str = heard.hypstr
    return words


def _samples(recording: bytes) -> "array.array[int]":
    """One channel of what was recorded, at the model's rate."""
    try:
        with wave.open(io.BytesIO(recording)) as file:
            channels, width, rate = file.getnchannels(), file.getsampwidth(), file.getframerate()
            frames = file.readframes(min(file.getnframes(), int(rate * LONGEST)))
    except (wave.Error, EOFError) as error:
        raise _unreadable(str(error) or "it is cut short") from None
    if width != 2 or not rate:
        raise _unreadable(f"{8 * width} bits a sample, {rate} a second")
    samples = array.array("h", frames[: len(frames) // 2 * 2])[::channels]
    if rate == RATE or not samples:
        return samples
    samples.append(samples[-1])
    return array.array("h", [_at(samples, n * rate / RATE) for n in range(_count(samples, rate))])


def _count(samples: "array.array[int]", rate: int) -> int:
    return int((len(samples) - 1) * RATE / rate)


def _at(samples: "array.array[int]", place: float) -> int:
    """What lies between two samples."""
    before = int(place)
    part = place - before
    return int(samples[before] * (1 - part) + samples[before + 1] * part)


def _unreadable(why: str) -> TurnFailed:
    return TurnFailed("audio_unreadable", f"a WAV of 16 bits a sample is understood: {why}")
