// The portable decoder: runs the graph of an artifact in plain float32 with a fixed order of
// operations, so that a row of its outputs depends on the same row of its inputs and on nothing
// else: not on the machine, its instruction set, the threads, or the rows beside it.

#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace vaexprs {

struct Kernels;

/// Inputs and outputs of a graph, as the metadata of its artifact promise them.
struct Interface {
    std::vector<std::pair<std::string, std::int64_t>> inputs;  ///< with their widths, z first
    std::vector<std::string> outputs;                          ///< the mean first
    std::int64_t n_genes = 0;
    std::int64_t n_combinations = 0;  ///< seen in training
};

/// Opened once; then decodes in any number of threads.
class Decoder {
  public:
    /// Reads an .onnx file from its bytes, which need not outlive the call. Throws
    /// std::invalid_argument where it is no artifact (with the words of the checks in
    /// vaexprs/artifact/), or where only a larger runtime can run the graph.
    Decoder(std::string_view model, const Interface& interface, const Kernels& kernels);
    ~Decoder();
    Decoder(Decoder&&) noexcept;

    /// Whether the mean is left as logits, for library * softmax(logits + bias): a graph that ends
    /// so is run without these steps, which the kernels of counts take along.
    bool gives_logits() const;
    const std::vector<float>& bias() const;  ///< of each gene; empty where there is none

    /// Whether an output is one row for all cells.
    bool has_one_row(std::size_t output) const;
    /// Values that all nodes together compute for a cell.
    std::size_t n_values() const;

    /// Writes the outputs of some cells, n_cells x n_genes or 1 x n_genes, from inputs of n_cells
    /// rows, all in the order of the interface.
    void decode(const float* const* inputs, std::size_t n_cells, float* const* outputs) const;

  private:
    struct Program;
    std::unique_ptr<const Program> program_;
};

}  // namespace vaexprs
