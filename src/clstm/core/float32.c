/* Everything numeric, in float32: forward, record, backward. */
#include "environment.h"
#include "streams.h"

#include <math.h>
#include <string.h>

#include "real_f32.h"

#include "arrays.h"
#include "ports.h"
#include "products.h"
#include "read_cell.h"
#include "pack.h"
#include "tape.h"
#include "pass.h"
#include "between_steps.h"
#include "packed.h"
#include "blas.h"
#include "layers.h"
#include "sequence.h"
#include "readout.h"
#include "back.h"
#include "back_memory.h"
#include "packed_backward.h"
#include "blas_backward.h"
#include "recompute.h"
#include "gradients.h"
#include "back_layer.h"
#include "backward.h"
#include "optimisers.h"
#include "activations.h"
#include "stream.h"
