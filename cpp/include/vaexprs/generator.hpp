// Artifacts and generators in C++, which the C interface wraps: from the bytes of a file to cells.

#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "vaexprs/buffer.hpp"
#include "vaexprs/decoder.hpp"
#include "vaexprs/observation.hpp"

namespace vaexprs {

/// A request that the artifact cannot serve, such as an unknown category.
struct RequestError : std::invalid_argument {
    using std::invalid_argument::invalid_argument;
};

/// A category of a condition key, by their names.
using Condition = std::pair<std::string, std::string>;

/// So many cells of some categories. Of a key that is named more than once any of its categories;
/// keys that are not named follow the training frequencies.
struct DesignRow {
    std::vector<Condition> conditions;
    std::uint64_t n_cells = 0;
};

/// Which cells: rows of a design one after the other; without rows, any number of cells by training
/// frequencies within a choice of categories.
struct Request {
    std::vector<DesignRow> design;
    std::vector<Condition> conditions;
    std::uint64_t seed = 0;
    float library = 0.0f;  ///< total counts of every cell, in place of drawn ones; 0 for none
};

/// Computes the outputs of the graph for some cells in place of the portable decoder; false where
/// it fails. Outputs are in data units: rows of all cells, or one row where the graph declares one.
using DecodeFunction =
    std::function<bool(const float* const* inputs, std::size_t n_cells, float* const* outputs)>;

/// Consecutive cells.
struct Cells {
    std::uint64_t first_cell = 0;
    std::vector<std::int32_t> codes;  ///< n_cells x n_keys
    std::unique_ptr<bool[]> unseen;   ///< n_cells
    std::vector<float> z;             ///< n_cells x n_latent
    std::vector<float> library;       ///< n_cells, empty where there is none
    Csr values;

    std::size_t n_cells() const { return values.indptr.size() - 1; }
};

/// An opened artifact: checked, and ready to be used by any number of threads.
class Artifact {
  public:
    /// Bytes need not outlive the call. Throws std::invalid_argument.
    explicit Artifact(std::string_view model);
    ~Artifact();

    struct Key {
        std::string name;
        std::vector<std::string> categories;
    };
    std::string_view likelihood() const;
    std::uint32_t n_latent() const;
    bool has_library() const;
    const std::vector<std::string>& var_names() const;
    std::vector<Key> keys() const;

  private:
    friend class Generator;
    struct Contents;
    std::unique_ptr<const Contents> contents_;
};

/// A request made ready; its cells may be made in any order by any number of threads. The artifact
/// must outlive it.
class Generator {
  public:
    Generator(const Artifact& artifact, const Request& request, DecodeFunction decode = {});
    ~Generator();
    Generator(Generator&&) noexcept;

    /// Cells of the design; the largest number there is where it has no end.
    std::uint64_t n_cells() const;
    /// Cells that are best made together.
    std::size_t block() const;
    /// Throws RequestError past the end of a design.
    Cells cells(std::uint64_t first_cell, std::size_t n_cells) const;

  private:
    struct Ready;
    std::unique_ptr<const Ready> ready_;
};

}  // namespace vaexprs
