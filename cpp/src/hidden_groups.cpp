#include "vaexprs/hidden_groups.hpp"

#include <algorithm>
#include <map>

namespace vaexprs {

HiddenGroups::HiddenGroups(const LatentLaw& law, std::size_t most)
    : varies_(law.is_mixture() ? law.n_dim() : 1, !law.is_mixture()) {
    if (!law.is_mixture()) return;
    const Mixture& mixture = law.mixture;
    const std::size_t n_dim = law.n_dim();
    std::size_t n_factors = 0;
    for (const std::int32_t factor : mixture.factor)
        n_factors = std::max(n_factors, static_cast<std::size_t>(factor) + 1);
    for (std::size_t row = 0; row < n_factors * n_dim; ++row) {
        const float* first = mixture.tril + row * n_dim;
        const std::size_t j = row % n_dim;
        if (std::any_of(first, first + j + 1, [](float x) { return x != 0.0f; })) varies_[j] = true;
    }
    std::vector<std::size_t> fixed;
    for (std::size_t j = 0; j < n_dim; ++j) {
        if (!varies_[j]) fixed.push_back(j);
    }
    if (fixed.empty()) return;
    std::map<std::vector<float>, std::uint32_t> known;
    std::vector<float> values(fixed.size());
    for (std::size_t c = 0; c < mixture.factor.size(); ++c) {
        for (std::size_t i = 0; i < fixed.size(); ++i)
            values[i] = mixture.means[c * n_dim + fixed[i]];
        const auto entry = known.emplace(values, static_cast<std::uint32_t>(known.size())).first;
        if (known.size() > most) return;
        group_.push_back(entry->second);
    }
    size_ = known.size();
}

}  // namespace vaexprs
