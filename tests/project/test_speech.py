"""The speech example finds the same speech in the reference recording as ONNX Runtime."""

import importlib.util
import re
import subprocess
import sys
import wave

import numpy as np
import pytest

import clstm
from tests.support.paths import ROOT

PATH = ROOT / "examples" / "speech.py"


@pytest.fixture(scope="module")
def speech():
    """The example as a module."""
    pytest.importorskip("onnx", reason="the example reads the detector with onnx: pip install onnx")
    spec = importlib.util.spec_from_file_location("speech", PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def files(reference_data):
    folder = reference_data / "silero"
    return folder / "test.wav", folder / "silero_vad_16k_op15.onnx"


@pytest.fixture(scope="module")
def heard(speech, files):
    """The recording, and the probability of each of its frames."""
    recording, model = files
    samples = speech.load_audio(recording)
    return samples, speech.detect(speech.Detector.load(model), samples, quiet=True)


def test_probabilities_are_those_that_were_recorded(heard, reference_data):
    """ONNX Runtime's, over a minute of speech: no frame may lose the state or its context."""
    expected = np.load(reference_data / "silero" / "lstm.npz")["probability"]
    assert (expected > 0.5).sum() == 1452
    np.testing.assert_allclose(heard[1], expected, rtol=0, atol=5e-6)


@pytest.mark.peers
def test_probabilities_are_those_of_onnx_runtime(speech, heard, files):
    onnxruntime = pytest.importorskip("onnxruntime", reason="install bench/requirements.txt")
    session = onnxruntime.InferenceSession(files[1], providers=["CPUExecutionProvider"])
    state, context = np.zeros((2, 1, 128), np.float32), np.zeros(64, np.float32)
    samples, probability = heard
    expected = []
    for frame in samples.reshape(-1, 512):
        feeds = {"input": np.concatenate([context, frame])[np.newaxis], "state": state}
        p, state = session.run(None, feeds | {"sr": np.array(16_000)})
        expected.append(p.item())
        context = frame[-64:]
    np.testing.assert_allclose(probability, expected, rtol=0, atol=5e-6)


def test_the_example_runs(speech, files, tmp_path):
    """On two seconds and a bit of the recording: the last frame is not full."""
    short = tmp_path / "short.wav"
    with wave.open(str(files[0])) as whole, wave.open(str(short), "wb") as part:
        part.setparams(whole.getparams())
        part.writeframes(whole.readframes(40_000))
    command = [sys.executable, str(PATH), str(short), str(files[1]), "--out", str(tmp_path)]
    result = subprocess.run([*command, "--quiet"], capture_output=True, text=True, check=True)
    last = result.stdout.splitlines()[-1]
    assert re.fullmatch(
        r"segments: 1; 2\.5 s of audio processed in \d+\.\d\d s, real-time factor \d+\.\d{4}", last
    ), last
    assert (tmp_path / "speech.png").read_bytes().startswith(b"\x89PNG")


def test_a_segment_ends_in_silence_and_is_not_short(speech):
    def frames(seconds):
        return round(seconds * speech.RATE / speech.FRAME)

    def found(*parts):
        return speech.segments([p for p, seconds in parts for _ in range(frames(seconds))])

    step = speech.FRAME / speech.RATE
    assert found((0.0, 1.0)) == []
    assert found((0.0, 1.0), (0.4, 1.0), (0.0, 1.0)) == []
    assert found((0.0, 1.024), (0.9, 0.16), (0.0, 1.0)) == []
    ((begin, end),) = found((0.0, 1.024), (0.9, 0.512), (0.4, 0.512), (0.0, 1.0))
    assert (begin, end) == pytest.approx((1.024, 2.048))
    ((begin, end),) = found((0.9, 0.512), (0.0, 2 * step), (0.9, 0.512))
    assert (begin, end) == pytest.approx((0, 1.024 + 2 * step))
    assert len(found((0.9, 0.512), (0.0, 0.256), (0.9, 0.512))) == 2


def test_the_channels_of_a_recording_are_averaged(speech, tmp_path):
    def write(rate, width, channels, data):
        path = tmp_path / f"{rate}{width}{channels}.wav"
        with wave.open(str(path), "wb") as file:
            file.setnchannels(channels)
            file.setsampwidth(width)
            file.setframerate(rate)
            file.writeframes(data)
        return path

    pairs = np.array([[1000, 3000], [-32768, -32768]], "<i2").tobytes()
    samples = speech.load_audio(write(16_000, 2, 2, pairs))
    np.testing.assert_array_equal(samples, np.float32([2000 / 2**15, -1]))
    assert samples.dtype == np.float32
    for rate, width in ((8000, 2), (16_000, 1)):
        with pytest.raises(ValueError, match="expected 16000 of 16"):
            speech.load_audio(write(rate, width, 1, b"\0\0"))


def other_model(path, names=(), **shapes):
    """A model of six convolutions by the names of their weights, and the weights it stores."""
    from onnx import helper, numpy_helper, save

    nodes = [
        helper.make_node("Conv", ["x", name], [f"y{k}"], name=f"conv{k}")
        for k, name in enumerate(names)
    ]
    stored = [
        numpy_helper.from_array(np.ones(shape, np.float32), name) for name, shape in shapes.items()
    ]
    save(helper.make_model(helper.make_graph(nodes, "other", [], [], stored)), path)


@pytest.mark.parametrize(
    ("names", "shapes", "message"),
    [
        ((), {}, "has 0 convolutions, expected the 6 of silero_vad_16k_op15.onnx"),
        ("w" * 6, {}, "another model, expected silero.*: weights of a convolution .* 'w'"),
        ("w" * 6, {"w": (4, 4)}, r"another model, .* shape \(4, 4\), expected \(O, C, K\)"),
        ("w" * 6, {"w": (4, 4, 3)}, "another model, .*: it has no LSTM node"),
    ],
)
def test_another_model_is_refused(speech, names, shapes, message, tmp_path, capsys):
    path = tmp_path / "other.onnx"
    other_model(path, names, **shapes)
    with pytest.raises(ValueError, match=rf"other\.onnx.*{message}"):
        speech.Detector.load(path)
    with pytest.raises(SystemExit):
        speech.main(["recording.wav", str(path)])
    assert "other.onnx" in capsys.readouterr().err


def test_what_is_no_model_and_no_recording_is_refused(speech, tmp_path, capsys):
    path = tmp_path / "some.txt"
    path.write_text("hello, world")
    with pytest.raises(ValueError, match=r"some\.txt is not an ONNX model, expected silero"):
        speech.Detector.load(path)
    with pytest.raises(ValueError, match=r"some\.txt is not a WAV file"):
        speech.load_audio(path)
    with pytest.raises(SystemExit):
        speech.main([str(path), str(tmp_path / "none.onnx")])
    assert "none.onnx" in capsys.readouterr().err


def test_the_lstm_of_the_detector(speech, files):
    lstm = speech.Detector.load(files[1]).lstm
    assert isinstance(lstm, clstm.LSTM)
    assert (lstm.input_size, lstm.hidden_size, lstm.dtype) == (128, 128, np.float32)
