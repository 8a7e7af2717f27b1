#pragma once

#include "vaexprs/kernels.hpp"

namespace vaexprs {

extern const Kernels kReferenceKernels;

// Compiled from kernels/table.cpp, each in its own namespace.
#if defined(VAEXPRS_X86_64_KERNELS)
namespace x86_64_v2 {
extern const Kernels kKernels;
}
namespace x86_64_v3 {
extern const Kernels kKernels;
}
namespace x86_64_v4 {
extern const Kernels kKernels;
}
#elif defined(VAEXPRS_BASELINE_KERNELS)
namespace baseline {
extern const Kernels kKernels;
}
#endif

}  // namespace vaexprs
