"""Find speech in a WAV file with the Silero voice activity detector, frame by frame as if live.

Run it with `python examples/speech.py RECORDING.wav silero_vad_16k_op15.onnx` where clstm, onnx,
matplotlib and tqdm are installed: `pip install '.[examples]'`. The recording must have a sampling
rate of 16 kHz and 16 bits per sample; the model is src/silero_vad/data/silero_vad_16k_op15.onnx of
https://github.com/snakers4/silero-vad (MIT licence). It prints the segments of speech and the
real-time factor, and writes a plot to `--out`:

    speech.png    the waveform, the probability of speech, and the segments

The package onnx only reads the file. NumPy and clstm do all arithmetic: a short-time Fourier
transform (as a convolution), the convolutions of the encoder, an LSTM that keeps its state from
frame to frame (`LSTM.stream`), and a convolution for the probability.
"""

import argparse
import time
import wave
from pathlib import Path
from typing import NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import onnx
from google.protobuf.message import DecodeError
from numpy.lib.stride_tricks import sliding_window_view
from tqdm import tqdm

import clstm
import clstm.interop.onnx

RATE = 16_000  # samples per second
FRAME = 512  # samples, 32 ms
CONTEXT = 64  # samples of the previous frame, prepended to each frame
PADDING = 64  # samples appended to each frame by reflection

SPEECH = 0.5  # a segment begins when the probability reaches this value
SILENCE = 0.35  # it ends when the probability has stayed below this value
MIN_SILENCE = 0.1  # for this time, in seconds
MIN_SPEECH = 0.25  # seconds; shorter segments are dropped

MODEL = "silero_vad_16k_op15.onnx"
SILENT = np.zeros(CONTEXT + FRAME, np.float32)
OUT = Path(__file__).parent / "output"


class Convolution(NamedTuple):
    """A convolution over time of (C, T): weight (O, C, K), bias (O, 1)."""

    weight: np.ndarray
    bias: np.ndarray
    stride: int
    padding: int

    def __call__(self, x):
        outputs, channels, width = self.weight.shape
        padded = np.pad(x, ((0, 0), (self.padding, self.padding)))
        windows = sliding_window_view(padded, width, axis=1)[:, :: self.stride]  # (C, T', K)
        columns = windows.swapaxes(1, 2).reshape(channels * width, -1)
        return self.weight.reshape(outputs, -1) @ columns + self.bias


class Detector(NamedTuple):
    """The layers of the model in order, without state."""

    transform: Convolution  # real parts of all frequencies, then imaginary parts
    encoder: list
    lstm: clstm.LSTM
    head: Convolution

    @classmethod
    def load(cls, path):
        """Read the model. The graph has the convolutions in order, and the LSTM in a branch."""
        try:
            graph = onnx.ModelProto.FromString(Path(path).read_bytes()).graph
        except DecodeError:
            raise ValueError(f"{path} is not an ONNX model, expected {MODEL}") from None
        arrays = {t.name: onnx.numpy_helper.to_array(t) for t in graph.initializer}
        convolutions = [node for node in graph.node if node.op_type == "Conv"]
        if len(convolutions) != 6:
            raise ValueError(
                f"{path} has {len(convolutions)} convolutions, expected the 6 of {MODEL}"
            )
        try:
            transform, *encoder, head = (convolution(node, arrays) for node in convolutions)
            # The graph has two LSTMs of equal weights, for audio with and without a batch.
            lstm = clstm.interop.onnx.load(path, node=0)
            detector = cls(transform, encoder, lstm, head)
            detector.probability(lstm(detector.features(SILENT)[np.newaxis])[0][0])
        except (LookupError, ValueError) as error:
            raise ValueError(f"{path} is another model, expected {MODEL}: {error}") from None
        return detector

    def features(self, samples):
        """Return the input (I,) of the LSTM for a frame and its context."""
        padded = np.pad(samples, (0, PADDING), mode="reflect")
        real, imaginary = np.split(self.transform(padded[np.newaxis]), 2)
        x = np.sqrt(real**2 + imaginary**2)
        for layer in self.encoder:
            x = np.maximum(layer(x), 0)
        return x[:, 0]

    def probability(self, h):
        """Return the probability of speech in a frame, from the LSTM's output."""
        score = self.head(np.maximum(h, 0)[:, np.newaxis])
        return 1 / (1 + np.exp(-score.item()))


