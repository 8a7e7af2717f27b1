#include "vaexprs/condition.hpp"

#include <algorithm>

namespace vaexprs {

void fill_one_hot(float* out, std::size_t n_cells, const std::int32_t* codes,
                  std::span<const std::int32_t> sizes) {
    for (std::size_t i = 0; i < n_cells; ++i) {
        for (const std::int32_t size : sizes) {
            std::fill_n(out, size, 0.0f);
            out[*codes++] = 1.0f;
            out += size;
        }
    }
}

}  // namespace vaexprs
