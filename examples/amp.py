"""Play a WAV file through the model of a guitar amplifier, block by block as if live.

Run it with `python examples/amp.py RECORDING.wav MODEL` where clstm and tqdm are installed:
`pip install '.[examples]'`. MODEL is an LSTM of any format that clstm reads: GuitarML or Proteus
(.json), AIDA-X (.aidax, .json), Neural Amp Modeler (.nam, architecture "LSTM"), a file of
`LSTM.save` or `Sequential.save`. The recording has 16, 24 or 32 bits per sample or floating-point
numbers; each of its channels is played by itself. It prints the real-time factor, the time of
computation over the time of sound, and writes the result, as floating-point numbers, to `--out`:

    amp.wav
"""

import argparse
import time
import warnings
from pathlib import Path

import numpy as np
from scipy.io import wavfile
from tqdm import tqdm

import clstm

OUT = Path(__file__).parent / "output"


def load_audio(path):
    """Return the sampling rate, and the samples (T, channels) as float32 from -1 to 1."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", wavfile.WavFileWarning)  # chunks of other programs
            rate, samples = wavfile.read(path)
    except ValueError as error:
        raise ValueError(f"{path} is not a WAV file of samples: {error}") from None
    if samples.dtype.kind == "u":
        raise ValueError(f"{path} has 8 bits per sample, expected 16, 24, 32 or floating point")
    if samples.dtype.kind == "i":  # scipy shifts 24 bits to the upper end of 32
        samples = samples / np.float32(2 ** (8 * samples.dtype.itemsize - 1))
    return rate, samples.reshape(len(samples), -1).astype(np.float32)


def load_model(path):
    """Read a model that gives one sample for one."""
    model = clstm.load(path)
    sizes = model.input_size, model.output_size or model.hidden_size
    if sizes != (1, 1):
        raise ValueError(f"{path} takes and gives {sizes} features, expected one sample for one")
    return model


def play(model, samples, block, quiet=False):
    """Return the model's output; each channel is a row of one stream."""
    stream = model.stream(samples.shape[1])
    starts = range(0, len(samples), block)
    played = np.empty_like(samples)
    for start in tqdm(starts, desc="playing", unit="block", disable=quiet):
        x = samples[start : start + block]
        played[start : start + block] = stream.process(x[..., np.newaxis])[..., 0]
    return played


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("recording", type=Path, help="WAV file of 16, 24 or 32 bits, or floats")
    parser.add_argument("model", type=Path, help="model of an amplifier, of any format")
    parser.add_argument("--block", type=int, default=512, help="samples in a block")
    parser.add_argument("--out", type=Path, default=OUT, help="folder for the result")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
    options = parser.parse_args(arguments)
    if options.block < 1:
        parser.error(f"--block must be at least 1, got {options.block}")

    try:
        model = load_model(options.model)
        rate, samples = load_audio(options.recording)
    except (OSError, ValueError) as error:
        parser.error(str(error))
    if model.notes.get("sample_rate") not in (None, rate):
        print(f"the model is for {model.notes['sample_rate']} Hz, the recording has {rate}")
    begin = time.perf_counter()
    played = play(model, samples, options.block, options.quiet)
    seconds, sound = time.perf_counter() - begin, len(samples) / rate
    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / "amp.wav"
    wavfile.write(path, rate, played if played.shape[1] > 1 else played[:, 0])
    factor = f", real-time factor {seconds / sound:.3f}" if len(samples) else ""
    print(f"{sound:.2f} s of sound in {seconds:.3f} s{factor}")
    if len(samples) and (peak := np.abs(played).max()) > 1:
        print(f"the loudest sample is {peak:.2f}: turn it down before converting to integers")
    print(f"wrote {path}")


if __name__ == "__main__":
    main()
