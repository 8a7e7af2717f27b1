#pragma once

#include <cstdint>

namespace vaexprs {

struct Kernels;

/// Which cells are made, and by what: the part of a call that all families share.
struct Run {
    std::uint64_t seed = 0;
    std::uint64_t first_cell = 0;  ///< global index of row 0
    unsigned n_threads = 1;        ///< rows are split among them; results do not depend on it
    const Kernels* kernels = nullptr;
};

}  // namespace vaexprs
