"""Tell from which country a family name is, letter by letter, with a bidirectional LSTM.

Run it with `python examples/names.py` where clstm, scikit-learn, faker and tqdm are installed: `pip
install '.[examples]'`. It takes less than a minute on two cores, prints the accuracy on held-out
names beside that of logistic regression on all sequences of up to four letters, and writes the
model to `--out`:

    names.safetensors   the trained model, for `clstm.Sequential.load`

The names are the lists of Faker (MIT licence), a package that makes up addresses; nothing is
downloaded. A name that is on the lists of two countries belongs to neither. Letters are tokens of
an `Embedding`; names have different lengths, and a batch is a list of them, without padding. The
last h of each direction goes through a `Dense`. There is no framework: `clstm.Sequential` records
the forward pass and goes backwards through all layers.

The regression is better here, with an accuracy of 0.83 against 0.80: short sequences of letters say
most of what a name says, and 8,767 names are few for an LSTM.
"""

import argparse
import importlib
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from tqdm import tqdm

import clstm
from clstm.layers import Dense, Embedding, Last

LANGUAGES = {
    "Croatian": ["hr_HR"],
    "Dutch": ["nl_NL"],
    "English": ["en_GB", "en_US"],
    "Estonian": ["et_EE"],
    "Finnish": ["fi_FI"],
    "French": ["fr_FR"],
    "German": ["de_AT", "de_DE"],
    "Irish": ["ga_IE"],
    "Italian": ["it_IT"],
    "Slovak": ["sk_SK"],
    "Spanish": ["es_ES"],
    "Swedish": ["sv_SE"],
}

# Chosen by cross-validation within the training names.
EMBEDDING_SIZE = 24
HIDDEN_SIZE = 96
BATCH_SIZE = 32
EPOCHS = 12
LEARNING_RATE = 4e-3
WEIGHT_DECAY = 0.02
BASELINE_STEPS = 1000  # at most; it takes some 100
UNKNOWN = 0.01  # of the letters in training are replaced by the token of letters never seen
MAX_NORM = 1.0

SPLIT_SEED = 0  # the same names are held out for every --seed
OUT = Path(__file__).parent / "output"


class Names(NamedTuple):
    """Names, and the number of the language of each, (N,) int."""

    texts: list
    labels: np.ndarray


def load():
    """Return the training names, and a quarter of all for the final test."""
    listed = [
        {name.lower() for locale in locales for name in family_names(locale)}
        for locales in LANGUAGES.values()
    ]
    counts = Counter(name for names in listed for name in names)
    pairs = [(n, k) for k, names in enumerate(listed) for n in sorted(names) if counts[n] == 1]
    texts, labels = zip(*pairs, strict=True)
    parts = train_test_split(
        texts, np.array(labels), test_size=0.25, stratify=labels, random_state=SPLIT_SEED
    )
    return Names(parts[0], parts[2]), Names(parts[1], parts[3])


def family_names(locale):
    provider = importlib.import_module(f"faker.providers.person.{locale}").Provider
    return provider.last_names


class Classifier:
    """The letters that it knows, and the model."""

    def __init__(self, names, seed):
        self.rng = rng = np.random.default_rng(seed)
        self.tokens = {letter: k for k, letter in enumerate(sorted(set("".join(names.texts))), 1)}
        classes = len(LANGUAGES)
        self.model = clstm.Sequential(
            [
                Embedding(rng.normal(0, 0.3, (1 + len(self.tokens), EMBEDDING_SIZE))),
                clstm.LSTM(EMBEDDING_SIZE, HIDDEN_SIZE, bidirectional=True, rng=rng),
                Last(ends=True),
                Dense(rng.normal(0, 0.05, (classes, 2 * HIDDEN_SIZE)), np.zeros(classes)),
            ]
        )

    def encoded(self, texts):
        """Return each name as an array of the numbers of its letters; 0 is any other letter."""
        return [np.array([self.tokens.get(letter, 0) for letter in text]) for text in texts]

    def scores(self, texts):
        """Return the scores of all languages, (N, 12)."""
        y, _ = self.model(self.encoded(texts))
        return y

    def train_epoch(self, optimizer, names):
        """Train on all names once, in random order; return the mean loss."""
        encoded, total = self.encoded(names.texts), 0.0
        order = self.rng.permutation(len(encoded))
        for start in range(0, len(order), BATCH_SIZE):
            batch = order[start : start + BATCH_SIZE]
            letters = [encoded[k] * (self.rng.random(len(encoded[k])) >= UNKNOWN) for k in batch]
            tape = self.model.record(letters)
            loss, dy = clstm.losses.softmax_cross_entropy(tape.y, names.labels[batch])
            grad = tape.backward(dy)
            clstm.optim.clip_global_norm(grad, MAX_NORM)
            optimizer.step(grad)
            total += loss * len(batch)
        return total / len(order)


def train(names, seed, quiet=False):
    """Return a classifier that was trained on names."""
    classifier = Classifier(names, seed)
    optimizer = clstm.optim.AdamW(classifier.model, weight_decay=WEIGHT_DECAY)
    bar = tqdm(range(EPOCHS), desc="training", unit="epoch", disable=quiet)
    for epoch in bar:
        optimizer.lr = LEARNING_RATE * (1 - epoch / EPOCHS)
        bar.set_postfix({"loss": f"{classifier.train_epoch(optimizer, names):.4f}"})
    return classifier


def train_baseline(names):
    """Return logistic regression on the sequences of one to four letters, ends of names marked."""
    letters = TfidfVectorizer(analyzer="char_wb", ngram_range=(1, 4), sublinear_tf=True)
    regression = LogisticRegression(C=30, max_iter=BASELINE_STEPS)
    return make_pipeline(letters, regression).fit(names.texts, names.labels)


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help="names to classify")
    parser.add_argument("--seed", type=int, default=0, help="seed of weights and order")
    parser.add_argument("--out", type=Path, default=OUT, help="folder for the model")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
    options = parser.parse_args(arguments)

    names, held_out = load()
    classifier = train(names, options.seed, options.quiet)
    options.out.mkdir(parents=True, exist_ok=True)
    classifier.model.save(options.out / "names.safetensors")
    baseline = train_baseline(names)
    print(f"the model is in {options.out}; {len(names.texts)} names of {len(LANGUAGES)} languages")
    if options.names:
        languages = list(LANGUAGES)
        found = classifier.scores([name.lower() for name in options.names]).argmax(axis=1)
        for name, number in zip(options.names, found, strict=True):
            print(f"{name}: {languages[number]}")
    accuracy = np.mean(classifier.scores(held_out.texts).argmax(axis=1) == held_out.labels)
    print(f"test accuracy of n-grams: {baseline.score(held_out.texts, held_out.labels):.4f}")
    print(f"test accuracy: {accuracy:.4f}")


if __name__ == "__main__":
    main()