def convolution(node, arrays):
    """Return a Conv node of the graph as a `Convolution`."""
    if missing := [name for name in node.input[1:] if name not in arrays]:
        raise ValueError(f"weights of a convolution are not stored in it: {missing[0]!r}")
    weight, *bias = (arrays[name] for name in node.input[1:])
    if weight.ndim != 3:
        raise ValueError(f"a convolution's weight has shape {weight.shape}, expected (O, C, K)")
    given = {"strides": [1], "pads": [0, 0]}
    given |= {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
    column = bias[0][:, np.newaxis] if bias else np.zeros((len(weight), 1), weight.dtype)
    return Convolution(weight, column, given["strides"][0], given["pads"][0])


def load_audio(path):
    """Return the samples as float32 from -1 to 1, the mean of all channels."""
    try:
        with wave.open(str(path)):
            pass  # its header is read
    except (wave.Error, EOFError) as error:
        raise ValueError(f"{path} is not a WAV file: {error}") from None
    with wave.open(str(path)) as file:
        if file.getframerate() != RATE or file.getsampwidth() != 2:
            raise ValueError(
                f"{path} has {file.getframerate()} samples per second of "
                f"{8 * file.getsampwidth()} bits, expected {RATE} of 16"
            )
        samples = np.frombuffer(file.readframes(file.getnframes()), "<i2")
        samples = samples.reshape(-1, file.getnchannels())
    return (samples / np.float32(2**15)).mean(axis=1)


def frames(samples):
    """Yield each frame with its context before it; both ends are padded with zeros."""
    count = -(-len(samples) // FRAME)
    padded = np.zeros(CONTEXT + count * FRAME, np.float32)
    padded[CONTEXT : CONTEXT + len(samples)] = samples
    for start in range(0, count * FRAME, FRAME):
        yield padded[start : start + CONTEXT + FRAME]


def detect(detector, samples, quiet=False):
    """Return the probability of speech in each frame, from the audio up to its end."""
    stream = detector.lstm.stream()
    total = -(-len(samples) // FRAME)
    bar = tqdm(frames(samples), desc="listening", total=total, unit="frame", disable=quiet)
    return np.array([detector.probability(stream.step(detector.features(f))) for f in bar])


def segments(probability):
    """Return the begin and end of each segment of speech, in seconds."""
    found, begin, quiet_since = [], None, None
    silence = [0.0] * (2 + int(MIN_SILENCE * RATE / FRAME))  # ends the last segment
    for frame, p in enumerate([*probability, *silence]):
        now = frame * FRAME / RATE
        if p >= SPEECH:
            begin, quiet_since = now if begin is None else begin, None
        elif begin is not None and p < SILENCE:
            quiet_since = now if quiet_since is None else quiet_since
            if now - quiet_since >= MIN_SILENCE:
                found.append((begin, quiet_since))
                begin = quiet_since = None
    return [(begin, end) for begin, end in found if end - begin >= MIN_SPEECH]


def plot(samples, probability, found, path):
    figure, (upper, lower) = plt.subplots(2, figsize=(11, 6), sharex=True, layout="constrained")
    upper.plot(np.arange(len(samples)) / RATE, samples, color="0.4", linewidth=0.3)
    lower.plot(np.arange(len(probability)) * FRAME / RATE, probability, linewidth=0.8)
    lower.axhline(SPEECH, color="0.6", linestyle=":")
    for axes in (upper, lower):
        for begin, end in found:
            axes.axvspan(begin, end, color="C1", alpha=0.25, linewidth=0)
    upper.set(title=f"{len(found)} segments of speech", ylabel="waveform")
    lower.set(xlabel="seconds", ylabel="probability of speech", ylim=(-0.02, 1.02))
    figure.savefig(path, dpi=120)
    plt.close(figure)


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("recording", type=Path, help="WAV file, 16 kHz and 16 bits")
    parser.add_argument("model", type=Path, help=MODEL)
    parser.add_argument("--out", type=Path, default=OUT, help="folder for the plot")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
    options = parser.parse_args(arguments)

    try:
        detector = Detector.load(options.model)
        samples = load_audio(options.recording)
    except (OSError, ValueError) as error:
        parser.error(str(error))
    begin = time.perf_counter()
    probability = detect(detector, samples, options.quiet)
    elapsed = time.perf_counter() - begin
    found = segments(probability)
    options.out.mkdir(parents=True, exist_ok=True)
    plot(samples, probability, found, options.out / "speech.png")
    print(f"the plot is in {options.out}; speech, in seconds:")
    for start, end in found:
        print(f"{start:8.2f} to {end:8.2f}")
    seconds = len(samples) / RATE
    print(
        f"segments: {len(found)}; {seconds:.1f} s of audio processed in {elapsed:.2f} s, "
        f"real-time factor {elapsed / max(seconds, 1 / RATE):.4f}"
    )


if __name__ == "__main__":
    main()
