// What goes into the decoder for consecutive cells: a pure function of spec, plan, seed and index.

#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "vaexprs/borrowing.hpp"
#include "vaexprs/latent.hpp"
#include "vaexprs/plan.hpp"
#include "vaexprs/run.hpp"

namespace vaexprs {

/// The key of the random stream of a combination: a hash (FNV-1a, 32 bits) of the names of its keys
/// and categories in turn, in UTF-8, each ended by a zero byte. So cells of different combinations
/// are independent though seed and index be the same. Without names it is kPlainStream.
std::uint32_t stream_of(const std::vector<std::string>& names);

/// Rows of n cells, written by Inputs::draw; condition and library may be null where there are
/// none.
struct InputRows {
    std::int32_t* codes;     ///< n x n_keys
    bool* unseen;            ///< n
    std::uint32_t* streams;  ///< n
    float* z;                ///< n x n_latent
    float* condition;        ///< n x n_conditions, one-hot blocks side by side
    float* library;          ///< n
};

/// Built once for a spec and a plan, whose arrays must outlive it and have been checked; then drawn
/// from by any number of threads.
class Inputs {
  public:
    /// `combinations` are the codes of the plan's groups, `streams` their streams.
    Inputs(const Conditions& conditions, const LatentLaw& law, const Plan& plan,
           std::span<const std::int32_t> combinations, std::vector<std::uint32_t> streams);

    const Conditions& conditions() const { return conditions_; }
    const LatentLaw& law() const { return law_; }
    std::size_t n_conditions() const { return n_conditions_; }

    /// Threads of the run are not used: this is a part of one block's work.
    void draw(const Run& run, std::size_t n, const InputRows& out) const;

  private:
    struct Library {
        float minimum, maximum, location, scale;
    };

    Pool pool_of(const std::vector<std::uint32_t>& groups) const;
    Library library_of(const std::vector<std::uint32_t>& groups) const;
    void draw_mixture(const Run& run, const Cell& cell, std::size_t group, float* noise,
                      float* out) const;
    float draw_library(const Cell& cell, std::size_t group, const float* drawn) const;

    Conditions conditions_;
    LatentLaw law_;
    Plan plan_;
    std::span<const std::int32_t> combinations_;
    std::vector<std::uint32_t> streams_;
    std::size_t n_conditions_ = 0;
    std::vector<bool> unseen_;  ///< of each group of the plan, like the next two
    std::vector<std::uint32_t> pool_;
    std::vector<Library> library_;
    std::vector<Pool> pools_;
    std::unique_ptr<Effects> effects_;  ///< where a group is unseen
};

}  // namespace vaexprs
