"""Which engine computes, and which threads it has: process-wide choices at run time."""

from typing import Literal

from . import _core


def get_engine() -> str:
    """Return the engine of calls.

    Returns
    -------
    str
        ``"packed"`` or ``"blas"``: the one that `set_engine` has chosen, else the one that the
        environment variable ``CLSTM_ENGINE`` named at the first call, else ``"packed"``.

    Raises
    ------
    ValueError
        If ``CLSTM_ENGINE`` names no engine.
    """
    return _core.engine()


def set_engine(name: Literal["packed", "blas"] | None) -> None:
    """Choose the engine of calls that begin from now on, in all threads.

    Parameters
    ----------
    name : {"packed", "blas"} or None
        ``"packed"`` fuses the product of the four gates with their activations, on weights packed
        for its own kernels. ``"blas"`` is the plain shape of the method: one product of the stacked
        gates by scipy's sgemm, and one fused loop over the gates; its results are equal to those of
        the packed engine up to rounding. None: as if never chosen. Streams are always packed. A
        recording made by one engine can go backward with the other.

    Raises
    ------
    ValueError
        If there is no such engine.

    Examples
    --------
    >>> import clstm
    >>> clstm.set_engine("blas")
    >>> clstm.get_engine()
    'blas'
    >>> clstm.set_engine(None)
    """
    _check(name, "engine", _core.engines())
    _core.set_engine(name)


def get_team() -> str:
    """Return whose threads share a call.

    Returns
    -------
    str
        ``"pool"`` or ``"openmp"``: the one that `set_team` has chosen, else the one that the
        environment variable ``CLSTM_TEAM`` named at the first call, else the pool with the packed
        engine and OpenMP with the blas engine.

    Raises
    ------
    ValueError
        If ``CLSTM_TEAM`` names no team.
    """
    return _core.team()


def set_team(name: Literal["pool", "openmp"] | None) -> None:
    """Choose whose threads share calls that begin from now on, in all threads.

    Parameters
    ----------
    name : {"pool", "openmp"} or None
        ``"pool"``: clstm's own threads, which a forked child makes anew, and of which a call has
        fewer if the system refuses to make them. ``"openmp"``: those of the OpenMP runtime; a
        forked child then computes on one thread. None: as if never chosen. Results of the packed
        engine do not depend on it.

    Raises
    ------
    ValueError
        If there is no such team.
    """
    _check(name, "team", ["pool", "openmp"])
    _core.set_team(name)


def _check(name: str | None, what: str, names: list[str]) -> None:
    if name is not None and name not in names:
        expected = " or ".join(repr(known) for known in names)
        raise ValueError(f"{what} must be {expected} or None, got {name!r}")
