/* Every threshold of the core that was found by measurement: its value, its meaning, the figure that chose it, and the
   command that measures it again. B, T, I, H, L as in clstm.h; times are of float32 on two cores that hand over a cache
   line in 40 ns, unless a row says otherwise. Changing one changes speed alone: results do not depend on any. Sizes of
   register tiles depend on the instruction set and stand in kernels/register_tile.h. */
#pragma once

/* ---- Who shares a pass (schedule.c); `pytest bench/test_forward.py bench/test_training.py` -------------------- */

/* Fewest multiply-adds for each thread. Waking a thread takes 2 us, or 1e5 multiply-adds; on a busy machine it takes a
   scheduler's time quantum, and training of small models takes several times as long on two threads as on one. */
#define TUNE_WORK_PER_THREAD 1000000

/* Largest W_hh (bytes) that fits half of a private L2 (H = 128), most of it (H = 192), and the L3 at full speed
   (H = 512; at B = 16, H = 768 splitting rows loses 8 %). */
#define TUNE_HALF_OF_L2 2.7e5
#define TUNE_PRIVATE_L2 6e5
#define TUNE_SHARED_L3 4.2e6

/* Fewest rows for each thread before threads split the batch, forward.

   | B, H, T = 100          | rows, us | units, us |
   | 12, 64                 |      480 |       590 |
   | 12, 192                |    3,500 |     3,660 |
   | 16, 256                |    8,310 |     8,670 |
   | 16, 512                |   33,000 |    35,000 |
   | 16, 64, lengths 50 %   |      360 |       380 |
   | 32, 192, lengths 50 %  |    6,600 |     6,100 |
   | 32, 256, lengths 50 %  |   11,700 |     9,100 | */
#define TUNE_ROWS_PRIVATE 5 /* W_hh fits the private L2 */
#define TUNE_ROWS_SHARED 8  /* W_hh fits the L3 */
#define TUNE_ROWS_UNEVEN 4  /* rows of different lengths; W_hh fits half of L2 */

/* Up to this H one row for each thread is enough: at B = 4 splitting rows takes 122 us, units 145. */
#define TUNE_SMALL_HIDDEN 48

/* Multiply-adds of a step from which two threads may share its hidden units. At B = 1, H = 64 two threads take 68 to 77
   us instead of 85, but 140 where the cores share no cache; at B = 1, H = 40, backward, 52 instead of 26. */
#define TUNE_STEP_TO_SHARE 1.7e4
/* The same for each nanosecond of a handover, as the pool measures it. At 100 ns that is the number above. At 160 to
   200, between cores that share no cache, B = 1, H = 64 lost 0.55 us a step and H = 96 would gain nothing; with 350,
   emulated, B = 4, H = 64 gains. */
#define TUNE_HANDOVER_WORK 175.0
/* Multiply-adds of a step below which only small H gain from threads. */
#define TUNE_STEP_TO_SPLIT 1.5e4

/* A wavefront of layers instead of shared units: fewest steps, most multiply-adds of a layer's step.

   | B = 1, L = 2, T = 100 | wavefront, us | units, us |
   | H = 64                |           140 |       166 |
   | H = 128               |           550 |       516 | */
#define TUNE_WAVEFRONT_STEPS 64
#define TUNE_WAVEFRONT_WORK 3e4
#define TUNE_WAVEFRONT_CHUNK 16 /* steps in a chunk: few, so that no thread waits long for the layer below */

/* Fewest rows for each thread before threads split the batch, backward.

   | B, H, T = 100         | rows, us | units, us |
   | 4, 40                 |      170 |       190 |
   | 4, 128                |    1,400 |     1,530 |
   | 4, 192                |    2,850 |     3,140 |
   | 3, 256, lengths 50 %  |    2,670 |     2,440 | */
#define TUNE_BACKWARD_ROWS_PRIVATE 1
#define TUNE_BACKWARD_ROWS_SHARED 4

/* ---- Hoisting the input product (schedule.c); `pytest bench/test_forward.py bench/test_streams.py` ------------ */

