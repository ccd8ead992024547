/* Everything numeric, in float32: forward, record, backward. */
#include "fp_environment.h"
#include "stream_base.h"

#include <math.h>
#include <string.h>

#include "real_f32.h"

#include "passes/gather.h"
#include "passes/gemm_pieces.h"
#include "passes/read_cell.h"
#include "passes/packed_weights.h"
#include "passes/tape.h"
#include "passes/forward_state.h"
#include "passes/forward_packed.h"
#include "passes/forward_blas.h"
#include "passes/forward_layer.h"
#include "passes/forward_loop.h"
#include "passes/backward_readout.h"
#include "passes/backward_state.h"
#include "passes/backward_packed.h"
#include "passes/backward_blas.h"
#include "passes/backward_recompute.h"
#include "passes/backward_gradients.h"
#include "passes/backward_layer.h"
#include "passes/backward_loop.h"
#include "passes/optimisers.h"
#include "passes/apply_activations.h"
#include "passes/stream.h"
