// What the files of this folder make together, for one instruction set.

#pragma once

#include "vaexprs/kernels.hpp"

namespace vaexprs::VAEXPRS_ISA {

extern const Kernels kKernels;

std::size_t sample_bernoulli_row(const ObservationRow& row, SparseRow out, std::uint32_t* scratch);
std::size_t sample_poisson_row(const ObservationRow& row, SparseRow out, std::uint32_t* scratch);
std::size_t sample_nb_row(const ObservationRow& row, SparseRow out, std::uint32_t* scratch);
std::size_t sample_zinb_row(const ObservationRow& row, SparseRow out, std::uint32_t* scratch);

}  // namespace vaexprs::VAEXPRS_ISA