/* Hoisted, the product reads W_ih once for all steps. It saves 5 % at B = 5, H = 200 and nothing at 32 rows. A few
   columns cost less inside the step than their sums cost in memory traffic. */
#define TUNE_HOIST_ROWS 24    /* mean rows of a step, fewer than */
#define TUNE_HOIST_COLUMNS 8  /* columns of the layer's input, at least */

/* ---- Chunks of steps ----------------------------------------------------------------------------------------- */

/* Bytes of a forward chunk: its sums stay in a private L2 between product and step (passes/forward_state.h). */
#define TUNE_CHUNK_BYTES ((size_t)1 << 20)

/* Bytes of gate gradients in a backward chunk: the weight products find them in a cache (passes/backward_state.h); with
   recomputed gates more, for faster products. Several threads copy W and h once a chunk and meet after it: at
   (50,128,512,512) larger chunks save two threads 3 %; at H = 128 they lose 1 %, and one thread loses at any H.
   `pytest bench/test_training.py` */
#define TUNE_BACKWARD_CHUNK_BYTES ((size_t)1 << 20)
#define TUNE_RECOMPUTED_CHUNK_BYTES ((size_t)4 << 20)
#define TUNE_BACKWARD_LEAST_ROWS 512
#define TUNE_BACKWARD_SHARED_BYTES ((size_t)16 << 20)
#define TUNE_BACKWARD_SHARED_ROWS 1024 /* for each thread */
#define TUNE_BACKWARD_SHARED_HIDDEN 128

/* Small models: most rows that run as strands instead of in register tiles, and most bytes of their weights, which each
   row reads from the L1. `pytest bench/test_small.py bench/test_streams.py`

   | nanoseconds a step, Zen 3 | H = 8 | 16 | 32 |
   | 4 rows, tiles             |   174 | 299 | 733 |
   | 4 rows, strands           |   128 | 274 | 691 |
   | 8 rows, tiles             |   348 | 576 | 1,480 |
   | 8 rows, strands           |   280 | 561 | 1,412 | */
#define TUNE_SMALL_ROWS 8
#define TUNE_SMALL_WEIGHTS ((size_t)32 << 10)

/* Layers a step apart: most bytes of the weights of all layers. Two layers of 8, 16 and 24 units take 0.65, 0.87 and
   0.98 of one after the other; of 32 units, whose weights do not fit the L1, 1.3. */
#define TUNE_SKEW_WEIGHTS ((size_t)32 << 10)

/* A stream's chunk: bytes of sums and h, which stay in the L1, and most steps (passes/stream.h). Neither was tuned. */
#define TUNE_STREAM_BYTES ((size_t)64 << 10)
#define TUNE_STREAM_STEPS 64

/* ---- Cancellation: a host's request is seen within 50 ms on the slowest kernels ------------------------------- */

#define TUNE_POLL_WORK 2e8       /* multiply-adds between two calls of the host: 5 ms of a product */
#define TUNE_CALL_WORK 1e8       /* of a kernel call; larger ones are cut by blocks */
#define TUNE_STEPS_WORK 1e7      /* of several steps in a kernel call */
#define TUNE_PIECE_WORK 5e7      /* of a piece of a matrix product, for each lane */
#define TUNE_PIECE_CALL 2e4      /* overhead of a piece, in multiply-adds */
#define TUNE_PIECE_ELEMENT 64.0  /* overhead of an element of C, likewise */

/* ---- Memory -------------------------------------------------------------------------------------------------- */

/* A tape's gates and cells bypass the caches if they are larger: they would be evicted before the backward pass, and
   ordinary stores first read each line. At 0.7 MB, (8,64,8,64), backward takes 0.48 ms instead of 0.43.
   `pytest bench/test_training.py`

   | recording        | ordinary, ms | non-temporal, ms |
   | (100,32,256,256) |         34.1 |             32.5 |
   | (28,64,28,128)   |          3.7 |              3.2 | */
#define TUNE_NONTEMPORAL_BYTES ((size_t)1 << 20)

