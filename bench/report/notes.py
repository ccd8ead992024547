"""The texts above the tables of the report."""

from bench.engines.arrays import MAX_NORM
from bench.engines.worker import TRAINED_STEPS
from bench.measure.cells import CELLS
from bench.measure.shapes import CLASSES, STREAM_BLOCK
from bench.report.summary import BEHIND


def _cells() -> str:
    """The cells by name, a line each."""
    lines = []
    for name, arguments in CELLS.items():
        values = ", ".join(f"{key}={value!r}" for key, value in arguments.items())
        lines += [f"- {name}: `Cell({values})`"] if name else []
    return "\n".join(lines)


NOTE = """\
`us` is the median of one call, in microseconds; GFLOP/s counts the matrix products; `% of limit` is
the least time this machine needs for them (multiply-add peak and cache bandwidth, measured anew in
every round) divided by the time taken. A peer's ratio is its time divided by clstm's, the median
over rounds: above 1, clstm is the faster one. Both run in turns, in processes of their own, bound
to the same CPUs, one a thread. The column `clstm us` is the time in pytest's own process, in turns
with the limit. With several runs, the figures are those of the median run, and `worst` is the ratio
of the worst one."""
SUMMARY_NOTE = f"""\
The ratio here is the time of the faster of PyTorch and ONNX Runtime, which doesn't train LSTMs,
divided by clstm's; for ragged rows, the time of the fastest way to run them. A shape counts as
below {BEHIND} if it is in any run. Ranges name the shape of their worse end. Ranges of whole steps,
ragged rows, rows half full and cells are of the worst run."""
SMALL_NOTE = """\
One sequence, one feature, 2000 steps: nanoseconds a step for clstm and the limit, microseconds a
call for the peers. The limit leaves out the latency of the activations."""
STEP_NOTE = f"""\
Forward, a linear readout to {CLASSES} classes, softmax cross-entropy of every time step, backward,
clipping to norm {MAX_NORM:g}, Adam. `MB` is the peak of resident memory while a model was built and
trained for {TRAINED_STEPS} steps, less the memory of the started library, in a process of its own.
JAX's includes its compiler."""
RAGGED_NOTE = """\
Lengths are spread evenly over 1 to T. clstm takes padded x and `lengths=`, and in the last columns
a list of sequences. PyTorch packs padded x and unpacks to padded y; "packed before" goes from a
PackedSequence to a PackedSequence; ONNX Runtime takes the lengths as an input. "Padded" is that
peer without the lengths: y is right up to the end of each row, final states are not. GFLOP/s and
the limit count no padding."""
LENGTHS_NOTE = """\
clstm with lengths (half of T on average), and on the same arrays with all rows full: "uniform" is
spread evenly over 1 to T, "half" has full and empty rows, "one" has a full row and equally short
ones. For few rows, "steps" is the sum of all steps' costs, each at the number of rows that are
left."""
CELLS_NOTE = f"""\
clstm with another cell, and with the plain one on the same arrays:

{_cells()}"""
BUSY_NOTE = """\
"product": each call comes right after a product of two NumPy matrices, whose other thread spins for
0.1 s. "process": beside a process that computes all the time. Every process may use two CPUs. The
ratio is the time of two threads divided by that of one, both in that state; "90 %" is the 90th
percentile of two threads' times over the median of one; "0.1 s" compares all calls within that time
after one product; "to quiet" is over two threads' time on the quiet machine. The peers' ratios are
their time on two threads in the same state divided by clstm's."""
HANDOVER_NOTE = """\
Two CPUs that share no cache hand over a cache line in 160 to 300 ns. `CLSTM_HANDOVER` delays what
threads tell each other by as much. The first columns are the time of two threads divided by that of
one. "Saved" is the time with lengths divided by that of full rows on two threads; for two and three
rows, by the sum of all steps' costs, each at the number of rows that are left."""
SHARING_NOTE = """\
Calls a second of several callers together on two CPUs, divided by those of one caller on two
threads: threads of one process on one model or on one each, processes, and workers of other
libraries. Nothing is set; "1 thread each" are processes whose calls take `num_threads=1`."""
MODULE_NOTE = """\
PyTorch's `LSTM`, and `clstm.interop.torch.LSTM` in its place: the ratio is the time of the first
divided by that of the second, the median over rounds. The last column is clstm on NumPy arrays. All
three run in processes of their own."""
STREAMS_NOTE = f"""\
One sample in and one out for each row: nanoseconds a step in C, in blocks of {STREAM_BLOCK} samples
(`clstm_stream_process`), in single steps (`clstm_stream_step`), and in single steps of a host that
flushes denormals itself (`CLSTM_STREAM_KEEP_ENVIRONMENT`: "kept"); in blocks with fast activations
("fast"). The limit leaves the readout out. In Python, microseconds of `Stream.step`. An error is
the largest difference of y from float64.

RTNeural takes one sample a call, NeuralAudio a block; both have their sizes fixed at compile time.
The fastest build counts: of RTNeural with Eigen or xsimd, of NeuralAudio by gcc or clang, with and
without `-ffast-math`, each for this processor or for AVX2. Ratios are a peer's time divided by
clstm's: above 1, clstm is the faster one."""
PLOTS = """\
![Time of the peers divided by clstm's]({ratios})

![GFLOP/s of clstm and of the fastest peer under the roofs of this machine]({roofline})"""
