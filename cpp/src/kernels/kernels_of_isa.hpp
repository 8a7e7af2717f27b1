// The kernels that the files of this folder make together, for one instruction set.

#pragma once

#include "vaexprs/kernels.hpp"

namespace vaexprs::VAEXPRS_ISA {

extern const Kernels kKernels;

// One kernel for each likelihood, defined in counts.cpp or table.cpp.
#define VAEXPRS_KERNEL(name, ...) \
    std::size_t sample_##name(const ObservationRow&, SparseRow, std::uint32_t* scratch);
VAEXPRS_LIKELIHOODS(VAEXPRS_KERNEL)
#undef VAEXPRS_KERNEL

}  // namespace vaexprs::VAEXPRS_ISA
