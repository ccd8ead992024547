"""Recognise handwritten digits with an LSTM that reads each image row by row, as 8 steps.

Run it with `make demo`, or with `python examples/digits.py` where clstm, scikit-learn, matplotlib
and tqdm are installed. It trains by backpropagation through time, prints the accuracy on held-out
images, and writes two plots and the model to `--out`:

    confusion.png        the confusion matrix of the held-out digits
    gates.png            the gate activations while the network reads one digit
    digits.safetensors   the trained model, for `clstm.LSTM.load`

The data are the 1,797 digits of the UCI set "Optical Recognition of Handwritten Digits", a part of
scikit-learn, so nothing is downloaded.
"""

import argparse
from pathlib import Path
from typing import NamedTuple

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.metrics import ConfusionMatrixDisplay
from sklearn.model_selection import train_test_split
from tqdm import tqdm

import clstm

# Chosen by cross-validation within the training images.
HIDDEN_SIZE = 64
BATCH_SIZE = 32
EPOCHS = 80
LEARNING_RATE = 1e-2
MAX_NORM = 1.0
NOISE = 0.1

SPLIT_SEED = 0  # the same images are held out for every --seed
OUT = Path(__file__).parent / "output"


class Digits(NamedTuple):
    """Images are (N, 8, 8) float32 from 0 to 1, labels (N,) int."""

    images: np.ndarray
    labels: np.ndarray


def load():
    """Return the training digits, and a quarter of all digits for the final test."""
    data = load_digits()
    images = (data.images / 16).astype(np.float32)
    parts = train_test_split(
        images, data.target, test_size=0.25, stratify=data.target, random_state=SPLIT_SEED
    )
    train_images, test_images, train_labels, test_labels = parts
    return Digits(train_images, train_labels), Digits(test_images, test_labels)


def split_off_validation(digits, seed):
    """Split a sixth of the training images off, to validate the model after each epoch."""
    parts = train_test_split(
        digits.images, digits.labels, test_size=1 / 6, stratify=digits.labels, random_state=seed
    )
    train_images, validation_images, train_labels, validation_labels = parts
    return Digits(train_images, train_labels), Digits(validation_images, validation_labels)


def augmented(images, rng):
    """Shift every image by up to one pixel in both directions, and add noise."""
    padded = np.pad(images, ((0, 0), (1, 1), (1, 1)))
    down, right = rng.integers(3, size=(2, len(images), 1))
    rows, columns = down + np.arange(8), right + np.arange(8)
    image = np.arange(len(images))[:, np.newaxis, np.newaxis]
    shifted = padded[image, rows[:, :, np.newaxis], columns[:, np.newaxis, :]]
    return shifted + rng.normal(0, NOISE, shifted.shape).astype(np.float32)


def scores(model, images):
    """Return the scores of all classes (N, 10): the readout after the last row."""
    y, _ = model(images)
    return y[:, -1]


def train_epoch(model, adam, digits, rng):
    """Train on all images once, in random order; return the mean loss."""
    order = rng.permutation(len(digits.labels))
    total = 0.0
    for start in range(0, len(order), BATCH_SIZE):
        batch = order[start : start + BATCH_SIZE]
        tape = model.record(augmented(digits.images[batch], rng))
        loss, dy = clstm.losses.softmax_cross_entropy(tape.y[:, -1], digits.labels[batch])
        grad = tape.backward(dy, grad_x=False)  # dy (B, 10) is for the last step
        clstm.optim.clip_global_norm(grad, MAX_NORM)
        adam.step(grad)
        total += loss * len(batch)
    return total / len(order)


