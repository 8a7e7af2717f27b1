#pragma once

#include "lanes.hpp"

namespace vaexprs::VAEXPRS_ISA {

/// 1 / (1 + exp(zero_logits)), with an error below 1e-6.
VAEXPRS_INLINE F32 weight_of(F32 zero_logits) {
    return 1.0f / (exp_float(larger(smaller(zero_logits, 87.0f), -87.0f)) + 1.0f);
}

}  // namespace vaexprs::VAEXPRS_ISA
