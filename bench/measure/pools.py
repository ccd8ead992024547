"""Workers of other libraries' pools that all call clstm: calls a second of all together."""

import multiprocessing
import time
from collections.abc import Callable

import numpy as np

SIZES = (100, 16, 128)  # T, B, I = H
CALLS = 150
SPINNING_SECONDS = 0.3  # longer than a BLAS spins after it has drawn the weights
Span = tuple[float, float]


def work(num_threads: int | None = None) -> Span:
    """Call a model often; return when that began and ended. It runs in a worker."""
    import clstm

    model = clstm.LSTM(SIZES[-1], SIZES[-1], rng=0)
    x = np.zeros(SIZES, np.float32)
    if num_threads:
        clstm.set_num_threads(num_threads)
    model(x)
    time.sleep(SPINNING_SECONDS)
    begin = time.monotonic()
    for _ in range(CALLS):
        model(x)
    return begin, time.monotonic()


def rate(spans: list[Span]) -> float:
    return len(spans) * CALLS / (max(end for _, end in spans) - min(begin for begin, _ in spans))


def by_multiprocessing(workers: int, num_threads: int | None = None) -> float:
    with multiprocessing.get_context("spawn").Pool(workers) as pool:
        return rate(pool.map(work, [num_threads] * workers, chunksize=1))


def by_joblib(backend: str) -> Callable[[int], float]:
    def run(workers: int) -> float:
        import joblib

        parallel = joblib.Parallel(n_jobs=workers, backend=backend)
        return rate(parallel(joblib.delayed(work)() for _ in range(workers)))

    return run


class Spans:
    """A dataset whose items are computed by clstm in the workers of a DataLoader."""

    def __init__(self, items: int) -> None:
        self.items = items

    def __len__(self) -> int:
        return self.items

    def __getitem__(self, _: int) -> Span:
        return work()


def by_data_loader(workers: int) -> float:
    from torch.utils.data import DataLoader

    loader = DataLoader(Spans(workers), batch_size=None, num_workers=workers)
    return rate([(float(begin), float(end)) for begin, end in loader])


def by_dask_threads(workers: int) -> float:
    import dask

    calls = [dask.delayed(work)() for _ in range(workers)]
    return rate(dask.compute(*calls, scheduler="threads", num_workers=workers))


def by_dask_workers(workers: int) -> float:
    from distributed import Client, LocalCluster

    cluster = LocalCluster(n_workers=workers, threads_per_worker=1, dashboard_address=None)
    with cluster, Client(cluster) as client:
        return rate(client.gather(client.map(lambda _: work(), range(workers), pure=False)))


POOLS: dict[str, tuple[str, Callable[[int], float]]] = {
    "multiprocessing": ("clstm", by_multiprocessing),
    "multiprocessing, set_num_threads(1)": ("clstm", lambda n: by_multiprocessing(n, 1)),
    "joblib, loky": ("joblib", by_joblib("loky")),
    "joblib, threading": ("joblib", by_joblib("threading")),
    "DataLoader": ("torch", by_data_loader),
    "Dask, threads": ("dask", by_dask_threads),
    "Dask, workers": ("distributed", by_dask_workers),
}
