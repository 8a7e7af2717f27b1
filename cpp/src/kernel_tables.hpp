#pragma once

#include "vaexprs/kernels.hpp"

namespace vaexprs {

extern const Kernels kReferenceKernels;

}  // namespace vaexprs
