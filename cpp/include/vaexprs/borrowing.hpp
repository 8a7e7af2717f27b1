// Laws of combinations that training never saw, from those it saw.
//
// An unseen combination borrows the components of the seen ones that share with it the keys that
// matter most to the latent space, each shifted by the difference that an additive model of the
// keys expects. Asked for NK cells of a donor who had none, it takes other donors' NK cells and
// moves them by the donors' difference. Where there are hidden groups, the same model says how many
// cells each has, and each borrows from combinations that have it.

#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "vaexprs/hidden_groups.hpp"
#include "vaexprs/latent.hpp"

namespace vaexprs {

/// Components to choose from, in order, and the seen combination of each.
struct Pool {
    std::vector<double> cumulative;
    std::vector<std::uint32_t> component, group;
};

/// Additive effects of the categories on the means of the combinations, and on the log odds of
/// their hidden groups: ridge least squares, weighted by training cells. The arrays of the
/// conditions and of the law must outlive it.
class Effects {
  public:
    Effects(const Conditions& conditions, const LatentLaw& law);

    /// The difference that the model expects between two combinations, at one coordinate; 0 where
    /// no component varies it.
    double shift(const std::int32_t* to, const std::int32_t* from, std::size_t coordinate) const;

    /// Seen combinations that stand in for an unseen one.
    std::vector<std::uint32_t> nearest(const std::int32_t* combination) const;

    bool has_hidden_groups() const { return hidden_.size() > 1; }
    /// What an unseen combination draws from where there are hidden groups.
    Pool lent(const std::int32_t* combination) const;

  private:
    /// Row of a category among those that were seen, or -1: such have no effect.
    std::int64_t row(std::size_t key, std::int32_t code) const {
        return row_of_[starts_[key] + static_cast<std::size_t>(code)];
    }
    double difference(const std::int32_t* to, const std::int32_t* from, std::size_t column) const;
    std::vector<double> shares(std::size_t seen) const;
    double log_cells(std::size_t seen, double share) const;
    std::vector<double> shares(const std::int32_t* unseen) const;
    std::vector<double> overlaps(const std::int32_t* combination) const;
    static std::vector<std::uint32_t> nearest(const std::vector<double>& overlaps,
                                              const std::vector<std::uint32_t>& among);

    Conditions conditions_;
    LatentLaw law_;
    std::size_t n_dim_;
    HiddenGroups hidden_;
    std::vector<std::size_t> starts_;  ///< of each key's categories
    std::vector<std::int64_t> row_of_;
    std::size_t n_columns_;        ///< coordinates, then hidden groups
    std::vector<double> effects_;  ///< rows x n_columns
    /// Of each key: its share of the variance that the keys explain, and a little more, so that,
    /// all else equal, the larger number of shared keys wins.
    std::vector<double> importance_;
    /// Seen combinations with some cells of each hidden group.
    std::vector<std::vector<std::uint32_t>> having_;
};

}  // namespace vaexprs
