/* Everything numeric, in float64: forward, record, backward. */
#include "dispatch.h"
#include "internal.h"

#include <string.h>

#include "real_f64.h"

#include "arrays.h"
#include "gemm.h"
#include "step.h"
#include "tape.h"
#include "readout.h"
#include "sequence.h"
#include "backward.h"
#include "activations.h"