def fit(digits, epochs, seed, quiet, validation=None):
    """Train a model for `epochs` epochs; return it, and the validation loss after each epoch."""
    rng = np.random.default_rng(seed)
    model = clstm.LSTM(8, HIDDEN_SIZE, output_size=10, batch_first=True, rng=rng)
    adam = clstm.optim.Adam(model)
    losses = []
    bar = tqdm(range(epochs), desc="training", unit="epoch", disable=quiet)
    for epoch in bar:
        adam.lr = LEARNING_RATE * (1 - epoch / epochs)
        shown = {"loss": f"{train_epoch(model, adam, digits, rng):.4f}"}
        if validation is not None:
            y = scores(model, validation.images)
            loss, _ = clstm.losses.softmax_cross_entropy(y, validation.labels)
            losses.append(loss)
            shown["validation"] = f"{np.mean(y.argmax(axis=1) == validation.labels):.2%}"
        bar.set_postfix(shown)
    return model, losses


def train(digits, seed, quiet=False):
    """Choose the number of epochs by the validation loss, then train on all digits."""
    part, validation = split_off_validation(digits, seed)
    _, losses = fit(part, EPOCHS, seed, quiet, validation)
    epochs = 1 + int(np.argmin(losses))
    model, _ = fit(digits, epochs, seed, quiet)
    return model


def save_and_load(model, path, images):
    """Save the model and load it again; check that the loaded model gives the same scores."""
    model.save(path)
    loaded = clstm.LSTM.load(path)
    if not np.array_equal(scores(loaded, images), scores(model, images)):
        raise RuntimeError(f"the model loaded from {path} differs from the saved one")
    return loaded


def plot_confusion(labels, predicted, path):
    figure, axes = plt.subplots(figsize=(6, 6), layout="constrained")
    ConfusionMatrixDisplay.from_predictions(labels, predicted, ax=axes, colorbar=False)
    axes.set_title(f"{np.sum(labels != predicted)} of {len(labels)} held-out digits misread")
    figure.savefig(path, dpi=120)
    plt.close(figure)


def plot_gates(model, image, label, path):
    """Plot one image, and the gates of every hidden unit while its rows are read."""
    tape = model.record(image[np.newaxis])
    panels = {f"{name} gate": gate[0, :, 0] for name, gate in tape.gates.items()}
    panels["new memory (cell gate)"] = panels.pop("cell gate")
    panels["cell state"] = tape.cells[0, :, 0]
    order = tape.cells[0, -1, 0].argsort()  # hidden units, sorted by final cell state
    figure, axes = plt.subplots(1, 1 + len(panels), figsize=(14, 3), layout="constrained")
    axes[0].imshow(image, cmap="gray_r")
    axes[0].set(title=f"a {label}", ylabel="row = time step")
    for ax, (title, values) in zip(axes[1:], panels.items(), strict=True):
        signed = title.endswith(("(cell gate)", "state"))
        limits = {"cmap": "RdBu_r", "vmin": -1, "vmax": 1} if signed else {"vmin": 0, "vmax": 1}
        shown = ax.imshow(values[:, order], aspect="auto", interpolation="nearest", **limits)
        ax.set(title=title, xlabel="hidden unit")
        figure.colorbar(shown, ax=ax)
    figure.savefig(path, dpi=120)
    plt.close(figure)


def evaluate(model, held_out, path):
    """Predict the held-out digits; plot the confusion matrix and return the accuracy."""
    predicted = scores(model, held_out.images).argmax(axis=1)
    plot_confusion(held_out.labels, predicted, path)
    return np.mean(predicted == held_out.labels)


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=0, help="seed of weights, order and shifts")
    parser.add_argument("--out", type=Path, default=OUT, help="folder for plots and model")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
    options = parser.parse_args(arguments)

    clstm.set_num_threads(1)  # batches this small gain little from a second thread
    digits, held_out = load()
    model = train(digits, options.seed, options.quiet)
    options.out.mkdir(parents=True, exist_ok=True)
    model = save_and_load(model, options.out / "digits.safetensors", digits.images)
    plot_gates(model, digits.images[0], digits.labels[0], options.out / "gates.png")
    accuracy = evaluate(model, held_out, options.out / "confusion.png")
    print(f"plots and model are in {options.out}")
    print(f"test accuracy: {accuracy:.4f}")


if __name__ == "__main__":
    main()
