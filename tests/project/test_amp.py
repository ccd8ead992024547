"""The amp example plays recordings of every width through models of every amp format."""

import importlib.util

import numpy as np
import pytest
from scipy.io import wavfile

import clstm
from clstm.interop import guitarml, nam, rtneural
from clstm.layers import Gain, Skip
from tests.support.paths import ROOT

PATH = ROOT / "examples" / "amp.py"
RATE = 44_100


@pytest.fixture(scope="module")
def amp():
    """The example as a module."""
    spec = importlib.util.spec_from_file_location("amp", PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def lstm():
    return clstm.LSTM(1, 8, output_size=1, rng=0)


def sound(channels):
    t = np.arange(3000) / RATE
    waves = [np.sin(440 * (k + 1) * 2 * np.pi * t) for k in range(channels)]
    return (0.4 * np.stack(waves, axis=1)).astype(np.float32)


def write_24_bits(path, samples):
    """scipy reads 24 bits and does not write them: the header is written out."""
    values = np.round(samples * 2**23).astype("<i4")
    data = values.reshape(-1, 1).view(np.uint8)[:, :3].tobytes()
    channels = samples.shape[1]
    size, frame = len(data), 3 * channels
    numbers = [(16, 4), (1, 2), (channels, 2), (RATE, 4), (RATE * frame, 4), (frame, 2), (24, 2)]
    form = b"fmt " + b"".join(number.to_bytes(length, "little") for number, length in numbers)
    chunks = form + b"data" + size.to_bytes(4, "little") + data
    path.write_bytes(b"RIFF" + (4 + len(chunks)).to_bytes(4, "little") + b"WAVE" + chunks)


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("bits", [16, 24, 32, "float"])
def test_recordings_of_every_width(amp, lstm, bits, channels, tmp_path, capsys):
    path, samples = tmp_path / "in.wav", sound(channels)
    if bits == 24:
        write_24_bits(path, samples)
    elif bits == "float":
        wavfile.write(path, RATE, samples)
    else:
        whole = np.round(samples.astype(float) * 2 ** (bits - 1)).astype(f"i{bits // 8}")
        wavfile.write(path, RATE, whole)
    guitarml.save(clstm.Sequential([Skip([lstm])]), tmp_path / "amp.json")
    amp.main([str(path), str(tmp_path / "amp.json"), "--out", str(tmp_path), "--quiet"])
    rate, played = wavfile.read(tmp_path / "amp.wav")
    assert (rate, played.dtype) == (RATE, np.float32)
    expected = samples + lstm(samples[..., np.newaxis])[0][..., 0]
    np.testing.assert_allclose(played.reshape(expected.shape), expected, atol=2e-4)
    assert "real-time factor" in capsys.readouterr().out


def test_models_of_every_amp_format(amp, lstm, tmp_path, capsys):
    samples = sound(1)
    wavfile.write(tmp_path / "in.wav", RATE, samples)
    expected = lstm(samples[..., np.newaxis])[0][..., 0]
    nam.save(lstm, tmp_path / "a.nam", sample_rate=48000)
    rtneural.save(clstm.Sequential([Gain(1.0), Skip([lstm])]), tmp_path / "a.aidax")
    lstm.save(tmp_path / "a.safetensors")
    for name, skip in (("a.nam", 0), ("a.aidax", 1), ("a.safetensors", 0)):
        files = [str(tmp_path / "in.wav"), str(tmp_path / name), "--out", str(tmp_path)]
        amp.main([*files, "--quiet", "--block", "100"])
        played = wavfile.read(tmp_path / "amp.wav")[1].reshape(expected.shape)
        np.testing.assert_allclose(played, expected + skip * samples, atol=1e-6)
    assert "the model is for 48000 Hz, the recording has 44100" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("recording", "model", "words"),
    [
        ("none.wav", "a.nam", "No such file"),
        ("in.wav", "none.nam", "No such file"),
        ("a.nam", "a.nam", "is not a WAV file"),
        ("eight.wav", "a.nam", "has 8 bits per sample"),
        ("in.wav", "wide", r"takes and gives (2, 3) features, expected one sample for one"),
        ("in.wav", "in.wav", "unknown format"),
    ],
)
def test_what_cannot_be_played(amp, lstm, recording, model, words, tmp_path, capsys):
    wavfile.write(tmp_path / "in.wav", RATE, sound(1))
    wavfile.write(tmp_path / "eight.wav", RATE, np.zeros(10, np.uint8))
    nam.save(lstm, tmp_path / "a.nam")
    clstm.LSTM(2, 3, rng=0).save(tmp_path / "wide")
    with pytest.raises(SystemExit):
        amp.main([str(tmp_path / recording), str(tmp_path / model), "--out", str(tmp_path)])
    assert words in " ".join(capsys.readouterr().err.split())
