// What an artifact promises besides its graph: the metadata, read and checked.

#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "vaexprs/decoder.hpp"
#include "vaexprs/latent.hpp"
#include "vaexprs/normalisation.hpp"

namespace vaexprs::artifact {

/// A condition key: a column of `obs`, and its categories.
struct Key {
    std::string name, dtype;
    std::vector<std::string> categories;
};

/// The twin of vaexprs.spec.GeneratorSpec.
struct Spec {
    std::string likelihood, observation;
    std::uint32_t n_latent = 0;
    std::vector<std::string> var_names;
    std::vector<Key> keys;
    std::vector<std::int32_t> sizes, seen;  ///< categories of each key; codes of the combinations
    std::vector<std::int64_t> n_cells;      ///< training cells of each combination
    bool is_mixture = false, with_log_library = false;
    std::vector<std::int64_t> offsets;
    std::vector<double> weights;
    std::vector<float> means, tril;
    std::vector<std::int32_t> factor;
    std::optional<std::string> library_kind;
    std::vector<float> minimum, maximum, location, scale;
    std::optional<std::vector<float>> residual;
    std::optional<Normalisation> normalisation;

    /// Views of the arrays.
    Conditions conditions() const { return {sizes, seen, n_cells}; }
    LatentLaw law() const;
    Interface interface() const;
};

/// Reads the entries of a model's metadata; std::invalid_argument names the entry at fault.
Spec read_spec(const std::map<std::string, std::string_view>& metadata);

}  // namespace vaexprs::artifact
