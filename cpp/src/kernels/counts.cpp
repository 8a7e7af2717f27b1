// The kernels of counts of one instruction set. Unlike the other file of this folder it may be
// compiled with fused multiply-adds: what float32 computes here need not be the same bits
// everywhere, only within the tolerance of counts.hpp. (Measured: 6 % less time.)

#include "bernoulli.hpp"
#include "count_laws.hpp"
#include "kernels_of_isa.hpp"

namespace vaexprs::VAEXPRS_ISA {

std::size_t sample_bernoulli(const ObservationRow& row, SparseRow out, std::uint32_t* scratch) {
    return draw_bernoulli(row, out, scratch);
}

std::size_t sample_poisson(const ObservationRow& row, SparseRow out, std::uint32_t* scratch) {
    return draw_counts<PoissonLaw>(row, out, scratch);
}

std::size_t sample_nb(const ObservationRow& row, SparseRow out, std::uint32_t* scratch) {
    return draw_counts<NegativeBinomialLaw>(row, out, scratch);
}

std::size_t sample_zinb(const ObservationRow& row, SparseRow out, std::uint32_t* scratch) {
    return draw_counts<ZeroInflatedLaw>(row, out, scratch);
}

}  // namespace vaexprs::VAEXPRS_ISA