/* Rows that another thread has just written are prefetched if they are fewer bytes: a product would wait for the other
   core line by line. Two threads: 0.94 of the time at B = 2, H = 64, 0.98 at B = 8; 16 rows of 512 lose 1 %. */
#define TUNE_FETCH_BYTES ((size_t)1 << 14)

/* From this H on, a tile's c and h are prefetched before its sums: recording (50,128,128,512) takes 155 ms instead of
   160, and 152.6 instead of 153.7 without a tape. Below, c stays in the nearest caches, and prefetching loses 1 %. */
#define TUNE_FETCH_STATES_HIDDEN 128

/* Columns of weights that are prefetched ahead of a tile (kernels/register_tile.h): the hardware's own prefetching ends
   with each page. Only for taller tiles, as lower ones wait for bandwidth, and for deeper weights, as others stay in
   the L1 and lose 4 %. Gains: 4 rows 7 %, 32 rows 1 %. */
#define TUNE_FETCH_COLUMNS 16
#define TUNE_FETCH_TILE_ROWS 2
#define TUNE_FETCH_TILE_DEPTH 96

/* Allocations from this size on request huge pages: recording (100,32,64,256) takes 2 % less, backward 1 %. */
#define TUNE_HUGE_PAGE_BYTES ((size_t)4 << 20)

/* Most memory that a model keeps between calls. The pages of a tape are a twentieth of a training step; a larger
   workspace costs little to allocate compared with its call. */
#define TUNE_KEPT_WORKSPACE ((size_t)16 << 20)
#define TUNE_KEPT_TAPE ((size_t)256 << 20)

/* ---- Layout of weights (passes/packed_weights.h); `pytest bench/test_streams.py` ------------------------------- */

/* A readout or projection of this many columns or fewer keeps its weights in rows: one dot product for each column,
   vectorised over the depth. A step of a stream:

   | H  | in rows, ns | in blocks, ns | many steps in a call: in rows, ns | in blocks, ns |
   |  8 |          55 |            64 |                                49 |            53 |
   | 24 |         114 |           121 |                                93 |           104 | */
#define TUNE_NARROW_COLUMNS 4

/* ---- Waiting (threads.c, threads_pool.c, threads_openmp.c); `pytest bench/test_forward.py` ---------------------- */

/* Polls of a counter before a thread yields its CPU. 1,000 take 50 us, longer than any step that is worth sharing: the
   other thread has probably lost its CPU, perhaps to this one. */
#define TUNE_MEETING_SPINS 1000
#define TUNE_SEAT_SPINS 200 /* 10 us, until every woken thread has its own CPU */

/* The pool, in nanoseconds. A helper polls for the next call before it sleeps, because waking it takes some 50 us. A
   call whose threads work together waits for its helpers, before it begins without those that are late; as long it
   sleeps at most while a helper has its CPU. */
#define TUNE_POOL_SPIN 1000000
#define TUNE_POOL_WAIT 200000
#define TUNE_POOL_SAMPLE 10000 /* to see whether another thread has a CPU */
#define TUNE_POOL_NAP 50000    /* of a helper whose caller has none */
#define TUNE_POOL_LOST 300000  /* a poll that takes longer: another thread has had the CPU */
#define TUNE_POOL_SLICE 1000000 /* the scheduler's slice of a helper */

#define TUNE_POOL_MEASURE 100000000 /* between two measurements of the handover */
#define TUNE_POOL_PINGS 4
#define TUNE_HANDOVER 60.0 /* of CPUs that share a cache, where it is not measured */

/* After a thread has lost its CPU, callers compute alone: the first time, at most, and until threads have worked
   together for longer than the 4 ms of a scheduler's slice, several times. */
#define TUNE_POOL_PAUSE 1000000
#define TUNE_POOL_LONGEST_PAUSE 64000000
#define TUNE_POOL_WELL 20000000

/* Bands of rows for each thread on a busy machine, at most, and rows of each, at least. */
#define TUNE_BUSY_BANDS 4
#define TUNE_BUSY_ROWS 12
