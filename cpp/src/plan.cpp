#include "vaexprs/plan.hpp"

#include <algorithm>
#include <array>
#include <numeric>
#include <utility>

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

/// A random order of the cells of a window (Fisher and Yates).
std::array<std::uint8_t, kShuffled> order_of(std::uint64_t seed, std::uint64_t window) {
    std::array<std::uint8_t, kShuffled> order;
    std::iota(order.begin(), order.end(), std::uint8_t{0});
    Words<std::uint32_t> words{};
    for (std::uint32_t i = kShuffled - 1; i > 0; --i) {
        // Block 0 of window 0 is the offset's.
        if (i % 4 == 3) words = random_words({{seed, window}, 1 + i / 4}, Purpose::condition);
        const auto k = std::uint64_t{word_of(words, i % 4)} * (i + 1) >> 32;
        std::swap(order[i], order[static_cast<std::size_t>(k)]);
    }
    return order;
}

}  // namespace

void fill_groups(const Plan& plan, std::uint64_t seed, std::uint64_t first_cell, std::size_t n,
                 std::int32_t* out) {
    if (plan.groups.size() == 1) {
        std::fill_n(out, n, plan.groups[0]);
        return;
    }
    const std::uint64_t offset = plan.endless ? offset_of(seed) : 0;
    std::array<std::uint8_t, kShuffled> order;
    for (std::size_t i = 0; i < n; ++i) {
        std::uint64_t at = first_cell + i;
        if (plan.endless) {
            const std::uint64_t place = at % kShuffled;
            if (i == 0 || place == 0) order = order_of(seed, at / kShuffled);
            // Wraps around: the fraction in 64 bits.
            at = (at - place + order[place]) * kGolden + offset;
        }
        const auto run = std::upper_bound(plan.bounds.begin(), plan.bounds.end(), at);
        const auto last = static_cast<std::ptrdiff_t>(plan.groups.size()) - 1;
        out[i] = plan.groups[static_cast<std::size_t>(
            std::min<std::ptrdiff_t>(run - plan.bounds.begin(), last))];
    }
}

}  // namespace vaexprs
