#include "vaexprs/plan.hpp"

#include <algorithm>

#include "vaexprs/streams.hpp"
#include "vaexprs/uniform.hpp"

namespace vaexprs {

namespace {

/// 2^64 divided by the golden ratio, to the nearest odd number (Knuth, TAOCP 3, section 6.4).
constexpr std::uint64_t kGolden = 0x9E3779B97F4A7C15u;

std::uint64_t offset_of(std::uint64_t seed) {
    const auto words = random_words({{seed, 0}, 0}, Purpose::condition);
    return static_cast<std::uint64_t>(uniform_double(words.w0, words.w1) * 0x1p53) << 11;
}

}  // namespace

void fill_groups(const Plan& plan, std::uint64_t seed, std::uint64_t first_cell, std::size_t n,
                 std::int32_t* out) {
    const std::uint64_t offset = plan.endless ? offset_of(seed) : 0;
    for (std::size_t i = 0; i < n; ++i) {
        std::uint64_t at = first_cell + i;
        if (plan.endless) at = at * kGolden + offset;  // wraps around: the fraction in 64 bits
        const auto run = std::upper_bound(plan.bounds.begin(), plan.bounds.end(), at);
        const auto last = static_cast<std::ptrdiff_t>(plan.groups.size()) - 1;
        out[i] = plan.groups[static_cast<std::size_t>(
            std::min<std::ptrdiff_t>(run - plan.bounds.begin(), last))];
    }
}

}  // namespace vaexprs
