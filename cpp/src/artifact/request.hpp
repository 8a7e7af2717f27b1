// Which group each cell of a request has. The twin of vaexprs/generation/plan.py.

#pragma once

#include <cstdint>
#include <vector>

#include "vaexprs/generator.hpp"

#include "spec.hpp"

namespace vaexprs::artifact {

/// The arrays of a plan: codes of its groups, and its runs.
struct PlanArrays {
    std::vector<std::int32_t> combinations;  ///< n_groups x n_keys
    std::size_t n_groups = 0;
    std::vector<std::uint64_t> bounds;
    std::vector<std::int32_t> groups;
    bool is_endless = true;
};

/// Throws RequestError where a key or category is unknown.
PlanArrays make_plan(const Spec& spec, const Request& request);

}  // namespace vaexprs::artifact
