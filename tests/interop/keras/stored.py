"""Keras's own files in the repository: models of `cases`, each with an input and Keras's result.

They were written where Keras 3, or tf_keras, which is Keras 2, is installed, by

    python -m tests.interop.keras.stored keras
    python -m tests.interop.keras.stored tf_keras

and are read without it. A file is small, but HDF5 leaves much of it empty: all of them are in one
zip archive.
"""

import io
import sys
import tempfile
import zipfile
from importlib import import_module
from pathlib import Path

import numpy as np

from tests.interop.keras import cases

FOLDER = Path(__file__).parent / "files"
KINDS = {
    "keras": ("model.keras", "model.h5", "model.weights.h5"),
    "tf_keras": ("model.keras", "model.h5", "model.weights.h5", "model_weights.h5"),
}


def names(package):
    """Return every third model, and the file it is in."""
    skipped = cases.ONLY_KERAS_3 if package == "tf_keras" else ()
    known = [name for name in cases.MODELS if name not in skipped]
    first = 0 if package == "keras" else 1
    kinds = KINDS[package]
    return {name: kinds[k % len(kinds)] for k, name in enumerate(known[first::3])}


def write(package):
    keras = import_module(package)
    with zipfile.ZipFile(FOLDER / f"{package}.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, file in names(package).items():
            model, x = cases.made(name, keras)
            for member, data in _files_of(model, x, file).items():
                archive.writestr(zipfile.ZipInfo(f"{name}/{member}"), data, zipfile.ZIP_DEFLATED, 9)


def _files_of(model, x, file):
    arrays = io.BytesIO()
    np.savez(arrays, x=x, y=cases.result(model, x))
    files = {"arrays.npz": arrays.getvalue()}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / file
        if "weights" in file:
            model.save_weights(path)
            files["architecture.json"] = model.to_json().encode()
        else:
            model.save(path)
        return files | {file: path.read_bytes()}


def read(package, name, folder):
    """Return the path of a model's file in a folder, the options to load it, its x and y."""
    with zipfile.ZipFile(FOLDER / f"{package}.zip") as archive:
        file = names(package)[name]
        path = folder / file
        path.write_bytes(archive.read(f"{name}/{file}"))
        arrays = np.load(io.BytesIO(archive.read(f"{name}/arrays.npz")))
        options = {}
        if "weights" in file:
            options["architecture"] = archive.read(f"{name}/architecture.json").decode()
    return path, options, arrays["x"], arrays["y"]


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    write(sys.argv[1])
