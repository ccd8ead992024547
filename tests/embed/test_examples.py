"""The examples that embed the C library, built as their first lines say and run on real data."""

import importlib.util
import re
import shutil
import subprocess
import sys
import wave
from itertools import groupby
from pathlib import Path

import numpy as np
import pytest

import clstm
from clstm.layers import Gain, Skip
from tests.embed import signatures
from tests.embed.native import execute, needed
from tests.support.bounds import assert_same
from tests.support.paths import ROOT

EMBED = ROOT / "examples" / "embed"
PACKAGE = Path(clstm.get_include()).parent


def config(*arguments):
    output = execute(sys.executable, "-m", "clstm", "config", *arguments)
    return output.decode().strip()


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    """Return what compiles an example with the flags that the package tells."""

    def built(name):
        path = tmp_path_factory.mktemp(name) / name
        flags = config("--cflags", "--libs")
        command = f"{needed('cc', 'gcc libc6-dev')} {EMBED / name}.c {flags} -o {path}"
        subprocess.run(command, shell=True, check=True, timeout=300)
        return path

    return built


# ---- voice.c ----


def stretches(spoken, shortest_pause=4):
    """[(begin, end)] in frames of what is spoken; shorter pauses are part of it."""
    found, frame = [], 0
    for speech, run in groupby(spoken):
        count = len(list(run))
        if speech and found and frame - found[-1][1] < shortest_pause:
            found[-1] = (found[-1][0], frame + count)
        elif speech:
            found.append((frame, frame + count))
        frame += count
    return found


def test_stretches_of_speech():
    spoken = [0, 1, 1, 0, 0, 0, 1, 0, 0, 0, 0, 1, 1]
    assert stretches(spoken) == [(1, 7), (11, 13)]


def test_voice_hears_the_same_as_the_detector(program, reference_data, tmp_path):
    data = np.load(reference_data / "silero" / "lstm.npz")
    model = clstm.LSTM(128, 128, rng=0)
    names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    model.load_state_dict({f"{name}_l0": data[name] for name in names})
    model.save(tmp_path / "silero.safetensors")
    head = np.concatenate([data["head_weight"].ravel(), data["head_bias"].ravel()])
    head.astype("f4").tofile(tmp_path / "head")
    data["x"].astype("f4").tofile(tmp_path / "frames")
    voice = program("voice")
    files = [tmp_path / name for name in ("silero.safetensors", "head", "frames")]
    printed = execute(voice, *files, "0.032").decode()

    expected = stretches(data["probability"] >= 0.5)
    assert len(expected) > 5
    heard = [tuple(map(float, line.split())) for line in printed.splitlines()]
    np.testing.assert_allclose(heard, np.array(expected) * 0.032, atol=1e-3)

    (tmp_path / "head").write_bytes(b"1234")
    for bad in (files, [tmp_path / "frames", *files[1:]], [tmp_path / "none", *files[1:]]):
        run = subprocess.run([voice, *bad, "0.032"], capture_output=True, check=False)
        assert run.returncode == 1 and b"voice: " in run.stderr


# ---- filter.c ----


def write_wav(path, samples):
    with wave.open(str(path), "wb") as file:
        file.setnchannels(samples.shape[1])
        file.setsampwidth(2)
        file.setframerate(44100)
        file.writeframes(samples.astype("<i2").tobytes())


def read_wav(path):
    with wave.open(str(path), "rb") as file:
        assert (file.getsampwidth(), file.getframerate()) == (2, 44100)
        samples = np.frombuffer(file.readframes(file.getnframes()), "<i2")
        return samples.reshape(-1, file.getnchannels())


AMPS = {
    "plain": lambda lstm: lstm,
    "skip": lambda lstm: clstm.Sequential([Skip([lstm])]),
    "gains": lambda lstm: clstm.Sequential([Gain(1.5), Skip([lstm]), Gain(0.25)]),
}


@pytest.mark.parametrize("amp", AMPS)
@pytest.mark.parametrize("channels", [1, 2])
def test_filter_is_the_model_sample_by_sample(program, tmp_path, channels, amp):
    """Equal to Python up to a rounding of the last bit, in any number of channels."""
    model = AMPS[amp](clstm.LSTM(1, 16, output_size=1, rng=0))
    model.save(tmp_path / "amplifier.safetensors")
    rng = np.random.default_rng(0)
    samples = (rng.uniform(-1, 1, (10_007, channels)) * 20_000).astype("i2")
    write_wav(tmp_path / "in.wav", samples)
    arguments = ("amplifier.safetensors", "in.wav", "out.wav")
    printed = execute(program("filter"), *arguments, cwd=tmp_path).decode()
    assert "ns a sample, real-time factor 0." in printed

    y, _ = model(samples[:, :, np.newaxis] / np.float32(32768))
    expected = np.clip(np.rint(y[:, :, 0] * 32768), -32768, 32767)
    filtered = read_wav(tmp_path / "out.wav")
    assert np.abs(filtered - expected).max() <= 1
    assert np.ptp(expected) > 1000


