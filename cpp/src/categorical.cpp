#include "vaexprs/categorical.hpp"

#include <algorithm>

#include "vaexprs/uniform.hpp"

namespace vaexprs {

std::size_t draw_category(Site site, Purpose purpose, std::span<const double> cumulative) {
    if (cumulative.size() == 1) return 0;
    const Words<std::uint32_t> words = random_words(site, purpose);
    const double target = uniform_double(words.w0, words.w1) * cumulative.back();
    // The first sum above the target belongs to a category of positive weight; there is one, as
    // 1 - 2^-53 times a number rounds to less than that number.
    const auto found = std::upper_bound(cumulative.begin(), cumulative.end(), target);
    return static_cast<std::size_t>(found - cumulative.begin());
}

}  // namespace vaexprs
