// Hidden groups: components of a mixture, grouped by the latents in which no component varies.

#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "vaexprs/latent.hpp"

namespace vaexprs {

/// Components whose means agree in these latents are one group. The model stores the number of a
/// kind of cells there, or of a program that some cells have on.
class HiddenGroups {
  public:
    /// Beyond `most` groups, all components are one.
    HiddenGroups(const LatentLaw& law, std::size_t most);

    std::size_t size() const { return size_; }
    /// Whether some component varies a coordinate.
    bool varies(std::size_t coordinate) const { return varies_[coordinate]; }
    std::size_t of(std::size_t component) const { return size_ > 1 ? group_[component] : 0; }

  private:
    std::vector<bool> varies_;
    std::vector<std::uint32_t> group_;  ///< of each component
    std::size_t size_ = 1;
};

}  // namespace vaexprs