def test_filter_names_files_that_it_cannot_read(program, tmp_path):
    filter_ = program("filter")
    clstm.LSTM(1, 8, output_size=1, rng=0).save(tmp_path / "right.safetensors")
    clstm.LSTM(2, 8, output_size=1, rng=0).save(tmp_path / "wide.safetensors")
    write_wav(tmp_path / "right.wav", np.zeros((5, 1)))
    whole = (tmp_path / "right.wav").read_bytes()
    (tmp_path / "empty.wav").write_bytes(b"")
    (tmp_path / "cut.wav").write_bytes(whole[:30])
    (tmp_path / "bytes.wav").write_bytes(whole[:34] + b"\x08\x00" + whole[36:])
    for model, sound, words in (
        ("wide.safetensors", "right.wav", b"input_size=1"),
        ("right.wav", "right.wav", b"filter: right.wav"),
        ("right.safetensors", "empty.wav", b"is no WAV file"),
        ("right.safetensors", "cut.wav", b"cut"),
        ("right.safetensors", "bytes.wav", b"16-bit"),
        ("right.safetensors", "none.wav", b"cannot be opened"),
    ):
        command = [filter_, model, sound, "out.wav"]
        run = subprocess.run(command, cwd=tmp_path, capture_output=True, check=False)
        assert run.returncode == 1 and words in run.stderr, (model, sound, run.stderr)


# ---- forecast/ ----


def test_forecast_learns_a_wave(tmp_path):
    """A C++17 project with CMake: trained, then streamed."""
    cmake = needed("cmake", "cmake g++")
    execute(cmake, "-S", EMBED / "forecast", "-B", tmp_path, f"-DCMAKE_PREFIX_PATH={cmake_dir()}")
    execute(cmake, "--build", tmp_path)
    series = np.sin(np.arange(1020) / 7) + 3
    text = "\n".join(map(str, series[:1000])).encode()
    forecast = execute(tmp_path / "forecast", "20", input=text).decode().split()
    np.testing.assert_allclose(np.array(forecast, float), series[1000:], atol=0.05)

    run = subprocess.run([tmp_path / "forecast"], input=b"1", capture_output=True, check=False)
    assert run.returncode == 1 and b"at least two" in run.stderr


def cmake_dir():
    folder = Path(config("--cmakedir"))
    assert (folder / "clstmConfig.cmake").is_file()
    return folder


# ---- feedback/ ----


@pytest.mark.slow
def test_feedback_hears_itself(tmp_path):
    """A Cython package that cimports clstm, built against the installed one, linked to nothing."""
    source = shutil.copytree(EMBED / "feedback", tmp_path / "source")
    command = [sys.executable, "setup.py", "-q", "build_ext", "--inplace"]
    execute(*command, cwd=source)
    (library,) = source.glob("feedback*.so")
    symbols = execute(needed("nm", "binutils"), "-D", "--undefined-only", library).decode()
    assert "Py" in symbols and "clstm_" not in symbols

    spec = importlib.util.spec_from_file_location("feedback", library)
    feedback = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(feedback)
    model = clstm.LSTM(2, 24, output_size=2, rng=0)
    start = np.random.default_rng(0).standard_normal((5, 2)).astype("f4")
    generated = feedback.generate(model, start, 50)
    y, state = model(start)
    expected = [y[-1]]
    for _ in range(49):
        y, state = model(expected[-1][np.newaxis], state)
        expected.append(y[0])
    assert_same(generated, np.array(expected))
    with pytest.raises(ValueError, match="equal numbers of input and output features"):
        feedback.generate(clstm.LSTM(2, 24, rng=0), start, 50)
    with pytest.raises(TypeError, match="clstm"):
        feedback.generate(Impostor(), start, 50)


class Impostor:
    """An object with an LSTM's attributes that is no LSTM."""

    input_size = output_size = 2
    dtype = np.float32
    _model = None


def test_every_function_of_the_header_can_be_cimported():
    given = re.findall(r"\bc_(\w+) as \1\b", (PACKAGE / "_api" / "names.pxi").read_text("utf-8"))
    declared = signatures.functions(signatures.HEADER.read_text("utf-8"))
    assert {f"clstm_{name}" for name in given} == declared


def test_only_what_users_cimport_is_shipped():
    if (PACKAGE / "core").exists():
        pytest.skip("an editable installation: the package is the source")
    files = {p.relative_to(PACKAGE).as_posix() for p in PACKAGE.rglob("*.p[xy][dxi]")}
    generated = {"_api/declarations.pxi", "_api/names.pxi"}
    stubs = {"_core.pyi", "_blas.pyi"}
    assert files == {"__init__.pxd", "_core.pxd", "clstm_c.pxd"} | generated | stubs
