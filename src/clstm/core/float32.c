/* Everything numeric, in float32: forward, record, backward. */
#include "dispatch.h"
#include "internal.h"

#include <string.h>

#include "real_f32.h"

#include "arrays.h"
#include "gemm.h"
#include "pack.h"
#include "tape.h"
#include "pass.h"
#include "packed.h"
#include "blas.h"
#include "sequence.h"
#include "readout.h"
#include "back.h"
#include "packed_backward.h"
#include "blas_backward.h"
#include "recompute.h"
#include "gradients.h"
#include "backward.h"
#include "optimisers.h"
#include "activations.h"
