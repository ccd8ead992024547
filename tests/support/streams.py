"""A case for streams, streams of a model, and changed weights."""

from tests.support.case import Case

CASE = Case(steps=12, batch=3, num_layers=2, output_size=4)


def stream_of(case, model, state=None, unbatched=False):
    stream = model.stream(None if unbatched else case.batch)
    if state is not None:
        stream.state = state
    return stream


def changed(model):
    """Other weights, and another initial state if that is one of them."""
    with model.edit() as parameters:
        parameters.flat *= 0.75
    return model
