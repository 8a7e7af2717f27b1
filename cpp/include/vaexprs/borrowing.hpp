// Laws of combinations that training never saw, from those it saw.
//
// An unseen combination borrows the components of the seen ones that share with it the keys that
// matter most to the latent space, each shifted by the difference that an additive model of the
// keys expects. Asked for NK cells of a donor who had none, it takes other donors' NK cells and
// moves them by the donors' difference. Coordinates that do not vary within a component stay.

#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "vaexprs/latent.hpp"

namespace vaexprs {

/// Additive effects of the categories on the means of the groups: ridge least squares, weighted by
/// training cells.
class Effects {
  public:
    Effects(const Conditions& conditions, const LatentLaw& law);

    /// The difference that the model expects between two combinations, at one coordinate.
    double shift(const std::int32_t* to, const std::int32_t* from, std::size_t coordinate) const;

    /// Of each key: its share of the variance that the keys explain, and a little more, so that,
    /// all else equal, the larger number of shared keys wins.
    const std::vector<double>& importance() const { return importance_; }

  private:
    /// Row of a category among those that were seen, or -1: such have no effect.
    std::int64_t row(std::size_t key, std::int32_t code) const {
        return row_of_[starts_[key] + static_cast<std::size_t>(code)];
    }

    std::size_t n_dim_;
    std::vector<std::size_t> starts_;  ///< of each key's categories
    std::vector<std::int64_t> row_of_;
    std::vector<double> effects_;  ///< rows x n_dim
    std::vector<double> importance_;
};

/// Seen combinations that stand in for an unseen one.
std::vector<std::uint32_t> nearest_seen(const Conditions& conditions,
                                        const std::vector<double>& importance,
                                        const std::int32_t* combination);

}  // namespace vaexprs
