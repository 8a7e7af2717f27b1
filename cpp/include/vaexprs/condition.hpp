#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace vaexprs {

/// One-hot blocks side by side, one block per condition key: n_cells x (sum of sizes).
///
/// `codes` is n_cells x sizes.size(); each code must lie within its key's size.
void fill_one_hot(float* out, std::size_t n_cells, const std::int32_t* codes,
                  std::span<const std::int32_t> sizes);

}  // namespace vaexprs
