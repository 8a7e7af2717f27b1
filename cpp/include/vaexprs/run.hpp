#pragma once

#include <cstddef>
#include <cstdint>

#include "vaexprs/streams.hpp"

namespace vaexprs {

struct Kernels;

/// Which cells are made, and by what: the part of a call that all families share.
struct Run {
    std::uint64_t seed = 0;
    std::uint64_t first_cell = 0;  ///< global index of row 0
    unsigned n_threads = 1;        ///< rows are split among them; results do not depend on it
    const Kernels* kernels = nullptr;
    const std::uint32_t* streams = nullptr;  ///< of each row; null where all are plain

    Cell cell(std::size_t row) const {
        return {seed, first_cell + row, streams == nullptr ? kPlainStream : streams[row]};
    }
};

}  // namespace vaexprs
